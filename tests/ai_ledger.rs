//! What is charged is what was served, whoever dies meanwhile; and a restart remembers it.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says how it can be repeated"
)]

#[path = "support/harness.rs"]
mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::{Value, json};
use support::ai::*;
use support::*;
use tokio::task::JoinSet;

const LIMIT: u64 = 1_000_000_000;
/// Requests of one round.
const ROUND: usize = 6;
/// The longest answer in the rounds, in tokens.
const LONGEST: u64 = 400;

/// A gateway whose budget outlives it. Nothing of it comes back before the month is over.
fn kept(ai: Ai, budget: &str) -> Builder {
    ai.on_route("limits: [a]")
        .build()
        .section("server", "{ state_dir: \"{dir}/state\" }")
        .section("limits", &format!("{{ a: {{ {budget} }} }}"))
}

fn monthly(mock: &Mock) -> Builder {
    kept(ai_of(mock).set("breaker: off"), &format!("key: global, tokens: {LIMIT}/month"))
}

/// What one small request is told to be left.
async fn left(gate: &Gateway) -> u64 {
    let answer = ask(gate, "embeddings", &json!({"model": "m", "input": "x"})).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.header("x-ratelimit-remaining-tokens").parse().unwrap_or_else(|_| panic!("{:?}", answer.headers))
}

/// Waits until nothing is set aside any more.
async fn at_rest(gate: &Gateway) {
    eventually(s(20), "no reservation is left", async || {
        let metrics = gate.metrics().await;
        let names = ["sluicegate_limit_reservations", "sluicegate_limit_pending", "sluicegate_requests_in_flight"];
        names.iter().all(|name| metrics.sum(name) == 0.0)
    })
    .await;
}

fn served(mock: &Mock) -> u64 {
    let tokens = mock.ledger().total().tokens;
    tokens.input + tokens.output
}

/// A question whose answer has so many pieces of four characters.
fn question(pieces: u64, stream: bool) -> Value {
    with(chat("m", "say abc "), json!({"max_tokens": pieces, "stream": stream}))
}

#[tokio::test]
async fn a_restart_remembers_what_was_used() {
    for signal in [Signal::TERM, Signal::KILL] {
        let a = upstream("a").await;
        let mut gate = monthly(&a).start().await;
        let full = left(&gate).await;
        a.set_order("usage", "in=4000,out=2000");
        assert_eq!(ask(&gate, "chat/completions", &question(10, false)).await.status, 200);
        a.clear_orders();
        at_rest(&gate).await;
        let before = left(&gate).await;
        assert_eq!(full - before, 6001, "a request and the first look");
        at_rest(&gate).await;
        holds_for(ms(100), "it is written down", async || true).await;
        gate.restart(signal).await;
        assert_eq!(left(&gate).await, before - 1, "{signal:?}");
    }
}

#[tokio::test]
async fn money_and_callers_are_remembered_too() {
    let a = upstream("a").await;
    a.set_order("usage", "in=600000,out=0");
    let prices = "prices: { models: { m: { input: 1.00, output: 1.00 } } }";
    let mut gate =
        kept(ai_of(&a).set(prices), "key: api_key, cost: 1.00/month").section("auth", &callers()).start().await;
    let body = question(10, false);
    for _ in 0..2 {
        assert_eq!(ask_as(&gate, "team-a", "chat/completions", &body).await.status, 200);
    }
    assert_eq!(ask_as(&gate, "team-a", "chat/completions", &body).await.status, 429);
    gate.restart(Signal::TERM).await;
    assert_eq!(ask_as(&gate, "team-a", "chat/completions", &body).await.status, 429);
    assert_eq!(ask_as(&gate, "team-b", "chat/completions", &body).await.status, 200);
}

#[tokio::test]
async fn what_a_kill_cuts_counts_as_used_and_what_a_stop_waits_for_counts_exactly() {
    let a = upstream("a").await;
    let mut gate = monthly(&a).start().await;
    let full = left(&gate).await;
    a.set_order("sse", "rate=50,events=5000");
    let mut open = stream(&gate, "chat/completions", &question(5000, true)).await;
    open.until("abc").await;
    holds_for(ms(100), "the reservation is written down", async || true).await;
    gate.restart(Signal::KILL).await;
    let used = full - left(&gate).await;
    assert!((5000..5100).contains(&used), "all that was set aside is charged: {used}");

    a.set_order("sse", "rate=50,events=50");
    at_rest(&gate).await;
    let (before, truth) = (left(&gate).await, served(&a));
    let mut open = stream(&gate, "chat/completions", &question(100, true)).await;
    open.until("abc").await;
    let (_, told) = futures::join!(gate.restart(Signal::TERM), async { chat_told(&open.rest().await) });
    assert!(told.ended, "a stop waits for it: {told:?}");
    assert_eq!(before - left(&gate).await, served(&a) - truth, "what it used, and a look");
}

