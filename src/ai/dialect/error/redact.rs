//! Words of a provider, made safe to show: without keys, addresses and accounts of ours.
//!
//! [`redact`] makes one bounded line for an error of ours. [`cleaned`] leaves everything as it is written but what has to
//! go, for a provider's own error that is passed on ([`super::passed`]).

use std::borrow::Cow;

use bytes::Bytes;
use memchr::memmem;

/// How long what is shown may be, in characters.
const MOST: usize = 500;

/// How keys and accounts begin.
const SECRETS: [&str; 9] = ["sk-", "sk_", "gsk_", "xai-", "hf_", "AIza", "ya29.", "eyJ", "proj_"];

/// How some of them begin, and words of a language, too.
const PERHAPS: [&str; 4] = ["pk-", "rk-", "key-", "org-"];

/// Words whose next one is the name of an account, where it looks like one.
const ACCOUNTS: [&str; 9] = [
    "organization",
    "organisation",
    "org",
    "project",
    "account",
    "workspace",
    "tenant",
    "subscription",
    "deployment_project",
];

/// Ends of hosts that are an account of ours, or inside of a network.
const HOSTS: [&str; 7] = [".azure.com", ".azure.us", ".internal", ".local", ".lan", ".svc", ".amazonaws.com"];

/// What stands in the place of what is taken out.
pub(super) const REDACTED: &str = "[redacted]";

/// How long a key is that is looked for: a shorter one may be a part of any word.
const SHORTEST: usize = 8;

/// Takes out `key`, which may look like anything.
pub(super) fn take_out(text: &mut String, key: &str) {
    if key.len() >= SHORTEST && text.contains(key) {
        *text = text.replace(key, REDACTED);
    }
}

/// A body without `key`, in whichever of its members that stands: the very one, where it is in none.
pub fn without(body: Bytes, key: &str) -> Bytes {
    if key.len() < SHORTEST || memmem::find(&body, key.as_bytes()).is_none() {
        return body;
    }
    let mut out = Vec::with_capacity(body.len());
    let mut copied = 0;
    for at in memmem::find_iter(&body, key.as_bytes()) {
        out.extend_from_slice(body.get(copied..at).unwrap_or_default());
        out.extend_from_slice(REDACTED.as_bytes());
        copied = at + key.len();
    }
    out.extend_from_slice(body.get(copied..).unwrap_or_default());
    out.into()
}

/// The message as it may be shown; `None`: nothing is left of it.
pub(super) fn redact(message: &str) -> Option<String> {
    let mut out = String::with_capacity(message.len().min(MOST * 4));
    let mut before = Before::Nothing;
    for word in message.split(|char: char| char.is_whitespace() || char.is_control()).filter(|word| !word.is_empty()) {
        if !out.is_empty() {
            out.push(' ');
        }
        let gone = before.hides(word) || word.contains("://") || is_secret(word);
        before = before.then(word);
        out.push_str(if gone { REDACTED } else { word });
        if out.len() > MOST * 4 {
            break;
        }
    }
    if let Some((end, _)) = out.char_indices().nth(MOST) {
        out.truncate(end);
        out.push('…');
    }
    (!out.is_empty()).then_some(out)
}

/// The message with its blanks as they are, without what is a secret or names an account. Addresses stay but those of an
/// account of ours or of a network: providers say in their errors where to read more.
pub(super) fn cleaned(message: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut copied = 0;
    let mut at = 0;
    let mut before = Before::Nothing;
    for word in message.split_inclusive(|char: char| char.is_whitespace() || char.is_control()) {
        let start = at;
        at += word.len();
        let word = word.trim_end_matches(|char: char| char.is_whitespace() || char.is_control());
        if word.is_empty() {
            continue;
        }
        let gone = before.hides(word) || is_secret(word) || is_our_address(word);
        before = before.then(word);
        if gone {
            out.push_str(message.get(copied..start).unwrap_or_default());
            out.push_str(REDACTED);
            copied = start + word.len();
        }
    }
    if copied == 0 {
        return Cow::Borrowed(message);
    }
    out.push_str(message.get(copied..).unwrap_or_default());
    Cow::Owned(out)
}

/// What the word before says of the next one.
#[derive(Clone, Copy)]
enum Before {
    Nothing,
    /// It speaks of a key.
    OfKey,
    /// A key is next, whatever it looks like.
    Key,
    Account,
}

impl Before {
    fn hides(self, word: &str) -> bool {
        match self {
            Self::Nothing | Self::OfKey => false,
            Self::Key => true,
            Self::Account => is_id(word),
        }
    }

    fn then(self, word: &str) -> Self {
        let bare = word.trim_matches(|char: char| !char.is_alphanumeric());
        let is = |names: &[&str]| names.iter().any(|name| name.eq_ignore_ascii_case(bare));
        let leads = word.ends_with(':') || word.ends_with('=');
        match self {
            _ if bare == "Bearer" => Self::Key,
            _ if is(&["key", "api_key", "token"]) => {
                if leads {
                    Self::Key
                } else {
                    Self::OfKey
                }
            }
            Self::OfKey if leads => Self::Key,
            _ if is(&ACCOUNTS) => Self::Account,
            // `project number 123`, `organization id: abc1`
            Self::Account if matches!(bare.to_ascii_lowercase().as_str(), "id" | "number" | "name") => Self::Account,
            _ => Self::Nothing,
        }
    }
}

/// Whether this may be the id of an account: it has a digit, and is no bare number of a few digits.
fn is_id(word: &str) -> bool {
    let bare = word.trim_matches(|char: char| !char.is_alphanumeric());
    let digits = bare.bytes().filter(u8::is_ascii_digit).count();
    bare.len() >= 6 && digits > 0
}

fn is_secret(word: &str) -> bool {
    // From each place where a word may begin within a word: `(sk-...`, `key=sk-...`, `"sk-..."`.
    let inner = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_' | '.' | '*');
    let is_key = |part: &str| {
        is_named(part) || part.contains("***") || part.split(|char: char| !char.is_ascii_alphanumeric()).any(is_random)
    };
    // `projects/1234` is how Google names an account.
    let of_google = word.split_once("projects/").is_some_and(|(_, id)| id.starts_with(|char: char| char != '/'));
    of_google || word.split(|char| !inner(char)).any(is_key)
}

/// Whether it begins as keys and accounts do, and is no word of a language, such as `key-value`.
fn is_named(part: &str) -> bool {
    let part = part.trim_end_matches('.');
    let odd = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_uppercase() || matches!(byte, b'.' | b'*');
    let perhaps = || PERHAPS.iter().find_map(|begin| part.strip_prefix(begin));
    let is_secret = SECRETS.iter().any(|begin| part.starts_with(begin))
        || perhaps().is_some_and(|rest| rest.bytes().any(odd) || rest.len() >= 16);
    part.len() >= 7 && is_secret
}

/// No word of a language is as long and as mixed.
fn is_random(run: &str) -> bool {
    run.len() >= 32 && run.contains(|char: char| char.is_ascii_digit())
}

/// Whether it has an address in it that is no public one.
fn is_our_address(word: &str) -> bool {
    let Some((_, rest)) = word.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#', '"', '\'', ')', ',']).next().unwrap_or_default();
    let host = authority.trim_end_matches(|char: char| char.is_ascii_digit());
    let host = if host.ends_with(':') { host.trim_end_matches(':') } else { authority };
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let is_ip = host.starts_with('[') || host.parse::<std::net::Ipv4Addr>().is_ok();
    let known = HOSTS.iter().any(|end| host.ends_with(end));
    authority.contains('@') || is_ip || !host.contains('.') || known || rest.contains("key=")
}
