//! `GET models`: what may be asked for here, in one answer that the clients of OpenAI and of Anthropic both read.
//!
//! Where the configuration names the models, these are the list. Where more may be asked for, for there are wildcards or no
//! models at all, the providers' own lists are fetched too, side by side, and kept for a minute; one that does not answer is
//! left out.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde::Serialize;
use serde_json::Value;

use super::AtDoor;
use super::account::Sent;
use super::call::{self, Outgoing, Terms};
use super::job::body_of;
use super::refuse;
use crate::ai::keys::Probing;
use crate::ai::listed::{Listed, Names};
use crate::ai::refusal::Refusal;
use crate::clock;
use crate::config::ai::{AiTimeouts, Provider, ProviderKind};
use crate::observe::Termination;
use crate::proxy::Gateway;
use crate::proxy::context::{RequestContext, UpstreamRecord};
use crate::proxy::exchange::Unserved;
use crate::proxy::local::{self, Answer};
use crate::snapshot::ai::{AiRoute, AiState, ProviderState};
use crate::transport::http1::RequestHead;
use crate::transport::session::Session;
use crate::upstream::connect::Connector;

/// What a key is asked for that is to list models: for none of them.
const NO_MODEL: &str = "";
/// How long a list is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest list that is read.
const MOST: usize = 4 << 20;
/// The most names that are taken of one.
const MOST_NAMES: usize = 5000;

/// A model as both dialects have it.
#[derive(Serialize)]
struct Model<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    owned_by: &'a str,
    r#type: &'static str,
    display_name: &'a str,
    created_at: &'static str,
}

#[derive(Serialize)]
struct List<'a> {
    object: &'static str,
    data: Vec<Model<'a>>,
    has_more: bool,
    first_id: Option<&'a str>,
    last_id: Option<&'a str>,
}

/// Answers with all models, or with the one of this name.
///
/// # Errors
/// When the client is gone.
pub async fn serve(
    session: &mut Session<'_>,
    ctx: &mut RequestContext,
    route: &AiRoute,
    gateway: &Gateway,
    door: &AtDoor,
) -> Result<(), Unserved> {
    let collected = collect(route, &gateway.connector, ctx);
    let mut models = tokio::select! {
        biased;
        models = collected => models,
        _ = session.read_body_or_idle(true) => return Err(Unserved::Cut(Termination::ClientClosed)),
    };
    models.retain(|(id, _)| route.allows(id));
    let name = door.model.as_deref().map(|name| percent_encoding::percent_decode_str(name).decode_utf8_lossy());
    let body = match &name {
        None => serde_json::to_vec(&list(&models)),
        Some(name) => match models.iter().find(|(id, _)| **id == **name) {
            Some((id, owner)) => serde_json::to_vec(&model(id, owner)),
            None => {
                let refusal =
                    Refusal::of_request(StatusCode::NOT_FOUND, "model_not_found", "there is no such model here");
                return refuse(session, ctx, refusal, door.dialect).await;
            }
        },
    };
    let answer = Answer {
        status: StatusCode::OK,
        content_type: HeaderValue::from_static("application/json"),
        body: body.map_or_else(|_| Bytes::from_static(b"{}"), Bytes::from),
        fields: vec![(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))],
    };
    local::send(session, ctx, answer).await
}

fn list(models: &[(Box<str>, Arc<str>)]) -> List<'_> {
    List {
        object: "list",
        data: models.iter().map(|(id, owner)| model(id, owner)).collect(),
        has_more: false,
        first_id: models.first().map(|(id, _)| &**id),
        last_id: models.last().map(|(id, _)| &**id),
    }
}

fn model<'a>(id: &'a str, owner: &'a str) -> Model<'a> {
    // Nobody knows when: both dialects want a time all the same.
    let created_at = "1970-01-01T00:00:00Z";
    Model { id, object: "model", created: 0, owned_by: owner, r#type: "model", display_name: id, created_at }
}

/// The names that may be asked for, each with its provider's.
async fn collect(route: &AiRoute, connector: &Arc<Connector>, ctx: &RequestContext) -> Vec<(Box<str>, Arc<str>)> {
    let state = &route.state;
    let mut models: Vec<(Box<str>, Arc<str>)> = Vec::new();
    // Of a name that several have, one is meant.
    let mut known: HashSet<Box<str>> = HashSet::new();
    for name in state.catalog.names() {
        let plan = state.catalog.plan(name);
        let providers = plan.iter().flat_map(|plan| &plan.candidates);
        let mut providers = providers.filter_map(|candidate| state.config.providers.get(candidate.provider));
        // What nobody serves is not offered.
        if let Some(owner) = providers.find(|provider| provider.enabled) {
            known.insert((&**name).into());
            models.push(((&**name).into(), Arc::clone(&owner.name)));
        }
    }
    if state.config.names_more_than_models() {
        for (provider, names) in learn(state, connector, ctx).await {
            let written = provider.models.iter().map(|name| &**name);
            for name in written.chain(names.iter().map(|name| &**name)) {
                for asked_as in asked_as(state, provider, name, &known) {
                    known.insert(asked_as.clone());
                    models.push((asked_as, Arc::clone(&provider.name)));
                }
            }
        }
    }
    models
}

/// What the providers that are on say they have: as they said it lately, or asked now.
pub async fn learn<'a>(
    state: &'a AiState,
    connector: &Arc<Connector>,
    ctx: &RequestContext,
) -> Vec<(&'a Arc<Provider>, Names)> {
    let providers = state.providers.iter().flatten().filter(|provider| provider.config.enabled);
    let lists = providers.map(|provider| async {
        let names = names(provider, connector, &state.listed, ctx).await;
        (&provider.config, names)
    });
    join_all(lists).await
}

