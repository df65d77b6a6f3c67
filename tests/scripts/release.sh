#!/usr/bin/env bash
# Cases of packaging/ops/{install,upgrade,rollback,deploy}.
# shellcheck source-path=SCRIPTDIR source=suite.sh
. "$TREE/tests/scripts/suite.sh"

export SERVES_WITHIN=20

# program NAME [LINE ...]: another build of the gateway: a script around it, with lines that come first. The name of the
# program stays the one that it was started by, as it is for a build.
program() {
  local file=$HOST/$1
  shift
  { printf '#!/bin/bash\n# %s\n' "$file"; [ $# -eq 0 ] || printf '%s\n' "$@"; printf 'exec -a "$0" "%s" "$@"\n' "$SLUICEGATE"; } >"$file"
  chmod 755 "$file"
}

# A host with the release that `program one` makes, which the stand-in runs by way of the link.
host_with_a_release() {
  a_page
  program one
  unset SLUICEGATE_BIN
  run 0 "$OPS/install" --no-start "$HOST/one"
  FIRST=$(readlink "$SLUICEGATE_ROOT/current")
  serve "$SLUICEGATE_ROOT/current/bin/sluicegate"
}

current() { readlink "$SLUICEGATE_ROOT/current"; }

# load: asks for the page without a pause, until `loaded` says how many answers there were and ends when one was not good.
load() {
  cat >"$HOST/load.py" <<'PY'
import http.client, signal, sys
port, stop, good, bad = int(sys.argv[1]), [], 0, []
signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
connection = None
while not stop:
    try:
        if connection is None:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", "/")
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            bad.append(str(answer.status))
        good += 1
        # Half of them on a connection of their own.
        if answer.will_close or good % 2:
            connection.close()
            connection = None
    except (OSError, http.client.HTTPException) as error:
        # What a client that keeps connections does: a closed one that has not answered is tried once more, on a new one.
        fresh = connection is None or connection.sock is None or good % 2 == 0
        connection = None
        if fresh:
            bad.append(repr(error))
print(good, *bad)
PY
  python3 "$HOST/load.py" "$PORT" >"$HOST/loaded" &
  LOAD=$!
  STARTED+=("$LOAD")
}

loaded() {
  kill -TERM "$LOAD"
  wait "$LOAD" || true
  local answers bad
  read -r answers bad <"$HOST/loaded"
  is "$bad" ""
  [ "$answers" -gt 20 ] || wrong "only $answers requests were answered"
}

# A new version that ... ; the old one has to go on.
refused() {
  local pid
  pid=$(main_pid)
  run 1 "$OPS/upgrade" --no-backup "$@"
  is "$(current)" "$FIRST"
  is "$(main_pid)" "$pid"
  is "$(page)" "page one"
}

# The gateway with two pools, the second with a dead backend.
with_backends() {
  backend a
  ADMIN=$(free_port) PORT=$(free_port)
  configure <<TEXT
pools:
  app: { members: ["127.0.0.1:$PORT_OF"], health_check: { interval: 200ms } }
  gone: { members: ["127.0.0.1:1"], health_check: { interval: 200ms } }
routes:
  - { match: /, pool: app }
  - { match: /gone/, pool: gone }
TEXT
  program one
  unset SLUICEGATE_BIN
  run 0 "$OPS/install" --no-start "$HOST/one"
  FIRST=$(readlink "$SLUICEGATE_ROOT/current")
  serve "$SLUICEGATE_ROOT/current/bin/sluicegate"
  within 20 answers_well
}

answers_well() { [ "$(status_of "http://127.0.0.1:$PORT/")" = 200 ]; }

# deb VERSION PROGRAM: makes a package of this program.
deb() {
  local tree=$HOST/deb-$1
  mkdir -p "$tree/DEBIAN" "$tree/usr/bin"
  cp "$2" "$tree/usr/bin/sluicegate"
  printf 'Package: sluicegate\nVersion: %s\nArchitecture: all\nMaintainer: T <t@example.com>\nDescription: gateway\n' "$1" >"$tree/DEBIAN/control"
  dpkg-deb --root-owner-group --build "$tree" "$HOST/sluicegate_$1_all.deb" >/dev/null
}

# Instances from a template, on ports that are free together.
instances() {
  BASE=$(python3 - <<'PY'
import random, socket
while True:
    base = random.randrange(20000, 30000)
    try:
        held = [socket.create_server(("127.0.0.1", port)) for port in [*range(base, base + 3), *range(base + 100, base + 103)]]
        break
    except OSError:
        pass
print(base)
PY
  )
  export BASE_PORT=$BASE ADMIN_BASE_PORT=$((BASE + 100)) INSTANCES=3
  printf '%s\n' 'listen: 127.0.0.1:@PORT@' 'admin: 127.0.0.1:@ADMIN_PORT@' 'server: { instance_id: "gate-@INDEX@", timeouts: { drain: 1s } }' \
    "log: { access: $SLUICEGATE_LOG_DIR/@NAME@/access.log }" \
    'routes: [ { match: /, respond: { status: 200, body: "instance @INDEX@" } } ]' >"$SLUICEGATE_CONFIG_DIR/instance.template"
  printf '%s\n' "$SLUICEGATE" run -c "$SLUICEGATE_CONFIG_DIR/%i.yaml" >"$STAND_IN/sluicegate@.command"
}

body_of() { curl -q -sS --noproxy '*' --max-time 5 "http://127.0.0.1:$1/"; }

# === Cases ===

a_release_is_installed_from_the_tree_and_serves() {
  unset SLUICEGATE_BIN
  SLUICEGATE_CONFIG_DIR=$HOST/fresh SLUICEGATE_CONFIG=$HOST/fresh/sluicegate.yaml
  program one
  printf '%s\n' "$SLUICEGATE_ROOT/current/bin/sluicegate" run -c "$HOST/there.yaml" >"$STAND_IN/sluicegate.command"
  run 0 "$OPS/install" --no-start "$HOST/one"
  there "$HOST/fresh/sluicegate.yaml"
  there "$HOST/units/sluicegate@.service.d/10-release.conf"
  there "$HOST/logrotate/sluicegate"
  is "$("$HOST/bin/sluicegate" version)" "$("$SLUICEGATE" version)"
  is "$(stat -c %a "$SLUICEGATE_ROOT/current/bin/sluicegate")" 755
  run 1 "$OPS/install" "$HOST/one"
  says "use upgrade"
  run 0 "$OPS/rollback" --list
  says "* "
}

an_installation_of_a_release_has_what_a_package_has() {
  unset SLUICEGATE_BIN
  SLUICEGATE_CONFIG_DIR=$HOST/fresh SLUICEGATE_CONFIG=$HOST/fresh/sluicegate.yaml
  program one
  run 0 "$OPS/install" --no-start "$HOST/one"
  # What is listed are the scripts, by the link.
  run 0 "$HOST/bin/sluicegate-ops"
  says "  upgrade"
  is "$(readlink "$HOST/bin/sluicegate-ops")" "$HOST/scripts/sluicegate-ops"
  is "$(find "$HOST/scripts" -type f ! -perm /111 -printf '%f\n' | sort | paste -sd ' ')" "ops.sh release.sh restore.sh"
  is "$(stat -c %a "$HOST/fresh/credentials" "$HOST/fresh/tls" | paste -sd ' ')" "700 750"
  local file
  for file in man/man8/sluicegate.8 man/man8/sluicegate-ops.8 man/man5/sluicegate.yaml.5 share/sluicegate.schema.json share/prices.json \
    share/systemd/socket.conf share/monitoring/RUNBOOK.md share/monitoring/rules/sluicegate-gateway.yml doc/README.md doc/reference.md \
    doc/operations.md doc/examples/ai.yaml doc/examples/instance.template doc/examples/rsyslog.conf; do
    there "$HOST/$file"
  done
  # They name the program and the documents that are here.
  grep -q "^ExecReload=+$SLUICEGATE_ROOT/current/bin/sluicegate ctl reload" "$HOST/share/systemd/credentials.conf" || wrong "the drop-in runs another program"
  ! grep -rE '\]\((\.\./)?(docs|conf|packaging)/' "$HOST/doc" || wrong "a link leads into the source tree"
}

an_installation_that_does_not_serve_leaves_nothing() {
  a_page
  unset SLUICEGATE_BIN
  program one
  printf '%s\n' "$SLUICEGATE_ROOT/current/bin/sluicegate" run -c "$SLUICEGATE_CONFIG" >"$STAND_IN/sluicegate.command"
  touch "$STAND_IN/sluicegate.service.broken"
  local before
  before=$(picture "$HOST" | grep -vE 'said|systemd/|ops/|tmp')
  run 1 "$OPS/install" "$HOST/one"
  says "the service does not start"
  is "$(picture "$HOST" | grep -vE 'said|systemd/|ops|tmp')" "$before"
  rm "$STAND_IN/sluicegate.service.broken"
  run 0 "$OPS/install" "$HOST/one" "http://127.0.0.1:$PORT/"
  is "$(page)" "page one"
}

an_upgrade_loses_no_request_and_a_rollback_neither() {
  host_with_a_release
  program two
  local pid
  pid=$(main_pid)
  load
  run 0 "$OPS/upgrade" "$HOST/two" "http://127.0.0.1:$PORT/"
  [ "$(current)" != "$FIRST" ] || wrong "the link was not changed"
  [ "$(main_pid)" != "$pid" ] || wrong "the process was not changed"
  pid=$(main_pid)
  run 0 "$OPS/rollback"
  is "$(current)" "$FIRST"
  [ "$(main_pid)" != "$pid" ] || wrong "the process was not changed back"
  loaded
  # There and back again: `previous` is now the second one.
  run 0 "$OPS/rollback"
  [ "$(current)" != "$FIRST" ] || wrong "there was no way forward again"
}

an_upgrade_by_restart_works_without_hand_over() {
  host_with_a_release
  program two
  run 0 "$OPS/upgrade" --restart --no-backup "$HOST/two"
  says "serves"
  [ "$(current)" != "$FIRST" ] || wrong "the link was not changed"
  is "$(page)" "page one"
  run 0 "$OPS/rollback" --restart
  is "$(current)" "$FIRST"
  is "$(page)" "page one"
}

a_program_that_does_not_run_is_refused() {
  host_with_a_release
  printf 'not a program' >"$HOST/broken"
  refused "$HOST/broken"
  says "does not run on this machine"
  program crashes 'exit 127'
  refused "$HOST/crashes"
  tar -czf "$HOST/empty.tar.gz" -C "$HOST" one
  refused "$HOST/empty.tar.gz"
  says "has no program"
  refused "$HOST/nowhere"
}

a_program_that_refuses_the_configuration_is_refused() {
  host_with_a_release
  program picky '[ "$1" != check ] || { echo "no longer supported: admin" >&2; exit 78; }'
  refused "$HOST/picky"
  says "no longer supported: admin"
  says "nothing was changed"
}

without_a_backup_there_is_no_upgrade() {
  host_with_a_release
  program two
  mkdir "$SLUICEGATE_BACKUP_DIR"
  chmod 777 "$SLUICEGATE_BACKUP_DIR"
  run 1 "$OPS/upgrade" "$HOST/two"
  says "there is no backup, so nothing was changed"
  is "$(current)" "$FIRST"
}

a_version_that_does_not_start_is_taken_back() {
  host_with_a_release
  program dies '[ "$1" != run ] || exit 1'
  run 1 "$OPS/upgrade" --restart --no-backup "$HOST/dies"
  says "going back"
  is "$(current)" "$FIRST"
  is "$(page)" "page one"
  # By a hand-over the old one never stops.
  refused "$HOST/dies"
  says "the new process does not take over"
  says "has served all the time"
}

a_version_that_is_not_what_it_says_is_taken_back() {
  host_with_a_release
  SERVES_WITHIN=3
  program lies '[ "$1" != version ] || { echo "sluicegate 9.9.9"; exit; }'
  run 1 "$OPS/upgrade" --restart --no-backup "$HOST/lies"
  says "answers, not 9.9.9"
  is "$(current)" "$FIRST"
  is "$(page)" "page one"
}

a_backend_that_was_dead_before_does_not_stop_an_upgrade() {
  with_backends
  program two
  run 0 "$OPS/upgrade" --restart --no-backup "$HOST/two"
  is "$(status_of "http://127.0.0.1:$PORT/")" 200
}

a_version_that_loses_its_backends_is_taken_back() {
  with_backends
  SERVES_WITHIN=4
  # It serves, but by a configuration whose pool reaches nobody.
  sed "s/127.0.0.1:$PORT_OF/127.0.0.1:2/" "$SLUICEGATE_CONFIG" >"$HOST/lost.yaml"
  program loses '[ "$1" != run ] || set -- run -c '"$HOST/lost.yaml"
  run 1 "$OPS/upgrade" --restart --no-backup "$HOST/loses"
  says "pools that had a usable member have none: app"
  is "$(current)" "$FIRST"
  within 20 answers_well
}

an_upgrade_that_is_interrupted_goes_back() {
  host_with_a_release
  # It takes until the interruption to serve.
  program slow '[ "$1" != run ] || { kill -TERM "$(cat '"$HOST"'/upgrade.pid)"; exit 1; }'
  local code=0
  "$OPS/upgrade" --restart --no-backup "$HOST/slow" >"$HOST/said" 2>&1 &
  echo $! >"$HOST/upgrade.pid"
  wait $! || code=$?
  is "$code" 143
  says "going back"
  is "$(current)" "$FIRST"
  is "$(page)" "page one"
}

a_service_that_is_stopped_stays_stopped() {
  host_with_a_release
  "$SLUICEGATE_SYSTEMCTL" stop sluicegate.service
  program two
  run 0 "$OPS/upgrade" --no-backup "$HOST/two"
  says "the service does not run"
  run 3 "$SLUICEGATE_SYSTEMCTL" is-active sluicegate.service
  run 0 "$OPS/rollback"
  run 1 "$OPS/rollback" nowhere
  run 1 "$OPS/rollback" ../../etc
  run 1 "$OPS/upgrade"
  run 1 "$OPS/upgrade" --nonsense x
}

packages_are_upgraded_and_taken_back() {
  command -v dpkg-deb >/dev/null || skip "no dpkg here"
  a_page
  export DPKG_ROOT=$HOST/system
  mkdir -p "$DPKG_ROOT/var/lib/dpkg/"{info,updates}
  touch "$DPKG_ROOT/var/lib/dpkg/status"
  export SLUICEGATE_BIN=$DPKG_ROOT/usr/bin/sluicegate
  program one
  program two
  program dies '[ "$1" != run ] || exit 1'
  deb 1.0 "$HOST/one"
  deb 1.1 "$HOST/two"
  deb 1.2 "$HOST/dies"
  dpkg --force-script-chrootless --force-not-root -i "$HOST/sluicegate_1.0_all.deb" >/dev/null 2>&1 || skip "dpkg does not work in a folder here"
  serve "$SLUICEGATE_BIN"
  # The first package is nowhere to be found again: its program is put back.
  run 1 "$OPS/upgrade" --restart --no-backup "$HOST/sluicegate_1.2_all.deb"
  says "its program is in force again"
  cmp "$HOST/one" "$SLUICEGATE_BIN" || wrong "another program is in place"
  is "$(page)" "page one"
  run 0 "$OPS/upgrade" --restart --no-backup "$HOST/sluicegate_1.1_all.deb"
  # Now the package from before is.
  run 1 "$OPS/upgrade" --restart --no-backup "$HOST/sluicegate_1.2_all.deb"
  is "$(dpkg-query -W -f '${Version}' sluicegate)" 1.1
  is "$(page)" "page one"
  cp "$HOST/sluicegate_1.0_all.deb" "$SLUICEGATE_OPS_DIR/packages/"
  run 0 "$OPS/rollback" --restart 1.0
  is "$(dpkg-query -W -f '${Version}' sluicegate)" 1.0
  is "$(page)" "page one"
  run 1 "$OPS/upgrade" "$HOST/two"
  says "give a .deb or .rpm"
  printf 'no package' >"$HOST/bad.deb"
  run 1 "$OPS/upgrade" "$HOST/bad.deb"
  is "$(page)" "page one"
}

three_instances_are_deployed_and_a_bad_template_stops_at_the_first() {
  instances
  run 0 "$OPS/deploy"
  says "instance 1 (port $BASE): healthy"
  says "instance 3 (port $((BASE + 2))): healthy"
  is "$(body_of $((BASE + 1)))" "instance 2"
  LC_ALL=zh_CN.UTF-8 run 0 "$OPS/deploy" --status
  says "实例 3 (端口 $((BASE + 2))): 健康"

  # A change is brought in without another process, one that only a restart brings by a restart.
  local pid
  pid=$(main_pid "sluicegate@$BASE.service")
  sed -i 's/body: "instance/body: "changed/' "$SLUICEGATE_CONFIG_DIR/instance.template"
  run 0 "$OPS/deploy"
  is "$(body_of "$BASE")" "changed 1"
  is "$(main_pid "sluicegate@$BASE.service")" "$pid"
  sed -i 's/gate-@INDEX@/door-@INDEX@/' "$SLUICEGATE_CONFIG_DIR/instance.template"
  INSTANCES=1 run 0 "$OPS/deploy"
  says "only a restart changes"

  sed -i 's/respond/rebound/' "$SLUICEGATE_CONFIG_DIR/instance.template"
  run 1 "$OPS/deploy"
  says "is refused"
  says "sluicegate@$BASE.service is refused"
  says_not "sluicegate@$((BASE + 1)).service is refused"
  is "$(body_of "$BASE")" "changed 1"
  is "$(find "$SLUICEGATE_CONFIG_DIR" -name '*before-deploy*')" ""

  run 0 "$OPS/deploy" --remove "$BASE"
  run 1 "$OPS/deploy" --status
  says "instance 1 (port $BASE): unhealthy"
  run 1 "$OPS/deploy" --instances many
  run 1 "$OPS/deploy" --nonsense
}

a_link_in_the_place_of_a_log_folder_changes_no_owner() {
  [ "$(id -u)" -eq 0 ] || skip "only root could change an owner"
  instances
  chown nobody "$SLUICEGATE_LOG_DIR"
  echo secret >"$HOST/shadow"
  # The service's user is quicker than the script.
  mkdir "$HOST/quick"
  printf '#!/bin/bash\n/bin/mkdir "$@" || exit\n[[ $* != *log/%s ]] || { rmdir "${@: -1}"; ln -s "%s/shadow" "${@: -1}"; }\n' "$BASE" "$HOST" >"$HOST/quick/mkdir"
  chmod 755 "$HOST/quick" "$HOST/quick/mkdir"
  PATH=$HOST/quick:$PATH "$OPS/deploy" >"$HOST/said" 2>&1 || true
  is "$(stat -c %U "$HOST/shadow")" root
  # Also one that lay there before.
  run 1 "$OPS/deploy"
  says "is a link"
  rm "$SLUICEGATE_LOG_DIR/$BASE"
  run 0 "$OPS/deploy"
  is "$(stat -c '%U %a' "$SLUICEGATE_LOG_DIR/$BASE")" "nobody 750"
}

an_instance_that_does_not_start_is_taken_away() {
  instances
  touch "$STAND_IN/sluicegate@$((BASE + 1)).service.broken"
  run 1 "$OPS/deploy"
  says "instance 1 (port $BASE): healthy"
  says "instance 2 (port $((BASE + 1))): unhealthy"
  gone "$SLUICEGATE_CONFIG_DIR/$((BASE + 1)).yaml"
  gone "$SLUICEGATE_CONFIG_DIR/$((BASE + 2)).yaml"
  is "$(body_of "$BASE")" "instance 1"
}

case_of "$@"
