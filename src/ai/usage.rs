//! Tokens that a request used, in one shape for all providers.

use std::ops::AddAssign;

use super::door::Operation;
use crate::observe::ai::Tokens;

/// Models that one answer may have asked besides, by name. Of more, the tokens count as those of its own model.
const MOST_ADVISERS: usize = 8;

/// Tokens of one answer.
///
/// OpenAI counts cached tokens within its prompt tokens, Anthropic beside its input tokens: here they are always within
/// `input`, as reasoning is within `output`. The parts of `input` do not overlap, and neither do those of `output`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
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
    /// The provider did not say for how long what was written to its cache is held.
    pub cache_time_unsaid: bool,
    /// Of all these, what other models used that were asked for advice.
    pub advice: Vec<Advice>,
    /// The tier of service, as far as it was told.
    pub tier: Option<ServiceTier>,
}

/// What another model used that was asked for advice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Advice {
    /// The provider's name for it.
    pub model: Box<str>,
    /// All tokens that it read.
    pub input: u64,
    /// Of these, read from the provider's cache.
    pub cache_read: u64,
    /// Of these, written to it.
    pub cache_write: u64,
    /// All tokens that it wrote.
    pub output: u64,
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

    /// Its word in the configuration.
    pub fn word(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Flex => "flex",
            Self::Priority => "priority",
            Self::Ultrafast => "ultrafast",
        }
    }
}

impl Usage {
    /// Input and output.
    pub fn total(&self) -> u64 {
        self.input.saturating_add(self.output)
    }

    /// The same at a door of sound or pictures, where the provider does not tell what its tokens are of.
    #[must_use]
    pub fn at(self, operation: Operation) -> Self {
        use Operation::{ImageEdit, ImageGeneration, ImageVariation, Speech, Transcription, Translation};
        let usage = match operation {
            Speech if self.audio_output == 0 => Self { audio_output: self.output, ..self },
            ImageGeneration | ImageEdit | ImageVariation if self.image_output == 0 => {
                Self { image_output: self.output, ..self }
            }
            Transcription | Translation if self.audio_input == 0 => Self { audio_input: self.input, ..self },
            _ => return self,
        };
        usage.bounded()
    }

    /// The same after the provider has told `later` of the same answer: what was counted once stays counted.
    #[must_use]
    pub fn grown(self, later: Self) -> Self {
        let usage = Self {
            input: self.input.max(later.input),
            cache_read: self.cache_read.max(later.cache_read),
            cache_write: self.cache_write.max(later.cache_write),
            cache_write_1h: self.cache_write_1h.max(later.cache_write_1h),
            audio_input: self.audio_input.max(later.audio_input),
            image_input: self.image_input.max(later.image_input),
            output: self.output.max(later.output),
            reasoning: self.reasoning.max(later.reasoning),
            audio_output: self.audio_output.max(later.audio_output),
            image_output: self.image_output.max(later.image_output),
            cache_time_unsaid: later.cache_time_unsaid,
            advice: if later.advice.is_empty() { self.advice } else { later.advice },
            tier: later.tier.or(self.tier),
        };
        usage.bounded()
    }

    /// Takes down what another model used, as a part of this.
    ///
    /// # Errors
    /// The same, when there are too many others already.
    pub fn advised(&mut self, by: Advice) -> Result<(), Advice> {
        if let Some(known) = self.advice.iter_mut().find(|known| known.model == by.model) {
            known.add(&by);
        } else if self.advice.len() < MOST_ADVISERS {
            self.advice.push(by);
        } else {
            return Err(by);
        }
        Ok(())
    }

    /// What its own model used.
    #[must_use]
    pub fn unadvised(&self) -> Self {
        let mut own = Self { advice: Vec::new(), ..self.clone() };
        for other in &self.advice {
            own.input = own.input.saturating_sub(other.input);
            own.cache_read = own.cache_read.saturating_sub(other.cache_read);
            own.cache_write = own.cache_write.saturating_sub(other.cache_write);
            own.output = own.output.saturating_sub(other.output);
        }
        own.bounded()
    }

