//! Transport: the byte streams below HTTP, ours on both sides.
//!
//! Pingora's own stream buffers 64 KiB for each connection, asks the kernel for the peer's name on every reuse and has
//! no deadline for a whole header block. [`socket::Socket`] is the bare socket, [`downstream::Downstream`] the client's
//! side of a connection with its deadlines, [`http1`] what is spoken on both sides, and [`session::Session`] one request of
//! a client, whichever HTTP it speaks.

pub mod authorities;
pub mod connection;
pub mod deadline;
pub mod downstream;
pub mod failure;
pub mod http1;
pub mod session;
pub mod socket;
pub mod unsent;