/// The names by which a client gets to this model of this provider, but for those that are `known`.
fn asked_as(state: &AiState, provider: &Provider, name: &str, known: &HashSet<Box<str>>) -> Vec<Box<str>> {
    if !state.catalog.is_open() {
        let index = state.config.providers.iter().position(|it| it.name == provider.name);
        let names = index.into_iter().flat_map(|index| state.catalog.by_wildcard(index, name));
        return names.map(|name| Box::from(&*name)).filter(|name| !known.contains(name)).collect();
    }
    if known.contains(name) {
        return Vec::new();
    }
    let found = state.plan(name).and_then(|plan| plan.candidates.first().map(|first| first.provider));
    let found = found.and_then(|index| state.config.providers.get(index));
    if found.is_some_and(|found| found.name == provider.name) {
        vec![name.into()]
    } else {
        vec![format!("{}/{name}", provider.name).into()]
    }
}

async fn names(
    provider: &Arc<ProviderState>,
    connector: &Arc<Connector>,
    listed: &Listed,
    ctx: &RequestContext,
) -> Names {
    let now = clock::now();
    if let Some(known) = listed.known(&provider.config.name, now) {
        return known;
    }
    let fetched = tokio::time::timeout(PATIENCE, fetch(provider, connector, ctx)).await.ok().flatten();
    let names: Names = fetched.unwrap_or_default().into();
    // One that failed is not asked again at once either.
    listed.keep(&provider.config.name, &names, now);
    names
}

async fn fetch(
    provider: &Arc<ProviderState>,
    connector: &Arc<Connector>,
    ctx: &RequestContext,
) -> Option<Vec<Box<str>>> {
    let config = &provider.config;
    let path = match &config.kind {
        // Azure lists what could be deployed, not what is; Flow has no list.
        ProviderKind::AzureOpenAi { .. } | ProviderKind::Flow => return None,
        ProviderKind::Gemini => format!("{}/models?pageSize=1000", config.base_path),
        ProviderKind::Anthropic { .. } => format!("{}/models?limit=1000", config.base_path),
        ProviderKind::OpenAi | ProviderKind::OpenAiCompatible => format!("{}/models", config.base_path),
    };
    let now = clock::now();
    let key = provider.keys.pick(NO_MODEL, now, &[]);
    let probing = Probing::new(&provider.keys, key, NO_MODEL);
    if key.is_none() && !config.keys.is_empty() {
        return None;
    }
    let mut headers = HeaderMap::new();
    headers.insert(header::HOST, provider.host());
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    if let ProviderKind::Anthropic { version } = &config.kind {
        headers.insert("anthropic-version", version.clone());
    }
    if let Some(key) = key {
        let (name, value) = provider.key_field(key, now).ok()?;
        headers.insert(name, value);
    }
    headers.extend(config.headers.iter().cloned());
    let mut head = RequestHead::new(&Method::GET, &path)?;
    headers.iter().for_each(|(name, value)| head.field(name, value));
    let outgoing = Outgoing { head: head.end(), body: Bytes::new() };
    let no_fields = HeaderMap::new();
    let terms = Terms {
        client: ctx.client,
        path_and_query: &path,
        headers: &no_fields,
        tokens: 0,
        timeouts: AiTimeouts::default(),
        began: now,
        until: now + PATIENCE,
        on_kept: false,
        sent: &Sent::default(),
    };
    let called = call::call(provider, connector, &outgoing, &terms, &mut UpstreamRecord::default()).await;
    // A key may be good for chats and not for lists: one that is refused says nothing about it.
    if let Some(key) = key
        && called.as_ref().is_ok_and(|live| !matches!(live.status().as_u16(), 401 | 403))
    {
        provider.keys.succeeded(key, NO_MODEL, now);
        probing.over();
    } else {
        drop(probing);
    }
    let live = called.ok().filter(|live| live.status().is_success())?;
    let body = body_of(live, MOST, PATIENCE, terms.until).await.ok()?;
    Some(read_names(&body))
}

/// The names in a list of OpenAI's, Anthropic's or Gemini's shape.
fn read_names(body: &[u8]) -> Vec<Box<str>> {
    let Ok(list) = serde_json::from_slice::<Value>(body) else { return Vec::new() };
    let items = list.get("data").or_else(|| list.get("models")).and_then(Value::as_array);
    let name = |item: &Value| {
        let name = item.get("id").or_else(|| item.get("name"))?.as_str()?;
        Some(Box::from(name.strip_prefix("models/").unwrap_or(name)))
    };
    items.into_iter().flatten().filter_map(name).take(MOST_NAMES).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_of(body: &str) -> Vec<String> {
        read_names(body.as_bytes()).into_iter().map(String::from).collect()
    }

    #[test]
    fn lists_of_every_provider_are_read() {
        assert_eq!(names_of(r#"{"object":"list","data":[{"id":"gpt-4o"},{"id":"o3"}]}"#), ["gpt-4o", "o3"]);
        assert_eq!(names_of(r#"{"models":[{"name":"models/gemini-2.5-pro"}]}"#), ["gemini-2.5-pro"]);
        assert!(names_of("no json").is_empty());
        assert!(names_of(r#"{"data":[{"name":7},{}]}"#).is_empty());
    }
}
