//! `balance`: a policy by name, some with arguments.

use super::{Wrong, header_name, list, nearest, percent, quote};
use crate::config::{Balance, HashKey};

/// What `bounded` means without a number: a member carries at most 25 % more than the mean.
const DEFAULT_BOUND_PERCENT: u32 = 25;

const NAMES: [&str; 8] = [
    "round_robin",
    "random",
    "least_requests",
    "least_tokens",
    "peak_ewma",
    "ip_hash",
    "header_hash(NAME)",
    "consistent_hash",
];

/// `round_robin`, `header_hash(x-user)`, `consistent_hash(uri, bounded:25%)` and the others.
pub(in crate::config) fn balance(text: &str) -> Result<Balance, Wrong> {
    let (name, arguments) = match text.split_once('(') {
        Some((name, rest)) => match rest.strip_suffix(')') {
            Some(arguments) => (name.trim(), Some(arguments.trim())),
            None => {
                return Err(Wrong::new(format!("{} lacks its closing parenthesis", quote(text))));
            }
        },
        None => (text, None),
    };
    let plain = |balance| match arguments {
        None => Ok(balance),
        Some(_) => Err(Wrong::new(format!("{name} takes no arguments")).hint(format!("write {name}"))),
    };
    match name {
        "round_robin" => plain(Balance::RoundRobin),
        "random" => plain(Balance::Random),
        "least_requests" => plain(Balance::LeastRequests),
        "least_tokens" => plain(Balance::LeastTokens),
        "peak_ewma" => plain(Balance::PeakEwma),
        "ip_hash" => plain(Balance::IpHash),
        "header_hash" => match arguments {
            Some(header) if !header.is_empty() => header_name(header).map(Balance::HeaderHash),
            _ => Err(Wrong::new("header_hash needs the name of a header").expected("one such as header_hash(x-user)")),
        },
        "consistent_hash" => consistent_hash(arguments.unwrap_or_default()),
        "prefix_cost" => Err(Wrong::new("prefix_cost is not supported yet")
            .expected(list(&NAMES))
            .hint("least_tokens is the nearest to it: it looks at tokens, but at no prefixes")),
        _ => Err(unknown(name)),
    }
}

fn unknown(name: &str) -> Wrong {
    let wrong = Wrong::not(name, "a way to balance").expected(list(&NAMES));
    let other_words = [
        ("least_conn", "least_requests"),
        ("leastconn", "least_requests"),
        ("least_connections", "least_requests"),
        ("roundrobin", "round_robin"),
        ("source", "ip_hash"),
        ("ewma", "peak_ewma"),
    ];
    let meant = other_words.iter().find(|(word, _)| *word == name).map(|(_, meant)| *meant);
    match meant.or_else(|| nearest(name, NAMES.map(|known| known.trim_end_matches("(NAME)")))) {
        Some(meant) => wrong.hint(format!("did you mean `{meant}`?")),
        None => wrong,
    }
}

fn consistent_hash(arguments: &str) -> Result<Balance, Wrong> {
    let expected = "consistent_hash(uri), (client_ip) or (header:NAME), and `bounded` or `bounded:25%` after a comma";
    let (mut key, mut bound_percent) = (None, None);
    for argument in arguments.split(',').map(str::trim).filter(|argument| !argument.is_empty()) {
        let (word, value) = match argument.split_once(':') {
            Some((word, value)) => (word, Some(value)),
            None => (argument, None),
        };
        let repeated = match (word, value) {
            ("uri", None) => key.replace(HashKey::Uri).is_some(),
            ("client_ip", None) => key.replace(HashKey::ClientIp).is_some(),
            ("header", Some(header)) => key.replace(HashKey::Header(header_name(header)?)).is_some(),
            ("bounded", None) => bound_percent.replace(DEFAULT_BOUND_PERCENT).is_some(),
            ("bounded", Some(bound)) => match percent(bound)? {
                bound @ 1..=1000 => bound_percent.replace(bound).is_some(),
                _ => {
                    return Err(
                        Wrong::new(format!("the bound {} is out of range", quote(bound))).expected("1% to 1000%")
                    );
                }
            },
            _ => {
                return Err(Wrong::not(argument, "an argument of consistent_hash").expected(expected));
            }
        };
        if repeated {
            return Err(Wrong::new(format!("{} says two things at once", quote(argument))).expected(expected));
        }
    }
    Ok(Balance::ConsistentHash { key: key.unwrap_or(HashKey::Uri), bound_percent })
}