/// The files of the ledger.
fn files(gate: &Gateway) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(gate.dir().join("state")).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[tokio::test]
async fn the_files_hold_no_name_of_a_caller_and_are_for_nobody_else() {
    let a = upstream("a").await;
    let mut gate = kept(ai_of(&a), "key: api_key, tokens: 1000000/1d").section("auth", &callers()).start().await;
    assert_eq!(ask_as(&gate, "team-a", "chat/completions", &question(10, false)).await.status, 200);
    gate.restart(Signal::TERM).await;
    let files = files(&gate);
    assert!(files.len() >= 2, "{files:?}");
    for file in files {
        let bytes = std::fs::read(&file).unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert!(!text.contains("team-a") && !text.contains("sk-sg"), "{file:?}");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
    }
}

#[tokio::test]
async fn a_file_that_is_damaged_is_put_aside_and_told_of() {
    for damage in [0, 1, 2] {
        let a = upstream("a").await;
        let mut gate = monthly(&a).start().await;
        assert_eq!(ask(&gate, "chat/completions", &question(10, false)).await.status, 200);
        gate.restart(Signal::TERM).await;
        let file = gate.dir().join("state/limits.state");
        gate.restart_after(Signal::TERM, || {
            let mut bytes = std::fs::read(&file).unwrap();
            let middle = bytes.len() / 2;
            match damage {
                0 => bytes.truncate(middle),
                1 => bytes[middle] ^= 0xff,
                _ => bytes = b"something else".to_vec(),
            }
            std::fs::write(&file, bytes).unwrap();
        })
        .await;
        assert!(
            files(&gate).iter().any(|file| file.to_string_lossy().contains(".refused-")),
            "{damage}: {:?}",
            files(&gate)
        );
        assert!(gate.stderr().contains("limits.state"), "{damage}: {}", gate.stderr());
        assert!(gate.stderr().contains("all budgets begin anew"), "{damage}: {}", gate.stderr());
        let status = gate.ctl(&["status"]).await;
        assert!(status.stdout.contains("all budgets begin anew"), "{damage}: {}", status.stdout);
        assert_eq!(ask(&gate, "chat/completions", &question(10, false)).await.status, 200);
    }
}

#[tokio::test]
async fn a_journal_with_a_damaged_byte_is_told_of_and_read_behind_it() {
    let a = upstream("a").await;
    let mut gate = monthly(&a).start().await;
    let journal = || files(&gate).into_iter().find(|file| file.to_string_lossy().contains("limits.journal.")).unwrap();
    let begun = std::fs::metadata(journal()).unwrap().len();
    let mut before = 0;
    for _ in 0..3 {
        before = left(&gate).await;
        at_rest(&gate).await;
        holds_for(ms(100), "it is written down", async || true).await;
    }
    let file = journal();
    assert!(std::fs::metadata(&file).unwrap().len() > begun + 48);
    gate.restart_after(Signal::KILL, || {
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[28 + 20] ^= 0xff;
        std::fs::write(&file, bytes).unwrap();
    })
    .await;
    assert_eq!(left(&gate).await, before - 1, "what stands behind it counts");
    assert!(gate.stderr().contains("is damaged: 48 bytes of it cannot be read"), "{}", gate.stderr());
    let status = gate.ctl(&["status"]).await;
    assert!(status.stdout.contains("is damaged: 48 bytes"), "{}", status.stdout);
}

#[tokio::test]
async fn a_limit_that_no_route_has_for_a_while_outlives_restarts_and_what_is_forgotten_is_told() {
    let a = upstream("a").await;
    let mut gate = monthly(&a).start().await;
    let used = LIMIT - left(&gate).await;
    assert!(used > 0);
    let file = gate.config_file();
    let change = |from: &str, to: &str| {
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(&file, text.replace(from, to)).unwrap();
    };
    gate.restart_after(Signal::TERM, || change("limits: [a]", "auth: none")).await;
    holds_for(s(6), "a state is written without it", async || true).await;
    gate.restart_after(Signal::TERM, || change("auth: none", "limits: [a]")).await;
    assert!(LIMIT - left(&gate).await > used, "what was used before is forgotten");
    gate.restart_after(Signal::TERM, || change("key: global", "key: route")).await;
    let told = async || gate.stderr().contains("what was used of 1 accounts of the last run is forgotten");
    eventually(s(5), "what is forgotten is told", told).await;
}

#[tokio::test]
async fn a_reload_that_forgets_what_was_used_says_so() {
    let a = upstream("a").await;
    let gate = monthly(&a).start().await;
    left(&gate).await;
    gate.rewrite_config(|text| text.replace("key: global", "key: route"));
    let reload = gate.ctl(&["reload"]).await;
    assert!(reload.code == Some(0) && reload.stdout.contains("what was used of 1 accounts is forgotten"), "{reload:?}");
}

/// Sends one request, whatever comes of it.
async fn send(client: Client, body: Value) {
    let ask = client.ask("POST", "/v1/chat/completions").header("content-type", "application/json");
    let _ = ask.body(body.to_string()).try_send().await;
}

