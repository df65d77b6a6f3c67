#!/usr/bin/env bash
# Cases of packaging/ops/backup.
# shellcheck source-path=SCRIPTDIR source=suite.sh
. "$TREE/tests/scripts/suite.sh"

backup() { "$OPS/backup" "$@"; }
newest() { find "$SLUICEGATE_BACKUP_DIR" -name "sluicegate_${1}_*.tar.gz" | sort | tail -n 1; }

# A configuration with a secret and a link, a state, logs and an environment.
furnish() {
  a_page
  mkdir "$SLUICEGATE_CONFIG_DIR/tls"
  echo key >"$SLUICEGATE_CONFIG_DIR/tls/site.key"
  chmod 600 "$SLUICEGATE_CONFIG_DIR/tls/site.key"
  echo 'A=b' >"$SLUICEGATE_ENV_DIR/sluicegate"
  echo state >"$SLUICEGATE_STATE_DIR/limits.state"
  echo line >"$SLUICEGATE_LOG_DIR/access.log"
}

# hostile TAR-ARGUMENT ...: makes a backup of these members, with the checksum it should have, and expects a refusal.
hostile() {
  local words=$1 archive=$SLUICEGATE_BACKUP_DIR/sluicegate_config_20260101_000000.tar.gz
  shift
  (umask 077 && mkdir -p "$SLUICEGATE_BACKUP_DIR")
  tar -czPf "$archive" "$@" 2>/dev/null
  chmod 600 "$archive"
  (cd "$SLUICEGATE_BACKUP_DIR" && sha256sum "$(basename "$archive")" >"$archive.sha256")
  run 1 backup restore "$archive"
  says "is refused, and nothing was changed: $words"
}

# forged WORDS CHANGE: has Python write a backup whose members, of a list of TarInfo with their bytes, are changed; expects its
# refusal with these words.
forged() {
  local archive=$SLUICEGATE_BACKUP_DIR/sluicegate_config_20260101_000000.tar.gz
  python3 - "$archive" "$SLUICEGATE_USER" "$(id -gn)" "$2" <<'PY'
import gzip, io, sys, tarfile
path, user, group, change = sys.argv[1:]
members = []
for name in ("MANIFEST", "config", "config/sluicegate.yaml", "environment"):
    member = tarfile.TarInfo(name)
    folder = name in ("config", "environment")
    member.type, member.mode = (tarfile.DIRTYPE, 0o755) if folder else (tarfile.REGTYPE, 0o640)
    member.uname, member.gname, member.size = user, group, 0 if folder else 1
    members.append(member)
cut = 0
exec(change)
plain = io.BytesIO()
with tarfile.open(fileobj=plain, mode="w", format=tarfile.GNU_FORMAT) as archive:
    for member in members:
        archive.addfile(member, io.BytesIO(b"x" * member.size))
    end = archive.offset
open(path, "wb").write(gzip.compress(plain.getvalue()[:end] if cut else plain.getvalue()))
PY
  chmod 600 "$archive"
  (cd "$SLUICEGATE_BACKUP_DIR" && sha256sum "$(basename "$archive")" >"$archive.sha256")
  if [ -z "$1" ]; then
    run 0 backup verify "$archive"
  else
    run 1 backup verify "$archive"
    says "$1"
  fi
}

# killed ARGUMENT ...: runs a restore that ends by SIGKILL. Its process is in $HOST/restore.pid.
killed() {
  local code=0
  bash -c 'echo $$ >"$1"; shift; exec "$@"' - "$HOST/restore.pid" "$OPS/backup" restore "$@" >"$HOST/said" 2>&1 || code=$?
  is "$code" 137
}
# The page that a backup has.
page_in() { tar -xzOf "$1" config/sluicegate.yaml | grep -o 'page [a-z]*'; }

