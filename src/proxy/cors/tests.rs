use std::collections::HashSet;

use super::*;

fn rules() -> Cors {
    let exact = HashSet::from(["https://console.example.com".into(), "null".into()]);
    Cors {
        origins: Origins::Listed { exact, below: Vec::new() },
        methods: HeaderValue::from_static("GET, PUT"),
        headers: Some(HeaderValue::from_static("x-api-key")),
        expose: Some(HeaderValue::from_static("x-request-id")),
        credentials: false,
        max_age: HeaderValue::from_static("600"),
        private_network: false,
    }
}

fn request(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, HeaderValue::from_static(value));
    }
    headers
}

fn texts(fields: &Fields) -> Vec<String> {
    fields.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect()
}

#[test]
fn a_preflight_is_options_with_an_origin_and_a_method() {
    let whole = request(&[("origin", "https://x.test"), ("access-control-request-method", "PUT")]);
    assert_eq!(preflight(&Method::OPTIONS, &whole), Some(Method::PUT));
    assert_eq!(preflight(&Method::GET, &whole), None);
    for part in [
        request(&[]),
        request(&[("origin", "https://x.test")]),
        request(&[("access-control-request-method", "PUT")]),
        request(&[("origin", "https://x.test"), ("access-control-request-method", "P T")]),
    ] {
        assert_eq!(preflight(&Method::OPTIONS, &part), None, "{part:?}");
    }
}

#[test]
fn an_allowed_origin_is_named_and_others_are_not() {
    let allowed = answer_fields(&rules(), &request(&[("origin", "https://console.example.com")]));
    assert_eq!(
        texts(&allowed),
        [
            "vary: Origin",
            "access-control-allow-origin: https://console.example.com",
            "access-control-expose-headers: x-request-id"
        ]
    );
    for other in [
        request(&[]),
        request(&[("origin", "https://evil.test")]),
        request(&[("origin", "https://console.example.com"), ("origin", "https://console.example.com")]),
    ] {
        assert_eq!(texts(&answer_fields(&rules(), &other)), ["vary: Origin"], "{other:?}");
        assert_eq!(preflight_fields(&rules(), &other), None, "{other:?}");
    }
}

#[test]
fn an_answer_that_is_the_same_for_all_does_not_vary() {
    let all = Cors { origins: Origins::Any, expose: None, ..rules() };
    let told = answer_fields(&all, &request(&[("origin", "https://any.test")]));
    assert_eq!(texts(&told), ["access-control-allow-origin: *"]);
    assert!(answer_fields(&all, &request(&[])).is_empty());
}

#[test]
fn a_preflight_is_told_what_there_is() {
    let origin = ("origin", "https://console.example.com");
    let told = preflight_fields(&rules(), &request(&[origin])).unwrap();
    assert_eq!(
        texts(&told),
        [
            "access-control-allow-methods: GET, PUT",
            "access-control-max-age: 600",
            "access-control-allow-headers: x-api-key"
        ]
    );
    let asked = request(&[origin, ("access-control-request-private-network", "true")]);
    assert_eq!(preflight_fields(&rules(), &asked), Some(told.clone()), "it was not allowed");
    let open = Cors { private_network: true, ..rules() };
    assert!(preflight_fields(&open, &asked).unwrap().contains(&(ALLOW_PRIVATE_NETWORK, TRUE)));
    assert_eq!(preflight_fields(&open, &request(&[origin])), Some(told), "it was not asked for");
}
