use http::HeaderValue;
use proptest::prelude::*;

use super::Rejection;
use super::accept::{prefers_html, quality};

fn all() -> Vec<Rejection> {
    vec![
        Rejection::BadRequest("the path leaves the root"),
        Rejection::Forbidden,
        Rejection::OriginRefused,
        Rejection::Unauthorized,
        Rejection::PermissionDenied,
        Rejection::RateLimited(7),
        Rejection::ConcurrencyLimited,
        Rejection::TokensLimited(90),
        Rejection::BudgetExceeded(86_400),
        Rejection::NotCached,
        Rejection::UpgradeRefused,
        Rejection::NotFound,
        Rejection::MethodNotAllowed(HeaderValue::from_static("GET, HEAD")),
        Rejection::ClientTimeout,
        Rejection::PayloadTooLarge,
        Rejection::UnreadableBody,
        Rejection::UriTooLong,
        Rejection::HeadersTooLarge,
        Rejection::Internal,
        Rejection::UpstreamConnect,
        Rejection::UpstreamReset,
        Rejection::UpstreamInvalid,
        Rejection::UnmaskableAnswer,
        Rejection::NoMember,
        Rejection::AllBusy,
        Rejection::Draining,
        Rejection::ConnectTimeout,
        Rejection::UpstreamTimeout,
    ]
}

#[test]
fn a_budget_that_is_used_up_has_a_name() {
    let of = |rejection: Rejection| rejection.message_of(Some("per-team")).into_owned();
    assert_eq!(
        of(Rejection::BudgetExceeded(9)),
        "this request may cost more than is left of the limit `per-team`: ask for less, or retry later"
    );
    assert!(of(Rejection::TokensLimited(9)).contains(" than are left of the limit `per-team`: ask for less"));
    assert_eq!(of(Rejection::NotFound), Rejection::NotFound.message());
    assert_eq!(Rejection::TokensLimited(9).message_of(None), Rejection::TokensLimited(9).message());
}

fn accept(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap()
}

