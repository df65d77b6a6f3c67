//! `pools`: members and how they are used.

use std::sync::Arc;
use std::time::Duration;

use super::{Resolver, tls};
use crate::config::problem::{Finding, KeyPath};
use crate::config::raw::{
    Named, OneOrMany, Or, RawHealthCheck, RawMember, RawOutlier, RawPool, RawRetry,
    RawUpstreamTimeouts, Text,
};
use crate::config::values::{self, Wrong, address, balance::balance};
use crate::config::{
    Balance, CheckKind, HealthCheck, Member, Outlier, Pool, Retry, RetryOn, Route, StatusRange,
    Target, UpstreamTimeouts,
};

/// The most requests that one request may become.
const MAX_ATTEMPTS: u32 = 20;
/// The longest text that a check looks for in a body.
const MAX_EXPECT_BODY: usize = 4096;

pub(super) fn pools(raw: Option<&Named<RawPool>>, resolver: &mut Resolver<'_>) -> Vec<Arc<Pool>> {
    let Some(raw) = raw else { return Vec::new() };
    let path = KeyPath::default().key("pools");
    let mut pools = Vec::new();
    for (name, raw) in &raw.0 {
        let path = path.key(name);
        if !name.starts_with(|c: char| c.is_ascii_alphanumeric())
            || !name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
            || name.len() > 64
        {
            let finding = Finding::key(&path, "this is not the name of a pool");
            resolver.report(finding.expected("at most 64 letters, digits, `_`, `-` and `.`"));
        }
        // One that was refused still is a pool that routes may name.
        let absent = RawPool::default();
        pools.push(Arc::new(pool(
            &path,
            name,
            raw.as_ref().unwrap_or(&absent),
            resolver,
        )));
    }
    pools.sort_by(|one, other| one.name.cmp(&other.name));
    pools
}

fn pool(path: &KeyPath, name: &str, raw: &RawPool, resolver: &mut Resolver<'_>) -> Pool {
    let (members, by_scheme) = members(path, raw.members.as_ref(), resolver);
    let most = 1..=1_000_000;
    let max_requests = resolver.number(
        &path.key("max_requests_per_member"),
        &raw.max_requests_per_member,
        0,
        most,
    );
    let tls = tls::upstream(&path.key("tls"), raw.tls.as_ref(), by_scheme, resolver);
    Pool {
        name: name.into(),
        members,
        balance: resolver
            .get(&path.key("balance"), &raw.balance, balance)
            .unwrap_or(Balance::RoundRobin),
        health_check: raw
            .health_check
            .as_ref()
            .and_then(|raw| check(&path.key("health_check"), raw, resolver)),
        outlier: raw
            .outlier
            .as_ref()
            .and_then(|raw| outlier(&path.key("outlier"), raw, resolver)),
        max_requests_per_member: (max_requests > 0).then_some(max_requests),
        slow_start: resolver.duration_from(
            &path.key("slow_start"),
            &raw.slow_start,
            Duration::ZERO,
            Duration::ZERO,
        ),
        timeouts: timeouts(
            &path.key("timeouts"),
            raw.timeouts.as_ref(),
            UpstreamTimeouts::default(),
            resolver,
        ),
        retry: retry(
            &path.key("retry"),
            raw.retry.as_ref(),
            Retry::default(),
            resolver,
        ),
        tls,
        http2: resolver.boolean(&path.key("http2"), &raw.http2, false),
        resolve_interval: resolver.duration(
            &path.key("resolve_interval"),
            &raw.resolve_interval,
            Duration::from_secs(10),
        ),
    }
}

/// The members, and whether their schemes ask for TLS where they have one.
fn members(
    pool: &KeyPath,
    list: Option<&OneOrMany<Or<RawMember>>>,
    resolver: &mut Resolver<'_>,
) -> (Vec<Member>, Option<bool>) {
    let path = pool.key("members");
    let Some(list) = list else {
        let refused = !resolver.source.has(pool);
        if !refused {
            resolver.missing(
                pool,
                "members",
                "an address such as 10.0.0.1:8080, or a list of them",
            );
        }
        return (Vec::new(), None);
    };
    if list.0.is_empty() {
        resolver.report(
            Finding::value(&path, "the pool has no members")
                .expected("an address such as 10.0.0.1:8080"),
        );
    }
    let mut found: Vec<(KeyPath, Member)> = Vec::new();
    let mut scheme: Option<(KeyPath, Option<bool>)> = None;
    for (index, raw) in list.items() {
        let path = path.index(index);
        let Some((member, tls)) = member(&path, raw, resolver) else {
            continue;
        };
        if let Some((first, _)) = found
            .iter()
            .find(|(_, other)| other.address == member.address)
        {
            let finding = Finding::value(
                &path,
                format!("{} is a member twice", values::quote(&member.name)),
            );
            resolver.report(
                finding
                    .also(first.clone(), "the other one")
                    .hint("a larger share is a larger `weight`"),
            );
        }
        match &scheme {
            None => scheme = Some((path.clone(), tls)),
            Some((_, first)) if *first == tls => {}
            Some((first, _)) => {
                let finding = Finding::value(&path, "members are written with different schemes");
                resolver.report(
                    finding
                        .also(first.clone(), "the other one")
                        .expected("the same for all members of a pool"),
                );
            }
        }
        found.push((path, member));
    }
    if !found.is_empty() && found.iter().all(|(_, member)| member.weight == 0) {
        resolver.report(
            Finding::value(&path, "every member has weight 0").expected("one that takes traffic"),
        );
    } else if !found.is_empty() && found.iter().all(|(_, member)| member.backup) {
        resolver
            .report(Finding::value(&path, "every member is a backup").expected("one that is not"));
    }
    (
        found.into_iter().map(|(_, member)| member).collect(),
        scheme.and_then(|(_, tls)| tls),
    )
}

