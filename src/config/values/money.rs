//! Amounts of money, exact: decimals become whole millionths, and no floating point is anywhere.

use super::{Wrong, quote};

/// Millionths of a dollar in a dollar.
const MILLION: u64 = 1_000_000;

/// The most dollars that one amount may be.
const MOST_DOLLARS: u64 = 1_000_000_000;

/// `20`, `2.50` or `0.000125`: dollars, as millionths of one.
pub(in crate::config) fn dollars(text: &str) -> Result<u64, Wrong> {
    let wrong = || Wrong::not(text, "an amount of dollars").expected("one such as 2.50, with 6 decimals at most");
    if let Some(rest) = text.strip_prefix('$') {
        return Err(wrong().hint(format!("leave the sign out: {}", rest.trim())));
    }
    if text.contains(',') {
        return Err(wrong().hint("decimals stand after a point, and nothing stands between thousands"));
    }
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(decimals) {
        return Err(wrong());
    }
    let decimals = decimals.trim_end_matches('0');
    if decimals.len() > 6 {
        return Err(wrong());
    }
    let fraction = decimals.bytes().chain(std::iter::repeat(b'0')).take(6);
    let fraction = fraction.fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    let dollars = whole.parse::<u64>().ok().filter(|dollars| *dollars < MOST_DOLLARS);
    let Some(dollars) = dollars else { return Err(Wrong::new(format!("{} is too large", quote(text)))) };
    Ok(dollars * MILLION + fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_become_exact_millionths() {
        for (text, millionths) in [
            ("0", 0),
            ("20", 20_000_000),
            ("2.5", 2_500_000),
            ("2.50", 2_500_000),
            ("0.000001", 1),
            ("0.1000000000", 100_000),
            ("007.10", 7_100_000),
            ("999999999.999999", 999_999_999_999_999),
        ] {
            assert_eq!(dollars(text), Ok(millionths), "{text}");
        }
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for text in
            ["", ".", "1.", ".5", "-1", "+1", "1e3", "1.0000001", "1_000", "1,5", "$2", "NaN", "1000000000", "1 "]
        {
            assert!(dollars(text).is_err(), "{text}");
        }
        assert!(dollars(&"9".repeat(300)).is_err());
        assert_eq!(dollars("$2.50").unwrap_err().hint.unwrap(), "leave the sign out: 2.50");
    }
}
