//! What tells entries apart.
//!
//! A key is the parts themselves, each with its length, and no hash of them: two requests that differ in any part can
//! never share an entry (row T37).

use std::sync::Arc;

use http::{HeaderMap, HeaderName};

use super::vary;

/// What an entry is found by.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Key(Arc<[u8]>);

/// What a request asks for.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The name of the route: two routes ask different pools.
    pub route: &'a str,
    /// Whether the client came over https.
    pub https: bool,
    /// Host and port, as they came.
    pub host: &'a str,
    /// The path, in normal form.
    pub path: &'a str,
    /// The query, without its `?`.
    pub query: Option<&'a str>,
    /// The caller, where the entry is its own: what it showed, and its id, in one word.
    pub caller: Option<&'a str>,
    /// Its fields.
    pub headers: &'a HeaderMap,
}

impl Asked<'_> {
    /// The key, with the values of the fields `by`.
    pub fn key(&self, by: &[HeaderName]) -> Key {
        let mut key = Vec::with_capacity(128);
        append(&mut key, self.route.as_bytes());
        key.push(u8::from(self.https));
        append(&mut key, authority(self.host, self.https).as_bytes());
        append(&mut key, self.path.as_bytes());
        append_optional(&mut key, self.query);
        append_optional(&mut key, self.caller);
        for name in by {
            append(&mut key, name.as_str().as_bytes());
            vary::append_value(&mut key, name, self.headers);
        }
        Key(key.into())
    }

    /// The URL as purges and invalidations name it: `//host/path?query`.
    pub fn url(&self) -> String {
        url(self.host, self.https, self.path, self.query)
    }
}

impl Key {
    /// This key for the answers that were chosen by the fields `by` of `request`.
    pub fn varied(&self, by: &[HeaderName], request: &HeaderMap) -> Self {
        let mut key = Vec::with_capacity(self.0.len() + 64);
        key.extend_from_slice(&self.0);
        key.push(b'V');
        for name in by {
            append(&mut key, name.as_str().as_bytes());
            vary::append_value(&mut key, name, request);
        }
        Self(key.into())
    }

    /// Its bytes in memory.
    pub fn weight(&self) -> usize {
        self.0.len()
    }
}

/// A URL as purges and invalidations name it: `//host/path?query`. The scheme says nothing about what is stored where
/// another proxy takes off the TLS.
pub fn url(host: &str, https: bool, path: &str, query: Option<&str>) -> String {
    let host = authority(host, https);
    match query {
        Some(query) => format!("//{host}{path}?{query}"),
        None => format!("//{host}{path}"),
    }
}

/// The host in lower case, without the port that its scheme has anyway.
fn authority(host: &str, https: bool) -> String {
    let default = if https { ":443" } else { ":80" };
    host.strip_suffix(default).unwrap_or(host).to_ascii_lowercase()
}

fn append(key: &mut Vec<u8>, part: &[u8]) {
    key.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
    key.extend_from_slice(part);
}

fn append_optional(key: &mut Vec<u8>, part: Option<&str>) {
    match part {
        Some(part) => {
            key.push(1);
            append(key, part.as_bytes());
        }
        None => key.push(0),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn asked<'a>(headers: &'a HeaderMap, parts: &'a (String, String, Option<String>, Option<String>)) -> Asked<'a> {
        let (host, path, query, caller) = parts;
        let (query, caller) = (query.as_deref(), caller.as_deref());
        Asked { route: "r", https: false, host, path, query, caller, headers }
    }

    #[test]
    fn the_host_has_no_case_and_no_port_that_goes_without_saying() {
        let headers = HeaderMap::new();
        let of = |host: &str, https| {
            let host = Asked { route: "r", https, host, path: "/", query: None, caller: None, headers: &headers };
            (host.key(&[]), host.url())
        };
        assert_eq!(of("Example.com:80", false), of("example.com", false));
        assert_eq!(of("example.com:443", true), of("example.com", true));
        assert_ne!(of("example.com:443", false), of("example.com", false));
        assert_ne!(of("example.com", false).0, of("example.com", true).0);
    }

    #[test]
    fn an_empty_query_is_not_no_query_and_no_caller_is_no_empty_one() {
        let headers = HeaderMap::new();
        let of = |query, caller| {
            Asked { route: "r", https: false, host: "h", path: "/", query, caller, headers: &headers }.key(&[])
        };
        assert_ne!(of(Some(""), None), of(None, None));
        assert_ne!(of(None, Some("")), of(None, None));
        assert_ne!(of(Some("a"), None), of(None, Some("key:a")));
        assert_ne!(of(None, Some("key:a")), of(None, Some("token:a")));
    }

    proptest! {
        #[test]
        fn two_requests_that_differ_never_share_a_key(
            one in ("[a-c.]{1,4}", "/[a-c/]{0,4}", proptest::option::of("[a-c]{0,3}"), proptest::option::of("[a-c]{0,3}")),
            other in ("[a-c.]{1,4}", "/[a-c/]{0,4}", proptest::option::of("[a-c]{0,3}"), proptest::option::of("[a-c]{0,3}")),
        ) {
            let headers = HeaderMap::new();
            prop_assert_eq!(one == other, asked(&headers, &one).key(&[]) == asked(&headers, &other).key(&[]));
        }
    }
}
