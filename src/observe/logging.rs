//! The process log.
