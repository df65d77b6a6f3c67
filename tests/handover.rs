//! A new process takes over, and nobody notices; or it cannot, and nobody notices either.

#![expect(clippy::unwrap_used, reason = "a helper of tests that cannot read its input has to stop")]

#[path = "support/harness.rs"]
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use futures::future::join_all;
use serde_json::json;
use support::ai::*;
use support::*;

/// A gateway whose old processes do not wait long for the next request of a kept connection.
fn replaceable() -> Builder {
    gateway().section("server", "{ timeouts: { keepalive: 1s } }")
}

/// Reads a stream to its end: how many events it had.
async fn events_of(mut stream: Stream) -> usize {
    let mut events = 0;
    while let Some(piece) = stream.piece().await {
        events += String::from_utf8_lossy(&piece).matches("data:").count();
    }
    events
}

/// Puts a shell script in the place of the installed program.
fn replace_program(gate: &Gateway, script: &str) {
    let (program, new) = (gate.dir().join("gateway"), gate.dir().join("new"));
    fs::write(&new, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(new, program).unwrap();
}

fn put_program_back(gate: &Gateway) {
    let (program, new) = (gate.dir().join("gateway"), gate.dir().join("new"));
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_sluicegate"), &new).unwrap();
    fs::rename(new, program).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_upgrades_under_load_lose_no_request_and_cut_no_stream() {
    let a = upstream("a").await;
    let mut gate = replaceable().pool_with("app", &[&a], "health_check: { interval: 1s }").start().await.ready().await;
    let first = gate.pid();
    let streams = join_all((0..50).map(|_| gate.ask("GET", "/sse?events=40&interval=100ms").stream())).await;
    let streams: Vec<_> = streams.into_iter().map(|stream| tokio::spawn(events_of(stream))).collect();
    let load = load(gate.address(), "/", 16);
    let mut served = vec![first];
    for _ in 0..3 {
        let pid = gate.upgrade().await;
        assert!(!served.contains(&pid), "{pid} again");
        served.push(pid);
    }
    for stream in streams {
        assert_eq!(stream.await.unwrap(), 40, "a stream was cut");
    }
    let tally = load.stop().await;
    assert_eq!((tally.statuses.keys().copied().collect::<Vec<_>>(), tally.broken), (vec![200], vec![]));
    let exit = gate.wait_exit(s(20)).await;
    assert_eq!(exit.code, Some(0), "{}", exit.stderr);
    eventually(s(20), "only the last process is left", async || gate.processes() == [*served.last().unwrap()]).await;
}

#[tokio::test]
async fn a_request_on_a_kept_connection_is_answered_by_the_old_process_which_then_ends_it() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    let mut kept = gate.connect().await;
    assert_eq!(kept.ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.status, 200);
    gate.upgrade().await;
    let answer = kept.ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!((answer.status, &*answer.header("connection")), (200, "close"));
    assert!(kept.closed_within(s(2)).await, "it keeps the connection");
}

#[tokio::test]
async fn probes_of_a_kept_connection_hear_nothing_of_it() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    let mut kept = gate.connect().await;
    assert_eq!(kept.ask("GET /ready HTTP/1.1\r\nHost: x\r\n\r\n").await.status, 200);
    gate.upgrade().await;
    assert_eq!(kept.ask("GET /ready HTTP/1.1\r\nHost: x\r\n\r\n").await.status, 200, "somebody serves");
}

#[tokio::test]
async fn usr2_does_the_same() {
    let a = upstream("a").await;
    let mut gate = replaceable().pool("app", &[&a]).start().await;
    let first = gate.pid();
    gate.signal(Signal::USR2);
    assert_eq!(gate.wait_exit(s(20)).await.code, Some(0));
    assert_ne!(gate.serving_pid().await, first);
    assert_eq!(gate.get("/").await.status, 200);
}

#[tokio::test]
async fn the_new_process_is_nobodys_child_and_the_status_and_the_log_tell_of_it() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    let exit = gate.ctl(&["upgrade", "--wait"]).await;
    let pid = gate.serving_pid().await;
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(exit.stdout.trim(), format!("process {pid} serves, version {version}; the one before drains"));
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim().to_owned();
    assert_ne!(parent, gate.pid().to_string(), "the service manager would not notice its end");
    gate.says(&format!("upgrade: process {pid} serves")).await;
}

