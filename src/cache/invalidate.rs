//! Which URLs an unsafe request makes unusable (RFC 9111, section 4.4).

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::key::url;
use crate::route::NormalPath;

/// Where an unsafe request went.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Host and port, as they came.
    pub host: &'a str,
    /// Whether the client came over https.
    pub https: bool,
    /// The path, in normal form.
    pub path: &'a str,
    /// The query.
    pub query: Option<&'a str>,
}

/// Whether an answer of `status` to a request by `method` says that something has changed.
pub fn changes(method: &Method, status: StatusCode) -> bool {
    !method.is_safe() && (status.is_success() || status.is_redirection())
}

/// The URLs to invalidate: the one asked for, and those of Location and Content-Location on the same host.
pub fn targets(place: &Place<'_>, answer: &HeaderMap) -> Vec<String> {
    let own = url(place.host, place.https, place.path, place.query);
    let fields = [header::LOCATION, header::CONTENT_LOCATION];
    let named = fields.iter().filter_map(|name| answer.get(name)).filter_map(|value| resolve(place, value));
    std::iter::once(own).chain(named).collect()
}

/// The URL that `reference` names from `place`, if it is of the same host.
fn resolve(place: &Place<'_>, reference: &HeaderValue) -> Option<String> {
    let reference = reference.to_str().ok()?.split('#').next()?.trim();
    let (host, https, rest) = match reference.split_once("//") {
        Some((scheme @ ("" | "http:" | "https:"), rest)) => {
            let https = if scheme.is_empty() { place.https } else { scheme == "https:" };
            let end = rest.find(['/', '?']).unwrap_or(rest.len());
            let (host, rest) = rest.split_at(end);
            (host, https, rest)
        }
        _ => (place.host, place.https, reference),
    };
    let origin = |host: &str, https| url(host, https, "", None);
    if origin(host, https) != origin(place.host, place.https) {
        return None;
    }
    let (path, query) = rest.split_once('?').map_or((rest, None), |(path, query)| (path, Some(query)));
    let joined = match path {
        "" if rest.is_empty() && reference.is_empty() => place.path.to_owned(),
        "" if host == place.host && query.is_some() && reference.starts_with('?') => place.path.to_owned(),
        "" => "/".to_owned(),
        path if path.starts_with('/') => path.to_owned(),
        path => {
            let folder = place.path.rsplit_once('/').map_or("", |(folder, _)| folder);
            format!("{folder}/{path}")
        }
    };
    let normal = NormalPath::parse(&joined).ok()?;
    Some(url(place.host, place.https, normal.forward(), query))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_invalidates_its_url_and_those_it_names_on_the_same_host() {
        let place = Place { host: "H.example:8080", https: false, path: "/a/b", query: Some("q=1") };
        for (location, expected) in [
            ("/x", Some("//h.example:8080/x")),
            ("x?y=1#z", Some("//h.example:8080/a/x?y=1")),
            ("../x", Some("//h.example:8080/x")),
            ("?y", Some("//h.example:8080/a/b?y")),
            ("http://h.EXAMPLE:8080/x", Some("//h.example:8080/x")),
            ("//h.example:8080", Some("//h.example:8080/")),
            ("http://h.example/x", None),
            ("http://other:8080/x", None),
            ("mailto:a", Some("//h.example:8080/a/mailto:a")),
        ] {
            let mut answer = HeaderMap::new();
            answer.insert(header::LOCATION, HeaderValue::from_str(location).unwrap());
            let targets = targets(&place, &answer);
            assert_eq!(targets.first().map(String::as_str), Some("//h.example:8080/a/b?q=1"));
            assert_eq!(targets.get(1).map(String::as_str), expected, "{location}");
        }
    }

    #[test]
    fn only_what_succeeds_and_is_unsafe_changes_something() {
        assert!(changes(&Method::POST, StatusCode::OK) && changes(&Method::DELETE, StatusCode::SEE_OTHER));
        assert!(changes(&Method::from_bytes(b"M-SEARCH").unwrap(), StatusCode::OK));
        assert!(!changes(&Method::GET, StatusCode::OK) && !changes(&Method::OPTIONS, StatusCode::OK));
        assert!(!changes(&Method::PUT, StatusCode::NOT_FOUND) && !changes(&Method::PUT, StatusCode::BAD_GATEWAY));
    }
}
