//! Header blocks: a request's as it is written, an answer's as it is read.

use std::borrow::Cow;
use std::mem::MaybeUninit;

use bytes::{Buf, BytesMut};
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};

use super::Fault;

/// The longest header block of an answer, in bytes.
const MOST_HEAD: usize = 64 << 10;
/// The most fields of an answer.
const MOST_FIELDS: usize = 256;

/// The header block of a request, line by line.
pub struct RequestHead(Vec<u8>);

impl RequestHead {
    /// The request line. `None`: the target is none that can stand in one.
    pub fn new(method: &Method, target: &str) -> Option<Self> {
        // What is no ASCII passes, as clients send it.
        if target.is_empty() || target.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
            return None;
        }
        let mut head = Vec::with_capacity(1024);
        for part in [method.as_str(), " ", target, " HTTP/1.1\r\n"] {
            head.extend_from_slice(part.as_bytes());
        }
        Some(Self(head))
    }

    /// Adds a field.
    pub fn field(&mut self, name: &HeaderName, value: &HeaderValue) {
        let head = &mut self.0;
        head.reserve(name.as_str().len() + value.len() + 4);
        // Some members know names only as they are usually written.
        let mut first = true;
        for &byte in name.as_str().as_bytes() {
            head.push(if first { byte.to_ascii_uppercase() } else { byte });
            first = byte == b'-';
        }
        for part in [b": ", value.as_bytes(), b"\r\n"] {
            head.extend_from_slice(part);
        }
    }

    /// Adds the length of the body, and ends it.
    pub fn finish(mut self, body: usize) -> Vec<u8> {
        self.field(&header::CONTENT_LENGTH, &HeaderValue::from(body));
        self.end()
    }

    /// Ends it, without a body.
    pub fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(b"\r\n");
        self.0
    }
}

/// The header block of an answer.
#[derive(Debug)]
pub struct Head {
    /// Its version: 1.0 or 1.1.
    pub version: Version,
    /// Its status.
    pub status: StatusCode,
    /// The phrase behind it, where it is not the usual one.
    pub reason: Option<Box<str>>,
    /// Its fields.
    pub headers: HeaderMap,
}

impl Head {
    /// Takes a header block out of `buffer`; `None`: it is not complete.
    ///
    /// # Errors
    /// When it is none, or too long.
    pub fn take(buffer: &mut BytesMut) -> Result<Option<Self>, Fault> {
        if buffer.is_empty() {
            return Ok(None);
        }
        let mut fields = [const { MaybeUninit::uninit() }; MOST_FIELDS];
        let mut answer = httparse::Response::new(&mut []);
        let mut parser = httparse::ParserConfig::default();
        // A proxy takes both out (RFC 9112, sections 5.1 and 5.2).
        parser.allow_spaces_after_header_name_in_responses(true);
        parser.allow_obsolete_multiline_headers_in_responses(true);
        let length = match parser.parse_response_with_uninit_headers(&mut answer, buffer, &mut fields) {
            Ok(httparse::Status::Complete(length)) if length <= MOST_HEAD => length,
            Ok(httparse::Status::Partial) if buffer.len() <= MOST_HEAD => return Ok(None),
            _ => return Err(Fault::Invalid),
        };
        let mut headers = HeaderMap::with_capacity(answer.headers.len());
        for field in answer.headers.iter() {
            let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Fault::Invalid)?;
            let value = HeaderValue::from_bytes(&unfolded(field.value)).map_err(|_| Fault::Invalid)?;
            headers.append(name, value);
        }
        let version = if answer.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
        let status = StatusCode::from_u16(answer.code.unwrap_or(0)).map_err(|_| Fault::Invalid)?;
        let reason = answer.reason.filter(|reason| !reason.is_empty() && Some(*reason) != status.canonical_reason());
        let reason = reason.map(Box::from);
        buffer.advance(length);
        Ok(Some(Self { version, status, reason, headers }))
    }
}

/// Whether `bytes`, of which the first `before` were no whole header block, may be one. So that it is not taken apart again for
/// each byte of it.
pub(super) fn is_worth_a_look(bytes: &[u8], before: usize) -> bool {
    let new = bytes.get(before.saturating_sub(3)..).unwrap_or_default();
    let ends = || new.windows(2).any(|pair| pair == b"\n\n") || new.windows(3).any(|three| three == b"\n\r\n");
    !bytes.is_empty() && (bytes.len() >= 2 * before || ends())
}

