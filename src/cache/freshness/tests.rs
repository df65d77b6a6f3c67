use std::time::UNIX_EPOCH;

use super::*;

const NOW: u64 = 1_600_000_000;

fn at(offset: i64) -> String {
    let seconds = i64::try_from(NOW).unwrap() + offset;
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds.try_into().unwrap()))
}

fn judged(status: u16, fields: &[(&str, &str)], rules: &CacheRules, authorized: bool) -> Result<Freshness, Unstorable> {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    let answered = Answered {
        status: StatusCode::from_u16(status).unwrap(),
        headers: &headers,
        authorized,
        received: UNIX_EPOCH + Duration::from_secs(NOW),
        delay: Duration::ZERO,
    };
    Freshness::of(&answered, rules)
}

fn of(fields: &[(&str, &str)]) -> Result<Freshness, Unstorable> {
    judged(200, fields, &CacheRules::default(), false)
}

/// Seconds of freshness that are left when it comes.
fn left(fields: &[(&str, &str)]) -> u64 {
    of(fields).map_or(0, |freshness| freshness.lifetime.saturating_sub(freshness.initial_age).as_secs())
}

#[test]
fn explicit_freshness_comes_in_the_order_of_the_standard() {
    let (date, later) = (at(0), at(500));
    assert_eq!(left(&[("cache-control", "max-age=60")]), 60);
    assert_eq!(left(&[("cache-control", "max-age=60, s-maxage=10")]), 10);
    assert_eq!(left(&[("cache-control", "s-maxage=90, max-age=0"), ("expires", &at(-9))]), 90);
    assert_eq!(left(&[("cache-control", "max-age=60"), ("expires", &at(-9)), ("date", &date)]), 60);
    assert_eq!(left(&[("expires", &later), ("date", &date)]), 500);
    assert_eq!(left(&[("expires", &at(300)), ("date", &at(400))]), 0);
    assert_eq!(left(&[("expires", &later), ("date", "foo")]), 500);
    assert_eq!(left(&[("expires", "0"), ("last-modified", &at(-86_400)), ("date", &date)]), 0);
    assert_eq!(left(&[("expires", &later), ("expires", &at(600)), ("etag", "\"a\"")]), 0, "two of them are none");
    assert_eq!(left(&[("expires", &later.to_uppercase()), ("date", &date.to_lowercase())]), 500, "in any case");
    assert_eq!(left(&[("expires", &later.replace("GMT", "UTC")), ("date", &date)]), 0, "no zone but GMT");
    assert_eq!(left(&[("cdn-cache-control", "max-age=70"), ("cache-control", "no-store"), ("expires", "0")]), 70);
}

#[test]
fn age_counts_and_what_is_no_age_does_not() {
    assert_eq!(left(&[("cache-control", "max-age=60"), ("age", "20")]), 40);
    assert_eq!(left(&[("cache-control", "max-age=60"), ("age", "90"), ("etag", "\"a\"")]), 0);
    assert_eq!(left(&[("cache-control", "max-age=60"), ("age", "x")]), 60);
    assert_eq!(left(&[("cache-control", "max-age=60"), ("date", &at(-15))]), 45, "apparent age");
    assert_eq!(left(&[("cache-control", "max-age=60"), ("date", &at(-15)), ("age", "30")]), 30, "the larger of both");
    assert_eq!(left(&[("cache-control", "max-age=60"), ("date", &at(99))]), 60);
}

#[test]
fn without_a_word_freshness_is_guessed_for_some_statuses_and_for_a_day_at_most() {
    let lately = [("last-modified", at(-1000)), ("date", at(0))];
    let lately: Vec<(&str, &str)> = lately.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let rules = CacheRules::default();
    for (status, guessed) in [(200, true), (203, true), (204, true), (404, true), (410, true), (501, true)]
        .into_iter()
        .chain([(201, false), (202, false), (403, false), (502, false), (503, false), (599, false)])
    {
        assert_eq!(judged(status, &lately, &rules, false).is_ok(), guessed, "{status}");
    }
    assert_eq!(left(&lately), 100);
    assert_eq!(left(&[("last-modified", &at(-100 * 86_400)), ("date", &at(0))]), 86_400);
    let public: Vec<_> = lately.iter().copied().chain([("cache-control", "public")]).collect();
    assert!(judged(599, &public, &rules, false).is_ok());
    let unguessed = judged(200, &lately, &CacheRules { heuristic: false, ..rules }, false).unwrap();
    assert_eq!(unguessed.lifetime, Duration::ZERO, "it is still worth a condition");
    assert_eq!(of(&[]), Err(Unstorable::Useless));
}

#[test]
fn any_final_status_may_be_stored_when_it_says_so_but_parts_are_not() {
    let rules = CacheRules::default();
    for status in [200, 299, 302, 303, 307, 400, 404, 499, 500, 503, 599] {
        assert!(judged(status, &[("cache-control", "max-age=60")], &rules, false).is_ok(), "{status}");
    }
    for status in [206, 304, 101] {
        let judged = judged(status, &[("cache-control", "max-age=60")], &rules, false);
        assert_eq!(judged, Err(Unstorable::Partial), "{status}");
    }
    let understood = [("cache-control", "max-age=60, must-understand, no-store")];
    assert!(judged(200, &understood, &rules, false).is_ok());
    assert_eq!(judged(599, &understood, &rules, false), Err(Unstorable::Status));
}

