//! The path of a request, in the one form that routes are matched on and that is forwarded.
//!
//! Matching one path and forwarding another is how allow-lists are passed: backends decode, merge and resolve paths
//! too. So both forms come from the same reading:
//!
//! - **forwarded**: unreserved characters decoded (`%61` is `a`, RFC 3986 section 6.2.2.2), escapes in upper case, dot
//!   segments removed, `//` merged, raw `\`, `?`, `#` and bytes over ASCII escaped. Nothing else is touched, and a path
//!   without any of that is forwarded byte for byte.
//! - **matched**: the forwarded form without path parameters (`/actuator;x/` is `/actuator/`, as servlet containers
//!   read it) and with every printable ASCII escape decoded but `/ \ % ? #`. Letter case stays significant.
//!
//! Refused with 400: a bad escape, `%00` and raw control characters, and `..` above the root. `%2F` and `%5C` stay
//! escaped; backends differ on them, so the path has a second reading where they are slashes, and the table refuses
//! the request when the two readings choose different routes.
//!
//! It does not guard against backends that decode twice (`%2561`). A URL inside a path (`/fetch/http://host/`) loses a
//! slash; clients that mean it write `%2F%2F`.

use std::borrow::Cow;

/// A path in normal form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NormalPath<'a> {
    forward: Cow<'a, str>,
    /// Only when it differs from `forward`.
    matching: Option<String>,
    /// The matching form with `%2F` and `%5C` read as slashes, when there are any.
    second: Option<String>,
}

/// Why a path has no normal form. The client gets 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadPath {
    /// It does not begin with a slash. (`OPTIONS *` is among them: it is not proxied.)
    NotAbsolute,
    /// A `%` without two hexadecimal digits.
    Escape,
    /// A control character or a blank, or an escaped NUL.
    Control,
    /// More `..` than segments before them.
    AboveRoot,
}

impl BadPath {
    /// What the client may be told.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::NotAbsolute => "the path does not begin with a slash",
            Self::Escape => "the path has a malformed percent escape",
            Self::Control => "the path has a control character",
            Self::AboveRoot => "the path leaves the root",
        }
    }
}

impl<'a> NormalPath<'a> {
    /// Reads the path part of a request target, without the query. An empty path is `/`.
    /// Allocates nothing when the path is in normal form already.
    pub fn parse(raw: &'a str) -> Result<Self, BadPath> {
        if raw.is_empty() {
            return Ok(Self { forward: Cow::Borrowed("/"), matching: None, second: None });
        }
        if is_plain(raw.as_bytes()) {
            return Ok(Self { forward: Cow::Borrowed(raw), matching: None, second: None });
        }
        let forward = forward_form(raw)?;
        let matching = matching_form(&forward);
        let second = second_reading(&forward)?;
        let forward = if forward == raw { Cow::Borrowed(raw) } else { Cow::Owned(forward) };
        Ok(Self { forward, matching, second })
    }

    /// What to send upstream when no rewrite applies, and what a rewrite starts from. Begins with `/`.
    pub fn forward(&self) -> &str {
        &self.forward
    }

    /// What routes are matched on. Begins with `/`, and has as many segments as [`Self::forward`].
    pub fn matching(&self) -> &str {
        self.matching.as_deref().unwrap_or(&self.forward)
    }

    /// What to send upstream in the place of the path as received; `None` when that can go as it is.
    pub fn into_changed(self) -> Option<String> {
        match self.forward {
            Cow::Borrowed(_) => None,
            Cow::Owned(path) => Some(path),
        }
    }

    /// The reading of a backend that takes `%2F` and `%5C` for slashes, when the path has any.
    pub(super) fn second_reading(&self) -> Option<&str> {
        self.second.as_deref()
    }
}

/// A pattern of the configuration in the form that requests are matched in.
pub(super) fn pattern_form(pattern: &str) -> String {
    NormalPath::parse(pattern).map_or_else(|_| pattern.to_owned(), |path| path.matching().to_owned())
}

