//! Upstream: Pick -> HttpPeer, the retry table, name resolution.
pub mod peer;
pub mod resolve;
pub mod retry;
