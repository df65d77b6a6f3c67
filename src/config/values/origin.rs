//! Origins of pages, as `cors` lists them.

use std::net::Ipv6Addr;

use super::Wrong;
use crate::config::cors::{Below, is_label_byte};

/// One entry of a list of origins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) enum OriginPattern {
    /// `*`.
    Any,
    /// `null`: sandboxed frames, files, and whoever else hides where a page is from.
    Null,
    /// One origin, in lower case.
    Exact(Box<str>),
    /// Names below a domain.
    Below(Below),
}

/// `https://app.example.com`, `http://localhost:3000`, `https://*.example.com`, `null` or `*`.
pub(in crate::config) fn origin(text: &str) -> Result<OriginPattern, Wrong> {
    let wrong = || {
        Wrong::not(text, "an origin")
            .expected("scheme, host and, if it is not the usual one, port: https://app.example.com")
    };
    match text {
        "*" => return Ok(OriginPattern::Any),
        "null" => return Ok(OriginPattern::Null),
        _ => {}
    }
    let lower = text.to_ascii_lowercase();
    let Some((scheme, rest)) = lower.split_once("://") else {
        return Err(wrong().hint(format!("did you mean https://{lower}?")));
    };
    if let Some((origin, _)) = rest.split_once('/') {
        return Err(wrong().hint(format!("an origin has no path: {scheme}://{origin}")));
    }
    if !rest.is_ascii() {
        return Err(wrong().hint("write the host as browsers send it: in punycode, xn--..."));
    }
    let (host, port) = split_port(rest).ok_or_else(wrong)?;
    if !is_scheme(scheme) || !is_host(host.strip_prefix("*.").unwrap_or(host)) {
        return Err(wrong());
    }
    if matches!((scheme, port), ("http", Some("80")) | ("https", Some("443"))) {
        return Err(wrong().hint(format!("browsers leave the usual port out: {scheme}://{host}")));
    }
    Ok(match rest.strip_prefix('*') {
        Some(domain) => {
            OriginPattern::Below(Below { scheme: format!("{scheme}://").into(), domain: domain.to_owned().into() })
        }
        None => OriginPattern::Exact(lower.into()),
    })
}

/// Host and port; `None` when what stands for the port is none.
fn split_port(text: &str) -> Option<(&str, Option<&str>)> {
    let after_brackets = text.rfind(']').map_or(0, |end| end + 1);
    let Some((before, port)) = text.get(after_brackets..)?.split_once(':') else { return Some((text, None)) };
    let sound = !port.is_empty() && !port.starts_with('0') && port.parse::<u16>().is_ok();
    sound.then_some((text.get(..after_brackets + before.len())?, Some(port)))
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte))
}

fn is_host(text: &str) -> bool {
    if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return inner.parse::<Ipv6Addr>().is_ok();
    }
    text.len() <= 253 && text.split('.').all(|label| !label.is_empty() && label.bytes().all(is_label_byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_read_as_browsers_write_them() {
        for (text, origin) in [
            ("https://app.example.com", "https://app.example.com"),
            ("HTTPS://App.Example.COM:8443", "https://app.example.com:8443"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("http://[::1]:3000", "http://[::1]:3000"),
            ("http://[::1]", "http://[::1]"),
            ("capacitor://localhost", "capacitor://localhost"),
            ("chrome-extension://abcdefgh", "chrome-extension://abcdefgh"),
        ] {
            assert_eq!(super::origin(text), Ok(OriginPattern::Exact(origin.into())), "{text}");
        }
        assert_eq!(origin("*"), Ok(OriginPattern::Any));
        assert_eq!(origin("null"), Ok(OriginPattern::Null));
        let below = Below { scheme: "https://".into(), domain: ".example.com:8443".into() };
        assert_eq!(origin("https://*.Example.com:8443"), Ok(OriginPattern::Below(below)));
    }

    #[test]
    fn what_no_browser_would_send_is_refused_with_what_was_meant() {
        for (text, hint) in [
            ("app.example.com", Some("did you mean https://app.example.com?")),
            ("https://app.example.com/", Some("an origin has no path: https://app.example.com")),
            ("https://app.example.com/login", Some("an origin has no path: https://app.example.com")),
            ("https://app.example.com:443", Some("browsers leave the usual port out: https://app.example.com")),
            ("http://*.example.com:80", Some("browsers leave the usual port out: http://*.example.com")),
            ("https://bücher.example", Some("write the host as browsers send it: in punycode, xn--...")),
            ("https://", None),
            ("://x", None),
            ("https://*", None),
            ("https://*example.com", None),
            ("https://a.*.com", None),
            ("https://a b", None),
            ("https://user@host", None),
            ("https://host:", None),
            ("https://host:0", None),
            ("https://host:70000", None),
            ("https://host:*", None),
            ("https://[::x]", None),
        ] {
            let wrong = origin(text).expect_err(text);
            assert_eq!(wrong.hint.as_deref(), hint, "{text}");
        }
    }
}
