//! Estimates of tokens, for limits that must decide before a provider has counted, and where it never does.
//!
//! Four characters are a token; of Chinese, Japanese and Korean, two are (row F06). What is not text has a fixed number, for
//! its size in bytes says nothing: see [`IMAGE`], [`AUDIO`] and [`DOCUMENT`]; of a form with a file of sound, its length
//! does: [`SOUND_BYTES`]. It is known by where it stands in a conversation: `place`. Everywhere else text is text, whatever
//! it is called. An estimate is settled with what the provider
//! counts, so it need not be exact; it must not be small by much, and must not be large because of an image.

use super::body::Form;
use super::dialect::Dialect;
use super::door::Operation;
use super::json::{Fault, Kind, Reader, Text};
use super::usage::Usage;
use place::Place;

mod place;
#[cfg(test)]
mod tests;

/// Tokens of an image, for a provider of OpenAI's kind: one of 1024 by 1024 in high detail, 85 and 170 for each of 4 tiles.
pub const IMAGE: u64 = 765;

/// Tokens of an image at Anthropic: the largest that is not scaled down, width times height divided by 750.
pub const IMAGE_ANTHROPIC: u64 = 1_600;

/// Tokens of an image at Gemini: 258 for each of 4 tiles.
pub const IMAGE_GEMINI: u64 = 1_032;

/// Tokens of a sound: a minute, of 10 tokens a second (OpenAI; Gemini has 32).
pub const AUDIO: u64 = 600;

/// Tokens of a document, such as a PDF: a page, as Anthropic has it.
pub const DOCUMENT: u64 = 3_000;

/// Bytes of a file of sound that are one token: 80 kilobits a second, between speech and music as they are compressed, and
/// 10 tokens a second.
pub const SOUND_BYTES: u64 = 1_000;

/// Tokens of an image that is made: one of 1024 by 1024 in high quality at OpenAI.
pub const IMAGE_MADE: u64 = 4_160;

/// Tokens of speech that one token of text becomes: 20 a second, and 200 words a minute.
pub const SPEECH: u64 = 6;

/// What a model has made, as far as it was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Made {
    /// Characters of text; those of Chinese, Japanese and Korean count twice.
    pub chars: u64,
    /// Characters of sound in base64.
    pub sound: u64,
    /// Pictures.
    pub pictures: u64,
}

impl Made {
    /// What it counts as where its provider does not count.
    pub fn usage(self) -> Usage {
        let audio_output = (self.sound / 4 * 3).div_ceil(SOUND_BYTES);
        let image_output = self.pictures.saturating_mul(IMAGE_MADE);
        let output = output_tokens(self.chars).saturating_add(audio_output).saturating_add(image_output);
        Usage { output, audio_output, image_output, ..Usage::default() }
    }
}

/// The outermost members that a model reads.
const READ: [&[u8]; 16] = [
    b"messages",
    b"prompt",
    b"suffix",
    b"input",
    b"instructions",
    b"system",
    b"tools",
    b"functions",
    b"response_format",
    b"text",
    b"contents",
    b"systemInstruction",
    b"query",
    b"documents",
    b"texts",
    b"inputs",
];

/// Of these the names within count as well: schemas and the arguments of calls.
const WITH_NAMES: [&[u8]; 6] = [b"tools", b"functions", b"response_format", b"text", b"arguments", b"args"];

/// The tokens of a request's JSON body. What cannot be read counts up to there.
pub fn input_tokens(body: &[u8], dialect: Dialect) -> u64 {
    let mut estimate = Estimate { dialect, weight: 0, tokens: 0 };
    // A body that breaks off is refused elsewhere.
    let _ = estimate.body(&mut Reader::new(body));
    estimate.tokens.saturating_add(output_tokens(estimate.weight))
}

/// The tokens of a form: its files by their number or length, and its prompt.
pub fn form_tokens(operation: Operation, form: &Form) -> u64 {
    let files = match operation {
        Operation::Transcription | Operation::Translation => form.file_bytes.div_ceil(SOUND_BYTES),
        _ => form.files.saturating_mul(IMAGE),
    };
    files.saturating_add(output_tokens(form.prompt_bytes))
}

/// The tokens of so many seconds of sound.
pub fn of_sound(seconds: u64) -> u64 {
    seconds.saturating_mul(AUDIO / 60)
}

/// The tokens that one answer to a request of `input` tokens may have, where the request names no bound; `assumed`: of a
/// model that writes. Where a provider does not count, what is no text counts as this.
pub fn usual_output(operation: Operation, input: u64, assumed: u32) -> u64 {
    match operation {
        operation if operation.generates() => u64::from(assumed),
        Operation::ImageGeneration | Operation::ImageEdit | Operation::ImageVariation => IMAGE_MADE,
        Operation::Speech => input.saturating_mul(SPEECH),
        // 200 words a minute.
        Operation::Transcription | Operation::Translation => input.div_ceil(2),
        _ => 0,
    }
}

/// The tokens of so many characters, of which those of Chinese, Japanese and Korean were counted twice.
pub fn output_tokens(chars: u64) -> u64 {
    chars.div_ceil(4)
}