# A name of a user that looks like the rest of a line of tar's list.
shifted_columns() {
  local archive=$SLUICEGATE_BACKUP_DIR/sluicegate_config_20260101_000000.tar.gz
  python3 - "$archive" "$SLUICEGATE_USER" <<'PY'
import io, sys, tarfile
with tarfile.open(sys.argv[1], "w:gz") as archive:
    for name in ("MANIFEST", "config/a", "../escaped"):
        member = tarfile.TarInfo(name)
        member.size, member.uname, member.gname = 1, sys.argv[2], sys.argv[2]
        if name == "../escaped":
            member.gname = "x 1 2026-01-01 00:00 config/b"
        archive.addfile(member, io.BytesIO(b"x"))
PY
  (cd "$SLUICEGATE_BACKUP_DIR" && sha256sum "$(basename "$archive")" >"$archive.sha256")
  run 1 backup restore "$archive"
  says "nothing was changed"
}

# instances: two gateways by the template, a and b, on PORT_A and PORT_B, that serve a page each; and a state for b.
instances() {
  local name
  furnish
  printf '%s\n' "$HOST/instance" run -c "$SLUICEGATE_CONFIG_DIR/%i.yaml" >"$STAND_IN/sluicegate@.command"
  # It does not start from a state that it cannot read.
  printf '#!/bin/bash\n[[ $* != *b.yaml ]] || ! grep -qx torn "%s"/b/limits.state || exit 1\nexec "%s" "$@"\n' "$SLUICEGATE_STATE_DIR" "$SLUICEGATE" >"$HOST/instance"
  chmod 755 "$HOST/instance"
  mkdir "$SLUICEGATE_STATE_DIR/b"
  echo whole >"$SLUICEGATE_STATE_DIR/b/limits.state"
  PORT_A=$(free_port) PORT_B=$(free_port)
  for name in a:$PORT_A b:$PORT_B; do
    printf 'listen: 127.0.0.1:%s\nadmin: 127.0.0.1:%s\nserver: { timeouts: { drain: 1s } }\nroutes: [ { match: /, respond: { status: 200, body: "%s one" } } ]\n' \
      "${name#*:}" "$(free_port)" "${name%:*}" >"$SLUICEGATE_CONFIG_DIR/${name%:*}.yaml"
  done
  chmod 640 "$SLUICEGATE_CONFIG_DIR"/[ab].yaml
  "$SLUICEGATE_SYSTEMCTL" start sluicegate@a.service sluicegate@b.service
}
pages() { echo "$(PORT=$PORT_A page) $(PORT=$PORT_B page)"; }
# What the two serve is another page from now on.
pages_two() {
  sed -i 's/ one/ two/' "$SLUICEGATE_CONFIG_DIR"/[ab].yaml
  "$SLUICEGATE" ctl -c "$SLUICEGATE_CONFIG_DIR/a.yaml" reload >/dev/null
  "$SLUICEGATE" ctl -c "$SLUICEGATE_CONFIG_DIR/b.yaml" reload >/dev/null
}
pids() { echo "$(main_pid sluicegate@a.service) $(main_pid sluicegate@b.service)"; }

# === Cases ===

