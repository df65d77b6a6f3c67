//! A stored answer, and whether it serves a request.

use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::control::RequestControl;
use super::freshness::{Freshness, Verdict, date};
use crate::observe::metrics::Held;

/// Fields that are never stored, beside those of the connection (RFC 9111, section 3.1).
const NEVER_STORED: [HeaderName; 4] = [
    header::PROXY_AUTHENTICATE,
    HeaderName::from_static("proxy-authentication-info"),
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("x-cache-status"),
];
/// Bytes that an entry costs beside its body, its fields and its key.
const OVERHEAD: usize = 512;
/// Bytes that a field costs beside its name and value.
const PER_FIELD: usize = 64;
/// Tags of one answer, at most; more are not told apart from none.
const MAX_TAGS: usize = 256;

/// The header block of an answer, ready to be stored and sent.
#[derive(Debug, Clone)]
pub struct Head {
    /// Its status.
    pub status: StatusCode,
    /// Its reason phrase, when it is not the usual one.
    pub reason: Option<Box<str>>,
    /// Its fields, without those of the connection.
    pub headers: HeaderMap,
    /// When it was complete.
    pub received: Instant,
    /// The same by the wall clock.
    pub received_wall: SystemTime,
}

/// A stored answer.
pub struct Stored {
    /// Its header block.
    pub head: Head,
    /// Its whole body.
    pub body: Bytes,
    /// The URL it answers, as purges name it.
    pub url: Box<str>,
    /// What it may be purged by.
    pub tags: Vec<Box<str>>,
    /// How long it serves.
    pub freshness: Freshness,
    /// When a member made it, by its Date.
    pub date: Option<SystemTime>,
    /// The state of the store when its fetch began.
    pub(super) sequence: u64,
    /// The number of purges when its fetch began.
    pub(super) purges: u64,
    /// Counts it as held.
    pub(super) held: Option<Held>,
}

impl Head {
    /// Makes the fields what may be stored of them. A missing Date is filled in (RFC 9110, section 6.6.1).
    pub fn prepare(&mut self, freshness: &Freshness) {
        self.take_out_personal(&freshness.unstored);
        if !self.headers.contains_key(header::DATE)
            && let Ok(date) = HeaderValue::from_str(&httpdate::fmt_http_date(self.received_wall))
        {
            self.headers.insert(header::DATE, date);
        }
        // How the body is delimited is decided when it is sent.
        self.headers.remove(header::TRANSFER_ENCODING);
        self.headers.remove(header::CONTENT_LENGTH);
        self.headers.remove(header::AGE);
    }
}

impl Head {
    /// Takes out what is for the one who asked alone: what is never stored, cookies that are not stored on purpose, and the
    /// `unstored` fields that the answer names.
    pub fn take_out_personal(&mut self, unstored: &[HeaderName]) {
        for name in NEVER_STORED.iter().chain(unstored) {
            self.headers.remove(name);
        }
    }
}

impl Stored {
    /// An answer that is not stored yet.
    pub fn new(head: Head, body: Bytes, url: Box<str>, tags: Vec<Box<str>>, freshness: Freshness) -> Self {
        let date = date(&head.headers, &header::DATE);
        Self { head, body, url, tags, freshness, date, sequence: 0, purges: 0, held: None }
    }

    /// How old it is.
    pub fn age(&self, now: Instant) -> Duration {
        self.freshness.initial_age + now.saturating_duration_since(self.head.received)
    }

    /// Whether it serves a request that asks so (RFC 9111, section 4).
    pub fn verdict(&self, asked: &RequestControl, now: Instant) -> Verdict {
        self.freshness.verdict(self.age(now), asked)
    }

    /// Whether it serves in the place of an error: no answer at all (`disconnected`), or one of a member.
    pub fn serves_on_error(&self, disconnected: bool, now: Instant) -> bool {
        self.freshness.serves_on_error(self.age(now), disconnected)
    }

    /// The bytes it costs, without its key.
    pub fn weight(&self) -> usize {
        let fields = self.head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + PER_FIELD);
        let tags = self.tags.iter().map(|tag| tag.len() + 16);
        OVERHEAD + self.body.len() + self.url.len() + fields.sum::<usize>() + tags.sum::<usize>()
    }
}

