//! JSON read where it lies: one value after the other, in order, without a tree and without an allocation (RFC 8259).
//!
//! What is skipped is checked as strictly as what is read. Nesting is bounded, and no depth costs stack. UTF-8 is the
//! caller's matter: whoever needs it valid checks it before. Surrogates without their other half pass, as the grammar of
//! JSON has them.
//!
//! [`Reader::lenient`] takes as numbers what some programs write in their place: `NaN`, `Infinity`, `-Infinity`.
//!
//! The caller asks for what it expects: [`Reader::object`], then [`Reader::key`] and a value in turns, to the end. The
//! `maybe_` calls skip what is of another type, for answers whose shape is the provider's matter.

use std::ops::Range;

pub use text::Text;

#[cfg(test)]
mod tests;
mod text;

/// What a value takes in a tree, and what an object or array does more, in bytes: measured at translations of messages that
/// are nearly empty.
const OF_VALUE: u64 = 64;
const OF_CONTAINER: u64 = 384;
/// How deep arrays and objects may be within each other.
pub const MAX_DEPTH: u32 = 128;

/// Why a text cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is no JSON, or not of the type that was asked for.
    Syntax,
    /// It is nested deeper than [`MAX_DEPTH`].
    TooDeep,
}

/// What the next value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `{`
    Object,
    /// `[`
    Array,
    /// `"`
    String,
    /// A digit or `-`.
    Number,
    /// `true` or `false`.
    Bool,
    /// `null`.
    Null,
}

/// Stands in a text, before or behind a value.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    /// Where the last string lies, without its quotes.
    string_at: usize,
    string_end: usize,
    depth: u32,
    bulk: u64,
    /// Nothing of the innermost array or object was read yet.
    fresh: bool,
    /// Numbers may be none.
    lenient: bool,
}

/// What [`Reader::pass_key`] passed.
#[derive(Clone, Copy)]
enum Passed {
    End,
    Plain,
    Escaped,
}

