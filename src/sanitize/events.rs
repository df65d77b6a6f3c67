//! Server-sent events (the HTML standard, section 9.2.6): the data lines of an event are one JSON text.

use super::json::Json;
use super::{Sink, part};

const DATA: &[u8] = b"data:";

/// A stream of events, as far as it was read.
#[derive(Default)]
pub(super) struct Events {
    json: Json,
    line: Line,
    /// The last line ended in a carriage return: a line feed after it is no line of its own.
    after_return: bool,
}

#[derive(Clone, Copy)]
enum Line {
    /// So many bytes of `data:` were read.
    Start(usize),
    Data,
    Other,
}

impl Default for Line {
    fn default() -> Self {
        Self::Start(0)
    }
}

impl Events {
    pub(super) fn push(&mut self, mut bytes: &[u8], sink: &mut Sink<'_>) {
        while !bytes.is_empty() {
            let end = memchr::memchr2(b'\r', b'\n', bytes);
            self.text(part(bytes, 0, end.unwrap_or(bytes.len())), sink);
            let Some(end) = end else { return };
            if let Some(byte) = bytes.get(end) {
                self.end_line(*byte, sink);
            }
            bytes = part(bytes, end + 1, bytes.len());
        }
    }

    pub(super) fn end(&mut self, sink: &mut Sink<'_>) {
        self.json.end(sink);
    }

    fn text(&mut self, mut bytes: &[u8], sink: &mut Sink<'_>) {
        if !bytes.is_empty() {
            self.after_return = false;
        }
        while let (Line::Start(read), Some((first, rest))) = (self.line, bytes.split_first()) {
            // The stream may begin with a byte order mark.
            let mark = read == 0 && matches!(first, 0xEF | 0xBB | 0xBF);
            self.line = match DATA.get(read) {
                _ if mark => Line::Start(0),
                Some(wanted) if wanted == first && read + 1 == DATA.len() => Line::Data,
                Some(wanted) if wanted == first => Line::Start(read + 1),
                _ => Line::Other,
            };
            sink.out.push(*first);
            bytes = rest;
        }
        match self.line {
            Line::Data => self.json.push(bytes, sink),
            Line::Start(_) | Line::Other => sink.out.extend_from_slice(bytes),
        }
    }

    fn end_line(&mut self, byte: u8, sink: &mut Sink<'_>) {
        let second_half = byte == b'\n' && self.after_return;
        match self.line {
            // No JSON string goes on in the next line.
            Line::Data => self.json.end(sink),
            Line::Start(0) if !second_half => self.json.restart(sink),
            Line::Start(_) | Line::Other => {}
        }
        sink.out.push(byte);
        self.line = Line::default();
        self.after_return = byte == b'\r';
    }
}
