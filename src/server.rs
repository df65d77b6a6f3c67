//! The one place where things are wired.
pub mod lifecycle;
pub mod listener;
pub mod tls;
