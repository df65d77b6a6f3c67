//! What the value of a key looks like.
//!
//! Most of it shows in the file of the package: where it has `5s`, a duration stands. [`SPECIAL`] has the rest: words of a closed
//! set, and what is written in more than one way. A test asks the program about each of them: it must refuse what is something
//! else, and say that it expected just this.

use crate::config::problem::list;
use crate::config::values;

/// What may stand in a value, beside variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) struct Kind {
    /// What it is in general. `None`: only one of the words.
    pub(in crate::config) base: Option<Base>,
    /// Words that may stand there as well.
    pub(in crate::config) words: &'static [&'static str],
}

/// What a value is in general.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) enum Base {
    /// Anything.
    Text,
    /// `true` or `false`.
    Boolean,
    /// A whole number.
    Whole,
    /// A number with decimals.
    Decimal,
    /// `5s`.
    Duration,
    /// `64KiB`.
    Size,
    /// `20%`.
    Share,
    /// What matches a regular expression, in words.
    Matching(&'static str, &'static str),
    /// The same, where a number alone may match.
    Number(&'static str, &'static str),
}

impl Base {
    /// The regular expression of its text.
    pub(in crate::config) const fn pattern(self) -> &'static str {
        match self {
            Self::Text => "",
            Self::Boolean => "^(true|false)$",
            Self::Whole => "^[0-9]+$",
            Self::Decimal => r"^[0-9]+(\.[0-9]+)?$",
            Self::Duration => "^([0-9]+(ms|s|m|h|d))+$",
            Self::Size => "^[0-9]+ *(B|[KMGT]iB|kB|MB|GB)$",
            Self::Share => "^[0-9]+%$",
            Self::Matching(pattern, _) | Self::Number(pattern, _) => pattern,
        }
    }

    /// What it is, for a reader.
    pub(in crate::config) const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Boolean => "true or false",
            Self::Whole => "a whole number",
            Self::Decimal => "a decimal number",
            Self::Duration => "a duration",
            Self::Size => "a size",
            Self::Share => "a share",
            Self::Matching(_, name) | Self::Number(_, name) => name,
        }
    }
}

const fn base(base: Base) -> Kind {
    Kind { base: Some(base), words: &[] }
}

const fn or(base: Base, words: &'static [&'static str]) -> Kind {
    Kind { base: Some(base), words }
}

const fn one_of(words: &'static [&'static str]) -> Kind {
    Kind { base: None, words }
}

const BALANCE: Kind = or(
    Base::Matching(r"^(header_hash\(.+\)|consistent_hash\(.*\))$", "header_hash(NAME), consistent_hash(...)"),
    &["round_robin", "random", "least_requests", "least_tokens", "peak_ewma", "ip_hash", "consistent_hash"],
);
const RATE: Base = Base::Matching("^[0-9]+ */ *[0-9]*(ms|s|m|h|d)", "a number for a time");
const BUDGET: Base =
    Base::Matching(r"^[0-9.]+ */ *([0-9]+(ms|s|m|h|d)|s|m|h|d|day|week|month)", "an amount for a time");
const STATUS: Base = Base::Number("^[1-5]([0-9][0-9]|xx)( *- *[1-5][0-9][0-9])?$", "a status or a range of them");
const EXPIRY: Kind = or(Base::Matching("^[0-9]", "a moment or an age"), &["never"]);
const PRICE: Kind = base(Base::Decimal);
const TEXT: Kind = base(Base::Text);
const UNMASKED: Kind = one_of(&["refuse", "pass"]);
const ALARM: Kind = or(Base::Whole, &["off"]);
const BODY: Kind = or(Base::Size, &["unlimited"]);
const ALGORITHM: Kind = one_of(&[
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA",
]);

