//! Usage, as providers count it -> [`Usage`].

use crate::ai::json::{Fault, Reader};
use crate::ai::usage::Usage;

/// As OpenAI counts: cached tokens are among those of the prompt, reasoning among those of the answer. The names are those
/// of Chat, Completions and embeddings, of Responses and images, and what others have put beside them. `None`: there are
/// no tokens in it.
pub(super) fn openai(reader: &mut Reader<'_>) -> Result<Option<Usage>, Fault> {
    let mut usage = Usage::default();
    let mut counted = false;
    let mut total = None;
    if !reader.maybe_object()? {
        return Ok(None);
    }
    while let Some(key) = reader.key()? {
        let place = match key.raw() {
            b"prompt_tokens" | b"input_tokens" => &mut usage.input,
            b"completion_tokens" | b"output_tokens" => &mut usage.output,
            b"total_tokens" => {
                total = reader.maybe_u64()?;
                continue;
            }
            // DeepSeek, Moonshot, and those who put Anthropic's names here.
            b"prompt_cache_hit_tokens" | b"cached_tokens" | b"cache_read_input_tokens" => {
                usage.cache_read = usage.cache_read.max(reader.maybe_u64()?.unwrap_or(0));
                continue;
            }
            b"cache_creation_input_tokens" => {
                usage.cache_write = usage.cache_write.max(reader.maybe_u64()?.unwrap_or(0));
                continue;
            }
            b"prompt_tokens_details"
            | b"input_tokens_details"
            | b"completion_tokens_details"
            | b"output_tokens_details" => {
                details(&mut usage, reader)?;
                continue;
            }
            _ => {
                reader.skip()?;
                continue;
            }
        };
        if let Some(tokens) = reader.maybe_u64()? {
            *place = tokens;
            counted = true;
        }
    }
    if let Some(total) = total {
        let parts = usage.total();
        if !counted {
            // Rerankers tell nothing else.
            usage.input = total;
        } else if total > parts {
            // Some count reasoning in the total alone.
            usage.output = total.saturating_sub(usage.input);
        }
    }
    Ok((counted || total.is_some()).then(|| bounded(usage)))
}

fn details(usage: &mut Usage, reader: &mut Reader<'_>) -> Result<(), Fault> {
    if !reader.maybe_object()? {
        return Ok(());
    }
    while let Some(key) = reader.key()? {
        let place = match key.raw() {
            b"cached_tokens" => &mut usage.cache_read,
            b"cache_write_tokens" | b"cache_creation_tokens" => &mut usage.cache_write,
            b"reasoning_tokens" => &mut usage.reasoning,
            _ => {
                reader.skip()?;
                continue;
            }
        };
        *place = (*place).max(reader.maybe_u64()?.unwrap_or(0));
    }
    Ok(())
}

/// Parts are never more than what they are a part of.
fn bounded(usage: Usage) -> Usage {
    let cache_read = usage.cache_read.min(usage.input);
    Usage {
        cache_read,
        cache_write: usage.cache_write.min(usage.input - cache_read),
        reasoning: usage.reasoning.min(usage.output),
        ..usage
    }
}

/// As Anthropic counts: what was read from the cache and written to it stands beside the input. In a stream the numbers
/// come in parts, each for the whole answer so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Anthropic {
    input: u64,
    cache_read: u64,
    cache_write: u64,
    output: u64,
    reasoning: u64,
}

impl Anthropic {
    /// Takes in an object of usage; whether there were tokens in it.
    pub(super) fn take(&mut self, reader: &mut Reader<'_>) -> Result<bool, Fault> {
        let mut counted = false;
        if !reader.maybe_object()? {
            return Ok(false);
        }
        while let Some(key) = reader.key()? {
            let place = match key.raw() {
                b"input_tokens" => &mut self.input,
                b"cache_read_input_tokens" => &mut self.cache_read,
                b"cache_creation_input_tokens" => &mut self.cache_write,
                b"output_tokens" => &mut self.output,
                b"output_tokens_details" => {
                    let mut usage = Usage::default();
                    details(&mut usage, reader)?;
                    self.reasoning = self.reasoning.max(usage.reasoning);
                    continue;
                }
                _ => {
                    reader.skip()?;
                    continue;
                }
            };
            if let Some(tokens) = reader.maybe_u64()? {
                *place = (*place).max(tokens);
                counted = true;
            }
        }
        Ok(counted)
    }

    pub(super) fn usage(&self) -> Usage {
        bounded(Usage {
            input: self.input.saturating_add(self.cache_read).saturating_add(self.cache_write),
            cache_read: self.cache_read,
            cache_write: self.cache_write,
            output: self.output,
            reasoning: self.reasoning,
        })
    }
}

/// As Gemini counts: thoughts stand beside the candidates, prompts of tools beside the prompt, cached content within it.
pub(super) fn gemini(reader: &mut Reader<'_>) -> Result<Option<Usage>, Fault> {
    let mut usage = Usage::default();
    let mut counted = false;
    if !reader.maybe_object()? {
        return Ok(None);
    }
    while let Some(key) = reader.key()? {
        let name = key.raw();
        if !name.ends_with(b"TokenCount") {
            reader.skip()?;
            continue;
        }
        let Some(tokens) = reader.maybe_u64()? else { continue };
        counted = true;
        match name {
            b"promptTokenCount" | b"toolUsePromptTokenCount" => usage.input = usage.input.saturating_add(tokens),
            b"candidatesTokenCount" => usage.output = usage.output.saturating_add(tokens),
            b"thoughtsTokenCount" => {
                usage.output = usage.output.saturating_add(tokens);
                usage.reasoning = tokens;
            }
            b"cachedContentTokenCount" => usage.cache_read = tokens,
            _ => {}
        }
    }
    Ok(counted.then(|| bounded(usage)))
}

/// As Cohere bills, in `meta`: tokens, where it bills tokens.
pub(super) fn cohere(reader: &mut Reader<'_>) -> Result<Option<Usage>, Fault> {
    let mut usage = None;
    if !reader.maybe_object()? {
        return Ok(None);
    }
    while let Some(key) = reader.key()? {
        match key.raw() {
            b"billed_units" => usage = openai(reader)?.or(usage),
            b"tokens" => usage = usage.or(openai(reader)?),
            _ => reader.skip()?,
        }
    }
    Ok(usage)
}
