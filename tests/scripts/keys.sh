#!/usr/bin/env bash
# Cases of packaging/ops/rotate-key.
# shellcheck source-path=SCRIPTDIR source=suite.sh
. "$TREE/tests/scripts/suite.sh"

# A gateway with a caller `billing`, whose secret is in FIRST.
with_a_key() {
  local made
  made=$("$SLUICEGATE" key new --id billing)
  FIRST=$(sed -n 's/^#   //p' <<<"$made")
  {
    echo "# The callers."
    echo "keys:"
    echo "  # of accounting"
    grep -v '^#' <<<"$made" | sed 's/^/  /'
    echo "    description: the billing service   # a remark"
    echo "  - id: other"
    echo "    secret: another-secret-4711"
    echo "    permissions: [read]"
  } >"$SLUICEGATE_CONFIG_DIR/api-keys.yaml"
  chmod 640 "$SLUICEGATE_CONFIG_DIR/api-keys.yaml"
  configure <<TEXT
auth: { api_keys: { file: $SLUICEGATE_CONFIG_DIR/api-keys.yaml } }
routes: [ { match: /, respond: { status: 200, body: in } }, { match: /other/, auth: none, respond: 204 } ]
TEXT
  serve "$SLUICEGATE"
}

# with SECRET: the status that it gets.
with() { printf 'header = "X-API-Key: %s"\n' "$1" | status_of -K - "http://127.0.0.1:$PORT/"; }

ends() { [ "$(with "$1")" = 401 ]; }

# === Cases ===

both_secrets_work_until_the_overlap_ends() {
  with_a_key
  local pid second before
  pid=$(main_pid)
  before=$(cat "$SLUICEGATE_CONFIG_DIR/api-keys.yaml")
  run 0 "$OPS/rotate-key" --secret-file "$HOST/second" --probe "http://127.0.0.1:$PORT/" --overlap 4s billing
  second=$(cat "$HOST/second")
  is "$(stat -c %a "$HOST/second")" 600
  is "$(stat -c %a "$SLUICEGATE_CONFIG_DIR/api-keys.yaml")" 640
  says_not "$second"
  ! grep -qF "$second" "$SLUICEGATE_CONFIG_DIR/api-keys.yaml" || wrong "the secret stands in the file"
  is "$(with "$second")" 200
  within 30 ends "$FIRST"
  is "$(with "$second")" 200
  is "$(with another-secret-4711)" 200
  is "$(main_pid)" "$pid"
  # Nothing but the secret has changed.
  is "$(diff <(echo "$before") "$SLUICEGATE_CONFIG_DIR/api-keys.yaml" | grep -c '^<')" 1
  is "$(find "$SLUICEGATE_CONFIG_DIR" -name '.api-keys*')" ""
}

the_overlap_can_be_ended_at_once() {
  with_a_key
  run 0 "$OPS/rotate-key" --secret-file "$HOST/second" billing
  is "$(with "$FIRST")" 200
  is "$(with "$(cat "$HOST/second")")" 200
  # A third one now would end the first without a word.
  run 1 "$OPS/rotate-key" billing
  says "is still taken, until"
  run 0 "$OPS/rotate-key" --end-overlap billing
  is "$(with "$FIRST")" 401
  is "$(with "$(cat "$HOST/second")")" 200
  run 1 "$OPS/rotate-key" --end-overlap billing
  says "it has no secret before the present one"
  # One in plain text becomes a digest; it goes on meanwhile.
  run 0 "$OPS/rotate-key" --secret-file "$HOST/third" other
  is "$(with another-secret-4711)" 200
  is "$(with "$(cat "$HOST/third")")" 200
}

a_reload_that_is_refused_takes_everything_back() {
  with_a_key
  local before
  before=$(picture "$SLUICEGATE_CONFIG_DIR")
  # Whatever else is wrong: the file may not stay changed.
  sed -i 's/^routes:/rooutes:/' "$SLUICEGATE_CONFIG"
  before=$(picture "$SLUICEGATE_CONFIG_DIR")
  run 1 "$OPS/rotate-key" --secret-file "$HOST/second" billing
  says "the reload is refused"
  gone "$HOST/second"
  is "$(picture "$SLUICEGATE_CONFIG_DIR")" "$before"
  is "$(with "$FIRST")" 200
}

