//! Where a provider is: a pool of the file, or one that is made of its URL.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use super::super::{Resolver, tls};
use super::provider::Kind;
use crate::config::ai::{Ai, AiTimeouts, door_at_end, made_pool};
use crate::config::problem::{Finding, KeyPath};
use crate::config::raw::RawProvider;
use crate::config::values::url::{BaseUrl, base_url};
use crate::config::values::{self, Wrong, address};
use crate::config::{Balance, Member, Pool, Retry, Route, Target, UpstreamTimeouts, UpstreamTls};

const WHERE: &str = "exactly one of base_url and pool";

/// Where a provider is.
pub(super) struct Site {
    /// Index of a pool of the file.
    pub(super) pool: Option<usize>,
    /// The pool that its URL stands for.
    pub(super) made: Option<Pool>,
    pub(super) host: Option<HeaderValue>,
    pub(super) base_path: String,
    /// The key whose value is empty, and what that means.
    pub(super) lacking: Option<(&'static str, &'static str)>,
}

pub(super) fn site(
    path: &KeyPath,
    name: &str,
    raw: &RawProvider,
    kind: Kind,
    timeouts: &AiTimeouts,
    pools: &[Arc<Pool>],
    resolver: &mut Resolver<'_>,
) -> Site {
    let mut site = Site { pool: None, made: None, host: None, base_path: kind.base_path().to_owned(), lacking: None };
    if raw.base_url.is_some() && raw.pool.is_some() {
        let finding = Finding::key(&path.key("pool"), "the provider has `base_url` already");
        resolver.report(finding.expected(WHERE).also(path.key("base_url"), "the other one"));
        return site;
    }
    if raw.pool.is_some() {
        of_pool(path, raw, pools, &mut site, resolver);
        if kind == Kind::Azure {
            no_door_of_azure(&path.key("base_path"), &site.base_path, "", resolver);
        }
        return site;
    }
    if raw.base_path.is_some() {
        let finding =
            Finding::key(&path.key("base_path"), "the path of a provider without `pool` stands in its `base_url`");
        resolver.report(finding.hint("append it to `base_url`"));
    }
    let text = match (raw.base_url.as_deref(), kind.base_url()) {
        (Some(""), _) => {
            site.lacking = Some(("base_url", "the URL is empty"));
            return site;
        }
        (Some(text), _) | (None, Some(text)) => text.to_owned(),
        (None, None) => {
            let written = ["base_url", "pool"].iter().any(|key| {
                let path = path.key(key);
                resolver.source.has(&path) || resolver.meant.contains(&path)
            });
            if !written && resolver.source.is_map(path) {
                let finding = Finding::key(path, "nothing says where this provider is");
                resolver.report(finding.expected("`base_url: https://...`, or `pool` with the name of a pool"));
            }
            return site;
        }
    };
    let Some(url) = resolver.get(&path.key("base_url"), &Some(text), base_url) else { return site };
    if !url.path.is_empty() {
        site.base_path.clone_from(&url.path);
    }
    if kind == Kind::Azure {
        no_door_of_azure(&path.key("base_url"), &url.path, &url.name, resolver);
    } else {
        no_door(&path.key("base_url"), &url.path, kind, resolver);
    }
    let tls = tls_to(path, raw, &url, resolver);
    site.host = Some(url.host.clone());
    site.made = Some(pool_of(name, &url, tls, timeouts));
    site
}

fn of_pool(path: &KeyPath, raw: &RawProvider, pools: &[Arc<Pool>], site: &mut Site, resolver: &mut Resolver<'_>) {
    let known: Vec<&str> = pools.iter().map(|pool| &*pool.name).collect();
    site.pool = resolver.get(&path.key("pool"), &raw.pool, |text| values::index_of(text, "pool", "pools", &known));
    if site.pool.and_then(|index| pools.get(index)).is_some_and(|pool| pool.http2) {
        let finding =
            Finding::value(&path.key("pool"), "models are asked over HTTP/1, and this pool has `http2: true`");
        resolver.report(finding.hint("remove `http2` from the pool"));
    }
    if raw.tls.is_some() {
        let finding = Finding::key(&path.key("tls"), "how members are reached stands with their pool");
        resolver.report(finding.hint("move it to the pool"));
    }
    let base_path = |text: &str| match text {
        "/" => Ok(String::new()),
        _ => address::path(text)
            .map(|path| path.strip_suffix('/').map_or_else(|| path.clone(), str::to_owned))
            .map_err(|reason| Wrong::not(text, "a path").expected("one such as /v1").hint(reason)),
    };
    if let Some(found) = resolver.get(&path.key("base_path"), &raw.base_path, base_path) {
        site.base_path = found;
    }
}

