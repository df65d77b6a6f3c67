# shellcheck shell=bash
# A backup of this machine serves on another; one that was damaged is refused before anything is touched.

check_backup() {
  local file kept before
  configuration "from the backup" | configure
  inside install -Dm 640 -g sluicegate /dev/stdin /etc/sluicegate/tls/secret.pem <<<"a secret"
  fresh_start
  check "a backup is made" inside sluicegate-ops backup backup
  check "the service of the timer makes backups and verifies them" inside systemctl start sluicegate-backup.service
  file=$(inside sh -c 'ls -t /var/backups/sluicegate/*.tar.gz | head -n 1')
  same "nobody but root can read it" 600 "$(inside stat -c %a "$file")"
  kept=$(mktemp -d "$CACHE/backup.XXXXXX")
  cp "$ROOT$file"* "$kept/"

  # Another machine: a new container in the place of this one.
  load_abandon
  container_stop
  if ! container_boot; then
    not_ok "a second container boots"
    return 0
  fi
  journal_mark
  check "the package installs there" package_install 1
  inside install -d -m 700 /var/backups/sluicegate
  cp "$kept"/* "$ROOT/var/backups/sluicegate/"

  # One byte in the middle of the archive.
  cp "$ROOT$file" "$kept/good"
  printf 'X' | dd of="$ROOT$file" bs=1 seek=$(($(stat -c %s "$kept/good") / 2)) conv=notrunc status=none
  before=$(inside find /etc/sluicegate -type f -exec sha256sum {} +)
  refused "a damaged backup is refused" inside sluicegate-ops backup restore "$file"
  same "and nothing was touched" "$before" "$(inside find /etc/sluicegate -type f -exec sha256sum {} +)"
  check "the service still answers" get / 8080

  cp "$kept/good" "$ROOT$file"
  check "the good one is restored" inside sluicegate-ops backup restore "$file" --start
  inside systemctl restart "$UNIT"
  same "and serves" "from the backup" "$(get /)"
  same "secrets are there, and are none of others" "640 root:sluicegate" "$(inside stat -c '%a %U:%G' /etc/sluicegate/tls/secret.pem)"
  rm -rf "$kept"
}
