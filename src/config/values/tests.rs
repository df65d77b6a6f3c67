use proptest::prelude::*;

use super::address::{host_pattern, listen, member, path_pattern};
use super::balance::balance;
use super::logging::log_filter;
use super::*;
use crate::config::{Balance, HashKey, HostPattern, ListenAddress, MemberAddress, PathPattern};

fn refuses<T: std::fmt::Debug>(parse: impl Fn(&str) -> Result<T, Wrong>, texts: &[&str]) {
    for text in texts {
        assert!(parse(text).is_err(), "{text:?} was taken as {:?}", parse(text));
    }
}

#[test]
fn durations() {
    let millis = Duration::from_millis;
    for (text, value) in [
        ("200ms", 200),
        ("5s", 5000),
        ("15m", 900_000),
        ("2h", 7_200_000),
        ("1d", 86_400_000),
        ("1h30m", 5_400_000),
        ("0s", 0),
    ] {
        assert_eq!(duration(text), Ok(millis(value)), "{text}");
    }
    refuses(
        duration,
        &[
            "",
            "5",
            "s",
            "5 s",
            "-5s",
            "5S",
            "5sec",
            "1.5s",
            "5us",
            "99999999999999999999d",
            "1d99999999999999999d",
            "٣s",
        ],
    );
    assert_eq!(duration("30").unwrap_err().hint.as_deref(), Some("did you mean 30s, or 30ms?"));
    assert_eq!(duration("5000").unwrap_err().hint.as_deref(), Some("did you mean 5000ms, or 5000s?"));
}

#[test]
fn sizes() {
    for (text, value) in [
        ("0B", 0),
        ("512B", 512),
        ("1B", 1),
        ("64KiB", 65_536),
        ("100MiB", 104_857_600),
        ("2 GiB", 2 << 30),
        ("1MB", 1_000_000),
    ] {
        assert_eq!(size(text), Ok(value), "{text}");
    }
    refuses(
        size,
        &[
            "",
            "0",
            "100",
            "MiB",
            "-1",
            "1.5MiB",
            "1mib",
            "100M",
            "1k",
            "99999999999999999999",
            "18446744073709551615KiB",
        ],
    );
    assert_eq!(size("100").unwrap_err().hint.as_deref(), Some("did you mean 100B, or 100MiB?"));
    assert_eq!(size("100m").unwrap_err().hint.as_deref(), Some("did you mean 100MiB?"));
}

#[test]
fn shares_and_numbers_and_switches() {
    assert_eq!(percent("20%"), Ok(20));
    refuses(percent, &["20", "%", "-1%", "1.5%", "20 %", "99999999999%"]);
    assert_eq!(number::<u16>("65535"), Ok(65535));
    refuses(number::<u16>, &["", "-1", "+1", "65536", "1_000", "0x10", " 1", "1.0"]);
    assert_eq!((boolean("true"), boolean("false")), (Ok(true), Ok(false)));
    refuses(boolean, &["", "yes", "no", "on", "off", "1", "TRUE"]);
}

#[test]
fn listen_addresses() {
    let tcp = |text: &str| Ok(ListenAddress::Tcp(text.parse().unwrap()));
    assert_eq!(listen("0.0.0.0:80"), tcp("0.0.0.0:80"));
    assert_eq!(listen("[::]:443"), tcp("[::]:443"));
    assert_eq!(listen("unix:/run/x.sock"), Ok(ListenAddress::Unix("/run/x.sock".into())));
    let long = format!("unix:/{}", "x".repeat(200));
    refuses(
        listen,
        &[
            "",
            "80",
            ":80",
            "*:80",
            "localhost:80",
            "a.b:80",
            "::1:80",
            "1.2.3.4",
            "1.2.3.4:70000",
            "unix:x",
            "unix:/x/",
            &long,
        ],
    );
}

