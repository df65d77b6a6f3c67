//! URLs of what is asked over HTTP: where it is, and the path that all of its own paths are below.

use http::HeaderValue;

use super::address::{self, MemberText};
use super::{Wrong, quote};
use crate::config::MemberAddress;

/// The longest URL, in bytes.
const MAX_URL: usize = 2048;

/// An `http` or `https` URL without a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) struct BaseUrl {
    /// Whether it is `https`.
    pub(in crate::config) tls: bool,
    /// Where it is.
    pub(in crate::config) address: MemberAddress,
    /// `host:port`, with the port that the scheme brings.
    pub(in crate::config) name: String,
    /// The Host field: without a port that goes without saying.
    pub(in crate::config) host: HeaderValue,
    /// Without a `/` at its end; empty where the URL has none, or just that.
    pub(in crate::config) path: String,
}

/// `https://api.example.com/v1`. No message shows more of a URL that may hold a password than that.
pub(in crate::config) fn base_url(text: &str) -> Result<BaseUrl, Wrong> {
    let expected = "one such as https://api.example.com/v1";
    let after_scheme = text.split_once("://").map_or(text, |(_, rest)| rest);
    let (authority, path) = after_scheme.split_at(after_scheme.find(['/', '?', '#']).unwrap_or(after_scheme.len()));
    if authority.contains('@') {
        // Not quoted: it holds a password.
        return Err(Wrong::new("a URL has no user name or password here").expected(expected));
    }
    if path.contains(['?', '#']) {
        // Not quoted: a query may hold a key.
        return Err(Wrong::new("the URL has a query or a fragment").expected(expected).hint("leave it out"));
    }
    let wrong = || Wrong::not(text, "an http or https URL").expected(expected);
    if text.len() > MAX_URL {
        return Err(wrong());
    }
    let (tls, port) = match text.split_once("://") {
        Some(("https", _)) => (true, 443),
        Some(("http", _)) => (false, 80),
        Some((scheme, _)) => return Err(Wrong::new(format!("{} is no scheme here", quote(scheme))).expected(expected)),
        None => return Err(wrong().hint(format!("did you mean https://{text}?"))),
    };
    let bare = without_port(authority);
    let authority = authority.to_ascii_lowercase();
    let with_port = if bare { format!("{authority}:{port}") } else { authority.clone() };
    if authority.is_empty() || authority.starts_with("unix:") {
        return Err(wrong());
    }
    let MemberText { address, name, .. } =
        address::member(&with_port).map_err(|found| Wrong { hint: found.hint, ..wrong() })?;
    let usual = format!(":{port}");
    let host = HeaderValue::from_str(name.strip_suffix(&usual).unwrap_or(&name)).map_err(|_| wrong())?;
    let path = path.strip_suffix('/').unwrap_or(path);
    if !path.is_empty() {
        address::path(path).map_err(|reason| wrong().hint(reason))?;
    }
    Ok(BaseUrl { tls, address, name, host, path: path.to_owned() })
}

/// Whether `authority` names no port: an IPv6 address stands in brackets.
fn without_port(authority: &str) -> bool {
    let after = authority.rfind(']').and_then(|end| authority.get(end..)).unwrap_or(authority);
    !after.contains(':')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (bool, String, String, String) {
        let url = base_url(text).unwrap_or_else(|wrong| panic!("{text}: {}", wrong.message));
        (url.tls, url.name, url.host.to_str().unwrap().to_owned(), url.path)
    }

    fn made((tls, name, host, path): (bool, &str, &str, &str)) -> (bool, String, String, String) {
        (tls, name.to_owned(), host.to_owned(), path.to_owned())
    }

    #[test]
    fn a_url_says_where_something_is_and_below_which_path() {
        for (text, expected) in [
            ("https://api.openai.com/v1", (true, "api.openai.com:443", "api.openai.com", "/v1")),
            ("https://API.OpenAI.com/v1/", (true, "api.openai.com:443", "api.openai.com", "/v1")),
            ("http://10.0.0.1:9001", (false, "10.0.0.1:9001", "10.0.0.1:9001", "")),
            ("http://[::1]/a/b", (false, "[::1]:80", "[::1]", "/a/b")),
            ("https://[fd00::1]:8443/", (true, "[fd00::1]:8443", "[fd00::1]:8443", "")),
            ("http://host:443", (false, "host:443", "host:443", "")),
            ("https://host:443", (true, "host:443", "host", "")),
        ] {
            assert_eq!(parts(text), made(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_such_url_is_refused() {
        for text in [
            "",
            "api.openai.com",
            "ftp://host/",
            "https://",
            "https:///v1",
            "https://host:0",
            "https://host:x",
            "https://ho st",
            "https://host/a b",
            "https://host/../x",
            "https://host//x",
            "https://unix:/run/x.sock",
            "https://fd00::1/",
            "https://host:99999",
            "HTTPS://host",
            "https://host/\u{e9}",
            "https://h\u{e9}/",
        ] {
            assert!(base_url(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_password_or_a_key_in_a_url_is_refused_and_not_shown() {
        for text in
            ["https://me:hunter2@host/v1", "https://host/v1?key=hunter2", "hunter2@host", "https://host#hunter2"]
        {
            let wrong = base_url(text).unwrap_err();
            assert!(!format!("{wrong:?}").contains("hunter2"), "{wrong:?}");
        }
    }
}
