# shellcheck shell=bash
# Fifty rotations under load: as many lines are logged as requests were answered.

ROTATIONS=50

check_logs() {
  local log=/var/log/sluicegate answered rotations=0 logged seen
  configuration logs | configure
  fresh_start
  backend_start
  # The rules of the package, but that none of the fifty files is thrown away.
  inside sh -c 'sed -E "s/^( +rotate) 14$/\1 1000/" /etc/logrotate.d/sluicegate >/var/tmp/logrotate'
  inside sh -c "rm -f $log/access.log*; systemctl kill --kill-whom=main --signal=USR1 $UNIT"
  within 5000 inside test -e "$log/access.log" >/dev/null
  same "a log that the service makes is read by its group" "640 sluicegate:sluicegate" "$(inside stat -c '%a %U:%G' "$log/access.log")"

  rounds_on
  while [ "$rotations" -lt "$ROTATIONS" ]; do
    inside logrotate --force --state /var/tmp/logrotate.state /var/tmp/logrotate || break
    # The next one only when this one is through: somebody writes to the new file.
    within 20000 inside test -s "$log/access.log" >/dev/null || break
    rotations=$((rotations + 1))
  done
  same "$ROTATIONS rotations under load" "$ROTATIONS" "$rotations"
  [ "$rotations" = "$ROTATIONS" ] || not_ok "the log is written to after each rotation" "$(inside ls -la "$log")" "$(journal | tail -n 5)" "$(tail -n 5 "$SCRATCH/rounds")"
  rounds_off
  answered=$ANSWERED
  # What is still on its way to the file.
  within 10000 logged_is "$answered" >/dev/null || true
  logged=$(logged_lines)
  same "as many lines as answers" "$answered" "$logged"
  if [ "${answered:-0}" -ge 1000 ]; then ok "there were $answered answers"; else not_ok "there were at least 1000 answers" "$answered" "$(tail -n 20 "$SCRATCH/rounds")"; fi
  seen=$(inside sh -c "zcat -f $log/access.log* | jq -r .status | sort | uniq -c")
  holds "all of them are 200" '^ *[0-9]+ 200$' "$seen"
  same "no other line is in between" 1 "$(wc -l <<<"$seen")"
  same "the log is its user's, and its group reads it" "640 sluicegate:sluicegate" "$(inside stat -c '%a %U:%G' "$log/access.log")"
  load_abandon
}

logged_lines() { inside sh -c 'zcat -f /var/log/sluicegate/access.log* | wc -l'; }
logged_is() { [ "$(logged_lines)" = "$1" ]; }
