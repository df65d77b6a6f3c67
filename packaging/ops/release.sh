# shellcheck shell=bash
# What `install`, `upgrade` and `rollback` share: releases and packages, and the way from one to another and back.
# Sourced after ops.sh.
#
# A release is $SLUICEGATE_ROOT/releases/NAME/bin/sluicegate. `current` and `previous` beside `releases` are links; the service
# runs the program by way of `current`, and so finds the next one there.

RELEASES=$SLUICEGATE_ROOT/releases
# Packages that were installed from here, for the way back.
PACKAGES=$SLUICEGATE_OPS_DIR/packages
# Releases and packages that are kept.
KEPT=5
# How long a new process may need until it serves.
SERVES_WITHIN=${SERVES_WITHIN:-60}

# === What there is ===

# layout: `release`, `package`, or `none` when nothing is installed.
layout() {
  if [ -L "$SLUICEGATE_ROOT/current" ]; then
    echo release
  elif [ -n "$(package_version)" ]; then
    echo package
  else
    echo none
  fi
}

# The version of the installed package; empty when there is none.
package_version() {
  local state version
  if command -v dpkg-query >/dev/null && read -r state version < <(dpkg-query -W -f '${db:Status-Abbrev} ${Version}\n' sluicegate 2>/dev/null) &&
    [[ $state == ?i* ]]; then
    echo "$version"
  elif command -v rpm >/dev/null; then
    rpm -q --queryformat '%{VERSION}-%{RELEASE}\n' sluicegate 2>/dev/null || true
  fi | grep -v 'not installed' || true
}

# kind_of SOURCE: deb, rpm, or release.
kind_of() {
  [ -e "$1" ] || die "$1 is not there"
  case $1 in
    *.deb) echo deb ;;
    *.rpm) echo rpm ;;
    *) echo release ;;
  esac
}

# program_of SOURCE: sets PROGRAM to the program in a package, an archive, a folder, or itself; where the service's user
# can run it, as nobody else can change it.
program_of() {
  local folder
  folder=$(mktemp -d "${TMPDIR:-/tmp}/sluicegate-new.XXXXXXXXXX")
  at_end "rm -rf -- $(printf %q "$folder")"
  chmod 755 "$folder"
  PROGRAM=$folder/sluicegate
  case $1 in
    *.deb)
      needs dpkg-deb
      [ "$(dpkg-deb --field "$1" Package 2>/dev/null)" = sluicegate ] || die "$1 is no package of sluicegate, or damaged"
      dpkg-deb --fsys-tarfile "$1" | tar --extract --to-stdout --file=- ./usr/bin/sluicegate >"$PROGRAM"
      ;;
    *.rpm)
      needs rpm rpm2cpio cpio
      [ "$(rpm -qp --nosignature --queryformat '%{NAME}' "$1" 2>/dev/null)" = sluicegate ] ||
        die "$1 is no package of sluicegate, or damaged"
      rpm2cpio "$1" | cpio --quiet --extract --to-stdout ./usr/bin/sluicegate >"$PROGRAM"
      ;;
    *.tar.gz | *.tgz)
      tar --extract --gzip --to-stdout --wildcards --file="$1" '*bin/sluicegate' >"$PROGRAM"
      ;;
    *)
      if [ -d "$1" ]; then cp -- "$1/bin/sluicegate" "$PROGRAM"; else cp -- "$1" "$PROGRAM"; fi
      ;;
  esac || die "$1 has no program bin/sluicegate"
  chmod 755 "$PROGRAM"
  VERSION=$(version_of "$PROGRAM") || die "the program in $1 does not run on this machine: $(first_words "$PROGRAM")"
}

# What a program that does not run says about it.
first_words() {
  { timeout 10 "$1" version 2>&1 || true; } | head -n 1 | cut -c 1-200
}

# must_accept PROGRAM: ends when this program refuses the present configuration. Nothing has been touched then.
must_accept() {
  local told
  if ! told=$(check_config "$1" 2>&1); then
    printf '%s\n' "$told" >&2
    die "sluicegate $VERSION refuses the present configuration $SLUICEGATE_CONFIG; nothing was changed"
  fi
}

# === Releases ===

