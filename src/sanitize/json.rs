//! Finds the string values of JSON, byte by byte. It does not check: what is no JSON passes, with whatever looks like a
//! string value in it masked.

use super::value::Value;
use super::{Sink, part};

/// Levels whose kind is remembered. Deeper ones count as arrays: what may be a key there is masked as a value.
const MAX_DEPTH: usize = 1024;

/// A JSON text, or several in a row, as far as it was read.
#[derive(Default)]
pub(super) struct Json {
    place: Place,
    /// The next byte of a string is escaped.
    escaped: bool,
    /// The next string is a key.
    key_next: bool,
    /// Whether each open level is an object.
    objects: Vec<bool>,
    /// Open levels beyond these.
    deeper: usize,
    value: Value,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    #[default]
    Between,
    Key,
    Value,
}

impl Json {
    pub(super) fn push(&mut self, mut bytes: &[u8], sink: &mut Sink<'_>) {
        while !bytes.is_empty() {
            let used = match self.place {
                Place::Between => self.between(bytes, sink),
                Place::Key | Place::Value => self.inside(bytes, sink),
            };
            bytes = part(bytes, used, bytes.len());
        }
    }

    /// There is no more. A string that was not closed is written as far as it came.
    pub(super) fn end(&mut self, sink: &mut Sink<'_>) {
        if self.place == Place::Value {
            self.value.end(&[], sink);
        }
        self.place = Place::Between;
        self.escaped = false;
    }

    /// Another text begins.
    pub(super) fn restart(&mut self, sink: &mut Sink<'_>) {
        self.end(sink);
        self.key_next = false;
        self.objects.clear();
        self.deeper = 0;
    }

    /// Reads up to the next string, its quote included.
    fn between(&mut self, bytes: &[u8], sink: &mut Sink<'_>) -> usize {
        let mut used = bytes.len();
        for (index, byte) in bytes.iter().enumerate() {
            match byte {
                b'"' => {
                    self.place = if self.key_next { Place::Key } else { Place::Value };
                    used = index + 1;
                    break;
                }
                b'{' => self.open(true),
                b'[' => self.open(false),
                b'}' | b']' => self.close(),
                b',' => self.key_next = self.in_object(),
                b':' => self.key_next = false,
                _ => {}
            }
        }
        sink.out.extend_from_slice(part(bytes, 0, used));
        used
    }

    /// Reads up to the end of the string, its quote included.
    fn inside(&mut self, bytes: &[u8], sink: &mut Sink<'_>) -> usize {
        let mut at = 0;
        let mut end = None;
        if std::mem::take(&mut self.escaped) {
            at = 1;
        }
        while let Some(skip) = memchr::memchr2(b'"', b'\\', part(bytes, at, bytes.len())) {
            at += skip;
            if bytes.get(at) == Some(&b'"') {
                end = Some(at);
                break;
            }
            at += 2;
        }
        // One that ends in a backslash steps over a byte that is still to come.
        self.escaped = end.is_none() && at > bytes.len();
        let content = part(bytes, 0, end.unwrap_or(bytes.len()));
        match (self.place, end) {
            (Place::Value, None) => self.value.push(content, sink),
            (Place::Value, Some(_)) => self.value.end(content, sink),
            _ => sink.out.extend_from_slice(content),
        }
        let Some(end) = end else { return bytes.len() };
        sink.out.push(b'"');
        self.place = Place::Between;
        end + 1
    }

    fn open(&mut self, object: bool) {
        if self.objects.len() < MAX_DEPTH {
            self.objects.push(object);
        } else {
            self.deeper += 1;
        }
        self.key_next = self.in_object();
    }

    fn close(&mut self) {
        match self.deeper.checked_sub(1) {
            Some(left) => self.deeper = left,
            None => drop(self.objects.pop()),
        }
        self.key_next = false;
    }

    fn in_object(&self) -> bool {
        self.deeper == 0 && self.objects.last() == Some(&true)
    }
}