impl<'a> Reader<'a> {
    /// At the beginning of a text.
    pub fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0, string_at: 0, string_end: 0, depth: 0, bulk: 0, fresh: false, lenient: false }
    }

    /// The same for what a provider wrote: where a number may be, `NaN`, `Infinity` and `-Infinity` may, too.
    pub fn lenient(text: &'a [u8]) -> Self {
        Self { lenient: true, ..Self::new(text) }
    }

    /// The bytes read.
    pub fn position(&self) -> usize {
        self.at
    }

    /// What comes next, where a value has to come.
    ///
    /// # Errors
    /// When none does.
    pub fn kind(&mut self) -> Result<Kind, Fault> {
        match self.peek()? {
            b'{' => Ok(Kind::Object),
            b'[' => Ok(Kind::Array),
            b'"' => Ok(Kind::String),
            b'-' | b'0'..=b'9' => Ok(Kind::Number),
            b't' | b'f' => Ok(Kind::Bool),
            b'n' => Ok(Kind::Null),
            b'N' | b'I' if self.lenient => Ok(Kind::Number),
            _ => Err(Fault::Syntax),
        }
    }

    /// Enters an object.
    ///
    /// # Errors
    /// When the next value is none, or too deep.
    pub fn object(&mut self) -> Result<(), Fault> {
        self.enter(b'{')
    }

    /// The next key of the object that was entered, its value being next; `None`: the object is at its end and left.
    ///
    /// # Errors
    /// When the text is no JSON.
    #[inline]
    pub fn key(&mut self) -> Result<Option<Text<'a>>, Fault> {
        Ok(match self.pass_key()? {
            Passed::End => None,
            Passed::Plain => Some(self.passed(false)),
            Passed::Escaped => Some(self.passed(true)),
        })
    }

    /// Enters an array.
    ///
    /// # Errors
    /// When the next value is none, or too deep.
    pub fn array(&mut self) -> Result<(), Fault> {
        self.enter(b'[')
    }

    /// Whether the array that was entered has another element, which is next; `false`: it is at its end and left.
    ///
    /// # Errors
    /// When the text is no JSON.
    pub fn element(&mut self) -> Result<bool, Fault> {
        self.more(b']')
    }

    /// A string.
    ///
    /// # Errors
    /// When the next value is none.
    #[inline]
    pub fn string(&mut self) -> Result<Text<'a>, Fault> {
        let escaped = self.pass_string()?;
        Ok(self.passed(escaped))
    }

    /// A number, as it is written; for a lenient reader perhaps a word.
    ///
    /// # Errors
    /// When the next value is none.
    pub fn number(&mut self) -> Result<&'a [u8], Fault> {
        self.peek()?;
        let start = self.at;
        self.at += usize::from(self.byte() == Some(b'-'));
        if self.lenient
            && let Some(word @ (b'N' | b'I')) = self.byte()
        {
            self.word(if word == b'N' { b"NaN" } else { b"Infinity" })?;
            return Ok(self.text.get(start..self.at).unwrap_or_default());
        }
        let zero = self.byte() == Some(b'0');
        if self.digits()? > 1 && zero {
            return Err(Fault::Syntax);
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.byte() {
            self.at += 1;
            self.at += usize::from(matches!(self.byte(), Some(b'+' | b'-')));
            self.digits()?;
        }
        Ok(self.text.get(start..self.at).unwrap_or_default())
    }

    /// `true` or `false`.
    ///
    /// # Errors
    /// When the next value is neither.
    pub fn bool(&mut self) -> Result<bool, Fault> {
        let yes = self.peek()? == b't';
        self.word(if yes { b"true" } else { b"false" })?;
        Ok(yes)
    }

    /// Passes over the next value, whatever it is.
    ///
    /// # Errors
    /// When it is no JSON, or too deep.
    pub fn skip(&mut self) -> Result<(), Fault> {
        let around = self.depth;
        // A bit for each array (0) and object (1) that is open, the innermost at the lowest place.
        let mut objects = 0_u128;
        loop {
            self.bulk += OF_VALUE;
            match self.peek()? {
                b'"' => self.pass_string().map(drop)?,
                b't' => self.word(b"true")?,
                b'f' => self.word(b"false")?,
                b'n' => self.word(b"null")?,
                b'{' => {
                    self.object()?;
                    objects = objects << 1 | 1;
                }
                b'[' => {
                    self.array()?;
                    objects <<= 1;
                }
                _ => self.number().map(drop)?,
            }
            // Out of all that ends here, to where the next value is.
            loop {
                if self.depth == around {
                    self.fresh = false;
                    return Ok(());
                }
                let object = objects & 1 == 1;
                if self.more(if object { b'}' } else { b']' })? {
                    if object {
                        self.pass_string()?;
                        self.expect(b':')?;
                    }
                    break;
                }
                objects >>= 1;
            }
        }
    }

    /// Passes over the next value and says where it lies.
    ///
    /// # Errors
    /// When it is no JSON, or too deep.
    pub fn span(&mut self) -> Result<Range<usize>, Fault> {
        self.peek()?;
        let start = self.at;
        self.skip()?;
        Ok(start..self.at)
    }

    /// Nothing but blanks is left.
    ///
    /// # Errors
    /// When something is.
    pub fn end(&mut self) -> Result<(), Fault> {
        if self.depth == 0 && self.peek().is_err() { Ok(()) } else { Err(Fault::Syntax) }
    }

    /// A string, or `None` for what is none.
    ///
    /// # Errors
    /// When the text is no JSON.
    pub fn maybe_string(&mut self) -> Result<Option<Text<'a>>, Fault> {
        if self.peek()? == b'"' { self.string().map(Some) } else { self.skip().map(|()| None) }
    }

    /// A whole number of at least 0, or `None` for what is none.
    ///
    /// # Errors
    /// When the text is no JSON.
    pub fn maybe_u64(&mut self) -> Result<Option<u64>, Fault> {
        match self.peek()? {
            b'-' | b'0'..=b'9' => self.number().map(whole),
            _ => self.skip().map(|()| None),
        }
    }

    /// A [`count`], or `None` for what is none.
    ///
    /// # Errors
    /// When the text is no JSON, or too deep.
    pub fn maybe_count(&mut self) -> Result<Option<u64>, Fault> {
        let value = self.span()?;
        Ok(self.text.get(value).and_then(count))
    }

    /// A boolean, or `None` for what is none.
    ///
    /// # Errors
    /// When the text is no JSON.
    pub fn maybe_bool(&mut self) -> Result<Option<bool>, Fault> {
        if let b't' | b'f' = self.peek()? { self.bool().map(Some) } else { self.skip().map(|()| None) }
    }

    /// Enters an object; `false`: there is none, and what is there was skipped.
    ///
    /// # Errors
    /// When the text is no JSON, or too deep.
    pub fn maybe_object(&mut self) -> Result<bool, Fault> {
        if self.peek()? == b'{' { self.object().map(|()| true) } else { self.skip().map(|()| false) }
    }

    /// Enters an array; `false`: there is none, and what is there was skipped.
    ///
    /// # Errors
    /// When the text is no JSON, or too deep.
    pub fn maybe_array(&mut self) -> Result<bool, Fault> {
        if self.peek()? == b'[' { self.array().map(|()| true) } else { self.skip().map(|()| false) }
    }

    fn byte(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// The next byte that is no blank.
    #[inline]
    fn peek(&mut self) -> Result<u8, Fault> {
        loop {
            match self.byte().ok_or(Fault::Syntax)? {
                b' ' | b'\n' | b'\r' | b'\t' => self.at += 1,
                byte => return Ok(byte),
            }
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), Fault> {
        if self.peek()? != byte {
            return Err(Fault::Syntax);
        }
        self.at += 1;
        Ok(())
    }

    fn enter(&mut self, open: u8) -> Result<(), Fault> {
        self.expect(open)?;
        if self.depth == MAX_DEPTH {
            return Err(Fault::TooDeep);
        }
        self.depth += 1;
        self.bulk += OF_CONTAINER;
        self.fresh = true;
        Ok(())
    }

    /// Bytes that a tree of all that was read so far would take beside its text, about.
    pub fn bulk(&self) -> u64 {
        self.bulk
    }

    /// Over the comma, or out of what ends here.
    #[inline]
    fn more(&mut self, close: u8) -> Result<bool, Fault> {
        let fresh = std::mem::take(&mut self.fresh);
        match self.peek()? {
            byte if byte == close => {
                self.at += 1;
                self.depth = self.depth.checked_sub(1).ok_or(Fault::Syntax)?;
                Ok(false)
            }
            _ if fresh => Ok(true),
            b',' => {
                self.at += 1;
                Ok(true)
            }
            _ => Err(Fault::Syntax),
        }
    }

    /// Over the next key and its colon, or out of the object.
    fn pass_key(&mut self) -> Result<Passed, Fault> {
        if !self.more(b'}')? {
            return Ok(Passed::End);
        }
        let escaped = self.pass_string()?;
        self.expect(b':')?;
        Ok(if escaped { Passed::Escaped } else { Passed::Plain })
    }

    /// Over a string; whether there are escapes in it. What comes back fits a register, which keeps all strings off the
    /// stack: that is a third of the time of an event.
    fn pass_string(&mut self) -> Result<bool, Fault> {
        self.expect(b'"')?;
        let start = self.at;
        let mut escaped = false;
        let mut at = start;
        loop {
            at += text::plain(self.text.get(at..).unwrap_or_default());
            match self.text.get(at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    let escape = self.text.get(at + 1..).unwrap_or_default();
                    at += 1 + text::escape(escape).ok_or(Fault::Syntax)?;
                }
                _ => return Err(Fault::Syntax),
            }
        }
        self.string_at = start;
        self.string_end = at;
        self.at = at + 1;
        Ok(escaped)
    }

    /// The string that was passed last.
    #[inline]
    fn passed(&self, escaped: bool) -> Text<'a> {
        Text::new(self.text.get(self.string_at..self.string_end).unwrap_or_default(), self.string_at, escaped)
    }

    /// At least one.
    fn digits(&mut self) -> Result<usize, Fault> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let len = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += len;
        if len > 0 { Ok(len) } else { Err(Fault::Syntax) }
    }

    fn word(&mut self, word: &[u8]) -> Result<(), Fault> {
        self.peek()?;
        if !self.text.get(self.at..).unwrap_or_default().starts_with(word) {
            return Err(Fault::Syntax);
        }
        self.at += word.len();
        Ok(())
    }
}

/// A number of at least 0 without a fraction, however it is written (`1e3`, `100.0`); what is greater than the greatest is
/// the greatest.
pub fn whole(number: &[u8]) -> Option<u64> {
    if number.len() < 20 && number.iter().all(u8::is_ascii_digit) {
        return Some(number.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')));
    }
    let number: f64 = std::str::from_utf8(number).ok()?.parse().ok()?;
    // A cast from above the greatest gives the greatest.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "neither negative nor a fraction")]
    (number >= 0.0 && number.fract() == 0.0).then_some(number as u64)
}

/// How many of something there are, as providers write it: a whole number in any form, or a string of digits. `None`: it is
/// not said, as by `null` and by what counts nothing: a negative number, a fraction, one that fits no `u64`, anything else.
pub fn count(value: &[u8]) -> Option<u64> {
    let digits = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
    let text = std::str::from_utf8(digits.unwrap_or(value)).ok()?;
    if digits.is_some() || text.bytes().all(|byte| byte.is_ascii_digit()) {
        // `parse` takes a sign, too.
        let plain = text.bytes().all(|byte| byte.is_ascii_digit());
        return text.parse().ok().filter(|_| plain);
    }
    whole(value).filter(|number| *number < u64::MAX)
}
