//! The request as a provider gets it: the client's own fields where both speak the same dialect, without any that could
//! carry a credential, a cookie or an address; our key; the body, changed only where it has to be.
//!
//! **Invariant:** no field of the client's reaches a provider that could name a key, an organization, a cookie or an
//! address, but where the route forwards credentials to a pool that has no keys of ours. No rule of a route names the key or
//! the address of a provider that has its own.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use super::call::Outgoing;
use super::job::is_json;
use crate::ai::door::Operation;
use crate::ai::way::{self, Way};
use crate::auth::Hidden;
use crate::config::ai::ProviderKind;
use crate::proxy::context::RequestContext;
use crate::proxy::forward::{complete_headers, is_stripped, nominated_by_client};
use crate::proxy::headers::{begins_as, reads_as};
use crate::proxy::rejection::Rejection;
use crate::snapshot::ai::ProviderState;
use crate::transport::http1::RequestHead;
use crate::transport::session::Session;

static HOST: HeaderName = header::HOST;
static ACCEPT_ENCODING: HeaderName = header::ACCEPT_ENCODING;
static CONTENT_TYPE: HeaderName = header::CONTENT_TYPE;
static ANTHROPIC_VERSION: HeaderName = HeaderName::from_static("anthropic-version");
static IDENTITY: HeaderValue = HeaderValue::from_static("identity");
static JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Fields that [`complete_headers`] adds at most, about.
const OURS: usize = 10;

/// Fields of a client that carry credentials, beside those that this gateway reads.
const CREDENTIALS: [&str; 4] = ["authorization", "x-api-key", "api-key", "x-goog-api-key"];

/// Fields of a client that are no provider's business, or that choose what a key of ours pays for.
const PRIVATE: [&str; 17] = [
    "host",
    "content-length",
    "transfer-encoding",
    "expect",
    "cookie",
    "origin",
    "referer",
    "range",
    "proxy-authorization",
    "openai-organization",
    "openai-project",
    "x-goog-user-project",
    "x-ms-client-principal",
    "ocp-apim-subscription-key",
    "x-data-parallel-rank",
    "x-http-method-override",
    "x-method-override",
];

/// How fields begin by which other gateways, which a provider may be, are told where to go and with what.
const STEERING: [&str; 12] = [
    "x-portkey-",
    "helicone-",
    "x-litellm-",
    "cf-aig-",
    "x-sluicegate-",
    "x-base-url",
    "x-api-base",
    "x-target-",
    "x-upstream-",
    "x-smg-",
    "x-gateway-",
    "x-envoy-",
];

fn is_credential(name: &HeaderName) -> bool {
    CREDENTIALS.iter().any(|known| reads_as(name.as_str(), known))
}

fn is_private(name: &HeaderName) -> bool {
    let name = name.as_str();
    PRIVATE.iter().any(|known| reads_as(name, known)) || STEERING.iter().any(|of| begins_as(name, of))
}

/// Fields that tell of the client, which a provider outside of the fleet does not learn.
const FORWARDING: [HeaderName; 7] = [
    header::FORWARDED,
    header::VIA,
    HeaderName::from_static("x-real-ip"),
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-forwarded-port"),
];

/// Fields of a client that go on in another dialect, too.
const OF_THE_TRACE: [HeaderName; 4] = [
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    header::USER_AGENT,
];

/// Other fields that do not change what a model says, as they are sent by the usual clients and by what stands before us.
const HARMLESS: [&str; 19] = [
    "accept",
    "accept-encoding",
    "cache-control",
    "connection",
    "content-type",
    "date",
    "dnt",
    "idempotency-key",
    "keep-alive",
    "pragma",
    "priority",
    "sec-fetch-dest",
    "sec-fetch-mode",
    "sec-fetch-site",
    "traceparent",
    "tracestate",
    "user-agent",
    "x-request-id",
    "x-amzn-trace-id",
];

/// To whom a request goes.
pub struct To<'a> {
    /// The provider.
    pub provider: &'a ProviderState,
    /// In which dialect.
    pub way: Way,
    /// What it calls the model.
    pub model: &'a str,
    /// Whether a stream is wanted.
    pub streams: bool,
    /// The field of its key.
    pub key: Option<(HeaderName, HeaderValue)>,
}

/// What all tries of a request share.
pub struct Draft {
    /// What is asked for.
    pub operation: Operation,
    /// The client's path.
    pub path: String,
    /// The client's query.
    pub query: Option<String>,
    /// The client's fields, cleaned, with ids and what members are told of the client.
    headers: HeaderMap,
    /// Credentials of the client, where the route forwards them.
    credentials: Vec<(HeaderName, HeaderValue)>,
    /// What the route's rules set and add, which goes on in every dialect and to everybody.
    ruled: Vec<(HeaderName, HeaderValue)>,
}

