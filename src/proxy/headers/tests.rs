use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, Version};
use ipnet::IpNet;
use proptest::prelude::*;

use super::*;

const OUTSIDE: &str = "203.0.113.7";
const PROXY: &str = "10.0.0.1";

fn headers(fields: &[(&str, &str)]) -> HeaderMap {
    let field = |(name, value): &(&str, &str)| {
        (name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap())
    };
    fields.iter().map(field).collect()
}

fn trusted() -> Vec<IpNet> {
    vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()]
}

fn client(peer: &str, forwarded: &[&str]) -> String {
    let fields: Vec<_> = forwarded.iter().map(|value| ("x-forwarded-for", *value)).collect();
    client_address(peer.parse().unwrap(), &headers(&fields), &trusted()).to_string()
}

/// What the upstream gets of a request from `peer`, asked for `example.com` over TLS on 8443, as sorted lines.
fn forwarded(peer: &str, fields: &[(&str, &str)]) -> Vec<String> {
    let mut headers = headers(fields);
    let host = Some(HeaderValue::from_static("example.com"));
    let edge = Edge::new(true, 8443);
    Forwarding::new(peer.parse().unwrap(), host, &edge, &headers, &trusted()).apply(&mut headers);
    lines(&headers)
}

fn lines(headers: &HeaderMap) -> Vec<String> {
    let mut lines: Vec<_> =
        headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    lines.sort();
    lines
}

#[test]
fn an_untrusted_peer_is_the_client_whatever_it_says() {
    assert_eq!(client(OUTSIDE, &["1.2.3.4"]), OUTSIDE);
    assert_eq!(client("::ffff:203.0.113.7", &[]), OUTSIDE);
}

#[test]
fn trusted_proxies_are_walked_from_the_right() {
    assert_eq!(client(PROXY, &[]), PROXY);
    assert_eq!(client(PROXY, &["1.2.3.4"]), "1.2.3.4");
    assert_eq!(client(PROXY, &["6.6.6.6, 1.2.3.4, 10.0.0.2"]), "1.2.3.4");
    assert_eq!(client(PROXY, &["6.6.6.6", "1.2.3.4", "10.0.0.2"]), "1.2.3.4");
    assert_eq!(client(PROXY, &["10.0.0.3, 10.0.0.2"]), "10.0.0.3");
    assert_eq!(client("fd00::1", &["[2001:db8::1]:443"]), "2001:db8::1");
    assert_eq!(client(PROXY, &["1.2.3.4:5678"]), "1.2.3.4");
    assert_eq!(client("::ffff:10.0.0.1", &["::ffff:1.2.3.4"]), "1.2.3.4");
}

#[test]
fn what_cannot_be_read_ends_the_walk() {
    assert_eq!(client(PROXY, &["1.2.3.4, unknown, 10.0.0.2"]), "10.0.0.2");
    assert_eq!(client(PROXY, &["1.2.3.4, , 10.0.0.2"]), "10.0.0.2");
    assert_eq!(client(PROXY, &["_hidden"]), PROXY);
    assert_eq!(client(PROXY, &[""]), PROXY);
}

#[test]
fn the_walk_is_bounded_in_hops_and_bytes() {
    let many = |count| format!("1.2.3.4{}", ", 10.9.9.9".repeat(count));
    assert_eq!(client(PROXY, &[&many(31)]), "1.2.3.4");
    assert_eq!(client(PROXY, &[&many(32)]), "10.9.9.9");
    let long = format!("1.2.3.4,{}10.9.9.9", " ".repeat(1100));
    assert_eq!(client(PROXY, &[&long]), PROXY);
}

