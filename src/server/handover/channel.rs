//! The channel between the two processes: sockets first, then lines of JSON, either way.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg, sockopt,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::server::listener::Bound;

/// Sockets that go with one byte of the stream. The kernel takes 253.
const AT_ONCE: usize = 128;
/// Bytes of a line. A member carried over has some hundred, a revoked token less.
pub const MAX_LINE: usize = 256 << 20;

/// Sends `sockets`, so many at once.
///
/// # Errors
/// When the system refuses.
pub fn send_sockets(channel: &impl AsFd, sockets: &[Bound]) -> io::Result<()> {
    for some in sockets.chunks(AT_ONCE) {
        let descriptors: Vec<BorrowedFd<'_>> = some.iter().map(AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
        sendmsg(channel, &[IoSlice::new(b"\n")], &mut ancillary, SendFlags::empty())?;
    }
    Ok(())
}

/// Receives so many sockets.
///
/// # Errors
/// When the other has gone, or sends something else.
pub fn receive_sockets(channel: &UnixStream, count: usize) -> io::Result<Vec<Bound>> {
    let mut received = Vec::new();
    while received.len() < count {
        let mut byte = [0; 1];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let message = recvmsg(channel, &mut [IoSliceMut::new(&mut byte)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
        let before = received.len();
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                received.extend(descriptors);
            }
        }
        if message.bytes == 0 || received.len() == before {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a socket is missing"));
        }
    }
    received.into_iter().map(bound).collect()
}

fn bound(socket: OwnedFd) -> io::Result<Bound> {
    Ok(match sockopt::socket_domain(&socket)? {
        rustix::net::AddressFamily::UNIX => Bound::Unix(socket.into()),
        _ => Bound::Tcp(socket.into()),
    })
}

/// A line.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn line(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(line)
}

/// Reads a line back. An empty one is the end of the channel.
///
/// # Errors
/// When there is none, or it is something else.
pub fn parse<T: DeserializeOwned>(line: &[u8]) -> io::Result<T> {
    if line.last() != Some(&b'\n') {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the other process has ended"));
    }
    Ok(serde_json::from_slice(line)?)
}
