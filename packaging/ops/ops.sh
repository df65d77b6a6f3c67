# shellcheck shell=bash
# What the operations scripts share: where things are, how they speak, and how they ask the gateway. Sourced, never run.
#
# The environment may move each place; the defaults are those of the packages.

: "${SLUICEGATE_CONFIG_DIR:=/etc/sluicegate}"
: "${SLUICEGATE_CONFIG:=$SLUICEGATE_CONFIG_DIR/sluicegate.yaml}"
: "${SLUICEGATE_STATE_DIR:=/var/lib/sluicegate}"
: "${SLUICEGATE_LOG_DIR:=/var/log/sluicegate}"
: "${SLUICEGATE_BACKUP_DIR:=/var/backups/sluicegate}"
# What the scripts themselves remember: how far a log was read, the baseline, earlier packages.
: "${SLUICEGATE_OPS_DIR:=/var/lib/sluicegate-ops}"
# Where releases are installed that do not come from a package: releases/VERSION, and the link `current`.
: "${SLUICEGATE_ROOT:=/opt/sluicegate}"
: "${SLUICEGATE_UNIT:=sluicegate.service}"
: "${SLUICEGATE_USER:=sluicegate}"
# Set to run another program in systemctl's place; without it, and without systemd, there is no service to steer.
: "${SLUICEGATE_SYSTEMCTL:=}"
if [ -z "${SLUICEGATE_BIN:-}" ]; then
  SLUICEGATE_BIN=/usr/bin/sluicegate
  [ ! -e "$SLUICEGATE_ROOT/current" ] || SLUICEGATE_BIN=$SLUICEGATE_ROOT/current/bin/sluicegate
fi

# === Words ===

# colour CODE DESCRIPTOR: sets PAINT and PLAIN, empty unless the descriptor is a terminal.
colour() {
  PAINT='' PLAIN=''
  if [ -t "$2" ] && [ -z "${NO_COLOR:-}" ]; then
    PAINT=$'\e['"$1"m PLAIN=$'\e[0m'
  fi
}

info() { colour 32 1; printf '%s[INFO]%s %s\n' "$PAINT" "$PLAIN" "$*"; }
warn() { colour 33 2; printf '%s[WARN]%s %s\n' "$PAINT" "$PLAIN" "$*" >&2; }
error() { colour 31 2; printf '%s[ERROR]%s %s\n' "$PAINT" "$PLAIN" "$*" >&2; }

die() {
  error "$*"
  exit 1
}

# The comment at the head of the running script, which is its help.
show_help() {
  sed -n '2,${/^#/!q;s/^# \{0,1\}//;p}' "$0"
}

# A wrong command line: what was wrong, and the help.
misused() {
  error "$*"
  show_help >&2
  exit 1
}

# needs PROGRAM ...: ends where one of them is missing.
needs() {
  local program
  for program in "$@"; do
    command -v "$program" >/dev/null || die "$program is not installed; install it, then run this again"
  done
}

# === Results that are counted ===

GOOD=0 BAD=0 DOUBTFUL=0

good() { GOOD=$((GOOD + 1)); colour 32 1; printf '%s✓%s %s\n' "$PAINT" "$PLAIN" "$*"; }
bad() { BAD=$((BAD + 1)); colour 31 1; printf '%s✗%s %s\n' "$PAINT" "$PLAIN" "$*"; }
doubt() { DOUBTFUL=$((DOUBTFUL + 1)); colour 33 1; printf '%s!%s %s\n' "$PAINT" "$PLAIN" "$*"; }

# The totals. Fails when anything was bad.
totals() {
  echo "=================================="
  echo "Checks: $((GOOD + BAD + DOUBTFUL))"
  echo "Passed: $GOOD"
  echo "Failed: $BAD"
  echo "Warnings: $DOUBTFUL"
  [ "$BAD" -eq 0 ]
}

# === Ends and leftovers ===

# Commands that run when the script ends, the last one first.
AT_END=()

at_end() { AT_END=("$*" "${AT_END[@]}"); }

ended() {
  local code=$? command
  trap - EXIT
  trap '' INT TERM HUP
  for command in "${AT_END[@]}"; do
    eval "$command" || code=1
  done
  exit "$code"
}

