//! The values of `auth.jwt`.

/// One issuer whose tokens are taken.
#[derive(Debug, Clone)]
pub struct Jwt {}
