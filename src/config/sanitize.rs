//! The values of `sanitize`: what is masked in bodies, and for whom it is not.

use std::sync::Arc;

use ipnet::IpNet;
use regex::bytes::Regex;

/// A set of rules that mask what bodies should not carry.
#[derive(Debug, Clone)]
pub struct Sanitize {
    /// Its name.
    pub name: Arc<str>,
    /// What is masked. Never empty.
    pub rules: Vec<Rule>,
    /// Whether bodies of requests are masked.
    pub request: bool,
    /// Whether bodies of answers are.
    pub response: bool,
    /// The largest body that is masked, in bytes; event streams may be longer.
    pub max_body: u64,
    /// What is done with a larger one.
    pub on_too_large: Unmasked,
    /// What is done with a body that is compressed, a part of one, or not UTF-8.
    pub on_unreadable: Unmasked,
    /// Callers whose bodies are left as they are: `key:ID` or `token:ID`, for a key and a token may have the same id.
    pub callers: Vec<String>,
    /// Networks whose clients' bodies are left as they are.
    pub addresses: Vec<IpNet>,
}

/// What one rule looks for, and what stands in its place afterwards.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Its name, in metrics.
    pub name: Arc<str>,
    /// What it looks for.
    pub finds: Finds,
    /// What stands in its place: the inside of a JSON string, escaped.
    pub replace: Box<[u8]>,
}

/// What a rule looks for.
#[derive(Debug, Clone)]
pub enum Finds {
    /// E-mail addresses.
    Email,
    /// Telephone numbers: those that begin with `+`, and Chinese mobile ones.
    Phone,
    /// Numbers of payment cards, by their check digit.
    Card,
    /// Chinese identity numbers of 18 digits, by their check digit.
    IdCard,
    /// Whatever this takes. It only matches whole characters.
    Pattern(Regex),
}

/// What is done with a body that cannot be masked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmasked {
    /// It passes as it is, and is counted.
    Pass,
    /// It is refused.
    Refuse,
}
