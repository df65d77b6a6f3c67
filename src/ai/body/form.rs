//! Forms: `multipart/form-data` (RFC 7578, RFC 2046 section 5.1), as doors for audio and images take them.
//!
//! Parts are found by their boundary; of all but three only the name is read. What could be read in two ways is refused:
//! a boundary with something behind it, a field that stands twice, a name with escapes, a folded line.

use std::ops::Range;

use bytes::Bytes;
use memchr::memmem::{self, Finder};

use super::{BadBody, Naming, model_name};

#[cfg(test)]
mod tests;

/// How many parts a form may have.
const MAX_PARTS: usize = 256;

/// How long the header fields of a part may be, in bytes.
const MAX_PART_HEAD: usize = 8 * 1024;

/// How long a boundary may be. The standard says 70.
const MAX_BOUNDARY: usize = 256;

/// What a form asks for, and where it names the model.
#[derive(Debug, Clone)]
pub struct Form {
    body: Bytes,
    model: Box<str>,
    model_at: Range<usize>,
    /// The answer is to come as a stream.
    pub stream: bool,
    /// How many answers are asked for; at least 1.
    pub answers: u64,
    /// How many files there are.
    pub files: u64,
    /// Bytes of all files.
    pub file_bytes: u64,
    /// Bytes of the prompts.
    pub prompt_bytes: u64,
}

impl Form {
    /// Reads a whole body, whose boundary is in the value of its `Content-Type`.
    ///
    /// # Errors
    /// What the client did wrong.
    pub fn read(content_type: &[u8], body: &Bytes, naming: Naming<'_>) -> Result<Self, BadBody> {
        let boundary = boundary(content_type).ok_or(BadBody::NotForm)?;
        let mut fields = Fields::default();
        for part in parts(body, &boundary).ok_or(BadBody::NotForm)? {
            let text = body.get(part.clone()).unwrap_or_default();
            let head = Head::read(text).ok_or(BadBody::NotForm)?;
            fields.take(&head, part.start + head.len..part.end)?;
        }
        let text = |at: &Range<usize>| std::str::from_utf8(body.get(at.clone()).unwrap_or_default()).ok();
        let model_at = fields.model.ok_or(BadBody::MissingModel)?;
        let model = text(&model_at).ok_or(BadBody::Invalid("model"))?;
        let (model, _) = naming.choose(model_name(model)?)?;
        let stream = fields.stream.as_ref().and_then(text).unwrap_or_default();
        let stream = stream.eq_ignore_ascii_case("true") || stream == "1";
        let answers = match &fields.n {
            Some(at) => text(at).and_then(|n| n.parse().ok()).ok_or(BadBody::Invalid("n"))?,
            None => 1,
        };
        let Fields { files, file_bytes, prompt_bytes, .. } = fields;
        let (body, answers) = (body.clone(), answers.max(1));
        Ok(Self { body, model, model_at, stream, answers, files, file_bytes, prompt_bytes })
    }

    /// The body that was read.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The name of the model; not empty.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// The body with another name for the model, which has no control characters. The very one that came, if it is the
    /// same.
    pub fn with_model(&self, name: &str) -> Bytes {
        let part = |range: Range<usize>| self.body.get(range).unwrap_or_default();
        if part(self.model_at.clone()) == name.as_bytes() {
            return self.body.clone();
        }
        debug_assert!(!name.contains(char::is_control), "a name within one line");
        let after = self.model_at.end..self.body.len();
        [part(0..self.model_at.start), name.as_bytes(), part(after)].concat().into()
    }
}

/// Where the fields that matter have their values.
#[derive(Default)]
struct Fields {
    model: Option<Range<usize>>,
    stream: Option<Range<usize>>,
    n: Option<Range<usize>>,
    files: u64,
    file_bytes: u64,
    prompt_bytes: u64,
}

impl Fields {
    fn take(&mut self, head: &Head, value: Range<usize>) -> Result<(), BadBody> {
        let bytes = value.len() as u64;
        // Some send a file without a name.
        let holds_file = matches!(head.name.as_deref(), Some(b"file" | b"image" | b"image[]" | b"mask"));
        if head.is_file || holds_file {
            self.files += 1;
            self.file_bytes = self.file_bytes.saturating_add(bytes);
        } else if head.name.as_deref() == Some(b"prompt") {
            self.prompt_bytes = self.prompt_bytes.saturating_add(bytes);
        }
        let (name, field) = match head.name.as_deref() {
            Some(b"model") => ("model", &mut self.model),
            Some(b"stream") => ("stream", &mut self.stream),
            Some(b"n") => ("n", &mut self.n),
            _ => return Ok(()),
        };
        if head.is_file || head.is_encoded {
            return Err(BadBody::Invalid(name));
        }
        if field.replace(value).is_some() {
            return Err(BadBody::Twice(Some(name)));
        }
        Ok(())
    }
}

/// Where the parts lie, with their header fields.
fn parts(body: &[u8], boundary: &[u8]) -> Option<Vec<Range<usize>>> {
    let delimiter = [b"\r\n--", boundary].concat();
    let finder = Finder::new(&delimiter);
    // The line break before a boundary is a part of it, but for the first one, which may stand at the very beginning.
    let at_once = body.starts_with(delimiter.get(2..)?);
    let mut at = if at_once { delimiter.len() - 2 } else { finder.find(body)? + delimiter.len() };
    let mut parts = Vec::new();
    loop {
        let rest = body.get(at..)?;
        if let Some(end) = rest.strip_prefix(b"--") {
            let end = trim_blanks(end);
            let nothing_more = finder.find(end).is_none() && (end.is_empty() || end.starts_with(b"\r\n"));
            return nothing_more.then_some(parts);
        }
        let line = trim_blanks(rest);
        if !line.starts_with(b"\r\n") || parts.len() >= MAX_PARTS {
            return None;
        }
        let start = body.len() - line.len() + 2;
        let end = start + finder.find(body.get(start..)?)?;
        parts.push(start..end);
        at = end + delimiter.len();
    }
}

