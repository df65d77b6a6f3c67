# shellcheck shell=bash
# From the package to the first answer: who runs, with which rights, under which limits, and what is told of it.

check_install() {
  local said seen pid begun
  journal_mark
  begun=$(now_ms)
  check "the package installs without a network" package_install 1
  check "the service runs as soon as it is installed" inside systemctl is-active "$UNIT"
  check "it starts with the machine" inside systemctl is-enabled "$UNIT"
  check "the configuration of the package answers" get / 8080
  note "installed and answering after $(($(now_ms) - begun)) ms"
  holds "the journal has a line with version and ports" 'sluicegate [0-9.]+ serves on 127\.0\.0\.1:8080' "$(journal)"

  # The way of an operator: edit, check, restart.
  configuration first | configure
  check "a configuration for port 80 is accepted" inside sluicegate check -c "$CONFIG"
  begun=$(now_ms)
  check "a restart takes it" inside systemctl restart "$UNIT"
  same "port 80 answers as soon as the restart returns ($(($(now_ms) - begun)) ms)" first "$(get /)"
  holds "the status tells what it does" 'serving|serves' "$(property StatusText)"
  same "systemd is told when it is ready, and not before" notify "$(property Type)"

  pid=$(main_pid)
  same "it runs as its own user" sluicegate "$(inside ps -o user= -p "$pid" | tr -d ' ')"
  for seen in CapInh CapPrm CapEff CapBnd CapAmb; do
    same "$seen is CAP_NET_BIND_SERVICE alone" 0000000000000400 "$(of_process $seen)"
  done
  same "it gains no privileges" 1 "$(of_process NoNewPrivs)"
  same "system calls are filtered" 2 "$(of_process Seccomp)"
  said=$(inside cat "/proc/$pid/limits")
  holds "no core is written" 'Max core file size +0 ' "$said"
  # A container that may not raise limits has what the host has.
  seen=$(awk '/^Max open files/ { print $5 }' <<<"$said")
  if [ "$seen" -ge 1048576 ] || [ "$seen" -ge "$(ulimit -Hn)" ]; then
    ok "as many open files as the machine allows ($seen)"
  else
    not_ok "as many open files as the machine allows" "$said"
  fi

  lacks "its user cannot change its program" sluicegate "$(inside find /usr/bin/sluicegate /usr/lib/sluicegate -user sluicegate -o -group sluicegate)"
  same "its configuration is root's, and its group reads it" "640 root:sluicegate" "$(inside stat -c '%a %U:%G' "$CONFIG")"
  same "its directory is closed to others" "750 root:sluicegate" "$(inside stat -c '%a %U:%G' /etc/sluicegate)"
  holds "it has no shell" '/(nologin|false)$' "$(inside getent passwd sluicegate)"

  for seen in $(inside systemctl list-unit-files --no-legend 'sluicegate*' | awk '{ sub(/@\./, "@one.", $1); print $1 }'); do
    said=$(inside systemd-analyze verify "$seen" 2>&1 || true)
    same "systemd-analyze verify has nothing to say on $seen" "" "$said"
  done
  at_most "the exposure of the running service" 1.6 "$(exposure)"
  said=$(inside sluicegate-ops validate 2>&1 || true)
  holds "sluicegate-ops validate finds nothing wrong" '^Failed: 0$' "$said"
  lacks "and nothing of the package that too many may read" 'everybody may read' "$said"
  same "each unit is looked at once" "" "$(grep -oE 'unit: .*/' <<<"$said" | sort -u | sed 1d)"
  said=$(inside sluicegate-ops preflight 2>&1 || true)
  lacks "neither does sluicegate-ops preflight" 'everybody may read' "$said"
  check "logrotate accepts the rules of the package" logrotate_accepts
}

# The overall exposure that systemd sees: exposure [UNIT]
# shellcheck disable=SC2120
exposure() {
  inside systemd-analyze security --no-pager "${1:-$UNIT}" | sed -nE 's/.*Overall exposure level for .*: ([0-9.]+).*/\1/p'
}

logrotate_accepts() {
  local said
  said=$(inside logrotate --debug /etc/logrotate.d/sluicegate 2>&1) || { echo "$said"; return 1; }
  ! grep -iE 'error|duplicate|bad ' <<<"$said"
}