/// Refuses a path that requests to Azure get with their door once more. What stands before Azure may have one of its own:
/// its API Management does.
fn no_door_of_azure(path: &KeyPath, base: &str, host: &str, resolver: &mut Resolver<'_>) {
    let of_azure = [".openai.azure.", ".cognitiveservices.azure.", ".services.ai.azure."];
    let is_azures = of_azure.iter().any(|part| host.contains(part));
    let has_door = base.split('/').any(|segment| segment.eq_ignore_ascii_case("openai"));
    if has_door || (is_azures && !base.is_empty()) {
        let finding = Finding::value(path, "the path of Azure's doors, with the deployment, is made with each request");
        resolver.report(finding.expected("the resource's address alone, such as https://x.openai.azure.com"));
    }
}

/// Refuses the address of a door: requests get their own.
fn no_door(path: &KeyPath, base: &str, kind: Kind, resolver: &mut Resolver<'_>) {
    if let Some(door) = door_at_end(base) {
        let finding = Finding::value(path, format!("requests get {door} behind this address once more"));
        let above = base.trim_end_matches('/').strip_suffix(door).unwrap_or_default().trim_end_matches('/');
        resolver.report(finding.hint(format!("let it end in {}", if above.is_empty() { "the port" } else { above })));
    } else if kind == Kind::Gemini && base.split('/').any(|segment| segment == "openai") {
        let finding =
            Finding::value(path, "a provider of kind gemini is asked in its own dialect, which is not spoken there");
        resolver.report(finding.hint("remove /openai, or write `kind: openai_compatible`"));
    }
}

/// Refuses what has a meaning only where routes ask a pool, of `pools` that providers ask alone.
pub(in crate::config::resolve) fn unread_of_pools(
    ai: &Ai,
    pools: &[Arc<Pool>],
    routes: &[Arc<Route>],
    resolver: &mut Resolver<'_>,
) {
    // What another finding is about may be the route that asks it.
    if !resolver.findings.is_empty() {
        return;
    }
    let asked =
        |route: &Arc<Route>, index: usize| matches!(&route.target, Target::Pool(target) if target.pool == index);
    for (index, pool) in pools.iter().enumerate() {
        let Some(provider) = ai.providers.iter().find(|provider| provider.pool == index) else { continue };
        if routes.iter().any(|route| asked(route, index)) {
            continue;
        }
        let path = KeyPath::default().key("pools").key(&pool.name);
        for (key, hint) in [
            ("timeouts", "timeouts stand in `ai.timeouts`, and with a model under `ai.models`"),
            ("retry", "how often targets are tried is `ai.attempts`"),
        ] {
            let path = path.key(key);
            if resolver.source.has(&path) {
                let message =
                    format!("`{key}` has no meaning for a pool that only a provider asks ({})", provider.name);
                resolver.report(Finding::key(&path, message).hint(hint));
            }
        }
    }
}

fn tls_to(path: &KeyPath, raw: &RawProvider, url: &BaseUrl, resolver: &mut Resolver<'_>) -> Option<UpstreamTls> {
    let path = path.key("tls");
    let found = raw.tls.as_ref().map(|raw| tls::upstream_map(&path, raw, resolver));
    if found.is_some() && !url.tls {
        let finding = Finding::key(&path, "the URL is one of plain http");
        resolver.report(finding.hint("write https:// in `base_url`, or remove `tls`"));
    }
    url.tls.then(|| found.unwrap_or_default())
}

/// One member, asked once: other targets are the retries.
fn pool_of(name: &str, url: &BaseUrl, tls: Option<UpstreamTls>, timeouts: &AiTimeouts) -> Pool {
    let address = url.address.clone();
    Pool {
        name: made_pool(name).into(),
        members: vec![Member { name: url.name.as_str().into(), address, weight: 1, backup: false }],
        balance: Balance::RoundRobin,
        health_check: None,
        outlier: None,
        max_requests_per_member: None,
        slow_start: Duration::ZERO,
        timeouts: UpstreamTimeouts {
            connect: timeouts.connect,
            first_byte: timeouts.first_token,
            idle: timeouts.idle,
            ..UpstreamTimeouts::default()
        },
        retry: Retry { attempts: 1, ..Retry::default() },
        tls,
        http2: false,
        resolve_interval: Duration::from_secs(10),
    }
}
