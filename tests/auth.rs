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
