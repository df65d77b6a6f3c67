//! Checks against small servers in this process.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use pingora::tls::TlsAcceptor;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};

use super::*;
use crate::balance::tests::{Builder, pool, tcp_check};
use crate::config::{CheckKind, HealthCheck, MemberAddress, StatusRange, UpstreamTls};

/// A server that gives every connection the same answer, until it is dropped.
struct Backend {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn backend(answer: impl Fn() -> String + Send + 'static) -> Backend {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = asked.clone();
    let task = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let request = hear(&mut stream).await;
            log.lock().unwrap().push(request);
            tell(&mut stream, &answer()).await;
        }
    });
    Backend { address, asked, task }
}

async fn hear(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") && stream.read_buf(&mut request).await.is_ok_and(|n| n > 0) {}
    String::from_utf8_lossy(&request).into_owned()
}

/// Answers and closes.
async fn tell(stream: &mut (impl AsyncWrite + Unpin), answer: &str) {
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn status(status: u16) -> String {
    format!("HTTP/1.1 {status} Whatever\r\nContent-Length: 0\r\n\r\n")
}

/// A GET of /actuator/health every 2 ms, fall 3, rise 2.
fn http_check() -> HealthCheck {
    let kind = CheckKind::Http {
        path: "/actuator/health".to_owned(),
        host: None,
        expect_status: vec![StatusRange { first: 200, last: 200 }],
        expect_body: None,
    };
    HealthCheck { kind, interval: Duration::from_millis(2), timeout: Duration::from_secs(10), ..tcp_check(3, 2) }
}

fn expecting(text: &str) -> HealthCheck {
    let mut check = http_check();
    if let CheckKind::Http { expect_body, .. } = &mut check.kind {
        *expect_body = Some(text.to_owned());
    }
    check
}

fn tls(ca: Option<PathBuf>, sni: Option<&str>, verify: bool) -> UpstreamTls {
    UpstreamTls {
        sni: sni.map(str::to_owned),
        authorities: ca.iter().map(|path| CertificateDer::from_pem_file(path).unwrap()).collect(),
        ca,
        verify,
    }
}

/// A pool with members at these addresses.
fn members(addresses: &[MemberAddress], check: HealthCheck) -> Builder {
    let mut builder = pool(&vec![1; addresses.len()]).checked(check);
    for (member, address) in builder.config.members.iter_mut().zip(addresses) {
        member.address = address.clone();
    }
    builder
}

/// The result of one check of the first member.
async fn once(builder: &Builder) -> Result<(), String> {
    let pool = builder.build();
    let settings = Settings::of(pool.config()).unwrap();
    Prepared::new(&pool.members()[0], &settings, Arc::new(Connector::new(None)))?.run(settings.check.timeout).await
}

async fn check_at(address: SocketAddr, check: HealthCheck) -> Result<(), String> {
    once(&members(&[MemberAddress::Socket(address)], check)).await
}

/// The checks of this pool, begun.
fn checking(pool: &Arc<Pool>) -> HealthChecks {
    let mut checks = HealthChecks::new(Handle::current());
    checks.reconcile(std::slice::from_ref(pool));
    checks
}

/// Whether a check was ended in time.
async fn ended(checks: &mut HealthChecks) -> bool {
    let task = tokio::time::timeout(Duration::from_secs(20), checks.tasks.join_next()).await;
    matches!(task, Ok(Some(Err(error))) if error.is_cancelled())
}

/// Waits until it is so; a test that waits in vain fails.
async fn until(what: &str, so: impl Fn() -> bool) {
    let wait = async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.unwrap_or_else(|_| panic!("never: {what}"));
}

#[tokio::test]
async fn a_check_of_the_crate_that_names_the_trait_can_stand_in() {
    use pingora_load_balancing::health_check::TcpHealthCheck;
    let backend = backend(|| ok("")).await;
    let theirs = |address: SocketAddr| Prepared {
        check: TcpHealthCheck::new(),
        backend: pingora_load_balancing::Backend::new(&address.to_string()).unwrap(),
    };
    let limit = Duration::from_secs(10);
    assert_eq!(theirs(backend.address).run(limit).await, Ok(()));
    assert_eq!((theirs(backend.address).threshold(true), theirs(backend.address).threshold(false)), (1, 1));
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    assert_eq!(theirs(nobody).run(limit).await, Err("connection refused".to_owned()));
}

#[tokio::test]
async fn a_check_asks_as_configured_and_accepts_only_the_configured_statuses() {
    let backend = backend(|| ok("")).await;
    assert_eq!(check_at(backend.address, http_check()).await, Ok(()));
    let asked = backend.asked.lock().unwrap().join("").to_lowercase();
    assert!(asked.starts_with("get /actuator/health http/1.1\r\n"), "{asked}");
    assert!(asked.contains(&format!("\r\nhost: {}\r\n", backend.address)), "{asked}");
    assert!(asked.contains("\r\nuser-agent: sluicegate-health\r\n"), "{asked}");
}

#[tokio::test]
async fn another_status_is_a_failure_that_says_so() {
    for (code, expected) in [(503, "status 503, expected 200"), (404, "status 404, expected 200")] {
        let backend = backend(move || status(code)).await;
        assert_eq!(check_at(backend.address, http_check()).await, Err(expected.to_owned()));
    }
}

#[tokio::test]
async fn an_early_hint_is_not_the_answer() {
    let backend = backend(|| format!("HTTP/1.1 103 Early Hints\r\n\r\n{}", status(503))).await;
    assert_eq!(check_at(backend.address, http_check()).await, Err("status 503, expected 200".to_owned()));
}

#[tokio::test]
async fn the_host_and_the_port_of_a_check_can_be_others() {
    let backend = backend(|| ok("")).await;
    let mut check = HealthCheck { port: Some(backend.address.port()), ..http_check() };
    if let CheckKind::Http { host, .. } = &mut check.kind {
        *host = Some("api.example.com".to_owned());
    }
    assert_eq!(check_at(SocketAddr::from(([127, 0, 0, 1], 1)), check).await, Ok(()));
    assert!(backend.asked.lock().unwrap()[0].to_lowercase().contains("\r\nhost: api.example.com\r\n"));
}

#[tokio::test]
async fn a_body_must_hold_the_text_within_its_first_64_kib() {
    let good = backend(|| ok(r#"{"status":"UP"}"#)).await;
    assert_eq!(check_at(good.address, expecting(r#""UP""#)).await, Ok(()));
    let refused = check_at(good.address, expecting("DOWN")).await;
    assert_eq!(refused, Err("the body does not hold \"DOWN\"".to_owned()));
    for (before, found) in [(64 * 1024 - 2, true), (64 * 1024 - 1, false)] {
        let late = backend(move || ok(&format!("{}UP", "x".repeat(before)))).await;
        assert_eq!(check_at(late.address, expecting("UP")).await.is_ok(), found, "after {before} bytes");
    }
}

#[tokio::test]
async fn a_text_that_spans_chunks_is_found() {
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nxxU\r\n3\r\nPyy\r\n0\r\n\r\n";
    let backend = backend(|| answer.to_owned()).await;
    assert_eq!(check_at(backend.address, expecting("UP")).await, Ok(()));
}

#[tokio::test]
async fn the_timeout_is_for_the_whole_check() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let drip = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n").await.unwrap();
        while stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let check = HealthCheck { timeout: Duration::from_millis(60), ..expecting("never") };
    let result = tokio::time::timeout(Duration::from_secs(20), check_at(address, check)).await;
    assert_eq!(result.unwrap(), Err("no result within 60ms".to_owned()));
    drip.abort();
}

#[tokio::test]
async fn nobody_there_is_a_failure_for_both_kinds() {
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for check in [http_check(), tcp_check(3, 2)] {
        assert_eq!(check_at(address, check).await, Err("connection refused".to_owned()));
    }
}

#[tokio::test]
async fn a_connection_is_enough_for_a_tcp_check() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    assert_eq!(check_at(listener.local_addr().unwrap(), tcp_check(3, 2)).await, Ok(()));
}

#[tokio::test]
async fn a_unix_socket_is_checked_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("backend.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let serve = tokio::spawn(async move {
        for answer in [ok(""), status(503)] {
            let mut stream = listener.accept().await.unwrap().0;
            hear(&mut stream).await;
            tell(&mut stream, &answer).await;
        }
    });
    let builder = members(&[MemberAddress::Unix(path)], http_check());
    assert_eq!(once(&builder).await, Ok(()));
    assert_eq!(once(&builder).await, Err("status 503, expected 200".to_owned()));
    serve.await.unwrap();
}

#[tokio::test]
async fn an_http2_pool_is_checked_over_http2() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serve = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let seen = Mutex::new(String::new());
        let answer = service_fn(|request: http::Request<hyper::body::Incoming>| {
            *seen.lock().unwrap() = format!("{:?} {}", request.version(), request.uri());
            async { Ok::<_, std::convert::Infallible>(http::Response::new(Full::new(Bytes::from("UP")))) }
        });
        let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(stream), answer)
            .await;
        seen.into_inner().unwrap()
    });
    let mut builder = members(&[MemberAddress::Socket(address)], expecting("UP"));
    builder.config.http2 = true;
    assert_eq!(once(&builder).await, Ok(()));
    assert_eq!(serve.await.unwrap(), format!("HTTP/2.0 http://{address}/actuator/health"));
}

