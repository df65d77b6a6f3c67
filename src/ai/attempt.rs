//! What an answer of a provider means for the request: serve it, pass it on as the caller's fault, or try elsewhere.
//!
//! **Invariant:** what is wrong with the request itself (400, 404, 413, 422 and the like) is never tried elsewhere; what
//! is wrong with a key of ours is never told to the caller as its own fault.

use http::StatusCode;

use super::dialect::error::Class;

/// What is to be done with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Serve it.
    Serve,
    /// The caller's fault: pass it on.
    Fault,
    /// Our key is not taken: set it aside, and try another.
    KeyRefused,
    /// Our key may not do this: set it aside for this model, and try another.
    ModelRefused,
    /// Our key is not for this door, and as good as before at others: try another.
    DoorRefused,
    /// Our key has used up its quota: rest it for long, and try another.
    KeySpent,
    /// Our key, or the provider as a whole, is asked too often: rest it, and try another.
    Limited,
    /// The provider serves no such request, or none as large, at any time: try another target.
    Unfit,
    /// Something before the provider did not let this request through: try another target. What one caller writes must not
    /// cost all others a key or a target.
    Blocked,
    /// The provider fails: try elsewhere.
    Down,
}

/// What `status` means, whose body was understood as `class`.
pub fn judge(status: StatusCode, class: Class) -> Verdict {
    match status.as_u16() {
        200..=299 => Verdict::Serve,
        402 if class != Class::OverLimit => Verdict::KeySpent,
        400..=499 if class == Class::OutOfScope => Verdict::DoorRefused,
        // What the provider does not do it is not sick for.
        501 => Verdict::Unfit,
        _ if class == Class::Unsupported => Verdict::Unfit,
        // Anthropic and OpenAI say so with 400, too.
        400..=499 if class == Class::QuotaExhausted => Verdict::KeySpent,
        // A model that the key may not use, or a prompt that is against the rules: the key is as good as before, and a
        // caller that asks for such things must not cost all others their key.
        403 if class.is_callers() => Verdict::Fault,
        400..=499 if class == Class::OverLimit => Verdict::Unfit,
        400..=499 if class == Class::Blocked => Verdict::Blocked,
        403 if class != Class::Auth => Verdict::ModelRefused,
        401 | 403 => Verdict::KeyRefused,
        429 => Verdict::Limited,
        // What stands between the provider and us says these.
        407 | 408 | 421 | 425 => Verdict::Down,
        // Gemini says so with 400.
        400..=499 if class == Class::Auth => Verdict::KeyRefused,
        400..=499 if class == Class::Forbidden => Verdict::ModelRefused,
        400..=499 if class == Class::RateLimited => Verdict::Limited,
        400..=499 if class == Class::Overloaded => Verdict::Down,
        400..=499 => Verdict::Fault,
        // A redirect is none that a client may be sent to, and nothing follows it here.
        _ => Verdict::Down,
    }
}

/// What an error means that came inside an answer with status 200.
pub const fn judge_inside(class: Class) -> Verdict {
    match class {
        Class::Auth => Verdict::KeyRefused,
        Class::Forbidden => Verdict::ModelRefused,
        Class::QuotaExhausted => Verdict::KeySpent,
        Class::RateLimited => Verdict::Limited,
        Class::OutOfScope => Verdict::DoorRefused,
        Class::OverLimit | Class::Unsupported => Verdict::Unfit,
        Class::Blocked => Verdict::Blocked,
        Class::BadRequest | Class::NotFound | Class::TooLarge | Class::ContentFilter => Verdict::Fault,
        Class::Overloaded | Class::Timeout | Class::Server | Class::Unknown => Verdict::Down,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(status: u16, class: Class) -> Verdict {
        judge(StatusCode::from_u16(status).unwrap(), class)
    }

    #[test]
    fn what_is_wrong_with_the_request_is_never_tried_elsewhere() {
        for status in [400, 404, 405, 409, 413, 415, 422] {
            assert_eq!(verdict(status, Class::BadRequest), Verdict::Fault, "{status}");
        }
    }

    #[test]
    fn what_is_wrong_with_the_provider_is() {
        for status in [301, 307, 407, 408, 500, 502, 503, 504, 529] {
            assert_eq!(verdict(status, Class::Unknown), Verdict::Down, "{status}");
        }
        assert_eq!(verdict(400, Class::Overloaded), Verdict::Down);
    }

    #[test]
    fn what_is_wrong_with_a_key_goes_by_what_it_is() {
        assert_eq!(verdict(401, Class::Auth), Verdict::KeyRefused);
        assert_eq!(verdict(403, Class::Auth), Verdict::KeyRefused);
        assert_eq!(verdict(402, Class::Unknown), Verdict::KeySpent);
        assert_eq!(verdict(429, Class::QuotaExhausted), Verdict::KeySpent);
        assert_eq!(verdict(429, Class::RateLimited), Verdict::Limited);
        assert_eq!(verdict(400, Class::RateLimited), Verdict::Limited, "Gemini's RESOURCE_EXHAUSTED");
    }

    #[test]
    fn a_request_that_never_fits_costs_no_key_its_rest() {
        for status in [400, 402, 413, 429] {
            assert_eq!(verdict(status, Class::OverLimit), Verdict::Unfit, "{status}");
        }
    }

    #[test]
    fn a_key_that_has_spent_all_it_may_is_spent_whatever_the_status() {
        for status in [400, 401, 402, 403, 422, 429] {
            assert_eq!(verdict(status, Class::QuotaExhausted), Verdict::KeySpent, "{status}");
        }
    }

    #[test]
    fn what_one_caller_asks_for_does_not_cost_the_others_a_key() {
        assert_eq!(verdict(403, Class::Forbidden), Verdict::ModelRefused);
        assert_eq!(verdict(403, Class::Unknown), Verdict::ModelRefused);
        assert_eq!(verdict(403, Class::NotFound), Verdict::Fault, "a model that the key may not use");
        assert_eq!(verdict(403, Class::ContentFilter), Verdict::Fault);
    }

    #[test]
    fn what_stands_before_a_provider_says_nothing_of_it() {
        assert_eq!(verdict(403, Class::Blocked), Verdict::Blocked);
    }

    #[test]
    fn a_door_that_a_provider_or_a_key_does_not_serve_makes_neither_of_them_sick() {
        assert_eq!(verdict(501, Class::BadRequest), Verdict::Unfit);
        assert_eq!(verdict(500, Class::Unsupported), Verdict::Unfit);
        assert_eq!(verdict(401, Class::OutOfScope), Verdict::DoorRefused);
        assert_eq!(verdict(403, Class::OutOfScope), Verdict::DoorRefused);
    }

    #[test]
    fn an_error_inside_a_stream_means_what_its_class_says() {
        assert_eq!(judge_inside(Class::Overloaded), Verdict::Down);
        assert_eq!(judge_inside(Class::BadRequest), Verdict::Fault);
        assert_eq!(judge_inside(Class::QuotaExhausted), Verdict::KeySpent);
        assert_eq!(judge_inside(Class::Auth), Verdict::KeyRefused);
    }
}
