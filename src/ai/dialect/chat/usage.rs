//! Usage of Chat, whose `prompt_tokens` hold what the cache read or wrote.

use serde::Deserialize;

use super::super::json::Object;
use crate::ai::usage::Usage;

/// As it is read.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub(super) struct UsageOf {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    prompt_tokens_details: Option<PromptDetails>,
    completion_tokens_details: Option<CompletionDetails>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
struct PromptDetails {
    cached_tokens: Option<u64>,
    cache_write_tokens: Option<u64>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
struct CompletionDetails {
    reasoning_tokens: Option<u64>,
}

impl From<UsageOf> for Usage {
    fn from(of: UsageOf) -> Self {
        let prompt = of.prompt_tokens_details.unwrap_or_default();
        Self {
            input: of.prompt_tokens.unwrap_or(0),
            cache_read: prompt.cached_tokens.unwrap_or(0),
            cache_write: prompt.cache_write_tokens.unwrap_or(0),
            output: of.completion_tokens.unwrap_or(0),
            reasoning: of.completion_tokens_details.and_then(|details| details.reasoning_tokens).unwrap_or(0),
            ..Self::default()
        }
    }
}

/// Whether the provider counted: every answer has tokens. Chat's clients do without, where zeros would be believed.
pub(super) fn is_told(usage: &Usage) -> bool {
    usage.total() > 0
}

pub(super) fn write(usage: Usage, o: &mut Object<'_>) {
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
