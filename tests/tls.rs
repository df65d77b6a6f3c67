//! TLS on both sides: certificates by name, versions, replacement without a lost connection, verification of backends.

#[path = "support/harness.rs"]
mod support;

use support::*;

const LISTENER: &str = r#"address: "{listen}", tls: { certificates: { cert: "{dir}/a.crt", key: "{dir}/a.key" } }"#;
const NAME: &str = "a.example.com";

/// A TLS gateway for [`NAME`], with what `LISTENER` says.
fn tls_gateway(authority: &Authority) -> (Builder, Identity) {
    let identity = authority.issue(&[NAME]);
    (with_identity(gateway().listener(LISTENER), "a", &identity), identity)
}

/// The same, running, with one backend.
async fn one(authority: &Authority, mock: &Mock) -> Gateway {
    tls_gateway(authority).0.pool("app", &[mock]).start().await
}

/// Puts `NAME.crt` and `NAME.key` into the gateway's directory.
fn with_identity(builder: Builder, name: &str, identity: &Identity) -> Builder {
    builder.file(&format!("{name}.crt"), &identity.cert).file(&format!("{name}.key"), &identity.key)
}

#[tokio::test]
async fn http_1_and_http_2_are_both_served_over_tls() {
    let (authority, a) = (Authority::new(), upstream("a").await);
    let gate = one(&authority, &a).await;
    let h2 = Client::https(NAME, gate.address(), &authority.pem()).post("/echo", "two").await;
    assert_eq!((h2.status, h2.version, last_seen(&a).body.as_ref()), (200, http::Version::HTTP_2, b"two".as_ref()));
    let h1 = Client::https1(NAME, gate.address(), &authority.pem()).post("/echo", "one").await;
    assert_eq!((h1.status, h1.version, last_seen(&a).body.as_ref()), (200, http::Version::HTTP_11, b"one".as_ref()));
}

#[tokio::test]
async fn http_2_can_be_switched_off() {
    let (authority, a) = (Authority::new(), upstream("a").await);
    let listener = LISTENER.replace("tls:", "http2: false, tls:");
    let gate =
        with_identity(gateway(), "a", &authority.issue(&[NAME])).listener(&listener).pool("app", &[&a]).start().await;
    let answer = Client::https(NAME, gate.address(), &authority.pem()).get("/").await;
    assert_eq!((answer.status, answer.version), (200, http::Version::HTTP_11));
}

#[tokio::test]
async fn many_streams_share_one_http_2_connection() {
    let (authority, a) = (Authority::new(), upstream("a").await);
    let gate = one(&authority, &a).await;
    let client = Client::https(NAME, gate.address(), &authority.pem());
    client.get("/").await;
    let accepted = gate.metric("sluicegate_connections_accepted_total").await;
    let answers = futures::future::join_all((0..80).map(|_| client.get("/slow?delay=100ms"))).await;
    assert!(answers.iter().all(|answer| answer.status == 200 && answer.version == http::Version::HTTP_2));
    assert_eq!(gate.metric("sluicegate_connections_accepted_total").await, accepted);
}

#[tokio::test]
async fn bodies_flow_in_both_directions_over_http_2() {
    let (authority, a) = (Authority::new(), upstream("a").await);
    let gate = one(&authority, &a).await;
    let client = Client::https(NAME, gate.address(), &authority.pem());
    let up = client.post("/echo", vec![b'u'; 5_000_000]).await;
    assert_eq!((up.status, last_seen(&a).body_len), (200, 5_000_000));
    assert_eq!(client.get("/bytes/5000000").await.body.len(), 5_000_000);
}

#[tokio::test]
async fn the_name_asked_for_chooses_the_certificate_and_the_first_is_the_default() {
    let (authority, a) = (Authority::new(), upstream("a").await);
    let (first, second) = (authority.issue(&[NAME, "unknown.org"]), authority.issue(&["b.example.com"]));
    let wild = authority.issue(&["*.wild.example.com"]);
    let listener = r#"address: "{listen}", tls: { certificates: [ { cert: "{dir}/a.crt", key: "{dir}/a.key" },
        { cert: "{dir}/b.crt", key: "{dir}/b.key" }, { bundle: "{dir}/wild.pem" } ] }"#;
    let builder = with_identity(with_identity(gateway(), "a", &first), "b", &second).file("wild.pem", &wild.bundle());
    let gate = builder.listener(listener).pool("app", &[&a]).start().await;
    for (host, identity) in
        [(NAME, &first), ("b.example.com", &second), ("x.wild.example.com", &wild), ("unknown.org", &first)]
    {
        let answer = Client::https(host, gate.address(), &authority.pem()).get("/").await;
        assert_eq!((answer.status, answer.certificate.as_ref()), (200, Some(&identity.der)), "{host}");
    }
}

