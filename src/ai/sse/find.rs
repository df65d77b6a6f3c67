//! Where a frame ends: the blank line, with `\n`, `\r\n` and `\r` as line ends, in chunks of any size.

use memchr::memchr2;

/// How many bytes of blank lines between events are one frame.
const MOST_BLANK: u16 = 4096;

/// Looks for the end of one frame after the other. It stands at the end of what it has seen.
///
/// A `\r` that may end a frame is looked at twice: where `\r\n` ends the lines, its `\n` belongs to the frame, so one more
/// byte is waited for. Where the line before ended with a bare `\r`, waiting would hold every event back until the next
/// one comes, so the frame ends there, and should a `\n` follow, it is the beginning of the next frame, where it means
/// nothing. Which of both it is depends on the stream alone, never on its chunks.
///
/// More blank lines than one are a frame of their own, which ends where something else begins, or when it is long: one byte
/// a frame would make of a stream of them many times its length.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Finder {
    at: At,
    /// The last line end was a bare `\r`.
    bare: bool,
}

#[derive(Debug, Clone, Copy, Default)]
enum At {
    /// The beginning of a frame.
    #[default]
    Start,
    /// Behind so many bytes of blank lines, and nothing else.
    Blank(u16),
    /// The beginning of a line.
    Line,
    /// Within a line.
    Within,
    /// Behind the `\r` that ended a line.
    Return {
        /// That line was blank.
        blank: bool,
    },
}

impl Finder {
    /// Reads on in the next bytes. Gives the place behind the end of the frame, and is ready for the next one from there;
    /// `None`: all bytes were seen, and more are needed.
    pub(super) fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut i = 0;
        loop {
            match self.at {
                At::Start => {
                    let is_blank = matches!(bytes.get(i)?, b'\n' | b'\r');
                    self.at = if is_blank { At::Blank(0) } else { At::Within };
                }
                At::Blank(MOST_BLANK) => {
                    *self = Self::default();
                    return Some(i);
                }
                At::Blank(len) => {
                    if !matches!(bytes.get(i)?, b'\n' | b'\r') {
                        *self = Self::default();
                        return Some(i);
                    }
                    self.at = At::Blank(len + 1);
                    i += 1;
                }
                At::Line => match bytes.get(i)? {
                    b'\n' => {
                        *self = Self::default();
                        return Some(i + 1);
                    }
                    b'\r' if self.bare => {
                        self.at = At::Return { blank: false };
                        return Some(i + 1);
                    }
                    b'\r' => {
                        self.at = At::Return { blank: true };
                        i += 1;
                    }
                    _ => self.at = At::Within,
                },
                At::Within => {
                    i += memchr2(b'\n', b'\r', bytes.get(i..)?)?;
                    let feed = bytes.get(i) == Some(&b'\n');
                    self.at = if feed { At::Line } else { At::Return { blank: false } };
                    self.bare = false;
                    i += 1;
                }
                At::Return { blank } => {
                    self.bare = *bytes.get(i)? != b'\n';
                    i += usize::from(!self.bare);
                    self.at = At::Line;
                    if blank {
                        self.bare = false;
                        return Some(i);
                    }
                }
            }
        }
    }
}
