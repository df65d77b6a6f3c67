//! How often and how many at once: a request -> [`Permits`], or when to come again.

/// What a request holds of limits on requests in flight; given back when it is dropped.
#[derive(Debug, Default)]
pub struct Permits {}
