#!/usr/bin/env bash
# Cases of packaging/ops/{health-check,monitor,preflight,validate} and of sluicegate-ops.
# shellcheck source-path=SCRIPTDIR source=suite.sh
. "$TREE/tests/scripts/suite.sh"

unhealthy() { ! "$OPS/health-check" >"$HOST/said" 2>&1; }

errors() {
  local i
  for ((i = 0; i < $1; i++)); do
    echo "2026-11-20T17:52:18.$((100 + i))Z [main] ERROR [] server - ${2:-it broke}"
  done
}

# An alert goes to a file by a program.
alerts_to_a_file() {
  printf '#!/bin/bash\n[ ! -e "%s/no-alerts" ] || exit 1\n{ echo "== $1"; cat; } >>"%s/alerts"\n' "$HOST" "$HOST" >"$HOST/alert"
  chmod 755 "$HOST/alert"
  export ALERT_COMMAND=$HOST/alert
  touch "$HOST/alerts"
  LOG=$SLUICEGATE_LOG_DIR/sluicegate.log
  : >"$LOG"
}

count() { grep -cF -- "$1" "$HOST/alerts" || true; }

failed() { echo "2026-11-20T17:52:18.${RANDOM}Z [worker] WARN  [] ai - Config '$1' marked as failed. Available: 1/2"; }

reports() { "$OPS/monitor" report ${2:+--admin "$2"} >"$HOST/said" 2>&1 && grep -qF "$1" "$HOST/said"; }

all_up() { [ "$("$SLUICEGATE" ctl -c "$SLUICEGATE_CONFIG" status --yaml | grep -c '^    usable: true')" = 2 ]; }

# broken FILE SED-SCRIPT WORDS: what validate says of a tree with this change.
broken() {
  cp -- "$TREE/$1" "$HOST/tree/$1"
  sed -i "$2" "$HOST/tree/$1"
  run 1 "$OPS/validate" "$HOST/tree"
  says "✗ $3"
  says "Failed: 1"
  cp -- "$TREE/$1" "$HOST/tree/$1"
}

# === Cases ===

one_of_three_that_is_down_is_counted() {
  backend a
  local a=127.0.0.1:$PORT_OF b
  backend b
  b=127.0.0.1:$PORT_OF
  run 0 "$OPS/health-check" "$a" "http://$b/"
  kill "$PID_OF"
  wait "$PID_OF" 2>/dev/null || true
  HEALTH_INSTANCES="$a, $b $a" run 1 "$OPS/health-check"
  says "✓ $a - healthy"
  says "✗ $b - unhealthy"
  says "Instances: 3"
  says "Healthy: 2"
  says "Unhealthy: 1"
  HEALTH_INSTANCES="$a"$'\n'"$b"$'\n' run 1 "$OPS/health-check"
  says "Instances: 2"
  run 0 "$OPS/health-check" "http://$a/?x=[1"
  LC_ALL=zh_CN.UTF-8 run 1 "$OPS/health-check" "$a" "$b"
  says "✓ $a - 健康"
  says "✗ $b - 异常"
  says "总实例数: 2"
  says "健康实例: 1"
  says "异常实例: 1"
  run 1 "$OPS/health-check" --nonsense
  HEALTH_TIMEOUT=soon run 1 "$OPS/health-check" "$a"
}

the_gateways_of_the_host_are_asked_without_being_named() {
  run 1 "$OPS/health-check"
  says "there is nothing to ask"
  backend a
  configure <<TEXT
pools: { app: { members: ["127.0.0.1:$PORT_OF"], health_check: { interval: 200ms, fall: 1 } } }
routes: [ { match: /, pool: app } ]
TEXT
  serve "$SLUICEGATE"
  run 0 "$OPS/health-check"
  says "✓ sluicegate - healthy"
  kill "$PID_OF"
  within 20 unhealthy
  says "no usable member in: app"
  "$SLUICEGATE_SYSTEMCTL" stop sluicegate.service
  run 1 "$OPS/health-check"
  says "the service does not run"
}