/// What dies in a round.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Death {
    Nobody,
    Clients,
    Provider,
    GatewayInOrder,
    GatewayAtOnce,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_dies_the_ledger_has_what_was_served_and_nothing_stays_set_aside() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let a = upstream("a").await;
    let mut gate = monthly(&a).start().await;
    let mut before = left(&gate).await;
    let mut truth = served(&a);
    for round in 0..scaled(20) {
        let deaths = [Death::Nobody, Death::Clients, Death::Provider, Death::GatewayInOrder, Death::GatewayAtOnce];
        let death = deaths[round % deaths.len()];
        let mut requests = JoinSet::new();
        for _ in 0..ROUND {
            let pieces = random.u64(20..LONGEST);
            a.set_order("sse", &format!("rate=400,events={LONGEST}"));
            requests.spawn(send(gate.client().clone(), question(pieces, random.bool())));
        }
        holds_for(ms(random.u64(0..400)), "they are under way", async || true).await;
        match death {
            Death::Nobody => {}
            Death::Clients => requests.abort_all(),
            Death::Provider => {
                a.stop().await;
                revive(&a).await;
            }
            Death::GatewayInOrder => gate.restart(Signal::TERM).await,
            Death::GatewayAtOnce => gate.restart(Signal::KILL).await,
        }
        while requests.join_next().await.is_some() {}
        at_rest(&gate).await;
        eventually(s(10), "the provider is at rest", async || a.ledger().total().in_flight() == 0).await;
        let (now, total) = (left(&gate).await, served(&a));
        let (charged, was) = (before - now, total - truth);
        // What was under way on a connection when it was cut is seen by one side only; a killed gateway charges what was
        // set aside, or forgets the last moment.
        let most = ROUND as u64 * (LONGEST + 20);
        let (less, more) = match death {
            Death::Nobody => (0, 0),
            Death::Clients | Death::Provider => (ROUND as u64 * 30, ROUND as u64 * 30),
            Death::GatewayInOrder => (ROUND as u64 * 30, ROUND as u64 * 30),
            Death::GatewayAtOnce => (most, most),
        };
        assert!(
            charged + less >= was && charged <= was + more,
            "round {round}, {death:?}: charged {charged}, served {was}"
        );
        (before, truth) = (now, total);
    }
}

/// A disk of 256 KiB, which is gone with this.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None`, and a line, where nothing can be mounted.
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut command = std::process::Command::new("mount");
        let command = command.args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"]).arg(folder.path());
        if command.output().is_ok_and(|output| output.status.success()) {
            return Some(Self(folder));
        }
        eprintln!("SKIPPED: no disk can be mounted here");
        None
    }

    fn filler(&self) -> PathBuf {
        self.0.path().join("filler")
    }

    /// Leaves no byte on it.
    fn fill(&self) {
        use std::io::Write;
        let mut file = std::fs::File::create(self.filler()).unwrap();
        for size in [4096, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn a_start_on_a_full_disk_serves_and_goes_on_with_what_was_written() {
    let Some(disk) = SmallDisk::mount() else { return };
    let a = upstream("a").await;
    let state = format!("{{ state_dir: \"{}\" }}", disk.0.path().join("state").display());
    let mut gate = monthly(&a).section("server", &state).start().await;
    let used = LIMIT - left(&gate).await;
    gate.restart(Signal::TERM).await;
    disk.fill();
    gate.restart(Signal::TERM).await;
    let after = left(&gate).await;
    assert!(after < LIMIT - used, "{after}: what was used before is forgotten");
    assert!(gate.stderr().contains("until there is room"), "{}", gate.stderr());
    assert!(!gate.stderr().contains("is kept in"), "{}", gate.stderr());
    std::fs::remove_file(disk.filler()).unwrap();
    let saved = async || gate.metric("sluicegate_limit_state_saves_total{result=\"ok\"}").await > 0.0;
    eventually(s(20), "it is kept again", saved).await;
    gate.says("the limits are kept again").await;
    gate.restart(Signal::TERM).await;
    assert!(left(&gate).await < after, "what was used on the full disk is forgotten");
}

#[tokio::test]
async fn a_state_that_is_not_kept_is_told_by_the_status_and_at_the_end() {
    let a = upstream("a").await;
    let mut gate = monthly(&a).start().await;
    assert!(!gate.ctl(&["status"]).await.stdout.contains("not kept"));
    std::fs::remove_dir_all(gate.dir().join("state")).unwrap();
    let told = async || {
        left(&gate).await;
        gate.ctl(&["status"]).await.stdout.contains("are not kept as they should be: cannot ")
    };
    eventually(s(20), "the status tells", told).await;
    let failed = async || gate.metric("sluicegate_limit_state_saves_total{result=\"failed\"}").await > 0.0;
    eventually(s(20), "it is counted", failed).await;
    gate.signal(Signal::TERM);
    let exit = gate.wait_exit(s(20)).await;
    assert!(exit.stderr.contains("could not be written at the end"), "{}", exit.stderr);
}
