//! Names of tools and ids of calls that a provider would refuse: shortened, and for names found again in the answer.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write;

use sha2::{Digest, Sha256};

use super::Dialect;

/// Letters of what is kept of a name that is too long.
const KEPT: usize = 55;

/// Names as a provider takes them, with the client's own behind those that had to change.
#[derive(Debug)]
pub(super) struct Names {
    provider: Dialect,
    changed: HashMap<String, String>,
}

impl Names {
    pub(super) fn new(provider: Dialect) -> Self {
        Self { provider, changed: HashMap::new() }
    }

    /// The name as the provider takes it.
    pub(super) fn name<'n>(&mut self, name: &'n str) -> Cow<'n, str> {
        let most = if self.provider == Dialect::Messages { 128 } else { 64 };
        let begins =
            self.provider != Dialect::Gemini || name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if begins && is_plain(name, most) {
            return Cow::Borrowed(name);
        }
        let short = shortened(if begins { "" } else { "_" }, name);
        self.changed.insert(short.clone(), name.to_owned());
        Cow::Owned(short)
    }

    /// From the provider's names to the client's, for those that changed.
    pub(super) fn into_changed(self) -> HashMap<String, String> {
        self.changed
    }
}

/// The id of a call as a provider takes it: Messages wants letters, digits, `_` and `-`; Chat at most 40 bytes.
pub(super) fn call_id(provider: Dialect, id: &str) -> Cow<'_, str> {
    let fits = match provider {
        Dialect::Messages => is_plain(id, usize::MAX),
        _ => !id.is_empty() && id.len() <= 40,
    };
    if fits { Cow::Borrowed(id) } else { Cow::Owned(format!("call_{}", digest(&[id.as_bytes()], 12))) }
}

/// Before an id that Gemini gave a call; no other provider's begins so.
const GEMINIS: &str = "gem-";

/// The client's id for a call that has this one of Gemini's; `None`: it is not one that all providers take.
pub(super) fn of_gemini(id: &str) -> Option<String> {
    is_plain(id, 40 - GEMINIS.len()).then(|| format!("{GEMINIS}{id}"))
}

/// Gemini's own id for a call, from the client's; `None`: it was not Gemini that made it.
pub(super) fn geminis(id: &str) -> Option<&str> {
    id.strip_prefix(GEMINIS).filter(|id| is_plain(id, usize::MAX))
}

/// Lower-case hex of the first `bytes` bytes of a SHA-256 over all parts, each with its length.
pub(super) fn digest(parts: &[&[u8]], bytes: usize) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    let mut hex = String::with_capacity(2 * bytes);
    for byte in hash.finalize().iter().take(bytes) {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

fn is_plain(name: &str, most: usize) -> bool {
    !name.is_empty() && name.len() <= most && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
}

fn shortened(before: &str, name: &str) -> String {
    let kept = name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' });
    let kept: String = before.chars().chain(kept).take(KEPT).collect();
    format!("{kept}_{}", digest(&[name.as_bytes()], 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_fits_is_left_alone_and_one_that_does_not_is_found_again() {
        let long = "mcp__a_server_with_a_long_name__and_a_tool_whose_name_is_longer_still";
        let mut names = Names::new(Dialect::Chat);
        assert_eq!(names.name("get_weather"), "get_weather");
        let short = names.name(long).into_owned();
        let dotted = names.name("ns.tool").into_owned();
        assert!(short.len() <= 64 && short.starts_with("mcp__a_server"), "{short}");
        let changed = names.into_changed();
        assert_eq!(changed.get(&short).map(String::as_str), Some(long));
        assert_eq!(changed.get(&dotted).map(String::as_str), Some("ns.tool"));
        assert_eq!(changed.len(), 2);
    }

    #[test]
    fn gemini_gets_names_that_begin_with_a_letter() {
        let mut names = Names::new(Dialect::Gemini);
        assert_eq!(names.name("_x"), "_x");
        assert!(names.name("7up").starts_with("_7up_"));
    }

    #[test]
    fn ids_keep_apart_what_was_apart() {
        assert_eq!(call_id(Dialect::Messages, "toolu_01-a"), "toolu_01-a");
        let (a, b) = (call_id(Dialect::Messages, "functions.get:0"), call_id(Dialect::Messages, "functions.get:1"));
        assert!(a.starts_with("call_") && a != b);
        assert_eq!(call_id(Dialect::Chat, &"x".repeat(41)).len(), 29);
    }
}
