use proptest::prelude::*;

use super::{BadPath, NormalPath};

fn forward(raw: &str) -> String {
    NormalPath::parse(raw).unwrap().forward().to_owned()
}

fn matching(raw: &str) -> String {
    NormalPath::parse(raw).unwrap().matching().to_owned()
}

#[test]
fn a_normal_path_is_not_copied() {
    for raw in ["/", "/v1/models", "/a/b/", "/.well-known/x", "/a.b/..c/.d", "/a:b@c,d+e=f!$&'()*~-_"] {
        let path = NormalPath::parse(raw).unwrap();
        assert_eq!((path.forward(), path.matching()), (raw, raw));
        assert!(std::ptr::eq(path.forward(), raw), "{raw} was copied");
        assert_eq!(path.into_changed(), None);
    }
    assert_eq!(matching(""), "/");
}

#[test]
fn every_spelling_of_a_path_is_matched_as_that_path() {
    for raw in [
        "/%61ctuator/env",
        "/%61%63tuator/%65nv",
        "//actuator//env",
        "/x/../actuator/env",
        "/x/%2e%2E/actuator/env",
        "/x/.%2e/actuator/env",
        "/./actuator/./env",
        "/actuator;x/env",
        "/actuator;x=/../y/env/../../actuator/env",
        "/actuator%3bx/env",
        "/;/actuator/env",
        "/;x/actuator/env;jsessionid=1",
        "/x/..;/actuator/env",
        "/x/..;a=b/actuator/env",
        "/x/..%3B/actuator/env",
        "/x/.;/../actuator/env",
    ] {
        assert_eq!(matching(raw), "/actuator/env", "{raw}");
        assert_eq!(matching(&forward(raw)), "/actuator/env", "{raw}, read again");
    }
    assert_eq!(matching("/ACTUATOR/env"), "/ACTUATOR/env");
}

#[test]
fn reserved_characters_match_however_written_and_are_forwarded_as_written() {
    assert_eq!(matching("/a%3Ab%40"), "/a:b@");
    assert_eq!(forward("/a%3ab%40"), "/a%3Ab%40");
    assert_eq!(matching("/a%2Fb%5c%25%3F%23%20"), "/a%2Fb%5C%25%3F%23%20");
}

#[test]
fn what_servers_read_in_different_ways_is_forwarded_escaped() {
    assert_eq!(forward("/a\\b"), "/a%5Cb");
    assert_eq!(forward("/\u{fc}"), "/%C3%BC");
    assert_eq!(matching("/\u{fc}"), matching("/%c3%bc"));
}

#[test]
fn dot_segments_at_the_end_leave_a_directory() {
    assert_eq!(forward("/a/b/.."), "/a/");
    assert_eq!(forward("/a/."), "/a/");
    assert_eq!(forward("/a/.."), "/");
    assert_eq!(forward("/a//"), "/a/");
    assert_eq!(forward("/a/;x"), "/a/");
}

#[test]
fn path_parameters_are_forwarded() {
    assert_eq!(forward("/app;jsessionid=1/page;v=2"), "/app;jsessionid=1/page;v=2");
}

#[test]
fn broken_paths_are_refused_with_the_reason() {
    for (raw, error) in [
        ("*", BadPath::NotAbsolute),
        ("a/b", BadPath::NotAbsolute),
        ("/%", BadPath::Escape),
        ("/%4", BadPath::Escape),
        ("/%zz", BadPath::Escape),
        ("/%+1", BadPath::Escape),
        ("/a%00", BadPath::Control),
        ("/a b", BadPath::Control),
        ("/a\r\nb", BadPath::Control),
        ("/..", BadPath::AboveRoot),
        ("/a/../..", BadPath::AboveRoot),
        ("/%2e%2e/a", BadPath::AboveRoot),
        ("/a%2F..%2F..%2Fb", BadPath::AboveRoot),
        ("/..;/a", BadPath::AboveRoot),
    ] {
        assert_eq!(NormalPath::parse(raw).err(), Some(error), "{raw}");
    }
}

#[test]
fn escaped_slashes_have_a_second_reading() {
    let path = NormalPath::parse("/public/..%2factuator%5cenv").unwrap();
    assert_eq!(path.matching(), "/public/..%2Factuator%5Cenv");
    assert_eq!(path.second_reading(), Some("/actuator/env"));
}

/// Paths out of the pieces that attacks are made of.
fn nasty() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "/", "/", "/", ".", "..", ";", "%2e", "%2E", "%2f", "%5C", "\\", "%3b", "%61", "a", "b", "%", "%00", "%C3",
        "\u{fc}", "%25", "%3A", ":", "=", "?", "#", " ", "A",
    ]);
    prop::collection::vec(piece, 0..16).prop_map(|pieces| format!("/{}", pieces.concat()))
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(raw in ".*") {
        let _ = NormalPath::parse(&raw);
    }

    #[test]
    fn what_is_forwarded_reads_the_same_again(raw in nasty()) {
        if let Ok(path) = NormalPath::parse(&raw) {
            let again = NormalPath::parse(path.forward()).unwrap();
            prop_assert_eq!(again.forward(), path.forward());
            prop_assert_eq!(again.matching(), path.matching());
            prop_assert_eq!(again.second_reading(), path.second_reading());
            prop_assert_eq!(again.into_changed(), None);
        }
    }

    #[test]
    fn the_matched_form_is_its_own(raw in nasty()) {
        if let Ok(path) = NormalPath::parse(&raw) {
            let again = NormalPath::parse(path.matching()).unwrap();
            prop_assert_eq!(again.matching(), path.matching());
        }
    }

    #[test]
    fn both_forms_have_the_same_segments_and_no_dot_or_empty_ones(raw in nasty()) {
        if let Ok(path) = NormalPath::parse(&raw) {
            let segments = |text: &str| text.split('/').count();
            prop_assert_eq!(segments(path.forward()), segments(path.matching()));
            for form in [path.forward(), path.matching()] {
                let inner = form.strip_prefix('/').unwrap();
                let inner = inner.strip_suffix('/').unwrap_or(inner);
                if !inner.is_empty() {
                    prop_assert!(inner.split('/').all(|segment| !matches!(segment, "" | "." | "..")), "{}", form);
                }
            }
            prop_assert!(!path.matching().contains([';', '\\']));
        }
    }
}
