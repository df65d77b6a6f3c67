//! impl ProxyHttp: the table of contents, no logic.
pub mod context;
pub mod headers;
pub mod rejection;
