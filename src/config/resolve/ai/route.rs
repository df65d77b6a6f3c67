//! The `ai` of a route.

use std::sync::Arc;

use super::super::Resolver;
use super::provider::model_or_wildcard;
use crate::config::ai::{Ai, AiTarget, door_at_end, wildcard};
use crate::config::limit::Limit;
use crate::config::problem::{Finding, KeyPath, nearest};
use crate::config::raw::{Or, RawCache, RawRoute, RawRouteAi};
use crate::config::values::{Wrong, quote};
use crate::config::{PathPattern, cache::CacheRules};

/// The longest name of a field that is taken out, in bytes.
const MAX_FIELD: usize = 256;
/// Fields that a request cannot do without.
const NEEDED: [&str; 4] = ["model", "messages", "input", "prompt"];

/// What an `ai` route does; `None` where it is not one.
pub(in crate::config::resolve) fn target(
    path: &KeyPath,
    raw: &RawRoute,
    pattern: &PathPattern,
    ai: Option<&Arc<Ai>>,
    resolver: &mut Resolver<'_>,
) -> Option<AiTarget> {
    let given = raw.ai.as_ref()?;
    of_pools(path, raw, resolver);
    if !resolver.doubtful(&path.key("match")) {
        of_doors(&path.key("match").key("path"), pattern, resolver);
    }
    let path = path.key("ai");
    let section = KeyPath::default().key("ai");
    if ai.is_none() && !resolver.source.has(&section) && !resolver.meant.contains(&section) {
        let finding = Finding::key(&path, "there is no section `ai`, so there is nobody to ask");
        resolver.report(finding.expected("a section `ai` with `providers`"));
    }
    match given {
        Or::Map(raw) => Some(options(&path, raw, ai.map(AsRef::as_ref), resolver)),
        Or::Text(text) if text == "true" => Some(AiTarget::default()),
        Or::Text(text) => {
            let wrong = Wrong::not(text, "what a route asks of models").expected("true, {}, or a map with `models`");
            resolver
                .wrong(&path, if text == "false" { wrong.hint("remove it, and name another target") } else { wrong });
            None
        }
    }
}

/// Refuses a route below which there can be no door, and tells of one that is itself at a door.
fn of_doors(path: &KeyPath, pattern: &PathPattern, resolver: &mut Resolver<'_>) {
    let (PathPattern::Exact(text) | PathPattern::Prefix(text)) = pattern;
    let door = door_at_end(text);
    let above = door.map(|door| {
        let prefix = text.trim_end_matches('/').strip_suffix(door).unwrap_or_default();
        format!("`match: {prefix}`; which models it has says `ai: {{ models: [...] }}`")
    });
    if let PathPattern::Exact(exact) = pattern {
        let finding = Finding::value(path, format!("the route takes the one path {exact}"));
        let finding = finding.expected("a path that ends in `/`, for chat/completions and others stand below it");
        resolver.report(finding.hint(above.unwrap_or_else(|| format!("did you mean {exact}/?"))));
    } else if let Some((door, above)) = door.zip(above) {
        let message = format!("the door is at {text}{door} then");
        resolver.warn(Finding::value(path, message).hint(format!("did you mean {above}?")));
    }
}

fn options(path: &KeyPath, raw: &RawRouteAi, ai: Option<&Ai>, resolver: &mut Resolver<'_>) -> AiTarget {
    let known: Vec<&str> = ai.map(|ai| ai.models.iter().map(|model| &*model.name).collect()).unwrap_or_default();
    // Without models in the section, every name may mean something.
    let ai = ai.filter(|_| !known.is_empty());
    let model = |text: &str| {
        let name = model_or_wildcard(text)?;
        let leads_nowhere = |ai: &Ai| match wildcard(text) {
            Some(start) => ai.taken_by(start).is_none() && !known.iter().any(|name| name.starts_with(start)),
            None => ai.model(text).is_none(),
        };
        if !ai.is_some_and(leads_nowhere) {
            return Ok(name);
        }
        let wrong = Wrong::new(format!("there is no model {}", quote(text)));
        Err(match nearest(text, known.iter().copied()) {
            Some(near) => wrong.hint(format!("did you mean `{near}`?")),
            None => wrong.expected("one of those under `ai.models`"),
        })
    };
    AiTarget {
        models: resolver.list(&path.key("models"), raw.models.as_ref(), model),
        strip_body_fields: resolver.list(
            &path.key("strip_body_fields"),
            raw.strip_body_fields.as_ref(),
            stripped_field,
        ),
        cut_over_budget: resolver.boolean(&path.key("cut_over_budget"), &raw.cut_over_budget, false),
        cache_nondeterministic: resolver.boolean(
            &path.key("cache_nondeterministic"),
            &raw.cache_nondeterministic,
            false,
        ),
    }
}

/// A field of a request's top level that is taken out.
pub(super) fn stripped_field(text: &str) -> Result<String, Wrong> {
    match text {
        text if NEEDED.contains(&text) => Err(Wrong::new(format!("without {} a request says nothing", quote(text)))),
        text if text.is_empty() || text.len() > MAX_FIELD || text.chars().any(char::is_control) => {
            Err(Wrong::not(text, "the name of a field").expected("one of the top level such as context_management"))
        }
        text => Ok(text.to_owned()),
    }
}

