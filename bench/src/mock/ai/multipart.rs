//! Forms with files (RFC 7578), as far as the doors for audio and images need them.

use http::header::CONTENT_TYPE;

use crate::mock::backend::Upload;

/// One part of a form.
pub(super) struct Part<'a> {
    pub(super) name: String,
    pub(super) file: Option<String>,
    pub(super) content: &'a [u8],
}

/// The text of a field, where the body is a form and has it.
pub(super) fn field(upload: &Upload, name: &str) -> Option<String> {
    let parts = parts(upload)?;
    let part = parts.iter().find(|part| part.name == name && part.file.is_none())?;
    Some(String::from_utf8_lossy(part.content).into_owned())
}

/// All parts; `None` when the body is not a whole form.
pub(super) fn parts(upload: &Upload) -> Option<Vec<Part<'_>>> {
    let kind = upload.headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let boundary =
        kind.strip_prefix("multipart/form-data")?.split(';').find_map(|word| word.trim().strip_prefix("boundary="))?;
    read(&upload.body, boundary.trim_matches('"'))
}

fn read<'a>(body: &'a [u8], boundary: &str) -> Option<Vec<Part<'a>>> {
    let first = format!("--{boundary}");
    let between = format!("\r\n--{boundary}");
    let mut rest = body.get(find(body, first.as_bytes())? + first.len()..)?;
    let mut parts = Vec::new();
    while !rest.starts_with(b"--") {
        let head_end = find(rest, b"\r\n\r\n")?;
        let (head, content) = (rest.get(..head_end)?, rest.get(head_end + 4..)?);
        let end = find(content, between.as_bytes())?;
        let head = String::from_utf8_lossy(head);
        parts.push(Part {
            name: parameter(&head, "name")?,
            file: parameter(&head, "filename"),
            content: content.get(..end)?,
        });
        rest = content.get(end + between.len()..)?;
    }
    Some(parts)
}

/// `name="value"` in the head of a part.
fn parameter(head: &str, name: &str) -> Option<String> {
    let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with("content-disposition:"))?;
    let mut words = line.split(';').map(str::trim);
    let value = words.find_map(|word| word.strip_prefix(name)?.strip_prefix('='))?;
    Some(value.trim_matches('"').to_owned())
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let first = *needle.first()?;
    let mut from = 0;
    loop {
        let at = from + haystack.get(from..)?.iter().position(|byte| *byte == first)?;
        if haystack.get(at..)?.starts_with(needle) {
            return Some(at);
        }
        from = at + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_taken_apart() {
        let body = b"--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper\r\n\
            --b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\nContent-Type: audio/wav\r\n\r\n\
            RI\r\n--FF\r\n--b--\r\n";
        let parts = read(body, "b").unwrap();
        assert_eq!((parts[0].name.as_str(), parts[0].content), ("model", &b"whisper"[..]));
        assert_eq!((parts[1].file.as_deref(), parts[1].content), (Some("a.wav"), &b"RI\r\n--FF"[..]));
        assert!(read(&body[..body.len() - 8], "b").is_none(), "a form that does not end is none");
    }
}
