# shellcheck shell=bash disable=SC2154
# The packages that the lane installs: four versions of the same program.
#
# Sourced by `lane`; needs CACHE, and PROGRAM or DEBS, and leaves the packages in DEBS.

# Versions that are later than any release, each later than the one before.
VERSIONS=(99.0.1 99.0.2 99.0.3 99.0.4)

packages_make() {
  [ -z "$DEBS" ] || return 0
  local key work index
  # Whatever goes into the package.
  key=$(cd "$repository" && {
    sha256sum <"$PROGRAM"
    git ls-files -z --cached --others --exclude-standard -- packaging systemd conf docs ./*.md Cargo.lock |
      xargs -0 sha256sum --
  } | sha256sum | cut -c 1-12)
  DEBS=$CACHE/packages-$key
  mkdir -p "$CACHE"
  exec 9>"$CACHE/packages.lock"
  flock 9
  if [ ! -e "$DEBS/sluicegate-4.deb" ]; then
    rm -rf "$CACHE"/packages-*/ "$CACHE"/making.*/
    work=$(mktemp -d "$CACHE/making.XXXXXX")
    FAST=yes "$repository/packaging/scripts/package" --binary "$PROGRAM" --version "${VERSIONS[0]}" --format deb --out "$work" \
      >"$work/log" 2>&1 || { cat "$work/log" >&2; rm -rf "$work"; exit 1; }
    dpkg-deb --raw-extract "$work"/sluicegate_*.deb "$work/tree"
    mkdir "$work/debs"
    for index in "${!VERSIONS[@]}"; do
      sed -i "s/^Version: .*/Version: ${VERSIONS[$index]}/" "$work/tree/DEBIAN/control"
      # Another file than the one before, so that one can see which of them runs.
      touch "$work/tree/usr/bin/sluicegate"
      dpkg-deb -Zgzip -z1 --root-owner-group --build "$work/tree" "$work/debs/sluicegate-$((index + 1)).deb" >/dev/null
    done
    mv "$work/debs" "$DEBS"
    rm -rf "$work"
  fi
  flock -u 9
  exec 9>&-
}

# Puts a version of the package into the container, as an operator would: package_install 2
package_install() {
  cp "$DEBS/sluicegate-$1.deb" "$ROOT/var/tmp/sluicegate.deb"
  # What it says is shown only when it fails, or asks to be looked at.
  inside env DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends --allow-downgrades \
    -o Dpkg::Options::=--force-confold -o Dpkg::Use-Pty=0 /var/tmp/sluicegate.deb
}
