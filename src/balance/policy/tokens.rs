//! Tokens: what a request is taken to cost, and what a member still has before it.
//!
//! The work of a request to a model grows with its tokens, and one of them may be a thousand times another. So a member
//! is weighed by the tokens that its requests in flight may still cost, and no longer by how many requests these are.
//! Where all requests cost the same, as those without a body do, the choice is that of `least_requests`, to the last tie.

use http::header::CONTENT_LENGTH;

use super::PickRequest;
use crate::balance::member::Member;

/// The most that one request counts as. Its client names both the most output and the length of the body, and must not
/// keep others away from a member by words alone.
const MOST: u64 = 1 << 20;
/// Bytes of a body that are taken for one token, where nobody has counted.
const BYTES_PER_TOKEN: u64 = 4;

/// The tokens that a request counts as, 1 to [`MOST`].
pub(super) fn of(request: &PickRequest<'_>) -> u32 {
    let announced = || request.headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse::<u64>().ok();
    let tokens = match request.tokens {
        0 => announced().unwrap_or(0) / BYTES_PER_TOKEN,
        known => known,
    };
    u32::try_from(tokens.clamp(1, MOST)).unwrap_or(1)
}

/// (Outstanding tokens + half of the request's own) / weight, in a fixed-point number; the weight in thousandths, never
/// 0. The half does what that of `least_requests` does, in tokens: members are compared by what they would have on
/// average while the request is added.
pub(super) fn load((member, weight): (&Member, u64), tokens: u32) -> u64 {
    let outstanding = u32::try_from(member.state.outstanding_tokens()).unwrap_or(u32::MAX);
    ((2 * u64::from(outstanding) + u64::from(tokens)) << 27) / weight.max(1)
}

#[cfg(test)]
mod tests;