an_admin_token_is_in_no_argument() {
  ADMIN=$(free_port) PORT=$(free_port)
  printf 'listen: 127.0.0.1:%s\nadmin: { address: "127.0.0.1:%s", token: "${TOKEN}" }\nroutes: [ { match: /, respond: 204 } ]\n' "$PORT" "$ADMIN" >"$SLUICEGATE_CONFIG"
  echo 'TOKEN=a9f3c2e8d7b6' >"$STAND_IN/sluicegate.service.environment"
  # Notes the arguments of whatever it is asked to do.
  printf '#!/bin/bash\necho "$*" >>"%s/arguments"\nexec "%s" "$@"\n' "$HOST" "$SLUICEGATE" >"$HOST/noting"
  chmod 755 "$HOST/noting"
  TOKEN=a9f3c2e8d7b6 serve "$SLUICEGATE"
  export SLUICEGATE_BIN=$HOST/noting
  run 0 "$OPS/health-check"
  says "✓ sluicegate - healthy"
  grep -q 'ctl' "$HOST/arguments"
  ! grep -q a9f3 "$HOST/arguments" || wrong "the token is an argument"
  rm "$STAND_IN/sluicegate.service.environment"
  run 1 "$OPS/health-check"
  (umask 077 && echo a9f3c2e8d7b6 >"$HOST/token")
  SLUICEGATE_TOKEN_FILE=$HOST/token run 0 "$OPS/health-check"
  ! grep -q a9f3 "$HOST/arguments" || wrong "the token is an argument"
}

each_event_alerts_exactly_once() {
  alerts_to_a_file
  run 0 "$OPS/monitor" check
  errors 100 >>"$LOG"
  # What a message quotes is no error.
  echo '2026-11-20T17:52:18.042Z [main] WARN  [] server - "level":"ERROR" was said' >>"$LOG"
  run 0 "$OPS/monitor" check
  is "$(count 'High error rate')" 0
  errors 100 >>"$LOG"
  echo '{"@timestamp":"2026-11-20T17:52:18.042Z","level":"ERROR","logger":"server","message":"x"}' >>"$LOG"
  run 0 "$OPS/monitor" check
  is "$(count 'High error rate: 101 errors')" 1
  run 0 "$OPS/monitor" check
  is "$(count 'High error rate')" 1
  # The first failed configuration is told.
  echo "2026-11-20T17:52:18.042Z [worker] WARN  [] ai - Config 'blue' marked as failed. Available: 1/2" >>"$LOG"
  run 0 "$OPS/monitor" check
  run 0 "$OPS/monitor" check
  is "$(count 'Failed configurations: 1')" 1
  is "$(count "Config 'blue'")" 1
}

a_log_with_binary_lines_and_a_broken_state_are_read() {
  alerts_to_a_file
  { printf 'a\0b\n'; errors 101; } >>"$LOG"
  run 0 "$OPS/monitor" check
  is "$(count "High error rate: 101 errors")" 1
  echo "read 08 12 x $LOG" >"$SLUICEGATE_OPS_DIR/monitor.state"
  run 0 "$OPS/monitor" check
  says "it is read from its beginning"
  run 0 "$OPS/monitor" check
  says "0 errors"
}

half_a_line_is_read_when_it_is_whole() {
  alerts_to_a_file
  printf "2026-11-20T17:52:18.042Z [worker] WARN  [] ai - Config 'blue' marked as fai" >>"$LOG"
  run 0 "$OPS/monitor" check
  is "$(count 'Failed')" 0
  echo "led. Available: 1/2" >>"$LOG"
  run 0 "$OPS/monitor" check
  run 0 "$OPS/monitor" check
  is "$(count 'Failed configurations: 1')" 1
}