/// Refuses what has a meaning only where a pool is asked.
fn of_pools(path: &KeyPath, raw: &RawRoute, resolver: &mut Resolver<'_>) {
    let of_model = "timeouts stand in `ai.timeouts`, and with a model under `ai.models`";
    let attempts = "how often targets are tried is `ai.attempts`";
    let given = [
        ("rewrite", raw.rewrite.is_some(), "what stands below the path of the route is looked at, not that path"),
        ("timeouts", raw.timeouts.is_some(), of_model),
        ("retry", raw.retry.is_some(), attempts),
        ("retry_non_idempotent", raw.retry_non_idempotent.is_some(), attempts),
        ("balance", raw.balance.is_some(), "a provider's pool has one; targets share by `weight`"),
        ("websocket", raw.websocket.is_some(), "remove it; upgrades are refused here"),
        ("sanitize", raw.sanitize.is_some(), "bodies are masked on routes with a pool"),
    ];
    for (key, _, hint) in given.iter().filter(|(_, given, _)| *given) {
        let finding = Finding::key(&path.key(key), format!("`{key}` has no meaning on a route with `ai`"));
        resolver.report(finding.hint(*hint));
    }
}

/// Reports a wish to cut streams where there is no budget that they could run over.
pub(in crate::config::resolve) fn has_budget(
    path: &KeyPath,
    target: &AiTarget,
    of_route: &[usize],
    limits: &[Arc<Limit>],
    resolver: &mut Resolver<'_>,
) {
    let budget = of_route.iter().filter_map(|index| limits.get(*index)).any(|limit| limit.has_budget());
    if target.cut_over_budget && !budget && !resolver.doubtful(&path.key("limits")) {
        let path = path.key("ai").key("cut_over_budget");
        let finding = Finding::key(&path, "no limit of this route counts tokens or money");
        resolver.report(finding.expected("one in `limits` with `tokens` or `cost`"));
    }
}

/// Reports a wish to cut streams that several may get: one of them would cut those of the others.
pub(in crate::config::resolve) fn cuts_for_one(
    path: &KeyPath,
    target: &AiTarget,
    cached: bool,
    resolver: &mut Resolver<'_>,
) {
    if target.cut_over_budget && cached {
        let path = path.key("ai").key("cut_over_budget");
        let finding = Finding::key(&path, "what a cache fetches for several callers is not cut for one of them");
        resolver.report(finding.hint("leave out `cut_over_budget`, or the route's `cache`"));
    }
}

/// Reports a wish to keep more answers where none is kept.
pub(in crate::config::resolve) fn keeps(path: &KeyPath, target: &AiTarget, cached: bool, resolver: &mut Resolver<'_>) {
    if target.cache_nondeterministic && !cached && !resolver.doubtful(&path.key("cache")) {
        let path = path.key("ai").key("cache_nondeterministic");
        let finding = Finding::key(&path, "the route has no cache that could keep answers");
        resolver.report(finding.hint("give the route a `cache`, or leave this out"));
    }
}

/// Reports what a cache says that has no meaning for answers of models. `raw` is what the route says itself, `rules` all
/// that hold, `shared` where the cache itself stands. Models say nothing of freshness, conditions or cookies, so of the
/// rules of HTTP only how long an answer serves is left, who gets it, and whether clients may ask past it.
pub(in crate::config::resolve) fn usable_cache(
    path: &KeyPath,
    shared: &KeyPath,
    raw: Option<&RawCache>,
    rules: &CacheRules,
    resolver: &mut Resolver<'_>,
) {
    let absent = RawCache::default();
    let raw = raw.unwrap_or(&absent);
    let given = [
        ("override_ttl", raw.override_ttl.is_some()),
        ("stale_while_revalidate", raw.stale_while_revalidate.is_some()),
        ("heuristic", raw.heuristic.is_some()),
        ("key_headers", raw.key_headers.is_some()),
        ("store_set_cookie", raw.store_set_cookie.is_some()),
        ("store_error_bodies", raw.store_error_bodies.is_some()),
    ];
    for (key, _) in given.iter().filter(|(_, given)| *given) {
        let finding = Finding::key(&path.key(key), format!("`{key}` has no meaning for answers of models"));
        resolver.report(
            finding.hint("what counts here: ttl, stale_if_error, request_directives and share_between_callers"),
        );
    }
    if raw.key_headers.is_none() && !rules.key_headers.is_empty() {
        let finding =
            Finding::value(path, "this cache tells answers apart by `key_headers`, and a route with `ai` does not");
        resolver.report(finding.hint("give the route a cache without them"));
    }
    if rules.ttl.is_none() && !resolver.doubtful(path) && !resolver.doubtful(shared) {
        let finding =
            Finding::value(path, "models do not say how long their answers are fresh, so nothing would be stored");
        resolver.report(finding.expected("a cache with a `ttl`"));
    }
}
