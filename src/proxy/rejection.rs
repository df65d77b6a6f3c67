//! Rejection: an answer of our own when a request cannot be served.