what_is_restored_is_what_was_backed_up() {
  furnish
  local before archive
  before=$(picture "$SLUICEGATE_CONFIG_DIR")
  run 0 backup backup
  archive=$(newest config)
  is "$(stat -c %a "$archive") $(stat -c %a "$archive.sha256") $(stat -c %a "$SLUICEGATE_BACKUP_DIR")" "600 600 700"
  rm -r "${SLUICEGATE_CONFIG_DIR:?}"/* "$SLUICEGATE_ENV_DIR/sluicegate"
  # A relative path, from a folder of its own.
  cd "$SLUICEGATE_BACKUP_DIR"
  run 0 backup restore "$(basename "$archive")"
  is "$(picture "$SLUICEGATE_CONFIG_DIR")" "$before"
  is "$(cat "$SLUICEGATE_ENV_DIR/sluicegate")" "A=b"
  is "$(find "$HOST" -maxdepth 1 -name '.sluicegate-restore*' -o -maxdepth 1 -name '*before-restore*')" ""
}

a_running_gateway_takes_what_is_restored() {
  furnish
  run 0 backup backup
  sed -i 's/page one/page two/' "$SLUICEGATE_CONFIG"
  serve "$SLUICEGATE"
  local pid
  pid=$(main_pid)
  is "$(page)" "page two"
  run 0 backup restore "$(newest config)"
  is "$(page)" "page one"
  is "$(main_pid)" "$pid"
  # What was there before is in a backup too.
  is "$(find "$SLUICEGATE_BACKUP_DIR" -name '*.tar.gz' | wc -l)" 2
  run 0 backup restore "$(newest config)"
  is "$(page)" "page two"
}

a_full_backup_brings_the_state_back() {
  furnish
  serve "$SLUICEGATE"
  mkdir "$SLUICEGATE_LOG_DIR/8080"
  echo line >"$SLUICEGATE_LOG_DIR/8080/access.log"
  touch -d '9 days ago' "$SLUICEGATE_LOG_DIR/access.log.9"
  run 0 backup full
  is "$(tar -tzf "$(newest full)" | grep '^logs/.*[^/]$' | paste -sd ' ')" "logs/8080/access.log logs/access.log"
  echo other >"$SLUICEGATE_STATE_DIR/limits.state"
  run 0 backup restore --config-only "$(newest full)"
  is "$(cat "$SLUICEGATE_STATE_DIR/limits.state")" other
  run 0 backup restore "$(find "$SLUICEGATE_BACKUP_DIR" -name 'sluicegate_full_*.gz' | sort | head -n 1)"
  is "$(cat "$SLUICEGATE_STATE_DIR/limits.state")" state
  is "$(page)" "page one"
}

a_credential_of_a_service_that_is_stopped_is_found() {
  furnish
  echo 'a9f3c2e8d7b6' >"$SLUICEGATE_CONFIG_DIR/token"
  chmod 600 "$SLUICEGATE_CONFIG_DIR/token"
  sed -i "s|^admin: .*|admin: { address: 127.0.0.1:$ADMIN, token: \"\${credential:token}\" }|" "$SLUICEGATE_CONFIG"
  run 0 backup backup
  run 1 backup restore "$(newest config)"
  says "the credential token is not there"
  printf '[Service]\nLoadCredential=token:%s\n' "$SLUICEGATE_CONFIG_DIR/token" >"$STAND_IN/sluicegate.service.conf"
  run 0 backup restore "$(newest config)"
  is "$(find "$TMPDIR" -mindepth 1)" ""
}

a_configuration_that_is_refused_is_not_restored() {
  furnish
  echo 'nonsense: true' >>"$SLUICEGATE_CONFIG"
  run 0 backup backup
  sed -i '/nonsense/d' "$SLUICEGATE_CONFIG"
  serve "$SLUICEGATE"
  local before pid
  before=$(picture "$SLUICEGATE_CONFIG_DIR")
  pid=$(main_pid)
  run 1 backup restore "$(newest config)"
  says nonsense
  says "everything is as it was"
  is "$(picture "$SLUICEGATE_CONFIG_DIR")" "$before"
  is "$(page)" "page one"
  is "$(main_pid)" "$pid"
}

instances_take_what_is_restored() {
  instances
  run 0 backup backup
  local before
  pages_two
  before=$(pids)
  is "$(pages)" "a two b two"
  run 0 backup restore "$(newest config)"
  is "$(pages)" "a one b one"
  is "$(pids)" "$before"
}

an_instance_that_refuses_its_file_takes_everything_back() {
  instances
  echo 'nonsense: true' >>"$SLUICEGATE_CONFIG_DIR/b.yaml"
  run 0 backup backup
  sed -i '/nonsense/d' "$SLUICEGATE_CONFIG_DIR/b.yaml"
  pages_two
  local before bad
  bad=$(newest config)
  before=$(picture "$SLUICEGATE_CONFIG_DIR") PIDS=$(pids)
  run 1 backup restore "$bad"
  says "the configuration of the backup for sluicegate@b.service is refused"
  says "everything is as it was"
  is "$(picture "$SLUICEGATE_CONFIG_DIR")" "$before"
  is "$(pages) $(pids)" "a two b two $PIDS"
  # One that only is enabled will be in force after the next boot.
  "$SLUICEGATE_SYSTEMCTL" stop sluicegate@b.service
  touch "$STAND_IN/sluicegate@b.service.enabled"
  run 1 backup restore "$bad"
  says "the configuration of the backup for sluicegate@b.service is refused"
  rm "$STAND_IN/sluicegate@b.service.enabled"
  run 0 backup restore "$bad"
  is "$(PORT=$PORT_A page)" "a one"
}

an_instance_that_the_backup_knows_nothing_of_is_told() {
  instances
  rm "$SLUICEGATE_CONFIG_DIR/b.yaml"
  run 0 backup backup
  sed 's/a one/b one/' "$SLUICEGATE_CONFIG_DIR/a.yaml" >"$SLUICEGATE_CONFIG_DIR/b.yaml"
  run 1 backup restore "$(newest config)"
  says "sluicegate@b.service is in force on this host, and the backup has no b.yaml"
  is "$(pages)" "a one b one"
  there "$SLUICEGATE_CONFIG_DIR/b.yaml"
}

a_state_is_brought_back_to_every_instance_or_to_none() {
  instances
  run 0 backup full
  local good torn before
  good=$(newest full)
  echo torn >"$SLUICEGATE_STATE_DIR/b/limits.state"
  run 0 backup full
  torn=$(newest full)
  echo later >"$SLUICEGATE_STATE_DIR/b/limits.state"
  pages_two
  before=$(pids)
  run 1 backup restore "$torn"
  says "sluicegate@b.service does not start"
  says "everything is as it was"
  is "$(cat "$SLUICEGATE_STATE_DIR/b/limits.state")" later
  is "$(pages)" "a two b two"
  run 0 backup restore "$good"
  is "$(cat "$SLUICEGATE_STATE_DIR/b/limits.state")" whole
  is "$(pages)" "a one b one"
  [ "$(pids)" != "$before" ] || wrong "they were not started again"
}

a_damaged_backup_is_refused_before_anything_is_touched() {
  furnish
  run 0 backup backup
  local archive before
  archive=$(newest config)
  before=$(picture "$HOST/etc")
  printf 'x' | dd of="$archive" bs=1 seek=100 conv=notrunc status=none
  run 1 backup verify
  says "✗"
  run 1 backup restore "$archive"
  says "its checksum is not the one beside it"
  # Also when somebody has made the checksum anew.
  (cd "$SLUICEGATE_BACKUP_DIR" && sha256sum "$(basename "$archive")" >"$archive.sha256")
  run 1 backup restore "$archive"
  says "nothing was changed"
  rm "$archive.sha256"
  run 1 backup verify "$archive"
  says "is not beside it"
  is "$(picture "$HOST/etc")" "$before"
}

a_hostile_backup_is_refused_before_anything_is_touched() {
  furnish
  local before=$HOST/evil
  mkdir -p "$before/config" "$before/outside"
  cd "$before"
  echo 'kind: config' >MANIFEST
  echo x >config/sluicegate.yaml
  echo x >outside/file
  local good=(MANIFEST config)
  before=$(picture "$HOST/etc")
  hostile "a path that leads out" "${good[@]}" --transform 's,outside/file,config/../../escaped,' outside/file
  hostile "an absolute path" "${good[@]}" "$PWD/outside/file"
  hostile "a path that no backup has" "${good[@]}" outside/file
  ln -s /etc/shadow config/link
  hostile "neither a file nor a folder" "${good[@]}"
  rm config/link
  ln config/sluicegate.yaml config/hard
  hostile "neither a file nor a folder" "${good[@]}"
  rm config/hard
  mkfifo config/pipe
  hostile "neither a file nor a folder" "${good[@]}"
  rm config/pipe
  hostile "neither a file nor a folder" --transform 's,^dev/null$,config/null,' "${good[@]}" -C / dev/null
  chmod 4755 config/sluicegate.yaml
  hostile "it has a setuid" "${good[@]}"
  chmod 666 config/sluicegate.yaml
  hostile "everybody may write to it" "${good[@]}"
  chmod 640 config/sluicegate.yaml
  hostile "it belongs to mallory" --owner=mallory:4242 "${good[@]}"
  shifted_columns
  hostile "it is there twice" --hard-dereference "${good[@]}" config/sluicegate.yaml
  hostile "it has no MANIFEST" config
  head -c 3000000 /dev/zero >config/bomb
  BACKUP_MAX_MB=1 hostile "" "${good[@]}"
  is "$(picture "$HOST/etc")" "$before"
  gone "$HOST/escaped"
  # And one that others could have changed.
  rm config/bomb
  tar -czf "$SLUICEGATE_BACKUP_DIR/sluicegate_config_20260101_000000.tar.gz" MANIFEST config
  (cd "$SLUICEGATE_BACKUP_DIR" && sha256sum ./*.gz | sed 's, \./, ,' >sluicegate_config_20260101_000000.tar.gz.sha256)
  chmod 666 "$SLUICEGATE_BACKUP_DIR"/*.gz
  run 1 backup verify
  says "others may write to it"
}

old_backups_go_but_never_the_last_one() {
  furnish
  run 0 backup backup
  local name
  for name in 20200101_000001:31 20200101_000002:29; do
    cp "$(newest config)" "$SLUICEGATE_BACKUP_DIR/sluicegate_config_${name%:*}.tar.gz"
    touch -d "${name#*:} days ago" "$SLUICEGATE_BACKUP_DIR/sluicegate_config_${name%:*}.tar.gz"
  done
  touch "$SLUICEGATE_BACKUP_DIR/notes.txt" -d '1 year ago'
  run 0 backup cleanup
  gone "$SLUICEGATE_BACKUP_DIR/sluicegate_config_20200101_000001.tar.gz"
  there "$SLUICEGATE_BACKUP_DIR/sluicegate_config_20200101_000002.tar.gz"
  there "$SLUICEGATE_BACKUP_DIR/notes.txt"
  touch -d '1 year ago' "$(newest config)"
  RETENTION_DAYS=1 run 0 backup cleanup
  is "$(find "$SLUICEGATE_BACKUP_DIR" -name '*.tar.gz' | wc -l)" 1
}

a_full_disk_leaves_the_earlier_backups_and_no_half_one() {
  furnish
  mkdir "$HOST/small"
  mount -t tmpfs -o size=300k tmpfs "$HOST/small" 2>/dev/null || skip "a small file system cannot be mounted here"
  SLUICEGATE_BACKUP_DIR=$HOST/small/backups
  run 0 backup backup
  head -c 1000000 /dev/urandom >"$SLUICEGATE_CONFIG_DIR/large"
  run 1 backup backup
  is "$(find "$SLUICEGATE_BACKUP_DIR" -type f | wc -l)" 2
  is "$(find "$SLUICEGATE_BACKUP_DIR" -name '.partial*')" ""
  run 0 backup verify
}

a_restore_that_is_killed_is_undone_by_the_next() {
  furnish
  run 0 backup backup
  local before
  before=$(picture "$SLUICEGATE_CONFIG_DIR")
  # As it is between the two renames, and right after them.
  mv "$SLUICEGATE_CONFIG_DIR" "$SLUICEGATE_CONFIG_DIR.before-restore"
  mkdir "$SLUICEGATE_CONFIG_DIR" "$HOST/.sluicegate-restore.12345678"
  echo 'A=c' >"$SLUICEGATE_ENV_DIR/sluicegate-b.before-restore"
  local one
  one=$(newest config)
  # Somebody has put things there since.
  sed 's/page one/page two/' "$SLUICEGATE_CONFIG_DIR.before-restore/sluicegate.yaml" >"$SLUICEGATE_CONFIG"
  run 0 backup backup
  says "waits in $SLUICEGATE_CONFIG_DIR.before-restore"
  is "$(tar -tzf "$(newest config)" | grep before-restore)" ""
  rm "$(newest config)"
  run 0 backup restore "$one"
  says "an earlier restore was killed"
  says "keeping what that restore had put there"
  is "$(picture "$SLUICEGATE_CONFIG_DIR")" "$before"
  gone "$SLUICEGATE_CONFIG_DIR.before-restore"
  gone "$HOST/.sluicegate-restore.12345678"
  local archive pages=''
  for archive in "$SLUICEGATE_BACKUP_DIR"/*.gz; do pages+="$(page_in "$archive"), "; done
  is "$pages" "page one, page two, page one, "
}

a_restore_that_is_killed_when_it_is_done_is_never_undone() {
  furnish
  run 0 backup backup
  local one
  one=$(newest config)
  sed -i 's/page one/page two/' "$SLUICEGATE_CONFIG"
  serve "$SLUICEGATE"
  # Killed when the gateway has taken it, and is asked whether it serves.
  printf '#!/bin/bash\n[[ $* != *status* ]] || kill -KILL "$(cat "%s/restore.pid")"\nexec "%s" "$@"\n' "$HOST" "$SLUICEGATE" >"$HOST/killing"
  chmod 755 "$HOST/killing"
  SLUICEGATE_BIN=$HOST/killing killed "$one"
  says "reloaded"
  is "$(page)" "page one"
  sed -i 's/page one/page three/' "$SLUICEGATE_CONFIG"
  run 0 backup restore "$one"
  says "killed when it was done"
  # What was there, as it was, is in the backup, and nothing from before.
  is "$(page_in "$(newest config)")" "page three"
  is "$(page)" "page one"

  # Killed while what was set aside is removed.
  mkdir "$HOST/fake"
  cat >"$HOST/fake/rm" <<TEXT
#!/bin/bash
# Removes half of what was set aside, and kills who asked for it.
if [[ \$* == *before-restore* ]] && [ -e "\${@: -1}/sluicegate.yaml" ]; then
  /bin/rm "\${@: -1}/sluicegate.yaml"
  kill -KILL "\$(cat "$HOST/restore.pid")"
  exit
fi
exec /bin/rm "\$@"
TEXT
  chmod 755 "$HOST/fake/rm"
  sed -i 's/page one/page four/' "$SLUICEGATE_CONFIG"
  PATH=$HOST/fake:$PATH killed "$one"
  is "$(page)" "page one"
  there "$SLUICEGATE_CONFIG_DIR.before-restore.gone"
  run 0 backup backup
  says "killed when it was done"
  is "$(page_in "$(newest config)")" "page one"
  is "$(find "$HOST" -maxdepth 1 -name '*before-restore*' -o -maxdepth 1 -name '*.restored')" ""
  run 0 backup restore "$one"
  says_not "killed"
}

links_in_folders_of_the_service_are_not_followed() {
  furnish
  echo secret >"$HOST/shadow"
  mkdir "$HOST/outside"
  echo secret >"$HOST/outside/file"
  ln -s "$HOST/shadow" "$SLUICEGATE_STATE_DIR/link"
  ln -s "$HOST/outside" "$SLUICEGATE_LOG_DIR/8080"
  run 0 backup full
  says "state/link"
  says "logs/8080"
  is "$(tar -tzf "$(newest full)" | grep -E '^(state|logs)/.' | paste -sd ' ')" "state/limits.state logs/access.log"
  run 0 backup verify
}

a_name_that_is_made_up_is_refused() {
  furnish
  run 0 backup backup
  forged "" ""
  forged "its group is x/" 'members[2].uname = "root/x"'
  forged "who is not of the gateway" 'members[2].uname = "root\t1"'
  forged "its group is mallory" 'members[2].gname = "mallory"'
  forged "a path in another than its plain form" 'members[2].name = "config//sluicegate.yaml"'
  forged "a path in another than its plain form" 'members[2].name = "config/./sluicegate.yaml"'
  forged "it has no folder environment" 'members.pop()'
  forged "its end is missing" 'cut = 1'
}

a_full_folder_for_scratch_is_not_called_damage() {
  furnish
  head -c 400000 /dev/urandom >"$SLUICEGATE_CONFIG_DIR/large"
  run 0 backup backup
  mkdir "$HOST/small"
  mount -t tmpfs -o size=200k tmpfs "$HOST/small" 2>/dev/null || skip "a small file system cannot be mounted here"
  TMPDIR=$HOST/small run 1 backup verify
  says "there is no room in $HOST/small"
  says_not damaged
}

what_a_killed_run_left_is_removed_by_the_next() {
  furnish
  mkdir -p "$TMPDIR"/sluicegate-ops.{killed1234,running123}/lent
  touch -d '1 hour ago' "$TMPDIR"/sluicegate-ops.*
  exec {HELD}<"$TMPDIR/sluicegate-ops.running123"
  flock "$HELD"
  run 0 backup backup
  gone "$TMPDIR/sluicegate-ops.killed1234"
  there "$TMPDIR/sluicegate-ops.running123"
}

a_restore_that_is_interrupted_puts_everything_back() {
  furnish
  run 0 backup backup
  sed -i 's/page one/page two/' "$SLUICEGATE_CONFIG"
  local before code=0
  before=$(picture "$SLUICEGATE_CONFIG_DIR")
  # Checking the configuration takes until the interruption.
  printf '#!/bin/bash\n[ "$1" = check ] || exec "%s" "$@"\nkill -TERM "$(cat "%s/restore.pid")"\nsleep 1\n' "$SLUICEGATE" "$HOST" >"$HOST/slow"
  chmod 755 "$HOST/slow"
  SLUICEGATE_BIN=$HOST/slow "$OPS/backup" restore "$(newest config)" >"$HOST/said" 2>&1 &
  echo $! >"$HOST/restore.pid"
  wait $! || code=$?
  is "$code" 143
  is "$(picture "$SLUICEGATE_CONFIG_DIR")" "$before"
  is "$(find "$HOST" -maxdepth 1 -name '*restore*' ! -name restore.pid)" ""
}

what_is_no_file_is_left_out_and_told() {
  furnish
  mkfifo "$SLUICEGATE_CONFIG_DIR/pipe"
  ln -s nowhere "$SLUICEGATE_CONFIG_DIR/dangling"
  ln -s site.key "$SLUICEGATE_CONFIG_DIR/tls/link.key"
  ln -s site.key "$SLUICEGATE_CONFIG_DIR/tls/"$'\e[31mred'
  run 0 backup backup
  says "config/pipe"
  says "config/dangling"
  run 0 backup verify
  run 0 backup restore "$(newest config)"
  says "it was a link, and is a file now: config/tls/link.key -> site.key"
  is "$(cat "$SLUICEGATE_CONFIG_DIR/tls/link.key")" key
  says_not $'\e'
}

a_wrong_command_line_changes_nothing() {
  furnish
  run 1 backup
  run 1 backup frobnicate
  says "backup does not know frobnicate"
  run 1 backup backup extra
  run 1 backup restore
  run 1 backup restore --nonsense x
  run 0 backup --help
  says "RETENTION_DAYS"
  gone "$SLUICEGATE_BACKUP_DIR"
}

case_of "$@"