#[tokio::test]
async fn without_wait_it_only_begins() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    let exit = gate.ctl(&["upgrade"]).await;
    assert_eq!((exit.code, exit.stdout.contains("begun")), (Some(0), true), "{}", exit.stdout);
    let first = gate.pid();
    eventually(s(20), "another process serves", async || gate.serving_pid().await != first).await;
}

#[tokio::test]
async fn a_configuration_that_is_refused_changes_nothing_and_is_told() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).section("log", "{ audit: \"{dir}/audit.log\" }").start().await;
    let good = gate.config();
    gate.rewrite_config(|text| text.replace("pool: app", "pool: ap"));
    let exit = gate.ctl(&["upgrade", "--wait"]).await;
    assert_eq!(exit.code, Some(1));
    assert!(exit.stderr.contains("sluicegate.yaml:") && exit.stderr.contains("app"), "{}", exit.stderr);
    assert_eq!((gate.serving_pid().await, gate.get("/").await.status), (gate.pid(), 200));
    let status = gate.ctl(&["status"]).await.stdout;
    assert!(status.contains("last upgrade refused:\n"), "{status}");
    assert_eq!(gate.metric("sluicegate_upgrades_total{result=\"failure\"}").await, 1.0);
    let audited = gate.audit_log(1).await;
    let upgrade = audited.iter().find(|event| event["action"] == "upgrade").unwrap();
    assert_eq!((&upgrade["outcome"], &upgrade["reason"]), (&json!("failure"), &json!("refused")), "{upgrade}");
    gate.rewrite_config(|_| good);
    assert_ne!(gate.upgrade().await, gate.pid());
    assert_eq!(gate.get("/").await.status, 200);
}

#[tokio::test]
async fn a_program_that_is_broken_changes_nothing_and_is_told() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).installed().start().await;
    for (script, reason) in [
        ("exit 3", "cannot be started: exit status: 3"),
        // It says that the new process is under way, and there is none.
        ("exit 0", "ended before it was ready"),
        ("echo '{\"word\":\"took\"}' >&0", "out of step"),
        ("echo hello >&0", "not understood"),
    ] {
        replace_program(&gate, script);
        let exit = gate.ctl(&["upgrade", "--wait"]).await;
        assert_eq!(exit.code, Some(1), "{script}");
        assert!(exit.stderr.contains(reason), "{script}: {}", exit.stderr);
        assert_eq!((gate.serving_pid().await, gate.get("/").await.status), (gate.pid(), 200), "{script}");
    }
    fs::remove_file(gate.dir().join("gateway")).unwrap();
    let exit = gate.ctl(&["upgrade", "--wait"]).await;
    assert!(exit.stderr.contains("cannot be started: No such file or directory"), "{}", exit.stderr);
    put_program_back(&gate);
    assert_ne!(gate.upgrade().await, gate.pid());
}

#[tokio::test]
async fn an_address_that_the_new_process_cannot_have_changes_nothing() {
    let (a, taken) = (upstream("a").await, upstream("taken").await);
    let gate = gateway().pool("app", &[&a]).start().await;
    gate.rewrite_config(|text| {
        text.replace("listen:\n", &format!("listen:\n  - {{ address: \"{}\" }}\n", taken.address()))
    });
    let exit = gate.ctl(&["upgrade", "--wait"]).await;
    assert_eq!(exit.code, Some(1));
    assert!(exit.stderr.contains(&taken.address().to_string()), "{}", exit.stderr);
    assert_eq!((gate.serving_pid().await, gate.get("/").await.status), (gate.pid(), 200));
}

#[tokio::test]
async fn what_only_a_restart_changes_an_upgrade_does_too() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    gate.rewrite_config(|text| text.replace("listen:\n", "listen:\n  - { address: \"{listen2}\" }\n"));
    gate.upgrade().await;
    let second = Client::http(gate.second_address());
    assert_eq!((gate.get("/").await.status, second.get("/").await.status), (200, 200));
    gate.rewrite_config(|text| {
        text.lines()
            .filter(|line| !line.contains("server:"))
            .collect::<Vec<_>>()
            .join("\n")
            .replace(&format!("  - {{ address: \"{}\" }}\n", gate.second_address()), "")
    });
    gate.upgrade().await;
    assert_eq!(gate.get("/").await.status, 200);
    let address = gate.second_address();
    eventually(s(5), "nobody listens there any more", async || tokio::net::TcpStream::connect(address).await.is_err())
        .await;
}

