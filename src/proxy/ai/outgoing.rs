//! The request as a provider gets it: the client's own fields where both speak the same dialect, without any that could
//! carry a credential, a cookie or an address; our key; the body, changed only where it has to be.
//!
//! **Invariant:** no field of the client's reaches a provider that could name a key, an organization or a cookie, but
//! where the route forwards credentials to a pool that has no keys of ours.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header};
use pingora::http::RequestHeader;
use pingora_proxy::Session;

use super::call::Outgoing;
use crate::ai::door::Operation;
use crate::ai::way::{self, Way};
use crate::config::ai::ProviderKind;
use crate::proxy::context::RequestContext;
use crate::proxy::forward::{complete_headers, strip_request};
use crate::proxy::rejection::Rejection;
use crate::snapshot::ai::ProviderState;

const ANTHROPIC_VERSION: HeaderName = HeaderName::from_static("anthropic-version");
const IDENTITY: HeaderValue = HeaderValue::from_static("identity");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Fields of a client that carry credentials.
const CREDENTIALS: [HeaderName; 5] = [
    header::AUTHORIZATION,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("api-key"),
    HeaderName::from_static("x-goog-api-key"),
    header::PROXY_AUTHORIZATION,
];

/// Fields of a client that are no provider's business, or that choose what a key of ours pays for.
const PRIVATE: [HeaderName; 12] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::EXPECT,
    header::COOKIE,
    header::ORIGIN,
    header::REFERER,
    header::RANGE,
    HeaderName::from_static("openai-organization"),
    HeaderName::from_static("openai-project"),
    HeaderName::from_static("x-goog-user-project"),
    HeaderName::from_static("x-ms-client-principal"),
];

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
}

impl Draft {
    /// What tries for the request of `session` share.
    ///
    /// # Errors
    /// When its fields cannot be forwarded.
    pub fn new(session: &Session, ctx: &RequestContext, operation: Operation) -> Result<Self, Rejection> {
        let request = session.req_header();
        let mut headers = request.headers.clone();
        strip_request(&mut headers)?;
        let forwards = ctx.route.as_ref().is_some_and(|route| route.config.forward_credentials);
        let mut credentials = Vec::new();
        for name in &CREDENTIALS {
            let values = headers.get_all(name).iter();
            credentials.extend(values.filter(|_| forwards).map(|value| (name.clone(), value.clone())));
            headers.remove(name);
        }
        for name in &PRIVATE {
            headers.remove(name);
        }
        complete_headers(&mut headers, ctx)?;
        Ok(Self {
            operation,
            path: request.uri.path().to_owned(),
            query: request.uri.query().map(str::to_owned),
            headers,
            credentials,
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
        let mut headers = match way {
            Way::Pass => self.headers.clone(),
            Way::Translate(_) => self.translated(),
        };
        if provider.host.is_some() {
            for name in &FORWARDING {
                headers.remove(name);
            }
        }
        headers.insert(header::HOST, host);
        headers.insert(header::ACCEPT_ENCODING, IDENTITY);
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        if let ProviderKind::Anthropic { version } = &provider.kind
            && !headers.contains_key(ANTHROPIC_VERSION)
        {
            headers.insert(ANTHROPIC_VERSION, version.clone());
        }
        match key {
            Some((name, value)) => {
                headers.insert(name, value);
            }
            None if provider.keys.is_empty() => {
                for (name, value) in &self.credentials {
                    headers.append(name.clone(), value.clone());
                }
            }
            None => {}
        }
        for (name, value) in &provider.headers {
            headers.insert(name.clone(), value.clone());
        }
        let (path, query) = (&self.path, self.query.as_deref());
        let target = way::target(provider, self.operation, way, model, streams, path, query);
        let (mut parts, ()) = http::Request::new(()).into_parts();
        parts.method = Method::POST;
        parts.version = Version::HTTP_11;
        parts.uri = target.parse().map_err(|_| Rejection::Internal)?;
        parts.headers = headers;
        Ok(Outgoing { header: Box::new(RequestHeader::from(parts)), body })
    }

    /// The fields of a request in another dialect: none of the client's own but those of the trace.
    fn translated(&self) -> HeaderMap {
        const KEPT: [&str; 4] = ["x-request-id", "traceparent", "tracestate", "user-agent"];
        let kept = self.headers.iter().filter(|(name, _)| KEPT.contains(&name.as_str()));
        let mut headers: HeaderMap = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
        headers.insert(header::CONTENT_TYPE, JSON);
        headers
    }
}
