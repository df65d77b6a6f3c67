//! The values of the configuration language: text -> value, one function each.
//!
//! Each takes any text and never panics. An error says what is wrong, what is expected and, where it can be guessed,
//! what was meant.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, StatusCode};
use ipnet::IpNet;

use super::problem::{list, nearest};
use super::{StatusRange, TlsVersion};

pub(super) mod address;
pub(super) mod balance;
pub(super) mod logging;
pub(super) mod money;
pub(super) mod origin;
#[cfg(test)]
mod tests;
pub(super) mod time;
pub(super) mod url;

/// Why a text is not a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) message: String,
    pub(super) expected: Option<String>,
    pub(super) hint: Option<String>,
}

impl Wrong {
    /// `` `text` is not `what` ``.
    pub(super) fn not(text: &str, what: &str) -> Self {
        Self::new(format!("{} is not {what}", quote(text)))
    }

    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), expected: None, hint: None }
    }

    pub(super) fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// `text` for a message: short, and without anything that could confuse a terminal.
pub(super) fn quote(text: &str) -> String {
    let shown: String = text
        .chars()
        .take(80)
        .flat_map(|c| {
            if c.is_control() { c.escape_default().to_string() } else { c.to_string() }.chars().collect::<Vec<_>>()
        })
        .collect();
    if text.chars().count() > 80 { format!("`{shown}...`") } else { format!("`{shown}`") }
}

/// What a name may be.
pub(super) const NAME: &str = "at most 64 letters, digits, `_`, `-` and `.`";

/// One of `names`, or what was meant.
pub(super) fn one_of<T: Copy>(text: &str, what: &str, names: &[(&str, T)]) -> Result<T, Wrong> {
    if let Some((_, value)) = names.iter().find(|(name, _)| *name == text) {
        return Ok(*value);
    }
    let known: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
    let wrong = Wrong::not(text, what).expected(list(&known));
    Err(match nearest(text, known.iter().copied()) {
        Some(near) => wrong.hint(format!("did you mean `{near}`?")),
        None => wrong,
    })
}

/// What is called `text` among `known`, which stand in `section`, by its place. `what`: `pool`.
pub(super) fn index_of(text: &str, what: &str, section: &str, known: &[&str]) -> Result<usize, Wrong> {
    if let Some(index) = known.iter().position(|name| *name == text) {
        return Ok(index);
    }
    let wrong = Wrong::new(format!("there is no {what} {}", quote(text)));
    Err(match nearest(text, known.iter().copied()) {
        Some(near) => wrong.hint(format!("did you mean `{near}`?")),
        None if known.is_empty() => wrong.hint(format!("there is none at all; write one under `{section}`")),
        None => wrong.expected(list(known)),
    })
}

/// The name of something the operator names. `what`: `a cache's name`.
pub(super) fn name(text: &str, what: &str) -> Result<String, Wrong> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if (1..=64).contains(&text.len()) && text.chars().all(fits) {
        return Ok(text.to_owned());
    }
    Err(Wrong::not(text, what).expected(NAME))
}

/// Whether `text` is the name of an entry of a section that other sections refer to: it also begins with a letter or digit.
pub(super) fn is_section_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric()) && name(text, "").is_ok()
}

/// `true` or `false`.
pub(super) fn boolean(text: &str) -> Result<bool, Wrong> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        "True" | "TRUE" | "yes" | "Yes" | "on" | "On" => Err(not_boolean(text).hint("write true")),
        "False" | "FALSE" | "no" | "No" | "off" | "Off" => Err(not_boolean(text).hint("write false")),
        _ => Err(not_boolean(text)),
    }
}

fn not_boolean(text: &str) -> Wrong {
    Wrong::not(text, "a yes-or-no value").expected("true or false")
}

/// A whole number.
pub(super) fn number<T: FromStr>(text: &str) -> Result<T, Wrong> {
    let digits = !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    if !digits {
        return Err(Wrong::not(text, "a whole number"));
    }
    text.parse().map_err(|_| Wrong::new(format!("{} is too large", quote(text))))
}

