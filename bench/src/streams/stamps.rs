//! What arrives of one event stream: the chunks of HTTP/1.1 taken apart, and the stamps of the mock's events checked.
//!
//! The mock's order `stamp` makes the text of each event `INDEX@MICROSECONDS `. A stamp is found by its `@` between digits, so that
//! every dialect serves, and those that a gateway translated.

/// The longest line of an event stream that is kept; the rest of it is not looked at.
const MAX_LINE: usize = 64 << 10;
/// The longest line that says how long a chunk is.
const MAX_CHUNK_LINE: usize = 1 << 10;

/// The chunked coding of RFC 9112, section 7.1, without trailers of meaning.
#[derive(Default)]
pub struct Chunks {
    state: State,
    line: Vec<u8>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// In the line with the length.
    #[default]
    Length,
    /// So much of the chunk is still to come.
    Data(usize),
    /// Before the line end behind a chunk.
    Behind,
    /// In the lines behind the last chunk.
    Trailer,
    Ended,
}

impl Chunks {
    /// Whether the body has ended.
    pub fn ended(&self) -> bool {
        self.state == State::Ended
    }

    /// Takes what was read, and hands on what it holds of the body. Errors when it is not the chunked coding.
    pub fn read(&mut self, mut bytes: &[u8], mut body: impl FnMut(&[u8])) -> Result<(), String> {
        while !bytes.is_empty() {
            match self.state {
                State::Ended => return Err("there is more behind the end of the body".to_owned()),
                State::Data(left) => {
                    let (data, rest) = bytes.split_at(left.min(bytes.len()));
                    body(data);
                    self.state = if left == data.len() { State::Behind } else { State::Data(left - data.len()) };
                    bytes = rest;
                }
                State::Length | State::Behind | State::Trailer => {
                    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
                        self.line.extend_from_slice(bytes);
                        return self.bounded();
                    };
                    let (line, rest) = bytes.split_at(end);
                    self.line.extend_from_slice(line);
                    self.bounded()?;
                    self.state = self.after_line()?;
                    self.line.clear();
                    bytes = rest.get(1..).unwrap_or_default();
                }
            }
        }
        Ok(())
    }

    fn bounded(&self) -> Result<(), String> {
        match self.line.len() > MAX_CHUNK_LINE {
            true => Err("a chunk's first line is too long".to_owned()),
            false => Ok(()),
        }
    }

    fn after_line(&self) -> Result<State, String> {
        let line = std::str::from_utf8(&self.line).unwrap_or("?").trim();
        match self.state {
            State::Behind if line.is_empty() => Ok(State::Length),
            State::Trailer => Ok(if line.is_empty() { State::Ended } else { State::Trailer }),
            State::Length => {
                let length = usize::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16);
                match length.map_err(|_| format!("{line:?} is not the length of a chunk"))? {
                    0 => Ok(State::Trailer),
                    length => Ok(State::Data(length)),
                }
            }
            _ => Err(format!("{line:?} where a chunk ends")),
        }
    }
}

/// What the stamps of one stream say so far.
#[derive(Default)]
pub struct Stamps {
    line: Vec<u8>,
    next: u64,
    /// Numbers that were left out.
    pub lost: u64,
    /// Numbers that came after a later one, or twice.
    pub disordered: u64,
}

impl Stamps {
    /// Stamped events that came.
    pub fn came(&self) -> u64 {
        (self.next + self.disordered).saturating_sub(self.lost)
    }

    /// Takes a part of the body, and hands on the time at which each stamped event was made, in microseconds since the epoch.
    pub fn read(&mut self, body: &[u8], mut made: impl FnMut(u64)) {
        for part in body.split_inclusive(|byte| *byte == b'\n') {
            let room = MAX_LINE.saturating_sub(self.line.len()).min(part.len());
            self.line.extend_from_slice(part.get(..room).unwrap_or_default());
            if part.last() == Some(&b'\n') {
                if let Some((number, time)) = stamp(&self.line) {
                    self.count(number);
                    made(time);
                }
                self.line.clear();
            }
        }
    }

    fn count(&mut self, number: u64) {
        match number.checked_sub(self.next) {
            Some(left_out) => {
                self.lost += left_out;
                self.next = number + 1;
            }
            None => self.disordered += 1,
        }
    }
}

/// The number and the time of a stamp within a line.
fn stamp(line: &[u8]) -> Option<(u64, u64)> {
    let at = line.iter().position(|byte| *byte == b'@')?;
    let (before, after) = (line.get(..at)?, line.get(at + 1..)?);
    let from = before.iter().rposition(|byte| !byte.is_ascii_digit()).map_or(0, |last| last + 1);
    let to = after.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(after.len());
    Some((digits(before.get(from..)?)?, digits(after.get(..to)?)?))
}

fn digits(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIRE: &[u8] = b"1b\r\ndata: {\"content\":\"0@100 \"}\n\r\n39;x=y\r\n\ndata: {\"delta\":{\"text\":\"1@200 \"}}\n\ndata: {\"a\":\"2@300 \"}\n\r\n0\r\nServer-Timing: a\r\n\r\n";

    fn read(wire: &[u8], at_once: usize) -> (Vec<u64>, Stamps, bool) {
        let (mut chunks, mut stamps, mut times) = (Chunks::default(), Stamps::default(), Vec::new());
        for part in wire.chunks(at_once) {
            chunks.read(part, |body| stamps.read(body, |time| times.push(time))).unwrap();
        }
        (times, stamps, chunks.ended())
    }

    #[test]
    fn stamps_are_found_wherever_the_bytes_are_cut() {
        for at_once in 1..WIRE.len() {
            let (times, stamps, ended) = read(WIRE, at_once);
            assert_eq!((times.as_slice(), ended), (&[100, 200, 300][..], true), "{at_once} at once");
            assert_eq!((stamps.came(), stamps.lost, stamps.disordered), (3, 0, 0));
        }
    }

    #[test]
    fn a_body_without_its_last_chunk_has_not_ended() {
        assert!(!read(&WIRE[..WIRE.len() - 2], 7).2);
    }

    #[test]
    fn what_is_lost_or_out_of_order_is_counted() {
        let mut stamps = Stamps::default();
        stamps.read(b"data: 0@1 \ndata: 3@2 \ndata: 2@3 \ndata: 3@4 \n: 7 at @ once\n", |_| {});
        assert_eq!((stamps.came(), stamps.lost, stamps.disordered), (4, 2, 2));
    }

    #[test]
    fn other_codings_are_errors() {
        for wrong in ["zz\r\n", "2\r\nabc\r\n", "0\r\n\r\nmore"] {
            assert!(Chunks::default().read(wrong.as_bytes(), |_| {}).is_err(), "{wrong:?}");
        }
        assert!(Chunks::default().read(&[b'1'; 2000], |_| {}).is_err());
    }
}
