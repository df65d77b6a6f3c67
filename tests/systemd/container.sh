# shellcheck shell=bash disable=SC2034
# A container with a real systemd as its first process: made from a cached file system, booted, entered, stopped.
#
# Sourced by `lane`. Needs CACHE (a directory that stays) and SUITE; sets LEADER (its first process, as seen from outside), ROOT
# (its files, as seen from outside) and SCRATCH (a directory for what is written about it).

# What is in the file system beside Debian's essential packages: what the package depends on, and what the checks call.
PACKAGES=systemd,systemd-sysv,dbus,ca-certificates,curl,iproute2,jq,logrotate,man-db,openssl,procps,rsyslog

BASE='' ROOT='' LEADER='' KEEPER='' SCRATCH='' GROUP=''

# How a program begins that is to see the second kind of control groups, and no other, where the host has the first or a mixture
# of both. Only in a mount namespace of its own.
SECOND_KIND='mount -t cgroup2 cgroup2 /sys/fs/cgroup; '

# Makes the file system that containers begin with, where there is none yet.
container_base() {
  BASE=$CACHE/$SUITE-$(sha256sum <<<"$PACKAGES" | cut -c 1-12)
  mkdir -p "$CACHE"
  # Two lanes at once make it once.
  exec 9>"$CACHE/$SUITE.lock"
  flock 9
  if [ ! -e "$BASE" ]; then
    rm -rf "${CACHE:?}/$SUITE"-*
    # Writes that are to survive a power failure only cost time here, and so does the index of manual pages.
    # shellcheck disable=SC2016
    mmdebstrap --quiet --variant=minbase --format=directory --include="$PACKAGES" --aptopt='Acquire::Languages "none"' \
      --customize-hook='rm -f "$1/var/lib/man-db/auto-update"' \
      --customize-hook='echo force-unsafe-io >"$1/etc/dpkg/dpkg.cfg.d/unsafe-io"' \
      "$SUITE" "$BASE.part" >"$CACHE/$SUITE.log" 2>&1 </dev/null || { tail -n 5 "$CACHE/$SUITE.log" >&2; return 1; }
    mv "$BASE.part" "$BASE"
  fi
  flock -u 9
  exec 9>&-
}

# Boots a new container. What is written in it goes to memory, and with it.
container_boot() {
  SCRATCH=$(mktemp -d)
  # Containers that are started from one control group would all be in its child `payload`, and would share the groups of
  # units of the same name: a service of the one would never be seen to end while that of the other runs.
  GROUP=/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)/sluicegate-$$-$RANDOM
  # It dies with this script, however that ends. Without the last two options, filters of addresses would silently do nothing.
  # shellcheck disable=SC2016
  setpriv --pdeathsig KILL unshare --mount sh -euc "$SECOND_KIND"'mkdir "$0"; echo $$ >"$0/cgroup.procs"; exec "$@"' "$GROUP" \
    systemd-nspawn --quiet --directory="$BASE" --volatile=overlay --boot --machine="sluicegate-$$-$RANDOM" --register=no \
    --keep-unit --private-network --console=pipe --capability=all --system-call-filter=bpf \
    </dev/null >"$SCRATCH/console" 2>&1 &
  KEEPER=$!
  local state=''
  # Some seconds; longer on a machine that has other things to do.
  for _ in $(seq 900); do
    LEADER=$(pgrep -P "$KEEPER" | head -n 1) || true
    # What comes before it is still on the host, whose own systemd would answer.
    if [ -n "$LEADER" ] && [ "$(readlink "/proc/$LEADER/ns/pid")" != "$(readlink /proc/self/ns/pid)" ]; then
      ROOT=/proc/$LEADER/root
      state=$(inside systemctl is-system-running 2>/dev/null) || true
      case "$state" in running | degraded) return 0 ;; esac
    fi
    kill -0 "$KEEPER" 2>/dev/null || break
    sleep 0.1
  done
  echo "systemd does not boot in a container here:" >&2
  echo "after $SECONDS s it is: ${state:-not there}" >&2
  tail -n 5 "$SCRATCH/console" >&2
  return 1
}

# Runs a command in the container.
inside() { nsenter --target "$LEADER" --all -- "$@"; }

# Runs a program of the host on the container's network.
beside() { nsenter --target "$LEADER" --net -- "$@"; }

# The number by which the host knows a process of the container.
seen_from_outside() {
  local status
  for status in /proc/[0-9]*/status; do
    if [ "$(readlink "${status%/status}/ns/pid")" = "$(readlink "/proc/$LEADER/ns/pid")" ] &&
      [ "$(awk '/^NSpid:/ { print $NF }' "$status")" = "$1" ]; then
      status=${status#/proc/}
      echo "${status%/status}"
      return 0
    fi
  done 2>/dev/null
  return 1
}

# Stops the container and takes it away. To be called on every way out.
container_stop() {
  [ -n "$KEEPER" ] || return 0
  if [ -n "$LEADER" ] && kill -0 "$KEEPER" 2>/dev/null; then
    # The signal of systemd for an end without stopping every service first: nothing in there is to be kept.
    kill -s RTMIN+14 "$LEADER" 2>/dev/null || true
    for _ in $(seq 100); do
      kill -0 "$KEEPER" 2>/dev/null || break
      sleep 0.1
    done
  fi
  kill -KILL "$KEEPER" 2>/dev/null || true
  wait "$KEEPER" 2>/dev/null || true
  # Its last processes may still be on their way out.
  # shellcheck disable=SC2016
  unshare --mount sh -euc "$SECOND_KIND"'for _ in $(seq 100); do
    [ -d "$0" ] || break
    find "$0" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.1
  done' "$GROUP" || true
  rm -rf "$SCRATCH"
  ROOT='' LEADER='' KEEPER='' SCRATCH='' GROUP=''
}
