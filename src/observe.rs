//! What an operator sees: metrics, access log, process log, trace ids.
pub mod access_log;
pub mod logging;
pub mod metrics;
pub mod trace;
pub mod writer;
