//! One provider: what it is, where it is, and how it is asked.

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderName, HeaderValue, header};

use super::super::{Resolver, headers};
use super::keys::{self, Keys};
use super::route;
use super::site::{self, Site};
use crate::config::ai::{AiTimeouts, BOUNDS, KeyPlace, Provider, ProviderKind, Speech, wildcard};
use crate::config::problem::{Finding, KeyPath, Place};
use crate::config::raw::{RawAi, RawProvider};
use crate::config::values::{self, Wrong, quote};
use crate::config::{Member, MemberAddress, Pool};

/// The longest name of a model, in bytes.
const MAX_MODEL: usize = 256;
const ANTHROPIC_VERSION: &str = "2023-06-01";
const AZURE_VERSION: &str = "2024-10-21";

/// The place of the pool of a provider that has none, because it is switched off.
const NO_POOL: usize = usize::MAX;

/// A provider's kind as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    OpenAi,
    Anthropic,
    Azure,
    Gemini,
    Compatible,
    Flow,
}

impl Kind {
    const NAMES: [(&'static str, Self); 6] = [
        ("openai", Self::OpenAi),
        ("anthropic", Self::Anthropic),
        ("azure_openai", Self::Azure),
        ("gemini", Self::Gemini),
        ("openai_compatible", Self::Compatible),
        ("flow", Self::Flow),
    ];

    pub(super) fn as_str(self) -> &'static str {
        Self::NAMES.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }

    /// The kind that is called `name` in other products.
    fn elsewhere(name: &str) -> Option<Self> {
        match name {
            "azure" | "azure_ai" => Some(Self::Azure),
            "claude" => Some(Self::Anthropic),
            "google" | "googleai" | "google_ai_studio" => Some(Self::Gemini),
            "vllm" | "hosted_vllm" | "sglang" | "ollama" | "ollama_chat" | "lm_studio" | "lmstudio" | "llama.cpp"
            | "llamacpp" | "localai" | "tgi" | "litellm" | "custom_openai" | "openrouter" | "groq" | "mistral"
            | "deepseek" | "together_ai" | "xai" => Some(Self::Compatible),
            _ => None,
        }
    }

    /// Where it is when the file says nothing.
    pub(super) fn base_url(self) -> Option<&'static str> {
        match self {
            Self::OpenAi => Some("https://api.openai.com/v1"),
            Self::Anthropic => Some("https://api.anthropic.com/v1"),
            Self::Gemini => Some("https://generativelanguage.googleapis.com/v1beta"),
            Self::Flow => Some("https://flow.ciandt.com/flow-llm-proxy"),
            Self::Azure | Self::Compatible => None,
        }
    }

    /// The path of a URL that has none. Those of Azure begin with `/openai` and are made with the request; Flow keeps
    /// the client's own.
    pub(super) fn base_path(self) -> &'static str {
        match self {
            Self::OpenAi | Self::Anthropic | Self::Compatible => "/v1",
            Self::Gemini => "/v1beta",
            Self::Azure | Self::Flow => "",
        }
    }

    /// Whether it answers nobody without a key.
    pub(super) fn needs_keys(self) -> bool {
        matches!(self, Self::OpenAi | Self::Anthropic | Self::Azure | Self::Gemini)
    }

    fn key_place(self) -> KeyPlace {
        match self {
            Self::OpenAi | Self::Compatible | Self::Flow => KeyPlace::Bearer,
            Self::Anthropic => KeyPlace::Header(HeaderName::from_static("x-api-key")),
            Self::Azure => KeyPlace::Header(HeaderName::from_static("api-key")),
            Self::Gemini => KeyPlace::Header(HeaderName::from_static("x-goog-api-key")),
        }
    }
}

