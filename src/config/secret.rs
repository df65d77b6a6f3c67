//! Secrets: values that never show themselves.

use std::fmt;

use sha2::{Digest, Sha256};

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

/// A secret. Never empty; its `Debug` shows nothing of it, and it has neither `Display` nor `Serialize`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes `value`; `None` when it is empty, for an empty secret is a disabled one and must never match.
    pub fn new(value: String) -> Option<Self> {
        (!value.is_empty()).then_some(Self(value))
    }

    /// The content, for the one place that compares or sends it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
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
    }
}