#[test]
fn every_rejection_is_answered_as_promised() {
    let line = |rejection: &Rejection| {
        let rendered = rejection.render(None, "r1");
        let retry = rendered.retry_after.map_or(String::new(), |seconds| format!(" retry-after={seconds}"));
        let allow = rendered.allow.map_or(String::new(), |allow| format!(" allow={}", allow.to_str().unwrap()));
        let body = String::from_utf8(rendered.body.to_vec()).unwrap();
        format!("{} {}{retry}{allow}\n  {body}", rendered.status.as_u16(), rejection.termination())
    };
    insta::assert_snapshot!(all().iter().map(line).collect::<Vec<_>>().join("\n"), @r#"
    400 client_bad_request
      {"error":{"message":"the path leaves the root","type":"invalid_request","code":"bad_request","request_id":"r1"}}
    403 proxy_forbidden
      {"error":{"message":"access to this resource is not allowed from your address","type":"permission_denied","code":"forbidden","request_id":"r1"}}
    403 proxy_origin_refused
      {"error":{"message":"pages of this origin may not call this","type":"permission_denied","code":"origin_refused","request_id":"r1"}}
    401 proxy_unauthorized
      {"error":{"message":"valid credentials are needed here","type":"authentication_error","code":"unauthorized","request_id":"r1"}}
    403 proxy_permission_denied
      {"error":{"message":"these credentials do not allow this","type":"permission_denied","code":"permission_denied","request_id":"r1"}}
    429 proxy_rate_limited retry-after=7
      {"error":{"message":"too many requests, please retry later","type":"rate_limit_error","code":"RATE_LIMIT_EXCEEDED","details":{"retry_after":7},"request_id":"r1"}}
    429 proxy_concurrency_limited retry-after=1
      {"error":{"message":"too many requests at the same time, please retry","type":"rate_limit_error","code":"CONCURRENCY_LIMIT_EXCEEDED","details":{"retry_after":1},"request_id":"r1"}}
    429 proxy_tokens_limited retry-after=90
      {"error":{"message":"this request may use more tokens (its prompt, and the most its answer may have) than are left: ask for less, or retry later","type":"rate_limit_error","code":"RATE_LIMIT_EXCEEDED","details":{"retry_after":90},"request_id":"r1"}}
    429 proxy_budget_exceeded retry-after=86400
      {"error":{"message":"this request may cost more than is left: ask for less, or retry later","type":"insufficient_quota","code":"BUDGET_EXCEEDED","details":{"retry_after":86400},"request_id":"r1"}}
    504 proxy_not_cached
      {"error":{"message":"there is no stored answer","type":"not_cached","code":"not_cached","request_id":"r1"}}
    403 proxy_upgrade_refused
      {"error":{"message":"this resource does not accept connection upgrades","type":"invalid_request","code":"upgrade_refused","request_id":"r1"}}
    404 proxy_no_route
      {"error":{"message":"nothing is served at this address","type":"not_found","code":"no_route","request_id":"r1"}}
    405 proxy_method_not_allowed allow=GET, HEAD
      {"error":{"message":"this method is not allowed here","type":"invalid_request","code":"method_not_allowed","request_id":"r1"}}
    408 client_timeout
      {"error":{"message":"the request did not arrive in time","type":"invalid_request","code":"request_timeout","request_id":"r1"}}
    413 client_body_too_large
      {"error":{"message":"the request body is too large","type":"invalid_request","code":"payload_too_large","request_id":"r1"}}
    415 client_unreadable_body
      {"error":{"message":"the request body has to be plain JSON in UTF-8 here, without compression","type":"invalid_request","code":"unreadable_body","request_id":"r1"}}
    414 client_uri_too_long
      {"error":{"message":"the request target is too long","type":"invalid_request","code":"uri_too_long","request_id":"r1"}}
    431 client_headers_too_large
      {"error":{"message":"the request headers are too large","type":"invalid_request","code":"headers_too_large","request_id":"r1"}}
    500 proxy_error
      {"error":{"message":"the gateway failed to handle the request","type":"internal_error","code":"internal_error","request_id":"r1"}}
    502 upstream_connect_failed
      {"error":{"message":"the service could not be reached","type":"upstream_error","code":"upstream_unreachable","request_id":"r1"}}
    502 upstream_reset
      {"error":{"message":"the service closed the connection before it answered","type":"upstream_error","code":"upstream_reset","request_id":"r1"}}
    502 upstream_invalid
      {"error":{"message":"the service sent an invalid answer","type":"upstream_error","code":"upstream_invalid_response","request_id":"r1"}}
    502 proxy_unmaskable_answer
      {"error":{"message":"the answer of the service may not be passed on","type":"upstream_error","code":"unmaskable_response","request_id":"r1"}}
    503 proxy_no_member retry-after=5
      {"error":{"message":"the service is not available","type":"service_unavailable","code":"no_member","request_id":"r1"}}
    503 proxy_all_busy retry-after=1
      {"error":{"message":"the service is overloaded, please retry","type":"service_unavailable","code":"overloaded","request_id":"r1"}}
    503 proxy_draining retry-after=1
      {"error":{"message":"the gateway is shutting down, please retry","type":"service_unavailable","code":"shutting_down","request_id":"r1"}}
    504 upstream_connect_timeout
      {"error":{"message":"the service could not be reached in time","type":"upstream_error","code":"upstream_connect_timeout","request_id":"r1"}}
    504 upstream_timeout
      {"error":{"message":"the service did not answer in time","type":"upstream_error","code":"upstream_timeout","request_id":"r1"}}
    "#);
}

#[test]
fn codes_and_terminations_tell_rejections_apart() {
    let words =
        |word: fn(&Rejection) -> &'static str| all().iter().map(word).collect::<std::collections::HashSet<_>>().len();
    // Requests and tokens are told apart by their fields (B24).
    assert_eq!(words(Rejection::code), all().len() - 1);
    assert_eq!(words(Rejection::termination), all().len());
}

#[test]
fn a_browser_gets_a_page() {
    let rendered = Rejection::NotFound.render(Some(&accept("text/html,*/*;q=0.8")), "r1");
    assert_eq!(rendered.content_type, "text/html; charset=utf-8");
    insta::assert_snapshot!(String::from_utf8(rendered.body.to_vec()).unwrap(), @r#"<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>404 Not Found</title></head><body><h1>404 Not Found</h1><p>Error <code>no_route</code>: nothing is served at this address.</p><p><small>Request <code>r1</code></small></p></body></html>"#);
}

#[test]
fn what_the_client_sent_is_escaped() {
    let id = "\"</code><script>alert(1)</script>\n";
    let page = Rejection::NotFound.render(Some(&accept("text/html")), id).body;
    assert!(!String::from_utf8(page.to_vec()).unwrap().contains("<script>"));
    let json: serde_json::Value = serde_json::from_slice(&Rejection::NotFound.render(None, id).body).unwrap();
    assert_eq!(json["error"]["request_id"], id);
}

#[test]
fn html_is_for_those_who_want_it_more_than_json() {
    for html in [
        "text/html",
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "application/json;q=0.5, text/html;q=0.6",
        "TEXT/HTML ; Q=1.0, */*;q=0.1",
        "text/*",
        "application/json;q=0, */*",
    ] {
        assert!(prefers_html(&accept(html)), "{html}");
    }
    for json in [
        "",
        "*/*",
        "application/json",
        "application/json, text/html",
        "text/html;q=0.5, */*",
        "text/html;q=0",
        "text/html;q=2",
        "text/html;q=0.12345",
        "text/html;q=-1",
        "text/plain",
        "nonsense",
        ";;,,/;q",
    ] {
        assert!(!prefers_html(&accept(json)), "{json}");
    }
}

#[test]
fn the_most_specific_range_decides() {
    let header = accept("*/*;q=0.1, text/*;q=0.5, text/html;level=1;q=0.25");
    assert_eq!(quality(&header, "text", "html"), 250);
    assert_eq!(quality(&header, "text", "plain"), 500);
    assert_eq!(quality(&header, "image", "png"), 100);
}

#[test]
fn only_the_beginning_of_a_long_header_is_read() {
    assert!(!prefers_html(&accept(&format!("{}text/html", "a/b,".repeat(32)))));
    assert!(prefers_html(&accept(&format!("{}text/html", "a/b,".repeat(31)))));
    assert!(!prefers_html(&accept(&format!("{}text/html", " ".repeat(1024)))));
}

proptest! {
    #[test]
    fn any_accept_header_is_read(text in "[ -~]{0,200}") {
        prop_assert!(quality(&accept(&text), "text", "html") <= 1000);
    }
}