/// The providers in the order of their names. The pools that they bring are added to `pools`.
pub(super) fn providers(
    path: &KeyPath,
    raw: &RawAi,
    timeouts: &AiTimeouts,
    pools: &mut Vec<Arc<Pool>>,
    resolver: &mut Resolver<'_>,
) -> Vec<Arc<Provider>> {
    let path = path.key("providers");
    let Some(list) = &raw.providers else {
        let example = "a map such as `openai: { kind: openai, keys: [\"${OPENAI_API_KEY:-}\"] }`";
        resolver.missing(&path.parent(), "providers", example);
        return Vec::new();
    };
    if list.0.is_empty() {
        resolver.report(Finding::value(&path, "there are no providers").expected("one at least"));
    }
    let mut found = Vec::new();
    for (name, raw) in &list.0 {
        let path = path.key(name);
        resolver.section_name(&path, name, "a provider");
        // One that was refused still is a provider that models may name.
        let absent = RawProvider::default();
        found.push(provider(&path, name, raw.as_ref().unwrap_or(&absent), timeouts, pools, resolver));
    }
    found.sort_by(|(one, _), (other, _)| one.name.cmp(&other.name));
    let mut providers = Vec::new();
    for (mut provider, pool) in found {
        if let Some(pool) = pool {
            provider.pool = pools.len();
            pools.push(Arc::new(pool));
        }
        providers.push(Arc::new(provider));
    }
    if !providers.is_empty() && providers.iter().all(|provider| !provider.enabled) {
        let finding = Finding::key(&path, "every provider is switched off: all requests are answered with 503");
        resolver.warn(finding);
    }
    providers
}

fn provider(
    path: &KeyPath,
    name: &str,
    raw: &RawProvider,
    timeouts: &AiTimeouts,
    pools: &[Arc<Pool>],
    resolver: &mut Resolver<'_>,
) -> (Provider, Option<Pool>) {
    let kind = |text: &str| {
        values::one_of(text, "a kind of provider", &Kind::NAMES).map_err(|wrong| match Kind::elsewhere(text) {
            Some(kind) => wrong.hint(format!("write `kind: {}`", kind.as_str())),
            None => wrong,
        })
    };
    let known = resolver.get(&path.key("kind"), &raw.kind, kind);
    if raw.kind.is_none() {
        resolver.missing(path, "kind", "openai, anthropic, azure_openai, gemini, openai_compatible or flow");
    }
    let enabled = resolver.boolean(&path.key("enabled"), &raw.enabled, true);
    let Some(kind) = known else {
        return (unknown(name), None);
    };
    out_of_place(path, raw, kind, resolver);
    let Site { pool, made, host, base_path, lacking } = site::site(path, name, raw, kind, timeouts, pools, resolver);
    let Keys { keys, lacking: no_key } = keys::keys(path, raw, kind, enabled, resolver);
    let lacking = lacking.or(no_key).filter(|_| enabled);
    if let Some((key, why)) = &lacking {
        let finding = Finding::value(&path.key(key), format!("{why}: this provider is switched off"));
        resolver.warn(finding.hint("requests that only it could answer get 503; `enabled: false` says so on purpose"));
    }
    let enabled = enabled && lacking.is_none();
    if enabled && !keys.is_empty() && made.as_ref().is_some_and(in_the_open) {
        let finding = Finding::value(&path.key("base_url"), "keys go to this address in plain text");
        resolver.warn(finding.hint("write https://, unless every machine on the way is yours"));
    }
    let key_place = key_place(path, raw, kind, resolver);
    let (headers, named_host) = fields(path, raw, (!keys.is_empty()).then_some(&key_place), resolver);
    let provider = Provider {
        name: name.into(),
        kind: described(path, raw, kind, resolver),
        pool: pool.unwrap_or(NO_POOL),
        host: named_host.or(host),
        base_path,
        keys,
        key_place,
        models: resolver.list(&path.key("models"), raw.models.as_ref(), model_name),
        headers,
        speaks: resolver.list(&path.key("speaks"), raw.speaks.as_ref(), |text| speech(text, kind)),
        strip_body_fields: resolver.list(
            &path.key("strip_body_fields"),
            raw.strip_body_fields.as_ref(),
            stripped_field,
        ),
        enabled,
        lacks: lacking.map(|(_, why)| why),
    };
    (provider, made.filter(|_| enabled))
}

/// A field that this provider does not get. By a bound of the answer it is known what is set aside for all targets.
fn stripped_field(text: &str) -> Result<String, Wrong> {
    if BOUNDS.contains(&text) {
        let wrong = Wrong::new(format!("{} bounds what a request uses at every target", quote(text)));
        return Err(wrong.hint("take it out on the route, in `ai: { strip_body_fields: [...] }`"));
    }
    route::stripped_field(text)
}

