//! What is said of a key by whom: of which model a provider speaks, and that a request which has a key is under way.

use std::fmt::{self, Write};

use super::KeyRing;

/// Of what a provider speaks who refuses a key, or limits it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of<'a> {
    /// Of whatever is asked for with it.
    All,
    /// Of this model, as the provider calls it.
    Model(&'a str),
}

impl<'a> Of<'a> {
    pub(super) fn one(self) -> Option<&'a str> {
        match self {
            Self::All => None,
            Self::Model(model) => Some(model),
        }
    }

    /// No model has an empty name: what holds for that one holds for all.
    pub(super) fn model(self) -> &'a str {
        self.one().unwrap_or_default()
    }
}

impl fmt::Display for Of<'_> {
    /// A client names the model, so its text is bounded.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all models"),
            Self::Model(model) => {
                f.write_str("model ")?;
                model.chars().take(80).flat_map(char::escape_debug).try_for_each(|char| f.write_char(char))
            }
        }
    }
}

/// A request that was given a key. Dropped before [`Self::over`], as when its client leaves, it says nothing about the key:
/// where it was the probe, the next may go at once.
pub struct Probing<'a> {
    ring: &'a KeyRing,
    key: Option<usize>,
    model: &'a str,
}

impl<'a> Probing<'a> {
    /// Of the key that was picked for `model`, where there is one.
    pub fn new(ring: &'a KeyRing, key: Option<usize>, model: &'a str) -> Self {
        Self { ring, key, model }
    }

    /// What became of the key was told.
    pub fn over(mut self) {
        self.key = None;
    }
}

impl Drop for Probing<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.ring.released(key, self.model);
        }
    }
}
