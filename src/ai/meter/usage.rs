//! Usage, as providers count it -> [`Usage`].

use crate::ai::estimate;
use crate::ai::json::{Fault, Reader};
use crate::ai::usage::{Advice, ServiceTier, Usage};

/// As OpenAI counts: cached tokens are among those of the prompt, reasoning among those of the answer. The names are those
/// of Chat, Completions and embeddings, of Responses and images, and what others have put beside them. `None`: there are
/// no tokens in it.
pub(super) fn openai(reader: &mut Reader<'_>) -> Result<Option<Usage>, Fault> {
    let mut usage = Usage::default();
    let (mut counted, mut input_said, mut input_wrong) = (false, false, false);
    let mut total = None;
    let mut seconds = None;
    if !reader.maybe_object()? {
        return Ok(None);
    }
    while let Some(key) = reader.key()? {
        let is_input = matches!(key.raw(), b"prompt_tokens" | b"input_tokens");
        let place = match key.raw() {
            _ if is_input => &mut usage.input,
            b"completion_tokens" | b"output_tokens" => &mut usage.output,
            b"total_tokens" => {
                total = reader.maybe_count()?;
                continue;
            }
            // Transcripts that are billed by their length.
            b"seconds" => {
                seconds = reader.maybe_count()?;
                continue;
            }
            // DeepSeek, Moonshot, and those who put Anthropic's names here.
            b"prompt_cache_hit_tokens" | b"cached_tokens" | b"cache_read_input_tokens" => {
                usage.cache_read = usage.cache_read.max(reader.maybe_count()?.unwrap_or(0));
                continue;
            }
            b"cache_creation_input_tokens" => {
                usage.cache_write = usage.cache_write.max(reader.maybe_count()?.unwrap_or(0));
                continue;
            }
            // Transcripts have the second of these.
            b"prompt_tokens_details" | b"input_token_details" | b"input_tokens_details" => {
                details(&mut usage, Side::Input, reader)?;
                continue;
            }
            b"completion_tokens_details" | b"output_tokens_details" => {
                details(&mut usage, Side::Output, reader)?;
                continue;
            }
            _ => {
                reader.skip()?;
                continue;
            }
        };
        match reader.maybe_count()? {
            Some(tokens) => {
                (*place, counted) = (tokens, true);
                input_said |= is_input;
            }
            None => input_wrong |= is_input,
        }
    }
    if let Some(total) = total {
        let parts = usage.total();
        if !counted {
            // Rerankers tell nothing else.
            usage.input = total;
        } else if !input_said && !input_wrong {
            usage.input = total.saturating_sub(usage.output);
        } else if total > parts {
            // Some count reasoning in the total alone.
            usage.output = total.saturating_sub(usage.input);
        }
    }
    if let Some(seconds) = seconds.filter(|_| !counted && total.is_none()) {
        usage.input = estimate::of_sound(seconds);
        usage.audio_input = usage.input;
    }
    Ok((counted || total.is_some() || seconds.is_some()).then(|| usage.bounded()))
}

/// Which tokens the details are of.
#[derive(Clone, Copy)]
enum Side {
    Input,
    Output,
}

fn details(usage: &mut Usage, side: Side, reader: &mut Reader<'_>) -> Result<(), Fault> {
    if !reader.maybe_object()? {
        return Ok(());
    }
    while let Some(key) = reader.key()? {
        let place = match (key.raw(), side) {
            (b"cached_tokens", _) => &mut usage.cache_read,
            (b"cache_write_tokens" | b"cache_creation_tokens", _) => &mut usage.cache_write,
            (b"reasoning_tokens" | b"thinking_tokens", _) => &mut usage.reasoning,
            (b"audio_tokens", Side::Input) => &mut usage.audio_input,
            (b"audio_tokens", Side::Output) => &mut usage.audio_output,
            (b"image_tokens", Side::Input) => &mut usage.image_input,
            (b"image_tokens", Side::Output) => &mut usage.image_output,
            _ => {
                reader.skip()?;
                continue;
            }
        };
        *place = (*place).max(reader.maybe_count()?.unwrap_or(0));
    }
    Ok(())
}

/// Bytes of a model's name that is looked up.
const LONGEST_NAME: usize = 256;