    /// The same with parts that are never more than what they are a part of.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        let (mut input, mut output) = (self.input, self.output);
        for other in &mut self.advice {
            other.input = other.input.min(input);
            other.cache_read = other.cache_read.min(other.input);
            other.cache_write = other.cache_write.min(other.input - other.cache_read);
            other.output = other.output.min(output);
            (input, output) = (input - other.input, output - other.output);
        }
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

impl Advice {
    fn add(&mut self, other: &Self) {
        self.input = self.input.saturating_add(other.input);
        self.cache_read = self.cache_read.saturating_add(other.cache_read);
        self.cache_write = self.cache_write.saturating_add(other.cache_write);
        self.output = self.output.saturating_add(other.output);
    }

    /// The same as a usage of its own, in the tier of the answer that it was for.
    #[must_use]
    pub fn usage(&self, tier: Option<ServiceTier>) -> Usage {
        let Self { input, cache_read, cache_write, output, .. } = *self;
        Usage { input, cache_read, cache_write, output, tier, ..Usage::default() }
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
        self.cache_time_unsaid = self.cache_time_unsaid || other.cache_time_unsaid;
        for by in other.advice {
            let _ = self.advised(by);
        }
        self.tier = self.tier.or(other.tier);
    }
}

impl From<&Usage> for Tokens {
    fn from(usage: &Usage) -> Self {
        let Usage { input, cache_read, cache_write, output, reasoning, .. } = *usage;
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
            tier: None,
            ..Usage::default()
        };
        let bounded = wild.bounded();
        assert_eq!((bounded.cache_write_1h, bounded.audio_input, bounded.image_input), (3, 2, 1));
        assert_eq!((bounded.audio_output, bounded.image_output), (5, 0));
        assert_eq!(bounded.clone().bounded(), bounded);
    }

    #[test]
    fn what_others_used_is_never_more_than_the_whole() {
        let mut usage = Usage { input: 100, output: 50, ..Usage::default() };
        for (model, input, output) in [("a", 40, 20), ("b", 50, 20), ("a", 30, 20)] {
            usage.advised(Advice { model: model.into(), input, output, ..Advice::default() }).unwrap();
        }
        let bounded = usage.bounded();
        let told: Vec<_> = bounded.advice.iter().map(|of| (&*of.model, of.input, of.output)).collect();
        assert_eq!(told, [("a", 70, 40), ("b", 30, 10)]);
        let own = bounded.unadvised();
        assert_eq!((own.input, own.output), (0, 0));
    }

    #[test]
    fn what_a_door_makes_is_what_its_tokens_are_of_where_nobody_tells() {
        let all = || Usage { input: 9, output: 50, ..Usage::default() };
        let told = all().at(Operation::Speech);
        assert_eq!((told.audio_input, told.audio_output, told.image_output), (0, 50, 0));
        let told = all().at(Operation::ImageEdit);
        assert_eq!((told.audio_output, told.image_output), (0, 50));
        let told = all().at(Operation::Transcription);
        assert_eq!((told.audio_input, told.audio_output), (9, 0));
        assert_eq!(all().at(Operation::Chat), all());
        let some = Usage { image_output: 40, ..all() };
        assert_eq!(some.clone().at(Operation::ImageGeneration), some);
    }

    #[test]
    fn what_was_counted_once_stays_counted() {
        let first = Usage { input: 1_000, output: 700, reasoning: 30, ..Usage::default() };
        let later = Usage { input: 1_200, tier: Some(ServiceTier::Flex), ..Usage::default() };
        let grown = first.grown(later);
        assert_eq!((grown.input, grown.output, grown.reasoning, grown.tier), (1_200, 700, 30, Some(ServiceTier::Flex)));
    }
}
