//! The values of `sanitize`, and how a route uses them.

/// A set of rules that mask what bodies should not carry.
#[derive(Debug, Clone)]
pub struct Sanitize {}
