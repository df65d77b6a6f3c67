# shellcheck shell=bash
# What the cases share: a host of their own in a folder, a gateway on free ports, and what is expected.
#
#   case.sh NAME      runs the function NAME of the file
#
# The environment has SLUICEGATE (the program under test) and TREE (the source tree). A case that cannot run here says
# "skipped: WHY" and succeeds.
set -euo pipefail

export OPS=$TREE/packaging/ops
HOST=$(mktemp -d "${TMPDIR:-/tmp}/sluicegate-scripts.XXXXXXXX")
# The service's user can look into it, where that is another one.
chmod 755 "$HOST"
STARTED=()

export SLUICEGATE_CONFIG_DIR=$HOST/etc SLUICEGATE_STATE_DIR=$HOST/state SLUICEGATE_LOG_DIR=$HOST/log
export SLUICEGATE_BACKUP_DIR=$HOST/backups SLUICEGATE_OPS_DIR=$HOST/ops SLUICEGATE_ROOT=$HOST/opt SLUICEGATE_ENV_DIR=$HOST/default
export SLUICEGATE_UNIT_DIR=$HOST/units SLUICEGATE_LOGROTATE_DIR=$HOST/logrotate SLUICEGATE_SYSCTL_DIR=$HOST/sysctl SLUICEGATE_LINK_DIR=$HOST/bin
export SLUICEGATE_OPS_SCRIPTS=$HOST/scripts SLUICEGATE_SHARE_DIR=$HOST/share SLUICEGATE_DOC_DIR=$HOST/doc SLUICEGATE_MAN_DIR=$HOST/man
export SLUICEGATE_SYSTEMCTL=$TREE/tests/scripts/systemctl STAND_IN=$HOST/systemd TMPDIR=$HOST/tmp
export SLUICEGATE_BIN=$SLUICEGATE SLUICEGATE_CONFIG=$HOST/etc/sluicegate.yaml
SLUICEGATE_USER=$(id -un)
export SLUICEGATE_USER NO_COLOR=1 LC_ALL=C.UTF-8
unset SLUICEGATE_ADMIN SLUICEGATE_ADMIN_TOKEN SLUICEGATE_TOKEN_FILE SLUICEGATE_LISTEN SLUICEGATE_LOG_LEVEL
mkdir -p "$HOST"/{etc,state,log,default,systemd,tmp,units,logrotate,sysctl,bin}

finish() {
  local code=$? pid
  for pid in "${STARTED[@]}" $(cat "$STAND_IN"/*.pid 2>/dev/null); do
    kill -KILL "$pid" 2>/dev/null || true
  done
  set +e
  # Those that handed over may still drain: each names the host's folder in its command line.
  pkill -KILL -f -- "$HOST/"
  [ "$code" -eq 0 ] || { echo "--- what the script said:"; cat "$HOST/said"; tail -n 20 "$STAND_IN"/*.log; } >&2 2>/dev/null
  umount "$HOST/small" 2>/dev/null || true
  rm -rf -- "$HOST"
  exit "$code"
}
trap finish EXIT

wrong() {
  echo "not as expected: $*" >&2
  exit 1
}

skip() {
  echo "skipped: $*"
  exit 0
}

# run CODE COMMAND ...: runs it, and expects this exit code. What it says goes to $HOST/said.
run() {
  local wanted=$1 code=0
  shift
  "$@" >"$HOST/said" 2>&1 || code=$?
  [ "$code" -eq "$wanted" ] || wrong "$* ended with $code, not $wanted"
}

# has WORDS: whether they stand in what comes on stdin, which is read to its end.
has() { grep -F -- "$1" >/dev/null; }
says() { grep -qF -- "$1" "$HOST/said" || wrong "it does not say: $1"; }
says_not() { ! grep -qF -- "$1" "$HOST/said" || wrong "it says: $1"; }
is() { [ "$1" = "$2" ] || wrong "it is '$1', not '$2'"; }
there() { [ -e "$1" ] || wrong "$1 is not there"; }
gone() { [ ! -e "$1" ] || wrong "$1 is still there"; }

# within SECONDS COMMAND ...: waits until it succeeds.
within() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    [ "$SECONDS" -lt "$deadline" ] || wrong "not in time: $*"
    sleep 0.1
  done
}

# A port that nobody listens on at this moment, and that this host has not given before.
free_port() {
  local port
  port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
  if mkdir "$HOST/port-$port" 2>/dev/null; then echo "$port"; else free_port; fi
}

# The configuration of the host's gateway: a page, and what comes as lines from stdin.
configure() {
  PORT=${PORT:-$(free_port)} ADMIN=${ADMIN:-$(free_port)}
  {
    printf 'listen: 127.0.0.1:%s\nadmin: 127.0.0.1:%s\nserver: { timeouts: { drain: 2s } }\n' "$PORT" "$ADMIN"
    cat
  } >"$SLUICEGATE_CONFIG_DIR/sluicegate.yaml"
  chmod 640 "$SLUICEGATE_CONFIG_DIR/sluicegate.yaml"
}

a_page() { configure <<<$'routes: [ { match: /, respond: { status: 200, body: page one } } ]'; }

# Has the stand-in run the gateway as sluicegate.service: this program.
serve() {
  printf '%s\n' "$1" run -c "$SLUICEGATE_CONFIG_DIR/sluicegate.yaml" >"$STAND_IN/sluicegate.command"
  "$SLUICEGATE_SYSTEMCTL" start sluicegate.service
}

page() { curl -q -sS --noproxy '*' --max-time 5 "http://127.0.0.1:$PORT/${1:-}"; }
status_of() { curl -q -sS --noproxy '*' --max-time 5 -o /dev/null -w '%{http_code}' "$@"; }
main_pid() { cat "$STAND_IN/${1:-sluicegate.service}.pid"; }

# backend NAME: sets PORT_OF and PID_OF.
backend() {
  python3 "$TREE/tests/scripts/backend" "$HOST/$1.port" >/dev/null 2>&1 &
  PID_OF=$!
  STARTED+=("$PID_OF")
  within 20 test -e "$HOST/$1.port"
  # shellcheck disable=SC2034
  PORT_OF=$(cat "$HOST/$1.port")
}

# All that a folder has: names, modes and contents.
picture() { (cd "$1" && find . -printf '%y %m %p\n' | sort && find . -type f -exec sha256sum {} + | sort); }

case_of() { "$1"; }