#[tokio::test]
async fn two_hundred_listeners_are_handed_over() {
    let a = upstream("a").await;
    let mut builder = gateway().pool("app", &[&a]).listener("address: \"{listen}\"");
    for index in 0..200 {
        builder = builder.listener(&format!("address: \"unix:{{dir}}/{index}.sock\""));
    }
    let gate = builder.start().await;
    let inode = |path: &Path| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap());
    let before: Vec<u64> = (0..200).map(|index| inode(&gate.dir().join(format!("{index}.sock")))).collect();
    gate.upgrade().await;
    for (index, before) in before.into_iter().enumerate() {
        let path = gate.dir().join(format!("{index}.sock"));
        assert_eq!(inode(&path), before, "the socket of {} was made anew", path.display());
        assert_eq!(unix_get(&path).await, "HTTP/1.1 200 OK", "{}", path.display());
    }
}

/// The first line of the answer to a GET over a unix socket.
async fn unix_get(path: &Path) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::UnixStream::connect(path).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut text = String::new();
    within(s(10), "an answer", stream.read_to_string(&mut text)).await.unwrap();
    text.lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn what_an_operator_wanted_and_what_checks_found_goes_on() {
    let (a, b, dead) = (upstream("a").await, upstream("b").await, free_address());
    let members = [a.address().to_string(), b.address().to_string(), dead.to_string()];
    // A process that knows nothing yet would need so long for its first check.
    let options = "health_check: { path: \"/slow?delay=1s\", interval: 1s, timeout: 5s, fall: 1 }";
    let gate = gateway().members("app", &members, options).start().await;
    eventually(s(10), "the checks have spoken", async || {
        let status = gate.ctl(&["status"]).await.stdout;
        status.contains("down") && !status.contains("checking")
    })
    .await;
    let exit = gate.ctl(&["drain", "app", &members[1]]).await;
    assert_eq!(exit.code, Some(0), "{}", exit.stderr);
    gate.upgrade().await;
    let answers = join_all((0..20).map(|_| gate.get("/"))).await;
    let from: Vec<String> = answers.iter().map(|answer| answer.header("x-upstream").to_owned()).collect();
    assert!(from.iter().all(|id| id == "a"), "{from:?}");
    let status: serde_json::Value = serde_json::from_str(gate.control("GET", "/control/status").await.text()).unwrap();
    let members = status["pools"][0]["members"].as_array().unwrap();
    let states: Vec<_> = members.iter().map(|member| member["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["ready", "drain", "ready"]);
}

#[tokio::test]
async fn a_revoked_token_stays_revoked() {
    let gate = gateway()
        .section("auth", &format!("{{ jwt: {{ issuer: \"https://id.test\", secret: {SECRET} }} }}"))
        .route("match: { path: / }, respond: 200")
        .start()
        .await;
    let token = Signer::secret("HS256", SECRET).token(&claims(json!({ "jti": "one" })));
    let asked = || gate.ask("GET", "/").header("authorization", &format!("Bearer {token}")).send();
    assert_eq!(asked().await.status, 200);
    let exit = gate.ctl(&["revoke", "one"]).await;
    assert_eq!(exit.code, Some(0), "{}", exit.stderr);
    gate.upgrade().await;
    assert_eq!(asked().await.status, 401);
}

#[tokio::test]
async fn a_secret_of_the_environment_goes_on_and_is_not_shown_by_the_kernel() {
    let token = "a-token-of-the-environment-4711";
    let gate = gateway()
        .env("THE_ADMIN_TOKEN", token)
        .section("admin", "{ address: \"{admin}\", token: \"${THE_ADMIN_TOKEN}\" }")
        .route("match: { path: / }, respond: 200")
        .start()
        .await;
    let ask = |method, path| gate.admin().ask(method, path).header("authorization", &format!("Bearer {token}"));
    for round in 0..2 {
        let upgraded = ask("POST", "/control/upgrade?wait").send().await;
        assert_eq!(upgraded.status, 200, "{round}: {}", upgraded.text());
        let answer: serde_json::Value = serde_json::from_str(upgraded.text()).unwrap();
        let status = ask("GET", "/control/status").send().await;
        assert_eq!(status.status, 200, "{round}: the token is still the same");
        for file in ["environ", "cmdline"] {
            let shown = fs::read(format!("/proc/{}/{file}", answer["pid"])).unwrap();
            assert!(!String::from_utf8_lossy(&shown).contains(token), "{round}: {file}");
        }
    }
    assert_eq!(gate.control("POST", "/control/upgrade").await.status, 401, "and is still asked for");
}

#[tokio::test]
async fn what_was_used_of_a_budget_stays_used() {
    let a = upstream("a").await;
    let gate = ai_of(&a)
        .on_route("limits: [a]")
        .build()
        .section("server", "{ state_dir: \"{dir}/state\" }")
        .section("limits", "{ a: { key: global, tokens: 100000/month } }")
        .start()
        .await;
    let remaining = async || -> u64 {
        let answer = ask(&gate, "embeddings", &json!({"model": "m", "input": "x"})).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.header("x-ratelimit-remaining-tokens").parse().unwrap()
    };
    let answer = ask(&gate, "chat/completions", &with(chat("m", "x"), json!({"max_tokens": 500}))).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let before = remaining().await;
    assert!(before < 100_000, "{before}");
    gate.upgrade().await;
    let after = remaining().await;
    assert!(after < before && before - after < 100, "{before} before, {after} after");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn budgets_are_exact_across_upgrades_also_for_streams_under_way() {
    let a = upstream("a").await;
    let limit: u64 = 1_000_000;
    let gate = ai_of(&a)
        .on_route("limits: [a]")
        .build()
        .section("server", "{ state_dir: \"{dir}/state\" }")
        .section("limits", &format!("{{ a: {{ key: global, tokens: {limit}/month }} }}"))
        .start()
        .await;
    a.set_order("sse", "rate=20,events=40");
    let mut streams = Vec::new();
    for _ in 0..2 {
        for _ in 0..5 {
            let mut open =
                stream(&gate, "chat/completions", &streamed(with(chat("m", "x"), json!({"max_tokens": 900})))).await;
            open.next().await.unwrap();
            streams.push(tokio::spawn(async move { open.rest().await }));
        }
        gate.upgrade().await;
    }
    for stream in streams {
        assert!(chat_told(&stream.await.unwrap()).ended, "a stream was cut");
    }
    let left = async || -> u64 {
        let answer = ask(&gate, "embeddings", &json!({"model": "m", "input": "x"})).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.header("x-ratelimit-remaining-tokens").parse().unwrap()
    };
    let served = || {
        let tokens = a.ledger().total().tokens;
        tokens.input + tokens.output
    };
    eventually(s(10), "what was charged is what was served", async || left().await + served() == limit).await;
}

#[tokio::test]
async fn when_the_upgrade_fails_at_the_last_moment_budgets_are_kept_on() {
    let a = upstream("a").await;
    let gate = ai_of(&a)
        .on_route("limits: [a]")
        .build()
        .installed()
        .section("server", "{ state_dir: \"{dir}/state\" }")
        .section("limits", "{ a: { key: global, tokens: 100000/month } }")
        .start()
        .await;
    // It is prepared, and then does not serve.
    replace_program(&gate, &prepared_then("exit 0"));
    let exit = gate.ctl(&["upgrade", "--wait"]).await;
    assert_eq!(exit.code, Some(1), "{}", exit.stdout);
    let answer = ask(&gate, "chat/completions", &with(chat("m", "x"), json!({"max_tokens": 500}))).await;
    let before: u64 = answer.header("x-ratelimit-remaining-tokens").parse().unwrap();
    let mut gate = gate;
    put_program_back(&gate);
    gate.restart(Signal::TERM).await;
    let answer = ask(&gate, "embeddings", &json!({"model": "m", "input": "x"})).await;
    let after: u64 = answer.header("x-ratelimit-remaining-tokens").parse().unwrap();
    assert!(after <= before + 500 && after < 100_000, "{before} before, {after} after");
}

/// A program whose new process is there, could serve and has heard what goes on; then it does as `then` says.
fn prepared_then(then: &str) -> String {
    let say = |word: &str| format!("printf '%s\\n' '{{\"word\":\"{word}\"}}'; read -r line");
    let (begun, prepared) = (say("begun"), say("prepared"));
    format!("exec 3<&0; ({begun}; read -r hello; {prepared}; {then}) <&3 >&3 3>&- &")
}

/// The same, and it serves and has heard the old one's agreement.
fn serving_then(then: &str) -> String {
    let serving = r#"{"word":"serving","pid":1,"version":"2","status":"s"}"#;
    prepared_then(&format!("printf '%s\\n' '{serving}'; read -r line; {then}"))
}

#[tokio::test]
async fn a_program_that_hangs_is_given_up_and_has_got_no_socket() {
    let a = upstream("a").await;
    let mut gate = gateway().installed().pool("app", &[&a]).start().await;
    let address = gate.address();
    // What it started goes on, as it would below a wrapper.
    replace_program(&gate, "sleep 60 <&0 >/dev/null 2>&1 & exec sleep 60");
    let exit = gate.ctl(&["upgrade", "--wait"]).await;
    assert_eq!(exit.code, Some(1), "{}", exit.stdout);
    assert!(exit.stderr.contains("cannot be started: it does nothing within"), "{}", exit.stderr);
    assert_eq!(gate.get("/").await.status, 200);
    gate.signal(Signal::TERM);
    assert_eq!(gate.wait_exit(s(10)).await.code, Some(0));
    assert!(std::net::TcpListener::bind(address).is_ok(), "somebody still listens");
}

#[tokio::test]
async fn a_new_process_that_is_slow_to_tell_the_service_manager_has_taken_over() {
    let a = upstream("a").await;
    let mut gate = gateway().installed().pool("app", &[&a]).start().await;
    replace_program(&gate, &serving_then("read -r until_the_old_one_has_gone"));
    let exit = gate.ctl(&["upgrade", "--wait"]).await;
    assert_eq!(exit.code, Some(0), "{}", exit.stdout);
    assert_eq!(gate.wait_exit(s(10)).await.code, Some(0));
}

#[tokio::test]
async fn a_new_process_that_ends_before_it_has_told_the_service_manager_has_not_taken_over() {
    let a = upstream("a").await;
    let gate = gateway().installed().pool("app", &[&a]).start().await;
    replace_program(&gate, &serving_then("exit 0"));
    let exit = gate.ctl(&["upgrade", "--wait"]).await;
    assert_eq!(exit.code, Some(1), "{}", exit.stdout);
    assert_eq!(gate.get("/").await.status, 200);
}

#[tokio::test]
async fn the_old_process_waits_for_its_streams_no_longer_than_it_may() {
    let a = upstream("a").await;
    let mut gate =
        gateway().section("server", "{ timeouts: { handover: 1s, keepalive: 1s } }").pool("app", &[&a]).start().await;
    let mut endless = gate.ask("GET", "/sse?events=100000&interval=50ms").stream().await;
    endless.piece().await;
    gate.upgrade().await;
    let started = now();
    assert_eq!(gate.wait_exit(s(10)).await.code, Some(0));
    let took = started.elapsed();
    assert!(took < s(5), "left after {took:?}");
}

#[tokio::test]
async fn a_stop_waits_for_both_processes() {
    let a = upstream("a").await;
    let mut gate = replaceable().pool("app", &[&a]).start().await;
    let stream = gate.ask("GET", "/sse?events=20&interval=100ms").stream().await;
    let new = gate.upgrade().await;
    gate.signal_to(new, Signal::TERM);
    assert_eq!(events_of(stream).await, 20, "the stream of the old process was cut");
    assert_eq!(gate.wait_exit(s(10)).await.code, Some(0));
    eventually(s(10), "both have ended", async || gate.processes().is_empty()).await;
}

#[tokio::test]
async fn the_old_process_reopens_its_logs_too() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    let stream = gate.ask("GET", "/sse?events=15&interval=100ms").stream().await;
    let new = gate.upgrade().await;
    fs::rename(gate.dir().join("access.log"), gate.dir().join("access.log.1")).unwrap();
    // As logrotate does: it tells the new process alone.
    gate.signal_to(new, Signal::USR1);
    eventually(s(5), "it has a new file", async || gate.dir().join("access.log").exists()).await;
    assert_eq!(events_of(stream).await, 15);
    let lines = gate.access_log(1).await;
    assert_eq!(lines[0]["path"], "/sse", "{lines:?}");
}
