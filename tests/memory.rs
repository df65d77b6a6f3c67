//! What the memory of the gateway holds of secrets: nothing that stood in the configuration. What stays on purpose is told
//! in the reference.
//!
//! The memory is read as a debugger reads it, which the kernel allows to root alone, for the gateway forbids it to others.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says why it does nothing"
)]

#[path = "support/harness.rs"]
mod support;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use memchr::memmem;
use support::*;

/// What is no secret and has to be found: who cannot find it would find no secret either.
const OPEN: &str = "the-name-of-this-instance-4711";
const ADMIN: &str = "the-admin-token-a8Z3kQ";
const ENVIRONMENT: &str = "the-key-of-the-environment-b7Y2";
const INLINE: &str = "the-inline-key-c6X1mW";
const PREVIOUS: &str = "the-inline-key-before-d5V0";
const FILED: &str = "the-key-of-the-file-e4U9nT";
const JWT: &str = "the-secret-of-the-tokens-f3S8-of-32-bytes-or-more";
const WEBHOOK: &str = "the-secret-of-the-webhook-g2R7";
const HOOK_URL: &str = "the-code-in-its-url-h1Q6pP";
/// Bytes that are read at once.
const PIECE: usize = 4 << 20;

/// Whether this test may look into other processes; says so when it may not.
fn may_look() -> bool {
    let may = rustix::process::getuid().is_root();
    if !may {
        eprintln!("skipped: only root may read the memory of the gateway");
    }
    may
}

/// How often each of `texts` stands in the memory that the gateway can write to.
fn found(gateway: &Gateway, texts: &[&str]) -> Vec<usize> {
    let maps = fs::read_to_string(format!("/proc/{}/maps", gateway.pid())).unwrap();
    let memory = File::open(format!("/proc/{}/mem", gateway.pid())).unwrap();
    let mut counts = vec![0; texts.len()];
    let mut buffer = vec![0; PIECE + 256];
    for map in maps.lines().filter(|map| map.split(' ').nth(1).is_some_and(|rights| rights.starts_with("rw"))) {
        let (start, end) = map.split(' ').next().unwrap().split_once('-').unwrap();
        let [mut at, end] = [start, end].map(|address| usize::from_str_radix(address, 16).unwrap());
        while at < end {
            // Each piece begins a little before the end of the last one: no text falls between two.
            let wanted = (end - at).min(PIECE + 256);
            let piece = buffer.get_mut(..wanted).unwrap();
            // What was given back meanwhile cannot be read.
            if memory.read_exact_at(piece, at as u64).is_ok() {
                for (count, text) in counts.iter_mut().zip(texts) {
                    *count += memmem::find_iter(piece, text.as_bytes()).count();
                }
            }
            at += PIECE;
        }
    }
    counts
}

/// Waits until none of `secrets` is found. An old configuration goes when the last worker has let go of it.
async fn nothing_of(gateway: &Gateway, secrets: &[&str], when: &str) {
    let mut counts = Vec::new();
    let mut tries = 0;
    eventually(Duration::from_secs(20), &format!("no secret in memory {when}"), async || {
        counts = found(gateway, secrets);
        tries += 1;
        if tries % 20 == 0 {
            eprintln!("{when}: {counts:?}");
        }
        counts.iter().all(|count| *count == 0)
    })
    .await;
}

