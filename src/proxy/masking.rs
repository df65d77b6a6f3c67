//! Masking, as the proxy does it: which bodies of a request are masked, what becomes of the fields that describe them,
//! and what is counted.
//!
//! **Invariant:** where rules stand, a JSON body is masked, refused, or counted as one that passed.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::rejection::Rejection;
use crate::config;
use crate::config::audit::EventKind;
use crate::config::sanitize::Unmasked;
use crate::observe::audit::{Audit, Event};
use crate::observe::metrics::{Direction, Unsanitized};
use crate::observe::trace::RequestId;
use crate::sanitize::{Format, Masker, Readable, TooLarge, readable};
use crate::snapshot::SanitizeState;

/// Fields that hold a digest of the body as it was.
const DIGESTS: [HeaderName; 4] = [
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
];

/// How the bodies of one request are masked.
pub struct Masking {
    state: Arc<SanitizeState>,
    request: Option<Format>,
    teller: Teller,
}

/// Who is told of what was masked, and in which request that was.
#[derive(Clone)]
pub struct Teller {
    /// The audit log.
    pub audit: Arc<Audit>,
    /// The client.
    pub client: IpAddr,
    /// The request.
    pub request_id: RequestId,
    /// Its route.
    pub route: Arc<config::Route>,
}

/// One body on its way.
pub struct Mask {
    masker: Masker,
    state: Arc<SanitizeState>,
    direction: Direction,
    teller: Teller,
}

impl Masking {
    /// For a request with these fields.
    ///
    /// # Errors
    /// When its body cannot be masked, and the rules say to refuse it then.
    pub fn begin(
        state: &Arc<SanitizeState>,
        request: &HeaderMap,
        has_body: bool,
        teller: Teller,
    ) -> Result<Self, Rejection> {
        let mut masking = Self { state: Arc::clone(state), request: None, teller };
        if has_body && state.config.request {
            let judged = masking.judge(request, Direction::Request);
            masking.request = judged.map_err(|why| match why {
                Unsanitized::TooLarge => Rejection::PayloadTooLarge,
                Unsanitized::Unreadable => Rejection::UnreadableBody,
            })?;
        }
        Ok(masking)
    }

    /// The masking of the request's body, if it is to be. One that is `empty` after all stays as it is.
    pub fn request(&mut self, empty: bool) -> Option<Box<Mask>> {
        self.request = self.request.filter(|_| !empty);
        self.request.map(|format| self.mask(format, Direction::Request))
    }

    /// The fields of the request as they fit what is done: the answer must be readable, and whole.
    pub fn change_request(&self, headers: &mut HeaderMap) {
        if self.request.is_some() {
            headers.remove(header::CONTENT_LENGTH);
            headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            DIGESTS.iter().for_each(|name| drop(headers.remove(name)));
        }
        if self.state.config.response {
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
            headers.remove(header::RANGE);
            headers.remove(header::IF_RANGE);
        }
    }

    /// The masking of an answer with these fields, if its body is to be.
    ///
    /// # Errors
    /// When it cannot be, and the rules say to refuse it then.
    pub fn answer(&self, answer: &HeaderMap) -> Result<Option<Box<Mask>>, Rejection> {
        if !self.state.config.response {
            return Ok(None);
        }
        let judged = self.judge(answer, Direction::Response).map_err(|_| Rejection::UnmaskableAnswer)?;
        Ok(judged.map(|format| self.mask(format, Direction::Response)))
    }

    /// The fields of an answer as they fit its body.
    pub fn change_answer(headers: &mut HeaderMap, status: StatusCode) {
        DIGESTS.iter().for_each(|name| drop(headers.remove(name)));
        headers.remove(header::ACCEPT_RANGES);
        if !status.is_informational() && status != StatusCode::NO_CONTENT {
            headers.remove(header::CONTENT_LENGTH);
        }
        // The same resource, but not the same bytes (RFC 9110, section 8.8.1).
        if let Some(tag) = headers.get(header::ETAG).filter(|tag| !tag.as_bytes().starts_with(b"W/"))
            && let Ok(weak) = HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat())
        {
            headers.insert(header::ETAG, weak);
        }
    }

    /// Whether the body of an answer with these fields is masked here, or would be if it were sent along.
    pub fn changes(&self, answer: &HeaderMap, status: StatusCode) -> bool {
        let readable = matches!(readable(answer), Readable::As(_)) && !self.is_too_large(answer);
        self.state.config.response && (readable || status == StatusCode::NOT_MODIFIED)
    }

    fn judge(&self, headers: &HeaderMap, direction: Direction) -> Result<Option<Format>, Unsanitized> {
        let (why, policy) = match readable(headers) {
            Readable::Other => return Ok(None),
            Readable::As(Format::Json) if self.is_too_large(headers) => {
                (Unsanitized::TooLarge, self.state.config.on_too_large)
            }
            Readable::As(format) => return Ok(Some(format)),
            Readable::No => (Unsanitized::Unreadable, self.state.config.on_unreadable),
        };
        if policy == Unmasked::Refuse {
            return Err(why);
        }
        self.state.metrics.passed(why, direction);
        Ok(None)
    }

    fn is_too_large(&self, headers: &HeaderMap) -> bool {
        let json = matches!(readable(headers), Readable::As(Format::Json));
        let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        json && length.is_some_and(|length| length > self.state.config.max_body)
    }

    fn mask(&self, format: Format, direction: Direction) -> Box<Mask> {
        let masker = Masker::new(Arc::clone(&self.state.config), format);
        Box::new(Mask { masker, state: Arc::clone(&self.state), direction, teller: self.teller.clone() })
    }
}

impl Mask {
    /// What may go on after this chunk; it may be nothing.
    ///
    /// # Errors
    /// When the body is longer than may be masked, and is refused then.
    pub fn push(&mut self, chunk: &[u8]) -> Result<Bytes, TooLarge> {
        self.masker.push(chunk)
    }

    /// What is left at the end of the body.
    pub fn finish(&mut self) -> Bytes {
        self.masker.finish()
    }
}

impl Drop for Mask {
    /// What was masked is told here, once for a body, however it ended.
    fn drop(&mut self) {
        for (found, count) in self.state.found.iter().zip(self.masker.hits()).filter(|(_, count)| **count > 0) {
            found.add(self.direction, *count);
        }
        let count: u64 = self.masker.hits().iter().sum();
        if count > 0 {
            let teller = &self.teller;
            teller.audit.record(&Event {
                client: Some(teller.client),
                request_id: Some(teller.request_id.as_str()),
                route: Some(&teller.route.name),
                action: Some(self.direction.as_str()),
                target: Some(&self.state.config.name),
                count: Some(count),
                ..Event::new(EventKind::SanitizationApplied, true)
            });
        }
        if self.masker.passed_some() {
            self.state.metrics.passed(Unsanitized::TooLarge, self.direction);
        }
    }
}