/// Whether what is sent leaves the networks that belong to an operator, unencrypted. Of a name without a dot or one that
/// ends in `.internal` or `.local` that is not assumed.
fn in_the_open(pool: &Pool) -> bool {
    let public = |member: &Member| match &member.address {
        MemberAddress::Unix(_) => false,
        MemberAddress::Socket(address) => match address.ip().to_canonical() {
            IpAddr::V4(ip) => !(ip.is_loopback() || ip.is_private() || ip.is_link_local()),
            IpAddr::V6(ip) => !(ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local()),
        },
        MemberAddress::Host { host, .. } => {
            let own = [".internal", ".local", ".localhost", ".lan"];
            host.contains('.') && !own.iter().any(|end| host.ends_with(end))
        }
    };
    pool.tls.is_none() && pool.members.iter().any(public)
}

/// One of which nothing is known but its name.
fn unknown(name: &str) -> Provider {
    Provider {
        name: name.into(),
        kind: ProviderKind::OpenAiCompatible,
        pool: NO_POOL,
        host: None,
        base_path: String::new(),
        keys: Vec::new(),
        key_place: KeyPlace::Bearer,
        models: Vec::new(),
        headers: Vec::new(),
        speaks: Vec::new(),
        strip_body_fields: Vec::new(),
        enabled: false,
        lacks: None,
    }
}

/// Refuses what has a meaning only for other kinds.
fn out_of_place(path: &KeyPath, raw: &RawProvider, kind: Kind, resolver: &mut Resolver<'_>) {
    use Kind::{Anthropic, Azure, Compatible, Flow, Gemini, OpenAi};
    let with_keys: &[Kind] = &[OpenAi, Anthropic, Azure, Gemini, Compatible];
    let all: [(&str, bool, &[Kind], &str); 6] = [
        ("keys", raw.keys.is_some(), with_keys, "Flow is asked with the client credentials in `credentials`"),
        ("key_header", raw.key_header.is_some(), with_keys, "tokens of Flow stand in Authorization"),
        ("credentials", raw.credentials.is_some(), &[Flow], "other kinds are asked with `keys`"),
        ("api_version", raw.api_version.is_some(), &[Azure, Anthropic], "remove it"),
        ("deployments", raw.deployments.is_some(), &[Azure], "what a provider calls a model stands in `ai.models`"),
        ("speaks", raw.speaks.is_some(), &[OpenAi, Azure, Compatible], "what this kind speaks is known"),
    ];
    for (key, given, kinds, hint) in all {
        if given && !kinds.contains(&kind) {
            let message = format!("`{key}` has no meaning for a provider of the kind {}", kind.as_str());
            resolver.report(Finding::key(&path.key(key), message).hint(hint));
        }
    }
}

/// The kind with what belongs to it.
fn described(path: &KeyPath, raw: &RawProvider, kind: Kind, resolver: &mut Resolver<'_>) -> ProviderKind {
    let version = resolver.get(&path.key("api_version"), &raw.api_version, api_version);
    match kind {
        Kind::OpenAi => ProviderKind::OpenAi,
        Kind::Anthropic => {
            let version = version.and_then(|version| HeaderValue::from_str(&version).ok());
            ProviderKind::Anthropic { version: version.unwrap_or(HeaderValue::from_static(ANTHROPIC_VERSION)) }
        }
        Kind::Azure => ProviderKind::AzureOpenAi {
            api_version: version.unwrap_or_else(|| AZURE_VERSION.to_owned()),
            deployments: deployments(&path.key("deployments"), raw, resolver),
        },
        Kind::Gemini => ProviderKind::Gemini,
        Kind::Compatible => ProviderKind::OpenAiCompatible,
        Kind::Flow => ProviderKind::Flow,
    }
}

fn speech(text: &str, kind: Kind) -> Result<Speech, Wrong> {
    let words = [("messages", Speech::Messages), ("responses", Speech::Responses)];
    match values::one_of(text, "a dialect", &words)? {
        Speech::Responses if matches!(kind, Kind::OpenAi | Kind::Azure) => {
            Err(Wrong::new(format!("{} speaks `responses` as it is", kind.as_str())).hint("remove it"))
        }
        speech => Ok(speech),
    }
}

/// It stands in a query or a header, so it is plain.
fn api_version(text: &str) -> Result<String, Wrong> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if (1..=64).contains(&text.len()) && text.bytes().all(plain) {
        return Ok(text.to_owned());
    }
    Err(Wrong::not(text, "a version of an API").expected("one such as 2024-10-21"))
}

