//! Tokens that a request used, in one shape for all providers.

use std::ops::AddAssign;

use crate::observe::ai::Tokens;

/// Tokens of one answer.
///
/// OpenAI counts cached tokens within its prompt tokens, Anthropic beside its input tokens: here they are always within
/// `input`, as reasoning is within `output`. The parts of `input` do not overlap, and neither do those of `output`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// All tokens of the prompt.
    pub input: u64,
    /// Of these, read from the provider's cache.
    pub cache_read: u64,
    /// Of these, written to the provider's cache.
    pub cache_write: u64,
    /// Of those written, to be held for an hour.
    pub cache_write_1h: u64,
    /// Of the input, sound that was not cached.
    pub audio_input: u64,
    /// Of the input, pictures that were not cached, where they are counted apart.
    pub image_input: u64,
    /// All tokens of the answer.
    pub output: u64,
    /// Of these, for thinking.
    pub reasoning: u64,
    /// Of these, sound.
    pub audio_output: u64,
    /// Of these, pictures.
    pub image_output: u64,
    /// The provider's number of the prompt's tokens was none.
    pub input_unsaid: bool,
    /// The tier of service, as far as it was told.
    pub tier: Option<ServiceTier>,
}

/// How a provider serves a request, where that has a price of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceTier {
    /// As usual.
    Standard,
    /// Slow and cheap.
    Flex,
    /// Before others, or fast.
    Priority,
    /// Faster still.
    Ultrafast,
}

impl ServiceTier {
    /// The tier of a provider's word, in an answer or a request. `None`: it is no word for one, or one that leaves it open,
    /// such as `auto`.
    pub fn of(word: &[u8]) -> Option<Self> {
        let is = |known: &[&str]| known.iter().any(|known| word.eq_ignore_ascii_case(known.as_bytes()));
        if is(&["default", "standard", "on_demand"]) {
            Some(Self::Standard)
        } else if is(&["flex", "on_demand_flex"]) {
            Some(Self::Flex)
        } else if is(&["priority", "fast", "on_demand_priority"]) {
            Some(Self::Priority)
        } else if is(&["ultrafast"]) {
            Some(Self::Ultrafast)
        } else {
            None
        }
    }
}

impl Usage {
    /// Input and output.
    pub fn total(&self) -> u64 {
        self.input.saturating_add(self.output)
    }

    /// The same with parts that are never more than what they are a part of.
    #[must_use]
    pub fn bounded(self) -> Self {
        let cache_read = self.cache_read.min(self.input);
        let cache_write = self.cache_write.min(self.input - cache_read);
        let plain = self.input - cache_read - cache_write;
        let audio_input = self.audio_input.min(plain);
        let reasoning = self.reasoning.min(self.output);
        let audio_output = self.audio_output.min(self.output - reasoning);
        Self {
            cache_read,
            cache_write,
            cache_write_1h: self.cache_write_1h.min(cache_write),
            audio_input,
            image_input: self.image_input.min(plain - audio_input),
            reasoning,
            audio_output,
            image_output: self.image_output.min(self.output - reasoning - audio_output),
            ..self
        }
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.input = self.input.saturating_add(other.input);
        self.cache_read = self.cache_read.saturating_add(other.cache_read);
        self.cache_write = self.cache_write.saturating_add(other.cache_write);
        self.cache_write_1h = self.cache_write_1h.saturating_add(other.cache_write_1h);
        self.audio_input = self.audio_input.saturating_add(other.audio_input);
        self.image_input = self.image_input.saturating_add(other.image_input);
        self.output = self.output.saturating_add(other.output);
        self.reasoning = self.reasoning.saturating_add(other.reasoning);
        self.audio_output = self.audio_output.saturating_add(other.audio_output);
        self.image_output = self.image_output.saturating_add(other.image_output);
        self.input_unsaid = self.input_unsaid || other.input_unsaid;
        self.tier = self.tier.or(other.tier);
    }
}

impl From<Usage> for Tokens {
    fn from(usage: Usage) -> Self {
        let Usage { input, cache_read, cache_write, output, reasoning, .. } = usage;
        Self { input, output, cache_read, cache_write, reasoning }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tier_is_known_by_the_words_of_each_provider() {
        for (word, tier) in [
            ("default", Some(ServiceTier::Standard)),
            ("standard", Some(ServiceTier::Standard)),
            ("ON_DEMAND", Some(ServiceTier::Standard)),
            ("flex", Some(ServiceTier::Flex)),
            ("ON_DEMAND_FLEX", Some(ServiceTier::Flex)),
            ("priority", Some(ServiceTier::Priority)),
            ("fast", Some(ServiceTier::Priority)),
            ("ON_DEMAND_PRIORITY", Some(ServiceTier::Priority)),
            ("ultrafast", Some(ServiceTier::Ultrafast)),
            ("auto", None),
            ("scale", None),
            ("", None),
        ] {
            assert_eq!(ServiceTier::of(word.as_bytes()), tier, "{word}");
        }
    }

    #[test]
    fn parts_are_never_more_than_the_whole() {
        let all = u64::MAX;
        let wild = Usage {
            input: 10,
            cache_read: 4,
            cache_write: 3,
            cache_write_1h: all,
            audio_input: 2,
            image_input: all,
            output: 10,
            reasoning: 5,
            audio_output: all,
            image_output: all,
            input_unsaid: false,
            tier: None,
        };
        let bounded = wild.bounded();
        assert_eq!((bounded.cache_write_1h, bounded.audio_input, bounded.image_input), (3, 2, 1));
        assert_eq!((bounded.audio_output, bounded.image_output), (5, 0));
        assert_eq!(bounded.bounded(), bounded);
    }
}