/// `200ms`, `5s`, `15m`, `2h`, `1d`, or several in a row such as `1h30m`.
pub(super) fn duration(text: &str) -> Result<Duration, Wrong> {
    let wrong = || Wrong::not(text, "a duration").expected("a number with a unit: 200ms, 5s, 15m, 2h or 1d");
    if !text.is_empty() && text.chars().all(|c| c.is_ascii_digit()) {
        // Of a large number, HAProxy's milliseconds are meant more often than hours.
        let (one, other) = if text.len() > 3 { ("ms", "s") } else { ("s", "ms") };
        return Err(wrong().hint(format!("did you mean {text}{one}, or {text}{other}?")));
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let (count, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()));
        let (unit, after) = after.split_at(after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len()));
        let count: u64 = count.parse().map_err(|_| wrong())?;
        let millis: u64 = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(wrong()),
        };
        let part = count.checked_mul(millis).ok_or_else(wrong)?;
        total = total.checked_add(Duration::from_millis(part)).ok_or_else(wrong)?;
        rest = after;
    }
    if text.is_empty() { Err(wrong()) } else { Ok(total) }
}

/// A duration as [`duration`] reads it, in its largest exact unit; whole milliseconds.
pub(super) fn show_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s")];
    match units.iter().find(|(unit, _)| millis >= *unit && millis.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", millis / unit),
        None => format!("{millis}ms"),
    }
}

/// Units of sizes, in bytes.
const SIZES: [(&str, u64); 8] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
];

