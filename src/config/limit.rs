//! The values of `limits`.

/// One named limit.
#[derive(Debug, Clone, PartialEq)]
pub struct Limit {}
