//! Pass 3: the shape of the file: which keys there are, and where a list, a map or a value stands.
//!
//! A mirror without meaning: every scalar is text, every key may be absent. [`read`] reports all misshapen parts in
//! one run: it takes the part that an error names out of the tree and reads again, until the rest fits.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::document::{Content, Node};
use super::problem::{Finding, KeyPath, MAX_PROBLEMS, Place, Step, list, nearest};

mod ai;
mod audit;
mod auth;
mod caches;
mod cors;
mod elsewhere;
mod forms;
mod jwt;
mod limits;
mod node;
mod sanitize;

pub(super) use ai::{
    RawAi, RawAiTimeouts, RawBreaker, RawHold, RawLongContext, RawModel, RawPrice, RawPrices, RawProvider,
    RawProviderKey, RawRouteAi, RawTarget, RawTiers,
};
pub(super) use audit::{RawAlerts, RawAudit, RawWebhook};
pub(super) use auth::{RawApiKey, RawApiKeys, RawAuth, RawKeyFile, RawPreviousSecret};
pub(super) use caches::{RawCache, RawRouteCache};
pub(super) use cors::RawCors;
pub(super) use forms::{Named, OneOrMany, Or, SHORT_FORM, SHORT_FORM_OR_TARGETS, Short};
pub(super) use jwt::{RawJwt, RawRevoked};
pub(super) use limits::{RawLimit, RawNumbers};
use node::ShapeError;
pub(super) use sanitize::{RawSanitize, RawSanitizeRule};

/// A scalar. Its text is given a meaning by `resolve`.
pub(super) type Text = Option<String>;

/// The keys of a route's `match`, under the names that other proxies give them too.
const MATCH: [&str; 6] = ["host", "hosts", "path", "method", "methods", "header"];

/// Reads the shape of `root`. What does not fit is reported and refused in `root`.
pub(super) fn read<T: DeserializeOwned + Default>(
    root: &mut Node,
    findings: &mut Vec<Finding>,
    meant: &mut Vec<KeyPath>,
) -> T {
    // Each round reports one; what is beyond the most that is shown need not be found.
    for _ in 0..=MAX_PROBLEMS {
        let error = match serde_path_to_error::deserialize::<_, T>(&*root) {
            Ok(raw) => return raw,
            Err(error) => error,
        };
        let steps = error.path().iter().filter_map(|segment| match segment {
            serde_path_to_error::Segment::Seq { index } => Some(Step::Index(*index)),
            serde_path_to_error::Segment::Map { key } => Some(Step::Key(key.clone())),
            _ => None,
        });
        let path = KeyPath(steps.collect());
        let unknown_key = matches!(error.inner(), ShapeError::UnknownKey { .. });
        if let ShapeError::UnknownKey { key, known } = error.inner()
            && let Some(near) = meant_by(key, known)
            && let Some((_, parent)) = path.0.split_last()
        {
            meant.push(KeyPath(parent.to_vec()).key(near));
        }
        findings.push(describe(&path, error.into_inner()));
        root.refuse(&path.0, unknown_key);
        if path.0.is_empty() {
            break;
        }
    }
    root.content = Content::default();
    T::default()
}

/// Whether `key` stands on a route and belongs into its `match`.
fn of_match(key: &str, known: &[&str]) -> bool {
    MATCH.contains(&key) && known.contains(&"match")
}

/// The key that `key` probably is here.
fn meant_by(key: &str, known: &'static [&'static str]) -> Option<&'static str> {
    match elsewhere::hint(key, known) {
        Some((_, here)) => here,
        None if of_match(key, known) => Some("match"),
        None => nearest_known(key, known),
    }
}

/// The key whose name is nearest.
fn nearest_known(key: &str, known: &'static [&'static str]) -> Option<&'static str> {
    nearest(key, known.iter().copied())
}

