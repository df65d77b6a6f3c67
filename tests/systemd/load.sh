# shellcheck shell=bash disable=SC2154
# Load on the gateway from beside the container, by programs of the host on the container's network: a backend, wrk, new
# connections, and open streams.
#
# Sourced by `lane`. Each part is started and stopped by itself; what it has to say is looked at when it is stopped.

LOADS=()

# Starts a program of the host on the container's network; its output is in $SCRATCH/NAME. start NAME COMMAND...
load_start() {
  local name=$1
  shift
  # No function of ours in between: signals have to reach the program.
  nsenter --target "$LEADER" --net -- setpriv --pdeathsig KILL "$@" >"$SCRATCH/$name" 2>&1 </dev/null &
  printf -v "load_$name" %s "$!"
  LOADS+=("$!")
}

# Not to be called in a subshell, like all that starts something: it could not be waited for.
backend_start() {
  load_start backend python3 "$here/traffic.py" backend 9001
  check "the backend of the load runs" within 10000 beside curl --silent --output /dev/null http://127.0.0.1:9001/
}

# Keep-alive connections that are never idle, and beside them new connections at a steady pace.
load_on() {
  load_start wrk wrk --threads 1 --connections 16 --duration 600s --timeout 30s "http://127.0.0.1:${1:-80}/backend/"
  load_start knock python3 "$here/traffic.py" knock "127.0.0.1:${1:-80}" 2
}

# Ends the load and looks at it: load_off NAME
load_off() {
  local said seen status=0
  kill -INT "$load_wrk" "$load_knock"
  wait "$load_wrk" || true
  wait "$load_knock" || status=$?
  said=$(cat "$SCRATCH/wrk")
  seen=$(sed -nE 's/^ +([0-9]+) requests in .*/\1/p' <<<"$said")
  if [ "${seen:-0}" -ge 100 ]; then ok "$1: wrk was answered ($seen requests)"; else not_ok "$1: wrk was answered" "$said"; fi
  lacks "$1: no request of wrk failed" 'Socket errors|Non-2xx' "$said"
  said=$(cat "$SCRATCH/knock")
  if [ "$status" -eq 0 ]; then ok "$1: no new connection failed ($said)"; else not_ok "$1: no new connection failed" "$said"; fi
}

# Opens streams and waits until all have begun: streams_open COUNT [PORT]
streams_open() {
  load_start streams python3 "$here/traffic.py" streams "127.0.0.1:${2:-80}" "$1"
  check "$1 streams are open" within 60000 grep -qx open "$SCRATCH/streams"
}

# Lets the backend end all streams.
streams_let_end() { beside curl --silent --output /dev/null http://127.0.0.1:9001/end; }

# Looks at how the streams ended: streams_check NAME
streams_check() {
  local status=0
  wait "$load_streams" || status=$?
  if [ "$status" -eq 0 ]; then
    ok "$1 ($(sed -n '/^whole/p' "$SCRATCH/streams"))"
  else
    not_ok "$1" "$(tail -n 20 "$SCRATCH/streams")"
  fi
}

# Ends whatever is still there.
load_abandon() {
  local pid
  for pid in "${LOADS[@]}"; do
    kill -KILL "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  done
  LOADS=()
}

# Requests that are counted one by one: whole rounds, until they are told to end.
rounds_on() {
  : >"$SCRATCH/rounds.go"
  # shellcheck disable=SC2016
  load_start rounds bash -c 'while [ -e "$1" ]; do h2load --h1 --clients 16 --threads 1 --requests 1000 "$2" || exit; done' \
    rounds "$SCRATCH/rounds.go" http://127.0.0.1/backend/
}

# Ends them; ANSWERED is how many requests were answered.
rounds_off() {
  rm -f "$SCRATCH/rounds.go"
  wait "$load_rounds" || true
  # shellcheck disable=SC2034
  ANSWERED=$(sed -nE 's/^requests: .* ([0-9]+) succeeded.*/\1/p' "$SCRATCH/rounds" | awk '{ sum += $1 } END { print sum + 0 }')
}

# After how many milliseconds port 80 is answered again, once a command has ended what answers: back_after COMMAND...
back_after() {
  local command=("$@")
  # What is called in here is a program, and no function.
  [ "$1" != inside ] || command=(nsenter --target "$LEADER" --all -- "${@:2}")
  nsenter --target "$LEADER" --net -- python3 "$here/traffic.py" back 127.0.0.1:80 10 "${command[@]}" 2>&1 || true
}