impl Draft {
    /// What tries for the request of `session` share.
    ///
    /// # Errors
    /// When its fields cannot be forwarded.
    pub fn new(session: &Session<'_>, ctx: &RequestContext, operation: Operation) -> Result<Self, Rejection> {
        let request = session.req_header();
        let forwards = ctx.route.as_ref().is_some_and(|route| route.config.forward_credentials);
        let nominated = nominated_by_client(&request.headers)?;
        let auth = ctx.snapshot.auth.as_deref();
        let is_ours = |name: &HeaderName| {
            auth.is_some_and(|auth| auth.names(Hidden::ALL).any(|ours| reads_as(name.as_str(), ours.as_str())))
        };
        let mut headers = HeaderMap::with_capacity(request.headers.len() + OURS);
        let mut credentials = Vec::new();
        for (name, value) in &request.headers {
            if is_stripped(name, &nominated) || is_private(name) {
                continue;
            }
            if !is_credential(name) && !is_ours(name) {
                headers.append(name.clone(), value.clone());
            } else if forwards {
                credentials.push((name.clone(), value.clone()));
            }
        }
        if !operation.takes_form() && !is_json(&headers) {
            // It was read, and is JSON, whatever curl calls it.
            headers.insert(&CONTENT_TYPE, JSON.clone());
        }
        complete_headers(&mut headers, ctx)?;
        let rules = ctx.route.as_ref().map(|route| &route.config.request_headers);
        let ruled = rules.into_iter().flat_map(|rules| rules.set.iter().chain(&rules.add)).cloned().collect();
        Ok(Self {
            operation,
            path: request.uri.path().to_owned(),
            query: request.uri.query().map(str::to_owned),
            headers,
            credentials,
            ruled,
        })
    }

    /// What else of the request than its body may change the answer: its query, all fields that a provider gets of the
    /// client's but those that only tell of it, and credentials that are forwarded. In one order, whatever theirs was.
    pub fn variant(&self) -> Vec<(&str, &[u8])> {
        let harmless = |name: &HeaderName| {
            FORWARDING.contains(name) || HARMLESS.contains(&name.as_str()) || name.as_str().starts_with("x-stainless-")
        };
        let fields = self.headers.iter().filter(|(name, _)| !harmless(name));
        let credentials = self.credentials.iter().map(|(name, value)| (name, value));
        let fields = fields.chain(credentials).map(|(name, value)| (name.as_str(), value.as_bytes()));
        let mut variant: Vec<_> = fields.chain(self.query.as_deref().map(|query| ("?", query.as_bytes()))).collect();
        // A stable sort: the values of one field keep their order.
        variant.sort_by_key(|(name, _)| *name);
        variant
    }

    /// The fields by which members are chosen.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The request with `body`.
    ///
    /// # Errors
    /// When it cannot be written down.
    pub fn outgoing(&self, to: To<'_>, body: Bytes) -> Result<Outgoing, Rejection> {
        let To { provider, way, model, streams, key } = to;
        let host = provider.host();
        let provider = &*provider.config;
        let (path, query) = (&self.path, self.query.as_deref());
        let target = way::target(provider, self.operation, way, model, streams, path, query);
        let mut head = RequestHead::new(&Method::POST, &target).ok_or(Rejection::Internal)?;

        let mut ours = Vec::with_capacity(8);
        ours.extend([(&HOST, &host), (&ACCEPT_ENCODING, &IDENTITY)]);
        if way != Way::Pass {
            ours.push((&CONTENT_TYPE, &JSON));
        }
        let is_ruled = |name: &HeaderName| self.ruled.iter().any(|(ruled, _)| ruled == name);
        if let ProviderKind::Anthropic { version } = &provider.kind
            && !(way == Way::Pass && self.headers.contains_key(&ANTHROPIC_VERSION))
            && !is_ruled(&ANTHROPIC_VERSION)
        {
            ours.push((&ANTHROPIC_VERSION, version));
        }
        match &key {
            Some((name, value)) => ours.push((name, value)),
            None if provider.keys.is_empty() => {
                ours.extend(self.credentials.iter().map(|(name, value)| (name, value)));
            }
            None => {}
        }
        for (name, value) in &provider.headers {
            ours.retain(|(other, _)| *other != name);
            ours.push((name, value));
        }
        ours.iter().for_each(|(name, value)| head.field(name, value));
        let outside = provider.host.is_some();
        let passes = |name: &HeaderName| match way {
            Way::Pass => !(outside && FORWARDING.contains(name)),
            Way::Translate(_) => OF_THE_TRACE.contains(name),
        };
        let of_client = self.headers.iter().filter(|(name, _)| passes(name));
        // Of the others those of the route's rules go all the same, without what a client said under their names.
        let ruled = self.ruled.iter().map(|(name, value)| (name, value)).filter(|(name, _)| !passes(name));
        for (name, value) in of_client.chain(ruled) {
            if !ours.iter().any(|(ours, _)| reads_as(name.as_str(), ours.as_str())) {
                head.field(name, value);
            }
        }
        Ok(Outgoing { head: head.finish(body.len()), body })
    }
}