a_log_is_followed_through_its_rotations() {
  alerts_to_a_file
  failed read-before >>"$LOG"
  run 0 "$OPS/monitor" check
  # Three rotations between two runs, the oldest compressed.
  failed first >>"$LOG"
  mv "$LOG" "$LOG.1"
  failed second >"$LOG"
  gzip "$LOG.1"
  mv "$LOG.1.gz" "$LOG.3.gz"
  touch -d '3 minutes ago' "$LOG.3.gz"
  mv "$LOG" "$LOG.2"
  touch -d '2 minutes ago' "$LOG.2"
  failed third >"$LOG.1"
  touch -d '1 minute ago' "$LOG.1"
  failed fourth >"$LOG"
  run 0 "$OPS/monitor" check
  run 0 "$OPS/monitor" check
  local name
  for name in read-before first second third fourth; do
    is "$(count "Config '$name'")" 1
  done
  # An empty log that fills and is rotated before the next run.
  mv "$LOG" "$LOG.1" && : >"$LOG"
  run 0 "$OPS/monitor" check
  failed fifth >>"$LOG"
  mv "$LOG" "$LOG.1" && : >"$LOG"
  touch -d '1 minute' "$LOG.1"
  run 0 "$OPS/monitor" check
  is "$(count "Config 'fifth'")" 1
}

an_alert_that_could_not_be_sent_is_sent_by_the_next_run() {
  alerts_to_a_file
  failed blue >>"$LOG"
  touch "$HOST/no-alerts"
  run 1 "$OPS/monitor" check
  says "the next run tries again"
  rm "$HOST/no-alerts"
  run 0 "$OPS/monitor" check
  run 0 "$OPS/monitor" check
  is "$(count 'Failed configurations: 1')" 1
}

a_full_disk_alerts_nobody_twice() {
  alerts_to_a_file
  mkdir "$HOST/small"
  mount -t tmpfs -o size=16k tmpfs "$HOST/small" 2>/dev/null || skip "a small file system cannot be mounted here"
  export SLUICEGATE_OPS_DIR=$HOST/small/ops
  run 0 "$OPS/monitor" check
  cat /dev/zero >"$HOST/small/filler" 2>/dev/null || true
  failed blue >>"$LOG"
  run 1 "$OPS/monitor" check
  is "$(count Failed)" 0
  rm "$HOST/small/filler"
  run 0 "$OPS/monitor" check
  run 0 "$OPS/monitor" check
  is "$(count 'Failed configurations: 1')" 1
}

a_log_that_grows_too_large_alerts_until_it_is_smaller() {
  alerts_to_a_file
  export LOG_SIZE_MB=1
  truncate -s 3M "$LOG"
  run 0 "$OPS/monitor" check
  run 0 "$OPS/monitor" check
  is "$(count 'Log file over 1 MB')" 1
  : >"$LOG"
  run 0 "$OPS/monitor" check
  truncate -s 3M "$LOG"
  run 0 "$OPS/monitor" check
  is "$(count 'Log file over 1 MB')" 2
  LOG_SIZE_MB=much run 1 "$OPS/monitor" check
}

an_empty_log_has_no_rates_and_a_full_one_has() {
  LOG=$SLUICEGATE_LOG_DIR/sluicegate.log
  : >"$LOG"
  run 0 "$OPS/monitor" report
  says "Requests: 0"
  says "Success rate: NA"
  says "Error rate: NA"
  {
    echo "2026-11-20T17:52:18.042Z [main] INFO  [] server - sluicegate started successfully"
    for name in blue blue green; do
      echo "2026-11-20T17:52:18.042Z [worker] INFO  [] ai - Using configuration '$name'"
      echo "2026-11-20T17:52:18.042Z [worker] INFO  [] ai - Request processed successfully"
    done
    echo "2026-11-20T17:52:18.042Z [worker] INFO  [] ai - Request processed with status 502"
    errors 2
  } >"$LOG"
  run 0 "$OPS/monitor" report
  says "Requests: 4"
  says "Success rate: 75%"
  says "2 blue"
  says "Error rate: 20%"
  # Lines that tell of no request are nothing to have a rate of.
  sed -i '/Request processed/d' "$LOG"
  run 0 "$OPS/monitor" report
  says "Requests: 0 in the process log, which has only those to models"
  says "Errors: 2"
  says "Error rate: NA"
}

