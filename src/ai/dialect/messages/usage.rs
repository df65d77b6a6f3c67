//! Usage of Messages, whose `input_tokens` leave out what the cache read or wrote.

use serde::Deserialize;

use super::super::json::Object;
use super::super::text::{Count, lenient};
use crate::ai::usage::Usage;

/// As it is read. A later one of a stream overrides what it names.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub(super) struct UsageOf {
    input_tokens: Count,
    cache_creation_input_tokens: Count,
    cache_read_input_tokens: Count,
    output_tokens: Count,
    #[serde(deserialize_with = "lenient")]
    output_tokens_details: Details,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct Details {
    thinking_tokens: Count,
}

impl UsageOf {
    pub(super) fn update(&mut self, later: Self) {
        for (known, later) in [
            (&mut self.input_tokens, later.input_tokens),
            (&mut self.cache_creation_input_tokens, later.cache_creation_input_tokens),
            (&mut self.cache_read_input_tokens, later.cache_read_input_tokens),
            (&mut self.output_tokens, later.output_tokens),
            (&mut self.output_tokens_details.thinking_tokens, later.output_tokens_details.thinking_tokens),
        ] {
            known.0 = later.0.or(known.0);
        }
    }
}

impl From<UsageOf> for Usage {
    fn from(of: UsageOf) -> Self {
        let cache_read = of.cache_read_input_tokens.0.unwrap_or(0);
        let cache_write = of.cache_creation_input_tokens.0.unwrap_or(0);
        Self {
            input: of.input_tokens.0.unwrap_or(0).saturating_add(cache_read).saturating_add(cache_write),
            cache_read,
            cache_write,
            output: of.output_tokens.0.unwrap_or(0),
            reasoning: of.output_tokens_details.thinking_tokens.0.unwrap_or(0),
            ..Self::default()
        }
    }
}

pub(super) fn write(usage: &Usage, o: &mut Object<'_>) {
    o.number("input_tokens", usage.input.saturating_sub(usage.cache_read).saturating_sub(usage.cache_write));
    o.number("cache_creation_input_tokens", usage.cache_write);
    o.number("cache_read_input_tokens", usage.cache_read);
    o.number("output_tokens", usage.output);
    if usage.reasoning > 0 {
        o.object("output_tokens_details", |o| o.number("thinking_tokens", usage.reasoning));
    }
}
