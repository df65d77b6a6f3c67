//! Vary: which fields of a request an answer was chosen by, and their values in a form that can be compared.
//!
//! Values that mean the same become the same (RFC 9111, section 4.1): lines are joined, blanks around commas go, and
//! Accept-Language and Accept-Encoding lose case and order.

use http::{HeaderMap, HeaderName, header};

/// Fields that an answer may be chosen by, at most; one that names more is not stored.
pub const MAX_FIELDS: usize = 16;

/// Whether the answer was chosen by something that no other request can be compared by: `*`, or what is no field name.
pub fn is_any(answer: &HeaderMap) -> bool {
    names(answer).is_none()
}

/// The fields that the answer was chosen by, sorted, each once; `None` when it matches no other request.
pub fn names(answer: &HeaderMap) -> Option<Vec<HeaderName>> {
    let mut names: Vec<HeaderName> = Vec::new();
    for value in answer.get_all(header::VARY) {
        for name in value.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
            if name.is_empty() {
                continue;
            }
            if name == b"*" {
                return None;
            }
            names.push(HeaderName::from_bytes(name).ok()?);
        }
    }
    names.sort_by(|one, other| one.as_str().cmp(other.as_str()));
    names.dedup();
    (names.len() <= MAX_FIELDS).then_some(names)
}

/// Appends the value of `name` in `request`, in its comparable form. One that is absent differs from one that is empty.
pub fn append_value(to: &mut Vec<u8>, name: &HeaderName, request: &HeaderMap) {
    let mut lines = request.get_all(name).iter().map(http::HeaderValue::as_bytes).peekable();
    if lines.peek().is_none() {
        to.push(0);
        return;
    }
    to.push(1);
    let start = to.len() + 4;
    to.extend_from_slice(&[0; 4]);
    if *name == header::ACCEPT_LANGUAGE || *name == header::ACCEPT_ENCODING {
        append_sorted(to, lines);
    } else {
        for (index, line) in lines.enumerate() {
            if index > 0 {
                to.push(b',');
            }
            append_line(to, line);
        }
    }
    let length = u32::try_from(to.len() - start).unwrap_or(u32::MAX).to_be_bytes();
    if let Some(slot) = to.get_mut(start - 4..start) {
        slot.copy_from_slice(&length);
    }
}

/// The members of a list whose order says nothing, because their qualities do.
fn append_sorted<'a>(to: &mut Vec<u8>, lines: impl Iterator<Item = &'a [u8]>) {
    let members = lines.flat_map(|line| line.split(|&byte| byte == b','));
    let bare = |member: &[u8]| -> Vec<u8> {
        let kept = member.iter().filter(|byte| !byte.is_ascii_whitespace());
        kept.map(u8::to_ascii_lowercase).collect()
    };
    let mut members: Vec<Vec<u8>> = members.map(bare).filter(|member| !member.is_empty()).collect();
    members.sort();
    members.dedup();
    to.extend_from_slice(&members.join(&b","[..]));
}

/// A line without the blanks around commas that stand outside of quotes.
fn append_line(to: &mut Vec<u8>, line: &[u8]) {
    if !line.contains(&b',') {
        to.extend_from_slice(line.trim_ascii());
        return;
    }
    let (mut quoted, mut escaped) = (false, false);
    let from = to.len();
    for &byte in line.trim_ascii() {
        let blank = matches!(byte, b' ' | b'\t');
        if !quoted && blank && to.get(from..).is_some_and(|text| text.last() == Some(&b',')) {
            continue;
        }
        if !quoted && byte == b',' {
            while to.len() > from && matches!(to.last(), Some(b' ' | b'\t')) {
                to.pop();
            }
        }
        if byte == b'"' && !escaped {
            quoted = !quoted;
        }
        escaped = quoted && byte == b'\\' && !escaped;
        to.push(byte);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn request(name: &'static str, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn form(name: &'static str, values: &[&str]) -> Vec<u8> {
        let mut form = Vec::new();
        append_value(&mut form, &HeaderName::from_static(name), &request(name, values));
        form
    }

    #[test]
    fn a_star_anywhere_matches_nothing() {
        for values in [&["*"][..], &["*, *"], &["*", "*"], &[", *"], &["", "*"], &["*, Foo"], &["Foo, *"], &["a b"]] {
            assert!(is_any(&request("vary", values)), "{values:?}");
        }
        assert_eq!(names(&request("vary", &["B, a", "A,,"])).unwrap(), ["a", "b"]);
        assert_eq!(names(&HeaderMap::new()).unwrap(), Vec::<HeaderName>::new());
    }

    #[test]
    fn values_that_mean_the_same_are_the_same() {
        assert_eq!(form("foo", &["1, 2"]), form("foo", &["1", "2"]));
        assert_eq!(form("foo", &["1,2"]), form("foo", &[" 1 ,  2 "]));
        assert_eq!(form("accept-language", &["en, de;q=0.5"]), form("accept-language", &["De; q=0.5 ,EN"]));
        assert_eq!(form("accept-encoding", &["gzip", "br"]), form("accept-encoding", &["br, GZIP"]));
    }

    #[test]
    fn values_that_differ_stay_different() {
        assert_ne!(form("foo", &[]), form("foo", &[""]));
        assert_ne!(form("foo", &["1"]), form("foo", &["2"]));
        assert_ne!(form("foo", &["a b"]), form("foo", &["ab"]));
        assert_ne!(form("foo", &["A"]), form("foo", &["a"]));
        assert_ne!(form("foo", &["\"a, b\""]), form("foo", &["\"a,b\""]));
        assert_ne!(form("cookie", &["a=1; b=2"]), form("cookie", &["a=1;b=2"]));
        assert_ne!(form("accept-language", &["en, de;q=0.5"]), form("accept-language", &["en;q=0.5, de"]));
    }

    proptest! {
        #[test]
        fn two_fields_never_run_into_each_other(a in "[ -~]{0,9}", b in "[ -~]{0,9}", c in "[ -~]{0,9}", d in "[ -~]{0,9}") {
            let key = |one: &str, other: &str| {
                let mut form = super::tests::form("x", &[one]);
                form.extend(super::tests::form("y", &[other]));
                form
            };
            if key(&a, &b) == key(&c, &d) {
                prop_assert_eq!(super::tests::form("x", &[&a]), super::tests::form("x", &[&c]));
                prop_assert_eq!(super::tests::form("x", &[&b]), super::tests::form("x", &[&d]));
            }
        }
    }
}
