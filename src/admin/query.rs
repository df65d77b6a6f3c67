//! What stands in the query of a request to the control interface.

use std::borrow::Cow;

use http::request::Parts;
use percent_encoding::percent_decode_str;

use super::answer::Answer;

/// What stands behind `name=`, decoded, where that may stand alone; `None`: the query is empty.
///
/// # Errors
/// The answer for the client, which says that `expected` may stand there, when there is anything else.
pub(super) fn only<'a>(head: &'a Parts, name: &str, expected: &str) -> Result<Option<Cow<'a, str>>, Answer> {
    let query = head.uri.query().unwrap_or_default();
    if query.is_empty() {
        return Ok(None);
    }
    let value = query.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')).filter(|value| !value.contains('&'));
    let value = value.and_then(|value| percent_decode_str(value).decode_utf8().ok());
    value.map(Some).ok_or_else(|| Answer::bad_request(expected))
}
