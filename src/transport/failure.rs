//! Why a connection to a member failed, for people.

use pingora::Error;

/// The innermost reason of `error`, without what Pingora adds around it.
///
/// Of a failed TLS handshake Pingora keeps the reason in the error's context, and as its cause only the local address.
pub fn reason(error: &Error) -> String {
    let cause = error.root_cause().to_string();
    if !cause.is_empty() && !cause.starts_with("local address ") && !cause.starts_with("cause: ") {
        return without_frame(&cause).to_owned();
    }
    let context = error.context.as_ref().map(ToString::to_string).unwrap_or_default();
    if context.is_empty() { error.etype().as_str().to_owned() } else { without_frame(&context).to_owned() }
}

/// Drops the call that a text says failed: what it said is what matters.
fn without_frame(text: &str) -> &str {
    text.strip_prefix("TLS connect() failed: ").unwrap_or(text).trim()
}
