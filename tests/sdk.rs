//! The official Python packages of OpenAI and Anthropic, unmodified, against the gateway: `tests/sdk/`.
//!
//! They are in `target/sdk-venv`, where `make deps` puts them. Without them these tests say so and pass; where `CI` is set,
//! they fail.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking, and says what it leaves out")]

#[path = "support/harness.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};
use support::ai::*;
use support::*;

/// The interpreter that has the packages of `requirements.txt`; `None` where there is none.
fn python() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let wanted = std::fs::read(root.join("tests/sdk/requirements.txt")).unwrap();
    let digest: String = Sha256::digest(wanted).iter().map(|byte| format!("{byte:02x}")).collect();
    let installed = std::fs::read_to_string(root.join("target/sdk-venv/requirements.sha256")).unwrap_or_default();
    installed.starts_with(&digest).then(|| root.join("target/sdk-venv/bin/python"))
}

/// Runs one suite; the test fails with all that it said.
async fn run(suite: &str) {
    let Some(python) = python() else {
        let said = "the official SDKs are not in target/sdk-venv: run `make deps`";
        assert!(std::env::var_os("CI").is_none_or(|ci| ci.is_empty() || ci == "false"), "{said}");
        eprintln!("SKIPPED: {said}");
        return;
    };
    let [openai, anthropic, gemini] = upstreams(["openai", "anthropic", "gemini"]).await;
    let gate = ai()
        .openai("openai", &openai)
        .anthropic("anthropic", &anthropic)
        .gemini("gemini", &gemini)
        .model("gpt-4o", &["openai"])
        .model("claude-sonnet-4-5", &["anthropic"])
        .model("gemini-2.5-pro", &["gemini"])
        .set("breaker: off")
        .build()
        .route("match: { path: /api/v1/ai/ }, ai: true")
        .route("match: { path: /openai/ }, ai: true")
        .route("match: { path: /limited/ }, ai: true, limits: [few]")
        .route("match: { path: /limited-too/ }, ai: true, limits: [few-too]")
        .section(
            "limits",
            "{ few: { key: api_key, rate: 2/h, burst: 2 }, few-too: { key: api_key, rate: 2/h, burst: 2 } }",
        )
        .section("auth", &callers())
        .start()
        .await;
    let mut command = Command::new(python);
    command.arg("-B").arg(format!("{}/tests/sdk/{suite}", env!("CARGO_MANIFEST_DIR")));
    command.env("SG_GATEWAY", gate.url("")).env("SG_KEY", secret_of("team-a"));
    for (name, mock) in [("SG_OPENAI", &openai), ("SG_ANTHROPIC", &anthropic), ("SG_GEMINI", &gemini)] {
        command.env(name, format!("http://{}", mock.address()));
    }
    // What a developer has set for these packages is not meant for this.
    for name in ["OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "ANTHROPIC_AUTH_TOKEN"]
    {
        command.env_remove(name);
    }
    for name in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env_remove(name);
    }
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let ran = said.lines().find_map(|line| line.strip_prefix("Ran ")?.split(' ').next()?.parse::<usize>().ok());
    assert!(ran >= Some(20), "the suite ran: {said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_official_package_of_openai_is_served() {
    run("test_openai.py").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_official_package_of_anthropic_is_served() {
    run("test_anthropic.py").await;
}