#[test]
fn member_addresses() {
    let socket = |text: &str| MemberAddress::Socket(text.parse().unwrap());
    let host = |host: &str, port| MemberAddress::Host { host: host.into(), port };
    for (text, address, tls, name) in [
        ("10.0.0.1:8080", socket("10.0.0.1:8080"), None, "10.0.0.1:8080"),
        ("[::1]:80", socket("[::1]:80"), None, "[::1]:80"),
        ("Host.Name:8080", host("host.name", 8080), None, "Host.Name:8080"),
        ("my_service:1", host("my_service", 1), None, "my_service:1"),
        ("http://a.b:80/", host("a.b", 80), Some(false), "a.b:80"),
        ("https://10.0.0.1:443", socket("10.0.0.1:443"), Some(true), "10.0.0.1:443"),
        ("unix:/run/x.sock", MemberAddress::Unix("/run/x.sock".into()), None, "unix:/run/x.sock"),
    ] {
        let found = member(text).unwrap();
        assert_eq!((found.address, found.tls, found.name.as_str()), (address, tls, name), "{text}");
    }
    refuses(
        member,
        &[
            "",
            ":80",
            "a",
            "a:",
            "a:0",
            "a:70000",
            "10.0.0.1",
            "10.0.0.1:0",
            "::1",
            "[::1]",
            "ftp://a:1",
            "http://a:1/x",
            "a b:1",
            "10.0.0.256:1",
            "10.0.1:1",
            "-a:1",
            "a..b:1",
            "a.:1",
            "é:1",
        ],
    );
    assert_eq!(member("https://a.b").unwrap_err().hint.as_deref(), Some("write it with one: a.b:443"));
}

#[test]
fn networks() {
    assert_eq!(network("10.0.0.0/8").unwrap().to_string(), "10.0.0.0/8");
    assert_eq!(network("10.0.0.1").unwrap().to_string(), "10.0.0.1/32");
    assert_eq!(network("fd00::/8").unwrap().to_string(), "fd00::/8");
    refuses(network, &["", "10.0.0.0/33", "10.0.0.1/8", "10/8", "a", "::ffff:10.0.0.0/104", "10.0.0.0/"]);
    assert_eq!(
        network("::ffff:10.0.0.0/104").unwrap_err().hint.as_deref(),
        Some("IPv4 clients are seen as IPv4: write 10.0.0.0/8")
    );
}

#[test]
fn hosts_and_paths() {
    assert_eq!(host_pattern("Example.COM"), Ok(HostPattern::Exact("example.com".into())));
    assert_eq!(host_pattern("*.example.com"), Ok(HostPattern::Wildcard("example.com".into())));
    assert_eq!(host_pattern("[::1]"), Ok(HostPattern::Exact("[::1]".into())));
    refuses(
        host_pattern,
        &["", "*", "*.", "a.*", "*a.b", "a:80", "http://a", "a/", "a.", "[x]", "münchen.de", "256.1.1.1"],
    );
    assert_eq!(path_pattern("/"), Ok(PathPattern::Prefix("/".into())));
    assert_eq!(path_pattern("/a/"), Ok(PathPattern::Prefix("/a/".into())));
    assert_eq!(path_pattern("/a"), Ok(PathPattern::Exact("/a".into())));
    refuses(path_pattern, &["", "a", "/a?b", "/a#b", "/a*", "//", "/a//b", "/./a", "/a/..", "/a b", "/é", "/a\n"]);
}

#[test]
fn methods_and_headers() {
    assert_eq!(method("PATCH"), Ok(Method::PATCH));
    assert!(method("PURGE").is_ok(), "methods can be made up");
    refuses(method, &["", "get", "G ET"]);
    assert_eq!(header_name("X-Request-ID").unwrap(), "x-request-id");
    refuses(header_name, &["", "x a", "x:", "é"]);
    assert_eq!(header_value("max-age=1; x").unwrap(), "max-age=1; x");
    refuses(header_value, &["a\r\nb", "a\tb", " a", "a ", "é", "\u{7f}"]);
}