/// The tags in the fields `names` of an answer, separated by blanks or commas.
pub fn tags(headers: &HeaderMap, names: &[HeaderName]) -> Vec<Box<str>> {
    let values = names.iter().flat_map(|name| headers.get_all(name));
    let texts = values.filter_map(|value| value.to_str().ok());
    let tags = texts.flat_map(|text| text.split([' ', ',', '\t'])).filter(|tag| !tag.is_empty());
    tags.take(MAX_TAGS).map(Box::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn stored(lifetime: u64, age: u64, while_revalidate: u64, no_stale: bool) -> (Stored, Instant) {
        let now = clock::now();
        let head = Head {
            status: StatusCode::OK,
            reason: None,
            headers: HeaderMap::new(),
            received: now,
            received_wall: clock::wall(),
        };
        let freshness = Freshness {
            lifetime: Duration::from_secs(lifetime),
            initial_age: Duration::from_secs(age),
            no_stale,
            while_revalidate: Duration::from_secs(while_revalidate),
            if_error: Duration::from_secs(5),
            if_disconnected: Duration::from_secs(60),
            unstored: Vec::new(),
        };
        let (url, tags, body) = ("//h/".into(), Vec::new(), Bytes::new());
        (Stored::new(head, body, url, tags, freshness), now)
    }

    #[test]
    fn a_request_may_ask_for_more_or_for_less() {
        let asks = RequestControl::default();
        let stale = Verdict::Stale { refresh: true };
        for (lifetime, age, asked, verdict) in [
            (60, 0, asks, Verdict::Fresh),
            (60, 60, asks, Verdict::Validate),
            (60, 0, RequestControl { no_cache: true, ..asks }, Verdict::Validate),
            (60, 10, RequestControl { max_age: Some(10), ..asks }, Verdict::Fresh),
            (60, 10, RequestControl { max_age: Some(9), ..asks }, Verdict::Validate),
            (60, 10, RequestControl { min_fresh: Some(50), ..asks }, Verdict::Fresh),
            (60, 10, RequestControl { min_fresh: Some(51), ..asks }, Verdict::Validate),
            (60, 70, RequestControl { max_stale: Some(10), ..asks }, stale),
            (60, 71, RequestControl { max_stale: Some(10), ..asks }, Verdict::Validate),
            (60, 9999, RequestControl { max_stale: Some(u64::MAX), ..asks }, stale),
            (60, 9999, RequestControl { max_stale: Some(u64::MAX), max_age: Some(1), ..asks }, Verdict::Validate),
        ] {
            let (stored, now) = stored(lifetime, age, 0, false);
            assert_eq!(stored.verdict(&asked, now), verdict, "{lifetime} {age} {asked:?}");
        }
    }

    #[test]
    fn stale_answers_serve_within_their_window_and_never_when_forbidden() {
        let asks = RequestControl::default();
        let verdict = |age, forbidden| {
            let (stored, now) = stored(60, age, 10, forbidden);
            stored.verdict(&asks, now)
        };
        assert_eq!(verdict(69, false), Verdict::Stale { refresh: true });
        assert_eq!(verdict(70, false), Verdict::Validate);
        assert_eq!(verdict(61, true), Verdict::Validate);
        let serves = |age, forbidden, disconnected| {
            let (stored, now) = stored(60, age, 0, forbidden);
            stored.serves_on_error(disconnected, now)
        };
        assert!(serves(64, false, false) && !serves(65, false, false) && serves(119, false, true));
        assert!(!serves(120, false, true) && !serves(61, true, true));
    }

    #[test]
    fn tags_stand_apart_by_blanks_and_commas() {
        let mut headers = HeaderMap::new();
        headers.append("cache-tag", HeaderValue::from_static("a, b,c"));
        headers.append("xkey", HeaderValue::from_static("d  e"));
        let names = [HeaderName::from_static("cache-tag"), HeaderName::from_static("xkey")];
        assert_eq!(tags(&headers, &names), ["a", "b", "c", "d", "e"].map(Box::from));
    }
}
