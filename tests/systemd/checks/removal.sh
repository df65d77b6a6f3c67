# shellcheck shell=bash
# An upgrade keeps what an operator has edited; a purge leaves nothing but what is the operator's, and says so.

check_removal() {
  local before after said
  configuration edited | configure
  inside sh -c 'echo "# edited" >>/etc/default/sluicegate'
  fresh_start
  check "an upgrade installs" package_install 4
  same "the edited configuration is still there" edited "$(get /)"
  same "and so are the edited variables" "# edited" "$(inside tail -n 1 /etc/default/sluicegate)"
  check "a removal succeeds" inside env DEBIAN_FRONTEND=noninteractive apt-get remove --yes --quiet sluicegate
  refused "the service has ended" answers
  check "a removal keeps the configuration" inside test -e "$CONFIG"
  # As timers and an instance leave them.
  inside touch /var/lib/systemd/timers/stamp-sluicegate-backup.timer
  inside sh -c 'echo A=b >/etc/default/sluicegate-shop; install -d -m 700 /var/backups/sluicegate'
  if said=$(inside env DEBIAN_FRONTEND=noninteractive apt-get purge --yes --quiet sluicegate 2>&1); then
    ok "a purge succeeds"
  else
    not_ok "a purge succeeds" "$said"
  fi
  holds "it says that backups are left" 'left for you to keep or to delete: /var/backups/sluicegate' "$said"
  holds "and variables of instances" 'left for you to keep or to delete: /etc/default/sluicegate-shop' "$said"
  inside rm /etc/default/sluicegate-shop
  # Backups are the operator's, the journal and what the package manager remembers are the system's, and the user stays, for
  # its number must not become another's.
  inside rm -f /var/tmp/sluicegate.deb /var/tmp/sluicegate-{1..4}.deb
  after=$(inside find / -xdev \( -path /proc -o -path /sys -o -path /var/lib/dpkg -o -path /var/log/journal \
    -o -path /var/backups/sluicegate -o -path /var/cache/man -o -path /run/log -o -path /run/host \) -prune -o -iname '*sluicegate*' -print)
  same "a purge leaves no file" "" "$after"
  same "and no unit" "" "$(inside systemctl list-unit-files --no-legend 'sluicegate*')"
  before=$(inside systemctl list-units --all --no-legend --plain 'sluicegate*' | awk '$2 != "not-found"')
  same "and none that systemd still has" "" "$before"
}