a_log_without_requests_gives_way_to_the_metrics() {
  : >"$SLUICEGATE_LOG_DIR/sluicegate.log"
  a_page
  serve "$SLUICEGATE"
  page >/dev/null
  page >/dev/null
  SLUICEGATE_ADMIN=127.0.0.1:$ADMIN within 10 reports "Requests: 2"
  says "Success rate: 100%"
  says "Error rate: 0%"
  within 10 reports "Requests: 2" "127.0.0.1:$ADMIN"
  run 1 "$OPS/monitor" report --admin
  run 0 "$OPS/monitor" report --admin 127.0.0.1:1
  says "cannot be read"
  says "Error rate: NA"
}

the_state_of_a_host_shows_service_resources_and_errors() {
  a_page
  serve "$SLUICEGATE"
  errors 1 old >"$SLUICEGATE_LOG_DIR/sluicegate.log"
  errors 7 recent | sed "s/^2026[^.]*/$(date -u +%Y-%m-%dT%H:%M:%S)/" >>"$SLUICEGATE_LOG_DIR/sluicegate.log"
  run 0 "$OPS/monitor" status
  says "sluicegate.service"
  grep -qE "^  $(main_pid) +[0-9.]+ +[0-9.]+ +[0-9]+ +[0-9]+ +[0-9]+\$" "$HOST/said" || wrong "the process is not shown"
  is "$(grep -c recent "$HOST/said")" 5
  says_not "old"
  run 1 "$OPS/monitor"
  run 1 "$OPS/monitor" frobnicate
}

preflight_says_what_a_bare_host_lacks() {
  a_page
  run 1 "$OPS/preflight"
  says "✓ environment"
  says "! TLS"
  says "✗ backup: there is none"
  says "✗ log rotation"
  says "! baseline"
  says "! failover"
  echo 'nonsense: 1' >>"$SLUICEGATE_CONFIG"
  run 1 "$OPS/preflight"
  says "✗ environment"
  run 1 "$OPS/preflight" --nonsense
}

preflight_passes_on_a_host_that_is_ready() {
  backend a
  local a=$PORT_OF
  backend b
  openssl req -x509 -newkey rsa:2048 -nodes -days 90 -subj /CN=x -keyout "$SLUICEGATE_CONFIG_DIR/x.key" -out "$SLUICEGATE_CONFIG_DIR/x.crt" 2>/dev/null
  configure <<TEXT
log:
  access: $SLUICEGATE_LOG_DIR/access.log
pools: { app: { members: ["127.0.0.1:$a", "127.0.0.1:$PORT_OF"], health_check: { interval: 200ms } } }
routes: [ { match: /, pool: app } ]
TEXT
  sed -i "s|^listen: .*|listen: [ \"127.0.0.1:$PORT\", { address: \"127.0.0.1:$(free_port)\", tls: { certificates: [ { cert: $SLUICEGATE_CONFIG_DIR/x.crt, key: $SLUICEGATE_CONFIG_DIR/x.key } ] } } ]|" "$SLUICEGATE_CONFIG"
  sed "s|/var/log/sluicegate|$SLUICEGATE_LOG_DIR|g" "$TREE/packaging/logrotate/sluicegate" >"$SLUICEGATE_LOGROTATE_DIR/sluicegate"
  serve "$SLUICEGATE"
  run 0 "$OPS/backup" backup
  within 20 all_up
  run 0 "$OPS/preflight" --record-baseline "http://127.0.0.1:$PORT/"
  says "200 requests, 0 not good"
  run 0 "$OPS/preflight" --test-failover app "http://127.0.0.1:$PORT/"
  says "none of 40 requests failed"
  run 0 "$OPS/preflight"
  says "✓ environment"
  says "✓ TLS: $SLUICEGATE_CONFIG_DIR/x.crt is valid until"
  says "✓ backup"
  says "✓ log rotation"
  says "✓ baseline"
  says "✓ failover"
  says "Failed: 0"
  CERT_MIN_DAYS=100 run 1 "$OPS/preflight"
  says "ends within 100 days"
  sed -i 's|access: .*|access: /elsewhere/access.log|' "$SLUICEGATE_CONFIG"
  run 1 "$OPS/preflight"
  says "rotates /elsewhere/access.log"
}

