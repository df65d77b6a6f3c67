//! Header blocks of requests, as clients send them.

use std::mem::MaybeUninit;
use std::ops::Range;

use bytes::{Buf, Bytes, BytesMut};
use http::header::{self, HeaderName};
use http::{HeaderValue, Method, Version};
use percent_encoding::{AsciiSet, percent_encode};
use pingora::http::RequestHeader;
use pingora::protocols::http::authority::validate_request_authority;

use super::body::{Body, Framed};

/// The most fields of a request that are taken apart; what a request may have is less.
const MOST_FIELDS: usize = 256;
/// Why something is no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// It is no HTTP/1, or can be read in more than one way.
    Malformed,
    /// It has too many fields.
    TooManyFields,
}

/// A request whose header block is in.
#[derive(Debug)]
pub struct Request {
    /// Its header block.
    pub header: Box<RequestHeader>,
    /// The same as it came.
    pub raw: Bytes,
    /// Its body, and whether the client wants the connection to serve again.
    pub framed: Framed,
}

impl Request {
    /// Takes a header block out of `buffer`; `None`: it is not complete.
    ///
    /// # Errors
    /// When it is none.
    pub fn take(buffer: &mut BytesMut) -> Result<Option<Self>, Unfit> {
        skip_blank_lines(buffer);
        let found = match Found::in_block(buffer) {
            Err(httparse::Error::Token) if is_cut(buffer) => Ok(None),
            Err(httparse::Error::Token) => {
                *buffer = escaped(buffer).ok_or(Unfit::Malformed)?;
                Found::in_block(buffer)
            }
            found => found,
        };
        let found = found.map_err(|error| match error {
            httparse::Error::TooManyHeaders => Unfit::TooManyFields,
            _ => Unfit::Malformed,
        });
        let Some(found) = found? else { return Ok(None) };
        let raw = buffer.split_to(found.length).freeze();
        let mut header = found.header;
        for (name, value) in found.fields {
            let value = HeaderValue::from_maybe_shared(raw.slice(value)).map_err(|_| Unfit::Malformed)?;
            header.append_header(name, value).map_err(|_| Unfit::Malformed)?;
        }
        validate_request_authority(&header).map_err(|_| Unfit::Malformed)?;
        let framed = Body::of_request(header.version, &header.headers).map_err(|_| Unfit::Malformed)?;
        if header.headers.contains_key(header::TRANSFER_ENCODING) {
            // It overrides the length (RFC 9112, section 6.3), which nobody behind us shall see.
            header.remove_header(&header::CONTENT_LENGTH);
        }
        Ok(Some(Self { header, raw, framed }))
    }
}

/// Takes out blank lines before a request: some clients end a body by one that is no part of it (RFC 9112, section 2.2).
pub fn skip_blank_lines(buffer: &mut BytesMut) {
    while let [b'\n', ..] | [b'\r', b'\n', ..] = buffer[..] {
        let line = if buffer.starts_with(b"\n") { 1 } else { 2 };
        buffer.advance(line);
    }
}

/// What a parser finds in a complete header block.
struct Found {
    length: usize,
    header: Box<RequestHeader>,
    fields: Vec<(HeaderName, Range<usize>)>,
}

impl Found {
    fn in_block(buffer: &[u8]) -> Result<Option<Self>, httparse::Error> {
        let mut fields = [const { MaybeUninit::uninit() }; MOST_FIELDS];
        let mut request = httparse::Request::new(&mut []);
        let parser = httparse::ParserConfig::default();
        let parsed = parser.parse_request_with_uninit_headers(&mut request, buffer, &mut fields)?;
        let httparse::Status::Complete(length) = parsed else { return Ok(None) };
        let (method, target) = (request.method.unwrap_or_default(), request.path.unwrap_or_default());
        let header = RequestHeader::build_no_case(method, target.as_bytes(), Some(request.headers.len()));
        let mut header = Box::new(header.map_err(|_| httparse::Error::Status)?);
        header.set_version(if request.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 });
        let start = buffer.as_ptr().addr();
        let mut fields = Vec::with_capacity(request.headers.len());
        for field in request.headers.iter() {
            let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| httparse::Error::HeaderName)?;
            let at = field.value.as_ptr().addr() - start;
            fields.push((name, at..at + field.value.len()));
        }
        Ok(Some(Self { length, header, fields }))
    }
}

/// Whether the end of a request line is still to come.
fn is_cut(block: &[u8]) -> bool {
    let method = memchr::memchr(b' ', block).and_then(|end| block.get(..end));
    method.is_some_and(|method| Method::from_bytes(method).is_ok()) && memchr::memchr(b'\n', block).is_none()
}

