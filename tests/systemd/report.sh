# shellcheck shell=bash
# One line for each thing that was looked at: "ok NAME" or "not ok NAME", the latter with what was seen instead.

PASSED=0 FAILED=0

ok() {
  PASSED=$((PASSED + 1))
  echo "ok $1"
}

not_ok() {
  FAILED=$((FAILED + 1))
  echo "not ok $1"
  shift
  printf '%s\n' "$@" | sed 's/^/    /'
}

# A fact about the machine, beside the results.
note() { echo "# $*"; }

# check NAME COMMAND...: the command succeeds.
check() {
  local name=$1 seen
  shift
  if seen=$("$@" 2>&1); then ok "$name"; else not_ok "$name" "$*: exit code $?" "$seen"; fi
}

# refused NAME COMMAND...: the command fails.
refused() {
  local name=$1 seen
  shift
  if seen=$("$@" 2>&1); then not_ok "$name" "$* succeeded" "$seen"; else ok "$name"; fi
}

# same NAME WANTED SEEN
same() {
  if [ "$2" = "$3" ]; then ok "$1"; else not_ok "$1" "wanted: $2" "seen:   $3"; fi
}

# holds NAME PATTERN TEXT: an extended regular expression matches a line of the text.
holds() {
  if grep -qE -- "$2" <<<"$3"; then ok "$1"; else not_ok "$1" "no line matches: $2" "$3"; fi
}

# lacks NAME PATTERN TEXT: no line matches.
lacks() {
  local seen
  if seen=$(grep -E -- "$2" <<<"$3"); then not_ok "$1" "these match: $2" "$seen"; else ok "$1"; fi
}

# at_most NAME BOUND SEEN: numbers, with decimals.
at_most() {
  if awk -v seen="$3" -v bound="$2" 'BEGIN { exit !(seen ~ /^[0-9.]+$/ && seen + 0 <= bound + 0) }'; then
    ok "$1 ($3)"
  else
    not_ok "$1" "at most: $2" "seen:    $3"
  fi
}

# Milliseconds of a clock that only goes forward.
now_ms() { awk '{ printf "%d", $1 * 1000 }' /proc/uptime; }

# within MILLISECONDS COMMAND...: repeats the command until it succeeds; prints how long that took.
within() {
  local limit=$1 begun
  begun=$(now_ms)
  shift
  until "$@" >/dev/null 2>&1; do
    if [ $(($(now_ms) - begun)) -gt "$limit" ]; then
      echo "not within $limit ms"
      return 1
    fi
    sleep 0.02
  done
  echo $(($(now_ms) - begun))
}