#[test]
fn an_untrusted_peer_is_overwritten() {
    let claims = [
        ("x-forwarded-for", "1.2.3.4"),
        ("x-forwarded-for", "10.0.0.9"),
        ("x-real-ip", "1.2.3.4"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "admin.internal"),
        ("x-forwarded-port", "80"),
        ("forwarded", "for=1.2.3.4"),
        ("x_forwarded_for", "1.2.3.4"),
        ("x-forwarded_host", "admin.internal"),
        ("x_real_ip", "1.2.3.4"),
        ("x-original-url", "/actuator"),
        ("x-rewrite-url", "/actuator"),
        ("x-forwarded-prefix", "/admin"),
        ("x_forwarded_prefix", "/admin"),
        ("api_key", "kept"),
        ("x_api_key", "kept"),
        ("forwarded-by", "kept"),
    ];
    insta::assert_snapshot!(forwarded(OUTSIDE, &claims).join("\n"), @r"
    api_key: kept
    forwarded-by: kept
    x-forwarded-for: 203.0.113.7
    x-forwarded-host: example.com
    x-forwarded-port: 8443
    x-forwarded-proto: https
    x-real-ip: 203.0.113.7
    x_api_key: kept
    ");
}

#[test]
fn a_trusted_peer_is_believed_and_appended() {
    let said = [
        ("x-forwarded-for", "6.6.6.6, 1.2.3.4, 10.0.0.2"),
        ("x-real-ip", "6.6.6.6"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "public.example"),
        ("x-forwarded-port", "80"),
        ("forwarded", "for=1.2.3.4"),
    ];
    insta::assert_snapshot!(forwarded(PROXY, &said).join("\n"), @r"
    forwarded: for=1.2.3.4
    x-forwarded-for: 1.2.3.4, 10.0.0.2, 10.0.0.1
    x-forwarded-host: public.example
    x-forwarded-port: 80
    x-forwarded-proto: http
    x-real-ip: 1.2.3.4
    ");
}

#[test]
fn nonsense_of_a_trusted_peer_is_replaced() {
    let said = [
        ("x-forwarded-proto", "gopher"),
        ("x-forwarded-host", "first"),
        ("x-forwarded-port", "99999"),
        ("x-forwarded-host", "second"),
    ];
    insta::assert_snapshot!(forwarded(PROXY, &said).join("\n"), @r"
    x-forwarded-for: 10.0.0.1
    x-forwarded-host: example.com
    x-forwarded-port: 8443
    x-forwarded-proto: https
    x-real-ip: 10.0.0.1
    ");
}

#[test]
fn without_a_host_none_is_claimed() {
    let mut there = headers(&[("x-forwarded-host", "admin.internal")]);
    Forwarding::new(OUTSIDE.parse().unwrap(), None, &Edge::new(false, 80), &there, &[]).apply(&mut there);
    assert_eq!(there.get("x-forwarded-host"), None);
    assert_eq!(
        (&there["x-forwarded-proto"], &there["x-forwarded-port"]),
        (&"http".parse().unwrap(), &"80".parse().unwrap())
    );
}

#[test]
fn hop_by_hop_headers_of_a_response_are_stripped() {
    let mut there = headers(&[
        ("connection", "close, X-Internal"),
        ("connection", "content-length"),
        ("x-internal", "1"),
        ("keep-alive", "timeout=5"),
        ("proxy-authenticate", "Basic"),
        ("proxy-connection", "close"),
        ("te", "trailers"),
        ("upgrade", "h2c"),
        ("trailer", "grpc-status"),
        ("content-length", "3"),
        ("server", "backend"),
    ]);
    strip_hop_by_hop(&mut there, StatusCode::OK);
    assert_eq!(lines(&there), ["content-length: 3", "server: backend", "trailer: grpc-status"]);
}

#[test]
fn an_upgrade_keeps_what_it_needs() {
    let mut there = headers(&[("connection", "upgrade"), ("upgrade", "websocket"), ("keep-alive", "timeout=5")]);
    strip_hop_by_hop(&mut there, StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!(lines(&there), ["connection: upgrade", "upgrade: websocket"]);
}

#[test]
fn rules_remove_then_set_then_add() {
    let pair = |name: &'static str, value| (HeaderName::from_static(name), HeaderValue::from_static(value));
    let rules = HeaderRules {
        set: vec![pair("x-a", "set"), pair("x-new", "set")],
        add: vec![pair("x-a", "added"), pair("x-gone", "back")],
        remove: vec![HeaderName::from_static("x-gone"), HeaderName::from_static("x-new")],
    };
    let mut there = headers(&[("x-a", "1"), ("x-a", "2"), ("x-gone", "1"), ("x-new", "old"), ("x-kept", "1")]);
    apply_rules(&mut there, &rules);
    assert_eq!(lines(&there), ["x-a: added", "x-a: set", "x-gone: back", "x-kept: 1", "x-new: set"]);
}

#[test]
fn security_headers_fill_what_is_missing_and_hsts_is_for_tls() {
    let mut plain = headers(&[("x-frame-options", "SAMEORIGIN")]);
    set_security_headers(&mut plain, false);
    assert_eq!(
        lines(&plain),
        ["x-content-type-options: nosniff", "x-frame-options: SAMEORIGIN", "x-xss-protection: 1; mode=block"]
    );
    set_security_headers(&mut plain, true);
    assert_eq!(plain["strict-transport-security"], "max-age=31536000");
}

fn check(uri: &str, fields: &[(&str, &str)], version: Version) -> Result<(), Rejection> {
    check_request(&uri.parse::<Uri>().unwrap(), &headers(fields), version, 64 * 1024)
}

#[test]
fn a_request_has_exactly_one_good_host() {
    for host in ["example.com", "example.com:80", "EXAMPLE.com.", "[::1]:443", "under_score", "127.0.0.1:1"] {
        assert_eq!(check("/", &[("host", host)], Version::HTTP_11), Ok(()), "{host}");
    }
    for host in ["", "a b", "user@example.com", "a/b", "a,b", "[::1", "a:b:c", "\u{fc}", "a%00", "a?b", "a\\b"] {
        let refused = check("/", &[("host", host)], Version::HTTP_11);
        assert_eq!(refused, Err(Rejection::BadRequest("the Host header is not a host")), "{host:?}");
    }
    assert!(check("/", &[], Version::HTTP_11).is_err());
    assert!(check("/", &[("host", "a"), ("host", "a")], Version::HTTP_11).is_err());
    assert_eq!(check("/", &[], Version::HTTP_10), Ok(()));
    assert_eq!(check("http://example.com/", &[], Version::HTTP_2), Ok(()));
    assert!(check("http://user@example.com/", &[], Version::HTTP_2).is_err());
    assert!(check("http://user@example.com/", &[("host", "example.com")], Version::HTTP_2).is_err());
}

#[test]
fn the_authority_of_the_target_comes_before_the_host_header() {
    let there = headers(&[("host", "b:80")]);
    assert_eq!(request_host(&Uri::from_static("http://a:1/"), &there), "a:1");
    assert_eq!(request_host(&Uri::from_static("/"), &there), "b:80");
    assert_eq!(request_host(&Uri::from_static("/"), &HeaderMap::new()), "");
}

#[test]
fn targets_and_header_blocks_are_bounded() {
    let host = ("host", "a");
    let target = |length: usize| format!("/{}?q", "a".repeat(length - 3));
    assert_eq!(check(&target(MAX_TARGET), &[host], Version::HTTP_11), Ok(()));
    assert_eq!(check(&target(MAX_TARGET + 1), &[host], Version::HTTP_11), Err(Rejection::UriTooLong));

    let fields = |count| vec![host; 1].into_iter().chain(vec![("x-a", "1"); count - 1]).collect::<Vec<_>>();
    assert_eq!(check("/", &fields(MAX_FIELDS), Version::HTTP_11), Ok(()));
    assert_eq!(check("/", &fields(MAX_FIELDS + 1), Version::HTTP_11), Err(Rejection::HeadersTooLarge));

    // `host: a` and its line break are 9 bytes.
    let block = |max| check_request(&Uri::from_static("/"), &headers(&[host]), Version::HTTP_11, max);
    assert_eq!((block(9), block(8)), (Ok(()), Err(Rejection::HeadersTooLarge)));
}

proptest! {
    #[test]
    fn any_forwarded_for_yields_a_client_that_the_value_begins_with(values in prop::collection::vec("[ -~]{0,40}", 0..4)) {
        let fields: Vec<_> = values.iter().map(|value| ("x-forwarded-for", value.as_str())).collect();
        let there = headers(&fields);
        let made = Forwarding::new(PROXY.parse().unwrap(), None, &Edge::new(false, 80), &there, &trusted());
        prop_assert_eq!(made.client, client_address(PROXY.parse().unwrap(), &there, &trusted()));
        let value = made.forwarded_for.to_str().unwrap();
        prop_assert!(value.starts_with(&made.client.to_string()) && value.ends_with(PROXY));
    }
}