trap ended EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

# Sets SCRATCH to a directory that nobody else can look into, and LENT to one that the service's user may be given; both go
# when the script ends.
scratch() {
  local both held
  tidy_scratch
  both=$(mktemp -d "${TMPDIR:-/tmp}/sluicegate-ops.XXXXXXXXXX") || die "${TMPDIR:-/tmp} cannot be written to"
  at_end "rm -rf -- $(printf %q "$both")"
  # Held as long as this runs, by which the next run tells it from one that was killed.
  exec {held}<"$both"
  flock -n "$held" || die "$both is held by another process"
  SCRATCH=$both/own LENT=$both/lent
  mkdir -m 700 -- "$SCRATCH" "$LENT" && chmod 711 -- "$both" || die "${TMPDIR:-/tmp} cannot be written to"
}

# Removes what killed runs of this user left: nobody holds it, and it is no longer so new that it is about to be held.
tidy_scratch() {
  local left
  while IFS= read -r -d '' left; do
    ! flock -n "$left" true 2>/dev/null || rm -rf -- "$left"
  done < <(find "${TMPDIR:-/tmp}" -maxdepth 1 -type d -user "$(id -u)" -name 'sluicegate-ops.??????????' -mmin +1 -print0 2>/dev/null)
}

# own_folder PATH: makes a folder for this user alone, or ends when somebody else could put things into it.
own_folder() {
  [ -d "$1" ] || (umask 077 && mkdir -p -- "$1") || die "$1 cannot be made"
  local owner mode
  read -r owner mode < <(stat -L -c '%u %a' -- "$1")
  if [ "$owner" -ne "$(id -u)" ] && [ "$owner" -ne 0 ]; then
    die "$1 belongs to user $owner: what lies there cannot be trusted; choose another folder, or chown it"
  fi
  if [ $((8#$mode & 8#022)) -ne 0 ] && [ $((8#$mode & 8#1000)) -eq 0 ]; then
    die "$1 can be written to by others: chmod go-w $1"
  fi
}

# lock NAME: holds a lock until the script ends; ends when another script holds it.
lock() {
  own_folder "$SLUICEGATE_OPS_DIR"
  exec {LOCKED}>"$SLUICEGATE_OPS_DIR/$1.lock"
  flock -n "$LOCKED" || die "another $1 is running; wait for its end"
}

# replace FILE: puts what comes on stdin into the place of FILE at once, with the owner and mode that FILE has.
replace() {
  local new opened done=no
  new=$(mktemp -u "$(dirname -- "$1")/.$(basename -- "$1").XXXXXXXX") || return 1
  new_file opened "$new" || return 1
  # By the open file: who owns the folder could put a link in the place of its name.
  if cat >&"$opened" && chmod --reference="$1" -- "/proc/self/fd/$opened" && same_owner "$1" "/proc/self/fd/$opened" &&
    sync -- "/proc/self/fd/$opened" && mv -f -- "$new" "$1"; then
    done=yes
  fi
  exec {opened}>&-
  [ "$done" = no ] || return 0
  rm -f -- "$new"
  return 1
}

# Gives $2, which is no link but for one of /proc to an open file, the owner of $1. Who may not change owners owns both.
same_owner() {
  local options=(--no-dereference)
  case $2 in /proc/self/fd/*) options=() ;; esac
  [ "$(stat -L -c %u:%g -- "$1")" = "$(stat -L -c %u:%g -- "$2")" ] || chown "${options[@]}" --reference="$1" -- "$2"
}

# new_file VARIABLE PATH: opens a file for writing that was not there, not even as a link, and sets VARIABLE to its descriptor.
new_file() {
  local clobber=yes code=0
  case $- in *C*) clobber=no ;; esac
  [ ! -L "$2" ] || { error "$2 is a link"; return 1; }
  set -o noclobber
  eval "exec {$1}>\"\$2\"" || code=1
  [ "$clobber" = no ] || set +o noclobber
  return "$code"
}

# log_folder NAME: makes the folder for the logs of an instance, where it is not there. It lies in a folder of the service's
# user, who could put a link in its place: so that user makes it, and root changes no owner.
log_folder() {
  local folder=$SLUICEGATE_LOG_DIR/$1 user group
  [ -d "$SLUICEGATE_LOG_DIR" ] || return 0
  if [ -L "$folder" ]; then
    error "$folder is a link: put a folder in its place, or have log.file of the instance name another one"
    return 1
  fi
  [ ! -d "$folder" ] || return 0
  read -r user group < <(stat -L -c '%u %g' -- "$SLUICEGATE_LOG_DIR")
  if [ "$(id -u)" -ne 0 ] || [ "$user" -eq 0 ]; then
    mkdir -m 750 -- "$folder"
  else
    needs setpriv
    setpriv --reuid="$user" --regid="$group" --clear-groups -- mkdir -m 750 -- "$folder"
  fi
}

# === The service ===

has_service() {
  [ -n "$SLUICEGATE_SYSTEMCTL" ] || [ -d /run/systemd/system ]
}

# systemctl, where it has something to steer.
service() {
  has_service || die "systemd does not run here: start and stop the gateway by what supervises it"
  "${SLUICEGATE_SYSTEMCTL:-systemctl}" "$@"
}

is_active() {
  has_service && service is-active --quiet "${1:-$SLUICEGATE_UNIT}"
}

# The process that systemd watches; 0 when there is none.
main_pid() {
  service show --property=MainPID --value "${1:-$SLUICEGATE_UNIT}"
}

# number NAME VALUE: ends unless it is a whole number.
number() {
  [[ $2 =~ ^[0-9]{1,9}$ ]] || die "$1 is a whole number, not $2"
}

# unit_environment [UNIT]: exports what the unit's environment files say, and where its credentials are. They are read as
# systemd reads them: a shell that sourced them would run what stands in them. Meant for a subshell.
unit_environment() {
  local unit=${1:-$SLUICEGATE_UNIT} line name value file
  has_service || return 0
  if [ -d "/run/credentials/$unit" ]; then
    export CREDENTIALS_DIRECTORY="/run/credentials/$unit"
  elif lend_credentials "$unit"; then
    export CREDENTIALS_DIRECTORY="$LENT"
  fi
  while read -r file _; do
    [ -r "$file" ] || continue
    while IFS= read -r line || [ -n "$line" ]; do
      [[ $line =~ ^[[:space:]]*([A-Za-z_][A-Za-z0-9_]*)=(.*)$ ]] || continue
      name=${BASH_REMATCH[1]} value=${BASH_REMATCH[2]}
      value=${value%"${value##*[![:space:]]}"}
      if [[ $value =~ ^\"(.*)\"$ || $value =~ ^\'(.*)\'$ ]]; then
        value=${BASH_REMATCH[1]}
      fi
      export "$name=$value"
    done <"$file"
  done < <(service show --property=EnvironmentFiles --value "$unit" 2>/dev/null)
}

# Of a unit that does not run, systemd has the credentials nowhere: puts those that its files name into LENT. Fails when
# there are none, or this user may not read them.
lend_credentials() {
  local line name path instance=${1#*@} found=1
  instance=${instance%.service}
  while read -r line; do
    # systemd shows the lines as they stand in the file.
    line=${line//%i/$instance}
    name=${line#*=} path=${line#*:}
    name=${name%%:*}
    [[ $name =~ ^[A-Za-z0-9_.-]+$ ]] && [[ $path == /* ]] && [ -r "$path" ] || continue
    case $line in
      LoadCredential=*) (umask 077 && cat -- "$path" >"$LENT/$name") || continue ;;
      *) (umask 077 && systemd-creds decrypt --name="$name" -- "$path" "$LENT/$name" 2>/dev/null) || continue ;;
    esac
    found=0
  done < <(service cat "$unit" 2>/dev/null | grep -E '^LoadCredential(Encrypted)?=.+:/' || true)
  if [ "$found" -eq 0 ] && [ "$(id -u)" -eq 0 ] && getent passwd "$SLUICEGATE_USER" >/dev/null; then
    chown -R -- "$SLUICEGATE_USER" "$LENT"
  fi
  return "$found"
}

# as_service COMMAND ...: runs it as the service's user, with the one capability of the unit, where that can be done.
as_service() {
  if [ "$(id -u)" -eq 0 ] && [ "$SLUICEGATE_USER" != root ] && getent passwd "$SLUICEGATE_USER" >/dev/null &&
    command -v setpriv >/dev/null; then
    setpriv --reuid="$SLUICEGATE_USER" --regid="$(id -g "$SLUICEGATE_USER")" --init-groups \
      --inh-caps=+net_bind_service --ambient-caps=+net_bind_service -- "$@"
  else
    "$@"
  fi
}

# check_config BINARY [FILE [UNIT]]: what this binary says about the configuration, in the unit's environment. While the
# unit runs it is asked as root: its user cannot see that the ports are held by the very gateway that the file is for. What
# that user may not read, the reload or the hand-over that follows finds.
check_config() (
  unit=${3:-$SLUICEGATE_UNIT}
  unit_environment "$unit"
  if is_active "$unit"; then
    "$1" check -c "${2:-$SLUICEGATE_CONFIG}"
  else
    as_service "$1" check -c "${2:-$SLUICEGATE_CONFIG}"
  fi
)

# === The gateway ===

# ctl ARGUMENT ...: `sluicegate ctl` for the configuration in force. The admin token comes from the configuration, the
# unit's credentials, SLUICEGATE_ADMIN_TOKEN or the file that SLUICEGATE_TOKEN_FILE names: never from an argument.
# CTL_SECONDS bounds how long it may take.
ctl() (
  unit_environment
  arguments=(-c "$SLUICEGATE_CONFIG")
  [ -z "${SLUICEGATE_TOKEN_FILE:-}" ] || arguments+=(--token-file "$SLUICEGATE_TOKEN_FILE")
  ${CTL_SECONDS:+timeout "$CTL_SECONDS"} "$SLUICEGATE_BIN" ctl "${arguments[@]}" "$@"
)

# version_of BINARY: its version; fails when it does not run.
version_of() {
  local words
  words=$(timeout 10 "$1" version 2>/dev/null) && [[ $words =~ ^sluicegate\ ([0-9A-Za-z.+~-]+)$ ]] && echo "${BASH_REMATCH[1]}"
}

# field NAME: a value of the process from the status on stdin.
field() {
  sed -n "s/^$1: //p" | tr -d "'\"" | head -n 1
}

# The pools from the status on stdin that have a usable member, one a line.
usable_pools() {
  awk '/^pools:/ { inside = 1; next }
       inside && /^[^ -]/ { inside = 0 }
       inside && /^- name: / { name = substr($0, 9) }
       inside && /^  usable: true/ { print name }' | sort
}

# gate VERSION SECONDS POOLS [URL ...]: waits until the gateway answers as this version, does not drain, has all of these
# pools usable, and answers each URL with a good status; three looks in a row, for one may be luck. Fails with the reason
# in GATE.
gate() {
  local version=$1 deadline=$((SECONDS + $2)) pools=$3 looks=0 status now
  shift 3
  while :; do
    if look "$version" "$pools" "$@"; then
      looks=$((looks + 1))
      [ "$looks" -lt 3 ] || return 0
    else
      looks=0
      [ "$SECONDS" -lt "$deadline" ] || return 1
    fi
    sleep 0.3
  done
}

# shellcheck disable=SC2034
look() {
  local version=$1 pools=$2 status now missing url
  shift 2
  if ! status=$(ctl status --yaml 2>&1); then
    GATE="it does not answer: $status"
    return 1
  fi
  now=$(field version <<<"$status")
  if [ -n "$version" ] && [ "$now" != "$version" ]; then
    GATE="version $now answers, not $version"
    return 1
  fi
  if [ "$(field draining <<<"$status")" = true ]; then
    GATE="it drains"
    return 1
  fi
  missing=$(comm -23 <(printf '%s' "${pools:+$pools$'\n'}") <(usable_pools <<<"$status") | paste -sd ' ')
  if [ -n "$missing" ]; then
    GATE="pools that had a usable member have none: $missing"
    return 1
  fi
  for url in "$@"; do
    if ! curl -q -sS -f --max-time 5 -o /dev/null "$url" 2>"$SCRATCH/probe"; then
      GATE="$url: $(head -n 1 "$SCRATCH/probe")"
      return 1
    fi
  done
}