/// As Anthropic counts: what was read from the cache and written to it stands beside the input. In a stream the numbers
/// come in parts, each for the whole answer so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Anthropic {
    input: u64,
    cache_read: u64,
    cache_write: u64,
    cache_write_5m: u64,
    cache_write_1h: u64,
    output: u64,
    reasoning: u64,
    tier: Option<ServiceTier>,
    /// What was done besides the answer, and its own counts leave out: prompts that were made shorter (without a name), advice
    /// of other models.
    besides: Vec<Advice>,
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
                b"iterations" => {
                    let later = besides(reader)?;
                    let sum = |all: &[Advice]| {
                        all.iter().map(|one| u128::from(one.input) + u128::from(one.output)).sum::<u128>()
                    };
                    if sum(&later) >= sum(&self.besides) {
                        self.besides = later;
                    }
                    continue;
                }
                b"output_tokens_details" => {
                    let mut usage = Usage::default();
                    details(&mut usage, Side::Output, reader)?;
                    self.reasoning = self.reasoning.max(usage.reasoning);
                    continue;
                }
                b"cache_creation" => {
                    self.written(reader)?;
                    continue;
                }
                // Its `service_tier` tells how capacity was bought, not what a token costs.
                b"speed" => {
                    let word = reader.maybe_string()?;
                    self.tier = word.and_then(|word| ServiceTier::of(word.raw())).or(self.tier);
                    continue;
                }
                _ => {
                    reader.skip()?;
                    continue;
                }
            };
            if let Some(tokens) = reader.maybe_count()? {
                (*place, counted) = ((*place).max(tokens), true);
            }
        }
        Ok(counted)
    }

    /// For how long what was written to the cache is held there.
    fn written(&mut self, reader: &mut Reader<'_>) -> Result<(), Fault> {
        if !reader.maybe_object()? {
            return Ok(());
        }
        while let Some(key) = reader.key()? {
            let place = match key.raw() {
                b"ephemeral_5m_input_tokens" => &mut self.cache_write_5m,
                b"ephemeral_1h_input_tokens" => &mut self.cache_write_1h,
                _ => {
                    reader.skip()?;
                    continue;
                }
            };
            *place = (*place).max(reader.maybe_count()?.unwrap_or(0));
        }
        Ok(())
    }

    pub(super) fn usage(&self) -> Usage {
        let told = self.cache_write_5m.saturating_add(self.cache_write_1h);
        let cache_write = self.cache_write.max(told);
        let mut usage = Usage {
            input: self.input.saturating_add(self.cache_read).saturating_add(cache_write),
            cache_read: self.cache_read,
            cache_write,
            cache_write_1h: self.cache_write_1h,
            cache_time_unsaid: told == 0 && cache_write > 0,
            output: self.output,
            reasoning: self.reasoning,
            tier: self.tier,
            ..Usage::default()
        };
        for one in &self.besides {
            usage += one.usage(None);
            if !one.model.is_empty() {
                let _ = usage.advised(one.clone());
            }
        }
        usage.bounded()
    }
}

/// Those steps of an answer that are not counted with it, with all that they read as their input. Each `message` is counted.
fn besides(reader: &mut Reader<'_>) -> Result<Vec<Advice>, Fault> {
    // One for each model, and one for no other model, which all go to of which there are too many.
    let mut all = Usage { advice: vec![Advice::default()], ..Usage::default() };
    if !reader.maybe_array()? {
        return Ok(all.advice);
    }
    while reader.element()? {
        let (mut one, mut kind) = (Advice::default(), None);
        if !reader.maybe_object()? {
            continue;
        }
        while let Some(key) = reader.key()? {
            let place = match key.raw() {
                b"input_tokens" => &mut one.input,
                b"cache_read_input_tokens" => &mut one.cache_read,
                b"cache_creation_input_tokens" => &mut one.cache_write,
                b"output_tokens" => &mut one.output,
                b"type" => {
                    kind = reader.maybe_string()?;
                    continue;
                }
                b"model" => {
                    let name = reader.maybe_string()?;
                    let name = name.as_ref().and_then(|name| name.str()).filter(|name| name.len() <= LONGEST_NAME);
                    one.model = name.unwrap_or_default().into();
                    continue;
                }
                _ => {
                    reader.skip()?;
                    continue;
                }
            };
            *place = reader.maybe_count()?.unwrap_or(0);
        }
        one.input = one.input.saturating_add(one.cache_read).saturating_add(one.cache_write);
        match kind.as_ref().map(|kind| kind.raw()) {
            Some(b"advisor_message") => {}
            Some(b"compaction") => one.model = "".into(),
            _ => continue,
        }
        if let Err(one) = all.advised(one) {
            let _ = all.advised(Advice { model: "".into(), ..one });
        }
    }
    Ok(all.advice)
}