/// A gateway whose configuration has a secret wherever one can stand, but for those of providers.
async fn with_every_secret(pem: &str) -> Gateway {
    let keys = format!(
        "{{ api_keys: {{ file: \"{{dir}}/keys.yaml\", keys: [{{ id: inline, secret: {INLINE}, permissions: [read], \
         previous: {{ secret: {PREVIOUS}, until: 2090-01-01T00:00:00Z }} }}, {{ id: variable, secret: \"${{THE_KEY}}\", \
         permissions: [read] }}] }}, jwt: {{ issuer: me, secret: {JWT} }} }}"
    );
    let audit = format!(
        "{{ audit: {{ file: \"{{dir}}/audit.log\", webhook: {{ url: \"http://127.0.0.1:9/?code={HOOK_URL}\", \
         secret: \"${{file:{{dir}}/hook}}\" }} }} }}"
    );
    gateway()
        .env("THE_ADMIN_TOKEN", ADMIN)
        .env("THE_KEY", ENVIRONMENT)
        .file("keys.yaml", &format!("keys: [{{ id: filed, secret: {FILED}, permissions: [read] }}]\n"))
        .file("hook", WEBHOOK)
        .file("bundle.pem", pem)
        .section("admin", "{ address: \"{admin}\", token: \"${THE_ADMIN_TOKEN}\" }")
        .section("server", &format!("{{ instance_id: {OPEN} }}"))
        .section("auth", &keys)
        .section("log", &audit)
        .listener("address: \"{listen}\"")
        .listener("address: \"{listen2}\", tls: { certificates: [{ bundle: \"{dir}/bundle.pem\" }] }")
        .route("match: /, respond: 200")
        .start()
        .await
}

#[tokio::test]
async fn no_secret_of_the_configuration_stays_in_memory_after_the_start_nor_after_reloads() {
    if !may_look() {
        return;
    }
    let identity = Authority::new().issue(&["localhost"]);
    let key_line = identity.key.lines().nth(1).unwrap().to_owned();
    let gateway = with_every_secret(&identity.bundle()).await;
    let secrets = [ADMIN, ENVIRONMENT, INLINE, PREVIOUS, FILED, JWT, WEBHOOK, HOOK_URL, &key_line];
    nothing_of(&gateway, &secrets, "after the start").await;
    for _ in 0..10 {
        let asked = gateway.admin().ask("POST", "/control/reload").header("authorization", &format!("Bearer {ADMIN}"));
        assert_eq!(asked.send().await.status, 200);
    }
    nothing_of(&gateway, &secrets, "after ten reloads").await;
    let broken = gateway.config().replace("permissions: [read]", "permissions: [reed]");
    gateway.rewrite_config(|_| broken);
    let asked = gateway.admin().ask("POST", "/control/reload").header("authorization", &format!("Bearer {ADMIN}"));
    assert_eq!(asked.send().await.status, 422);
    nothing_of(&gateway, &secrets, "after a reload that was refused").await;
    for key in [INLINE, PREVIOUS, ENVIRONMENT, FILED] {
        assert_eq!(gateway.ask("GET", "/").header("x-api-key", key).send().await.status, 200, "the keys still open");
    }
    assert!(found(&gateway, &[OPEN]).into_iter().all(|count| count > 0), "what is no secret is found");
}

#[tokio::test]
async fn what_clients_send_of_secrets_goes_with_their_connections() {
    if !may_look() {
        return;
    }
    let authority = Authority::new();
    let gateway = with_every_secret(&authority.issue(&["localhost"]).bundle()).await;
    // A token is long, and this one is refused.
    let token = format!("a-token-of-a-client-i0P5.{}", "q7".repeat(900));
    let pem = authority.pem();
    let clients: [fn(&Gateway, &str) -> Client; 3] = [
        |gateway, _| Client::http(gateway.address()),
        |gateway, pem| Client::https1("localhost", gateway.second_address(), pem),
        |gateway, pem| Client::https("localhost", gateway.second_address(), pem),
    ];
    for client in clients {
        for _ in 0..20 {
            let client = client(&gateway, &pem);
            for key in [INLINE, FILED] {
                assert_eq!(client.ask("GET", "/").header("x-api-key", key).send().await.status, 200);
            }
            let bearer = format!("Bearer {token}");
            assert_eq!(client.ask("GET", "/").header("authorization", &bearer).send().await.status, 401);
        }
    }
    nothing_of(&gateway, &[INLINE, FILED, &token], "once they have left").await;
}
