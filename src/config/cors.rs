//! The values of `auth.cors`, which a route may override.

/// Which pages of other origins may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {}
