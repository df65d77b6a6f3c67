use proptest::prelude::*;

use super::*;

fn headers(fields: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn answer(value: &str) -> ResponseControl {
    ResponseControl::of(&headers(&[("cache-control", value)]))
}

fn asks(value: &str) -> RequestControl {
    RequestControl::of(&headers(&[("cache-control", value)]))
}

#[test]
fn directives_are_read_in_any_case_and_quoted_or_not() {
    for (text, max_age) in [
        ("max-age=3600", Some(3600)),
        ("MaX-aGe=3600", Some(3600)),
        ("foo, max-age=\"3600\"", Some(3600)),
        ("max-age=003600", Some(3600)),
        ("max-age=99999999999999999999999", Some(MAX_SECONDS)),
        ("max-age='3600'", Some(0)),
        ("max-age=-1", Some(0)),
        ("max-age=3600.0", Some(0)),
        ("max-age", Some(0)),
        ("max-age =5", Some(0)),
        ("max-age= 5", Some(0)),
        ("max-age=10, max-age=5", Some(5)),
        ("max-age=5, max-age=x", Some(0)),
        ("x=\"max-age=3600\", max-age=1", Some(1)),
        ("max-age=1, x=\"a\\\"b, max-age=3600\"", Some(1)),
        ("x=\"max-age=3600", None),
        ("", None),
        (",,, ,", None),
    ] {
        assert_eq!(answer(text).max_age, max_age, "{text}");
    }
}

#[test]
fn fields_that_are_named_are_left_out_and_the_rest_is_kept() {
    let control = answer("no-cache=\"Set-Cookie, X-Who\", private=x-mine");
    assert_eq!((control.no_cache, control.private), (false, false));
    assert_eq!(control.unstored, ["set-cookie", "x-who", "x-mine"]);
    assert!(answer("no-cache").no_cache && answer("No-Cache=\"\"").no_cache && answer("private=\" \"").private);
    assert!(answer("private=\"not a name\"").private);
}

#[test]
fn a_field_for_shared_caches_takes_the_place_of_cache_control() {
    let control = |targeted: &str| {
        ResponseControl::of(&headers(&[("cache-control", "no-store"), ("cdn-cache-control", targeted)]))
    };
    assert_eq!((control("max-age=60").max_age, control("max-age=60").no_store), (Some(60), false));
    assert!(control("max-age=60, &&&").no_store, "what does not parse does not exist");
    assert!(control("Max-Age=60").no_store);
    assert!(control("").no_store);
    let wrong_type = control("max-age=\"60\"");
    assert_eq!((wrong_type.max_age, wrong_type.targeted), (None, true));
    assert!(control("no-store, a=(1 2);q=1").no_store && control("private;x").private);
}

#[test]
fn a_surrogate_reads_what_is_meant_for_it() {
    let control = |value: &str| {
        ResponseControl::of(&headers(&[("cache-control", "max-age=1"), ("surrogate-control", value)])).max_age
    };
    assert_eq!(control("max-age=60, content=\"ESI/1.0\""), Some(60));
    assert_eq!(control("max-age=60+10;sluicegate"), Some(60));
    assert_eq!(control("max-age=60;other"), None);
    assert!(ResponseControl::of(&headers(&[("surrogate-control", "no-store;Sluicegate")])).no_store);
    assert!(!ResponseControl::of(&headers(&[("surrogate-control", "no-store;x")])).no_store);
}

#[test]
fn a_request_asks_by_cache_control_and_without_it_by_pragma() {
    assert_eq!(asks("max-stale").max_stale, Some(u64::MAX));
    assert_eq!(asks("max-stale=7, min-fresh=3, max-age=9").max_stale, Some(7));
    assert_eq!((asks("min-fresh=3").min_fresh, asks("max-age=9").max_age), (Some(3), Some(9)));
    assert!(asks("Only-If-Cached").only_if_cached && asks("NO-STORE").no_store && asks("no-cache").no_cache);
    assert!(RequestControl::of(&headers(&[("pragma", "foo, No-Cache")])).no_cache);
    let both = headers(&[("pragma", "no-cache"), ("cache-control", "max-age=60")]);
    assert!(!RequestControl::of(&both).no_cache);
}

#[test]
fn an_age_is_its_first_member_and_no_number_is_none() {
    let of = |values: &[&str]| age(&headers(&values.iter().map(|value| ("age", *value)).collect::<Vec<_>>()));
    assert_eq!((of(&["30"]), of(&["7200, 0"]), of(&["0", "7200"]), of(&[])), (30, 7200, 0, 0));
    assert_eq!((of(&["abc"]), of(&["-1"]), of(&["1.5"]), of(&["7;a=b"])), (0, 0, 0, 0));
}

proptest! {
    #[test]
    fn any_bytes_are_read_to_their_end(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        let directives: Vec<_> = Directives::new(&bytes).collect();
        prop_assert!(directives.len() <= bytes.len());
        prop_assert!(directives.iter().all(|directive| !directive.name.is_empty()));
    }

    #[test]
    fn what_is_restrictive_is_found_among_anything(before in "[ -~]{0,20}", after in "[ -~]{0,20}") {
        prop_assume!(!before.contains('"'));
        let text = format!("{before},no-store,{after}");
        prop_assert!(answer(&text).no_store, "{text}");
    }

    #[test]
    fn any_text_is_a_dictionary_or_none(text in "[ -~]{0,40}") {
        let value = HeaderValue::from_str(&text).unwrap();
        let _ = parse_dictionary([&value].into_iter());
    }
}

#[test]
fn a_quote_without_an_end_hides_no_directive() {
    for text in ["max-age=60, private=\"x, no-store", "max-age=60, foo=\"bar, no-cache", "foo=\"max-age=3600"] {
        assert!(answer(text).no_store, "{text}");
    }
}
