//! The AI gateway's pure parts: a request's bytes -> what is asked, of whom, in which dialect, and what it cost.
//!
//! Nothing here knows a connection: `proxy::ai` drives the exchange. What is here takes bytes and values and returns
//! bytes and values, so that every rule is tested without a socket.

pub mod body;
pub mod breaker;
pub mod dialect;
pub mod estimate;
pub mod flow;
pub mod json;
pub mod keys;
pub mod meter;
pub mod reset;
pub mod sse;
pub mod usage;
