use http::StatusCode;
use proptest::prelude::*;

use super::{redirect_https, redirect_location, rewrite_path};
use crate::config::{Redirect, Rewrite};
use crate::route::NormalPath;

fn prefix(from: &str, to: &str) -> Rewrite {
    Rewrite::Prefix { from: from.to_owned(), to: to.to_owned() }
}

fn https(host: &str, target: &str, port: u16) -> Option<String> {
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let path = NormalPath::parse(path).unwrap();
    redirect_https(host, &path, query, port).map(|value| value.to_str().unwrap().to_owned())
}

fn redirect(location: &str, host: &str, path: &str, query: Option<&str>) -> Option<String> {
    let redirect = Redirect { location: location.to_owned(), status: StatusCode::FOUND };
    redirect_location(&redirect, host, path, query).map(|value| value.to_str().unwrap().to_owned())
}

#[test]
fn a_whole_path_is_replaced_and_the_query_kept() {
    let rewrite = Rewrite::Path("/api/models".to_owned());
    assert_eq!(rewrite_path(&rewrite, "/v1/models", None), "/api/models");
    assert_eq!(rewrite_path(&rewrite, "/v1/models", Some("a=1&b=%2F")), "/api/models?a=1&b=%2F");
    assert_eq!(rewrite_path(&rewrite, "/v1/models", Some("")), "/api/models?");
}

#[test]
fn a_prefix_is_replaced_by_segments() {
    assert_eq!(rewrite_path(&prefix("/api/", "/"), "/api/x/y", None), "/x/y");
    assert_eq!(rewrite_path(&prefix("/api/", "/v2/"), "/api/x", Some("q")), "/v2/x?q");
    assert_eq!(rewrite_path(&prefix("/a/b/", "/c/"), "/a/b/c%2Fd;e", None), "/c/c%2Fd;e");
    assert_eq!(rewrite_path(&prefix("/", "/base/"), "/x", None), "/base/x");
    assert_eq!(rewrite_path(&prefix("/api/", "/v2/"), "/api/", None), "/v2/");
}

#[test]
fn the_prefix_without_its_slash_becomes_the_other_without_its_own() {
    assert_eq!(rewrite_path(&prefix("/api/", "/v2/"), "/api", None), "/v2");
    assert_eq!(rewrite_path(&prefix("/api/", "/"), "/api", Some("q")), "/?q");
}

#[test]
fn a_prefix_that_the_client_wrote_another_way_is_replaced_too() {
    let path = NormalPath::parse("//;x/%61pi;v=1/x/../y").unwrap();
    assert_eq!(rewrite_path(&prefix("/api/", "/v2/"), path.forward(), None), "/v2/y");
    let path = NormalPath::parse("/a%3Ab/y").unwrap();
    assert_eq!(rewrite_path(&prefix("/a:b/", "/v2/"), path.forward(), None), "/v2/y");
}

#[test]
fn placeholders_stand_for_the_request() {
    assert_eq!(
        redirect("https://www.{host}{path}{query}", "example.com:8080", "/a/b", Some("x=1")).as_deref(),
        Some("https://www.example.com:8080/a/b?x=1")
    );
    assert_eq!(redirect("/new{query}", "", "/a", None).as_deref(), Some("/new"));
    assert_eq!(redirect("/{other}/{", "h", "/a", None).as_deref(), Some("/{other}/{"));
}

#[test]
fn nothing_of_the_request_breaks_out_of_a_location() {
    assert_eq!(
        redirect("{path}{query}", "h", "/a", Some("x\r\nSet-Cookie: a\"<>")).as_deref(),
        Some("/a?x%0D%0ASet-Cookie:%20a%22%3C%3E")
    );
    for host in ["evil.com/", "a@b", "a b", "a\r\nb", "", "[::1", "a?b", "a#b", "a\\b"] {
        assert_eq!(redirect("https://{host}/", host, "/", None), None, "{host:?}");
        assert_eq!(https(host, "/", 443), None, "{host:?}");
    }
    let path = NormalPath::parse("//evil.com/\\x").unwrap();
    assert_eq!(redirect("{path}", "h", path.forward(), None).as_deref(), Some("/evil.com/%5Cx"));
}

#[test]
fn the_redirect_to_https_keeps_path_and_query_and_changes_the_port() {
    assert_eq!(https("example.com", "/x?y", 443).as_deref(), Some("https://example.com/x?y"));
    assert_eq!(https("Example.com:8080", "/x?y=1&z", 8443).as_deref(), Some("https://Example.com:8443/x?y=1&z"));
    assert_eq!(https("[::1]:80", "/", 443).as_deref(), Some("https://[::1]/"));
    assert_eq!(https("example.com", "//evil.com", 443).as_deref(), Some("https://example.com/evil.com"));
}

#[test]
fn health_and_acme_paths_are_not_redirected() {
    for path in ["/health", "/health/live", "/ready", "/.well-known/acme-challenge/token", "/x/../health"] {
        assert_eq!(https("h", path, 443), None, "{path}");
    }
    for path in ["/healthy", "/readyness", "/.well-known/other", "/health/../x"] {
        assert!(https("h", path, 443).is_some(), "{path}");
    }
}

proptest! {
    #[test]
    fn a_location_has_no_line_break_and_stays_on_the_host(host in ".*", path in "/.*", query in proptest::option::of(".*")) {
        if let Ok(path) = NormalPath::parse(&path) {
            let location = redirect("{path}{query}", &host, path.forward(), query.as_deref()).unwrap();
            prop_assert!(location.starts_with('/') && !location.starts_with("//"));
            prop_assert!(location.bytes().all(|byte| byte.is_ascii_graphic()));
            let _ = redirect_https(&host, &path, query.as_deref(), 443);
        }
    }

    #[test]
    fn a_rewritten_prefix_is_below_the_new_one(path in "(/[ab.%2f;]{0,3}){0,5}") {
        if let Ok(path) = NormalPath::parse(&path) {
            let out = rewrite_path(&prefix("/a/", "/to/"), path.forward(), None);
            prop_assert!(out == "/to" || out.starts_with("/to/"));
        }
    }
}
