//! Server-Sent Events: chunks of a body -> frames, and events -> bytes (WHATWG HTML, section 9.2).
//!
//! A frame keeps its exact bytes, so that what is passed on is what came: all frames of a stream in a row, and the rest
//! behind them, are the stream. How a stream is cut into chunks makes no difference to its frames. An event that lies
//! within one chunk is a slice of it; only one that crosses chunks is copied together.
//!
//! Held is never more than one event, up to a bound, and the chunk that was pushed. `id` and `retry` are not looked at.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use memchr::{memchr2, memchr2_iter};

use find::Finder;

mod find;
#[cfg(test)]
mod tests;

/// What an event may take, in bytes, unless the caller has a reason for less. Images come as one event.
pub const MAX_EVENT: usize = 8 * 1024 * 1024;

/// A comment that keeps a connection in use. Clients pass over it.
pub const COMMENT: &[u8] = b": keepalive\n\n";

const BOM: &[u8] = b"\xef\xbb\xbf";

/// An event is longer than it may be. The stream cannot be read any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

/// A part of a stream that ends with a blank line: an event, a comment, or only blank lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    raw: Bytes,
    event: Range<usize>,
    data: Data,
    /// Its blank line was there.
    is_whole: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Data {
    None,
    /// One line: where it lies within the frame.
    Line(Range<usize>),
    /// Several, joined.
    Joined(Vec<u8>),
}

impl Frame {
    /// The exact bytes, with the blank line.
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// The exact bytes of a whole frame; those of the rest of a stream with the blank line that it lacks, without which
    /// what is written behind would be a part of it.
    pub fn into_closed(self) -> Bytes {
        let missing: &[u8] = match &*self.raw {
            _ if self.is_whole => return self.raw,
            [.., b'\n'] | [.., b'\n', b'\r'] => b"\n",
            // Behind a `\r`, the first one is of the same line end.
            _ => b"\n\n",
        };
        [&self.raw, missing].concat().into()
    }

    /// The name of the event; empty where it has none.
    pub fn event(&self) -> &[u8] {
        self.raw.get(self.event.clone()).unwrap_or_default()
    }

    /// What the data lines say, joined by `\n`. Empty without one.
    pub fn data(&self) -> &[u8] {
        match &self.data {
            Data::None => &[],
            Data::Line(range) => self.raw.get(range.clone()).unwrap_or_default(),
            Data::Joined(data) => data,
        }
    }

    /// Whether there is a data line. A frame without one is a comment, or a name that a client never sees.
    pub fn has_data(&self) -> bool {
        self.data != Data::None
    }

    /// Whether this is OpenAI's end of a stream, `data: [DONE]`.
    pub fn is_done(&self) -> bool {
        self.data() == b"[DONE]"
    }
}

/// Makes frames of the chunks of one body.
#[derive(Debug)]
pub struct Decoder {
    most: usize,
    /// What was pushed and not read yet.
    input: Bytes,
    /// The beginning of a frame that earlier chunks had.
    partial: BytesMut,
    finder: Finder,
    /// No frame was given yet: a byte order mark may stand here.
    first: bool,
    failed: bool,
}

