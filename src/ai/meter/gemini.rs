//! Gemini's answers; in a stream each event is one, and the last one has the reason why it ended.

use super::{Event, Meter, is_something, usage};
use crate::ai::json::{Fault, Reader};

/// Takes in an event.
pub(super) fn event(meter: &mut Meter, reader: &mut Reader<'_>) -> Result<Event, Fault> {
    let mut content = false;
    let mut failed = false;
    let mut ended = false;
    reader.object()?;
    while let Some(key) = reader.key()? {
        match key.raw() {
            b"candidates" => content |= candidates(meter, reader, &mut ended)?,
            b"promptFeedback" => ended |= blocked(meter, reader)?,
            b"usageMetadata" => drop(meter.counted(usage::gemini(reader)?)),
            b"modelVersion" => meter.named(reader)?,
            b"error" => failed |= is_something(reader)?,
            b"success" => failed |= reader.maybe_bool()? == Some(false),
            _ => reader.skip()?,
        }
    }
    Ok(match (failed, content, ended) {
        (true, ..) => Event::Error,
        (_, true, _) => Event::Content,
        (.., true) => Event::Other,
        _ => Event::Startup,
    })
}

/// Takes in the candidates; whether there is anything of the answer in them.
pub(super) fn candidates(meter: &mut Meter, reader: &mut Reader<'_>, ended: &mut bool) -> Result<bool, Fault> {
    let mut content = false;
    if !reader.maybe_array()? {
        return Ok(false);
    }
    while reader.element()? {
        let mut index = 0;
        let mut reason = None;
        if !reader.maybe_object()? {
            continue;
        }
        while let Some(key) = reader.key()? {
            match key.raw() {
                b"index" => index = reader.maybe_u64()?.unwrap_or(0),
                b"content" => content |= parts(meter, reader)?,
                b"finishReason" => reason = reader.maybe_string()?.filter(|reason| !reason.is_empty()),
                _ => reader.skip()?,
            }
        }
        meter.choice(index);
        if let Some(reason) = reason {
            *ended = true;
            meter.ended(index, &reason);
        }
    }
    Ok(content)
}

fn parts(meter: &mut Meter, reader: &mut Reader<'_>) -> Result<bool, Fault> {
    let mut content = false;
    if !reader.maybe_object()? {
        return Ok(false);
    }
    while let Some(key) = reader.key()? {
        if key.raw() != b"parts" {
            reader.skip()?;
            continue;
        }
        if !reader.maybe_array()? {
            continue;
        }
        while reader.element()? {
            if !reader.maybe_object()? {
                continue;
            }
            while let Some(key) = reader.key()? {
                match key.raw() {
                    b"text" => content |= meter.said(reader)?,
                    b"thought" => reader.skip()?,
                    b"functionCall" => content |= meter.called(reader)?,
                    _ => content |= is_something(reader)?,
                }
            }
        }
    }
    Ok(content)
}

/// Whether the prompt was refused, which ends an answer without a candidate.
pub(super) fn blocked(meter: &mut Meter, reader: &mut Reader<'_>) -> Result<bool, Fault> {
    let mut blocked = false;
    if !reader.maybe_object()? {
        return Ok(false);
    }
    while let Some(key) = reader.key()? {
        if key.raw() == b"blockReason" {
            if let Some(reason) = reader.maybe_string()? {
                meter.ended(0, &reason);
                blocked = true;
            }
        } else {
            reader.skip()?;
        }
    }
    Ok(blocked)
}
