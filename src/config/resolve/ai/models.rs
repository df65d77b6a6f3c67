//! `ai.models`: what clients may ask for, and who is asked then.

use std::sync::Arc;

use super::super::Resolver;
use super::Base;
use super::provider::model_or_wildcard;
use crate::config::ai::{Model, ModelTarget, Provider, wildcard};
use crate::config::problem::{Finding, KeyPath, Place, nearest};
use crate::config::raw::{OneOrMany, Or, RawAi, RawModel, RawTarget};
use crate::config::values::{self, Wrong, quote};

/// The most targets of one model.
const MAX_TARGETS: usize = 64;

pub(super) fn models(
    path: &KeyPath,
    raw: &RawAi,
    providers: &[Arc<Provider>],
    base: Base,
    resolver: &mut Resolver<'_>,
) -> Vec<Arc<Model>> {
    let path = path.key("models");
    let Some(list) = &raw.models else { return Vec::new() };
    if list.0.is_empty() {
        let finding = Finding::value(&path, "there are no models");
        resolver.report(
            finding.expected("one at least").hint("without this key, every provider's models are served by name"),
        );
    }
    let mut models = Vec::new();
    for (name, raw) in list.items() {
        let path = path.key(name);
        if let Err(wrong) = model_or_wildcard(name) {
            resolver.wrong_at(Place::Key(path.clone()), wrong);
        }
        models.push(Arc::new(model(&path, name, raw, providers, base, resolver)));
    }
    warn_unused(&models, providers, resolver);
    models
}

/// Warns of providers that no model names, and of models in their lists that nobody can ask for: where models are listed,
/// nobody and nothing else is asked.
fn warn_unused(models: &[Arc<Model>], providers: &[Arc<Provider>], resolver: &mut Resolver<'_>) {
    let section = KeyPath::default().key("ai").key("providers");
    for (index, provider) in providers.iter().enumerate().filter(|(_, provider)| provider.enabled) {
        let named = models.iter().flat_map(|model| model.ranks.iter().flatten()).any(|target| target.provider == index);
        let path = section.key(&provider.name);
        if !named {
            resolver.warn(Finding::key(&path, "no model names this provider, so it is never asked"));
            continue;
        }
        let leads_to = |model: &Model, served: &str| {
            let of_provider = model.ranks.iter().flatten().filter(|target| target.provider == index);
            *model.name == *served || of_provider.into_iter().any(|target| model.asked(target, served).is_some())
        };
        let lost = provider.models.iter().filter(|name| !models.iter().any(|model| leads_to(model, name)));
        let lost: Vec<String> = lost.map(|name| quote(name)).collect();
        if let [first, rest @ ..] = &lost[..] {
            let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
            let message = format!("no client can ask for {first}{more}: nothing under `ai.models` leads there");
            let hint = format!("give it a name there, or all of them at once: \"*\": {}", provider.name);
            resolver.warn(Finding::key(&path.key("models"), message).hint(hint));
        }
    }
}

fn model(
    path: &KeyPath,
    name: &str,
    raw: &RawModel,
    providers: &[Arc<Provider>],
    base: Base,
    resolver: &mut Resolver<'_>,
) -> Model {
    let (place, list, base) = match raw {
        RawModel::Target(text) => (path.clone(), vec![(path.clone(), Or::Text(text.clone()))], base),
        RawModel::Targets(list) => (path.clone(), numbered(path, list), base),
        RawModel::Map(raw) => {
            let timeouts = super::timeouts(&path.key("timeouts"), raw.timeouts.as_ref(), base.timeouts, resolver);
            let assumed_output = super::assumed_output(path, &raw.assumed_output, base.assumed_output, resolver);
            let place = path.key("targets");
            let of_one = raw.provider.is_some() || raw.model.is_some();
            let list = match &raw.targets {
                Some(list) => numbered(&place, list),
                None if of_one => {
                    let (provider, model) = (raw.provider.clone(), raw.model.clone());
                    vec![(path.clone(), Or::Map(RawTarget { provider, model, weight: None }))]
                }
                None => {
                    resolver.missing(path, "targets", "a list such as [{ provider: openai }], or one target");
                    Vec::new()
                }
            };
            if raw.targets.is_some() && of_one {
                let key = if raw.provider.is_some() { "provider" } else { "model" };
                let finding = Finding::key(&path.key(key), "the model has `targets` already");
                resolver.report(finding.expected("either `targets` or one target"));
            }
            (place, list, Base { timeouts, assumed_output })
        }
    };
    if list.len() > MAX_TARGETS {
        resolver
            .report(Finding::value(&place, "these are too many targets").expected(format!("at most {MAX_TARGETS}")));
    }
    let empty = match raw {
        RawModel::Target(_) => false,
        RawModel::Targets(list) => list.0.is_empty(),
        RawModel::Map(raw) => raw.targets.as_ref().is_some_and(|list| list.0.is_empty()),
    };
    if empty {
        resolver.report(Finding::value(&place, "the model has no target").expected("one such as { provider: openai }"));
    }
    let ranks = ranks(name, &list, providers, resolver);
    let mut targets = ranks.iter().flatten().filter_map(|target| providers.get(target.provider)).peekable();
    if targets.peek().is_some() && targets.all(|provider| !provider.enabled) && !resolver.doubtful(path) {
        let finding = Finding::key(path, "every provider of this model is switched off");
        resolver.warn(finding.hint("requests for it are answered with 503"));
    }
    let Base { timeouts, assumed_output } = base;
    Model { name: name.into(), ranks, assumed_output, timeouts }
}