# add_release PROGRAM VERSION: sets RELEASE to its name. A build that differs from one of the same version gets a name of
# its own.
add_release() {
  local sum new
  sum=$(sha256sum <"$1" | cut -c 1-8)
  RELEASE=$2
  if [ -e "$RELEASES/$RELEASE" ] && ! cmp -s -- "$1" "$RELEASES/$RELEASE/bin/sluicegate"; then
    RELEASE=$2-$sum
  fi
  [ ! -e "$RELEASES/$RELEASE" ] || return 0
  (umask 022 && mkdir -p -- "$RELEASES")
  new=$(mktemp -d "$RELEASES/.new.XXXXXXXX")
  at_end "rm -rf -- $(printf %q "$new")"
  # Of the administrator: the service must not be able to change what it runs.
  (umask 022 && mkdir -- "$new/bin" && cp -- "$1" "$new/bin/sluicegate" && chmod 755 -- "$new" "$new/bin/sluicegate" && sync -- "$new/bin/sluicegate")
  mv -T -- "$new" "$RELEASES/$RELEASE"
}

# point LINK NAME: has the link lead to a release, at once.
point() {
  ln -s -- "releases/$2" "$SLUICEGATE_ROOT/.$1.$$"
  mv -T -- "$SLUICEGATE_ROOT/.$1.$$" "$SLUICEGATE_ROOT/$1"
}

# where LINK: the name of the release that it leads to; empty when it does not.
where() {
  local target
  target=$(readlink -- "$SLUICEGATE_ROOT/$1" 2>/dev/null) || return 0
  [ -x "$SLUICEGATE_ROOT/$target/bin/sluicegate" ] || return 0
  basename -- "$target"
}

# Old releases go, but for those that the links lead to.
prune_releases() {
  local name
  find "$RELEASES" -mindepth 1 -maxdepth 1 -type d ! -name '.*' -printf '%T@ %f\n' | sort -rn | tail -n "+$((KEPT + 1))" | cut -d' ' -f2- |
    while read -r name; do
      [ "$name" = "$(where current)" ] || [ "$name" = "$(where previous)" ] || rm -rf -- "${RELEASES:?}/$name"
    done
}

# === Packages ===

# put_package FILE: installs it, as an upgrade or a downgrade, asking nothing and keeping edited files.
put_package() {
  # The package's own scripts then hand over, but do not restart what cannot hand over: there is a way back.
  export SLUICEGATE_UPGRADE=watched
  case $1 in
    *.deb)
      # With a root of its own dpkg works alone; apt finds what else is needed.
      if [ -z "${DPKG_ROOT:-}" ] && command -v apt-get >/dev/null; then
        DEBIAN_FRONTEND=noninteractive apt-get install -y -q --allow-downgrades --reinstall --no-install-recommends \
          -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "$(realpath -- "$1")"
      else
        dpkg ${DPKG_ROOT:+--force-script-chrootless --force-not-root} --force-confdef --force-confold -i "$1"
      fi
      ;;
    *.rpm)
      if command -v dnf >/dev/null; then
        dnf install -y -q --allowerasing "$(realpath -- "$1")" || dnf downgrade -y -q "$(realpath -- "$1")"
      else
        rpm -U --oldpackage --replacepkgs "$1"
      fi
      ;;
  esac
}

