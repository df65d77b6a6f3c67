# shellcheck shell=bash
# The gateway in the container, as its operator handles it.

UNIT=sluicegate.service
CONFIG=/etc/sluicegate/sluicegate.yaml

# One property of the unit.
property() { inside systemctl show "${2:-$UNIT}" --property="$1" --value; }

# The process that serves.
main_pid() { property MainPID; }

# One line of its status in /proc, such as CapEff.
of_process() { inside sed -n "s/^$1:\s*//p" "/proc/$(main_pid)/status"; }

# What the unit has said to the journal since it was last asked for its place: journal [UNIT]
# shellcheck disable=SC2120
journal() { inside journalctl --unit="${1:-$UNIT}" --output=cat --no-pager --after-cursor="$CURSOR"; }
journal_mark() { CURSOR=$(inside journalctl --show-cursor --lines=0 --no-pager | sed -n 's/^-- cursor: //p'); }

# The body at a path of a listener, once.
get() { inside curl --silent --show-error --fail --max-time 5 "http://127.0.0.1:${2:-80}$1"; }

# Whether a new connection is answered by the process that serves.
answers() { inside curl --silent --fail --output /dev/null --max-time 1 "http://127.0.0.1:${1:-80}/health"; }

# Puts standard input in the place of the configuration, as an operator would: the owner and the mode stay.
configure() { inside tee "$CONFIG" >/dev/null; }

# The configuration of these checks. $1 is what / answers; the rest goes to the backend.
configuration() {
  cat <<YAML
listen: { address: 0.0.0.0:80 }
admin: { address: 127.0.0.1:8404 }
log: { access: /var/log/sluicegate/access.log }
pools:
  backend: { members: ["127.0.0.1:9001"] }
routes:
  - { match: /, respond: { status: 200, body: "$1\n" } }
  - { match: /backend/, pool: backend }
YAML
}

# Starts anew, whatever was before: earlier starts do not count against the limit.
fresh_start() {
  inside systemctl reset-failed "$UNIT"
  inside systemctl restart "$UNIT"
}

# An upgrade, in whichever way: another process serves, from the file that is there now, with the rights that it may have, and
# systemd is its parent. step_upgrade NAME CAPABILITIES COMMAND...
step_upgrade() {
  local name=$1 rights=$2 before pid said
  shift 2
  before=$(main_pid)
  journal_mark
  if said=$("$@" 2>&1); then ok "$name: it succeeds"; else not_ok "$name: it succeeds" "$said"; fi
  pid=$(main_pid)
  if [ "$pid" != "$before" ] && [ "$pid" != 0 ]; then
    ok "$name: another process serves"
  else
    not_ok "$name: another process serves" "$before, then $pid" "$said" "$(journal)"
  fi
  same "$name: it runs the program that is installed" /usr/bin/sluicegate "$(inside readlink "/proc/$pid/exe")"
  same "$name: systemd would notice its end" 1 "$(inside ps -o ppid= -p "$pid" | tr -d ' ')"
  same "$name: it has no more rights than before" "$rights" "$(of_process CapEff)"
}

# How many processes the service has.
processes() { inside pgrep --count --exact sluicegate; }
alone() { [ "$(processes)" = 1 ]; }
