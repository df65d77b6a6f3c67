//! Bytes that wait to be written to a stream.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

/// Bytes gathered before they go to the kernel: a header block and a small body leave in one call.
pub const GATHERED: usize = 4096;

/// What waits, and how much of it went out.
#[derive(Debug, Default)]
pub struct Unsent {
    bytes: Vec<u8>,
    gone: usize,
}

impl Unsent {
    /// `bytes` wait.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, gone: 0 }
    }

    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.gone
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Where what is to wait is put.
    pub fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Puts `parts` behind what waits, if they are small enough to wait themselves.
    pub fn gather(&mut self, parts: [&[u8]; 2]) -> bool {
        let small = self.bytes.len() + parts[0].len() + parts[1].len() <= GATHERED;
        if small {
            parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
        }
        small
    }

    /// Writes of what waits, and of `parts` behind it, what the stream takes in one call, and takes that off.
    ///
    /// # Errors
    /// When the stream takes no more.
    pub fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut (impl AsyncWrite + Unpin),
        parts: &mut [&[u8]; 2],
    ) -> Poll<io::Result<()>> {
        let waiting = self.bytes.get(self.gone..).unwrap_or_default();
        let stream = Pin::new(stream);
        let written = if *parts == [b"", b""] {
            stream.poll_write(cx, waiting)
        } else {
            let [first, second] = parts.map(IoSlice::new);
            stream.poll_write_vectored(cx, &[IoSlice::new(waiting), first, second])
        };
        let mut written = ready!(written)?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        let waited = written.min(waiting.len());
        self.gone += waited;
        if self.gone == self.bytes.len() {
            self.clear();
        }
        written -= waited;
        for part in parts {
            let taken = written.min(part.len());
            *part = part.get(taken..).unwrap_or_default();
            written -= taken;
        }
        Poll::Ready(Ok(()))
    }

    /// Forgets what waits.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.gone = 0;
    }

    /// Gives the room back that one long header block took.
    pub fn shrink(&mut self) {
        if self.is_empty() && self.bytes.capacity() > 2 * GATHERED {
            self.bytes = Vec::with_capacity(GATHERED);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    /// Takes at most three bytes at a time.
    struct Slow(Vec<u8>);

    impl AsyncWrite for Slow {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            let taken = bytes.len().min(3);
            self.get_mut().0.extend_from_slice(&bytes[..taken]);
            Poll::Ready(Ok(taken))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn what_a_stream_takes_in_bits_leaves_in_its_order_and_once() {
        let mut stream = Slow(Vec::new());
        let mut unsent = Unsent::new(b"waiting ".to_vec());
        let mut parts = [&b"first "[..], b"second"];
        while !unsent.is_empty() || parts.iter().any(|part| !part.is_empty()) {
            poll_fn(|cx| unsent.poll_write(cx, &mut stream, &mut parts)).await.unwrap();
        }
        assert_eq!(stream.0, b"waiting first second");
    }

    #[test]
    fn only_what_is_small_waits() {
        let mut unsent = Unsent::default();
        assert!(unsent.gather([&[1; GATHERED - 1], &[2]]));
        assert!(!unsent.gather([&[3], &[]]));
        assert_eq!(unsent.bytes().len(), GATHERED);
    }
}
