//! The values of `auth.cors`, which a route may override (row T30; the Fetch standard, section 3.2).
//!
//! What is the same for every answer is written here as a header value, once.

use std::collections::HashSet;

use http::HeaderValue;

/// Which pages of other origins may call, and what they may do and see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {
    /// The pages.
    pub origins: Origins,
    /// `Access-Control-Allow-Methods` of a preflight's answer.
    pub methods: HeaderValue,
    /// `Access-Control-Allow-Headers` of a preflight's answer; `None`: only those that need no permission.
    pub headers: Option<HeaderValue>,
    /// `Access-Control-Expose-Headers` of other answers; `None`: only those that every page may read.
    pub expose: Option<HeaderValue>,
    /// Whether cookies, HTTP authentication and client certificates may be sent along. Never with [`Origins::Any`].
    pub credentials: bool,
    /// `Access-Control-Max-Age`, in seconds, 0 to 86400.
    pub max_age: HeaderValue,
    /// Whether pages of public networks may call into this one's.
    pub private_network: bool,
}

/// A set of origins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// `*`: every page, sandboxed ones too.
    Any,
    /// These.
    Listed {
        /// `scheme://host[:port]` in lower case, or `null`.
        exact: HashSet<Box<str>>,
        /// `https://*.example.com`: any name below a domain.
        below: Vec<Below>,
    },
}

/// The origins of all names below a domain, but not of the domain itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Below {
    /// With its slashes: `https://`.
    pub scheme: Box<str>,
    /// With its dot, and its port if it has one: `.example.com:8443`.
    pub domain: Box<str>,
}

impl Origins {
    /// Whether pages of `origin`, as a browser writes it, are among them. Compared byte for byte, as browsers do.
    pub fn contain(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Listed { exact, below } => exact.contains(origin) || below.iter().any(|below| below.contains(origin)),
        }
    }
}

impl Below {
    fn contains(&self, origin: &str) -> bool {
        let name = origin.strip_prefix(&*self.scheme).and_then(|rest| rest.strip_suffix(&*self.domain));
        // Nothing but labels may stand before the domain: `https://evil.test:1.example.com` is no name below it.
        let is_label = |label: &str| !label.is_empty() && label.bytes().all(is_label_byte);
        name.is_some_and(|name| name.split('.').all(is_label))
    }
}

/// Whether `byte` may stand in a label of a host name as browsers write it.
pub(super) fn is_label_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed() -> Origins {
        let below = |domain: &str| Below { scheme: "https://".into(), domain: domain.into() };
        Origins::Listed {
            exact: HashSet::from(["https://console.example.com".into(), "http://localhost:3000".into()]),
            below: vec![below(".example.org"), below(".example.net:8443")],
        }
    }

    #[test]
    fn only_the_very_origin_is_taken() {
        for origin in ["https://console.example.com", "http://localhost:3000"] {
            assert!(listed().contain(origin), "{origin}");
        }
        for origin in [
            "",
            "null",
            "*",
            "http://console.example.com",
            "https://console.example.com:444",
            "https://console.example.com.evil.test",
            "https://console.example.com/",
            "https://Console.example.com",
            "https://a.console.example.com",
            "http://localhost",
        ] {
            assert!(!listed().contain(origin), "{origin}");
        }
    }

    #[test]
    fn a_wildcard_takes_names_below_and_nothing_that_looks_like_them() {
        for origin in ["https://a.example.org", "https://a.b.example.org", "https://a-1.example.net:8443"] {
            assert!(listed().contain(origin), "{origin}");
        }
        for origin in [
            "https://example.org",
            "https://.example.org",
            "https://a..example.org",
            "https://evilexample.org",
            "http://a.example.org",
            "https://a.example.org:8443",
            "https://a.example.net",
            "https://evil.test:1.example.org",
            "https://evil.test/.example.org",
            "https://evil.test@a.example.org",
            "https://evil.test#.example.org",
        ] {
            assert!(!listed().contain(origin), "{origin}");
        }
    }

    #[test]
    fn any_takes_all_of_them() {
        assert!(Origins::Any.contain("null") && Origins::Any.contain("https://x.test"));
    }
}
