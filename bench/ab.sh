#!/usr/bin/env bash
# Puts ab on a running gateway: the list of models, then chat requests where a model is named. wrk goes over the same where it is
# installed. Exits 1 when a request fails or is answered with anything but 2xx.
#
#   bench/ab.sh [--url http://127.0.0.1:8080] [--key-file FILE] [--model NAME] [-n 1000] [-c 10]
#
#   --url URL        where the gateway is; the doors are below URL/v1/
#   --key-file FILE  holds the key, sent as Authorization: Bearer. ab takes it on its command line, where others on this machine
#                    can see it while it runs: use one for testing
#   --model NAME     also sends chat requests for this model; a real provider charges for them
#   -n N, -c N       requests, and how many at once
set -euo pipefail

URL=http://127.0.0.1:8080 KEY_FILE='' MODEL='' REQUESTS=1000 AT_ONCE=10
SCRATCH=''
FAILED=0

main() {
  read_arguments "$@"
  command -v ab >/dev/null || { error "ab is not installed (Debian: apache2-utils, Fedora: httpd-tools)"; exit 69; }
  SCRATCH=$(mktemp -d)
  trap 'rm -rf "$SCRATCH"' EXIT

  local key=''
  if [ -n "$KEY_FILE" ]; then
    key=$(<"$KEY_FILE") || { error "the key cannot be read from $KEY_FILE"; exit 66; }
  fi
  local fields=()
  [ -z "$key" ] || fields=(-H "Authorization: Bearer $key")

  # Answers may differ in length (-l): they carry numbers and times.
  load models ab -q -l -k -n "$REQUESTS" -c "$AT_ONCE" "${fields[@]}" "$URL/v1/models"
  if [ -n "$MODEL" ]; then
    printf '{"model":"%s","messages":[{"role":"user","content":"hello"}],"max_tokens":16}' "$MODEL" >"$SCRATCH/body.json"
    load chat ab -q -l -k -n "$REQUESTS" -c "$AT_ONCE" -p "$SCRATCH/body.json" -T application/json "${fields[@]}" \
      "$URL/v1/chat/completions"
  fi
  if command -v wrk >/dev/null; then
    say "wrk on the list of models"
    wrk -t1 -c"$AT_ONCE" -d5s --latency "${fields[@]}" "$URL/v1/models" | sed 's/^/  /'
  fi
  return "$FAILED"
}

read_arguments() {
  while [ $# -gt 0 ]; do
    case "$1" in
      -h | --help) sed -n '2,11s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
      --url | --key-file | --model | -n | -c) [ $# -ge 2 ] || usage "$1 needs a value" ;;
      *) usage "unknown argument $1" ;;
    esac
    case "$1" in
      --url) URL=${2%/} ;;
      --key-file) KEY_FILE=$2 ;;
      --model) MODEL=$2 ;;
      -n) REQUESTS=$2 ;;
      -c) AT_ONCE=$2 ;;
    esac
    shift 2
  done
  [[ $REQUESTS =~ ^[1-9][0-9]*$ && $AT_ONCE =~ ^[1-9][0-9]*$ ]] || usage "-n and -c take numbers from 1"
  [[ -z $MODEL || $MODEL =~ ^[A-Za-z0-9._:/-]+$ ]] || usage "$MODEL is no model's name"
}

# NAME and ab's command line: runs it, and says in a line what came of it.
load() {
  local name=$1 out
  shift
  if ! out=$("$@" 2>&1); then
    error "$name: $(tail -n 1 <<<"$out")"
    FAILED=1
    return 0
  fi
  local complete failed other speed line
  complete=$(number 'Complete requests' "$out")
  failed=$(number 'Failed requests' "$out")
  other=$(number 'Non-2xx responses' "$out")
  speed=$(number 'Requests per second' "$out")
  line="$name: $complete requests, ${failed:-0} failed, ${other:-0} other than 2xx, $speed/s, "
  line+="p50 $(percentile 50 "$out") ms, p99 $(percentile 99 "$out") ms"
  if [ "${failed:-0}" -eq 0 ] && [ "${other:-0}" -eq 0 ] && [ "${complete:-0}" -eq "$REQUESTS" ]; then
    say "$line"
  else
    error "$line"
    FAILED=1
  fi
}

number() { sed -n "s/^$1: *\([0-9.]*\).*/\1/p" <<<"$2"; }
percentile() { sed -n "s/^ *$1% *\([0-9]*\).*/\1/p" <<<"$2"; }

say() { level INFO 32 "$*"; }
error() { level ERROR 31 "$*" >&2; }
usage() { error "$*; see $0 --help"; exit 64; }

# LEVEL COLOUR TEXT; colour only where a person reads.
level() {
  if [ -t 2 ]; then printf '\033[%sm[%s]\033[0m %s\n' "$2" "$1" "$3"; else printf '[%s] %s\n' "$1" "$3"; fi
}

main "$@"
