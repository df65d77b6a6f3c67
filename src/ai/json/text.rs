//! Strings of JSON: where they end, and what their escapes stand for.

use std::borrow::Cow;
use std::ops::Range;

/// A string as it is written, without its quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Text<'a> {
    raw: &'a [u8],
    start: usize,
    escaped: bool,
}

impl<'a> Text<'a> {
    pub(super) fn new(raw: &'a [u8], start: usize, escaped: bool) -> Self {
        Self { raw, start, escaped }
    }

    /// As it is written, without the quotes.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// Where it lies in the text that was read, without the quotes.
    pub fn span(&self) -> Range<usize> {
        self.start..self.start + self.raw.len()
    }

    /// Whether there is a `\` in it.
    pub fn is_escaped(&self) -> bool {
        self.escaped
    }

    /// Whether it is the empty string.
    pub fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// Whether it says this.
    pub fn is(&self, other: &[u8]) -> bool {
        if self.escaped { self.bytes() == other } else { self.raw == other }
    }

    /// Whether what it says begins so, in letters of any case.
    pub fn begins(&self, beginning: &[u8]) -> bool {
        let mut left = Some(beginning);
        let mut part = |part: &[u8]| {
            left = left.and_then(|left| {
                let (here, later) = left.split_at(left.len().min(part.len()));
                part.get(..here.len())?.eq_ignore_ascii_case(here).then_some(later)
            });
        };
        if self.escaped {
            self.for_each(part)
        } else {
            part(self.raw)
        }
        left == Some(b"")
    }

    /// What it says. A surrogate without its other half comes as three bytes that are no UTF-8 (WTF-8), so that no two
    /// strings become one.
    pub fn bytes(&self) -> Cow<'a, [u8]> {
        if !self.escaped {
            return Cow::Borrowed(self.raw);
        }
        let mut out = Vec::with_capacity(self.raw.len());
        self.for_each(|part| out.extend_from_slice(part));
        Cow::Owned(out)
    }

    /// What it says; `None` where that is no UTF-8.
    pub fn str(&self) -> Option<Cow<'a, str>> {
        match self.bytes() {
            Cow::Borrowed(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
            Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
        }
    }

    /// What it says, part by part: [`Text::bytes`] without the memory.
    pub fn for_each(&self, mut part: impl FnMut(&[u8])) {
        let mut rest = self.raw;
        while let Some(len) = memchr::memchr(b'\\', rest) {
            let (before, escape) = rest.split_at(len);
            if !before.is_empty() {
                part(before);
            }
            let escape = escape.get(1..).unwrap_or_default();
            let mut wtf = [0; 4];
            let (decoded, len) = decode(escape, &mut wtf);
            part(decoded);
            rest = escape.get(len..).unwrap_or_default();
        }
        if !rest.is_empty() {
            part(rest);
        }
    }
}

/// How many bytes at the beginning are neither `"` nor `\` nor a control character: of short strings, as most are, eight at
/// a time, of long ones more.
#[inline]
pub(super) fn plain(bytes: &[u8]) -> usize {
    const SHORT: usize = 24;
    let (start, rest) = bytes.split_at(bytes.len().min(SHORT));
    let len = plain_words(start);
    if len < SHORT {
        return len;
    }
    let len = plain_blocks(rest);
    SHORT + len + plain_words(rest.get(len..).unwrap_or_default())
}

/// The same in blocks: how many of them are plain throughout, in bytes.
fn plain_blocks(bytes: &[u8]) -> usize {
    const BLOCK: usize = 32;
    // A sum of comparisons is what a processor makes many of at once.
    let is_plain = |block: &[u8; BLOCK]| block.iter().fold(0, |ends, byte| ends | u8::from(ends_plain(*byte))) == 0;
    let (blocks, _) = bytes.as_chunks::<BLOCK>();
    blocks.iter().take_while(|block| is_plain(block)).count() * BLOCK
}

fn ends_plain(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// The same, eight at a time.
#[inline]
fn plain_words(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    // The high bit of each byte that is less than `n`, which is at most 0x80; and perhaps of bytes above the first one.
    let below = |word: u64, n: u64| word.wrapping_sub(ONES * n) & !word;
    let mut len = 0;
    while let Some(word) = bytes.get(len..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*word);
        let found = below(word, 0x20) | below(word ^ (ONES * 0x22), 1) | below(word ^ (ONES * 0x5c), 1);
        let found = found & (ONES * 0x80);
        if found != 0 {
            return len + (found.trailing_zeros() / 8) as usize;
        }
        len += 8;
    }
    let rest = bytes.get(len..).unwrap_or_default();
    len + rest.iter().take_while(|byte| !ends_plain(**byte)).count()
}

/// The length of an escape behind its `\`; `None`: it is none.
pub(super) fn escape(bytes: &[u8]) -> Option<usize> {
    match bytes.first()? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(1),
        b'u' => bytes.get(1..5)?.iter().all(u8::is_ascii_hexdigit).then_some(5),
        _ => None,
    }
}

/// What an escape stands for, and its length behind its `\`. It was found valid before.
fn decode<'b>(escape: &[u8], wtf: &'b mut [u8; 4]) -> (&'b [u8], usize) {
    let unit = match escape.first() {
        Some(b'u') => hex(escape),
        Some(b'b') => 0x08,
        Some(b'f') => 0x0c,
        Some(b'n') => 0x0a,
        Some(b'r') => 0x0d,
        Some(b't') => 0x09,
        Some(byte) => u32::from(*byte),
        None => 0,
    };
    if escape.first() != Some(&b'u') {
        return (utf8(unit, wtf), 1);
    }
    if (0xd800..0xdc00).contains(&unit) && escape.get(5..7) == Some(b"\\u") {
        let low = hex(escape.get(6..).unwrap_or_default());
        if (0xdc00..0xe000).contains(&low) {
            return (utf8(0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00), wtf), 11);
        }
    }
    (utf8(unit, wtf), 5)
}

/// The four digits behind the `u`.
fn hex(escape: &[u8]) -> u32 {
    let digits = escape.get(1..5).unwrap_or_default();
    digits.iter().fold(0, |sum, digit| sum << 4 | char::from(*digit).to_digit(16).unwrap_or(0))
}

/// UTF-8 of a scalar value; of a surrogate, what UTF-8 would be.
fn utf8(unit: u32, wtf: &mut [u8; 4]) -> &[u8] {
    match char::from_u32(unit) {
        Some(char) => char.encode_utf8(wtf).as_bytes(),
        None => {
            let [_, b, c, d] = unit.to_be_bytes();
            // 1110aaaa 10bbbbcc 10cccccc of the sixteen bits, which stand in `c` and `d`.
            *wtf = [0xe0 | c >> 4, 0x80 | (c & 0x0f) << 2 | d >> 6, 0x80 | d & 0x3f, b];
            wtf.get(..3).unwrap_or_default()
        }
    }
}
