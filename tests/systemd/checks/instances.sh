# shellcheck shell=bash
# Several gateways of one machine, each with its own file, directories and process.

check_instances() {
  local name port=8081
  for name in one two; do
    inside tee "/etc/sluicegate/$name.yaml" >/dev/null <<YAML
listen: { address: 127.0.0.1:$port }
admin: { address: 127.0.0.1:1$port }
log: { access: /var/log/sluicegate/$name/access.log }
routes: [ { match: /, respond: { status: 200, body: "$name\n" } } ]
YAML
    port=$((port + 1))
  done
  check "two instances start" inside systemctl start sluicegate@one.service sluicegate@two.service
  same "each serves its own file" "one two" "$(get / 8081) $(get / 8082)"
  same "and writes its own log" "1 1" "$(lines_of_log one) $(lines_of_log two)"
  check "one is reloaded by its own file" inside systemctl reload sluicegate@one.service
  check_credentials_of_an_instance
  check_modes_of_an_instance
  check_restore_of_instances
  check "each has a state directory" inside test -d /var/lib/sluicegate/one -a -d /var/lib/sluicegate/two
  inside systemctl stop "$UNIT"
  check "the runtime directory of an instance outlives the service beside it" inside test -d /run/sluicegate-one
  same "and it serves on" one "$(get / 8081)"
  at_most "the exposure of an instance" 1.6 "$(exposure sluicegate@one.service)"
  inside systemctl stop sluicegate@one.service sluicegate@two.service
  inside rm -rf /etc/systemd/system/sluicegate@one.service.d /etc/sluicegate/credentials/admin-token-one
  inside systemctl daemon-reload
  inside rm -rf /etc/sluicegate/one.yaml /etc/sluicegate/two.yaml /var/lib/sluicegate/{one,two} /var/log/sluicegate/{one,two}
  fresh_start
}

# The drop-in for the credentials of an instance, by the lines at its top: what is reloaded is the instance.
check_credentials_of_an_instance() {
  local drop_in=/usr/share/sluicegate/systemd/credentials-instance.conf token=a-token-of-one-0123456789abcdef code
  inside install -m 600 /dev/stdin /etc/sluicegate/credentials/admin-token-one <<<"$token"
  inside install -Dm 644 -t /etc/systemd/system/sluicegate@one.service.d "$drop_in"
  # shellcheck disable=SC2016
  inside sed -i 's/^admin: .*/admin: { address: 127.0.0.1:18081, token: "${credential:admin-token}" }/' /etc/sluicegate/one.yaml
  inside systemctl daemon-reload
  check "an instance starts with a credential of its own" inside systemctl restart sluicegate@one.service
  code=$(inside curl --silent --output /dev/null --write-out '%{http_code}' --request POST http://127.0.0.1:18081/control/reload)
  same "without its token nobody may reload it" 401 "$code"
  journal_mark
  inside sed -i 's/body: "one/body: "one again/' /etc/sluicegate/one.yaml
  check "systemctl reload finds the token of the instance" inside systemctl reload sluicegate@one.service
  same "and it is the instance that is reloaded" "one again" "$(get / 8081)"
  lacks "and no other gateway" 'reload' "$(journal)"
  inside sed -i 's/one again/one/' /etc/sluicegate/one.yaml
  inside systemctl reload sluicegate@one.service
}

# What the service makes: logs for its group, all else for nobody but itself.
check_modes_of_an_instance() {
  same "its log is read by its group, also before the first rotation" 640 "$(inside stat -c %a /var/log/sluicegate/one/access.log)"
  inside sed -i 's|^admin: .*|admin: unix:/run/sluicegate-two/admin.sock|' /etc/sluicegate/two.yaml
  check "an instance with its admin address at a socket starts" inside systemctl restart sluicegate@two.service
  same "its group may not write to the socket, so not connect either" 750 "$(inside stat -c %a /run/sluicegate-two/admin.sock)"
  check "root may" inside sluicegate ctl -c /etc/sluicegate/two.yaml status
  same "nobody else reads a state" "" "$(inside find /var/lib/sluicegate -type f -perm /077)"
}

# A backup of the machine is brought back to all gateways, or to none: one with a credential, one at a socket, one that is only
# enabled.
check_restore_of_instances() {
  local file said pids
  inside sed 's/8081/8083/g; s/^admin: .*/admin: 127.0.0.1:18083/; s/one/three/g' /etc/sluicegate/one.yaml | inside tee /etc/sluicegate/three.yaml >/dev/null
  inside systemctl enable --quiet sluicegate@three.service
  check "a backup of several gateways is made" inside sluicegate-ops backup backup
  file=$(inside sh -c 'ls -t /var/backups/sluicegate/*.tar.gz | head -n 1')
  inside sed -i 's/body: "one/body: "later/' /etc/sluicegate/one.yaml
  inside sed -i 's/body: "two/body: "later/' /etc/sluicegate/two.yaml
  inside systemctl reload sluicegate@one.service sluicegate@two.service
  pids="$(property MainPID sluicegate@one.service) $(property MainPID sluicegate@two.service)"
  check "it is restored" inside sluicegate-ops backup restore "$file"
  same "and both instances serve with it, without a restart" "one two $pids" \
    "$(get / 8081) $(get / 8082) $(property MainPID sluicegate@one.service) $(property MainPID sluicegate@two.service)"
  # One that the next boot would find refused.
  echo 'listn: 1' | inside tee -a /etc/sluicegate/three.yaml >/dev/null
  inside sluicegate-ops backup backup >/dev/null
  file=$(inside sh -c 'ls -t /var/backups/sluicegate/*.tar.gz | head -n 1')
  inside sed -i '/listn/d' /etc/sluicegate/three.yaml
  if said=$(inside sluicegate-ops backup restore "$file" 2>&1); then
    not_ok "a backup with a bad file for an instance that is enabled is refused" "$said"
  else
    holds "a backup with a bad file for an instance that is enabled is refused" 'sluicegate@three.service is refused' "$said"
  fi
  refused "and its file is as it was" inside grep -q listn /etc/sluicegate/three.yaml
  inside systemctl disable --quiet sluicegate@three.service
  inside rm -rf /etc/sluicegate/three.yaml /var/log/sluicegate/three
  inside sh -c 'rm -f /var/backups/sluicegate/*'
}

# Health checks of ours are not logged; a request is, within a moment.
lines_of_log() {
  within 3000 inside test -s "/var/log/sluicegate/$1/access.log" >/dev/null
  inside wc -l "/var/log/sluicegate/$1/access.log" | cut -d ' ' -f 1
}
