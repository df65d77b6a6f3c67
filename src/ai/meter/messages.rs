//! Events of Anthropic's Messages.

use super::{Event, Meter, is_something};
use crate::ai::json::{Fault, Reader, Text};

/// Takes in an event. Its name is in its data, too; where it is not, that of the frame counts.
pub(super) fn event(meter: &mut Meter, reader: &mut Reader<'_>, name: &[u8]) -> Result<Event, Fault> {
    let mut kind = None;
    let mut content = false;
    let mut failed = false;
    reader.object()?;
    while let Some(key) = reader.key()? {
        match key.raw() {
            b"type" => kind = reader.maybe_string()?,
            b"delta" => content |= delta(meter, reader)?,
            b"content_block" => content |= block(meter, reader)?,
            b"message" => message(meter, reader)?,
            b"usage" => take_usage(meter, reader)?,
            b"error" => failed |= is_something(reader)?,
            b"success" => failed |= reader.maybe_bool()? == Some(false),
            _ => reader.skip()?,
        }
    }
    if failed {
        return Ok(Event::Error);
    }
    let kind = kind.as_ref().map_or(name, Text::raw);
    Ok(match kind {
        b"message_stop" => Event::Terminal,
        b"content_block_delta" | b"content_block_start" if content => Event::Content,
        b"content_block_delta" | b"content_block_start" | b"message_start" | b"ping" => Event::Startup,
        b"error" => Event::Error,
        _ => Event::Other,
    })
}

/// The message that a stream begins with, which has everything but its content.
fn message(meter: &mut Meter, reader: &mut Reader<'_>) -> Result<(), Fault> {
    if !reader.maybe_object()? {
        return Ok(());
    }
    while let Some(key) = reader.key()? {
        match key.raw() {
            b"model" => meter.named(reader)?,
            b"usage" => take_usage(meter, reader)?,
            _ => reader.skip()?,
        }
    }
    Ok(())
}

/// The delta of a block, or of the message at its end.
fn delta(meter: &mut Meter, reader: &mut Reader<'_>) -> Result<bool, Fault> {
    let mut content = false;
    if !reader.maybe_object()? {
        return Ok(false);
    }
    while let Some(key) = reader.key()? {
        match key.raw() {
            b"type" | b"stop_sequence" => reader.skip()?,
            b"text" | b"partial_json" | b"thinking" => content |= meter.said(reader)?,
            b"stop_reason" => {
                if let Some(reason) = reader.maybe_string()? {
                    meter.ended(0, &reason);
                }
            }
            _ => content |= is_something(reader)?,
        }
    }
    Ok(content)
}

/// A block that begins, or one of a whole answer: empty text and thinking are nothing yet, a call has its name.
pub(super) fn block(meter: &mut Meter, reader: &mut Reader<'_>) -> Result<bool, Fault> {
    let mut content = false;
    if !reader.maybe_object()? {
        return Ok(false);
    }
    while let Some(key) = reader.key()? {
        match key.raw() {
            b"type" => reader.skip()?,
            b"text" | b"thinking" | b"name" => content |= meter.said(reader)?,
            b"input" => {
                content |= meter.called(reader)?;
            }
            _ => content |= is_something(reader)?,
        }
    }
    Ok(content)
}

/// Takes in usage, which is always that of the whole answer so far.
pub(super) fn take_usage(meter: &mut Meter, reader: &mut Reader<'_>) -> Result<(), Fault> {
    if meter.counts.take(reader)? {
        meter.usage = Some(meter.counts.usage());
    }
    Ok(())
}