fn member(
    path: &KeyPath,
    raw: &Or<RawMember>,
    resolver: &mut Resolver<'_>,
) -> Option<(Member, Option<bool>)> {
    let (address_path, text, weight, backup) = match raw {
        Or::Text(text) => (path.clone(), Some(text.clone()), 1, false),
        Or::Map(raw) => {
            if raw.address.is_none() {
                resolver.missing(path, "address", "an address such as 10.0.0.1:8080");
            }
            let weight = resolver.number(&path.key("weight"), &raw.weight, 1, 0..=1000);
            let backup = resolver.boolean(&path.key("backup"), &raw.backup, false);
            (path.key("address"), raw.address.clone(), weight, backup)
        }
    };
    let found = resolver.get(&address_path, &text, address::member)?;
    let member = Member {
        name: found.name.into(),
        address: found.address,
        weight,
        backup,
    };
    Some((member, found.tls))
}

fn check(
    path: &KeyPath,
    raw: &Or<RawHealthCheck>,
    resolver: &mut Resolver<'_>,
) -> Option<HealthCheck> {
    let absent = RawHealthCheck::default();
    let (raw, kind) = match raw {
        Or::Text(text) if text == "off" => return None,
        Or::Text(text) if text == "tcp" => (&absent, CheckKind::Tcp),
        Or::Text(text) => {
            let path = resolver.get(path, &Some(text.clone()), check_path)?;
            (
                &absent,
                CheckKind::Http {
                    path,
                    host: None,
                    expect_status: vec![OK],
                    expect_body: None,
                },
            )
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
        port: resolver.get(&path.key("port"), &raw.port, |text| {
            match values::number(text)? {
                0 => Err(Wrong::not(text, "a port").expected("1 to 65535")),
                port => Ok(port),
            }
        }),
    };
    Some(check)
}

const OK: StatusRange = StatusRange {
    first: 200,
    last: 200,
};

fn check_kind(
    path: &KeyPath,
    raw: &RawHealthCheck,
    resolver: &mut Resolver<'_>,
) -> Option<CheckKind> {
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
    let statuses = resolver.list(
        &path.key("expect_status"),
        raw.expect_status.as_ref(),
        values::status_range,
    );
    let host = |text: &str| values::header_value(text).map(|_| text.to_owned());
    let body = |text: &str| match text.len() {
        1..=MAX_EXPECT_BODY => Ok(text.to_owned()),
        _ => {
            Err(Wrong::new("the text to look for is empty or too long").expected("1 to 4096 bytes"))
        }
    };
    Some(CheckKind::Http {
        path: resolver
            .get(&path.key("path"), &raw.path, check_path)
            .unwrap_or_else(|| "/".to_owned()),
        host: resolver.get(&path.key("host"), &raw.host, host),
        expect_status: if statuses.is_empty() {
            vec![OK]
        } else {
            statuses
        },
        expect_body: resolver.get(&path.key("expect_body"), &raw.expect_body, body),
    })
}

/// A path, with a query if wanted.
fn check_path(text: &str) -> Result<String, Wrong> {
    let wrong = || Wrong::not(text, "a path to check").expected("one such as /health");
    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    address::path(path).map_err(|reason| wrong().hint(reason))?;
    if query
        .bytes()
        .any(|byte| !byte.is_ascii_graphic() || byte == b'#')
    {
        return Err(
            wrong().hint("spaces and characters outside of ASCII are percent-encoded in a query")
        );
    }
    Ok(text.to_owned())
}

fn outlier(path: &KeyPath, raw: &Or<RawOutlier>, resolver: &mut Resolver<'_>) -> Option<Outlier> {
    let raw = match raw {
        Or::Text(text) if text == "off" => return None,
        Or::Text(text) => {
            resolver.wrong(
                path,
                Wrong::not(text, "a rule for outliers")
                    .expected("off, or a map with `max_fails` and others"),
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
        let finding = Finding::value(
            &path.key("max_ejection"),
            "the longest ejection is shorter than the first one",
        );
        resolver.report(finding.expected(format!(
            "at least fail_timeout, {}",
            values::show_duration(fail_timeout)
        )));
    }
    Some(Outlier {
        max_fails: resolver.number(&path.key("max_fails"), &raw.max_fails, 3, 1..=1_000_000),
        fail_timeout,
        max_ejection,
        max_ejected_percent: resolver.percent(
            &path.key("max_ejected"),
            &raw.max_ejected,
            50,
            1..=100,
        ),
        panic_percent: resolver.percent(
            &path.key("panic_threshold"),
            &raw.panic_threshold,
            50,
            0..=100,
        ),
    })
}

impl Default for UpstreamTimeouts {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            connect: seconds(5),
            first_byte: seconds(60),
            idle: seconds(300),
            write: seconds(60),
            keepalive: seconds(50),
        }
    }
}

/// The timeouts at `path` over those of `base`.
pub(super) fn timeouts(
    path: &KeyPath,
    raw: Option<&RawUpstreamTimeouts>,
    base: UpstreamTimeouts,
    resolver: &mut Resolver<'_>,
) -> UpstreamTimeouts {
    let Some(raw) = raw else { return base };
    UpstreamTimeouts {
        connect: resolver.duration(&path.key("connect"), &raw.connect, base.connect),
        first_byte: resolver.duration(&path.key("first_byte"), &raw.first_byte, base.first_byte),
        idle: resolver.duration(&path.key("idle"), &raw.idle, base.idle),
        write: resolver.duration(&path.key("write"), &raw.write, base.write),
        keepalive: resolver.duration(&path.key("keepalive"), &raw.keepalive, base.keepalive),
    }
}

impl Default for Retry {
    fn default() -> Self {
        let on = RetryOn {
            connect_failure: true,
            reset: true,
            timeout: false,
            statuses: Vec::new(),
        };
        Self {
            attempts: 3,
            on,
            budget_percent: 20,
            non_idempotent: false,
        }
    }
}

/// The rules at `path` over those of `base`.
pub(super) fn retry(
    path: &KeyPath,
    raw: Option<&Or<RawRetry>>,
    base: Retry,
    resolver: &mut Resolver<'_>,
) -> Retry {
    let attempts = |path: &KeyPath, text: &Text, base: u32, resolver: &mut Resolver<'_>| {
        resolver.number(path, text, base, 1..=MAX_ATTEMPTS)
    };
    match raw {
        None => base,
        Some(Or::Text(text)) if text == "off" => Retry {
            attempts: 1,
            ..base
        },
        Some(Or::Text(text)) => Retry {
            attempts: attempts(path, &Some(text.clone()), 1, resolver),
            ..base
        },
        Some(Or::Map(raw)) => Retry {
            attempts: attempts(
                &path.key("attempts"),
                &raw.attempts,
                base.attempts,
                resolver,
            ),
            on: if raw.on.is_some() {
                retry_on(&path.key("on"), raw.on.as_ref(), resolver)
            } else {
                base.on
            },
            budget_percent: resolver.percent(
                &path.key("budget"),
                &raw.budget,
                base.budget_percent,
                0..=1000,
            ),
            non_idempotent: base.non_idempotent,
        },
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum RetryWord {
    ConnectFailure,
    Reset,
    Timeout,
    Status(u16),
}

fn retry_on(
    path: &KeyPath,
    raw: Option<&OneOrMany<String>>,
    resolver: &mut Resolver<'_>,
) -> RetryOn {
    use RetryWord::{ConnectFailure, Reset, Status, Timeout};
    let names = [
        ("connect_failure", ConnectFailure),
        ("reset", Reset),
        ("timeout", Timeout),
    ];
    let expected = "connect_failure, reset, timeout, or a status from 400 to 599";
    let parse = |text: &str| match values::number::<u16>(text) {
        Ok(status @ 400..=599) => Ok(Status(status)),
        Ok(_) => Err(Wrong::not(text, "a status to retry on").expected(expected)),
        Err(_) => values::one_of(text, "a reason to retry", &names)
            .map_err(|wrong| wrong.expected(expected)),
    };
    let words = resolver.list(path, raw, parse);
    RetryOn {
        connect_failure: words.contains(&ConnectFailure),
        reset: words.contains(&Reset),
        timeout: words.contains(&Timeout),
        statuses: words
            .iter()
            .filter_map(|word| {
                if let Status(status) = word {
                    Some(*status)
                } else {
                    None
                }
            })
            .collect(),
    }
}

/// Warns of pools that no route names.
pub(super) fn warn_unused(
    pools: &[Arc<Pool>],
    routes: &[(KeyPath, Arc<Route>)],
    resolver: &mut Resolver<'_>,
) {
    for (index, pool) in pools.iter().enumerate() {
        let used = |(_, route): &(KeyPath, Arc<Route>)| matches!(&route.target, Target::Pool(target) if target.pool == index);
        if !routes.iter().any(used) {
            let path = KeyPath::default().key("pools").key(&pool.name);
            resolver.warn(Finding::key(&path, "no route uses this pool"));
        }
    }
}