/// Keys whose values do not show what they are in general, by their raw type.
const SPECIAL: &[(&str, &str, Kind)] = &[
    ("RawConfig", "security_headers", one_of(&["default", "off"])),
    ("RawTls", "min_version", one_of(&["1.2", "1.3"])),
    ("RawServer", "max_body", BODY),
    ("RawRoute", "max_body", BODY),
    ("RawLog", "format", one_of(&["text", "json"])),
    ("RawAccess", "format", one_of(&["json", "combined"])),
    ("RawPool", "balance", BALANCE),
    ("RawRoute", "balance", BALANCE),
    ("RawHealthCheck", "kind", one_of(&["tcp", "http"])),
    ("RawHealthCheck", "expect_status", base(STATUS)),
    ("RawHealthCheck", "expect_body", TEXT),
    ("RawRetry", "on", or(Base::Number("^[45][0-9][0-9]$", "a status"), &["connect_failure", "reset", "timeout"])),
    ("RawRedirect", "status", one_of(&["301", "302", "303", "307", "308"])),
    ("RawRoute", "auth", one_of(&["none", "required", "api_keys", "jwt"])),
    ("RawApiKeys", "default_expiry", EXPIRY),
    ("RawApiKey", "secret_sha256", base(Base::Matching("^[0-9a-fA-F]{64}$", "64 hexadecimal digits"))),
    ("RawPreviousSecret", "secret_sha256", base(Base::Matching("^[0-9a-fA-F]{64}$", "64 hexadecimal digits"))),
    ("RawJwt", "algorithm", ALGORITHM),
    ("RawJwt", "algorithms", ALGORITHM),
    ("RawAudit", "events", base(Base::Boolean)),
    ("RawAlerts", "auth_failures", ALARM),
    ("RawAlerts", "suspicious_requests", ALARM),
    ("RawAlerts", "sanitizations", ALARM),
    ("RawLimit", "mode", one_of(&["enforce", "shadow"])),
    (
        "RawLimit",
        "key",
        or(
            Base::Matching(r"^(header|metadata)\(.+\)$", "header(NAME) or metadata(NAME)"),
            &["client_ip", "api_key", "route", "global", "model"],
        ),
    ),
    ("RawLimit", "rate", base(RATE)),
    ("RawLimit", "tokens", base(BUDGET)),
    ("RawLimit", "cost", base(BUDGET)),
    ("RawNumbers", "rate", base(RATE)),
    ("RawNumbers", "tokens", base(BUDGET)),
    ("RawNumbers", "cost", base(BUDGET)),
    ("RawSanitize", "on_too_large", UNMASKED),
    ("RawSanitize", "on_unreadable", UNMASKED),
    ("RawProvider", "kind", one_of(&["openai", "anthropic", "azure_openai", "gemini", "openai_compatible", "flow"])),
    ("RawProvider", "speaks", one_of(&["messages", "responses"])),
    ("RawPrice", "input", PRICE),
    ("RawPrice", "cached_input", PRICE),
    ("RawPrice", "cache_write_1h", PRICE),
    ("RawPrice", "audio_input", PRICE),
    ("RawPrice", "audio_output", PRICE),
    ("RawPrice", "image_input", PRICE),
    ("RawPrice", "image_output", PRICE),
    ("RawTiers", "flex", PRICE),
    ("RawTiers", "flex_cached_input", PRICE),
    ("RawTiers", "priority", PRICE),
    ("RawTiers", "ultrafast", PRICE),
    ("RawPrice", "cache_write", PRICE),
    ("RawPrice", "output", PRICE),
    ("RawPrice", "reasoning", PRICE),
    ("RawLongContext", "input", PRICE),
    ("RawLongContext", "cached_input", PRICE),
    ("RawLongContext", "cache_write_1h", PRICE),
    ("RawLongContext", "cache_write", PRICE),
    ("RawLongContext", "output", PRICE),
    ("RawLongContext", "reasoning", PRICE),
];

/// What may stand in the place of a map, by its raw type; text where it is not here.
const SHORT: &[(&str, Kind)] = &[
    ("RawRedirectHttps", or(Base::Whole, &["true", "false"])),
    ("RawOutlier", one_of(&["off"])),
    ("RawRetry", or(Base::Whole, &["off"])),
    ("RawUpstreamTls", base(Base::Boolean)),
    ("RawRespond", base(Base::Whole)),
    ("RawRewrite", one_of(&[])),
    ("RawCors", one_of(&["off"])),
    ("RawSanitizeRule", one_of(&["email", "phone", "card", "id_card"])),
    ("RawBreaker", one_of(&["off"])),
    ("RawPrice", one_of(&["block", "zero"])),
    ("RawRouteAi", one_of(&["true"])),
];

/// The value of `key` in maps of the type `of`, of which the file shows `shown`.
pub(in crate::config) fn of(of: &str, key: &str, shown: Option<&str>) -> Kind {
    let special = SPECIAL.iter().find(|(name, field, _)| *name == of && *field == key);
    special.map_or_else(|| shown.map_or(TEXT, like), |(_, _, kind)| *kind)
}

/// What stands in short for a map of the type `of`.
pub(in crate::config) fn short(of: &str) -> Kind {
    SHORT.iter().find(|(name, _)| *name == of).map_or(TEXT, |(_, kind)| *kind)
}

/// The kind that a text is one of.
fn like(text: &str) -> Kind {
    base(match text {
        text if values::boolean(text).is_ok() => Base::Boolean,
        text if values::number::<u64>(text).is_ok() => Base::Whole,
        text if values::duration(text).is_ok() => Base::Duration,
        text if values::size(text).is_ok() => Base::Size,
        text if values::percent(text).is_ok() => Base::Share,
        _ => Base::Text,
    })
}

impl Kind {
    /// What may stand there, for a reader.
    pub(in crate::config) fn describe(self) -> String {
        let words = list(self.words);
        match self.base {
            None => words,
            Some(base) if self.words.is_empty() => base.name().to_owned(),
            Some(base) => format!("{}, or {words}", base.name()),
        }
    }
}
