//! The Accept header (RFC 9110 section 12.5.1), as far as a choice between HTML and JSON needs it.

use http::HeaderValue;

/// Bytes of the header that are looked at.
const MAX_LENGTH: usize = 1024;

/// Media ranges that are looked at.
const MAX_RANGES: usize = 32;

/// Whether HTML is wanted more than JSON. When both are wanted as much, as with `*/*`, it is JSON.
pub fn prefers_html(accept: &HeaderValue) -> bool {
    quality(accept, "text", "html") > quality(accept, "application", "json")
}

/// How much a media type is wanted, 0 (not at all) to 1000. The most specific range decides; malformed ranges are
/// passed over, and so is what comes after the first 1024 bytes or 32 ranges.
pub fn quality(accept: &HeaderValue, kind: &str, subtype: &str) -> u16 {
    let bytes = accept.as_bytes();
    let bytes = bytes.get(..MAX_LENGTH).unwrap_or(bytes);
    let mut best = (0, 0);
    for range in bytes.split(|&byte| byte == b',').take(MAX_RANGES) {
        let Some((specificity, quality)) = std::str::from_utf8(range).ok().and_then(|r| read(r, kind, subtype)) else {
            continue;
        };
        best = best.max((specificity, quality));
    }
    best.1
}

/// How specific a range is (1 to 3) and its quality, when it takes the type.
fn read(range: &str, kind: &str, subtype: &str) -> Option<(u8, u16)> {
    let mut parts = range.split(';').map(str::trim);
    let (range_kind, range_subtype) = parts.next()?.split_once('/')?;
    let specificity = match (range_kind, range_subtype) {
        ("*", "*") => 1,
        (one, "*") if one.eq_ignore_ascii_case(kind) => 2,
        (one, two) if one.eq_ignore_ascii_case(kind) && two.eq_ignore_ascii_case(subtype) => 3,
        _ => return None,
    };
    for parameter in parts {
        if let Some((name, value)) = parameter.split_once('=')
            && name.trim().eq_ignore_ascii_case("q")
        {
            return Some((specificity, thousandths(value.trim())?));
        }
    }
    Some((specificity, 1000))
}

/// `0.8` is 800 (RFC 9110 section 12.4.2: at most three digits, at most 1).
fn thousandths(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let whole: u16 = match whole {
        "0" => 0,
        "1" => 1000,
        _ => return None,
    };
    let fraction: u16 = format!("{fraction:0<3}").parse().ok()?;
    Some((whole + fraction).min(1000))
}
