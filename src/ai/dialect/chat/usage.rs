//! Usage of Chat, whose `prompt_tokens` hold what the cache read or wrote.

use serde::Deserialize;

use super::super::json::Object;
use super::super::text::{Count, lenient};
use crate::ai::usage::Usage;

/// As it is read.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub(super) struct UsageOf {
    prompt_tokens: Count,
    completion_tokens: Count,
    #[serde(deserialize_with = "lenient")]
    prompt_tokens_details: PromptDetails,
    #[serde(deserialize_with = "lenient")]
    completion_tokens_details: CompletionDetails,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct PromptDetails {
    cached_tokens: Count,
    cache_write_tokens: Count,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct CompletionDetails {
    reasoning_tokens: Count,
}

impl From<UsageOf> for Usage {
    fn from(of: UsageOf) -> Self {
        let prompt = of.prompt_tokens_details;
        Self {
            input: of.prompt_tokens.0.unwrap_or(0),
            cache_read: prompt.cached_tokens.0.unwrap_or(0),
            cache_write: prompt.cache_write_tokens.0.unwrap_or(0),
            output: of.completion_tokens.0.unwrap_or(0),
            reasoning: of.completion_tokens_details.reasoning_tokens.0.unwrap_or(0),
            ..Self::default()
        }
    }
}

/// Whether the provider counted: every answer has tokens. Chat's clients do without, where zeros would be believed.
pub(super) fn is_told(usage: &Usage) -> bool {
    usage.total() > 0
}

pub(super) fn write(usage: &Usage, o: &mut Object<'_>) {
    o.number("prompt_tokens", usage.input);
    o.number("completion_tokens", usage.output);
    o.number("total_tokens", usage.total());
    o.object("prompt_tokens_details", |o| {
        o.number("cached_tokens", usage.cache_read);
        if usage.cache_write > 0 {
            o.number("cache_write_tokens", usage.cache_write);
        }
    });
    o.object("completion_tokens_details", |o| o.number("reasoning_tokens", usage.reasoning));
}
