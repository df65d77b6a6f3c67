//! How a pool knows which members work: active checks, and ejection of those that fail real requests.

use std::time::Duration;

use super::Resolver;
use crate::config::problem::{Finding, KeyPath};
use crate::config::raw::{Or, RawHealthCheck, RawOutlier};
use crate::config::values::{self, Wrong, address};
use crate::config::{CheckKind, HealthCheck, Outlier, StatusRange};

/// The longest text that a check looks for in a body.
const MAX_EXPECT_BODY: usize = 4096;
/// What a check expects unless told otherwise.
const OK: StatusRange = StatusRange { first: 200, last: 200 };

pub(super) fn check(path: &KeyPath, raw: &Or<RawHealthCheck>, resolver: &mut Resolver<'_>) -> Option<HealthCheck> {
    let absent = RawHealthCheck::default();
    let (raw, kind) = match raw {
        Or::Text(text) if text == "off" => return None,
        Or::Text(text) if text == "tcp" => (&absent, CheckKind::Tcp),
        Or::Text(text) => {
            let path = resolver.get(path, &Some(text.clone()), short_check)?;
            (&absent, CheckKind::Http { path, host: None, expect_status: vec![OK], expect_body: None })
        }
        Or::Map(raw) => (raw, check_kind(path, raw, resolver)?),
    };
    let seconds = Duration::from_secs;
    let check = HealthCheck {
        kind,
        interval: resolver.duration(&path.key("interval"), &raw.interval, seconds(5)),
        timeout: resolver.duration(&path.key("timeout"), &raw.timeout, seconds(2)),
        fall: resolver.number(&path.key("fall"), &raw.fall, 3, 1..=1000),
        rise: resolver.number(&path.key("rise"), &raw.rise, 2, 1..=1000),
        jitter_percent: resolver.percent(&path.key("jitter"), &raw.jitter, 10, 0..=100),
        port: resolver.get(&path.key("port"), &raw.port, |text| match values::number(text)? {
            0 => Err(Wrong::not(text, "a port").expected("1 to 65535")),
            port => Ok(port),
        }),
    };
    // A default that is longer is no one's mistake.
    if raw.timeout.is_some() && check.timeout > check.interval {
        let (timeout, interval) = (check.timeout, check.interval);
        let message = format!(
            "the timeout of {} is longer than the interval of {}",
            values::show_duration(timeout),
            values::show_duration(interval)
        );
        let finding = Finding::value(&path.key("timeout"), message);
        resolver.warn(
            finding.hint(
                "a member that hangs is checked that much less often: the interval begins when a check has ended",
            ),
        );
    }
    Some(check)
}

fn check_kind(path: &KeyPath, raw: &RawHealthCheck, resolver: &mut Resolver<'_>) -> Option<CheckKind> {
    let kinds = [("tcp", false), ("http", true)];
    let parse = |text: &str| values::one_of(text, "a kind of check", &kinds);
    let http_keys = [
        ("path", raw.path.is_some()),
        ("host", raw.host.is_some()),
        ("expect_status", raw.expect_status.is_some()),
        ("expect_body", raw.expect_body.is_some()),
    ];
    let http = match raw.kind {
        Some(_) => resolver.get(&path.key("kind"), &raw.kind, parse)?,
        None => http_keys.iter().any(|(_, given)| *given),
    };
    if !http {
        for (key, _) in http_keys.iter().filter(|(_, given)| *given) {
            let finding = Finding::key(&path.key(key), format!("a tcp check has no `{key}`"));
            resolver.report(finding.hint("remove it, or make the check `kind: http`"));
        }
        return Some(CheckKind::Tcp);
    }
    let statuses = resolver.list(&path.key("expect_status"), raw.expect_status.as_ref(), values::status_range);
    let host = |text: &str| values::header_value(text).map(|_| text.to_owned());
    let body = |text: &str| match text.len() {
        1..=MAX_EXPECT_BODY => Ok(text.to_owned()),
        _ => Err(Wrong::new("the text to look for is empty or too long").expected("1 to 4096 bytes")),
    };
    Some(CheckKind::Http {
        path: resolver.get(&path.key("path"), &raw.path, check_path).unwrap_or_else(|| "/".to_owned()),
        host: resolver.get(&path.key("host"), &raw.host, host),
        expect_status: if statuses.is_empty() { vec![OK] } else { statuses },
        expect_body: resolver.get(&path.key("expect_body"), &raw.expect_body, body),
    })
}

/// A check in short: its path.
fn short_check(text: &str) -> Result<String, Wrong> {
    let wrong = || Wrong::not(text, "a health check").expected("a path such as /health, tcp, off, or a map");
    match text {
        text if text.starts_with('/') => check_path(text),
        "false" | "False" | "no" | "none" => Err(wrong().hint("write off")),
        "true" | "True" | "on" | "yes" | "http" => Err(wrong().hint("write the path to ask for, such as / or /health")),
        text => Err(wrong().hint(format!("a path begins with `/`: /{text}"))),
    }
}

/// A path, with a query if wanted.
fn check_path(text: &str) -> Result<String, Wrong> {
    let wrong = || Wrong::not(text, "a path to check").expected("one such as /health");
    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    address::path(path).map_err(|reason| wrong().hint(reason))?;
    if query.bytes().any(|byte| !byte.is_ascii_graphic() || byte == b'#') {
        return Err(wrong().hint("spaces and characters outside of ASCII are percent-encoded in a query"));
    }
    Ok(text.to_owned())
}

pub(super) fn outlier(path: &KeyPath, raw: &Or<RawOutlier>, resolver: &mut Resolver<'_>) -> Option<Outlier> {
    let raw = match raw {
        Or::Text(text) if text == "off" => return None,
        Or::Text(text) => {
            resolver.wrong(
                path,
                Wrong::not(text, "a rule for outliers").expected("off, or a map with `max_fails` and others"),
            );
            return None;
        }
        Or::Map(raw) => raw,
    };
    let seconds = Duration::from_secs;
    let fail_timeout = resolver.duration(&path.key("fail_timeout"), &raw.fail_timeout, seconds(30));
    let longest = seconds(300).max(fail_timeout);
    let max_ejection = resolver.duration(&path.key("max_ejection"), &raw.max_ejection, longest);
    if max_ejection < fail_timeout {
        let finding = Finding::value(&path.key("max_ejection"), "the longest ejection is shorter than the first one");
        resolver.report(finding.expected(format!("at least fail_timeout, {}", values::show_duration(fail_timeout))));
    }
    Some(Outlier {
        max_fails: resolver.number(&path.key("max_fails"), &raw.max_fails, 3, 1..=1_000_000),
        fail_timeout,
        max_ejection,
        max_ejected_percent: resolver.percent(&path.key("max_ejected"), &raw.max_ejected, 50, 1..=100),
        panic_percent: resolver.percent(&path.key("panic_threshold"), &raw.panic_threshold, 50, 0..=100),
    })
}
