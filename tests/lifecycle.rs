//! Start, drain, stop and the signals in between.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/harness.rs"]
mod support;

use std::time::{Duration, Instant};

use futures::future::join_all;
use support::*;

/// Reads a stream to its end: how many events it had, and when it ended.
async fn read_events(mut stream: Stream) -> (usize, Instant) {
    let mut events = 0;
    while let Some(piece) = stream.piece().await {
        events += String::from_utf8_lossy(&piece).matches("data:").count();
    }
    (events, now())
}

/// Opens `count` streams of 15 events over 1.5 seconds, each on its own connection, and waits for their headers.
async fn open_streams(gate: &Gateway, count: usize) -> Vec<Stream> {
    join_all((0..count).map(|_| gate.ask("GET", "/sse?events=15&interval=100ms").stream())).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn term_lets_200_streams_end_and_leaves_right_after_the_last() {
    let a = upstream("a").await;
    let mut gate = gateway().pool("app", &[&a]).start().await;
    let streams = open_streams(&gate, 200).await;
    gate.signal(Signal::TERM);
    let readers: Vec<_> = streams.into_iter().map(|stream| tokio::spawn(read_events(stream))).collect();
    let exit = gate.wait_exit(s(20)).await;
    let left = now();
    assert_eq!(exit.code, Some(0));
    let mut last = None;
    for reader in readers {
        let (events, ended) = reader.await.expect("a whole stream");
        assert_eq!(events, 15, "a stream was cut");
        last = last.max(Some(ended));
    }
    let after = left.saturating_duration_since(last.unwrap());
    assert!(after < ms(200), "left {after:?} after the last stream");
}

#[tokio::test]
async fn term_ends_an_idle_gateway_at_once_also_with_idle_connections() {
    let a = upstream("a").await;
    let mut gate = gateway().pool("app", &[&a]).start().await;
    let mut idle = gate.connect().await;
    idle.ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let _silent = gate.connect().await;
    let started = now();
    gate.signal(Signal::TERM);
    assert_eq!(gate.wait_exit(s(10)).await.code, Some(0));
    assert!(started.elapsed() < s(1), "took {:?}", started.elapsed());
}

#[tokio::test]
async fn term_lets_a_slow_request_finish() {
    let a = upstream("a").await;
    let mut gate = gateway().pool("app", &[&a]).start().await;
    let client = gate.client().clone();
    let slow = tokio::spawn(async move { client.get("/slow?delay=1s").await });
    eventually(s(2), "the backend has it", async || a.hits() == 1).await;
    gate.signal(Signal::TERM);
    assert_eq!(slow.await.unwrap().status, 200);
    assert_eq!(gate.wait_exit(s(5)).await.code, Some(0));
}

#[tokio::test]
async fn while_draining_nobody_new_is_let_in_and_readiness_is_503() {
    let a = upstream("a").await;
    let mut gate = gateway().pool("app", &[&a]).start().await;
    let stream = open_streams(&gate, 1).await.remove(0);
    assert_eq!(gate.admin().get("/ready").await.status, 200);
    gate.signal(Signal::TERM);
    let admin = Client::build(format!("http://{}", gate.admin_address()), |builder| builder);
    eventually(s(1), "readiness is 503", async || admin.get("/ready").await.status == 503).await;
    assert_eq!(admin.get("/health/live").await.status, 200);
    let address = gate.address();
    eventually(s(1), "no new connection", async || tokio::net::TcpStream::connect(address).await.is_err()).await;
    assert_eq!(read_events(stream).await.0, 15);
    assert_eq!(gate.wait_exit(s(5)).await.code, Some(0));
}

#[tokio::test]
async fn a_request_on_a_kept_connection_is_answered_and_told_to_close_while_draining() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    let mut busy = gate.connect().await;
    busy.send("GET /slow?delay=700ms HTTP/1.1\r\nHost: x\r\n\r\n").await;
    eventually(s(2), "the backend has it", async || a.hits() == 1).await;
    gate.signal(Signal::TERM);
    let answer = busy.answer().await;
    assert_eq!(answer.status, 200);
    assert!(busy.closed_within(s(1)).await, "kept open while draining");
}

#[tokio::test]
async fn the_drain_ends_at_its_deadline() {
    let a = upstream("a").await;
    let mut gate = gateway().section("server", "{ timeouts: { drain: 1s } }").pool("app", &[&a]).start().await;
    let mut endless = gate.ask("GET", "/sse?events=100000&interval=50ms").stream().await;
    endless.piece().await;
    let started = now();
    gate.signal(Signal::TERM);
    assert_eq!(gate.wait_exit(s(5)).await.code, Some(0));
    let took = started.elapsed();
    assert!(took > ms(900) && took < ms(2500), "left after {took:?}");
}

#[tokio::test]
async fn int_ends_it_at_once_whatever_is_open() {
    let a = upstream("a").await;
    let mut gate = gateway().pool("app", &[&a]).start().await;
    let _stream = open_streams(&gate, 5).await;
    let started = now();
    gate.signal(Signal::INT);
    gate.wait_exit(s(5)).await;
    assert!(started.elapsed() < ms(700), "took {:?}", started.elapsed());
}

