//! Upstream: from a chosen member to a connection, and the rules of trying again.
//!
//! - [`peer`]: what is needed to reach a member, made once per generation of the configuration.
//! - [`connect`]: new and idle connections of one worker thread.
//! - [`retry`]: when a request is tried again, and the budget of it.
//! - [`resolve`]: host names of members, looked up off the worker threads.

pub mod connect;
pub mod peer;
pub mod resolve;
pub mod retry;
