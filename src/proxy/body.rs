//! The body of a request on its way to a member: counted, bounded, and kept as long as it is small, for another try.

use bytes::Bytes;

use super::masking::Mask;

/// The most of a body that is kept for another try. Row F16's largest bodies are far beyond; they are sent once.
const KEEP: usize = 64 * 1024;

/// A request body as far as it was read.
pub struct RequestBody {
    kept: Vec<Bytes>,
    kept_bytes: usize,
    overflow: bool,
    empty: bool,
    done: bool,
    bytes: u64,
    limit: u64,
    mask: Option<Box<Mask>>,
}

/// Why a body is refused.
#[derive(Debug, PartialEq, Eq)]
pub enum BodyError {
    /// It is longer than the route takes.
    TooLarge,
}

impl RequestBody {
    /// A body of at most `limit` bytes, of which nothing was read yet. With a `mask`, it is masked.
    pub fn new(empty: bool, limit: u64, mask: Option<Box<Mask>>) -> Self {
        Self { kept: Vec::new(), kept_bytes: 0, overflow: false, empty, done: empty, bytes: 0, limit, mask }
    }

    /// Takes in what was read, and gives what is to be sent of it now.
    ///
    /// # Errors
    /// When the body is now longer than its limit.
    pub fn add(&mut self, chunk: Bytes) -> Result<Bytes, BodyError> {
        self.bytes += chunk.len() as u64;
        if self.bytes > self.limit {
            return Err(BodyError::TooLarge);
        }
        let chunk = match &mut self.mask {
            Some(mask) => mask.push(&chunk).map_err(|_| BodyError::TooLarge)?,
            None => chunk,
        };
        self.keep(&chunk);
        Ok(chunk)
    }

    /// There is no more; gives what was held back of it, the first time.
    pub fn finish(&mut self) -> Bytes {
        self.done = true;
        let held = self.mask.take().map_or_else(Bytes::new, |mut mask| mask.finish());
        self.keep(&held);
        held
    }

    /// As it is to be sent, so that every attempt sends the same.
    fn keep(&mut self, chunk: &Bytes) {
        if chunk.is_empty() {
            return;
        }
        self.kept_bytes += chunk.len();
        if self.kept_bytes > KEEP {
            self.overflow = true;
            self.kept = Vec::new();
        } else {
            // A copy: a small part would hold on to all that was read with it.
            self.kept.push(Bytes::copy_from_slice(chunk));
        }
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

    /// What was to be sent so far, while it is small.
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
        let mut body = RequestBody::new(false, 1000, None);
        body.add(Bytes::from_static(b"one")).unwrap();
        body.add(Bytes::from_static(b"two")).unwrap();
        body.finish();
        assert!(body.is_replayable() && body.is_done());
        assert_eq!(body.kept().concat(), b"onetwo");
    }

    #[test]
    fn a_large_body_is_not_kept() {
        let mut body = RequestBody::new(false, u64::MAX, None);
        body.add(Bytes::from(vec![0; KEEP])).unwrap();
        assert!(body.is_replayable());
        body.add(Bytes::from_static(b"x")).unwrap();
        assert!(!body.is_replayable());
        assert!(body.kept().is_empty());
    }

    #[test]
    fn a_body_past_its_limit_is_refused() {
        let mut body = RequestBody::new(false, 5, None);
        assert_eq!(body.add(Bytes::from_static(b"12345")), Ok(Bytes::from_static(b"12345")));
        assert_eq!(body.add(Bytes::from_static(b"6")), Err(BodyError::TooLarge));
    }
}
