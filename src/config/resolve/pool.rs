//! `pools`: members and how they are used.

use std::sync::Arc;
use std::time::Duration;

use super::health::{check, outlier};
use super::retry::{retry, timeouts};
use super::{Resolver, tls};
use crate::config::problem::{Finding, KeyPath};
use crate::config::raw::{Named, OneOrMany, Or, RawMember, RawPool};
use crate::config::values::{self, address, balance::balance};
use crate::config::{Balance, Member, MemberAddress, Pool, Retry, UpstreamTimeouts};

pub(super) fn pools(raw: Option<&Named<RawPool>>, resolver: &mut Resolver<'_>) -> Vec<Arc<Pool>> {
    let Some(raw) = raw else { return Vec::new() };
    let path = KeyPath::default().key("pools");
    let mut pools = Vec::new();
    for (name, raw) in &raw.0 {
        let path = path.key(name);
        resolver.section_name(&path, name, "a pool");
        // One that was refused still is a pool that routes may name.
        let absent = RawPool::default();
        pools.push(Arc::new(pool(&path, name, raw.as_ref().unwrap_or(&absent), resolver)));
    }
    pools.sort_by(|one, other| one.name.cmp(&other.name));
    pools
}

fn pool(path: &KeyPath, name: &str, raw: &RawPool, resolver: &mut Resolver<'_>) -> Pool {
    let (members, by_scheme) = members(path, raw.members.as_ref(), resolver);
    let most = 1..=1_000_000;
    let max_requests = resolver.number(&path.key("max_requests_per_member"), &raw.max_requests_per_member, 0, most);
    let tls = tls::upstream(&path.key("tls"), raw.tls.as_ref(), by_scheme, resolver);
    if tls.as_ref().is_some_and(|tls| tls.verify && tls.sni.is_none())
        && members.iter().any(|member| matches!(member.address, MemberAddress::Unix(_)))
    {
        let finding = Finding::key(&path.key("tls"), "a member on a unix socket has no name to verify");
        resolver.report(finding.expected("`tls: { sni: NAME }`"));
    }
    Pool {
        name: name.into(),
        members,
        balance: resolver.get(&path.key("balance"), &raw.balance, balance).unwrap_or(Balance::RoundRobin),
        health_check: raw.health_check.as_ref().and_then(|raw| check(&path.key("health_check"), raw, resolver)),
        outlier: raw.outlier.as_ref().and_then(|raw| outlier(&path.key("outlier"), raw, resolver)),
        max_requests_per_member: (max_requests > 0).then_some(max_requests),
        slow_start: resolver.duration_from(&path.key("slow_start"), &raw.slow_start, Duration::ZERO, Duration::ZERO),
        timeouts: timeouts(&path.key("timeouts"), raw.timeouts.as_ref(), UpstreamTimeouts::default(), resolver),
        retry: retry(&path.key("retry"), raw.retry.as_ref(), Retry::default(), resolver),
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
        resolver.missing(pool, "members", "an address such as 10.0.0.1:8080, or a list of them");
        return (Vec::new(), None);
    };
    if list.0.is_empty() {
        resolver.report(Finding::value(&path, "the pool has no members").expected("an address such as 10.0.0.1:8080"));
    }
    let mut found: Vec<(KeyPath, Member)> = Vec::new();
    let mut scheme: Option<(KeyPath, Option<bool>)> = None;
    for (index, raw) in list.items() {
        let path = path.index(index);
        let Some((member, tls)) = member(&path, raw, resolver) else {
            continue;
        };
        if let Some((first, _)) = found.iter().find(|(_, other)| other.address == member.address) {
            let finding = Finding::value(&path, format!("{} is a member twice", values::quote(&member.name)));
            resolver.report(finding.also(first.clone(), "the other one").hint("a larger share is a larger `weight`"));
        }
        match &scheme {
            None => scheme = Some((path.clone(), tls)),
            Some((_, first)) if *first == tls => {}
            Some((first, _)) => {
                let finding = Finding::value(&path, "members are written with different schemes");
                resolver.report(
                    finding.also(first.clone(), "the other one").expected("the same for all members of a pool"),
                );
            }
        }
        found.push((path, member));
    }
    if !found.is_empty() && found.iter().all(|(_, member)| member.weight == 0) {
        resolver.report(Finding::value(&path, "every member has weight 0").expected("one that takes traffic"));
    } else if !found.is_empty() && found.iter().all(|(_, member)| member.backup) {
        resolver.report(Finding::value(&path, "every member is a backup").expected("one that is not"));
    }
    (found.into_iter().map(|(_, member)| member).collect(), scheme.and_then(|(_, tls)| tls))
}

fn member(path: &KeyPath, raw: &Or<RawMember>, resolver: &mut Resolver<'_>) -> Option<(Member, Option<bool>)> {
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
    let member = Member { name: found.name.into(), address: found.address, weight, backup };
    Some((member, found.tls))
}