/// The block with its target escaped, where that is no UTF-8 and nothing else is wrong with it. With a blank or a control
/// character in it, the line could be read in more than one way.
fn escaped(block: &[u8]) -> Option<BytesMut> {
    let line = block.get(..memchr::memchr(b'\n', block)?)?;
    let begin = memchr::memchr(b' ', line)? + 1;
    let end = memchr::memrchr(b' ', line)?;
    let target = line.get(begin..end)?;
    if target.iter().any(|&byte| byte <= b' ' || byte == 0x7f) {
        return None;
    }
    let mut whole = BytesMut::with_capacity(block.len() + 3 * target.len());
    whole.extend_from_slice(block.get(..begin)?);
    for part in percent_encode(target, &AsciiSet::EMPTY) {
        whole.extend_from_slice(part.as_bytes());
    }
    let changed = whole.len() != end;
    whole.extend_from_slice(block.get(end..)?);
    changed.then_some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(text: &[u8]) -> Result<Option<Request>, Unfit> {
        Request::take(&mut BytesMut::from(text))
    }

    #[test]
    fn a_block_is_taken_whole_and_what_follows_stays() {
        let text = b"POST /a?b=c HTTP/1.1\r\nHost: a.example\r\nContent-Length: 4\r\nX-A: 1\r\nx-a:2\r\n\r\nrest";
        for cut in 0..text.len() - 4 {
            let mut buffer = BytesMut::from(&text[..cut]);
            assert!(Request::take(&mut buffer).unwrap().is_none(), "{cut}");
            assert_eq!(buffer, text[..cut]);
        }
        let mut buffer = BytesMut::from(&text[..]);
        let request = Request::take(&mut buffer).unwrap().unwrap();
        assert_eq!((request.header.method.as_str(), request.header.version), ("POST", Version::HTTP_11));
        assert_eq!((request.header.uri.path(), request.header.uri.query()), ("/a", Some("b=c")));
        assert_eq!(request.header.headers["host"], "a.example");
        let values: Vec<_> = request.header.headers.get_all("x-a").iter().collect();
        assert_eq!(values, ["1", "2"]);
        assert_eq!((request.framed.body, request.framed.keeps), (Body::Length(4), true));
        assert_eq!((&request.raw[..], &buffer[..]), (&text[..text.len() - 4], &b"rest"[..]));
    }

    #[test]
    fn a_target_that_is_no_utf8_is_escaped_and_one_that_is_stays() {
        for (sent, path) in [(&b"/\xc3\xbc"[..], "/\u{fc}"), (b"/\xfc\"", "/%FC\""), (b"/a", "/a")] {
            let text = [b"GET ", sent, b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
            assert_eq!(taken(&text).unwrap().unwrap().header.uri.path(), path);
            for cut in 0..text.len() {
                assert!(taken(&text[..cut]).unwrap().is_none(), "{cut}");
            }
        }
    }

    #[test]
    fn what_is_no_request_or_more_than_one_is_refused() {
        for text in [
            "GET / HTTP/2\r\n\r\n",
            "))) /",
            "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET\r\n\r\n",
            "G\x00T / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",
            "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nx: a\x00b\r\n\r\n",
            "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n",
            "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        ] {
            assert_eq!(taken(text.as_bytes()).unwrap_err(), Unfit::Malformed, "{text:?}");
        }
        let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "x: y\r\n".repeat(MOST_FIELDS));
        assert_eq!(taken(many.as_bytes()).unwrap_err(), Unfit::TooManyFields);
    }

    #[test]
    fn a_body_is_delimited_and_a_connection_kept_as_the_request_says() {
        for (fields, version, body, keeps) in [
            ("", "1.1", Body::Done, true),
            ("", "1.0", Body::Done, false),
            ("Connection: Keep-Alive\r\n", "1.0", Body::Done, true),
            ("Connection: close\r\n", "1.1", Body::Done, false),
            ("Connection: x, Close\r\n", "1.1", Body::Done, false),
            ("Content-Length: 5\r\n", "1.1", Body::Length(5), true),
            ("Content-Length: 5, 5\r\n", "1.1", Body::Length(5), true),
            ("Content-Length: 0\r\n", "1.1", Body::Done, true),
            ("Transfer-Encoding: Chunked\r\n", "1.1", Body::Size, true),
            ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "1.1", Body::Size, false),
        ] {
            let text = format!("POST / HTTP/{version}\r\nHost: a\r\n{fields}\r\n");
            let request = taken(text.as_bytes()).unwrap().unwrap();
            assert_eq!((request.framed.body, request.framed.keeps), (body, keeps), "{fields} {version}");
            let both = request.header.headers.contains_key(header::TRANSFER_ENCODING)
                && request.header.headers.contains_key(header::CONTENT_LENGTH);
            assert!(!both, "{fields}");
        }
    }
}
