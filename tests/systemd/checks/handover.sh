# shellcheck shell=bash
# Reloads, upgrades and a way back under load and with open streams: no request fails, and no stream is cut.

STREAMS=500

check_handover() {
  local number
  configuration handover | configure
  fresh_start
  backend_start
  load_on
  streams_open "$STREAMS"

  for number in $(seq 10); do
    configuration "reload $number" | configure
    inside systemctl reload "$UNIT" || break
    [ "$(get /)" = "reload $number" ] || break
  done
  same "ten reloads, each in force when it returns" "reload 10" "$(get /)"

  step_upgrade "upgrade by apt" 0000000000000400 package_install 2
  step_upgrade "upgrade by sluicegate-ops" 0000000000000400 ops_upgrade 3
  step_upgrade "a second one" 0000000000000400 ops_upgrade 4
  step_upgrade "rollback" 0000000000000400 inside sluicegate-ops rollback
  same "the version from before is in force" "${VERSIONS[2]}" "$(inside dpkg-query --show --showformat='${Version}' sluicegate)"

  check_refused_upgrade
  check_program_that_does_not_serve
  # They say so from time to time.
  within 5000 status_has drain >/dev/null || true
  holds "old processes drain" 'drain' "$(property StatusText)"
  streams_let_end
  streams_check "$STREAMS streams went on over all of this"
  load_off "reloads, upgrades, rollback"
  within 15000 alone >/dev/null
  same "of all processes one is left" 1 "$(processes)"
  same "nothing was restarted" 0 "$(property NRestarts)"
  check_death_of_the_new
}

status_has() { [[ $(property StatusText) == *"$1"* ]]; }

ops_upgrade() {
  cp "$DEBS/sluicegate-$1.deb" "$ROOT/var/tmp/"
  inside sluicegate-ops upgrade "/var/tmp/sluicegate-$1.deb"
}

# A new process that could not serve takes nothing over.
check_refused_upgrade() {
  local pid said
  pid=$(main_pid)
  { configuration never; echo 'listn: 0.0.0.0:81'; } | configure
  if said=$(inside sluicegate ctl upgrade --wait 2>&1); then
    not_ok "an upgrade to a configuration that is refused fails" "$said"
  else
    holds "an upgrade to a configuration that is refused fails, with the reason" 'listn' "$said"
  fi
  same "the old process serves on" "$pid reload 10" "$(main_pid) $(get /)"
  configuration "reload 10" | configure
}

# A package whose program accepts the configuration and does not serve: nothing is taken down by its installation.
check_program_that_does_not_serve() {
  local pid said tree=$SCRATCH/broken
  dpkg-deb --raw-extract "$DEBS/sluicegate-4.deb" "$tree"
  sed -i 's/^Version: .*/Version: 99.0.9/' "$tree/DEBIAN/control"
  mv "$tree/usr/bin/sluicegate" "$tree/usr/lib/sluicegate/program"
  printf '#!/bin/sh\n[ "$1" != run ] || exit 1\nexec /usr/lib/sluicegate/program "$@"\n' >"$tree/usr/bin/sluicegate"
  chmod 755 "$tree/usr/bin/sluicegate"
  dpkg-deb -Zgzip -z1 --root-owner-group --build "$tree" "$ROOT/var/tmp/sluicegate-broken.deb" >/dev/null
  pid=$(main_pid)
  if said=$(inside dpkg --force-confold --install /var/tmp/sluicegate-broken.deb 2>&1); then
    ok "a package whose program does not serve installs"
  else
    not_ok "a package whose program does not serve installs" "$said"
  fi
  holds "it says that nothing was restarted" 'Nothing was restarted: the program from before serves on' "$said"
  holds "and what to do" 'DO NOT RESTART IT.*sluicegate ctl -c .* upgrade --wait' "$said"
  same "the old process serves on, and nothing was restarted" "$pid reload 10 0" "$(main_pid) $(get /) $(property NRestarts)"
  inside rm /var/tmp/sluicegate-broken.deb
  step_upgrade "the version from before is installed again" 0000000000000400 package_install 3
}

# The new process is killed while the old one still drains: that is noticed, and mended.
check_death_of_the_new() {
  local before pid took
  streams_open 20
  before=$(main_pid)
  check "an upgrade by hand succeeds" inside sluicegate ctl upgrade --wait
  pid=$(main_pid)
  if [ "$pid" != "$before" ] && inside kill -0 "$before"; then ok "the old process still drains"; else not_ok "the old process still drains" "$before, $pid"; fi
  # The starts of the checks before this one are not to count against the five that the unit allows in a minute.
  inside systemctl reset-failed sluicegate
  took=$(back_after inside kill -KILL "$pid")
  at_most "when the new process is killed then, the service answers again within a second, in ms" 1000 "$took"
  refused "the old one has gone with it" inside kill -0 "$before"
  load_abandon
}