fn trim_blanks(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    text.get(blanks..).unwrap_or_default()
}

/// What the header fields of a part say.
#[derive(Default)]
struct Head {
    /// Their length, with the blank line.
    len: usize,
    name: Option<Vec<u8>>,
    is_file: bool,
    is_encoded: bool,
}

impl Head {
    fn read(part: &[u8]) -> Option<Self> {
        if part.starts_with(b"\r\n") {
            return Some(Self { len: 2, ..Self::default() });
        }
        let bounded = part.get(..MAX_PART_HEAD).unwrap_or(part);
        let end = memmem::find(bounded, b"\r\n\r\n")?;
        let mut head = Self { len: end + 4, ..Self::default() };
        let mut lines = bounded.get(..end)?;
        while !lines.is_empty() {
            let len = memmem::find(lines, b"\r\n").unwrap_or(lines.len());
            head.field(lines.get(..len)?)?;
            lines = lines.get(len + 2..).unwrap_or_default();
        }
        Some(head)
    }

    fn field(&mut self, line: &[u8]) -> Option<()> {
        let colon = memchr::memchr(b':', line)?;
        let (name, value) = (line.get(..colon)?, line.get(colon + 1..)?);
        if name.is_empty() || name.iter().any(u8::is_ascii_whitespace) || memchr::memchr2(b'\r', b'\n', value).is_some()
        {
            return None;
        }
        if name.eq_ignore_ascii_case(b"content-transfer-encoding") {
            let plain: [&[u8]; 3] = [b"7bit", b"8bit", b"binary"];
            self.is_encoded = !plain.iter().any(|plain| value.trim_ascii().eq_ignore_ascii_case(plain));
        } else if name.eq_ignore_ascii_case(b"content-disposition") {
            let (kind, parameters) = parameters(value)?;
            if !kind.eq_ignore_ascii_case(b"form-data") || self.name.is_some() {
                return None;
            }
            for parameter in parameters {
                self.is_file |= parameter.is(b"filename") || parameter.is(b"filename*");
                let unclear = parameter.is(b"name*") || parameter.is(b"name") && parameter.escaped;
                if unclear || parameter.is(b"name") && self.name.replace(parameter.value).is_some() {
                    return None;
                }
            }
        }
        Some(())
    }
}

/// The boundary that a `Content-Type` names, if it is that of a form.
fn boundary(content_type: &[u8]) -> Option<Vec<u8>> {
    let (kind, parameters) = parameters(content_type)?;
    let mut boundaries = parameters.into_iter().filter(|parameter| parameter.is(b"boundary"));
    let boundary = boundaries.next().filter(|_| boundaries.next().is_none())?.value;
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(byte);
    let fits =
        (1..=MAX_BOUNDARY).contains(&boundary.len()) && boundary.iter().all(allowed) && !boundary.ends_with(b" ");
    (kind.eq_ignore_ascii_case(b"multipart/form-data") && fits).then_some(boundary)
}

struct Parameter<'a> {
    name: &'a [u8],
    value: Vec<u8>,
    /// It was quoted and has a `\` in it, which not everyone reads in the same way.
    escaped: bool,
}

impl Parameter<'_> {
    fn is(&self, name: &[u8]) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }
}

/// The value of a header field and its parameters (RFC 9110, section 5.6.6; blanks around `=` are refused).
fn parameters(text: &[u8]) -> Option<(&[u8], Vec<Parameter<'_>>)> {
    let end = memchr::memchr(b';', text).unwrap_or(text.len());
    let kind = text.get(..end)?.trim_ascii();
    let mut parameters = Vec::new();
    let mut rest = text.get(end..)?;
    while let Some(after) = rest.strip_prefix(b";") {
        let after = trim_blanks(after);
        if after.is_empty() || after.starts_with(b";") {
            rest = after;
            continue;
        }
        let equals = memchr::memchr(b'=', after)?;
        let (name, value) = (after.get(..equals)?, after.get(equals + 1..)?);
        let (value, escaped, len) = quoted(value).unwrap_or_else(|| token(value));
        if name.iter().any(|byte| !byte.is_ascii_graphic() || b"\";,".contains(byte)) || len == 0 {
            return None;
        }
        parameters.push(Parameter { name, value, escaped });
        rest = trim_blanks(after.get(equals + 1 + len..)?);
    }
    rest.is_empty().then_some((kind, parameters))
}

fn token(text: &[u8]) -> (Vec<u8>, bool, usize) {
    let len = text.iter().take_while(|byte| byte.is_ascii_graphic() && !b"\";".contains(byte)).count();
    (text.get(..len).unwrap_or_default().to_vec(), false, len)
}

/// What a quoted string says, whether it has escapes, and its length with the quotes.
fn quoted(text: &[u8]) -> Option<(Vec<u8>, bool, usize)> {
    let mut value = Vec::new();
    let mut escaped = false;
    let mut bytes = text.strip_prefix(b"\"")?.iter();
    loop {
        match bytes.next()? {
            b'"' => return Some((value, escaped, text.len() - bytes.len())),
            b'\\' => {
                escaped = true;
                value.push(*bytes.next()?);
            }
            byte => value.push(*byte),
        }
    }
}
