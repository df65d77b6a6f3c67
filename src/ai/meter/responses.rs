//! Events of OpenAI's Responses; those of its streams of images, speech and transcripts are of the same kind.

use super::{Event, Meter, is_something, usage};
use crate::ai::estimate;
use crate::ai::json::{Fault, Kind, Reader, Text};

/// Takes in an event. Its name is in its data, too; where it is not, that of the frame counts.
pub(super) fn event(meter: &mut Meter, reader: &mut Reader<'_>, name: &[u8]) -> Result<Event, Fault> {
    let mut kind = None;
    let mut delta = None;
    let mut failed = false;
    let mut picture = false;
    let mut part = 0;
    reader.object()?;
    while let Some(key) = reader.key()? {
        match key.raw() {
            b"type" => kind = reader.maybe_string()?,
            b"delta" => delta = reader.maybe_string()?,
            b"response" => answer(meter, reader)?,
            b"item" => picture |= item(meter, reader, false)?,
            // Of speech.
            b"audio" => drop(meter.sounded(reader)?),
            b"partial_image_index" => part = reader.maybe_u64()?.unwrap_or(0),
            b"usage" => drop(meter.counted(usage::openai(reader)?)),
            b"error" => failed |= is_something(reader)?,
            b"success" => failed |= reader.maybe_bool()? == Some(false),
            _ => reader.skip()?,
        }
    }
    if failed {
        return Ok(Event::Error);
    }
    let kind = kind.as_ref().map_or(name, Text::raw);
    match delta {
        Some(delta) if kind.ends_with(b"audio.delta") => meter.made.sound += delta.raw().len() as u64,
        Some(delta) if kind.ends_with(b".delta") => {
            meter.made.chars += estimate::weight(&delta);
            return Ok(if delta.is_empty() { Event::Startup } else { Event::Content });
        }
        _ => {}
    }
    meter.pictures_begun += u64::from(kind.ends_with(b".partial_image") && part == 0);
    meter.made.pictures += match kind {
        b"response.output_item.done" => u64::from(picture),
        b"image_generation.completed" | b"image_edit.completed" => 1,
        _ => 0,
    };
    Ok(kind_of(kind))
}

fn kind_of(kind: &[u8]) -> Event {
    match kind {
        b"response.completed" | b"response.incomplete" | b"response.cancelled" => Event::Terminal,
        b"image_generation.completed" | b"image_edit.completed" => Event::Terminal,
        b"speech.audio.done" | b"transcript.text.done" => Event::Terminal,
        b"response.failed" | b"error" => Event::Error,
        _ => {
            let last = kind.rsplit(|byte| *byte == b'.').next().unwrap_or_default();
            match last {
                b"created" | b"queued" | b"in_progress" | b"added" | b"searching" | b"generating" | b"interpreting" => {
                    Event::Startup
                }
                b"delta" | b"done" | b"completed" | b"partial_image" => Event::Content,
                _ => Event::Other,
            }
        }
    }
}

/// A response as its events have it, or a whole one from behind its `{`: its model, its usage and how it ended.
fn answer(meter: &mut Meter, reader: &mut Reader<'_>) -> Result<(), Fault> {
    if !reader.maybe_object()? {
        return Ok(());
    }
    while let Some(key) = reader.key()? {
        match key.raw() {
            b"model" => meter.named(reader)?,
            b"service_tier" => meter.tiered(reader)?,
            b"usage" => drop(meter.counted(usage::openai(reader)?)),
            b"status" => drop(status(meter, reader)?),
            b"incomplete_details" => incomplete(meter, reader)?,
            b"output" => items(meter, reader, false)?,
            _ => reader.skip()?,
        }
    }
    Ok(())
}

/// How a response ended, if it has. `false`: this is no word for how a response is.
pub(super) fn status(meter: &mut Meter, reader: &mut Reader<'_>) -> Result<bool, Fault> {
    let Some(status) = reader.maybe_string()? else { return Ok(false) };
    match status.raw() {
        b"completed" | b"incomplete" => {
            // The reason says more, wherever it stands.
            if meter.finish.is_none() {
                meter.finish = status.str().map(Into::into);
            }
            Ok(true)
        }
        b"queued" | b"in_progress" | b"cancelled" => Ok(true),
        _ => Ok(false),
    }
}

/// Why a response is not complete.
pub(super) fn incomplete(meter: &mut Meter, reader: &mut Reader<'_>) -> Result<(), Fault> {
    if !reader.maybe_object()? {
        return Ok(());
    }
    while let Some(key) = reader.key()? {
        match reader.kind()? {
            Kind::String if key.raw() == b"reason" => meter.finish = reader.string()?.str().map(Into::into),
            _ => reader.skip()?,
        }
    }
    Ok(())
}

/// What a whole response says: the strings in which its items have text, arguments and summaries, and pictures.
pub(super) fn output(meter: &mut Meter, reader: &mut Reader<'_>) -> Result<(), Fault> {
    items(meter, reader, true)
}

/// Items of a response. `says`: their text was not there before.
fn items(meter: &mut Meter, reader: &mut Reader<'_>, says: bool) -> Result<(), Fault> {
    if !reader.maybe_array()? {
        return Ok(());
    }
    let mut pictures = 0;
    while reader.element()? {
        pictures += u64::from(item(meter, reader, says)?);
    }
    meter.pictures_listed = meter.pictures_listed.max(pictures);
    Ok(())
}

/// Takes in an item, or a part of one; whether it is a picture.
fn item(meter: &mut Meter, reader: &mut Reader<'_>, says: bool) -> Result<bool, Fault> {
    let (mut kind, mut result) = (None, false);
    if !reader.maybe_object()? {
        return Ok(false);
    }
    while let Some(key) = reader.key()? {
        match key.raw() {
            b"type" => kind = reader.maybe_string()?,
            b"result" => result = is_something(reader)?,
            b"content" | b"summary" if says => items(meter, reader, says)?,
            b"text" | b"refusal" | b"arguments" | b"name" | b"input" if says => drop(meter.said(reader)?),
            _ => reader.skip()?,
        }
    }
    Ok(result && kind.is_some_and(|kind| kind.is(b"image_generation_call")))
}
