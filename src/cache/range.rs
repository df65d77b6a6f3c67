//! Range: which bytes of a stored body a client asks for (RFC 9110, section 14).
//!
//! One range is served as 206. Several at once are answered with the whole body, which section 14.2 allows: an answer
//! of many small overlapping parts is a way to make a server work.

use http::{HeaderMap, HeaderValue, header};

/// The part of a body to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All of it, with the stored status.
    Whole,
    /// From `first` to `last`, both included: 206.
    Bytes {
        /// The first byte.
        first: u64,
        /// The last byte.
        last: u64,
    },
    /// None that there is: 416.
    Unsatisfiable,
}

/// The part that `request` asks for of a body of `length` bytes. Whether If-Range holds is asked before.
pub fn part(request: &HeaderMap, length: u64) -> Part {
    let mut values = request.get_all(header::RANGE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return Part::Whole };
    parse(value, length)
}

/// One value of Range. What is not well-formed is ignored.
pub fn parse(value: &HeaderValue, length: u64) -> Part {
    let value = value.as_bytes().trim_ascii();
    let Some((unit, ranges)) = value.split_at_checked(6) else { return Part::Whole };
    if !unit.eq_ignore_ascii_case(b"bytes=") || ranges.contains(&b',') {
        return Part::Whole;
    }
    let mut ends = ranges.trim_ascii().splitn(2, |&byte| byte == b'-');
    let (Some(first), Some(last)) = (ends.next(), ends.next()) else { return Part::Whole };
    match (first.is_empty(), last.is_empty()) {
        (true, true) => Part::Whole,
        (true, false) => match number(last) {
            None => Part::Whole,
            Some(0) => Part::Unsatisfiable,
            Some(_) if length == 0 => Part::Unsatisfiable,
            Some(count) => Part::Bytes { first: length.saturating_sub(count), last: length - 1 },
        },
        (false, open) => {
            let last = if open { Some(u64::MAX) } else { number(last) };
            let (Some(first), Some(last)) = (number(first), last) else { return Part::Whole };
            if first > last {
                Part::Whole
            } else if first >= length {
                Part::Unsatisfiable
            } else {
                Part::Bytes { first, last: last.min(length - 1) }
            }
        }
    }
}

/// A number of bytes; more than there can be is as many as there can be.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let text = std::str::from_utf8(digits).ok()?;
    Some(text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(text: &str, length: u64) -> Part {
        parse(&HeaderValue::from_str(text).unwrap(), length)
    }

    #[test]
    fn a_range_is_cut_to_what_there_is() {
        let bytes = |first, last| Part::Bytes { first, last };
        for (text, part) in [
            ("bytes=0-1", bytes(0, 1)),
            ("Bytes=1-", bytes(1, 9)),
            ("bytes=-1", bytes(9, 9)),
            ("bytes=-99", bytes(0, 9)),
            ("bytes=0-99999999999999999999", bytes(0, 9)),
            ("bytes=9-9", bytes(9, 9)),
            ("bytes=10-", Part::Unsatisfiable),
            ("bytes=99999999999999999999-", Part::Unsatisfiable),
            ("bytes=-0", Part::Unsatisfiable),
            ("bytes=5-2", Part::Whole),
            ("bytes=0-1,3-4", Part::Whole),
            ("bytes=-", Part::Whole),
            ("bytes=a-b", Part::Whole),
            ("bytes=+1-2", Part::Whole),
            ("lines=0-1", Part::Whole),
            ("bytes", Part::Whole),
            ("", Part::Whole),
        ] {
            assert_eq!(of(text, 10), part, "{text}");
        }
        assert_eq!((of("bytes=0-", 0), of("bytes=-5", 0)), (Part::Unsatisfiable, Part::Unsatisfiable));
    }

    proptest! {
        #[test]
        fn a_part_lies_inside_the_body(text in "bytes=[0-9]{0,22}-[0-9]{0,22}", length in any::<u64>()) {
            if let Part::Bytes { first, last } = of(&text, length) {
                prop_assert!(first <= last && last < length);
            }
        }

        #[test]
        fn any_bytes_are_a_range_or_none(bytes in proptest::collection::vec(0x20_u8..0x7f, 0..40), length in any::<u64>()) {
            let _ = parse(&HeaderValue::from_bytes(&bytes).unwrap(), length);
        }
    }
}
