//! The body of a request on its way to a member: counted, bounded, and kept as long as it is small, for another try.

use bytes::Bytes;

/// The most of a body that is kept for another try. Row F16's largest bodies are far beyond; they are sent once.
const KEEP: usize = 64 * 1024;

/// A request body as far as it was read.
#[derive(Debug)]
pub struct RequestBody {
    kept: Vec<Bytes>,
    kept_bytes: usize,
    overflow: bool,
    empty: bool,
    done: bool,
    bytes: u64,
    limit: u64,
}

/// Why a body is refused.
#[derive(Debug, PartialEq, Eq)]
pub enum BodyError {
    /// It is longer than the route takes.
    TooLarge,
}

impl RequestBody {
    /// A body of at most `limit` bytes, of which nothing was read yet.
    pub fn new(empty: bool, limit: u64) -> Self {
        Self { kept: Vec::new(), kept_bytes: 0, overflow: false, empty, done: empty, bytes: 0, limit }
    }

    /// Takes in what was read.
    ///
    /// # Errors
    /// When the body is now longer than its limit.
    pub fn add(&mut self, chunk: &Bytes) -> Result<(), BodyError> {
        self.bytes += chunk.len() as u64;
        if self.bytes > self.limit {
            return Err(BodyError::TooLarge);
        }
        self.kept_bytes += chunk.len();
        if self.kept_bytes > KEEP {
            self.overflow = true;
            self.kept = Vec::new();
        } else {
            self.kept.push(chunk.clone());
        }
        Ok(())
    }

    /// There is no more.
    pub fn finish(&mut self) {
        self.done = true;
    }

    /// Whether all of it was read.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// Whether there never was any.
    pub fn is_empty(&self) -> bool {
        self.empty
    }

    /// Whether what was read can be sent again.
    pub fn is_replayable(&self) -> bool {
        !self.overflow
    }

    /// What was read, while it is small.
    pub fn kept(&self) -> &[Bytes] {
        &self.kept
    }

    /// Bytes read so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_body_can_be_sent_again() {
        let mut body = RequestBody::new(false, 1000);
        body.add(&Bytes::from_static(b"one")).unwrap();
        body.add(&Bytes::from_static(b"two")).unwrap();
        body.finish();
        assert!(body.is_replayable() && body.is_done());
        assert_eq!(body.kept().concat(), b"onetwo");
    }

    #[test]
    fn a_large_body_is_not_kept() {
        let mut body = RequestBody::new(false, u64::MAX);
        body.add(&Bytes::from(vec![0; KEEP])).unwrap();
        assert!(body.is_replayable());
        body.add(&Bytes::from_static(b"x")).unwrap();
        assert!(!body.is_replayable());
        assert!(body.kept().is_empty());
    }

    #[test]
    fn a_body_past_its_limit_is_refused() {
        let mut body = RequestBody::new(false, 5);
        assert_eq!(body.add(&Bytes::from_static(b"12345")), Ok(()));
        assert_eq!(body.add(&Bytes::from_static(b"6")), Err(BodyError::TooLarge));
    }
}