/// The items of all fields of this name, which are lists.
pub fn items(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &[u8]> {
    let values = headers.get_all(name).iter();
    values.flat_map(|value| value.as_bytes().split(|&byte| byte == b',')).map(<[u8]>::trim_ascii)
}

/// A value on one line.
fn unfolded(value: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'\n', value).is_none() {
        return Cow::Borrowed(value);
    }
    let lines: Vec<&[u8]> = value.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii).collect();
    Cow::Owned(lines.join(&b' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(text: &str) -> Result<Option<Head>, Fault> {
        Head::take(&mut BytesMut::from(text))
    }

    #[test]
    fn a_block_is_taken_whole_and_what_follows_stays() {
        let text = b"HTTP/1.1 200 OK\r\nContent-Type : text/plain\r\nx-a: 1\r\nX-A: 2\r\n\r\nrest";
        for cut in 0..text.len() - 4 {
            let mut buffer = BytesMut::from(&text[..cut]);
            let before = buffer.clone();
            assert!(Head::take(&mut buffer).unwrap().is_none(), "{cut}");
            assert_eq!(buffer, before);
        }
        let mut buffer = BytesMut::from(&text[..]);
        let head = Head::take(&mut buffer).unwrap().unwrap();
        assert_eq!((head.version, head.status.as_u16()), (Version::HTTP_11, 200));
        assert_eq!(head.headers["content-type"], "text/plain");
        let values: Vec<_> = head.headers.get_all("x-a").iter().collect();
        assert_eq!(values, ["1", "2"]);
        assert_eq!(&buffer[..], b"rest");
    }

    #[test]
    fn a_phrase_is_kept_where_it_says_more() {
        for (line, reason) in [("200 OK", None), ("200", None), ("200 Fine", Some("Fine")), ("799 Odd", Some("Odd"))] {
            let head = taken(&format!("HTTP/1.1 {line}\r\n\r\n")).unwrap().unwrap();
            assert_eq!(head.reason.as_deref(), reason, "{line}");
        }
    }

    #[test]
    fn a_block_that_comes_in_bits_is_looked_at_when_it_has_grown_or_may_end() {
        let text = format!("HTTP/1.1 200 OK\r\na: {}\r\n\r\n", "b".repeat(1000));
        for end in ["\r\n\r\n", "\n\n", "\n\r\n"] {
            let text = text.replace("\r\n\r\n", end);
            let mut before = 0;
            let mut looks = 0;
            for length in 1..=text.len() {
                if is_worth_a_look(&text.as_bytes()[..length], before) {
                    (before, looks) = (length, looks + 1);
                }
            }
            assert_eq!(before, text.len(), "the last look sees all of it");
            assert!(looks < 20, "{looks} looks");
        }
        assert!(!is_worth_a_look(b"", 0));
    }

    #[test]
    fn a_value_on_several_lines_is_one() {
        let head = taken("HTTP/1.1 200 OK\r\na: b;\r\n\t c\r\n d\r\ne: f\r\n\r\n").unwrap().unwrap();
        assert_eq!((&head.headers["a"], &head.headers["e"]), (&"b; c d".parse().unwrap(), &"f".parse().unwrap()));
    }

    #[test]
    fn what_is_no_header_block_is_refused() {
        for text in [
            "HTTP/2 200 OK\r\n\r\n",
            "SSH-2.0-OpenSSH_9.2\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            "HTTP/1.1 200 OK\r\nsp ace: 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\n a: 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\na: 1\x002\r\n\r\n",
        ] {
            assert_eq!(taken(text).unwrap_err(), Fault::Invalid, "{text:?}");
        }
    }

    #[test]
    fn a_block_without_an_end_is_refused_at_its_bound() {
        let mut long = format!("HTTP/1.1 200 OK\r\nx: {}", "a".repeat(MOST_HEAD));
        assert_eq!(taken(&long).unwrap_err(), Fault::Invalid);
        long.push_str("\r\n\r\n");
        assert_eq!(taken(&long).unwrap_err(), Fault::Invalid);
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: 1\r\n".repeat(MOST_FIELDS + 1));
        assert_eq!(taken(&many).unwrap_err(), Fault::Invalid);
    }

    #[test]
    fn a_request_is_written_in_lines() {
        let mut head = RequestHead::new(&Method::POST, "/v1/x?y=z").unwrap();
        head.field(&header::HOST, &HeaderValue::from_static("a.example"));
        let written = b"POST /v1/x?y=z HTTP/1.1\r\nHost: a.example\r\nContent-Length: 12\r\n\r\n";
        assert_eq!(head.finish(12), written);
    }

    #[test]
    fn a_target_that_would_be_another_request_is_refused() {
        for target in ["", "/a b", "/a\r\nx: y", "/a\0", "/a\x7f"] {
            assert!(RequestHead::new(&Method::GET, target).is_none(), "{target:?}");
        }
    }
}