/// The characters of a string; those of Chinese, Japanese and Korean count twice.
pub(in crate::ai) fn weight(text: &Text<'_>) -> u64 {
    let mut weight = weight_of(text.raw());
    let mut rest = text.raw();
    while text.is_escaped()
        && let Some(at) = memchr::memchr(b'\\', rest)
    {
        let escape = rest.get(at + 1..).unwrap_or_default();
        let (len, counts) = match escape {
            [b'u', a, b, ..] => (5, weight_of_unit(*a, *b)),
            _ => (1, 1),
        };
        // So far it counts as it is written, with its `\`.
        weight = (weight + counts).saturating_sub(len as u64 + 1);
        rest = escape.get(len..).unwrap_or_default();
    }
    weight
}

/// Of `\uabcd`, by its first two digits. Of two surrogates, the first one counts for both.
fn weight_of_unit(a: u8, b: u8) -> u64 {
    match (a.to_ascii_lowercase(), b.to_ascii_lowercase()) {
        (b'd', b'c'..=b'f') => 0,
        (b'0'..=b'2', _) => 1,
        _ => 2,
    }
}

/// Of UTF-8, each byte that begins a character counts; those from U+3000 on begin with 0xe3 or more.
fn weight_of(text: &[u8]) -> u64 {
    // A byte holds the sum of so many, and sums of bytes that cannot overflow are what a processor does many of at once.
    let of_chunk = |chunk: &[u8]| {
        chunk.iter().fold(0_u8, |sum, byte| {
            sum.wrapping_add(u8::from(*byte & 0xc0 != 0x80)).wrapping_add(u8::from(*byte >= 0xe3))
        })
    };
    text.chunks(64).map(|chunk| u64::from(of_chunk(chunk))).sum()
}

struct Estimate {
    dialect: Dialect,
    /// Of the text.
    weight: u64,
    /// Of everything else.
    tokens: u64,
}

/// What a value counts as.
#[derive(Clone, Copy)]
struct Counts {
    place: Place,
    /// Names count as well.
    names: bool,
    /// A number is a token.
    ids: bool,
}

impl Estimate {
    fn body(&mut self, reader: &mut Reader<'_>) -> Result<(), Fault> {
        reader.object()?;
        while let Some(key) = reader.key()? {
            let name = &*key.bytes();
            if READ.contains(&name) {
                let place = Place::outermost(name, self.dialect);
                let ids = matches!(name, b"prompt" | b"input" | b"inputs");
                self.value(reader, Counts { place, names: WITH_NAMES.contains(&name), ids })?;
            } else {
                reader.skip()?;
            }
        }
        Ok(())
    }

    /// A value, with all that is in it: as deep as a reader goes, and no deeper.
    fn value(&mut self, reader: &mut Reader<'_>, counts: Counts) -> Result<(), Fault> {
        match reader.kind()? {
            Kind::String => {
                let text = reader.string()?;
                self.string(&text, counts.place);
            }
            Kind::Number if counts.ids => {
                reader.number()?;
                self.tokens += 1;
            }
            Kind::Number => self.weight += reader.number()?.len() as u64,
            Kind::Bool | Kind::Null => {
                reader.skip()?;
                self.tokens += u64::from(counts.names);
            }
            Kind::Array => {
                reader.array()?;
                while reader.element()? {
                    self.value(reader, counts)?;
                }
            }
            Kind::Object => self.object(reader, counts)?,
        }
        Ok(())
    }

    fn object(&mut self, reader: &mut Reader<'_>, counts: Counts) -> Result<(), Fault> {
        reader.object()?;
        // Of a source, whose type may stand behind it: the bytes of a file, or a text.
        let mut data = None;
        let mut is_text = false;
        while let Some(key) = reader.key()? {
            let name = &*key.bytes();
            if counts.names {
                self.weight += weight(&key);
            }
            // The input of a call, unlike that of a request.
            let names = counts.names || WITH_NAMES.contains(&name) || name == b"input";
            let place = counts.place.of_member(name);
            if counts.place == Place::Source && reader.kind()? == Kind::String {
                let text = reader.string()?;
                is_text |= name == b"type" && text.is(b"text");
                if place == Place::Data {
                    // Of two that are there, one is not what it seems to be.
                    if let Some(other) = data.replace(text) {
                        self.weight += weight(&other);
                    }
                } else {
                    self.string(&text, place);
                }
                continue;
            }
            self.value(reader, Counts { place, names, ids: false })?;
        }
        if let Some(data) = data {
            self.string(&data, if is_text { Place::Text } else { Place::Data });
        }
        Ok(())
    }

    fn string(&mut self, text: &Text<'_>, place: Place) {
        let image = match self.dialect {
            Dialect::Messages => IMAGE_ANTHROPIC,
            Dialect::Gemini => IMAGE_GEMINI,
            _ => IMAGE,
        };
        match place {
            Place::Data | Place::Image => self.tokens += of_file(text).unwrap_or(image),
            Place::Document => self.tokens += of_file(text).unwrap_or(DOCUMENT),
            Place::Sound => self.tokens += AUDIO,
            Place::Sealed => {}
            _ => self.weight += weight(text),
        }
    }
}

/// The tokens of a file whose beginning tells what it is, whatever its place says. In base64 a PDF begins with `%PDF`.
fn of_file(text: &Text<'_>) -> Option<u64> {
    if text.begins(b"data:text/") {
        // Of 4 characters of base64, 3 are left.
        return Some(output_tokens(weight(text) / 4 * 3));
    }
    // Of the types of documents, the one with pages.
    if text.begins(b"data:app") || text.begins(b"JVBER") {
        return Some(DOCUMENT);
    }
    text.begins(b"data:aud").then_some(AUDIO)
}
