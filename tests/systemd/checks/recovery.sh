# shellcheck shell=bash disable=SC2154
# A process that dies or hangs is replaced.

check_recovery() {
  local pid took restarts
  configuration recovery | configure
  fresh_start

  pid=$(main_pid)
  took=$(back_after inside kill -KILL "$pid")
  at_most "after kill -9 it answers again within a second, in ms" 1000 "$took"

  # The watchdog of the unit, in a hurry.
  inside install -d "/run/systemd/system/$UNIT.d"
  printf '[Service]\nWatchdogSec=2\n' | inside tee "/run/systemd/system/$UNIT.d/watchdog.conf" >/dev/null
  inside systemctl daemon-reload
  fresh_start
  pid=$(main_pid)
  sleep 5
  same "a process that works is left alone" "$pid" "$(main_pid)"
  restarts=$(property NRestarts)

  journal_mark
  took=$(back_after inside kill -STOP "$pid")
  at_most "a process that stands still is replaced, in ms" 6000 "$took"
  holds "by the watchdog" 'Watchdog timeout' "$(journal)"
  same "once" $((restarts + 1)) "$(property NRestarts)"
  check_hung_worker

  inside rm -r "/run/systemd/system/$UNIT.d"
  inside systemctl daemon-reload
  fresh_start
  check_start_limit
}

# One worker hangs, and the rest of the process is well.
check_hung_worker() {
  local pid took
  fresh_start
  pid=$(main_pid)
  journal_mark
  load_start hang python3 "$here/hang.py" "$(seen_from_outside "$pid")" worker-0
  check "one worker hangs" within 5000 grep -qx hung "$SCRATCH/hang"
  took=$(within 10000 answers_anew "$pid") || true
  at_most "a process with one worker that hangs is replaced, in ms" 6000 "$took"
  holds "by the watchdog, too" 'Watchdog timeout' "$(journal)"
  load_abandon
}

# A process that dies again and again is left alone, and comes back when it is told to.
check_start_limit() {
  local pid
  inside systemctl reset-failed "$UNIT"
  journal_mark
  for _ in $(seq 8); do
    pid=$(main_pid)
    [ "$pid" != 0 ] || break
    inside kill -KILL "$pid"
    within 3000 settled "$pid" >/dev/null || true
  done
  same "one that dies five times a minute is not started again" failed "$(property ActiveState)"
  holds "and the journal says why" 'repeated too quickly' "$(journal)"
  inside systemctl reset-failed "$UNIT"
  check "reset-failed and start bring it back" inside systemctl start "$UNIT"
}

# Another process than this one serves.
answers_anew() {
  local pid
  pid=$(main_pid)
  [ "$pid" != 0 ] && [ "$pid" != "$1" ] && answers
}

# There is another process, or none will come.
settled() { [ "$(property ActiveState)" = failed ] || answers_anew "$1"; }