fn describe(path: &KeyPath, error: ShapeError) -> Finding {
    match error {
        ShapeError::Misshapen { found, expected } => Finding::value(path, found).expected(expected),
        ShapeError::UnknownKey { key, known } => {
            let finding = Finding::new(Place::Key(path.clone()), "unknown key");
            if let Some((hint, _)) = elsewhere::hint(&key, known) {
                return finding.hint(hint);
            }
            match nearest_known(&key, known) {
                _ if key == "<<" => finding.hint("merge keys are not part of this language; write the keys out"),
                _ if of_match(&key, known) => finding.hint("what a route takes stands under its `match`"),
                Some(near) => finding.hint(format!("did you mean `{near}`?")),
                None => finding.expected(format!("one of {}", list(known))),
            }
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawConfig {
    pub(super) listen: Option<OneOrMany<Or<RawListener>>>,
    pub(super) admin: Option<Or<RawAdmin>>,
    pub(super) server: Option<RawServer>,
    pub(super) log: Option<RawLog>,
    pub(super) security_headers: Text,
    pub(super) pools: Option<Named<RawPool>>,
    pub(super) routes: Option<OneOrMany<RawRoute>>,
    pub(super) auth: Option<RawAuth>,
    pub(super) limits: Option<Named<RawLimit>>,
    pub(super) caches: Option<Named<RawCache>>,
    pub(super) sanitize: Option<Named<RawSanitize>>,
    pub(super) ai: Option<RawAi>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawListener {
    pub(super) address: Text,
    pub(super) redirect_https: Option<Or<RawRedirectHttps>>,
    pub(super) http2: Text,
    pub(super) tls: Option<RawTls>,
}

impl Short for RawListener {
    const EXPECTING: &'static str = "an address such as 0.0.0.0:80, or a map with `address`";
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawRedirectHttps {
    pub(super) port: Text,
}

impl Short for RawRedirectHttps {
    const EXPECTING: &'static str = "true, false, a port, or a map with `port`";
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawTls {
    pub(super) min_version: Text,
    pub(super) certificates: Option<OneOrMany<RawCertificate>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawCertificate {
    pub(super) cert: Text,
    pub(super) key: Text,
    pub(super) bundle: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawAdmin {
    pub(super) address: Text,
    pub(super) token: Text,
}

impl Short for RawAdmin {
    const EXPECTING: &'static str = "an address such as 127.0.0.1:8404, or a map with `address` and `token`";
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawServer {
    pub(super) instance_id: Text,
    pub(super) threads: Text,
    pub(super) environment: Text,
    pub(super) max_connections: Text,
    pub(super) trusted_proxies: Option<OneOrMany<String>>,
    pub(super) max_body: Text,
    pub(super) max_header: Text,
    pub(super) keepalive_requests: Text,
    pub(super) upstream_keepalive: Text,
    pub(super) busy_polling: Text,
    pub(super) core_dumps: Text,
    pub(super) state_dir: Text,
    pub(super) timeouts: Option<RawServerTimeouts>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawServerTimeouts {
    pub(super) header: Text,
    pub(super) keepalive: Text,
    pub(super) client_idle: Text,
    pub(super) handshake: Text,
    pub(super) drain: Text,
    pub(super) handover: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawLog {
    pub(super) level: Text,
    pub(super) format: Text,
    pub(super) file: Text,
    pub(super) access: Option<Or<RawAccess>>,
    pub(super) audit: Option<Or<RawAudit>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawAccess {
    pub(super) file: Text,
    pub(super) format: Text,
}

impl Short for RawAccess {
    const EXPECTING: &'static str = "off, the path of a file, or a map with `file`";
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawPool {
    pub(super) members: Option<OneOrMany<Or<RawMember>>>,
    pub(super) balance: Text,
    pub(super) health_check: Option<Or<RawHealthCheck>>,
    pub(super) outlier: Option<Or<RawOutlier>>,
    pub(super) max_requests_per_member: Text,
    pub(super) slow_start: Text,
    pub(super) timeouts: Option<RawUpstreamTimeouts>,
    pub(super) retry: Option<Or<RawRetry>>,
    pub(super) tls: Option<Or<RawUpstreamTls>>,
    pub(super) http2: Text,
    pub(super) resolve_interval: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawMember {
    pub(super) address: Text,
    pub(super) weight: Text,
    pub(super) backup: Text,
}

impl Short for RawMember {
    const EXPECTING: &'static str = "an address such as 10.0.0.1:8080, or a map with `address`";
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawHealthCheck {
    pub(super) kind: Text,
    pub(super) path: Text,
    pub(super) host: Text,
    pub(super) expect_status: Option<OneOrMany<String>>,
    pub(super) expect_body: Text,
    pub(super) interval: Text,
    pub(super) timeout: Text,
    pub(super) fall: Text,
    pub(super) rise: Text,
    pub(super) jitter: Text,
    pub(super) port: Text,
}

impl Short for RawHealthCheck {
    const EXPECTING: &'static str = "off, tcp, a path such as /health, or a map";
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawOutlier {
    pub(super) max_fails: Text,
    pub(super) fail_timeout: Text,
    pub(super) max_ejection: Text,
    pub(super) max_ejected: Text,
    pub(super) panic_threshold: Text,
}

impl Short for RawOutlier {
    const EXPECTING: &'static str = "off, or a map with `max_fails` and others";
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawUpstreamTimeouts {
    pub(super) connect: Text,
    pub(super) first_byte: Text,
    pub(super) idle: Text,
    pub(super) write: Text,
    pub(super) keepalive: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawRetry {
    pub(super) attempts: Text,
    pub(super) on: Option<OneOrMany<String>>,
    pub(super) budget: Text,
}

impl Short for RawRetry {
    const EXPECTING: &'static str = "off, the number of attempts, or a map with `attempts` and others";
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawUpstreamTls {
    pub(super) sni: Text,
    pub(super) ca: Text,
    pub(super) verify: Text,
}

impl Short for RawUpstreamTls {
    const EXPECTING: &'static str = "true, false, or a map with `sni` and others";
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawRoute {
    pub(super) name: Text,
    pub(super) r#match: Option<Or<RawMatch>>,
    pub(super) pool: Text,
    pub(super) redirect: Option<Or<RawRedirect>>,
    pub(super) respond: Option<Or<RawRespond>>,
    pub(super) allow: Option<OneOrMany<String>>,
    pub(super) deny: Option<OneOrMany<String>>,
    pub(super) rewrite: Option<Or<RawRewrite>>,
    pub(super) headers: Option<RawHeaders>,
    pub(super) timeouts: Option<RawUpstreamTimeouts>,
    pub(super) retry: Option<Or<RawRetry>>,
    pub(super) retry_non_idempotent: Text,
    pub(super) balance: Text,
    pub(super) max_body: Text,
    pub(super) websocket: Text,
    pub(super) auth: Option<OneOrMany<String>>,
    pub(super) permission: Text,
    pub(super) forward_credentials: Text,
    pub(super) ai: Option<Or<RawRouteAi>>,
    pub(super) limits: Option<OneOrMany<String>>,
    pub(super) cache: Option<Or<RawRouteCache>>,
    pub(super) cors: Option<Or<RawCors>>,
    pub(super) sanitize: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawMatch {
    pub(super) host: Option<OneOrMany<String>>,
    pub(super) path: Text,
    pub(super) methods: Option<OneOrMany<String>>,
    pub(super) headers: Option<Named<String>>,
}

impl Short for RawMatch {
    const EXPECTING: &'static str = "a path such as /api/, or a map with `host`, `path`, `methods` or `headers`";
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawRedirect {
    pub(super) location: Text,
    pub(super) status: Text,
}

impl Short for RawRedirect {
    const EXPECTING: &'static str = "a location such as https://{host}{path}{query}, or a map with `location`";
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawRespond {
    pub(super) status: Text,
    pub(super) body: Text,
    pub(super) content_type: Text,
}

impl Short for RawRespond {
    const EXPECTING: &'static str = "a status such as 404, or a map with `status` and `body`";
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawRewrite {
    pub(super) path: Text,
    pub(super) prefix: Text,
}

impl Short for RawRewrite {
    const EXPECTING: &'static str = "a map with `prefix` or `path`";
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawHeaders {
    pub(super) request: Option<RawHeaderRules>,
    pub(super) response: Option<RawHeaderRules>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawHeaderRules {
    pub(super) set: Option<Named<String>>,
    pub(super) add: Option<Named<OneOrMany<String>>>,
    pub(super) remove: Option<OneOrMany<String>>,
}
