//! Bodies: how they are delimited (RFC 9112, section 6.3), and their bytes out of what was read.

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, StatusCode, Version, header};

use super::head::items;
use super::{Fault, Head};

/// The longest line of a chunk's size, extensions included, in bytes.
const MOST_LINE: usize = 4 << 10;
/// The most bytes of trailers.
const MOST_TRAILERS: usize = 64 << 10;

/// What is still to come of a body.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// Nothing.
    #[default]
    Done,
    /// So many bytes.
    Length(u64),
    /// The line with the size of a chunk.
    Size,
    /// So many bytes of a chunk.
    Chunk(u64),
    /// The line end behind a chunk.
    ChunkEnd,
    /// Trailers, of which so many bytes were there.
    Trailers(usize),
    /// Everything up to the end of the connection.
    UntilClose,
}

/// How a body is delimited.
#[derive(Debug)]
pub struct Framed {
    /// What is to come.
    pub body: Body,
    /// The connection may serve again after it.
    pub keeps: bool,
}

/// What was at hand.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// Bytes of the body, at least one.
    Part(Bytes),
    /// Nothing as yet.
    Nothing,
    /// Its end.
    End,
}

impl Body {
    /// How the body behind `head` is delimited. `to_head`: it answers a HEAD, and has none.
    ///
    /// # Errors
    /// When that can be read in several ways.
    pub fn of(head: &Head, to_head: bool) -> Result<Framed, Fault> {
        let keeps = lets_serve_again(head.version, &head.headers);
        let coded = head.headers.contains_key(header::TRANSFER_ENCODING);
        let length = length(&head.headers)?;
        let body = match head.status {
            StatusCode::SWITCHING_PROTOCOLS => return Err(Fault::Invalid),
            _ if coded => {
                let mut codings = items(&head.headers, header::TRANSFER_ENCODING);
                let only = codings.next().filter(|_| codings.next().is_none());
                // Other codings cannot be passed on: only chunked is taken off and put on again here.
                only.filter(|coding| coding.eq_ignore_ascii_case(b"chunked")).ok_or(Fault::Invalid)?;
                Self::Size
            }
            _ => match length {
                Some(0) => Self::Done,
                Some(length) => Self::Length(length),
                None => Self::UntilClose,
            },
        };
        let bodiless = to_head || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        // Behind one that may announce none, there may be one all the same.
        let keeps =
            keeps && !(head.status == StatusCode::NO_CONTENT && (coded || length.is_some_and(|length| length > 0)));
        let body = if bodiless { Self::Done } else { body };
        // With both, or with chunks in HTTP/1.0, somebody between us may see another end (section 6.1).
        let sure = !coded || (length.is_none() && head.version == Version::HTTP_11);
        Ok(Framed { body, keeps: keeps && sure && body != Self::UntilClose })
    }

    /// How the body of a request with these fields is delimited.
    ///
    /// # Errors
    /// When that can be read in several ways.
    pub fn of_request(version: Version, headers: &HeaderMap) -> Result<Framed, Fault> {
        let keeps = lets_serve_again(version, headers);
        if !headers.contains_key(header::TRANSFER_ENCODING) {
            let body = match length(headers)? {
                None | Some(0) => Self::Done,
                Some(length) => Self::Length(length),
            };
            return Ok(Framed { body, keeps });
        }
        let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
        let (mut chunks, mut last) = (0, false);
        for coding in items(headers, header::TRANSFER_ENCODING) {
            last = is_chunked(coding);
            chunks += usize::from(last);
        }
        // It is the last coding, only once, and nothing for HTTP/1.0 (sections 6.1 and 7.1).
        if version != Version::HTTP_11 || !last || chunks != 1 {
            return Err(Fault::Invalid);
        }
        // With a length as well, somebody between us may see another end.
        Ok(Framed { body: Self::Size, keeps: keeps && !headers.contains_key(header::CONTENT_LENGTH) })
    }

    /// Whether nothing is to come any more.
    pub fn is_done(self) -> bool {
        self == Self::Done
    }

    /// The connection has ended.
    ///
    /// # Errors
    /// When the body has not.
    pub fn close(&mut self) -> Result<(), Fault> {
        match self {
            Self::Done | Self::UntilClose => {
                *self = Self::Done;
                Ok(())
            }
            _ => Err(Fault::Closed),
        }
    }

