//! How events are put on the wire: every way here is valid by the standard of server-sent events, and some are rare.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use crate::units;

/// How the events of a stream are written. The default is one write an event, `\n`, no comments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Framing {
    /// Writes of so many bytes, wherever that cuts an event or a character; 0 is off.
    pub split: u32,
    /// The pause between such writes.
    pub gap: Duration,
    /// So many events in one write; 0 is off.
    pub together: u32,
    /// What ends a line.
    pub line: LineEnd,
    /// A comment before each event.
    pub comments: bool,
    /// Data that goes over two lines.
    pub multiline: bool,
    /// No space after the colon.
    pub tight: bool,
    /// A byte order mark first.
    pub bom: bool,
}

/// What ends the lines of an event stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LineEnd {
    /// `\n`, as nearly everybody.
    #[default]
    Lf,
    /// `\r\n`.
    CrLf,
    /// `\r` alone.
    Cr,
}

impl Framing {
    /// Reads `split=3,gap=1ms,together=10,crlf,cr,comments,multiline,tight,bom` in any number and order; `None` when a word
    /// is none of these.
    pub fn parse(text: &str) -> Option<Self> {
        let mut framing = Self::default();
        for word in text.split(',').map(str::trim) {
            match word.split_once('=').unwrap_or((word, "")) {
                ("split", value) => framing.split = value.parse().ok()?,
                ("gap", value) => framing.gap = units::duration(value)?,
                ("together", value) => framing.together = value.parse().ok()?,
                ("crlf", "") => framing.line = LineEnd::CrLf,
                ("cr", "") => framing.line = LineEnd::Cr,
                ("comments", "") => framing.comments = true,
                ("multiline", "") => framing.multiline = true,
                ("tight", "") => framing.tight = true,
                ("bom", "") => framing.bom = true,
                _ => return None,
            }
        }
        Some(framing)
    }

    /// Whether an event goes out as the dialect wrote it.
    pub(in crate::mock) fn is_plain(&self) -> bool {
        !self.comments && !self.multiline && !self.tight && !self.bom && self.line == LineEnd::Lf
    }

    /// The event in other dress. `first` is that of the stream.
    pub(in crate::mock) fn dress(&self, event: &[u8], first: bool) -> Bytes {
        let mut out = BytesMut::with_capacity(event.len() + 64);
        if self.bom && first {
            out.put_slice("\u{feff}".as_bytes());
        }
        if self.comments {
            self.put(&mut out, b": keep-alive\n\n");
        }
        for line in event.split_inclusive(|byte| *byte == b'\n') {
            self.put_line(&mut out, line);
        }
        out.freeze()
    }

    fn put_line(&self, out: &mut BytesMut, line: &[u8]) {
        let Some(data) = line.strip_prefix(b"data: ") else {
            return self.put(out, line);
        };
        let colon: &[u8] = if self.tight { b"data:" } else { b"data: " };
        // Between two members of an object a line break means nothing.
        let cut = data.windows(2).position(|pair| pair == b",\"").map(|at| at + 1);
        match cut.filter(|_| self.multiline).and_then(|at| data.split_at_checked(at)) {
            None => {
                out.put_slice(colon);
                self.put(out, data);
            }
            Some((before, after)) => {
                out.put_slice(colon);
                out.put_slice(before);
                self.put(out, b"\n");
                out.put_slice(colon);
                self.put(out, after);
            }
        }
    }

    fn put(&self, out: &mut BytesMut, bytes: &[u8]) {
        for byte in bytes {
            match (byte, self.line) {
                (b'\n', LineEnd::CrLf) => out.put_slice(b"\r\n"),
                (b'\n', LineEnd::Cr) => out.put_u8(b'\r'),
                (byte, _) => out.put_u8(*byte),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dressed(how: &str) -> String {
        let event = b"event: x\ndata: {\"a\":1,\"b\":2}\n\n";
        String::from_utf8(Framing::parse(how).unwrap().dress(event, true).to_vec()).unwrap()
    }

    #[test]
    fn every_dress_is_the_same_event() {
        assert_eq!(dressed("crlf"), "event: x\r\ndata: {\"a\":1,\"b\":2}\r\n\r\n");
        assert_eq!(dressed("cr,tight"), "event: x\rdata:{\"a\":1,\"b\":2}\r\r");
        assert_eq!(dressed("multiline"), "event: x\ndata: {\"a\":1,\ndata: \"b\":2}\n\n");
        assert_eq!(dressed("comments,bom"), "\u{feff}: keep-alive\n\nevent: x\ndata: {\"a\":1,\"b\":2}\n\n");
    }

    #[test]
    fn words_that_mean_nothing_are_refused() {
        assert_eq!(Framing::parse("crlf,upside-down"), None);
        assert_eq!(Framing::parse("split=many"), None);
    }
}
