//! Tokens over the control API: one is revoked, and how the keys of issuers are.

use http::StatusCode;
use http::request::Parts;
use jiff::Timestamp;
use log::info;
use serde::{Deserialize, Serialize};

use super::answer::Answer;
use super::{Admin, Peer, query, record};
use crate::auth::{MAX_JTI, SourceStatus};
use crate::clock;
use crate::config::audit::EventKind;
use crate::config::jwt::Jwt;
use crate::observe::audit::Event;
use crate::snapshot::Snapshot;

/// What a revocation answers.
#[derive(Debug, Serialize, Deserialize)]
pub struct RevokedToken {
    /// The token.
    pub jti: String,
    /// Until when it is refused, RFC 3339; longer when it shows up and lives longer.
    pub until: String,
    /// Tokens that are revoked this way now.
    pub revoked: u64,
    /// The most there can be; beyond, the one longest not asked for is forgotten.
    pub max_entries: u64,
}

/// The keys of an issuer that are fetched.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JwksStatus {
    /// Where they are fetched, without a query.
    pub url: String,
    /// Keys in use; while there are none, its tokens are refused.
    pub keys: usize,
    /// How long ago they were fetched, in seconds; `None`: never.
    pub seconds_ago: Option<u64>,
    /// Why the last fetch failed; `None`: it did not.
    pub failure: Option<String>,
}

impl JwksStatus {
    /// How the fetched keys of `snapshot`'s issuers are.
    pub(super) fn all(admin: &Admin, snapshot: &Snapshot) -> Vec<Self> {
        let Some(jwt) = issuers(snapshot) else { return Vec::new() };
        let sources = admin.reloader.shared().tokens.sources.status(jwt);
        sources.into_iter().map(Self::of).collect()
    }

    fn of(source: SourceStatus) -> Self {
        let SourceStatus { url, keys, fetched_at, failure } = source;
        Self { url, keys, seconds_ago: fetched_at.map(|at| now().saturating_sub(at)), failure }
    }

    /// One line for people.
    pub fn text(&self) -> String {
        let Self { url, keys, .. } = self;
        let age = self.seconds_ago.map_or_else(|| "never fetched".to_owned(), |ago| format!("fetched {ago}s ago"));
        match &self.failure {
            Some(reason) => format!("keys at {url}: {keys}, {age}; the last fetch failed: it {reason}"),
            None => format!("keys at {url}: {keys}, {age}"),
        }
    }
}

/// Revokes the token `jti`, until `?expires=` when the request says that.
pub(super) fn revoke(
    admin: &Admin,
    snapshot: &Snapshot,
    jti: &str,
    head: &Parts,
    peer: Peer,
) -> Result<Answer, Answer> {
    let Some(jwt) = issuers(snapshot) else {
        return Err(Answer::error(StatusCode::CONFLICT, "no_tokens", "no token is taken here: there is no auth.jwt"));
    };
    if !(1..=MAX_JTI).contains(&jti.len()) {
        return Err(Answer::bad_request("a jti has 1 to 512 bytes"));
    }
    let now = now();
    let until = match expiry(head)? {
        Some(until) if until <= now => return Err(Answer::bad_request("this time is over, and so is the token's")),
        // A token is good for the leeway longer; which issuer's it is, is not known here.
        Some(until) => until.saturating_add(jwt.longest_leeway()),
        None => now.saturating_add(jwt.revoked.ttl.as_secs()),
    };
    let revocations = &admin.reloader.shared().tokens.revocations;
    let until = revocations.revoke(jti, until);
    let event = Event::new(EventKind::UserManagement, true);
    record(snapshot, peer, &Event { action: Some("revoke"), target: Some(jti), ..event });
    info!("control: token {jti:?} is revoked until {}, asked by {peer}", written(until));
    let (revoked, max_entries) = (revocations.len(), revocations.max_entries());
    Ok(Answer::json(StatusCode::OK, &RevokedToken { jti: jti.to_owned(), until: written(until), revoked, max_entries }))
}

/// The time after `expires=` in the query: seconds since the epoch, or RFC 3339.
fn expiry(head: &Parts) -> Result<Option<u64>, Answer> {
    let expected = "the query is `expires=` with seconds since the epoch or RFC 3339, or nothing";
    let wrong = || Answer::bad_request(expected);
    let Some(text) = query::only(head, "expires", expected)? else { return Ok(None) };
    if let Ok(seconds) = text.parse() {
        return Ok(Some(seconds));
    }
    let time: Timestamp = text.parse().map_err(|_| wrong())?;
    u64::try_from(time.as_second()).map(Some).map_err(|_| wrong())
}

fn issuers(snapshot: &Snapshot) -> Option<&Jwt> {
    snapshot.config.auth.as_ref()?.jwt.as_deref()
}

fn written(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    time.unwrap_or(Timestamp::MAX).to_string()
}

fn now() -> u64 {
    clock::wall_millis() / 1000
}