#[tokio::test]
async fn int_ends_a_drain() {
    let a = upstream("a").await;
    let mut gate = gateway().pool("app", &[&a]).start().await;
    let mut endless = gate.ask("GET", "/sse?events=100000&interval=50ms").stream().await;
    endless.piece().await;
    gate.signal(Signal::TERM);
    let draining = async || tokio::net::TcpStream::connect(gate.address()).await.is_err();
    eventually(s(2), "the drain has begun", draining).await;
    gate.signal(Signal::INT);
    gate.wait_exit(s(1)).await;
}

#[tokio::test]
async fn usr1_and_hup_reopen_the_access_log() {
    for signal in [Signal::USR1, Signal::HUP] {
        let a = upstream("a").await;
        let gate = gateway().pool("app", &[&a]).start().await;
        let (log, old) = (gate.dir().join("access.log"), gate.dir().join("access.log.1"));
        gate.get("/before").await;
        gate.access_lines(1).await;
        std::fs::rename(&log, &old).unwrap();
        gate.signal(signal);
        eventually(s(5), "a new file", async || log.exists()).await;
        gate.get("/after").await;
        let lines = gate.access_lines(1).await;
        assert!(lines[0].contains("/after") && lines.len() == 1, "{lines:?}");
        assert!(!std::fs::read_to_string(&old).unwrap().contains("/after"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotation_under_load_loses_no_line() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    let load = load(gate.address(), "/", 4);
    for turn in 0..5 {
        load.answers(50).await;
        let log = gate.dir().join("access.log");
        std::fs::rename(&log, gate.dir().join(format!("access.log.{turn}"))).unwrap();
        gate.signal(Signal::USR1);
        eventually(s(5), "a new file", async || log.exists()).await;
    }
    let tally = load.stop().await;
    tally.assert_all_ok();
    let count = || {
        let files = std::fs::read_dir(gate.dir()).unwrap().map(|file| file.unwrap().path());
        let logs = files.filter(|file| file.to_string_lossy().contains("access.log"));
        logs.map(|file| std::fs::read_to_string(file).unwrap().lines().count()).sum::<usize>()
    };
    eventually(s(5), "a line for every request", async || count() >= tally.total()).await;
    assert_eq!(count(), tally.total());
}

#[tokio::test]
async fn a_second_gateway_on_the_same_port_says_so_and_leaves() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    let second = gateway().listener(&format!("address: \"{}\"", gate.address())).pool("app", &[&a]).launch();
    let exit = ended(second).await;
    assert!(exit.code.is_some_and(|code| code != 0), "{exit:?}");
    assert!(exit.stderr.contains(&gate.address().to_string()) && exit.stderr.contains("in use"), "{}", exit.stderr);
    assert!(!exit.stderr.contains("panicked"), "{}", exit.stderr);
    assert_eq!(gate.get("/").await.status, 200);
}

/// Waits for the end of a gateway that should not come up.
async fn ended(mut gate: Gateway) -> Exit {
    gate.wait_exit(s(5)).await
}

#[tokio::test]
async fn a_second_gateway_on_the_same_admin_port_says_so_and_leaves() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    let admin = format!("{{ address: \"{}\" }}", gate.admin_address());
    let exit = ended(gateway().section("admin", &admin).pool("app", &[&a]).launch()).await;
    assert!(exit.code.is_some_and(|code| code != 0), "{exit:?}");
    assert!(exit.stderr.contains(&gate.admin_address().to_string()), "{}", exit.stderr);
}

#[tokio::test]
async fn a_restart_on_the_same_port_needs_no_wait() {
    let a = upstream("a").await;
    let mut gate = gateway().pool("app", &[&a]).start().await;
    let mut kept = gate.connect().await;
    kept.ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let address = format!("address: \"{}\"", gate.address());
    gate.signal(Signal::TERM);
    gate.wait_exit(s(5)).await;
    let again = gateway().listener(&address).pool("app", &[&a]).launch();
    let client = Client::http(gate.address());
    let up = async || client.ask("GET", "/").try_send().await.is_ok_and(|answer| answer.status == 200);
    eventually(s(10), "the new one serves on the old port", up).await;
    drop(again);
}

#[tokio::test]
async fn it_is_up_within_300_ms_and_small_when_idle() {
    let a = upstream("a").await;
    let mut fastest = Duration::MAX;
    for _ in 0..5 {
        let started = now();
        let gate = gateway().section("server", "{ threads: 2 }").pool("app", &[&a]).start().await;
        fastest = fastest.min(started.elapsed());
        assert!(gate.own_memory() < 15_000_000, "{} bytes of its own", gate.own_memory());
    }
    assert!(fastest < ms(300), "the fastest of five starts took {fastest:?}");
}

#[tokio::test]
async fn a_gateway_listens_on_ipv6_too() {
    let a = upstream("a").await;
    let gate = gateway()
        .listener(r#"address: "{listen}""#)
        .listener("address: \"[::1]:{listen2_port}\"")
        .pool("app", &[&a])
        .start()
        .await;
    let v6 = std::net::SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, gate.second_address().port()));
    let answer = Client::http(v6).get("/echo").await;
    assert_eq!((answer.status, sent(&last_seen(&a), "x-real-ip").as_str()), (200, "::1"));
}

