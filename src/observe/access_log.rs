//! The access log: one line a request.