    /// Takes the next bytes of it out of `buffer`.
    ///
    /// # Errors
    /// When the chunks are none.
    pub fn take(&mut self, buffer: &mut BytesMut) -> Result<Taken, Fault> {
        loop {
            match *self {
                Self::Done => return Ok(Taken::End),
                _ if buffer.is_empty() => return Ok(Taken::Nothing),
                Self::UntilClose => return Ok(Taken::Part(buffer.split().freeze())),
                Self::Length(left) => {
                    let (part, left) = part(buffer, left);
                    *self = if left == 0 { Self::Done } else { Self::Length(left) };
                    return Ok(Taken::Part(part));
                }
                Self::Size => {
                    let Some(line) = line(buffer, MOST_LINE)? else { return Ok(Taken::Nothing) };
                    *self = match size(&line)? {
                        0 => Self::Trailers(0),
                        size => Self::Chunk(size),
                    };
                }
                Self::Chunk(left) => {
                    let (part, left) = part(buffer, left);
                    *self = if left == 0 { Self::ChunkEnd } else { Self::Chunk(left) };
                    return Ok(Taken::Part(part));
                }
                Self::ChunkEnd => {
                    match buffer.get(..2) {
                        Some(b"\r\n") => buffer.advance(2),
                        None if buffer.first() == Some(&b'\r') => return Ok(Taken::Nothing),
                        _ => return Err(Fault::Invalid),
                    }
                    *self = Self::Size;
                }
                Self::Trailers(seen) => {
                    let Some(line) = line(buffer, MOST_TRAILERS - seen)? else { return Ok(Taken::Nothing) };
                    *self = if line.is_empty() { Self::Done } else { Self::Trailers(seen + line.len()) };
                }
            }
        }
    }
}

/// Whether a message lets its connection serve another request (RFC 9112, section 9.3).
fn lets_serve_again(version: Version, headers: &HeaderMap) -> bool {
    let has = |token: &[u8]| items(headers, header::CONNECTION).any(|item| item.eq_ignore_ascii_case(token));
    !has(b"close") && (version == Version::HTTP_11 || has(b"keep-alive"))
}

/// The length that is announced; `None`: none is.
fn length(headers: &HeaderMap) -> Result<Option<u64>, Fault> {
    let mut length = None;
    for item in items(headers, header::CONTENT_LENGTH) {
        let digits = std::str::from_utf8(item).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let said: u64 = digits.and_then(|digits| digits.parse().ok()).ok_or(Fault::Invalid)?;
        if length.replace(said).is_some_and(|before| before != said) {
            return Err(Fault::Invalid);
        }
    }
    Ok(length)
}

/// At most `left` bytes, and how many are left then.
fn part(buffer: &mut BytesMut, left: u64) -> (Bytes, u64) {
    let taken = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
    (buffer.split_to(taken).freeze(), left - taken as u64)
}

/// The next line without its end; `None`: it is not complete.
fn line(buffer: &mut BytesMut, most: usize) -> Result<Option<BytesMut>, Fault> {
    let Some(end) = memchr::memchr(b'\n', buffer) else {
        return if buffer.len() > most { Err(Fault::Invalid) } else { Ok(None) };
    };
    let mut line = buffer.split_to(end + 1);
    if end > most || !line.ends_with(b"\r\n") {
        return Err(Fault::Invalid);
    }
    line.truncate(end - 1);
    // Somebody else may take a bare CR for its end.
    if memchr::memchr2(b'\r', 0, &line).is_some() {
        return Err(Fault::Invalid);
    }
    Ok(Some(line))
}

