# shellcheck shell=bash disable=SC2154
# The sandbox bites: a probe in it, in the place of the gateway, is refused what the same probe outside of it may do.

# What the gateway needs, and may.
ALLOWED='write-state write-log write-runtime socket-inet socket-unix'
# What is mounted writable, for those whom the modes of files let.
WRITABLE='/dev/shm /run /run/lock /run/sluicegate-probe /tmp /var/lib/sluicegate/probe /var/log/sluicegate/probe /var/tmp'

check_hardening() {
  local outside seen name verdict reason wanted compared=0
  local places=(/var/lib/sluicegate/probe /var/log/sluicegate/probe /run/sluicegate-probe)
  install -m 755 "$here/probe.pl" "$ROOT/usr/bin/sluicegate-probe"
  inside install -d "${places[@]}"
  inside touch /tmp/sluicegate-probe-outside
  outside=$(inside sluicegate-probe "${places[@]}")

  # The template, so that directories and all else of the gateway itself stay as they are.
  inside install -d /run/systemd/system/sluicegate@probe.service.d
  inside tee /run/systemd/system/sluicegate@probe.service.d/probe.conf >/dev/null <<'UNIT'
[Service]
Type=oneshot
Restart=no
WatchdogSec=0
ExecStart=
ExecStart=/usr/bin/sluicegate-probe /var/lib/sluicegate/%i /var/log/sluicegate/%i /run/sluicegate-%i
UNIT
  inside systemctl daemon-reload
  journal_mark
  check "a probe runs in the place of the gateway" inside systemctl start sluicegate@probe.service
  seen=$(journal sluicegate@probe.service)

  while read -r name verdict reason; do
    # What the probe may not do outside of the sandbox either proves nothing.
    if ! grep -qx "$name allowed" <<<"$outside"; then
      note "$name is refused here with and without the sandbox"
      continue
    fi
    wanted=refused
    [[ " $ALLOWED " != *" $name "* ]] || wanted=allowed
    same "in the sandbox: $name${reason:+ ($reason)}" "$wanted" "$verdict"
    compared=$((compared + 1))
  done < <(grep -E '^[a-z-]+ (allowed|refused)' <<<"$seen")
  if [ "$compared" -ge 40 ]; then
    ok "the probe compared $compared things"
  else
    not_ok "the probe compared at least 40 things" "$compared" "$seen" "outside of the sandbox:" "$outside"
  fi
  # A container has mounts of its own below /run/host.
  same "only the directories of the service are writable" "$WRITABLE" \
    "$(sed -n 's/^writable //p' <<<"$seen" | tr ' ' '\n' | grep -v '^/run/host' | paste -sd ' ')"
  inside rm -rf /run/systemd/system/sluicegate@probe.service.d /usr/bin/sluicegate-probe /tmp/sluicegate-probe-outside "${places[@]}"
  inside systemctl daemon-reload
}