fn deployments(path: &KeyPath, raw: &RawProvider, resolver: &mut Resolver<'_>) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (model, deployment) in raw.deployments.iter().flat_map(|named| named.items()) {
        let path = path.key(model);
        if let Err(wrong) = model_name(model) {
            resolver.wrong_at(Place::Key(path.clone()), wrong);
        }
        let name = resolver.get(&path, &Some(deployment.to_owned()), |text| values::name(text, "a deployment"));
        found.extend(name.map(|name| (model.to_owned(), name)));
    }
    found
}

/// The name of a model, as clients and providers write it, or a wildcard: what names begin with, and a `*`.
pub(super) fn model_or_wildcard(text: &str) -> Result<Arc<str>, Wrong> {
    match wildcard(text) {
        Some("") => Ok(text.into()),
        Some(start) => model_name(start).map(|_| text.into()),
        None => model_name(text),
    }
}

/// The name of a model, as clients and providers write it.
pub(super) fn model_name(text: &str) -> Result<Arc<str>, Wrong> {
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"\"\\<>{}`*".contains(&byte);
    if (1..=MAX_MODEL).contains(&text.len()) && text.bytes().all(plain) {
        return Ok(text.into());
    }
    if text.contains('*') {
        let wrong = Wrong::not(text, "the name of a model").expected("a name such as gpt-4o");
        return Err(
            wrong.hint("a `*` takes many names at the end of one under `ai.models`, as in gpt-*, and nowhere else")
        );
    }
    Err(Wrong::not(text, "the name of a model")
        .expected("one such as gpt-4o or meta-llama/Llama-3-70b, without spaces"))
}

/// Where the key goes.
fn key_place(path: &KeyPath, raw: &RawProvider, kind: Kind, resolver: &mut Resolver<'_>) -> KeyPlace {
    let parse = |text: &str| {
        let name = values::header_name(text)?;
        if name == header::AUTHORIZATION {
            return Ok(KeyPlace::Bearer);
        }
        if headers::of_connection(&name) || [header::HOST, header::COOKIE, header::CONTENT_TYPE].contains(&name) {
            return Err(Wrong::not(text, "a header of its own").expected("one such as x-api-key, or Authorization"));
        }
        Ok(KeyPlace::Header(name))
    };
    let found = resolver.get(&path.key("key_header"), &raw.key_header, parse);
    if raw.key_header.is_some() && raw.keys.is_none() && kind == Kind::Compatible {
        let finding = Finding::key(&path.key("key_header"), "there is no key that could stand there");
        resolver.report(finding.expected("`keys` beside it"));
    }
    found.unwrap_or_else(|| kind.key_place())
}

/// The fields that every request gets, and what they say of Host.
fn fields(
    path: &KeyPath,
    raw: &RawProvider,
    of_key: Option<&KeyPlace>,
    resolver: &mut Resolver<'_>,
) -> (Vec<(HeaderName, HeaderValue)>, Option<HeaderValue>) {
    let path = path.key("headers");
    let taken = of_key.map(|place| match place {
        KeyPlace::Bearer => header::AUTHORIZATION,
        KeyPlace::Header(name) => name.clone(),
    });
    let (mut found, mut host): (Vec<(HeaderName, HeaderValue)>, _) = (Vec::new(), None);
    for (text, value) in raw.headers.iter().flat_map(|named| named.items()) {
        let path = path.key(text);
        let Some(name) = headers::name(&path, text, true, resolver) else { continue };
        if Some(&name) == taken.as_ref() {
            let finding = Finding::key(&path, format!("the key goes into {}", quote(name.as_str())));
            resolver.report(finding.hint("remove this, or name another field in `key_header`"));
        }
        if found.iter().any(|(other, _)| *other == name) {
            let finding = Finding::key(&path, "this header is set twice");
            resolver.report(finding.hint("the case of a header has no meaning"));
        }
        let Some(mut value) = headers::value(&path, value, resolver) else { continue };
        if name == header::HOST {
            host = Some(value);
        } else {
            // What tells a gateway from others is often a secret, whatever its name.
            value.set_sensitive(true);
            found.push((name, value));
        }
    }
    (found, host)
}
