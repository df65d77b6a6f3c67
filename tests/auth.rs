//! Keys: who comes in, who may do what, what is told, and that no secret leaves.

#[path = "support/harness.rs"]
mod support;

use sha2::{Digest, Sha256};
use support::*;

const READER: &str = "sk-sg-reader-5Qm2vX8aT1";
const WRITER: &str = "sk-sg-writer-9Lr4wB6cU3";
const ADMIN: &str = "sk-sg-admin-7Kp3yD5eV2";
const CHAT: &str = "sk-sg-chat-3Jn1zF4gW8";
const OLD: &str = "sk-sg-old-1Hm9xG2hX6";
const EXPIRED: &str = "sk-sg-expired-2Gk8cJ7iY4";
const DISABLED: &str = "sk-sg-disabled-4Fj7vK9kZ1";
const SECRETS: [&str; 7] = [READER, WRITER, ADMIN, CHAT, OLD, EXPIRED, DISABLED];

fn sha256(secret: &str) -> String {
    Sha256::digest(secret).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A key file with one key of each kind.
fn key_file() -> String {
    format!(
        "\
keys:
  - {{ id: reader, secret: {READER}, permissions: read, expires_at: 2099-01-01T00:00:00Z }}
  - {{ id: writer, secret_sha256: {}, permissions: [read, write], expires_at: 2099-01-01T00:00:00Z }}
  - {{ id: boss, secret_sha256: {}, permissions: [admin], expires_at: 2099-01-01T00:00:00Z }}
  - {{ id: chat, secret: {CHAT}, permissions: [\"chat:*\", \"files:read\"], expires_at: 2099-01-01T00:00:00Z }}
  - {{ id: late, secret: {EXPIRED}, permissions: [\"*\"], expires_at: 2020-01-01T00:00:00Z }}
  - {{ id: off, secret: {DISABLED}, permissions: [\"*\"], enabled: false }}
  - {{ id: unset, secret: \"${{NO_SUCH_SECRET:-}}\", permissions: [\"*\"] }}
",
        sha256(WRITER),
        sha256(ADMIN),
    )
}

/// A gateway with that file, in front of `mock`.
fn guarded(mock: &Mock) -> Builder {
    gateway()
        .file("keys.yaml", &key_file())
        .section("auth", "{ api_keys: { file: \"{dir}/keys.yaml\" } }")
        .pool("app", &[mock])
}

async fn with_key(gate: &Gateway, method: &str, path: &str, key: &str) -> Answer {
    gate.ask(method, path).header("x-api-key", key).send().await
}

#[tokio::test]
async fn a_reader_may_get_and_not_post() {
    let a = upstream("a").await;
    let gate = guarded(&a).start().await;
    assert_eq!(with_key(&gate, "GET", "/", READER).await.status, 200);
    let refused = with_key(&gate, "POST", "/", READER).await;
    assert_eq!((refused.status, refused.json()["error"]["code"].as_str()), (403, Some("permission_denied")));
    assert_eq!(with_key(&gate, "POST", "/", WRITER).await.status, 200);
}

#[tokio::test]
async fn whoever_has_no_good_key_gets_the_same_401() {
    let a = upstream("a").await;
    let gate = guarded(&a).start().await;
    let mut bodies = Vec::new();
    for key in [None, Some(""), Some(EXPIRED), Some(DISABLED), Some("sk-sg-nobody"), Some("${NO_SUCH_SECRET:-}")] {
        let ask = gate.ask("GET", "/").header("x-request-id", "one-and-the-same");
        let ask = if let Some(key) = key { ask.header("x-api-key", key) } else { ask };
        let refused = ask.send().await;
        assert_eq!(refused.status, 401, "{key:?}");
        assert_eq!(refused.header("www-authenticate"), "Bearer realm=\"sluicegate\"", "{key:?}");
        assert_eq!(refused.header("content-type"), "application/json", "{key:?}");
        assert_eq!(refused.json()["error"]["code"], "unauthorized", "{key:?}");
        bodies.push(refused.text().to_owned());
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "nothing tells which it was: {bodies:?}");
    assert!(a.requests().is_empty(), "none of them reached the member");
    for (reason, times) in [("missing", 2.0), ("expired", 1.0), ("disabled", 1.0), ("unknown", 2.0)] {
        let counted = gate.metric(&format!("jairouter_auth_failures_total{{reason=\"{reason}\"}}")).await;
        assert_eq!(counted, times, "{reason}");
    }
}

#[tokio::test]
async fn the_audit_log_tells_whose_key_was_refused_and_which_permission_was_missing() {
    let a = upstream("a").await;
    let gate = guarded(&a)
        .route("match: /, pool: app")
        .route("match: /named/, pool: app, permission: \"files:write\"")
        .section("log", r#"{ access: "{dir}/access.log", audit: "{dir}/audit.log" }"#)
        .start()
        .await;
    for key in [EXPIRED, DISABLED, "sk-sg-nobody"] {
        assert_eq!(with_key(&gate, "GET", "/", key).await.status, 401);
    }
    assert_eq!(with_key(&gate, "POST", "/", READER).await.status, 403);
    assert_eq!(with_key(&gate, "GET", "/named/", CHAT).await.status, 403);
    let lines = gate.audit_log(5).await;
    let of = |line: &serde_json::Value| {
        ["event", "actor", "reason", "target"].map(|key| line[key].as_str().unwrap_or_default().to_owned())
    };
    let told: Vec<_> = lines.iter().map(of).collect();
    let (failure, denied) = ("AUTHENTICATION_FAILURE", "ACCESS_DENIED");
    assert_eq!(
        told,
        [
            [failure, "late", "expired", ""],
            [failure, "off", "disabled", ""],
            [failure, "", "unknown", ""],
            [denied, "reader", "permission", "write"],
            [denied, "chat", "permission", "files:write"],
        ]
        .map(|line| line.map(str::to_owned))
    );
    let access = gate.access_log(5).await;
    let named = access.iter().filter(|line| line.get("caller").is_some());
    assert!(named.clone().count() == 2 && named.into_iter().all(|line| line["status"] == 403), "{access:?}");
}

#[tokio::test]
async fn a_key_comes_in_any_of_the_fields_for_keys_and_none_of_them_reaches_the_member() {
    let a = upstream("a").await;
    let gate = guarded(&a)
        .section("auth", "{ api_keys: { header: [X-API-Key, api-key], file: \"{dir}/keys.yaml\" } }")
        .start()
        .await;
    let ask = async |fields: &[(&str, &str)]| {
        fields.iter().fold(gate.ask("GET", "/"), |ask, (name, value)| ask.header(name, value)).send().await.status
    };
    for fields in [&[("x-api-key", READER)][..], &[("api-key", READER)], &[("api-key", READER), ("x-api-key", READER)]]
    {
        assert_eq!(ask(fields).await, 200, "{fields:?}");
        let seen = last_seen(&a);
        assert_eq!((sent(&seen, "x-api-key"), sent(&seen, "api-key")), (String::new(), String::new()), "{fields:?}");
    }
    assert_eq!(ask(&[("api-key", READER), ("x-api-key", WRITER)]).await, 401, "nobody can say which was meant");
    assert_eq!(gate.metric("jairouter_auth_failures_total{reason=\"malformed\"}").await, 1.0);
}

#[tokio::test]
async fn the_metrics_tell_when_keys_end_that_have_an_end() {
    let a = upstream("a").await;
    let gate = guarded(&a).start().await;
    let name = "sluicegate_api_key_expiry_timestamp_seconds";
    let metrics = gate.metrics().await;
    assert_eq!(metrics.sum(&format!("{name}{{key=\"chat\"}}")), 4_070_908_800.0);
    let ending = metrics.values(name, "key");
    assert!(
        !ending.iter().any(|id| ["late", "off", "unset"].contains(&&**id)),
        "over, off, without an end: {ending:?}"
    );
    let file = gate.dir().join("keys.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("expires_at: 2099", "enabled: false, expires_at: 2099")).unwrap();
    assert_eq!(gate.ctl(&["reload"]).await.code, Some(0));
    let ending = gate.metrics().await.values(name, "key");
    assert!(ending.is_empty(), "all are switched off: {ending:?}");
}

#[tokio::test]
async fn a_key_comes_in_its_own_field_or_as_a_bearer() {
    let a = upstream("a").await;
    let gate = guarded(&a).start().await;
    for (name, value, status) in [
        ("x-api-key", READER.to_owned(), 200),
        ("authorization", format!("Bearer {READER}"), 200),
        ("authorization", format!("bearer   {READER}"), 200),
        ("authorization", READER.to_owned(), 401),
        ("authorization", format!("Basic {READER}"), 401),
        ("authorization", format!("Bearer{READER}"), 401),
        ("authorization", "Bearer".to_owned(), 401),
        ("x-api-key", format!("Bearer {READER}"), 401),
        ("api-key", READER.to_owned(), 401),
        ("cookie", format!("x-api-key={READER}"), 401),
    ] {
        assert_eq!(gate.ask("GET", "/").header(name, &value).send().await.status, status, "{name}: {value}");
    }
    assert_eq!(gate.get(&format!("/?api_key={READER}")).await.status, 401, "a query brings nobody in");
    let twice = gate.ask("GET", "/").header("x-api-key", READER).header("x-api-key", READER).send().await;
    assert_eq!(twice.status, 401, "nobody can say which was meant");
    assert_eq!(gate.metric("jairouter_auth_failures_total{reason=\"malformed\"}").await, 1.0);
}

#[tokio::test]
async fn the_header_can_have_another_name() {
    let a = upstream("a").await;
    let auth = "{ api_keys: { header: X-Gate-Key, file: \"{dir}/keys.yaml\" } }";
    let gate = guarded(&a).section("auth", auth).start().await;
    assert_eq!(gate.ask("GET", "/").header("x-gate-key", READER).send().await.status, 200);
    assert_eq!(sent(&last_seen(&a), "x-gate-key"), "");
    assert_eq!(with_key(&gate, "GET", "/", READER).await.status, 401);
}

#[tokio::test]
async fn a_route_asks_for_a_permission_or_leaves_it_to_the_method() {
    let a = upstream("a").await;
    let gate = guarded(&a)
        .route("match: { path: /open/ }, pool: app, auth: none")
        .route("match: { path: /chat/ }, pool: app, permission: \"chat:write\"")
        .route("match: { path: /files/ }, pool: app, auth: api_keys, permission: \"files:write\"")
        .route("match: { path: /admin/ }, pool: app, permission: admin")
        .route("match: { path: / }, pool: app")
        .start()
        .await;
    let matrix = [
        // path, method, nobody, reader, writer, chat, boss
        ("/open/", "POST", [200, 200, 200, 200, 200]),
        ("/chat/", "POST", [401, 403, 200, 200, 200]),
        ("/chat/", "GET", [401, 403, 200, 200, 200]),
        ("/files/", "GET", [401, 403, 200, 403, 200]),
        ("/admin/", "GET", [401, 403, 403, 403, 200]),
        ("/", "GET", [401, 200, 200, 200, 200]),
        ("/", "HEAD", [401, 200, 200, 200, 200]),
        ("/", "PUT", [401, 403, 200, 200, 200]),
        ("/", "DELETE", [401, 403, 403, 200, 200]),
    ];
    for (path, method, statuses) in matrix {
        for (key, status) in ["", READER, WRITER, CHAT, ADMIN].into_iter().zip(statuses) {
            assert_eq!(with_key(&gate, method, path, key).await.status, status, "{method} {path} with {key:?}");
        }
    }
    assert_eq!(gate.get("/health").await.status, 200, "probes need no key");
    assert_eq!(gate.get("/ready").await.status, 200);
}

#[tokio::test]
async fn answers_without_a_member_need_a_caller_too() {
    let gate = gateway()
        .file("keys.yaml", &key_file())
        .section("auth", "{ api_keys: { file: \"{dir}/keys.yaml\" } }")
        .route("match: { path: /here }, respond: { body: secret plans }")
        .route("match: { path: /there }, redirect: /elsewhere")
        .start()
        .await;
    assert_eq!((gate.get("/here").await.status, gate.get("/there").await.status), (401, 401));
    assert_eq!(with_key(&gate, "GET", "/here", READER).await.status, 200);
    assert_eq!(with_key(&gate, "GET", "/there", READER).await.status, 308);
}

#[tokio::test]
async fn the_member_never_sees_the_key_and_gets_what_is_its_own() {
    let a = upstream("a").await;
    let gate = guarded(&a)
        .route("match: { path: /open/ }, pool: app, auth: none")
        .route("match: { path: /told/ }, pool: app, forward_credentials: true")
        .route("match: { path: / }, pool: app")
        .start()
        .await;
    let bearer = format!("Bearer {READER}");
    let foreign = "Bearer sk-of-the-provider-itself";
    let cases = [
        // path, key sent, authorization sent, key seen, authorization seen
        ("/", READER, "", "", ""),
        ("/", "", bearer.as_str(), "", ""),
        ("/", READER, foreign, "", foreign),
        ("/", READER, bearer.as_str(), "", ""),
        ("/", READER, "Basic dTpw", "", "Basic dTpw"),
        ("/told/", READER, foreign, READER, foreign),
        ("/told/", "", bearer.as_str(), "", bearer.as_str()),
        ("/open/", READER, bearer.as_str(), "", ""),
        ("/open/", EXPIRED, foreign, "", foreign),
        ("/open/", "sk-of-the-provider", foreign, "sk-of-the-provider", foreign),
    ];
    for (path, key, authorization, key_seen, authorization_seen) in cases {
        let mut ask = gate.ask("GET", path);
        for (name, value) in [("x-api-key", key), ("authorization", authorization)] {
            ask = if value.is_empty() { ask } else { ask.header(name, value) };
        }
        assert_eq!(ask.send().await.status, 200, "{path} {key} {authorization}");
        let seen = last_seen(&a);
        let got = (sent(&seen, "x-api-key"), sent(&seen, "authorization"));
        assert_eq!(got, (key_seen.into(), authorization_seen.into()), "{path} {key:?} {authorization:?}");
    }
    let disguised = gate.ask("GET", "/").header("x-api-key", READER).header("X_Api_Key", "another").send().await;
    assert_eq!(
        (disguised.status, sent(&last_seen(&a), "x_api_key")),
        (200, String::new()),
        "CGI reads one name in both"
    );
}

#[tokio::test]
async fn the_key_stays_here_on_every_way_to_a_member() {
    let a = Mock::builder("a").start().await;
    let gate = guarded(&a)
        .pool_with("h2", &[&a], "http2: true")
        .route("match: { path: /h2/ }, pool: h2")
        .route("match: { path: / }, pool: app")
        .start()
        .await;
    assert_eq!(with_key(&gate, "GET", "/h2/", READER).await.status, 200);
    assert_eq!(sent(&last_seen(&a), "x-api-key"), "", "over HTTP/2");
    let upgrade = format!(
        "GET /ws HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nx-api-key: {READER}\r\n\r\n"
    );
    let mut connection = gate.connect().await;
    connection.send(upgrade.as_bytes()).await;
    let head = connection.head().await.expect("a header block");
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert_eq!(sent(&last_seen(&a), "x-api-key"), "", "upgraded");
    let refused = upgrade.replace(READER, "sk-sg-nobody");
    let mut connection = gate.connect().await;
    connection.send(refused.as_bytes()).await;
    let head = connection.head().await.expect("a header block");
    assert!(head.starts_with("HTTP/1.1 401"), "{head}");
}

#[tokio::test]
async fn a_rule_of_the_route_may_set_the_members_own_credentials() {
    let a = upstream("a").await;
    let route = "match: { path: / }, pool: app, headers: { request: { set: { authorization: Bearer of-the-member } } }";
    let gate = guarded(&a).route(route).start().await;
    assert_eq!(gate.ask("GET", "/").header("authorization", &format!("Bearer {READER}")).send().await.status, 200);
    assert_eq!(sent(&last_seen(&a), "authorization"), "Bearer of-the-member");
}

/// A key file in which `app` has a new secret, and the old one until `until`.
fn rotated(until: &str) -> String {
    format!(
        "keys: [{{ id: app, secret: {READER}, previous: {{ secret_sha256: {}, until: {until} }}, permissions: read, \
         expires_at: 2099-01-01T00:00:00Z }}]\n",
        sha256(OLD)
    )
}

#[tokio::test]
async fn while_a_secret_is_changed_both_come_in_and_then_the_new_one_only() {
    let a = upstream("a").await;
    let gate = guarded(&a).file("keys.yaml", &rotated("2098-01-01T00:00:00Z")).start().await;
    for key in [READER, OLD] {
        assert_eq!(with_key(&gate, "GET", "/", key).await.status, 200, "{key}");
    }
    let log = gate.access_log(2).await;
    assert!(log.iter().all(|line| line["caller"] == "app"), "both are the same caller: {log:?}");
    std::fs::write(gate.dir().join("keys.yaml"), rotated("2020-01-01T00:00:00Z")).unwrap();
    assert_eq!(gate.reload().await.status, 200);
    assert_eq!(
        (with_key(&gate, "GET", "/", READER).await.status, with_key(&gate, "GET", "/", OLD).await.status),
        (200, 401)
    );
}

#[tokio::test]
async fn a_reload_of_the_key_file_changes_who_comes_in_on_a_connection_that_stays() {
    let a = upstream("a").await;
    let gate = guarded(&a).start().await;
    let mut connection = gate.connect().await;
    let mut ask = async |key: &str| {
        let request = format!("GET / HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\n\r\n");
        connection.send(request.as_bytes()).await;
        connection.answer().await.status
    };
    assert_eq!((ask(READER).await, ask(OLD).await), (200, 401));
    std::fs::write(gate.dir().join("keys.yaml"), key_file().replace(READER, OLD)).unwrap();
    assert_eq!(ask(READER).await, 200, "nothing changes before the reload");
    assert_eq!(gate.reload().await.status, 200);
    assert_eq!((ask(READER).await, ask(OLD).await), (401, 200));
}

#[tokio::test]
async fn a_bad_key_file_refuses_the_reload_and_the_old_keys_live_on() {
    let a = upstream("a").await;
    let gate = guarded(&a).start().await;
    for (from, to, words) in [
        ("id: reader,", "id: writer,", "keys.yaml:3:11: keys[1].id: two keys have the id `writer`"),
        ("permissions: read,", "permissions: raed,", "keys.yaml:2:"),
        ("keys:", "kyes:", "keys.yaml:1:1: kyes: unknown key"),
        ("2020-01-01T00:00:00Z", "2020-01-01", "did you mean 2020-01-01T00:00:00Z?"),
        ("enabled: false", "enabled: false, secret_sha256: abc", "stands here twice"),
        (EXPIRED, "changeme", "keys.yaml:6:25: keys[4].secret: the secret is a well-known placeholder"),
        (EXPIRED, "sk-service-a-key-here", "well-known placeholder"),
        ("${NO_SUCH_SECRET:-}", "${NO_SUCH_SECRET}", "NO_SUCH_SECRET is not set"),
        (EXPIRED, CHAT, "`chat` and `late` have the same secret"),
        ("keys:", "keys: [", "keys.yaml:"),
        ("secret:", "key-value:", "keys[0].key-value: unknown key"),
        ("secret:", "key:", "keys[0].key: unknown key"),
    ] {
        let text = key_file();
        assert!(text.contains(from), "{from}");
        std::fs::write(gate.dir().join("keys.yaml"), text.replacen(from, to, 1)).unwrap();
        let refused = gate.reload().await;
        assert!((400..500).contains(&refused.status), "{to}: {}", refused.status);
        let said: String = serde_json::from_str::<serde_json::Value>(refused.text())
            .map_or_else(|_| refused.text().to_owned(), |json| json.to_string().replace("\\\"", "\""));
        assert!(said.contains(words), "{to}: {words} is not in {said}");
        assert!(SECRETS.iter().all(|secret| !said.contains(secret)), "{to}: {said}");
        assert_eq!(with_key(&gate, "GET", "/", READER).await.status, 200, "{to}");
    }
    std::fs::remove_file(gate.dir().join("keys.yaml")).unwrap();
    assert_ne!(gate.reload().await.status, 200);
    assert_eq!(with_key(&gate, "GET", "/", READER).await.status, 200);
}

#[tokio::test]
async fn a_file_full_of_keys_that_do_nothing_starts_with_a_warning_for_each() {
    let a = upstream("a").await;
    let gate = guarded(&a).start().await;
    for words in ["keys[4].expires_at: this key expired", "keys[6].secret: the secret is empty", "chmod o-rwx"] {
        gate.says(words).await;
    }
}

#[tokio::test]
async fn no_secret_is_told_anywhere() {
    let a = upstream("a").await;
    let gate = guarded(&a).start().await;
    for key in SECRETS {
        let answer = with_key(&gate, "GET", &format!("/x?api_key={key}&token={key}"), key).await;
        assert!(!answer.text().contains("sk-sg-") || answer.status == 200, "{}", answer.text());
        gate.ask("POST", "/").header("authorization", &format!("Bearer {key}")).send().await;
    }
    gate.rewrite_config(|text| text.replace("level: info", "level: trace"));
    gate.reload().await;
    for key in SECRETS {
        with_key(&gate, "GET", "/", key).await;
    }
    let mut refused = String::new();
    for (from, to) in
        [("secret:", "sceret:"), ("keys:", "kyes:"), ("id:", "secret_of:"), (", permissions", " permissions")]
    {
        std::fs::write(gate.dir().join("keys.yaml"), key_file().replace(from, to)).unwrap();
        let answer = gate.reload().await;
        assert_eq!(answer.status, 422, "{to}");
        refused += answer.text();
    }
    let ctl = gate.ctl(&["reload"]).await;
    let log = gate.access_lines(21).await.concat();
    let metrics = gate.metrics().await.text().to_owned();
    let status = gate.control("GET", "/control/status").await.text().to_owned();
    let page = gate.admin().get("/stats").await.text().to_owned();
    let line = std::fs::read_to_string(format!("/proc/{}/cmdline", gate.pid())).unwrap();
    let told = [refused, ctl.stderr, ctl.stdout, log, metrics, status, page, line, gate.stderr()];
    for secret in SECRETS {
        for (n, text) in told.iter().enumerate() {
            assert!(!text.contains(secret), "{secret} is told in {n}: {text}");
            assert!(!text.contains(&sha256(secret)), "the digest of {secret} is told in {n}: {text}");
        }
    }
}

#[tokio::test]
async fn the_caller_stands_in_the_access_log() {
    let a = upstream("a").await;
    let gate = guarded(&a).start().await;
    with_key(&gate, "GET", "/", READER).await;
    with_key(&gate, "POST", "/", READER).await;
    gate.get("/").await;
    let log = gate.access_log(3).await;
    let callers: Vec<_> = log.iter().map(|line| (line["status"].as_u64(), line["caller"].as_str())).collect();
    assert_eq!(callers, [(Some(200), Some("reader")), (Some(403), Some("reader")), (Some(401), None)]);
    let combined = "{ access: { file: \"{dir}/access.log\", format: combined } }";
    let gate = guarded(&a).section("log", combined).start().await;
    with_key(&gate, "GET", "/", READER).await;
    gate.get("/").await;
    let lines = gate.access_lines(2).await;
    assert!(lines[0].starts_with("127.0.0.1 - reader ["), "{lines:?}");
    assert!(lines[1].starts_with("127.0.0.1 - - ["), "{lines:?}");
}

#[tokio::test]
async fn a_new_key_comes_in_as_it_was_printed() {
    let made = ["--id", "fresh", "--permissions", "read,chat:*", "--expires", "90d", "--metadata", "team=search"];
    let made = sluicegate(&[&["key", "new"][..], &made[..]].concat());
    assert_eq!(made.code, Some(0), "{made:?}");
    let secret = made.stdout.split_whitespace().find(|word| word.starts_with("sk-sg-")).expect("a secret");
    assert_eq!(secret.len(), "sk-sg-".len() + 64);
    assert_eq!(made.stdout.matches(secret).count(), 1, "shown once");
    let entry: String = made
        .stdout
        .lines()
        .filter(|line| !line.starts_with('#'))
        .fold(String::new(), |all, line| all + "  " + line + "\n");
    assert!(!entry.contains(secret), "{entry}");
    let a = upstream("a").await;
    let gate = guarded(&a).file("keys.yaml", &format!("keys:\n{entry}")).start().await;
    assert_eq!(with_key(&gate, "GET", "/", secret).await.status, 200);
    assert_eq!(with_key(&gate, "POST", "/", secret).await.status, 403);
    assert_eq!(gate.access_log(2).await[0]["caller"], "fresh");
    assert_eq!(gate.stderr().matches("warning:").count(), 1, "but for the file's mode: {}", gate.stderr());
    let of_team = ["--metadata", "team=a \"b\" $c", "--metadata", "cost-centre=47"];
    let of_team = sluicegate(&[&["key", "new"][..], &of_team[..]].concat());
    let line = r#"  metadata: { team: "a \"b\" $$c", cost-centre: "47" }"#;
    assert!(of_team.stdout.lines().any(|other| other == line), "{of_team:?}");
    let other = sluicegate(&["key", "new"]);
    assert!(other.code == Some(0) && !other.stdout.contains(secret), "{other:?}");
}

#[test]
fn a_key_that_makes_no_sense_is_not_made() {
    for arguments in [
        ["--permissions", "raed"],
        ["--expires", "yesterday"],
        ["--expires", "2020-01-01T00:00:00Z"],
        ["--id", "a b"],
        ["--id", ""],
        ["--metadata", "team"],
        ["--metadata", "team="],
        ["--metadata", "a b=c"],
    ] {
        let refused = sluicegate(&[&["key", "new"][..], &arguments[..]].concat());
        assert_eq!((refused.code, refused.stdout.as_str()), (Some(64), ""), "{arguments:?}: {refused:?}");
    }
}
