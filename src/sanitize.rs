//! Sanitize: masks e-mail addresses, telephone numbers and the like in JSON bodies while they flow (row A3.04).
//!
//! It finds the string values of JSON without building a tree, reads their escapes (so that `\u0040` is an `@`), and
//! puts `***` in the place of what a rule finds. All other bytes stay as they are: keys, numbers, blanks, and strings
//! without a finding, to the letter. Valid JSON stays valid, and the outcome does not depend on how a body is cut
//! into chunks. In `text/event-stream` the data lines are read as JSON, event by event.
//!
//! What is held back is never more than one string, and of that no more than [`WINDOW`] bytes. The cost grows with the
//! length of the body alone.
//!
//! Not found: what is longer than [`OVERLAP`] bytes and lies across the edge of a window; what two strings, or two
//! events of a stream, have a part of each; what is encoded once more (Base64, `%40`, JSON within JSON within JSON);
//! bodies of other types; UTF-16 and UTF-32 that no `charset` tells of, for JSON is UTF-8 (RFC 8259, section 8.1).
//!
//! Plain bytes in and out. Who asks, and what becomes of headers, is not its matter.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};

use crate::config::sanitize::{Sanitize, Unmasked};
use events::Events;
use json::Json;

mod digits;
mod email;
mod events;
mod json;
mod rules;
mod value;

pub use value::{OVERLAP, WINDOW};

/// What a body is, as far as it can be masked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `application/json`, what ends in `+json`, and JSON texts line by line (`application/x-ndjson`).
    Json,
    /// `text/event-stream` whose data lines are JSON.
    Events,
}

/// What the header fields say about a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readable {
    /// It can be masked.
    As(Format),
    /// It is JSON that nobody here can read: compressed, a part of a whole, or in another charset.
    No,
    /// It is something else, and passes.
    Other,
}

/// The body is longer than may be masked, and the rules say to refuse it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLarge;

/// Masks one body, from its first chunk to its end.
pub struct Masker {
    set: Arc<Sanitize>,
    scanner: Scanner,
    /// Bytes that may still come; `None`: any number.
    left: Option<u64>,
    passing: bool,
    hits: Box<[u64]>,
}

enum Scanner {
    Json(Json),
    Events(Events),
}

impl Masker {
    /// For a body of this format.
    pub fn new(set: Arc<Sanitize>, format: Format) -> Self {
        let (scanner, left) = match format {
            Format::Json => (Scanner::Json(Json::default()), Some(set.max_body)),
            Format::Events => (Scanner::Events(Events::default()), None),
        };
        let hits = vec![0; set.rules.len()].into();
        Self { set, scanner, left, passing: false, hits }
    }

    /// Takes in a chunk and gives out what may go on. That may be nothing, and may be longer than the chunk.
    ///
    /// # Errors
    /// When the body is longer than the rules take, and they say to refuse it.
    pub fn push(&mut self, chunk: &[u8]) -> Result<Bytes, TooLarge> {
        let room = self.left.map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX));
        let mut out = Vec::with_capacity(chunk.len());
        if self.passing || chunk.len() > room {
            if self.set.on_too_large == Unmasked::Refuse {
                return Err(TooLarge);
            }
            let (within, beyond) = chunk.split_at_checked(room).unwrap_or((&[], chunk));
            self.scan(within, &mut out);
            self.end(&mut out);
            self.passing = true;
            self.left = Some(0);
            out.extend_from_slice(beyond);
            return Ok(out.into());
        }
        self.left = self.left.map(|left| left - chunk.len() as u64);
        self.scan(chunk, &mut out);
        Ok(out.into())
    }

    /// Gives out what was held back, at the end of the body.
    pub fn finish(&mut self) -> Bytes {
        let mut out = Vec::new();
        self.end(&mut out);
        out.into()
    }

    /// How often each rule of the set found something.
    pub fn hits(&self) -> &[u64] {
        &self.hits
    }

    /// Whether a part of the body passed as it was, because it was too long.
    pub fn passed_some(&self) -> bool {
        self.passing
    }

    /// The rules.
    pub fn set(&self) -> &Arc<Sanitize> {
        &self.set
    }

    fn scan(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let mut sink = Sink { rules: &self.set.rules, hits: &mut self.hits, out };
        match &mut self.scanner {
            Scanner::Json(json) => json.push(bytes, &mut sink),
            Scanner::Events(events) => events.push(bytes, &mut sink),
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        let mut sink = Sink { rules: &self.set.rules, hits: &mut self.hits, out };
        match &mut self.scanner {
            Scanner::Json(json) => json.end(&mut sink),
            Scanner::Events(events) => events.end(&mut sink),
        }
    }
}

/// Where scanned bytes go, and by which rules.
struct Sink<'a> {
    rules: &'a [crate::config::sanitize::Rule],
    hits: &'a mut [u64],
    out: &'a mut Vec<u8>,
}

/// What the fields of a message say about its body.
pub fn readable(headers: &HeaderMap) -> Readable {
    let mut media = headers.get_all(header::CONTENT_TYPE).iter().map(HeaderValue::as_bytes);
    let Some(first) = media.next() else { return Readable::Other };
    if media.next().is_some() {
        // Who knows which of them the reader takes.
        return Readable::No;
    }
    let media = first.to_ascii_lowercase();
    let mut parts = media.split(|&byte| byte == b';' || byte == b',').map(<[u8]>::trim_ascii);
    let format = match parts.next().unwrap_or_default() {
        b"text/event-stream" => Format::Events,
        b"application/json" | b"text/json" | b"application/x-ndjson" | b"application/jsonl" => Format::Json,
        other if other.ends_with(b"+json") => Format::Json,
        _ => return Readable::Other,
    };
    // Without one it is UTF-8 (RFC 8259, section 8.1). Of several, who knows which the reader takes.
    let utf8 = parts.filter_map(charset).all(|charset| matches!(charset, b"utf-8" | b"us-ascii"));
    let mut codings = headers.get_all(header::CONTENT_ENCODING).iter();
    let plain = codings.all(|coding| coding.is_empty() || coding.as_bytes().eq_ignore_ascii_case(b"identity"));
    if utf8 && plain && !headers.contains_key(header::CONTENT_RANGE) { Readable::As(format) } else { Readable::No }
}

/// The value of a parameter `charset`, in lower case as the parameter is. Readers take blanks around the `=`, too.
fn charset(parameter: &[u8]) -> Option<&[u8]> {
    let equals = parameter.iter().position(|&byte| byte == b'=')?;
    let (name, value) = (parameter.get(..equals)?.trim_ascii(), parameter.get(equals + 1..)?.trim_ascii());
    let inside = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
    (name == b"charset").then_some(inside)
}

/// A part of `bytes`; empty where there is none.
fn part(bytes: &[u8], from: usize, to: usize) -> &[u8] {
    bytes.get(from..to).unwrap_or_default()
}

#[cfg(test)]
mod tests;