#[test]
fn what_is_personal_or_not_to_be_stored_is_not() {
    let fresh = |more: &'static str| vec![("cache-control", more), ("expires", "Thu, 01 Jan 2099 00:00:00 GMT")];
    assert_eq!(of(&fresh("max-age=60, no-store")), Err(Unstorable::NoStore));
    assert_eq!(of(&fresh("max-age=60, private")), Err(Unstorable::Personal));
    assert_eq!(of(&fresh("no-store, private")), Err(Unstorable::Personal), "nobody who waits for it may see it");
    let rules = CacheRules::default();
    assert_eq!(judged(503, &[("cache-control", "no-store")], &rules, true), Err(Unstorable::Personal));
    assert_eq!(of(&[("cache-control", "max-age=60"), ("set-cookie", "a=b")]), Err(Unstorable::Personal));
    assert_eq!(of(&[("cache-control", "max-age=60"), ("vary", "*")]), Err(Unstorable::Varies));
    let named = of(&[("cache-control", "max-age=60, no-cache=\"set-cookie\""), ("set-cookie", "a=b")]).unwrap();
    assert_eq!(named.unstored, [header::SET_COOKIE]);
    let cookies = CacheRules { store_set_cookie: true, ..CacheRules::default() };
    assert!(judged(200, &[("cache-control", "max-age=60"), ("set-cookie", "a=b")], &cookies, false).is_ok());
}

#[test]
fn an_answer_to_credentials_is_everybodys_only_when_it_says_so() {
    let rules = CacheRules::default();
    for (control, stored) in [
        ("max-age=60", false),
        ("max-age=60, public", true),
        ("max-age=60, must-revalidate", true),
        ("s-maxage=60", true),
        ("max-age=60, proxy-revalidate", false),
    ] {
        assert_eq!(judged(200, &[("cache-control", control)], &rules, true).is_ok(), stored, "{control}");
    }
}

#[test]
fn no_cache_is_stored_for_its_validator_and_never_fresh() {
    let stored = of(&[("cache-control", "no-cache, max-age=60"), ("etag", "\"a\"")]).unwrap();
    assert!(stored.lifetime.is_zero() && stored.no_stale);
    assert_eq!(of(&[("cache-control", "no-cache, max-age=60")]), Err(Unstorable::Useless));
    assert_eq!(left(&[("pragma", "no-cache"), ("last-modified", &at(-1000)), ("date", &at(0))]), 0);
    assert_eq!(left(&[("pragma", "no-cache"), ("cache-control", "max-age=60")]), 60);
}

#[test]
fn a_configured_time_holds_where_the_answer_says_nothing() {
    let ttl = CacheRules { ttl: Some(Duration::from_secs(300)), ..CacheRules::default() };
    let lifetime = |status, fields: &[(&str, &str)]| {
        judged(status, fields, &ttl, false).map_or(0, |freshness| freshness.lifetime.as_secs())
    };
    assert_eq!(lifetime(200, &[]), 300);
    assert_eq!(lifetime(200, &[("last-modified", &at(-86_400)), ("date", &at(0))]), 300);
    assert_eq!(lifetime(200, &[("cache-control", "public")]), 300);
    assert_eq!(lifetime(200, &[("cache-control", "max-age=5")]), 5);
    assert_eq!(lifetime(200, &[("cache-control", "max-age=x")]), 0);
    assert_eq!(lifetime(200, &[("cache-control", "no-cache"), ("etag", "\"a\"")]), 0);
    assert_eq!(lifetime(200, &[("cache-control", "private")]), 0);
    assert_eq!(lifetime(200, &[("set-cookie", "a=b")]), 0);
    assert_eq!((lifetime(404, &[]), lifetime(500, &[]), lifetime(201, &[])), (0, 0, 0));
}

#[test]
fn an_overriding_time_replaces_freshness_but_not_what_is_forbidden() {
    let rules = CacheRules { override_ttl: Some(Duration::from_secs(300)), ..CacheRules::default() };
    let lifetime = |control: &str| {
        judged(200, &[("cache-control", control)], &rules, false).map(|freshness| freshness.lifetime.as_secs())
    };
    assert_eq!(lifetime("max-age=5, must-revalidate"), Ok(300));
    assert_eq!(lifetime("no-cache, max-age=99999"), Ok(300));
    assert_eq!(lifetime("no-store"), Err(Unstorable::NoStore));
    assert_eq!(lifetime("private"), Err(Unstorable::Personal));
}

#[test]
fn how_long_stale_answers_serve_is_said_by_them_first() {
    let seconds = Duration::from_secs;
    let plain = of(&[("cache-control", "max-age=60")]).unwrap();
    assert_eq!((plain.while_revalidate, plain.if_error, plain.if_disconnected), (seconds(0), seconds(0), seconds(60)));
    let own = of(&[("cache-control", "max-age=60, stale-while-revalidate=7, stale-if-error=8")]).unwrap();
    assert_eq!((own.while_revalidate, own.if_error, own.if_disconnected), (seconds(7), seconds(8), seconds(8)));
    let rules =
        CacheRules { stale_while_revalidate: seconds(5), stale_if_error: Some(seconds(6)), ..CacheRules::default() };
    let configured = judged(200, &[("cache-control", "max-age=60")], &rules, false).unwrap();
    assert_eq!((configured.while_revalidate, configured.if_error), (seconds(5), seconds(6)));
    for control in ["must-revalidate", "proxy-revalidate", "s-maxage=60"] {
        assert!(of(&[("cache-control", &format!("max-age=60, {control}"))]).unwrap().no_stale, "{control}");
    }
}
