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
  check "each has a state directory" inside test -d /var/lib/sluicegate/one -a -d /var/lib/sluicegate/two
  inside systemctl stop "$UNIT"
  check "the runtime directory of an instance outlives the service beside it" inside test -d /run/sluicegate-one
  same "and it serves on" one "$(get / 8081)"
  at_most "the exposure of an instance" 1.6 "$(exposure sluicegate@one.service)"
  inside systemctl stop sluicegate@one.service sluicegate@two.service
  inside rm -rf /etc/sluicegate/one.yaml /etc/sluicegate/two.yaml /var/lib/sluicegate/{one,two} /var/log/sluicegate/{one,two}
  fresh_start
}

# Health checks of ours are not logged; a request is, within a moment.
lines_of_log() {
  within 3000 inside test -s "/var/log/sluicegate/$1/access.log" >/dev/null
  inside wc -l "/var/log/sluicegate/$1/access.log" | cut -d ' ' -f 1
}
