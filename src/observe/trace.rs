//! W3C trace context and request ids.
