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
  holds "old processes drain" 'drain' "$(property StatusText)"
  streams_let_end
  streams_check "$STREAMS streams went on over all of this"
  load_off "reloads, upgrades, rollback"
  within 15000 alone >/dev/null
  same "of all processes one is left" 1 "$(processes)"
  same "nothing was restarted" 0 "$(property NRestarts)"
  check_death_of_the_new
}

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