# package_file VERSION: the file of an earlier package, when it is still to be found.
package_file() {
  local file
  for file in "$PACKAGES"/*."$PACKAGE_KIND" /var/cache/apt/archives/sluicegate_*.deb; do
    [ -f "$file" ] || continue
    case $file in
      *.deb) [ "$(dpkg-deb --field "$file" Version 2>/dev/null)" = "$1" ] || continue ;;
      *.rpm) [ "$(rpm -qp --nosignature --queryformat '%{VERSION}-%{RELEASE}' "$file" 2>/dev/null)" = "$1" ] || continue ;;
    esac
    echo "$file"
    return
  done
}

keep_package() {
  own_folder "$PACKAGES"
  [ "$(realpath -- "$1")" = "$(realpath -m -- "$PACKAGES/$(basename -- "$1")")" ] || cp -- "$1" "$PACKAGES/"
  touch -- "$PACKAGES/$(basename -- "$1")"
  find "$PACKAGES" -type f -printf '%T@ %p\n' | sort -rn | tail -n "+$((KEPT + 1))" | cut -d' ' -f2- |
    while read -r file; do rm -f -- "$file"; done
}

# === From one to the other ===

# Looks at the gateway before anything changes: RUNNING, FROM (its version), PID and POOLS.
remember() {
  local status
  RUNNING=no FROM='' PID=0 POOLS=''
  if has_service && is_active "$SLUICEGATE_UNIT"; then
    RUNNING=yes
    if ! status=$(ctl status --yaml 2>&1); then
      die "the service runs, but cannot be asked for its state, so that nobody would know whether the new one is better: $status"
    fi
    FROM=$(field version <<<"$status")
    PID=$(main_pid)
    POOLS=$(usable_pools <<<"$status")
  fi
}

# hand_over VERSION [URL ...]: has the program that is in place now take over from the one that runs, and waits until it
# serves. Fails with the reason in GATE; the old one then goes on, or the new one is no good, or nothing runs.
hand_over() {
  local version=$1 told
  shift
  [ "$RUNNING" = yes ] || return 0
  # A package does it by itself when it is installed.
  if [ "$(main_pid)" = "$PID" ]; then
    if [ "$RESTART" = yes ]; then
      told=$(service restart "$SLUICEGATE_UNIT" 2>&1) || { GATE="the service does not start: $told"; return 1; }
    else
      told=$(ctl upgrade --wait 2>&1) || { GATE="the new process does not take over: $told"; return 1; }
    fi
  fi
  gate "$version" "$SERVES_WITHIN" "$POOLS" "$@" || return 1
  if [ "$(main_pid)" = "$PID" ]; then
    GATE="the process from before still serves"
    return 1
  fi
}

# After the program from before is in place again: has it serve again too, by the gentlest way that works.
serve_again() {
  [ "$RUNNING" = yes ] || return 0
  if [ "$(main_pid)" = "$PID" ] && gate "$FROM" 2 ''; then
    info "version $FROM has served all the time"
    return 0
  fi
  # It has to reach again what it reached before; who asked for a restart gets one on the way back, too.
  if [ "$RESTART" != yes ] && ctl upgrade --wait >/dev/null 2>&1 && gate "$FROM" "$SERVES_WITHIN" "$POOLS"; then
    return 0
  fi
  warn "restarting the service"
  service reset-failed "$SLUICEGATE_UNIT" || true
  service restart "$SLUICEGATE_UNIT" || true
  gate "$FROM" "$SERVES_WITHIN" ''
}

# switch_release NAME VERSION [URL ...]: from the current release to this one, and back when it is no good.
switch_release() {
  local name=$1 version=$2
  shift 2
  WAS=$(where current) WAS_PREVIOUS=$(where previous)
  SWITCHED=yes
  at_end switch_back
  point current "$name"
  if hand_over "$version" "$@"; then
    [ -z "$WAS" ] || [ "$WAS" = "$name" ] || point previous "$WAS"
    SWITCHED=no
    return 0
  fi
  error "$GATE"
  switch_back
  die "release $name is not in force; $WAS is, as before"
}

# Also where the script is interrupted halfway.
switch_back() {
  [ "${SWITCHED:-no}" = yes ] || return 0
  SWITCHED=no
  warn "going back to release $WAS"
  point current "$WAS"
  [ -z "$WAS_PREVIOUS" ] || point previous "$WAS_PREVIOUS"
  serve_again || die "release $WAS does not serve again: ${GATE:-}; see journalctl -u $SLUICEGATE_UNIT"
}

# switch_package FILE VERSION [URL ...]: the same by packages. Where the package from before is not to be found, its
# program is put back by itself: it serves again, and the package manager is told nothing.
switch_package() {
  local file=$1 version=$2
  shift 2
  WAS_PACKAGE=$(package_version)
  PACKAGE_KIND=${file##*.}
  WAS_FILE=$(package_file "$WAS_PACKAGE")
  own_folder "$SLUICEGATE_OPS_DIR"
  WAS_PROGRAM=$SLUICEGATE_OPS_DIR/sluicegate.before
  cp -p -- "$SLUICEGATE_BIN" "$WAS_PROGRAM"
  at_end "rm -f -- $(printf %q "$WAS_PROGRAM")"
  SWITCHED=yes
  at_end package_back
  if put_package "$file" && hand_over "$version" "$@"; then
    SWITCHED=no
    keep_package "$file"
    return 0
  fi
  error "${GATE:-the package could not be installed}"
  package_back
  die "$file is not in force; sluicegate $WAS_PACKAGE is, as before"
}

package_back() {
  [ "${SWITCHED:-no}" = yes ] || return 0
  SWITCHED=no
  warn "going back to $WAS_PACKAGE"
  if [ -z "$WAS_FILE" ] || ! put_package "$WAS_FILE"; then
    install -m 755 -- "$WAS_PROGRAM" "$SLUICEGATE_BIN.before"
    mv -T -- "$SLUICEGATE_BIN.before" "$SLUICEGATE_BIN"
    warn "the package $WAS_PACKAGE is not to be found: its program is in force again, but the package manager" \
      "does not know; install that package when you have it"
  fi
  serve_again || die "$WAS_PACKAGE does not serve again: ${GATE:-}; see journalctl -u $SLUICEGATE_UNIT"
}
