//! One string value: held back until it ends or fills a window, read without its escapes, and written with what the
//! rules found covered.

use super::rules::{Span, find};
use super::{Sink, part};

/// The most of a string that is held back, in bytes of the body.
pub const WINDOW: usize = 16 * 1024;

/// How much of a window is looked at again with the next one, in bytes of text. What a rule finds and is no longer than
/// this is found wherever it stands.
pub const OVERLAP: usize = 1024;

/// A string value in the making.
#[derive(Default)]
pub(super) struct Value {
    raw: Vec<u8>,
    reading: Reading,
}

/// A piece of a string as it is meant.
#[derive(Default)]
struct Reading {
    text: Vec<u8>,
    escapes: Vec<Escape>,
    spans: Vec<Span>,
}

/// Where an escape stands in text and body, and how long it is in both.
#[derive(Debug, Clone, Copy)]
struct Escape {
    text: usize,
    text_len: usize,
    raw: usize,
    raw_len: usize,
}

impl Value {
    /// Takes in more of the inside of the string.
    pub(super) fn push(&mut self, mut bytes: &[u8], sink: &mut Sink<'_>) {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at_checked(WINDOW - self.raw.len()).unwrap_or((bytes, &[]));
            self.raw.extend_from_slice(now);
            bytes = later;
            // By what is held, not by what came: so the chunks of a body have no part in the outcome.
            if self.raw.len() == WINDOW {
                let done = self.reading.write(&self.raw, false, sink);
                self.raw.drain(..done.clamp(1, WINDOW));
            }
        }
    }

    /// The string is complete with `last`.
    pub(super) fn end(&mut self, last: &[u8], sink: &mut Sink<'_>) {
        if self.raw.is_empty() && last.len() < WINDOW {
            self.reading.write(last, true, sink);
            return;
        }
        self.push(last, sink);
        self.reading.write(&self.raw, true, sink);
        self.raw.clear();
    }
}

impl Reading {
    /// Writes `raw`, masked, and says how much of it. All of it when it is the `last` of its string; else what comes
    /// is needed to judge the rest.
    fn write(&mut self, raw: &[u8], last: bool, sink: &mut Sink<'_>) -> usize {
        self.escapes.clear();
        self.text.clear();
        let whole = if memchr::memchr(b'\\', raw).is_some() { self.unescape(raw, last) } else { raw.len() };
        let text = if self.escapes.is_empty() { part(raw, 0, whole) } else { &self.text };
        find(sink.rules, text, &mut self.spans);
        let limit = if last { text.len() } else { limit(text, &self.spans) };
        let mut at = 0;
        for span in self.spans.iter().filter(|span| span.end <= limit) {
            let start = self.raw_at(span.start, false);
            sink.out.extend_from_slice(part(raw, at, start));
            if let Some(rule) = sink.rules.get(span.rule) {
                sink.out.extend_from_slice(&rule.replace);
            }
            if let Some(hits) = sink.hits.get_mut(span.rule) {
                *hits += 1;
            }
            at = self.raw_at(span.end, true);
        }
        let end = if last { raw.len() } else { self.raw_at(limit, true) };
        sink.out.extend_from_slice(part(raw, at, end));
        end
    }

    /// Reads the escapes of `raw`, and says up to where: one that is cut is left for the next window.
    fn unescape(&mut self, raw: &[u8], last: bool) -> usize {
        let mut at = 0;
        while let Some(skip) = memchr::memchr(b'\\', part(raw, at, raw.len())) {
            self.text.extend_from_slice(part(raw, at, at + skip));
            at += skip;
            let Some((meant, raw_len)) = escape(part(raw, at, raw.len()), last) else { return at };
            let mut buffer = [0; 4];
            let meant = meant.encode_utf8(&mut buffer).as_bytes();
            self.escapes.push(Escape { text: self.text.len(), text_len: meant.len(), raw: at, raw_len });
            self.text.extend_from_slice(meant);
            at += raw_len;
        }
        self.text.extend_from_slice(part(raw, at, raw.len()));
        raw.len()
    }

    /// Where in the body the text at `offset` stands; in the middle of an escape, where that ends or begins.
    fn raw_at(&self, offset: usize, up: bool) -> usize {
        let before = self.escapes.partition_point(|escape| escape.text < offset);
        let Some(escape) = before.checked_sub(1).and_then(|index| self.escapes.get(index)) else { return offset };
        match offset.checked_sub(escape.text + escape.text_len) {
            Some(beyond) => escape.raw + escape.raw_len + beyond,
            None if up => escape.raw + escape.raw_len,
            None => escape.raw,
        }
    }
}

/// Up to where a window can be judged: what begins after it may go on beyond the window. At least half of it, so that
/// each byte is looked at a bounded number of times.
fn limit(text: &[u8], spans: &[Span]) -> usize {
    let mut limit = text.len().saturating_sub(OVERLAP);
    if let Some(span) = spans.iter().find(|span| span.start < limit && span.end > limit) {
        return if span.start >= text.len() / 2 { span.start } else { span.end };
    }
    while limit > text.len() / 2 && text.get(limit).is_some_and(|byte| byte & 0xC0 == 0x80) {
        limit -= 1;
    }
    limit
}

/// The escape that `raw` begins with: what it means, and its length. What is none stands for its backslash. `None`: it
/// is cut.
fn escape(raw: &[u8], last: bool) -> Option<(char, usize)> {
    let cut = |len: usize| raw.len() < len && !last;
    let meant = match raw.get(1) {
        Some(b'n') => '\n',
        Some(b't') => '\t',
        Some(b'r') => '\r',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(byte @ (b'"' | b'\\' | b'/')) => char::from(*byte),
        Some(b'u') => {
            if cut(6) {
                return None;
            }
            let Some(first) = hex(raw, 2) else { return Some(('\\', 1)) };
            if !(0xD800..0xDC00).contains(&first) {
                return Some((char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER), 6));
            }
            // Twelve bytes stand for one character beyond the first 65536 (RFC 8259, section 7).
            if cut(12) {
                return None;
            }
            let second = if part(raw, 6, 8) == b"\\u" { hex(raw, 8) } else { None };
            let second = second.filter(|second| (0xDC00..0xE000).contains(second));
            let Some(second) = second else { return Some((char::REPLACEMENT_CHARACTER, 6)) };
            let both = 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
            return Some((char::from_u32(both).unwrap_or(char::REPLACEMENT_CHARACTER), 12));
        }
        None if !last => return None,
        _ => return Some(('\\', 1)),
    };
    Some((meant, 2))
}

fn hex(raw: &[u8], from: usize) -> Option<u32> {
    let digits = raw.get(from..from + 4)?;
    digits.iter().try_fold(0, |sum, digit| Some(sum * 16 + char::from(*digit).to_digit(16)?))
}
