# shellcheck shell=bash disable=SC2154
# systemd holds the sockets: no capability is left, and a restart refuses nobody.

check_sockets() {
  local restart status=0 said
  # What the socket unit has is what the package's configuration listens on; an operator's addresses come by a drop-in.
  inside install -d /etc/systemd/system/sluicegate.socket.d
  printf '[Socket]\nListenStream=\nListenStream=0.0.0.0:80\n' | inside tee /etc/systemd/system/sluicegate.socket.d/address.conf >/dev/null
  configuration sockets | configure
  inside systemctl reset-failed "$UNIT"
  # To the letter what stands at the top of the unit.
  said=$(sed -n '/install -Dm/{N;s/\\\n#//;s/^# *//p}' "$repository/systemd/sluicegate.socket")
  check "one command turns socket activation on" inside bash -c "$said"
  same "the service answers" sockets "$(get /)"
  for said in CapInh CapPrm CapEff CapBnd CapAmb; do
    same "$said is empty" 0000000000000000 "$(of_process $said)"
  done
  at_most "the exposure" 1.2 "$(exposure)"

  backend_start
  load_on
  streams_open 200
  sleep 1
  inside systemctl restart "$UNIT" &
  restart=$!
  # The restart waits for them as long as they last.
  sleep 1
  streams_let_end
  wait "$restart" || status=$?
  same "a restart under load succeeds" 0 "$status"
  streams_check "200 streams went on to their end"
  same "the new process answers" sockets "$(get /)"

  streams_open 200
  step_upgrade "upgrade with sockets of systemd" 0000000000000000 package_install 2
  streams_let_end
  streams_check "200 streams went on over the upgrade"
  within 15000 alone >/dev/null
  same "of all processes one is left, and it is the one that systemd knows" "$(main_pid)" "$(inside pgrep --exact sluicegate)"
  load_off "restart and upgrade with sockets of systemd"

  check_stray_socket
  inside systemctl disable --quiet --now sluicegate.socket
  inside rm -r "/etc/systemd/system/$UNIT.d" /etc/systemd/system/sluicegate.socket.d
  inside systemctl daemon-reload
  fresh_start
  same "without it all is as before" "sockets 0000000000000400" "$(get /) $(of_process CapEff)"
}

# A socket that no listener of the configuration has would swallow what connects to it.
check_stray_socket() {
  printf '[Socket]\nListenStream=127.0.0.1:8089\n' | inside tee /etc/systemd/system/sluicegate.socket.d/stray.conf >/dev/null
  inside systemctl daemon-reload
  inside systemctl stop "$UNIT" sluicegate.socket
  journal_mark
  refused "a socket that no listener has is refused" inside systemctl start "$UNIT"
  holds "with its address" '127\.0\.0\.1:8089' "$(journal)"
  inside rm /etc/systemd/system/sluicegate.socket.d/stray.conf
  inside systemctl daemon-reload
  inside systemctl stop "$UNIT" sluicegate.socket
  inside systemctl reset-failed "$UNIT"
}
