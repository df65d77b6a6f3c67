# shellcheck shell=bash
# A bad configuration stops a start once, with its reason; at a reload it changes nothing.

check_configuration() {
  local pid
  configuration before | configure
  fresh_start

  pid=$(main_pid)
  configuration after | configure
  check "a reload succeeds" inside systemctl reload "$UNIT"
  same "the new configuration serves when the reload returns" after "$(get /)"
  same "it is the same process" "$pid" "$(main_pid)"

  journal_mark
  { configuration never; echo 'listn: 0.0.0.0:81'; } | configure
  refused "a reload of a bad file fails" inside systemctl reload "$UNIT"
  holds "the reason is in the journal, with line and column" "$CONFIG:[0-9]+:[0-9]+: listn" "$(journal)"
  same "the old configuration serves on" after "$(get /)"
  same "the unit is still active" active "$(property ActiveState)"
  same "it is still the same process" "$pid" "$(main_pid)"

  journal_mark
  inside systemctl reset-failed "$UNIT"
  refused "a start with a bad file fails" inside systemctl restart "$UNIT"
  same "the exit code says: configuration" 78 "$(property ExecMainStatus)"
  holds "the reason is in the journal" "$CONFIG:[0-9]+:[0-9]+: listn" "$(journal)"
  # Five times as long as the pause before a restart: there is none.
  sleep 1
  same "it is not started again" "failed 0" "$(property ActiveState) $(property NRestarts)"
  same "the start was tried once" 1 "$(journal | grep -c '^Starting ')"

  configuration mended | configure
  check "the mended file starts" inside systemctl start "$UNIT"
  same "and serves" mended "$(get /)"
  check_credentials
}

# The drop-in for credentials, by the lines at its top.
check_credentials() {
  local drop_in=/usr/share/sluicegate/systemd/credentials.conf token=a-token-for-the-lane-0123456789 code
  inside install -m 600 /dev/stdin /etc/sluicegate/credentials/admin-token <<<"$token"
  inside install -Dm 644 -t "/etc/systemd/system/$UNIT.d" "$drop_in"
  # shellcheck disable=SC2016
  configuration credential | sed 's/^admin: .*/admin: { address: 127.0.0.1:8404, token: "${credential:admin-token}" }/' | configure
  inside systemctl daemon-reload
  check "with the admin token as a credential it starts" fresh_start
  code=$(inside curl --silent --output /dev/null --write-out '%{http_code}' --request POST http://127.0.0.1:8404/control/reload)
  same "without the token nobody may reload" 401 "$code"
  check "systemctl reload finds the token" inside systemctl reload "$UNIT"
  check "so does an operator" inside sluicegate ctl status
  lacks "the token is in no argument and in no log" "$token" "$(inside systemctl show "$UNIT"; journal)"
  inside rm -r "/etc/systemd/system/$UNIT.d" /etc/sluicegate/credentials/admin-token
  inside systemctl daemon-reload
  configuration plain | configure
  fresh_start
}
