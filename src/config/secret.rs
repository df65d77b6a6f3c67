//! Secrets: values that never show themselves.
//!
//! Not in what is written, and not in memory either: what has to be kept is kept as a [`Split`], and of what is only
//! compared the [`Digested`] is. The plain text that comes before and goes out of them is wiped when it is freed, by the
//! threads that read the configuration and make something of it (`sluicegate_wipe`).

use std::fmt;

use ring::rand::{SecureRandom, SystemRandom};
use sha2::{Digest, Sha256};
use sluicegate_wipe::wipe_stack;
use subtle::ConstantTimeEq;

/// Secrets that everyone has, in lower case.
const WORDS: [&str; 20] = [
    "admin",
    "admin123",
    "admin/admin",
    "admin:admin",
    "change-me",
    "change_me",
    "changeit",
    "default",
    "demo",
    "example",
    "password",
    "password123",
    "placeholder",
    "secret",
    "test",
    "test-api-key-123",
    "token",
    "user",
    "user/user",
    "xxx",
];

/// Some of those that [`is_placeholder`] knows by their shape, for their digests.
const DIGESTED: [&str; 10] = [
    "Password",
    "changeme",
    "dev-jwt-secret",
    "sk-service-a-key-here",
    "sk-service-b-key-here",
    "todo",
    "your-api-key",
    "your-api-key-here",
    "your-key-here",
    "your-secret-key",
];

/// A text that does not stand in memory as it is, but as two halves of random bytes that give it together. Who searches
/// the memory of the process for what it looks like finds nothing; who has both halves has the text.
#[derive(Clone)]
pub struct Split {
    pad: Box<[u8]>,
    rest: Box<[u8]>,
}

impl Split {
    /// Takes `text` apart.
    pub fn new(text: &str) -> Self {
        let mut pad = vec![0; text.len()];
        if SystemRandom::new().fill(&mut pad).is_err() {
            // It is to look like nothing, not to be a key.
            fastrand::fill(&mut pad);
        }
        let rest = text.bytes().zip(&pad).map(|(byte, pad)| byte ^ pad).collect();
        Self { pad: pad.into(), rest }
    }

    /// The text, for the one place that needs it at this moment.
    pub fn join(&self) -> String {
        let bytes = self.pad.iter().zip(&self.rest).map(|(pad, rest)| pad ^ rest).collect();
        // It was a text before it was taken apart.
        String::from_utf8(bytes).unwrap_or_default()
    }
}

/// A secret. Never empty; its `Debug` shows nothing of it, and it has neither `Display` nor `Serialize`.
#[derive(Clone)]
pub struct Secret(Split);

impl Secret {
    /// Takes `value`; `None` when it is empty, for an empty secret is a disabled one and must never match.
    pub fn new(value: String) -> Option<Self> {
        (!value.is_empty()).then(|| Self(Split::new(&value)))
    }

    /// The content, for the one place that compares or sends it. Not to be kept.
    pub fn reveal(&self) -> String {
        self.0.join()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.reveal() == other.reveal()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// A secret that is only compared: its SHA-256.
#[derive(Clone, PartialEq, Eq)]
pub struct Digested([u8; 32]);

impl Digested {
    /// Digests `value`; `None` when it is empty, as for [`Secret::new`].
    pub fn new(value: &str) -> Option<Self> {
        (!value.is_empty()).then(|| Self(digest(value.as_bytes())))
    }

    /// Whether `sent` is the secret. It takes a time that depends on neither, for digests have one length.
    pub fn matches(&self, sent: &[u8]) -> bool {
        digest(sent).as_slice().ct_eq(self.0.as_slice()).into()
    }
}

/// The digest of a secret. What that leaves of it on the stack is written over.
fn digest(secret: &[u8]) -> [u8; 32] {
    let digest = hashed(secret);
    wipe_stack();
    digest
}

#[inline(never)]
fn hashed(secret: &[u8]) -> [u8; 32] {
    Sha256::digest(secret).into()
}

impl fmt::Debug for Digested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digested(***)")
    }
}

/// Whether `digest` is the SHA-256 of a secret that is known from examples and defaults. Only of those that are known
/// word by word.
pub fn is_placeholder_digest(digest: &[u8; 32]) -> bool {
    WORDS.iter().chain(&DIGESTED).any(|word| Sha256::digest(word).as_slice() == digest)
}

/// Whether `text` is a secret that is known from examples and defaults, so that everyone has it.
pub fn is_placeholder(text: &str) -> bool {
    const STARTS: [&str; 5] = ["changeme", "dev-jwt-secret", "replace-me", "replace_me", "todo"];
    let text = text.trim().to_ascii_lowercase();
    let starts = |start: &str| text.starts_with(start);
    let your = (starts("your-") || starts("your_"))
        && ["key", "secret", "token", "password", "here"].iter().any(|end| text.ends_with(end));
    let here = starts("sk-") && (text.ends_with("-here") || text.ends_with("_here"));
    let brackets = text.starts_with('<') && text.ends_with('>');
    WORDS.contains(&text.as_str()) || STARTS.iter().any(|start| text.starts_with(start)) || your || here || brackets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_everyone_knows_is_a_placeholder() {
        for text in [
            "admin",
            "admin123",
            "ChangeMe",
            "changeme!",
            "dev-jwt-secret-key-for-development",
            "your-secret-key",
            "your-openai-api-key",
            "your-key-here",
            "test-api-key-123",
            "sk-service-a-key-here",
            "<token>",
            "password",
        ] {
            assert!(is_placeholder(text), "{text}");
        }
    }

    #[test]
    fn what_someone_made_is_none() {
        for text in ["9f8a6c1e2b", "sk-proj-8f7a6b", "yourself-and-i", "administrator-of-things-42", ""] {
            assert!(!is_placeholder(text), "{text}");
        }
    }

    #[test]
    fn a_secret_shows_nothing_and_is_never_empty() {
        assert!(Secret::new(String::new()).is_none());
        let secret = Secret::new("s3cret".to_owned()).unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(***)");
        assert_eq!(secret.reveal(), "s3cret");
        assert!(secret == secret.clone() && secret == Secret::new("s3cret".to_owned()).unwrap());
        assert!(secret != Secret::new("s3cret!".to_owned()).unwrap());
    }

    #[test]
    fn neither_half_of_a_secret_says_anything_of_it() {
        let (one, other) = (Split::new("s3cret of some length"), Split::new("s3cret of some length"));
        assert_eq!(one.join(), other.join());
        assert_ne!(one.pad, other.pad, "the same text is taken apart in another way each time");
        for half in [&one.pad, &one.rest] {
            assert_ne!(&**half, b"s3cret of some length");
        }
        assert_eq!(Split::new("").join(), "");
        assert_eq!(Split::new("\u{e9}\u{4e2d}").join(), "\u{e9}\u{4e2d}");
    }

    #[test]
    fn a_digested_secret_is_matched_by_itself_alone() {
        assert!(Digested::new("").is_none());
        let token = Digested::new("t0ken").unwrap();
        assert!(token.matches(b"t0ken"));
        assert!(!token.matches(b"t0kem") && !token.matches(b"") && !token.matches(b"t0ken "));
        assert_eq!(format!("{token:?}"), "Digested(***)");
    }
}
