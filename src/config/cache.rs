//! The values of `caches`, and how a route uses one.

/// One named cache.
#[derive(Debug, Clone, PartialEq)]
pub struct Cache {}

/// How a route uses a cache.
#[derive(Debug, Clone, PartialEq)]
pub struct RouteCache {}