/// The size that a chunk's line begins with. What follows it, extensions, has no meaning here.
fn size(line: &[u8]) -> Result<u64, Fault> {
    let mut digits = line.split(|&byte| byte == b';').next().unwrap_or_default();
    while let [before @ .., b' ' | b'\t'] = digits {
        digits = before;
    }
    if digits.is_empty() || digits.len() > 16 {
        return Err(Fault::Invalid);
    }
    digits.iter().try_fold(0, |size, &digit| {
        let digit = char::from(digit).to_digit(16).ok_or(Fault::Invalid)?;
        Ok(size << 4 | u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn framed(text: &str) -> Result<Framed, Fault> {
        Body::of(&Head::take(&mut BytesMut::from(text)).unwrap().unwrap(), false)
    }

    /// All of a body that comes in these pieces, and what is left in the buffer.
    fn read(mut body: Body, pieces: &[&[u8]]) -> Result<(Vec<u8>, Body, Vec<u8>), Fault> {
        let mut buffer = BytesMut::new();
        let mut all = Vec::new();
        for piece in pieces {
            buffer.extend_from_slice(piece);
            while let Taken::Part(part) = body.take(&mut buffer)? {
                assert!(!part.is_empty());
                all.extend_from_slice(&part);
            }
        }
        Ok((all, body, buffer.to_vec()))
    }

    #[test]
    fn a_body_is_delimited_as_its_header_block_says() {
        for (fields, body, keeps) in [
            ("200 OK\r\nContent-Length: 5", Body::Length(5), true),
            ("200 OK\r\nContent-Length: 0", Body::Done, true),
            ("200 OK\r\nContent-Length: 5, 5", Body::Length(5), true),
            ("200 OK\r\nContent-Length: 5\r\nContent-Length: 5", Body::Length(5), true),
            ("200 OK\r\nContent-Length: 5\r\nConnection: Close", Body::Length(5), false),
            ("200 OK\r\nContent-Length: 5\r\nConnection: x, close", Body::Length(5), false),
            ("200 OK\r\nTransfer-Encoding: Chunked", Body::Size, true),
            ("200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5", Body::Size, false),
            ("200 OK", Body::UntilClose, false),
            ("204 No Content", Body::Done, true),
            ("204 No Content\r\nContent-Length: 5", Body::Done, false),
            ("304 Not Modified\r\nContent-Length: 5", Body::Done, true),
            ("304 Not Modified", Body::Done, true),
        ] {
            let framed = framed(&format!("HTTP/1.1 {fields}\r\n\r\n")).unwrap();
            assert_eq!((framed.body, framed.keeps), (body, keeps), "{fields}");
        }
    }

    #[test]
    fn http_1_0_keeps_a_connection_only_when_it_says_so() {
        assert!(!framed("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n").unwrap().keeps);
        assert!(framed("HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n").unwrap().keeps);
        let chunked = "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n";
        assert!(!framed(chunked).unwrap().keeps);
    }

    #[test]
    fn what_has_two_meanings_is_refused() {
        for fields in [
            "200 OK\r\nContent-Length: 5\r\nContent-Length: 6",
            "200 OK\r\nContent-Length: 5, 6",
            "200 OK\r\nContent-Length: +5",
            "200 OK\r\nContent-Length: 5 5",
            "200 OK\r\nContent-Length: ",
            "200 OK\r\nContent-Length: 99999999999999999999",
            "200 OK\r\nTransfer-Encoding: gzip, chunked",
            "200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "200 OK\r\nTransfer-Encoding: identity",
            "304 Not Modified\r\nTransfer-Encoding: gzip",
            "101 Switching Protocols\r\nUpgrade: x",
        ] {
            assert_eq!(framed(&format!("HTTP/1.1 {fields}\r\n\r\n")).err(), Some(Fault::Invalid), "{fields}");
        }
    }

    #[test]
    fn chunks_that_are_none_are_refused() {
        for text in [
            "\r\n",
            "g\r\n",
            " 5\r\n",
            "-5\r\n",
            "5\nhello\r\n",
            "5\r\nhelloX",
            "12345678901234567\r\n",
            ";x\r\n",
            "5\r\r\n",
            "5\x0c\r\n",
            "0\r\na: b\0\r\n",
            "0\r\n\rGET / HTTP/1.1\r\n",
            "0\r\r\n",
            "5;a\rb\r\n",
        ] {
            assert_eq!(read(Body::Size, &[text.as_bytes()]).unwrap_err(), Fault::Invalid, "{text:?}");
        }
        let long = format!("5;{}", "x".repeat(MOST_LINE));
        assert_eq!(read(Body::Size, &[long.as_bytes()]).unwrap_err(), Fault::Invalid);
        let trailers = format!("0\r\n{}", "a: b\r\n".repeat(MOST_TRAILERS));
        assert_eq!(read(Body::Size, &[trailers.as_bytes()]).unwrap_err(), Fault::Invalid);
    }

    #[test]
    fn a_connection_that_ends_is_the_end_of_some_bodies_only() {
        for mut body in [Body::Length(1), Body::Size, Body::Chunk(1), Body::ChunkEnd, Body::Trailers(0)] {
            assert_eq!(body.close(), Err(Fault::Closed), "{body:?}");
        }
        let mut body = Body::UntilClose;
        assert_eq!((body.close(), body), (Ok(()), Body::Done));
    }

    proptest! {
        #[test]
        fn a_body_is_the_same_however_it_comes(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6),
            cuts in prop::collection::vec(0_usize..400, 0..12),
        ) {
            let mut wire = Vec::new();
            for chunk in &chunks {
                wire.extend_from_slice(format!("{:x};a=b\r\n", chunk.len()).as_bytes());
                wire.extend_from_slice(chunk);
                wire.extend_from_slice(b"\r\n");
            }
            wire.extend_from_slice(b"0\r\nx: y\r\n\r\nHTTP");
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut % wire.len()).chain([0, wire.len()]).collect();
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|cut| &wire[cut[0]..cut[1]]).collect();
            let (all, body, rest) = read(Body::Size, &pieces).unwrap();
            prop_assert_eq!((all, body, rest), (chunks.concat(), Body::Done, b"HTTP".to_vec()));

            let whole = chunks.concat();
            let cuts: Vec<_> = cuts.iter().map(|cut| cut * whole.len() / wire.len()).collect();
            let pieces: Vec<_> = cuts.windows(2).map(|cut| &whole[cut[0]..cut[1]]).collect();
            let body = if whole.is_empty() { Body::Done } else { Body::Length(whole.len() as u64) };
            let (all, body, _) = read(body, &pieces).unwrap();
            prop_assert_eq!((all, body), (whole, Body::Done));
        }

        #[test]
        fn nothing_that_comes_does_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(Body::Size, &[&bytes]);
            let _ = Head::take(&mut BytesMut::from(&bytes[..]));
        }
    }
}