/// Whether every form of the path is the path itself. Most are, so this is one pass without a branch per rule.
fn is_plain(path: &[u8]) -> bool {
    let mut rest = path;
    if rest.first() != Some(&b'/') {
        return false;
    }
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte == b'/' {
            if matches!(tail, [b'/', ..] | [b'.'] | [b'.', b'/', ..] | [b'.', b'.'] | [b'.', b'.', b'/', ..]) {
                return false;
            }
        } else if matches!(byte, 0..=0x20 | b'#' | b'%' | b';' | b'?' | b'\\' | 0x7f..) {
            return false;
        }
    }
    true
}

fn forward_form(raw: &str) -> Result<String, BadPath> {
    let segments = raw.strip_prefix('/').ok_or(BadPath::NotAbsolute)?;
    let mut out = String::with_capacity(raw.len() + 8);
    let mut directory = false;
    for segment in segments.split('/') {
        let start = out.len();
        out.push('/');
        push_segment(&mut out, segment)?;
        let name = without_parameters(out.get(start + 1..).unwrap_or_default());
        directory = matches!(name, "" | "." | "..");
        let up = name == "..";
        if directory {
            out.truncate(start);
        }
        if up {
            let parent = out.rfind('/').ok_or(BadPath::AboveRoot)?;
            out.truncate(parent);
        }
    }
    if directory {
        out.push('/');
    }
    Ok(out)
}

fn push_segment(out: &mut String, segment: &str) -> Result<(), BadPath> {
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => match escaped(bytes.next(), bytes.next()).ok_or(BadPath::Escape)? {
                0 => return Err(BadPath::Control),
                byte if is_unreserved(byte) => out.push(char::from(byte)),
                byte => push_escape(out, byte),
            },
            b'\\' | b'?' | b'#' | 0x80.. => push_escape(out, byte),
            0..=0x20 | 0x7f => return Err(BadPath::Control),
            _ => out.push(char::from(byte)),
        }
    }
    Ok(())
}

/// `None` when it is the same as the forwarded form.
fn matching_form(forward: &str) -> Option<String> {
    if !forward.contains(['%', ';']) {
        return None;
    }
    let mut out = String::with_capacity(forward.len());
    for segment in forward.split('/').skip(1) {
        out.push('/');
        let mut bytes = without_parameters(segment).bytes();
        while let Some(byte) = bytes.next() {
            if byte != b'%' {
                out.push(char::from(byte));
                continue;
            }
            match escaped(bytes.next(), bytes.next()) {
                Some(byte) if byte.is_ascii_graphic() && !b"/\\%?#".contains(&byte) => out.push(char::from(byte)),
                Some(byte) => push_escape(&mut out, byte),
                None => {}
            }
        }
    }
    (out != forward).then_some(out)
}

fn second_reading(forward: &str) -> Result<Option<String>, BadPath> {
    if !forward.contains("%2F") && !forward.contains("%5C") {
        return Ok(None);
    }
    let read = forward_form(&forward.replace("%2F", "/").replace("%5C", "/"))?;
    Ok(Some(matching_form(&read).unwrap_or(read)))
}

/// A segment up to its first `;`, escaped or not. Escapes are in upper case or, as here, have no letters.
fn without_parameters(segment: &str) -> &str {
    let plain = segment.find(';').unwrap_or(segment.len());
    let escaped = segment.find("%3B").unwrap_or(segment.len());
    segment.get(..plain.min(escaped)).unwrap_or(segment)
}

fn escaped(high: Option<u8>, low: Option<u8>) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high?)? << 4 | digit(low?)?)
}

/// Appends the escape of one byte, in upper case.
pub(super) fn push_escape(out: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).map_or('0', |&digit| char::from(digit));
    out.push('%');
    out.push(digit(byte >> 4));
    out.push(digit(byte & 0x0f));
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

#[cfg(test)]
mod tests;