#[test]
fn statuses() {
    let range = |first, last| Ok(StatusRange { first, last });
    assert_eq!(status_range("200"), range(200, 200));
    assert_eq!(status_range("200-299"), range(200, 299));
    assert_eq!(status_range("2xx"), range(200, 299));
    refuses(status_range, &["", "99", "600", "299-200", "xx", "6xx", "22xx", "2x", "200-", "-200", "200-299-300"]);
    refuses(status, &["", "100", "199", "600", "ok"]);
}

#[test]
fn balances() {
    let header = |name: &'static str| HeaderName::from_static(name);
    for (text, value) in [
        ("round_robin", Balance::RoundRobin),
        ("random", Balance::Random),
        ("least_requests", Balance::LeastRequests),
        ("least_tokens", Balance::LeastTokens),
        ("peak_ewma", Balance::PeakEwma),
        ("ip_hash", Balance::IpHash),
        ("header_hash(X-User)", Balance::HeaderHash(header("x-user"))),
        ("consistent_hash", Balance::ConsistentHash { key: HashKey::Uri, bound_percent: None }),
        ("consistent_hash(bounded)", Balance::ConsistentHash { key: HashKey::Uri, bound_percent: Some(25) }),
        (
            "consistent_hash(client_ip, bounded:50%)",
            Balance::ConsistentHash { key: HashKey::ClientIp, bound_percent: Some(50) },
        ),
        (
            "consistent_hash(header:x-user)",
            Balance::ConsistentHash { key: HashKey::Header(header("x-user")), bound_percent: None },
        ),
    ] {
        assert_eq!(balance(text), Ok(value), "{text}");
    }
    refuses(
        balance,
        &[
            "",
            "round-robin",
            "random()",
            "header_hash",
            "header_hash()",
            "header_hash(x y)",
            "header_hash(x",
            "consistent_hash(url)",
            "consistent_hash(uri, client_ip)",
            "consistent_hash(bounded:0%)",
            "least_tokens(4)",
            "prefix_cost",
        ],
    );
    for (text, meant) in
        [("leastconn", "least_requests"), ("round-robin", "round_robin"), ("consistent_hsh", "consistent_hash")]
    {
        assert_eq!(balance(text).unwrap_err().hint, Some(format!("did you mean `{meant}`?")), "{text}");
    }
}

#[test]
fn names_that_are_near_are_offered_and_others_are_not() {
    use crate::config::problem::nearest;
    let names = ["timeouts", "retry", "tls", "members"];
    assert_eq!(nearest("timeout", names), Some("timeouts"));
    assert_eq!(nearest("Members", names), Some("members"));
    assert_eq!(nearest("servers", names), None);
    assert_eq!(nearest("x", names), None);
}

proptest! {
    #[test]
    fn no_text_makes_a_parser_panic(text in "\\PC{0,40}|[0-9a-z:./*%()\\[\\]-]{0,40}") {
        let _ = (duration(&text), size(&text), percent(&text), number::<u32>(&text), boolean(&text));
        let _ = (listen(&text), member(&text), network(&text), host_pattern(&text), path_pattern(&text));
        let _ = (method(&text), header_name(&text), header_value(&text), status_range(&text), status(&text));
        let _ = (balance(&text), log_filter(&text), tls_version(&text), quote(&text));
        let _ = (balance(&format!("consistent_hash({text})")), balance(&format!("header_hash({text})")));
    }

    #[test]
    fn what_is_shown_is_read_back(millis in 0_u64..=604_800_000, bytes: u64) {
        let value = Duration::from_millis(millis);
        prop_assert_eq!(duration(&show_duration(value)), Ok(value));
        prop_assert_eq!(size(&show_size(bytes)), Ok(bytes));
    }

    #[test]
    fn addresses_are_read_back(ip: std::net::IpAddr, port in 1_u16..) {
        let address = SocketAddr::new(ip, port);
        prop_assert_eq!(listen(&address.to_string()), Ok(ListenAddress::Tcp(address)));
        prop_assert_eq!(member(&address.to_string()).map(|found| found.address), Ok(MemberAddress::Socket(address)));
    }
}
