//! Tokens that a request used, in one shape for all providers.

use std::ops::AddAssign;

use crate::observe::ai::Tokens;

/// Tokens of one answer.
///
/// OpenAI counts cached tokens within its prompt tokens, Anthropic beside its input tokens: here they are always within
/// `input`, as reasoning is within `output`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// All tokens of the prompt.
    pub input: u64,
    /// Of these, read from the provider's cache.
    pub cache_read: u64,
    /// Of these, written to the provider's cache.
    pub cache_write: u64,
    /// All tokens of the answer.
    pub output: u64,
    /// Of these, for thinking.
    pub reasoning: u64,
}

impl Usage {
    /// Input and output.
    pub fn total(&self) -> u64 {
        self.input.saturating_add(self.output)
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.input = self.input.saturating_add(other.input);
        self.cache_read = self.cache_read.saturating_add(other.cache_read);
        self.cache_write = self.cache_write.saturating_add(other.cache_write);
        self.output = self.output.saturating_add(other.output);
        self.reasoning = self.reasoning.saturating_add(other.reasoning);
    }
}

impl From<Usage> for Tokens {
    fn from(usage: Usage) -> Self {
        let Usage { input, cache_read, cache_write, output, reasoning } = usage;
        Self { input, output, cache_read, cache_write, reasoning }
    }
}
