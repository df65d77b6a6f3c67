//! Hostile bytes made safe inside a log line.
//!
//! Whatever goes in, no byte comes out that ends the line or the quoted field (log injection), and JSON always parses.

/// Which bytes stand for themselves inside a JSON string. The rest, non-ASCII included, takes the slow way.
const PLAIN_JSON: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0x20;
    while byte < 0x7f {
        table[byte] = byte != b'"' as usize && byte != b'\\' as usize;
        byte += 1;
    }
    table
};

const HEX: &[u8; 16] = b"0123456789abcdef";
const HEX_UPPER: &[u8; 16] = b"0123456789ABCDEF";

/// How a field is escaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Escape {
    /// For the inside of a JSON string. Bytes that are not UTF-8 become U+FFFD.
    Json,
    /// As nginx does: `"`, `\`, control and non-ASCII bytes become `\xHH`.
    Nginx,
}

impl Escape {
    /// Appends `bytes`, made safe.
    pub(super) fn put(self, buf: &mut Vec<u8>, bytes: &[u8]) {
        match self {
            Self::Json => json(buf, bytes),
            Self::Nginx => nginx(buf, bytes),
        }
    }
}

/// Appends `bytes` for the inside of a JSON string.
pub(super) fn json(buf: &mut Vec<u8>, bytes: &[u8]) {
    let plain = plain_length(bytes);
    let (head, tail) = bytes.split_at(plain);
    buf.extend_from_slice(head);
    if tail.is_empty() {
        return;
    }
    for chunk in tail.utf8_chunks() {
        json_text(buf, chunk.valid());
        if !chunk.invalid().is_empty() {
            buf.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

/// Appends `bytes` as nginx escapes variables in its log.
pub(super) fn nginx(buf: &mut Vec<u8>, bytes: &[u8]) {
    let mut rest = bytes;
    loop {
        let (head, tail) = rest.split_at(plain_length(rest));
        buf.extend_from_slice(head);
        let Some((&byte, after)) = tail.split_first() else {
            return;
        };
        buf.extend_from_slice(&[b'\\', b'x', nibble(HEX_UPPER, byte >> 4), nibble(HEX_UPPER, byte)]);
        rest = after;
    }
}

/// Appends `bytes` as text for people: only what could break the line, or is not text, is escaped.
pub(super) fn text(buf: &mut Vec<u8>, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if breaks_line(c) {
                json_text(buf, c.encode_utf8(&mut [0; 4]));
            } else {
                buf.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        if !chunk.invalid().is_empty() {
            buf.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

/// The longest prefix of `bytes` of at most `most` bytes that does not cut a UTF-8 character in two.
pub(super) fn truncate(bytes: &[u8], most: usize) -> &[u8] {
    if bytes.len() <= most {
        return bytes;
    }
    let mut end = most;
    // A character is at most four bytes, three of them continuations; more of those is not UTF-8 and may be cut.
    while end > most.saturating_sub(3) && bytes.get(end).is_some_and(|byte| byte & 0xc0 == 0x80) {
        end -= 1;
    }
    bytes.get(..end).unwrap_or(bytes)
}

fn plain_length(bytes: &[u8]) -> usize {
    bytes.iter().position(|&byte| !PLAIN_JSON[usize::from(byte)]).unwrap_or(bytes.len())
}

fn json_text(buf: &mut Vec<u8>, text: &str) {
    for c in text.chars() {
        match c {
            '"' => buf.extend_from_slice(b"\\\""),
            '\\' => buf.extend_from_slice(b"\\\\"),
            '\n' => buf.extend_from_slice(b"\\n"),
            '\r' => buf.extend_from_slice(b"\\r"),
            '\t' => buf.extend_from_slice(b"\\t"),
            c if breaks_line(c) => unicode_escape(buf, c),
            c => buf.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// Control characters; and readers that split lines by Unicode's rules also break at U+2028 and U+2029.
fn breaks_line(c: char) -> bool {
    c.is_control() || c == '\u{2028}' || c == '\u{2029}'
}

/// All control characters and separators lie below U+10000: one unit is enough.
fn unicode_escape(buf: &mut Vec<u8>, c: char) {
    let [high, low] = u16::try_from(u32::from(c)).unwrap_or(0xfffd).to_be_bytes();
    buf.extend_from_slice(b"\\u");
    buf.extend_from_slice(&[nibble(HEX, high >> 4), nibble(HEX, high), nibble(HEX, low >> 4), nibble(HEX, low)]);
}

fn nibble(digits: &[u8; 16], value: u8) -> u8 {
    digits[usize::from(value & 0x0f)]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn escaped(escape: Escape, bytes: &[u8]) -> String {
        let mut buf = Vec::new();
        escape.put(&mut buf, bytes);
        String::from_utf8(buf).unwrap()
    }

    #[test]
    fn plain_text_is_left_alone() {
        let text = "/api/v1/chat?x=1&y=%20~!@#$^*()_+-=[]{}|;':,./<>";
        assert_eq!(escaped(Escape::Json, text.as_bytes()), text);
        assert_eq!(escaped(Escape::Nginx, text.as_bytes()), text);
    }

    #[test]
    fn a_line_break_cannot_end_the_line() {
        assert_eq!(escaped(Escape::Json, b"a\r\nb\0\x1b\x7f"), "a\\r\\nb\\u0000\\u001b\\u007f");
        assert_eq!(escaped(Escape::Json, "a\u{85}b\u{2028}c".as_bytes()), "a\\u0085b\\u2028c");
        assert_eq!(escaped(Escape::Nginx, b"a\r\nb\"\\"), "a\\x0D\\x0Ab\\x22\\x5C");
    }

    #[test]
    fn text_for_people_keeps_its_quotes_but_stays_on_one_line() {
        let mut buf = Vec::new();
        text(&mut buf, b"say \"gr\xc3\xbcn\"\r\n\x1b[31m\xff\\");
        assert_eq!(String::from_utf8(buf).unwrap(), "say \"grün\"\\r\\n\\u001b[31m\u{fffd}\\");
    }

    #[test]
    fn bytes_outside_ascii_are_kept_in_json_and_hex_for_nginx() {
        assert_eq!(escaped(Escape::Json, "grün".as_bytes()), "grün");
        assert_eq!(escaped(Escape::Json, b"a\xffb"), "a\u{fffd}b");
        assert_eq!(escaped(Escape::Nginx, "ü".as_bytes()), "\\xC3\\xBC");
    }

    #[test]
    fn a_cut_does_not_split_a_character() {
        assert_eq!(truncate("aü".as_bytes(), 2), b"a");
        assert_eq!(truncate("aü".as_bytes(), 3), "aü".as_bytes());
        assert_eq!(truncate("a😀".as_bytes(), 4), b"a");
        assert_eq!(truncate(&[0x80; 9], 6).len(), 3, "not UTF-8, still bounded");
        assert_eq!(truncate(b"abc", 0), b"");
    }

    proptest! {
        #[test]
        fn json_parses_back_to_the_lossy_input(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let text = format!("\"{}\"", escaped(Escape::Json, &bytes));
            let back: String = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(back, String::from_utf8_lossy(&bytes).into_owned());
        }

        #[test]
        fn any_text_stays_on_one_line(text in any::<String>()) {
            let line = escaped(Escape::Json, text.as_bytes());
            let broken = line.chars().any(breaks_line);
            prop_assert!(!broken);
        }

        #[test]
        fn nginx_escapes_can_be_undone(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let line = escaped(Escape::Nginx, &bytes);
            prop_assert!(line.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b'"'));
            let mut back = Vec::new();
            let mut rest = line.as_bytes();
            while let Some((&byte, after)) = rest.split_first() {
                if byte == b'\\' {
                    back.push(u8::from_str_radix(std::str::from_utf8(&after[1..3]).unwrap(), 16).unwrap());
                    rest = &after[3..];
                } else {
                    back.push(byte);
                    rest = after;
                }
            }
            prop_assert_eq!(back, bytes);
        }
    }
}