/// The items with their places.
fn numbered(path: &KeyPath, list: &OneOrMany<Or<RawTarget>>) -> Vec<(KeyPath, Or<RawTarget>)> {
    let copy = |item: &Or<RawTarget>| match item {
        Or::Text(text) => Or::Text(text.clone()),
        Or::Map(raw) => Or::Map(raw.clone()),
    };
    list.items().map(|(index, item)| (path.index(index), copy(item))).collect()
}

/// Each target is a rank, but for neighbours that have a weight: they share one.
fn ranks(
    model: &str,
    list: &[(KeyPath, Or<RawTarget>)],
    providers: &[Arc<Provider>],
    resolver: &mut Resolver<'_>,
) -> Vec<Vec<ModelTarget>> {
    let mut ranks: Vec<Vec<ModelTarget>> = Vec::new();
    let mut seen: Vec<(&KeyPath, ModelTarget)> = Vec::new();
    let mut weights: Vec<(&KeyPath, usize)> = Vec::new();
    let mut open = false;
    for (path, raw) in list {
        let (found, weighted) = target(model, path, raw, providers, resolver);
        let Some(found) = found else {
            open = weighted;
            continue;
        };
        // What the provider calls it, where that is known: `{ provider: a }` of the model `m` is `a/m`.
        let own = wildcard(model).is_none().then_some(model);
        let asked = |target: &ModelTarget| target.model.clone().or_else(|| own.map(Arc::from));
        let same = |other: &ModelTarget| other.provider == found.provider && asked(other) == asked(&found);
        if let Some((first, _)) = seen.iter().find(|(_, other)| same(other)) {
            let finding =
                Finding::value(path, "the model has this target twice").also((*first).clone(), "the other one");
            resolver.report(finding.hint("a larger share is a larger `weight`"));
        }
        let known = asked(&found).filter(|asked| wildcard(asked).is_none());
        if let (Some(asked), Some(provider)) = (known, providers.get(found.provider)) {
            warn_unlisted(path, provider, &asked, resolver);
        }
        seen.push((path, found.clone()));
        weights.extend(weighted.then_some((path, ranks.len().saturating_sub(usize::from(open && weighted)))));
        match ranks.last_mut().filter(|_| open && weighted) {
            Some(rank) => rank.push(found),
            None => ranks.push(vec![found]),
        }
        open = weighted;
    }
    for (path, rank) in weights {
        if ranks.get(rank).is_some_and(|rank| rank.len() == 1) && !resolver.doubtful(path) {
            let finding = Finding::key(&path.key("weight"), "there is nothing to share: no neighbour has a weight");
            resolver.warn(finding.hint("targets without a weight are tried one after the other"));
        }
    }
    ranks
}

/// Warns of a target that its provider does not list, where it lists what it has.
fn warn_unlisted(path: &KeyPath, provider: &Provider, model: &str, resolver: &mut Resolver<'_>) {
    if provider.models.is_empty() || provider.models.iter().any(|name| **name == *model) {
        return;
    }
    let message = format!("the provider {} does not list the model {}", quote(&provider.name), quote(model));
    let near = nearest(model, provider.models.iter().map(|name| &**name));
    let hint = match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("add it to ai.providers.{}.models if it has it", provider.name),
    };
    resolver.warn(Finding::value(path, message).hint(hint));
}

/// One target of `model`, and whether it has a weight.
fn target(
    model: &str,
    path: &KeyPath,
    raw: &Or<RawTarget>,
    providers: &[Arc<Provider>],
    resolver: &mut Resolver<'_>,
) -> (Option<ModelTarget>, bool) {
    let known: Vec<&str> = providers.iter().map(|provider| &*provider.name).collect();
    let of_name = |text: &str| values::index_of(text, "provider", "ai.providers", &known);
    let own_name = |text: &str| match (wildcard(model), wildcard(text)) {
        (None, Some(_)) => {
            let wrong = Wrong::not(text, "the name of one model").expected("a name such as gpt-4o");
            Err(wrong.hint(format!("{} is one name, in which there is nothing that `*` could stand for", quote(model))))
        }
        _ => model_or_wildcard(text),
    };
    match raw {
        // That there is no provider at all, or that their key is misspelt, is told once.
        _ if known.is_empty() => (None, false),
        Or::Text(text) => {
            let (name, model) = match text.split_once('/') {
                Some((name, model)) => (name, Some(model.to_owned())),
                None => (text.as_str(), None),
            };
            let provider = resolver.get(path, &Some(name.to_owned()), of_name);
            let model = resolver.get(path, &model, own_name);
            (provider.map(|provider| ModelTarget { provider, model, weight: 1 }), false)
        }
        Or::Map(raw) => {
            if raw.provider.is_none() {
                resolver.missing(path, "provider", "the name of a provider");
            }
            let provider = resolver.get(&path.key("provider"), &raw.provider, of_name);
            let model = resolver.get(&path.key("model"), &raw.model, own_name);
            let weight = resolver.number(&path.key("weight"), &raw.weight, 1, 1..=1000);
            (provider.map(|provider| ModelTarget { provider, model, weight }), raw.weight.is_some())
        }
    }
}