#[tokio::test]
async fn connections_over_the_maximum_wait_for_a_place() {
    let a = upstream("a").await;
    let gate = gateway().section("server", "{ max_connections: 4 }").pool("app", &[&a]).start().await;
    let mut held = Vec::new();
    for _ in 0..4 {
        let mut connection = gate.connect().await;
        assert_eq!(connection.ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.status, 200);
        held.push(connection);
    }
    let client = gate.client().clone();
    let waiting = tokio::spawn(async move { client.get("/").await.status });
    holds_for(ms(300), "the fifth waits", async || a.hits() == 4).await;
    held.pop();
    assert_eq!(within(s(5), "the fifth is served", waiting).await.unwrap(), 200);
}

#[tokio::test]
async fn http_2_streams_finish_during_a_drain_and_the_connection_is_told_to_go() {
    let a = upstream("a").await;
    let mut gate = gateway().listener(r#"address: "{listen}", http2: true"#).pool("app", &[&a]).start().await;
    let client = Client::h2c(gate.address());
    let mut streams = Vec::new();
    for _ in 0..10 {
        streams.push(client.ask("GET", "/sse?events=10&interval=100ms").stream().await);
    }
    gate.signal(Signal::TERM);
    for stream in streams {
        assert_eq!(read_events(stream).await.0, 10, "a stream was cut");
    }
    let ended = now();
    assert_eq!(gate.wait_exit(s(5)).await.code, Some(0));
    assert!(ended.elapsed() < ms(500), "left {:?} after the last stream", ended.elapsed());
}

#[tokio::test]
async fn a_websocket_lives_on_during_a_drain() {
    let a = upstream("a").await;
    let mut gate = gateway().section("server", "{ timeouts: { drain: 10s } }").pool("app", &[&a]).start().await;
    let mut socket = WebSocket::open(gate.address(), "/ws").await.expect("an upgrade");
    gate.signal(Signal::TERM);
    let address = gate.address();
    eventually(s(2), "no new connection", async || tokio::net::TcpStream::connect(address).await.is_err()).await;
    socket.send("still here").await;
    assert_eq!(socket.receive().await.as_deref(), Some("still here"));
    socket.close().await;
    assert_eq!(gate.wait_exit(s(3)).await.code, Some(0));
}

#[tokio::test]
async fn a_start_waits_for_the_first_check_so_that_the_first_request_is_served() {
    let a = upstream("a").await;
    let check = "health_check: { path: \"/slow?delay=300ms\", interval: 10s, timeout: 5s }";
    let gate = gateway().pool_with("app", &[&a], check).start().await;
    assert_eq!(gate.get("/").await.status, 200);
}

#[tokio::test]
async fn a_start_does_not_wait_long_for_a_member_that_never_answers() {
    let (a, hole) = (upstream("a").await, blackhole());
    let started = now();
    let gate = gateway()
        .pool_with("app", &[&a], "health_check: { interval: 1s }")
        .members("hung", &[hole.address()], "health_check: { interval: 60s, timeout: 30s }")
        .route("match: /hung, pool: hung")
        .route("match: /, pool: app")
        .start()
        .await;
    assert_eq!(gate.get("/").await.status, 200);
    assert!(started.elapsed() < s(8), "it took {:?}", started.elapsed());
}

/// The processor time that a process has used, and what its worker does: `R` runs, `S` sleeps.
fn work_of(pid: u32) -> (Duration, char) {
    let stat = |path: String| std::fs::read_to_string(path).unwrap();
    let fields = |stat: String| stat.rsplit(") ").next().unwrap().split(' ').map(str::to_owned).collect::<Vec<_>>();
    let process = fields(stat(format!("/proc/{pid}/stat")));
    let ticks: u64 = process[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let mut stats = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("stat")).ok());
    let worker = stats.find(|stat| stat.contains("(worker-0)")).unwrap();
    (ms(10 * ticks), fields(worker)[0].chars().next().unwrap())
}

#[tokio::test]
async fn with_busy_polling_a_worker_looks_for_more_before_it_sleeps() {
    let a = upstream("a").await;
    let gate = gateway().section("server", "{ threads: 1, busy_polling: 1s }").pool("app", &[&a]).start().await;
    assert_eq!(gate.get("/").await.status, 200);
    let (before, _) = work_of(gate.pid());
    eventually(s(20), "it has looked for half a second", async || work_of(gate.pid()).0 >= before + ms(500)).await;
    eventually(s(20), "it sleeps", async || work_of(gate.pid()).1 == 'S').await;
}