/// A TLS server for `backend.test`, and the file with its authority.
async fn tls_backend(directory: &std::path::Path) -> (Backend, PathBuf) {
    let certified = rcgen::generate_simple_self_signed(["backend.test".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let ca = directory.join("ca.pem");
    std::fs::write(&ca, certified.cert.pem()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(certified.signing_key.serialize_pem().as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = asked.clone();
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(mut stream) = acceptor.accept(stream).await {
                let name = stream.get_ref().1.server_name().unwrap_or_default().to_owned();
                log.lock().unwrap().push(name);
                hear(&mut stream).await;
                tell(&mut stream, &ok("")).await;
            }
        }
    });
    (Backend { address, asked, task }, ca)
}

#[tokio::test]
async fn tls_is_verified_against_the_pools_authority_and_name() {
    let directory = tempfile::tempdir().unwrap();
    let (backend, ca) = tls_backend(directory.path()).await;
    let check = async |tls: UpstreamTls| {
        let mut builder = members(&[MemberAddress::Socket(backend.address)], http_check());
        builder.config.tls = Some(tls);
        once(&builder).await
    };
    assert_eq!(check(tls(Some(ca.clone()), Some("backend.test"), true)).await, Ok(()));
    assert_eq!(check(tls(Some(ca.clone()), None, true)).await, Ok(()), "the address itself is verified");
    assert_eq!(check(tls(None, Some("other.test"), false)).await, Ok(()));
    assert_eq!(*backend.asked.lock().unwrap(), ["backend.test", "", "other.test"]);
    for refused in [tls(Some(ca), Some("other.test"), true), tls(None, Some("backend.test"), true)] {
        let error = check(refused).await.unwrap_err();
        assert!(error.starts_with("TLS handshake failed: "), "{error}");
    }
}

#[tokio::test]
async fn a_tcp_check_of_a_tls_pool_makes_the_handshake() {
    let directory = tempfile::tempdir().unwrap();
    let (backend, ca) = tls_backend(directory.path()).await;
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closes = tokio::spawn(async move { while plain_accept(&plain).await {} });
    let mut builder = members(&[MemberAddress::Socket(backend.address)], tcp_check(3, 2));
    builder.config.tls = Some(tls(Some(ca), Some("backend.test"), true));
    assert_eq!(once(&builder).await, Ok(()));
    builder.config.tls = Some(tls(None, Some("backend.test"), true));
    assert!(once(&builder).await.is_err());
    closes.abort();
}

async fn plain_accept(listener: &TcpListener) -> bool {
    listener.accept().await.is_ok()
}

#[tokio::test]
async fn a_member_follows_its_checks_down_and_up() {
    let healthy = Arc::new(AtomicBool::new(true));
    let answer = healthy.clone();
    let backend = backend(move || if answer.load(SeqCst) { ok("") } else { status(503) }).await;
    let pool = members(&[MemberAddress::Socket(backend.address)], http_check()).build();
    let _checks = checking(&pool);
    until("up", || pool.has_usable_member()).await;
    healthy.store(false, SeqCst);
    until("down", || !pool.has_usable_member()).await;
    assert!(pool.sample().members[0].checks_failed >= 3);
    assert_eq!(pool.sample().members[0].last_check.clone().unwrap().error.unwrap(), "status 503, expected 200");
    healthy.store(true, SeqCst);
    until("up again", || pool.has_usable_member()).await;
}

#[tokio::test]
async fn a_reload_keeps_the_checks_that_did_not_change_and_ends_those_of_members_gone() {
    let backend = backend(|| ok("")).await;
    let address = MemberAddress::Socket(backend.address);
    let first = members(&[address.clone(), address.clone()], http_check());
    let before = first.build();
    let mut checks = checking(&before);
    let ids = |checks: &HealthChecks| checks.running.values().map(|running| running.task.id()).collect::<Vec<_>>();
    let (of_two, mut changed) = (ids(&checks), http_check());
    assert_eq!(of_two.len(), 2);

    let fewer = members(&[address.clone(), address.clone()], http_check()).without(1).reload_of(&first).build();
    checks.reconcile(&[fewer]);
    assert_eq!(ids(&checks).len(), 1);
    assert!(of_two.contains(&ids(&checks)[0]), "it goes on");
    assert!(ended(&mut checks).await);

    changed.fall = 9;
    let kept = ids(&checks);
    checks.reconcile(&[members(&[address], changed).reload_of(&first).build()]);
    assert!(ids(&checks).len() == 1 && ids(&checks) != kept, "it begins anew");
    assert!(ended(&mut checks).await);
}

#[tokio::test]
async fn without_a_check_a_member_that_was_down_is_unchecked_and_usable() {
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let first = members(&[MemberAddress::Socket(address)], http_check());
    let before = first.build();
    let mut checks = checking(&before);
    until("down", || before.members()[0].state.health() == Health::Down).await;
    let mut unchecked = members(&[MemberAddress::Socket(address)], http_check()).reload_of(&first);
    unchecked.config.health_check = None;
    let after = unchecked.build();
    assert!(!after.has_usable_member(), "building changes nothing yet");
    checks.reconcile(std::slice::from_ref(&after));
    assert!(after.has_usable_member());
    assert!(checks.running.is_empty());
}

#[tokio::test]
async fn a_member_in_maintenance_is_not_checked() {
    let good = backend(|| ok("")).await;
    let (one, other) = (backend(|| ok("")).await, &good);
    let pool =
        members(&[MemberAddress::Socket(one.address), MemberAddress::Socket(other.address)], http_check()).build();
    let _checks = checking(&pool);
    let count = |index: usize| pool.members()[index].state.checks().0;
    until("both are checked", || count(0) > 0 && count(1) > 0).await;
    pool.set_admin("a", AdminState::Maint);
    let asked = || one.asked.lock().unwrap().len();
    let (before, asked_before, seen) = (count(0), asked(), count(1));
    until("the other goes on", || count(1) > seen + 10).await;
    assert_eq!(count(0), before);
    assert!(asked() <= asked_before + 1, "one may have been under way");
    pool.set_admin("a", AdminState::Ready);
    until("it is checked again, and back", || pool.sample().members[0].usable).await;
    assert!(count(0) >= before + 2, "after rise good checks");
}

#[tokio::test]
async fn dropping_the_checks_ends_them() {
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = connections.clone();
    let backend = backend(move || {
        counter.fetch_add(1, SeqCst);
        ok("")
    })
    .await;
    let pool = members(&[MemberAddress::Socket(backend.address)], http_check()).build();
    let checks = checking(&pool);
    until("checked", || connections.load(SeqCst) > 0).await;
    let state = Arc::downgrade(&pool.members()[0].state);
    drop((checks, pool));
    until("nothing holds the member", || state.strong_count() == 0).await;
}

#[test]
fn first_checks_of_many_members_are_spread() {
    let interval = Duration::from_secs(5);
    assert_eq!(first_delay(AT_ONCE, interval), Duration::ZERO);
    let delays: Vec<Duration> = (0..1_000).map(|_| first_delay(1_000, interval)).collect();
    assert!(delays.iter().all(|delay| *delay < Duration::from_secs(2)));
    assert!(delays.iter().any(|delay| *delay > Duration::from_secs(1)));
    assert!(first_delay(1_000_000, interval) <= interval);
}