/// `512B`, `64KiB`, `100MiB`. A number alone is refused: who writes `100` may mean megabytes.
pub(super) fn size(text: &str) -> Result<u64, Wrong> {
    let wrong = || Wrong::not(text, "a size").expected("a number with a unit: 512B, 64KiB, 100MiB or 2GiB");
    let (count, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let unit = unit.trim_start();
    let number: u64 = count.parse().map_err(|_| wrong())?;
    let factor = match SIZES.iter().find(|(name, _)| *name == unit) {
        Some((_, factor)) => *factor,
        None if unit.is_empty() => return Err(wrong().hint(format!("did you mean {count}B, or {count}MiB?"))),
        None => {
            let first = unit.chars().next().map(|c| c.to_ascii_uppercase());
            let meant = SIZES.iter().find(|(name, _)| name.ends_with("iB") && name.chars().next() == first);
            return Err(meant.map_or_else(wrong, |(name, _)| wrong().hint(format!("did you mean {count}{name}?"))));
        }
    };
    number.checked_mul(factor).ok_or_else(|| Wrong::new(format!("{} is too large", quote(text))))
}

/// A size as [`size`] reads it, in its largest exact unit.
pub(super) fn show_size(bytes: u64) -> String {
    let unit = SIZES
        .iter()
        .rev()
        .filter(|(name, _)| name.ends_with("iB"))
        .find(|(_, n)| bytes >= *n && bytes.is_multiple_of(*n));
    match unit {
        Some((name, factor)) => format!("{}{name}", bytes / factor),
        None => format!("{bytes}B"),
    }
}

/// `20%`, whole percents.
pub(super) fn percent(text: &str) -> Result<u32, Wrong> {
    let wrong = || Wrong::not(text, "a share").expected("whole percents such as 20%");
    match text.strip_suffix('%') {
        Some(count) => number(count).map_err(|_| wrong()),
        None if number::<u32>(text).is_ok() => Err(wrong().hint(format!("did you mean {text}%?"))),
        None => Err(wrong()),
    }
}

/// `1.2` or `1.3`.
pub(super) fn tls_version(text: &str) -> Result<TlsVersion, Wrong> {
    one_of(text, "a TLS version spoken here", &[("1.2", TlsVersion::V1_2), ("1.3", TlsVersion::V1_3)])
}

/// `10.0.0.0/8`, or an address alone. Bits after the prefix are refused, for they are a typing error more often
/// than not.
pub(super) fn network(text: &str) -> Result<IpNet, Wrong> {
    let wrong = || Wrong::not(text, "a network").expected("an address or a network such as 10.0.0.0/8 or fd00::/8");
    let net = if text.contains('/') {
        text.parse::<IpNet>().map_err(|_| wrong())?
    } else {
        IpNet::from(text.parse::<IpAddr>().map_err(|_| wrong())?)
    };
    if let IpAddr::V6(address) = net.addr()
        && let Some(v4) = address.to_ipv4_mapped()
    {
        let prefix = net.prefix_len().saturating_sub(96);
        return Err(wrong().hint(format!("IPv4 clients are seen as IPv4: write {v4}/{prefix}")));
    }
    if net.trunc() != net {
        return Err(Wrong::new(format!("{} has bits set after its prefix", quote(text))).hint(format!(
            "did you mean {}, or {}/{}?",
            net.trunc(),
            net.addr(),
            net.max_prefix_len()
        )));
    }
    Ok(net)
}

/// An HTTP method, in capitals.
pub(super) fn method(text: &str) -> Result<Method, Wrong> {
    let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"];
    let upper = text.to_ascii_uppercase();
    if upper != text && known.contains(&upper.as_str()) {
        return Err(Wrong::not(text, "a method: methods are case-sensitive").hint(format!("did you mean {upper}?")));
    }
    Method::from_bytes(text.as_bytes())
        .map_err(|_| Wrong::not(text, "an HTTP method").expected("one such as GET or POST"))
}

/// The name of a header; its case has no meaning.
pub(super) fn header_name(text: &str) -> Result<HeaderName, Wrong> {
    HeaderName::from_str(text).map_err(|_| {
        Wrong::not(text, "the name of a header").expected("letters, digits and hyphens such as X-Request-Id")
    })
}

/// The value of a header: visible ASCII and spaces, no control characters (RFC 9110 section 5.5).
pub(super) fn header_value(text: &str) -> Result<HeaderValue, Wrong> {
    // Not quoted: a header's value is often a secret that came out of a variable.
    let wrong = || {
        Wrong::new("this is not the value of a header").expected("visible ASCII characters and spaces, no line breaks")
    };
    if text.chars().any(|c| c.is_control() || !c.is_ascii()) {
        return Err(wrong());
    }
    if text.trim() != text {
        return Err(wrong().hint("spaces at its ends do not survive; remove them"));
    }
    HeaderValue::from_str(text).map_err(|_| wrong())
}

/// `200`, `200-299` or `2xx`.
pub(super) fn status_range(text: &str) -> Result<StatusRange, Wrong> {
    let wrong = || Wrong::not(text, "a status or a range of them").expected("one such as 200, 200-299 or 2xx");
    let code = |text: &str| match number::<u16>(text) {
        Ok(code) if (100..=599).contains(&code) => Ok(code),
        _ => Err(wrong()),
    };
    if let Some(class) = text.strip_suffix("xx") {
        let first = code(&format!("{class}00"))?;
        return Ok(StatusRange { first, last: first + 99 });
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = StatusRange { first: code(first.trim())?, last: code(last.trim())? };
    if range.first > range.last { Err(wrong().hint("the lower one comes first")) } else { Ok(range) }
}

/// A status of an answer, 200 to 599.
pub(super) fn status(text: &str) -> Result<StatusCode, Wrong> {
    let wrong = || Wrong::not(text, "the status of an answer").expected("one from 200 to 599");
    let code = number::<u16>(text).map_err(|_| wrong())?;
    if !(200..=599).contains(&code) {
        return Err(wrong());
    }
    StatusCode::from_u16(code).map_err(|_| wrong())
}

/// Whether `address` can only be reached from this machine.
pub(super) fn is_local(address: &SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}
