//! A stream before it is played: the events of a dialect, in order, as forms that are filled in while they are sent.
//!
//! A form is rendered once, whatever the number of its events; playing an event copies bytes.

use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use serde_json::Value;

use super::json;

/// Marks in a form, each a whole JSON string: replaced by the piece of text (which stays within its quotes), the number of the
/// event, the tokens of output so far, and those with the prompt's.
pub(super) const TEXT: &str = "\u{e001}";
pub(super) const NUMBER: &str = "\u{e002}";
pub(super) const OUTPUT: &str = "\u{e003}";
pub(super) const TOTAL: &str = "\u{e004}";

/// Where in a stream an event stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Opening,
    Content,
    Closing,
    Terminal,
}

/// The text of one event.
pub(super) struct Form(Vec<Bit>);

enum Bit {
    Plain(Box<str>),
    Text,
    Number,
    Output,
    Total,
}

/// The texts that fill a form, one an event.
#[derive(Clone)]
pub(super) enum Words {
    None,
    /// These, escaped for JSON, from the beginning again when they are used up.
    Cycle(Arc<[Box<str>]>),
    /// The number of the piece and the time at which it is sent, in microseconds since the epoch: `7@1700000000000000 `.
    Stamps,
}

/// Events of one form.
pub(super) struct Beat {
    pub(super) part: Part,
    pub(super) form: Form,
    pub(super) words: Words,
    pub(super) times: u64,
    /// Tokens of output that each says.
    pub(super) tokens: u64,
}

impl Form {
    /// An event with this JSON, whose keys have this order.
    pub(super) fn event(name: Option<&str>, value: &Value, order: &[&str]) -> Self {
        let json = json::written(value, order);
        Self::parse(&match name {
            Some(name) => format!("event: {name}\ndata: {json}\n\n"),
            None => format!("data: {json}\n\n"),
        })
    }

    /// A text with marks in it.
    pub(super) fn parse(text: &str) -> Self {
        let mut bits = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(|c| ('\u{e001}'..='\u{e004}').contains(&c)) {
            let (before, from) = rest.split_at(at);
            let mut chars = from.chars();
            let bit = match chars.next() {
                Some('\u{e001}') => Bit::Text,
                Some('\u{e002}') => Bit::Number,
                Some('\u{e003}') => Bit::Output,
                _ => Bit::Total,
            };
            let after = chars.as_str();
            // A number has no quotes.
            let (before, after) = match bit {
                Bit::Text => (before, after),
                _ => (before.strip_suffix('"').unwrap_or(before), after.strip_prefix('"').unwrap_or(after)),
            };
            bits.push(Bit::Plain(before.into()));
            bits.push(bit);
            rest = after;
        }
        bits.push(Bit::Plain(rest.into()));
        Self(bits)
    }

    /// Writes the event.
    pub(super) fn fill(&self, out: &mut BytesMut, text: &str, number: u64, output: u64, total: u64) {
        for bit in &self.0 {
            match bit {
                Bit::Plain(plain) => out.put_slice(plain.as_bytes()),
                Bit::Text => out.put_slice(text.as_bytes()),
                Bit::Number => put_number(out, number),
                Bit::Output => put_number(out, output),
                Bit::Total => put_number(out, total),
            }
        }
    }
}

/// Writes a number without an allocation.
pub(super) fn put_number(out: &mut BytesMut, number: u64) {
    let mut digits = [0; 20];
    let mut left = number;
    let mut at = digits.len();
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (left % 10) as u8;
        left /= 10;
        at -= 1;
        if left == 0 {
            break;
        }
    }
    out.put_slice(digits.get(at..).unwrap_or_default());
}

impl Words {
    /// Words to be repeated.
    pub(super) fn cycle(words: &[String]) -> Self {
        let escaped = words.iter().map(|word| {
            let quoted = json::quoted(word);
            quoted.get(1..quoted.len() - 1).unwrap_or_default().into()
        });
        Self::Cycle(escaped.collect())
    }
}

impl Beat {
    /// One event that says nothing.
    pub(super) fn once(part: Part, form: Form) -> Self {
        Self { part, form, words: Words::None, times: 1, tokens: 0 }
    }

    /// So many events of content, a token each.
    pub(super) fn content(form: Form, words: Words, times: u64) -> Self {
        Self { part: Part::Content, form, words, times, tokens: 1 }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_form_is_filled_where_its_marks_are() {
        let value = json!({"delta": TEXT, "n": NUMBER, "usage": {"out": OUTPUT, "total": TOTAL}});
        let form = Form::event(Some("x"), &value, &["n"]);
        let mut out = BytesMut::new();
        form.fill(&mut out, "a\\nb", 0, 7, 1207);
        let expected = "event: x\ndata: {\"n\":0,\"delta\":\"a\\nb\",\"usage\":{\"out\":7,\"total\":1207}}\n\n";
        assert_eq!(out, expected.as_bytes());
    }
}
