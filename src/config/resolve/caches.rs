//! `caches`, and the cache of a route.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

use super::{MILLISECOND, Resolver, ai};
use crate::config::Pool;
use crate::config::cache::{Cache, CacheRules, RouteCache};
use crate::config::problem::{Finding, KeyPath, Place};
use crate::config::raw::{Or, RawCache, RawConfig, RawRoute};
use crate::config::values::{self, Wrong};

const MAX_ENTRIES: u64 = 10_000;
const MAX_BYTES: u64 = 256 << 20;
const MAX_OBJECT: u64 = 8 << 20;
const COALESCE_TIMEOUT: Duration = Duration::from_secs(5);
/// Fields that tell nothing of what an answer is for, or differ with every request.
const NO_KEY: [&str; 6] =
    ["host", "connection", "transfer-encoding", "content-length", "x-request-id", "if-none-match"];

/// The section, in the order of its names.
pub(super) fn caches(raw: &RawConfig, resolver: &mut Resolver<'_>) -> Vec<Arc<Cache>> {
    let section = KeyPath::default().key("caches");
    let mut caches: Vec<Arc<Cache>> = Vec::new();
    for (name, raw) in raw.caches.iter().flat_map(|caches| caches.items()) {
        let path = section.key(name);
        if let Err(wrong) = values::name(name, "a cache's name") {
            resolver.wrong_at(Place::Key(path.clone()), wrong);
        }
        caches.push(Arc::new(cache(&path, name, raw, resolver)));
    }
    caches.sort_by(|one, other| one.name.cmp(&other.name));
    caches
}

fn cache(path: &KeyPath, name: &str, raw: &RawCache, resolver: &mut Resolver<'_>) -> Cache {
    let max_bytes = resolver.size(&path.key("max_bytes"), &raw.max_bytes, 64 << 10..=1 << 40).unwrap_or(MAX_BYTES);
    let max_object = resolver.size(&path.key("max_object"), &raw.max_object, 1..=1 << 30);
    if let Some(max_object) = max_object.filter(|max_object| *max_object > max_bytes) {
        let message = format!("{} is more than the cache holds", values::show_size(max_object));
        let finding = Finding::value(&path.key("max_object"), message);
        resolver.report(finding.expected(format!("at most `max_bytes`, {}", values::show_size(max_bytes))));
    }
    let tag_headers = resolver.list(&path.key("tag_headers"), raw.tag_headers.as_ref(), values::header_name);
    Cache {
        name: name.into(),
        max_entries: resolver.number(&path.key("max_entries"), &raw.max_entries, MAX_ENTRIES, 1..=100_000_000),
        max_bytes,
        max_object: max_object.unwrap_or_else(|| MAX_OBJECT.min(max_bytes)),
        coalesce_timeout: resolver.duration_from(
            &path.key("coalesce_timeout"),
            &raw.coalesce_timeout,
            COALESCE_TIMEOUT,
            Duration::ZERO,
        ),
        tag_headers: if tag_headers.is_empty() { default_tags() } else { tag_headers },
        rules: rules(path, raw, &CacheRules::default(), resolver),
    }
}

fn default_tags() -> Vec<HeaderName> {
    ["cache-tag", "surrogate-key", "xkey"].map(HeaderName::from_static).to_vec()
}

/// The rules at `path` over those of `base`.
fn rules(path: &KeyPath, raw: &RawCache, base: &CacheRules, resolver: &mut Resolver<'_>) -> CacheRules {
    let seconds = |key: &str, text, resolver: &mut Resolver<'_>, least| {
        let given = resolver.duration_from(&path.key(key), text, Duration::MAX, least);
        (given != Duration::MAX).then_some(given)
    };
    let key_headers = resolver.list(&path.key("key_headers"), raw.key_headers.as_ref(), key_header);
    CacheRules {
        ttl: seconds("ttl", &raw.ttl, resolver, MILLISECOND).or(base.ttl),
        override_ttl: seconds("override_ttl", &raw.override_ttl, resolver, MILLISECOND).or(base.override_ttl),
        stale_while_revalidate: resolver.duration_from(
            &path.key("stale_while_revalidate"),
            &raw.stale_while_revalidate,
            base.stale_while_revalidate,
            Duration::ZERO,
        ),
        stale_if_error: seconds("stale_if_error", &raw.stale_if_error, resolver, Duration::ZERO)
            .or(base.stale_if_error),
        heuristic: resolver.boolean(&path.key("heuristic"), &raw.heuristic, base.heuristic),
        request_directives: resolver.boolean(
            &path.key("request_directives"),
            &raw.request_directives,
            base.request_directives,
        ),
        key_headers: if key_headers.is_empty() { base.key_headers.clone() } else { key_headers },
        share_between_callers: resolver.boolean(
            &path.key("share_between_callers"),
            &raw.share_between_callers,
            base.share_between_callers,
        ),
        store_set_cookie: resolver.boolean(&path.key("store_set_cookie"), &raw.store_set_cookie, base.store_set_cookie),
        store_error_bodies: resolver.boolean(
            &path.key("store_error_bodies"),
            &raw.store_error_bodies,
            base.store_error_bodies,
        ),
    }
}

fn key_header(text: &str) -> Result<HeaderName, Wrong> {
    let name = values::header_name(text)?;
    if NO_KEY.contains(&name.as_str()) {
        return Err(Wrong::not(text, "a field to tell entries apart by").hint("the host stands in every key already"));
    }
    Ok(name)
}

/// The cache of a route.
pub(super) fn of_route(
    path: &KeyPath,
    raw: &RawRoute,
    caches: &[Arc<Cache>],
    pools: &[Arc<Pool>],
    resolver: &mut Resolver<'_>,
) -> Option<RouteCache> {
    let path = path.key("cache");
    let given = raw.cache.as_ref()?;
    let pool = pools.iter().find(|pool| Some(&*pool.name) == raw.pool.as_deref());
    if pool.is_some_and(|pool| pool.http2) {
        let finding = Finding::key(&path, "answers of a pool with `http2: true` are not cached");
        resolver.report(finding.hint("remove `http2` from the pool, or `cache` from the route"));
    }
    let (name_path, name) = match given {
        Or::Text(text) => (path.clone(), Some(text.clone())),
        Or::Map(raw) => {
            if raw.r#use.is_none() {
                resolver.missing(&path, "use", "the name of a cache");
            }
            (path.key("use"), raw.r#use.clone())
        }
    };
    let known: Vec<&str> = caches.iter().map(|cache| &*cache.name).collect();
    let index = resolver.get(&name_path, &name, |text| values::index_of(text, "cache", "caches", &known));
    let base = index.and_then(|index| caches.get(index)).map(|cache| cache.rules.clone()).unwrap_or_default();
    let (rules, own) = match given {
        Or::Text(_) => (base, None),
        Or::Map(raw) => {
            let own = raw.rules();
            (rules(&path, &own, &base, resolver), Some(own))
        }
    };
    if let Some(cache) = index.and_then(|index| caches.get(index)).filter(|_| raw.ai.is_some()) {
        let shared = KeyPath::default().key("caches").key(&cache.name);
        ai::usable_cache(&path, &shared, own.as_ref(), &rules, resolver);
    }
    Some(RouteCache { cache: index?, rules })
}
