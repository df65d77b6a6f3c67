//! Chunks of OpenAI's Chat and Completions, as many a provider sends them.

use super::{Event, Meter, is_something, usage};
use crate::ai::json::{Fault, Reader};

/// Takes in a chunk.
pub(super) fn event(meter: &mut Meter, reader: &mut Reader<'_>) -> Result<Event, Fault> {
    let mut content = false;
    let mut ended = false;
    let mut choices = 0_u32;
    let mut counted = false;
    let mut failed = false;
    reader.object()?;
    while let Some(key) = reader.key()? {
        match key.raw() {
            b"choices" => {
                if reader.maybe_array()? {
                    meter.heard = true;
                    while reader.element()? {
                        choices += 1;
                        let choice = choice(meter, reader, Of::Chunk)?;
                        content |= choice.content;
                        ended |= choice.ended;
                    }
                }
            }
            b"usage" => counted |= take_usage(meter, reader)?,
            // Groq's place for it.
            b"x_groq" => {
                if reader.maybe_object()? {
                    while let Some(key) = reader.key()? {
                        if key.raw() == b"usage" {
                            take_usage(meter, reader)?;
                        } else {
                            reader.skip()?;
                        }
                    }
                }
            }
            b"model" if meter.model.is_none() => meter.named(reader)?,
            b"service_tier" => meter.tiered(reader)?,
            b"error" => failed |= is_something(reader)?,
            b"success" => failed |= reader.maybe_bool()? == Some(false),
            _ => reader.skip()?,
        }
    }
    Ok(match (failed, content, ended) {
        (true, ..) => Event::Error,
        (_, true, _) => Event::Content,
        (.., true) => Event::Other,
        _ if counted && choices == 0 => Event::Usage,
        _ => Event::Startup,
    })
}

/// What a choice is of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    Chunk,
    Whole,
}

/// What one choice has.
#[derive(Default)]
pub(super) struct Choice {
    pub(super) content: bool,
    pub(super) ended: bool,
}

/// Takes in a choice.
pub(super) fn choice(meter: &mut Meter, reader: &mut Reader<'_>, of: Of) -> Result<Choice, Fault> {
    let mut choice = Choice::default();
    let mut index = 0;
    let mut reason = None;
    if !reader.maybe_object()? {
        return Ok(choice);
    }
    while let Some(key) = reader.key()? {
        match key.raw() {
            b"index" => index = reader.maybe_u64()?.unwrap_or(0),
            b"delta" | b"message" => choice.content |= delta(meter, reader)?,
            b"text" => choice.content |= meter.said(reader)?,
            b"finish_reason" => reason = reader.maybe_string()?.filter(|reason| !reason.is_empty()),
            // Moonshot's place for it in a stream.
            b"usage" if of == Of::Chunk => drop(take_usage(meter, reader)?),
            _ => reader.skip()?,
        }
    }
    meter.choice(index);
    if let Some(reason) = reason {
        choice.ended = true;
        meter.ended(index, &reason);
    }
    Ok(choice)
}

/// Takes in a delta; whether there is anything of the answer in it.
fn delta(meter: &mut Meter, reader: &mut Reader<'_>) -> Result<bool, Fault> {
    let mut content = false;
    if !reader.maybe_object()? {
        return Ok(false);
    }
    while let Some(key) = reader.key()? {
        content |= match key.raw() {
            b"role" | b"name" => reader.skip().map(|()| false)?,
            b"content" | b"refusal" | b"reasoning_content" => meter.said(reader)?,
            // The same once more in `reasoning_details`, which are not counted.
            b"reasoning" => meter.said(reader)?,
            b"tool_calls" => {
                let mut any = false;
                if reader.maybe_array()? {
                    while reader.element()? {
                        any = true;
                        call(meter, reader)?;
                    }
                }
                any
            }
            b"function_call" => function(meter, reader)?,
            b"audio" => sound(meter, reader)?,
            b"images" => pictures(meter, reader)?,
            _ => is_something(reader)?,
        };
    }
    Ok(content)
}

/// Sound and its transcript.
fn sound(meter: &mut Meter, reader: &mut Reader<'_>) -> Result<bool, Fault> {
    let mut any = false;
    if !reader.maybe_object()? {
        return Ok(false);
    }
    while let Some(key) = reader.key()? {
        any = true;
        match key.raw() {
            b"data" => drop(meter.sounded(reader)?),
            b"transcript" => drop(meter.said(reader)?),
            _ => reader.skip()?,
        }
    }
    Ok(any)
}

/// Pictures as OpenRouter has them.
fn pictures(meter: &mut Meter, reader: &mut Reader<'_>) -> Result<bool, Fault> {
    let mut any = false;
    if reader.maybe_array()? {
        while reader.element()? {
            any = true;
            meter.made.pictures += 1;
            reader.skip()?;
        }
    }
    Ok(any)
}

fn call(meter: &mut Meter, reader: &mut Reader<'_>) -> Result<(), Fault> {
    if !reader.maybe_object()? {
        return Ok(());
    }
    while let Some(key) = reader.key()? {
        if key.raw() == b"function" {
            function(meter, reader)?;
        } else {
            reader.skip()?;
        }
    }
    Ok(())
}

fn function(meter: &mut Meter, reader: &mut Reader<'_>) -> Result<bool, Fault> {
    let mut any = false;
    if !reader.maybe_object()? {
        return Ok(false);
    }
    while let Some(key) = reader.key()? {
        if let b"name" | b"arguments" = key.raw() {
            any |= meter.said(reader)?;
        } else {
            reader.skip()?;
        }
    }
    Ok(any)
}

/// Takes in usage. `false`: it was null, or said nothing.
fn take_usage(meter: &mut Meter, reader: &mut Reader<'_>) -> Result<bool, Fault> {
    let counted = usage::openai(reader)?;
    Ok(meter.counted(counted))
}
