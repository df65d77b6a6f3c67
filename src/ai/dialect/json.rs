//! JSON, written as it is made: no tree and no copy of what is in hand already.

use std::borrow::Cow;

/// The members of an object that is being written.
pub(super) struct Object<'o> {
    out: &'o mut Vec<u8>,
    empty: bool,
}

/// The items of a list that is being written.
pub(super) struct List<'o> {
    out: &'o mut Vec<u8>,
    empty: bool,
}

/// Writes one object.
pub(super) fn object<R>(out: &mut Vec<u8>, write: impl FnOnce(&mut Object<'_>) -> R) -> R {
    out.push(b'{');
    let written = write(&mut Object { out, empty: true });
    out.push(b'}');
    written
}

fn list<R>(out: &mut Vec<u8>, write: impl FnOnce(&mut List<'_>) -> R) -> R {
    out.push(b'[');
    let written = write(&mut List { out, empty: true });
    out.push(b']');
    written
}

impl Object<'_> {
    /// A member whose value is JSON already.
    pub(super) fn raw(&mut self, key: &str, json: &str) {
        self.key(key).extend_from_slice(json.as_bytes());
    }

    pub(super) fn text(&mut self, key: &str, text: &str) {
        quoted(self.key(key), &[text]);
    }

    /// A string that is made of several, one after the other.
    pub(super) fn joined(&mut self, key: &str, texts: &[&str]) {
        quoted(self.key(key), texts);
    }

    pub(super) fn number(&mut self, key: &str, number: impl itoa::Integer) {
        let mut buffer = itoa::Buffer::new();
        self.raw(key, buffer.format(number));
    }

    /// JSON has no number for what is not finite; none is read either.
    pub(super) fn float(&mut self, key: &str, number: f64) {
        self.raw(key, &serde_json::Number::from_f64(number).map_or_else(|| "null".to_owned(), |n| n.to_string()));
    }

    pub(super) fn flag(&mut self, key: &str, flag: bool) {
        self.raw(key, if flag { "true" } else { "false" });
    }

    pub(super) fn null(&mut self, key: &str) {
        self.raw(key, "null");
    }

    pub(super) fn object<R>(&mut self, key: &str, write: impl FnOnce(&mut Object<'_>) -> R) -> R {
        object(self.key(key), write)
    }

    pub(super) fn list<R>(&mut self, key: &str, write: impl FnOnce(&mut List<'_>) -> R) -> R {
        list(self.key(key), write)
    }

    fn key(&mut self, key: &str) -> &mut Vec<u8> {
        comma(self.out, &mut self.empty);
        quoted(self.out, &[key]);
        self.out.push(b':');
        self.out
    }
}

impl List<'_> {
    /// An item that is JSON already.
    pub(super) fn raw(&mut self, json: &str) {
        comma(self.out, &mut self.empty);
        self.out.extend_from_slice(json.as_bytes());
    }

    pub(super) fn text(&mut self, text: &str) {
        comma(self.out, &mut self.empty);
        quoted(self.out, &[text]);
    }

    pub(super) fn object<R>(&mut self, write: impl FnOnce(&mut Object<'_>) -> R) -> R {
        comma(self.out, &mut self.empty);
        object(self.out, write)
    }
}

/// JSON without the blanks between its parts; what is between quotes stays as it is.
pub(in crate::ai) fn compact(json: &str) -> Cow<'_, str> {
    let is_blank = |byte: u8| matches!(byte, b' ' | b'\n' | b'\r' | b'\t');
    if !json.bytes().any(is_blank) {
        return Cow::Borrowed(json);
    }
    let (mut quoted, mut escaped) = (false, false);
    let kept = json.chars().filter(|c| {
        let was_escaped = escaped;
        escaped = quoted && !was_escaped && *c == '\\';
        if *c == '"' && !was_escaped {
            quoted = !quoted;
        }
        quoted || !u8::try_from(*c).is_ok_and(is_blank)
    });
    Cow::Owned(kept.collect())
}

fn comma(out: &mut Vec<u8>, empty: &mut bool) {
    if !std::mem::replace(empty, false) {
        out.push(b',');
    }
}

/// A string (RFC 8259, section 7), with what has to be escaped escaped, and nothing else.
fn quoted(out: &mut Vec<u8>, texts: &[&str]) {
    out.push(b'"');
    for text in texts {
        let mut rest = text.as_bytes();
        while let Some(at) = rest.iter().position(|byte| *byte < 0x20 || matches!(byte, b'"' | b'\\')) {
            let (plain, special) = rest.split_at(at);
            out.extend_from_slice(plain);
            if let Some((byte, after)) = special.split_first() {
                escape(out, *byte);
                rest = after;
            }
        }
        out.extend_from_slice(rest);
    }
    out.push(b'"');
}

fn escape(out: &mut Vec<u8>, byte: u8) {
    match byte {
        b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        _ => {
            let digit = |nibble: u8| b"0123456789abcdef".get(usize::from(nibble)).copied().unwrap_or(b'0');
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 15)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn members_and_items_are_parted_by_commas() {
        let mut out = Vec::new();
        object(&mut out, |o| {
            o.text("a", "b");
            o.list("c", |l| {
                l.text("d");
                l.object(|o| o.number("e", 1_u64));
            });
            o.object("f", |_| ());
            o.float("g", 0.7);
            o.flag("h", true);
            o.null("i");
            o.joined("j", &["k", "\"", "l"]);
        });
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, r#"{"a":"b","c":["d",{"e":1}],"f":{},"g":0.7,"h":true,"i":null,"j":"k\"l"}"#);
    }

    #[test]
    fn blanks_go_but_for_those_in_strings() {
        assert_eq!(compact("{ \"a b\" : [ 1 ,\n 2 ], \"c\":\"d \\\" e\\\\\" }"), r#"{"a b":[1,2],"c":"d \" e\\"}"#);
    }

    proptest! {
        #[test]
        fn any_string_is_read_as_it_was_written(text in any::<String>(), more in "[\\x00-\\x30\\\\]*") {
            let mut out = Vec::new();
            quoted(&mut out, &[&text, &more]);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text + &more);
        }
    }
}