/// As Gemini counts: thoughts stand beside the candidates, prompts of tools beside the prompt, cached content within it.
pub(super) fn gemini(reader: &mut Reader<'_>) -> Result<Option<Usage>, Fault> {
    let mut usage = Usage::default();
    let mut cached = Kinds::default();
    let (mut counted, mut input_said, mut input_wrong) = (false, false, false);
    let mut total = 0;
    if !reader.maybe_object()? {
        return Ok(None);
    }
    while let Some(key) = reader.key()? {
        let name = key.raw();
        match name {
            b"promptTokensDetails" | b"toolUsePromptTokensDetails" => {
                let kinds = kinds(reader)?;
                usage.audio_input = usage.audio_input.saturating_add(kinds.audio);
                usage.image_input = usage.image_input.saturating_add(kinds.image);
                continue;
            }
            b"cacheTokensDetails" => {
                cached = kinds(reader)?;
                continue;
            }
            b"candidatesTokensDetails" => {
                let kinds = kinds(reader)?;
                (usage.audio_output, usage.image_output) = (kinds.audio, kinds.image);
                continue;
            }
            b"trafficType" | b"serviceTier" => {
                let word = reader.maybe_string()?;
                usage.tier = word.and_then(|word| ServiceTier::of(word.raw())).or(usage.tier);
                continue;
            }
            _ if !name.ends_with(b"TokenCount") => {
                reader.skip()?;
                continue;
            }
            _ => {}
        }
        let Some(tokens) = reader.maybe_count()? else {
            input_wrong |= name == b"promptTokenCount";
            continue;
        };
        counted = true;
        input_said |= name == b"promptTokenCount";
        match name {
            b"promptTokenCount" | b"toolUsePromptTokenCount" => usage.input = usage.input.saturating_add(tokens),
            b"candidatesTokenCount" => usage.output = usage.output.saturating_add(tokens),
            b"thoughtsTokenCount" => {
                usage.output = usage.output.saturating_add(tokens);
                usage.reasoning = tokens;
            }
            b"cachedContentTokenCount" => usage.cache_read = tokens,
            b"totalTokenCount" => total = tokens,
            _ => {}
        }
    }
    // What none of the parts says is still used.
    if total > usage.total() {
        if input_said || input_wrong {
            usage.output = total - usage.input;
        } else {
            usage.input = total - usage.output;
        }
    }
    usage.audio_input = usage.audio_input.saturating_sub(cached.audio);
    usage.image_input = usage.image_input.saturating_sub(cached.image);
    Ok(counted.then(|| usage.bounded()))
}

/// Tokens that are not of text.
#[derive(Default)]
struct Kinds {
    audio: u64,
    image: u64,
}

/// A list of kinds and their tokens.
fn kinds(reader: &mut Reader<'_>) -> Result<Kinds, Fault> {
    let mut kinds = Kinds::default();
    if !reader.maybe_array()? {
        return Ok(kinds);
    }
    while reader.element()? {
        let (mut kind, mut tokens) = (None, 0);
        if !reader.maybe_object()? {
            continue;
        }
        while let Some(key) = reader.key()? {
            match key.raw() {
                b"modality" => kind = reader.maybe_string()?,
                b"tokenCount" => tokens = reader.maybe_count()?.unwrap_or(0),
                _ => reader.skip()?,
            }
        }
        match kind.as_ref().map(|kind| kind.raw()) {
            Some(b"AUDIO") => kinds.audio = kinds.audio.saturating_add(tokens),
            Some(b"IMAGE") => kinds.image = kinds.image.saturating_add(tokens),
            _ => {}
        }
    }
    Ok(kinds)
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