impl Decoder {
    /// For a stream whose events have at most `most` bytes, with their blank line.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            input: Bytes::new(),
            partial: BytesMut::new(),
            finder: Finder::default(),
            first: true,
            failed: false,
        }
    }

    /// Takes in a chunk. The frames before it should be taken out first, else it is copied behind what is left.
    pub fn push(&mut self, chunk: Bytes) {
        if self.failed {
            return;
        }
        if self.input.is_empty() {
            self.input = chunk;
        } else {
            let mut both = BytesMut::with_capacity(self.input.len() + chunk.len());
            both.extend_from_slice(&self.input);
            both.extend_from_slice(&chunk);
            self.input = both.freeze();
        }
    }

    /// The next whole frame, or `None` before the next chunk.
    ///
    /// # Errors
    /// When an event is longer than the bound. After that there is no frame any more, and no memory held.
    #[expect(clippy::should_implement_trait, reason = "None is no end here: more may be pushed")]
    pub fn next(&mut self) -> Option<Result<Frame, TooLong>> {
        if self.input.is_empty() {
            return None;
        }
        let end = self.finder.find(&self.input);
        let len = self.partial.len().saturating_add(end.unwrap_or(self.input.len()));
        if len > self.most {
            self.failed = true;
            self.input = Bytes::new();
            self.partial = BytesMut::new();
            return Some(Err(TooLong));
        }
        let Some(end) = end else {
            self.partial.extend_from_slice(&self.input);
            self.input = Bytes::new();
            return None;
        };
        let last = self.input.split_to(end);
        let raw = if self.partial.is_empty() {
            last
        } else {
            self.partial.extend_from_slice(&last);
            self.partial.split().freeze()
        };
        Some(Ok(self.frame(raw, true)))
    }

    /// What is left at the end of the body, read as if a blank line came: some servers leave the last one out. A stream
    /// that broke leaves the beginning of an event, so its data may not be whole.
    pub fn finish(&mut self) -> Option<Frame> {
        self.partial.extend_from_slice(&self.input);
        self.input = Bytes::new();
        self.finder = Finder::default();
        let rest = self.partial.split().freeze();
        let is_blank = rest.iter().all(|byte| matches!(byte, b'\n' | b'\r'));
        (!rest.is_empty()).then(|| self.frame(rest, is_blank))
    }

    fn frame(&mut self, raw: Bytes, is_whole: bool) -> Frame {
        let from = if self.first && raw.starts_with(BOM) { BOM.len() } else { 0 };
        self.first = false;
        let (event, data) = fields(&raw, from);
        Frame { raw, event, data, is_whole }
    }
}

/// Where the name of the event is, and the data.
fn fields(raw: &[u8], from: usize) -> (Range<usize>, Data) {
    let mut event = 0..0;
    let mut data = Data::None;
    let mut start = from;
    while let Some(rest) = raw.get(start..).filter(|rest| !rest.is_empty()) {
        let len = memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
        let line = rest.get(..len).unwrap_or_default();
        if let Some(value) = value_of(line, b"data") {
            data.add(raw, start + value..start + len);
        } else if let Some(value) = value_of(line, b"event") {
            event = start + value..start + len;
        }
        start += len + 1;
    }
    (event, data)
}

/// Where in a line the value of this field begins; `None`: it is another field, a comment, or blank.
fn value_of(line: &[u8], name: &[u8]) -> Option<usize> {
    match line.strip_prefix(name)? {
        [] => Some(name.len()),
        [b':', b' ', ..] => Some(name.len() + 2),
        [b':', ..] => Some(name.len() + 1),
        _ => None,
    }
}

impl Data {
    fn add(&mut self, raw: &[u8], line: Range<usize>) {
        let text = raw.get(line.clone()).unwrap_or_default();
        match self {
            Self::None => *self = Self::Line(line),
            Self::Line(before) => {
                let before = raw.get(before.clone()).unwrap_or_default();
                let mut joined = Vec::with_capacity(before.len() + 1 + text.len());
                joined.extend_from_slice(before);
                joined.push(b'\n');
                joined.extend_from_slice(text);
                *self = Self::Joined(joined);
            }
            Self::Joined(joined) => {
                joined.push(b'\n');
                joined.extend_from_slice(text);
            }
        }
    }
}

/// Appends an event with a name, if any, and data; each line of the data becomes a data line.
///
/// The name must have no line end: it is one of ours.
pub fn write_event(out: &mut Vec<u8>, event: Option<&str>, data: &[u8]) {
    out.reserve(data.len() + event.map_or(0, str::len) + 16);
    if let Some(event) = event {
        debug_assert!(!event.contains(['\n', '\r']), "a name of one line");
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(event.as_bytes());
        out.push(b'\n');
    }
    let mut start = 0;
    for end in memchr2_iter(b'\n', b'\r', data) {
        // The LF of a CR LF ends no line of its own.
        if end > start || data.get(end) != Some(&b'\n') || end.checked_sub(1).and_then(|i| data.get(i)) != Some(&b'\r')
        {
            write_line(out, data.get(start..end).unwrap_or_default());
        }
        start = end + 1;
    }
    write_line(out, data.get(start..).unwrap_or_default());
    out.push(b'\n');
}

fn write_line(out: &mut Vec<u8>, line: &[u8]) {
    out.extend_from_slice(b"data: ");
    out.extend_from_slice(line);
    out.push(b'\n');
}