the_source_tree_is_in_order() {
  run 0 "$OPS/validate" "$TREE"
  says "Failed: 0"
}

what_is_wrong_with_an_installation_is_told() {
  a_page
  run 0 "$OPS/validate"
  says "✓ configuration"
  says "Failed: 0"
  printf 'keys:\n  - id: a\n    secret: changeme\n' >"$SLUICEGATE_CONFIG_DIR/api-keys.yaml"
  chmod 640 "$SLUICEGATE_CONFIG_DIR/api-keys.yaml"
  run 0 "$OPS/validate"
  says "! default secret: $SLUICEGATE_CONFIG_DIR/api-keys.yaml, line 3"
  chmod 644 "$SLUICEGATE_CONFIG_DIR/api-keys.yaml"
  run 0 "$OPS/validate"
  says "! everybody may read it"
  is "$(grep -oE '^✓ unit: .*' "$HOST/said" | sort | uniq -d)" ""
  echo '  - [' >>"$SLUICEGATE_CONFIG"
  run 1 "$OPS/validate"
  says "✗ configuration"
}

each_kind_of_broken_file_is_found() {
  mkdir "$HOST/tree"
  cp -r "$TREE/conf" "$TREE/packaging" "$TREE/systemd" "$HOST/tree/"
  # A few of each kind will do, and take less time.
  rm -rf "$HOST/tree/packaging/scripts" "$HOST/tree/packaging/monitoring" "$HOST/tree/systemd"/sluicegate-* "$HOST/tree/systemd"/*.socket
  broken conf/sluicegate.yaml 's/^listen:/listne:/' configuration
  broken packaging/ops/backup '$a if' "script does not parse"
  ! command -v systemd-analyze >/dev/null || broken systemd/sluicegate.service 's/^Type=notify/Type=nonsense/' unit
  if PATH=$PATH:/usr/sbin:/sbin command -v logrotate >/dev/null; then
    broken packaging/logrotate/sluicegate 's/rotate 14/rotate 14 # two weeks/' "log rotation"
    broken packaging/logrotate/sluicegate 's,/audit.log,/*.log,' "log rotation"
  fi
  ! PATH=$PATH:/usr/sbin:/sbin command -v rsyslogd >/dev/null || broken packaging/rsyslog/sluicegate.conf 's/^}//' rsyslog
  broken packaging/sysctl.d/60-sluicegate.conf 's/^-net.core.somaxconn = /somaxconn := /' "kernel settings"
}

every_script_has_a_help_and_is_listed() {
  local script
  run 0 "$OPS/sluicegate-ops"
  cp "$HOST/said" "$HOST/list"
  for script in "$OPS"/*; do
    case $(basename "$script") in *.sh | *.md | *.template | *.8 | sluicegate-ops) continue ;; esac
    run 0 "$OPS/sluicegate-ops" "$(basename "$script")" --help
    says "$(basename "$script")"
    has "  $(basename "$script")" <"$HOST/list" || wrong "$script is not listed"
    run 1 "$script" --nonsense
  done
  run 1 "$OPS/sluicegate-ops" nonsense
  run 1 "$OPS/sluicegate-ops" ../scripts/demo
}

case_of "$@"