#[tokio::test]
async fn tls_1_2_and_1_3_are_accepted_and_1_1_is_refused() {
    let (authority, a) = (Authority::new(), upstream("a").await);
    let gate = one(&authority, &a).await;
    assert!(openssl_handshake(gate.address(), NAME, &["-tls1_3"]).await.contains("Cipher is TLS_"));
    assert!(openssl_handshake(gate.address(), NAME, &["-tls1_2"]).await.contains("Cipher is ECDHE-"));
    for old in [&["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"], &["-tls1", "-cipher", "DEFAULT@SECLEVEL=0"]] {
        let said = openssl_handshake(gate.address(), NAME, old).await;
        assert!(is_refused(&said), "{said}");
    }
}

#[tokio::test]
async fn a_listener_may_ask_for_tls_1_3() {
    let (authority, a) = (Authority::new(), upstream("a").await);
    let listener = LISTENER.replace("tls: {", r#"tls: { min_version: "1.3","#);
    let gate =
        with_identity(gateway(), "a", &authority.issue(&[NAME])).listener(&listener).pool("app", &[&a]).start().await;
    assert!(openssl_handshake(gate.address(), NAME, &["-tls1_3"]).await.contains("Cipher is TLS_"));
    assert!(is_refused(&openssl_handshake(gate.address(), NAME, &["-tls1_2"]).await));
}

#[tokio::test]
async fn a_replaced_certificate_is_served_after_a_reload_and_no_connection_is_lost() {
    let (authority, a) = (Authority::new(), upstream("a").await);
    let (builder, old) = tls_gateway(&authority);
    let gate = builder.pool("app", &[&a]).start().await;
    let kept = Client::https1(NAME, gate.address(), &authority.pem());
    assert_eq!(kept.get("/").await.certificate, Some(old.der.clone()));
    let new = authority.issue(&[NAME]);
    new.write(gate.dir(), "a");
    assert_eq!(gate.reload().await.status, 200);
    let fresh = Client::https1(NAME, gate.address(), &authority.pem());
    assert_eq!(fresh.get("/").await.certificate, Some(new.der));
    assert_eq!(kept.get("/").await.certificate, Some(old.der), "the kept connection goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_replaced_under_load_without_a_failed_request() {
    let (authority, a) = (Authority::new(), upstream("a").await);
    let gate = one(&authority, &a).await;
    let clients: Vec<Client> = (0..6)
        .map(|i| {
            if i % 2 == 0 {
                Client::https(NAME, gate.address(), &authority.pem())
            } else {
                Client::https1(NAME, gate.address(), &authority.pem())
            }
        })
        .collect();
    let load = clients.into_iter().map(|client| {
        tokio::spawn(async move {
            for _ in 0..150 {
                assert_eq!(client.get("/").await.status, 200);
            }
        })
    });
    let load: Vec<_> = load.collect();
    for _ in 0..10 {
        authority.issue(&[NAME]).write(gate.dir(), "a");
        assert_eq!(gate.reload().await.status, 200);
    }
    for client in load {
        client.await.expect("no request fails");
    }
}

#[tokio::test]
async fn when_a_certificate_ends_is_a_metric() {
    let (authority, a) = (Authority::new(), upstream("a").await);
    let gate = one(&authority, &a).await;
    let metrics = gate.metrics().await;
    let files = metrics.values("sluicegate_certificate_expiry_timestamp_seconds", "certificate");
    assert_eq!(files, [gate.dir().join("a.crt").display().to_string()]);
    assert!(metrics.sum("sluicegate_certificate_expiry_timestamp_seconds") > 1.7e9);
}

#[tokio::test]
async fn a_broken_certificate_is_refused_and_the_old_one_goes_on() {
    let (authority, a) = (Authority::new(), upstream("a").await);
    let (builder, old) = tls_gateway(&authority);
    let gate = builder.pool("app", &[&a]).start().await;
    for (cert, key) in [("not a certificate", old.key.as_str()), (old.cert.as_str(), &authority.issue(&[NAME]).key)] {
        std::fs::write(gate.dir().join("a.crt"), cert).unwrap();
        std::fs::write(gate.dir().join("a.key"), key).unwrap();
        let refused = gate.reload().await;
        assert_ne!(refused.status, 200, "{}", refused.text());
        assert!(refused.text().contains("a.crt") || refused.text().contains("a.key"), "{}", refused.text());
        let answer = Client::https(NAME, gate.address(), &authority.pem()).get("/").await;
        assert_eq!((answer.status, answer.certificate), (200, Some(old.der.clone())));
    }
}

#[tokio::test]
async fn a_certificate_that_is_missing_stops_the_start() {
    let a = upstream("a").await;
    let exit = gateway().listener(LISTENER).pool("app", &[&a]).start_in_vain().await;
    assert_eq!(exit.code, Some(78), "{}", exit.stderr);
    assert!(exit.stderr.contains("a.crt"), "{}", exit.stderr);
}

#[tokio::test]
async fn the_backend_and_the_log_learn_that_it_was_https() {
    let (authority, a) = (Authority::new(), upstream("a").await);
    let gate = tls_gateway(&authority).0.section("security_headers", "default").pool("app", &[&a]).start().await;
    let answer = Client::https(NAME, gate.address(), &authority.pem()).get("/").await;
    assert_eq!(sent(&last_seen(&a), "x-forwarded-proto"), "https");
    assert_eq!(sent(&last_seen(&a), "host"), format!("{NAME}:{}", gate.address().port()));
    assert!(answer.header("strict-transport-security").contains("max-age="), "{:?}", answer.headers);
    let line = gate.access_log(1).await.remove(0);
    assert_eq!((line["tls_version"].as_str(), line["sni"].as_str()), (Some("TLSv1.3"), Some(NAME)));
    assert_eq!(line["protocol"], "HTTP/2.0");
}

#[tokio::test]
async fn a_client_that_never_says_hello_is_cut() {
    let (authority, a) = (Authority::new(), upstream("a").await);
    let gate = tls_gateway(&authority)
        .0
        .section("server", "{ timeouts: { handshake: 500ms } }")
        .pool("app", &[&a])
        .start()
        .await;
    let mut silent = gate.connect().await;
    assert!(silent.closed_within(s(4)).await, "still open");
}

#[tokio::test]
async fn plain_http_on_a_tls_listener_gets_no_page_and_does_no_harm() {
    let (authority, a) = (Authority::new(), upstream("a").await);
    let gate = one(&authority, &a).await;
    let mut plain = gate.connect().await;
    plain.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(plain.try_answer(true).await.is_none_or(|answer| answer.status == 400));
    assert_eq!(a.hits(), 0);
    assert_eq!(Client::https(NAME, gate.address(), &authority.pem()).get("/").await.status, 200);
}

#[tokio::test]
async fn a_backend_over_tls_is_verified_unless_told_otherwise() {
    let authority = Authority::new();
    let identity = authority.issue(&["backend.example.com"]);
    let a = Mock::builder("a").tls(&identity.cert, &identity.key).start().await;
    for (tls, status) in [
        (r#"{ sni: backend.example.com, ca: "{dir}/ca.pem" }"#, 200),
        (r#"{ sni: other.example.com, ca: "{dir}/ca.pem" }"#, 502),
        (r#"{ ca: "{dir}/ca.pem" }"#, 502),
        (r#"{ sni: backend.example.com }"#, 502),
        (r#"{ sni: other.example.com, verify: false }"#, 200),
    ] {
        let gate =
            gateway().file("ca.pem", &authority.pem()).pool_with("app", &[&a], &format!("tls: {tls}")).start().await;
        assert_eq!(gate.get("/").await.status, status, "{tls}");
    }
}

#[tokio::test]
async fn a_backend_over_tls_may_speak_http_2() {
    let authority = Authority::new();
    let identity = authority.issue(&["backend.example.com"]);
    let a = Mock::builder("a").tls(&identity.cert, &identity.key).start().await;
    let tls = r#"http2: true, tls: { sni: backend.example.com, ca: "{dir}/ca.pem" }"#;
    let gate = gateway().file("ca.pem", &authority.pem()).pool_with("app", &[&a], tls).start().await;
    assert_eq!(gate.post("/echo", "x").await.status, 200);
    assert_eq!(last_seen(&a).version, http::Version::HTTP_2);
}

#[tokio::test]
async fn a_check_of_a_backend_over_tls_is_made_over_tls() {
    let authority = Authority::new();
    let identity = authority.issue(&["backend.example.com"]);
    let a = Mock::builder("a").tls(&identity.cert, &identity.key).start().await;
    let options =
        r#"tls: { sni: backend.example.com, ca: "{dir}/ca.pem" }, health_check: { path: /health, interval: 50ms }"#;
    let gate = gateway().file("ca.pem", &authority.pem()).pool_with("app", &[&a], options).start().await.ready().await;
    assert_eq!(gate.get("/").await.status, 200);
    assert!(a.health_checks() > 0);
}

#[tokio::test]
async fn plain_http_is_sent_to_the_tls_port_with_path_and_query() {
    let (authority, a) = (Authority::new(), upstream("a").await);
    let (builder, _) = tls_gateway(&authority);
    let gate = builder.listener(r#"address: "{listen2}", redirect_https: true"#).pool("app", &[&a]).start().await;
    let moved = Client::http(gate.second_address()).ask("GET", "/x?y=1").header("host", NAME).send().await;
    assert_eq!((moved.status, moved.header("location")), (308, "https://a.example.com/x?y=1"));
}
