//! Errors that come as answers: JSON bodies whose top level has `success: false` or an `error` (row F08).
//!
//! The body is looked at chunk by chunk as it arrives, never as a whole. An `error` that is null or false is none. A body
//! that is compressed, or is no JSON object, has none either.

/// The longest key that matters, in bytes.
const MAX_KEY: usize = 8;
/// The longest value that matters, in bytes.
const MAX_VALUE: usize = 6;

/// A look at a body.
#[derive(Debug, Default)]
pub struct ErrorScan {
    depth: u32,
    /// Nothing but blanks came so far.
    begun: bool,
    /// It is decided: an error, or nothing that could be one.
    done: bool,
    found: bool,
    in_string: bool,
    escaped: bool,
    /// A key was read and its value is due.
    in_value: bool,
    key: Text<MAX_KEY>,
    value: Text<MAX_VALUE>,
}

/// The first bytes of a text.
#[derive(Debug, Default)]
struct Text<const N: usize> {
    bytes: Vec<u8>,
}

impl<const N: usize> Text<N> {
    fn push(&mut self, byte: u8) {
        if self.bytes.len() < N {
            self.bytes.push(byte);
        }
    }
}

impl ErrorScan {
    /// Takes in the next bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if self.done {
                return;
            }
            self.take(byte);
        }
    }

    /// Whether the body is an error, by what came so far.
    pub fn is_error(&self) -> bool {
        self.found
    }

    fn take(&mut self, byte: u8) {
        if self.in_string {
            return self.take_string(byte);
        }
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => {}
            _ if !self.begun => {
                self.begun = true;
                self.done = byte != b'{';
                self.depth = 1;
            }
            b'"' => {
                self.in_string = true;
                self.note(byte);
                if self.depth == 1 && !self.in_value {
                    self.key.bytes.clear();
                }
            }
            b':' if self.depth == 1 => {
                self.in_value = true;
                self.value.bytes.clear();
            }
            b',' if self.depth == 1 => self.end_value(),
            b'{' | b'[' => {
                self.note(byte);
                self.depth = self.depth.saturating_add(1);
            }
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                if self.depth == 0 {
                    self.end_value();
                    self.done = true;
                }
            }
            _ => self.note(byte),
        }
    }

    fn take_string(&mut self, byte: u8) {
        let ends = byte == b'"' && !self.escaped;
        self.escaped = byte == b'\\' && !self.escaped;
        self.in_string = !ends;
        if self.depth == 1 && !self.in_value && !ends {
            self.key.push(byte);
        }
    }

    /// A byte of a value at the top level.
    fn note(&mut self, byte: u8) {
        if self.depth == 1 && self.in_value {
            self.value.push(byte);
        }
    }

    fn end_value(&mut self) {
        self.in_value = false;
        let value = self.value.bytes.as_slice();
        let is_error = match self.key.bytes.as_slice() {
            b"success" => value == b"false",
            b"error" => !matches!(value, b"" | b"null" | b"false"),
            _ => false,
        };
        self.key.bytes.clear();
        self.found |= is_error;
        self.done |= is_error;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_error(text: &str) -> bool {
        let mut scan = ErrorScan::default();
        scan.feed(text.as_bytes());
        scan.is_error()
    }

    #[test]
    fn only_the_top_level_says_that_it_is_an_error() {
        for (text, error) in [
            (r#"{"success":false,"errorCode":"500"}"#, true),
            (r#" { "data" : [1,{"a":2}] , "success" : false } "#, true),
            (r#"{"error":{"message":"no"}}"#, true),
            (r#"{"error":"no"}"#, true),
            (r#"{"error":[],"x":1}"#, true),
            (r#"{"error":1}"#, true),
            (r#"{"error":null,"data":1}"#, false),
            (r#"{"error":false}"#, false),
            (r#"{"success":true}"#, false),
            (r#"{"success":"false"}"#, false),
            (r#"{"data":{"success":false,"error":1}}"#, false),
            (r#"{"data":"\"error\":1","success":true}"#, false),
            (r#"{"a":"{\"success\":false}"}"#, false),
            (r#"{"errors":[1]}"#, false),
            (r#"{"successful":false}"#, false),
            (r#"[{"success":false}]"#, false),
            (r#""error""#, false),
            ("{}", false),
            ("", false),
            ("success:false", false),
        ] {
            assert_eq!(is_error(text), error, "{text}");
        }
    }

    proptest! {
        #[test]
        fn how_it_is_cut_into_chunks_does_not_matter(cut in 0_usize..60, text in r#"[{}\[\]":,a-f\\ nulsceror1]{0,60}"#) {
            let mut scan = ErrorScan::default();
            let (one, other) = text.as_bytes().split_at(cut.min(text.len()));
            scan.feed(one);
            scan.feed(other);
            prop_assert_eq!(scan.is_error(), is_error(&text));
        }

        #[test]
        fn it_agrees_with_a_whole_parse(success in any::<bool>(), error in any::<bool>(), inner in "[a-z\"{}:,\\\\]{0,20}") {
            let mut value = serde_json::json!({ "a": { "error": inner, "success": false }, "b": inner, "success": success });
            if error {
                value["error"] = serde_json::json!({ "x": inner });
            }
            prop_assert_eq!(is_error(&value.to_string()), error || !success);
        }
    }
}