a_new_secret_that_is_not_let_in_is_taken_back() {
  with_a_key
  # The gateway reads another file than the one that is changed.
  cp -p "$SLUICEGATE_CONFIG_DIR/api-keys.yaml" "$HOST/other.yaml"
  local before
  before=$(cat "$HOST/other.yaml")
  run 1 "$OPS/rotate-key" --key-file "$HOST/other.yaml" --probe "http://127.0.0.1:$PORT/" billing
  says "the new secret is not let in"
  is "$(cat "$HOST/other.yaml")" "$before"
  is "$(with "$FIRST")" 200
}

a_full_disk_leaves_the_keys_as_they_are() {
  with_a_key
  mkdir "$HOST/small"
  mount -t tmpfs -o size=8k tmpfs "$HOST/small" 2>/dev/null || skip "a small file system cannot be mounted here"
  cp "$SLUICEGATE_CONFIG_DIR/api-keys.yaml" "$HOST/small/keys.yaml"
  cat /dev/zero >"$HOST/small/filler" 2>/dev/null || true
  run 1 "$OPS/rotate-key" --no-reload --key-file "$HOST/small/keys.yaml" billing
  cmp "$SLUICEGATE_CONFIG_DIR/api-keys.yaml" "$HOST/small/keys.yaml" || wrong "the file was changed"
  is "$(find "$HOST/small" -name '.keys*')" ""
}

a_secret_that_nobody_gets_changes_no_key() {
  with_a_key
  local before
  before=$(picture "$SLUICEGATE_CONFIG_DIR")
  run 1 "$OPS/rotate-key" --secret-file "$HOST/nowhere/second" billing
  says "cannot be made; the keys are as they were"
  ln -s "$HOST/elsewhere" "$HOST/dangling"
  run 1 "$OPS/rotate-key" --secret-file "$HOST/dangling" billing
  gone "$HOST/elsewhere"
  ! "$OPS/rotate-key" billing >/dev/full 2>"$HOST/said" || wrong "a secret went to a full device"
  says "cannot be printed; the keys are those from before"
  ! "$OPS/rotate-key" billing >&- 2>"$HOST/said" || wrong "a secret went nowhere"
  says "cannot be printed; the keys are those from before"
  is "$(picture "$SLUICEGATE_CONFIG_DIR")" "$before"
  is "$(with "$FIRST")" 200
  mkdir "$HOST/small"
  mount -t tmpfs -o size=8k tmpfs "$HOST/small" 2>/dev/null || skip "a small file system cannot be mounted here"
  cat /dev/zero >"$HOST/small/filler" 2>/dev/null || true
  run 1 "$OPS/rotate-key" --secret-file "$HOST/small/second" billing
  says "the keys are as they were"
  gone "$HOST/small/second"
  is "$(picture "$SLUICEGATE_CONFIG_DIR")" "$before"
}

what_cannot_be_changed_is_told() {
  local keys=$SLUICEGATE_CONFIG_DIR/api-keys.yaml
  printf 'keys:\n  - { id: inline, secret: 4711-abc }\n  - id: twice\n    secret: a-1\n  - id: twice\n    secret: b-1\n  - id: nothing\n    enabled: false\n' >"$keys"
  local before id
  before=$(picture "$SLUICEGATE_CONFIG_DIR")
  for id in inline twice nothing nobody; do
    run 1 "$OPS/rotate-key" --no-reload "$id"
    says "$id in $keys"
  done
  run 1 "$OPS/rotate-key" --no-reload --overlap soon twice
  run 1 "$OPS/rotate-key" --no-reload 'a b'
  run 1 "$OPS/rotate-key" --no-reload --key-file /nowhere a
  run 1 "$OPS/rotate-key"
  run 1 "$OPS/rotate-key" --overlap
  is "$(picture "$SLUICEGATE_CONFIG_DIR")" "$before"
}

case_of "$@"
