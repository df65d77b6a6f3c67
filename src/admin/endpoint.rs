//! Path and method -> what is asked for.

use std::borrow::Cow;

use http::{Method, StatusCode, header};
use percent_encoding::percent_decode_str;

use super::answer::Answer;
use crate::balance::AdminState;
use crate::proxy::local::Probe;

/// What is at every path, for whoever asked for another one.
const KNOWN: &str = "GET /health, /health/live, /health/ready, /ready, /status, /actuator/health, /metrics, \
    /actuator/prometheus, /stats, /control/status, /control/limits/LIMIT, /control/prices; POST /control/reload, /control/upgrade, /control/logs/reopen, \
    /control/tokens/JTI/revoke, /control/pools/POOL/members/MEMBER/{drain,ready,maint}, \
    /control/caches/CACHE/purge, \
    /control/limits/LIMIT/reset, /control/providers/PROVIDER/restore, /control/providers/PROVIDER/keys/KEY/restore";

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Endpoint<'a> {
    /// What clients get, too (D03, T06).
    Probe(Probe),
    /// `/actuator/health`, in Spring's shape (F11).
    Actuator,
    /// `/status`: a summary, always 200 (B04).
    Summary,
    /// `/metrics`, `/actuator/prometheus` (A4.01).
    Metrics,
    /// The page for people (A1.06).
    Stats,
    /// Everything about the process, for `ctl status`.
    Status,
    /// Load the configuration again.
    Reload,
    /// Hand over to a new process.
    Upgrade,
    /// Open the log files again.
    ReopenLogs,
    /// Take a token back before it expires (A3.03).
    Revoke {
        /// Its name.
        jti: Cow<'a, str>,
    },
    /// Take stored answers away.
    Purge {
        /// The key under `caches`.
        cache: Cow<'a, str>,
    },
    /// An account of a budget.
    Limit {
        /// The key under `limits`.
        limit: Cow<'a, str>,
        /// Whether what was used of it is forgiven, and not only shown.
        reset: bool,
    },
    /// What models cost.
    Prices,
    /// Use a key of a provider again.
    Key {
        /// The key under `ai.providers`.
        provider: Cow<'a, str>,
        /// The name of its key.
        key: Cow<'a, str>,
    },
    /// Ask a provider again.
    Provider {
        /// The key under `ai.providers`.
        provider: Cow<'a, str>,
    },
    /// Take a member out or bring it back (A5.15).
    Member {
        /// The key under `pools`.
        pool: Cow<'a, str>,
        /// Its configured or full name.
        member: Cow<'a, str>,
        /// What it is to be.
        to: AdminState,
    },
}

impl Endpoint<'_> {
    /// Whether it changes something.
    pub(super) fn changes(&self) -> bool {
        let changing =
            matches!(self, Self::Reload | Self::Upgrade | Self::ReopenLogs | Self::Revoke { .. } | Self::Purge { .. });
        changing
            || matches!(
                self,
                Self::Member { .. } | Self::Key { .. } | Self::Provider { .. } | Self::Limit { reset: true, .. }
            )
    }

    /// Whether it needs the token: the control API and the page that steers it. Scrapers and probes have none.
    pub(super) fn needs_token(&self) -> bool {
        self.changes()
            || matches!(self, Self::Stats | Self::Status | Self::Actuator | Self::Prices | Self::Limit { .. })
    }

    /// Whether a request that is not let in still gets an answer, without what is not for everybody (A3.08).
    pub(super) fn answers_strangers(&self) -> bool {
        matches!(self, Self::Probe(_) | Self::Summary | Self::Actuator)
    }

    /// What the log calls it. Nothing of what the client wrote, which may hold anything.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Probe(_) => "health",
            Self::Actuator => "/actuator/health",
            Self::Summary => "/status",
            Self::Metrics => "/metrics",
            Self::Stats => "/stats",
            Self::Status => "/control/status",
            Self::Reload => "/control/reload",
            Self::Upgrade => "/control/upgrade",
            Self::ReopenLogs => "/control/logs/reopen",
            Self::Revoke { .. } => "/control/tokens",
            Self::Purge { .. } => "/control/caches",
            Self::Limit { .. } => "/control/limits",
            Self::Prices => "/control/prices",
            Self::Key { .. } | Self::Provider { .. } => "/control/providers",
            Self::Member { .. } => "/control/pools",
        }
    }
}

/// The endpoint at `path`; the answer for the client when there is none or `method` is not for it.
pub(super) fn find<'a>(method: &Method, path: &'a str) -> Result<Endpoint<'a>, Answer> {
    let Some(endpoint) = at(path) else {
        let message = format!("nothing is at this path; known are {KNOWN}");
        return Err(Answer::error(StatusCode::NOT_FOUND, "not_found", message));
    };
    let (fits, allow) = if endpoint.changes() {
        (method == Method::POST, "POST")
    } else {
        (matches!(*method, Method::GET | Method::HEAD), "GET, HEAD")
    };
    if fits {
        return Ok(endpoint);
    }
    let message = format!("this is asked for by {allow}");
    let answer = Answer::error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message);
    Err(answer.with(header::ALLOW, allow))
}

fn at(path: &str) -> Option<Endpoint<'_>> {
    Some(match path {
        "/actuator/health" => Endpoint::Actuator,
        "/status" => Endpoint::Summary,
        "/metrics" | "/actuator/prometheus" => Endpoint::Metrics,
        "/stats" => Endpoint::Stats,
        "/control/status" => Endpoint::Status,
        "/control/prices" => Endpoint::Prices,
        "/control/reload" => Endpoint::Reload,
        "/control/upgrade" => Endpoint::Upgrade,
        "/control/logs/reopen" => Endpoint::ReopenLogs,
        _ => {
            return Probe::at(path)
                .map(Endpoint::Probe)
                .or_else(|| revoke(path))
                .or_else(|| purge(path))
                .or_else(|| limit(path))
                .or_else(|| key(path))
                .or_else(|| member(path));
        }
    })
}

/// `/control/tokens/JTI/revoke`. A `jti` may be any text.
fn revoke(path: &str) -> Option<Endpoint<'_>> {
    let jti = path.strip_prefix("/control/tokens/")?.strip_suffix("/revoke")?;
    Some(Endpoint::Revoke { jti: percent_decode_str(jti).decode_utf8().ok()? })
}

/// `/control/caches/CACHE/purge`.
fn purge(path: &str) -> Option<Endpoint<'_>> {
    let name = path.strip_prefix("/control/caches/")?.strip_suffix("/purge")?;
    Some(Endpoint::Purge { cache: percent_decode_str(name).decode_utf8().ok()? })
}

/// `/control/limits/LIMIT` and `/control/limits/LIMIT/reset`.
fn limit(path: &str) -> Option<Endpoint<'_>> {
    let name = path.strip_prefix("/control/limits/")?;
    let (name, reset) = name.strip_suffix("/reset").map_or((name, false), |name| (name, true));
    let limit = percent_decode_str(name).decode_utf8().ok().filter(|name| !name.is_empty())?;
    Some(Endpoint::Limit { limit, reset })
}

/// `/control/providers/PROVIDER/keys/KEY/restore` and `/control/providers/PROVIDER/restore`.
fn key(path: &str) -> Option<Endpoint<'_>> {
    let named = path.strip_prefix("/control/providers/")?.strip_suffix("/restore")?;
    let decoded = |text| percent_decode_str(text).decode_utf8().ok();
    let Some((provider, key)) = named.split_once("/keys/") else {
        return Some(Endpoint::Provider { provider: decoded(named).filter(|_| !named.contains('/'))? });
    };
    Some(Endpoint::Key { provider: decoded(provider)?, key: decoded(key)? })
}

/// `/control/pools/POOL/members/MEMBER/ACTION`. A member may be a path itself (`unix:/run/app.sock`), so its end is the
/// last slash.
fn member(path: &str) -> Option<Endpoint<'_>> {
    let (pool, rest) = path.strip_prefix("/control/pools/")?.split_once("/members/")?;
    let (member, action) = rest.rsplit_once('/')?;
    let to = match action {
        "drain" => AdminState::Drain,
        "ready" => AdminState::Ready,
        "maint" => AdminState::Maint,
        _ => return None,
    };
    let decoded = |text| percent_decode_str(text).decode_utf8().ok();
    Some(Endpoint::Member { pool: decoded(pool)?, member: decoded(member)?, to })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str) -> Endpoint<'_> {
        at(path).unwrap()
    }

    fn status(method: &Method, path: &str) -> StatusCode {
        find(method, path).map_or_else(|answer| answer.status, |_| StatusCode::OK)
    }

    #[test]
    fn both_metrics_paths_are_the_same() {
        assert_eq!(found("/metrics"), Endpoint::Metrics);
        assert_eq!(found("/actuator/prometheus"), Endpoint::Metrics);
    }

    #[test]
    fn a_member_may_be_named_with_and_without_escapes() {
        let wanted = |member: &'static str, to| Endpoint::Member { pool: "app".into(), member: member.into(), to };
        for (path, endpoint) in [
            ("/control/pools/app/members/10.0.0.1:80/drain", wanted("10.0.0.1:80", AdminState::Drain)),
            ("/control/pools/app/members/10.0.0.1%3A80/ready", wanted("10.0.0.1:80", AdminState::Ready)),
            ("/control/pools/app/members/unix%3A%2Frun%2Fa.sock/maint", wanted("unix:/run/a.sock", AdminState::Maint)),
            ("/control/pools/app/members/unix:/run/a.sock/maint", wanted("unix:/run/a.sock", AdminState::Maint)),
            ("/control/pools/app/members/[::1]:80/drain", wanted("[::1]:80", AdminState::Drain)),
        ] {
            assert_eq!(found(path), endpoint, "{path}");
        }
    }

    #[test]
    fn a_token_is_named_by_any_text() {
        for (path, jti) in [
            ("/control/tokens/a/revoke", "a"),
            ("/control/tokens/urn%3Aid%2F1/revoke", "urn:id/1"),
            ("/control/tokens/a/b/revoke", "a/b"),
        ] {
            assert_eq!(found(path), Endpoint::Revoke { jti: jti.into() }, "{path}");
        }
        assert!(found("/control/tokens/a/revoke").needs_token());
        assert_eq!(status(&Method::GET, "/control/tokens/a/revoke"), StatusCode::METHOD_NOT_ALLOWED);
    }

    #[test]
    fn what_is_not_there_is_404_and_says_what_is() {
        for path in [
            "/",
            "/metrics/",
            "/control",
            "/control/pools/app/members/x/stop",
            "/control/pools/app/members/x",
            "/control/pools/app/members/%ff/drain",
            "//stats",
            "/control/../stats",
        ] {
            let refused = find(&Method::GET, path).unwrap_err();
            assert_eq!(refused.status, StatusCode::NOT_FOUND, "{path}");
            assert!(String::from_utf8_lossy(&refused.body).contains("/control/reload"));
        }
    }

    #[test]
    fn looking_is_by_get_and_changing_by_post_only() {
        for path in [
            "/control/reload",
            "/control/upgrade",
            "/control/logs/reopen",
            "/control/caches/a/purge",
            "/control/pools/a/members/b/drain",
            "/control/providers/a/keys/b/restore",
            "/control/providers/a/restore",
        ] {
            assert_eq!(status(&Method::POST, path), StatusCode::OK, "{path}");
            for method in [Method::GET, Method::HEAD, Method::PUT, Method::OPTIONS] {
                assert_eq!(status(&method, path), StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
            }
        }
        for path in ["/stats", "/metrics", "/health", "/ready", "/status", "/control/status", "/actuator/health"] {
            assert_eq!(status(&Method::GET, path), StatusCode::OK, "{path}");
            assert_eq!(status(&Method::HEAD, path), StatusCode::OK, "{path}");
            let refused = find(&Method::POST, path).unwrap_err();
            assert_eq!(refused.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
            assert_eq!(refused.fields, [(header::ALLOW, http::HeaderValue::from_static("GET, HEAD"))]);
        }
    }

    #[test]
    fn everything_that_changes_or_shows_the_fleet_needs_the_token() {
        for path in [
            "/stats",
            "/control/status",
            "/control/prices",
            "/control/reload",
            "/control/upgrade",
            "/control/logs/reopen",
            "/control/providers/a/keys/b/restore",
            "/control/providers/a/restore",
            "/actuator/health",
        ] {
            assert!(found(path).needs_token(), "{path}");
        }
        for path in ["/metrics", "/health", "/health/live", "/health/ready", "/ready", "/status"] {
            assert!(!found(path).needs_token(), "{path}");
        }
    }
}
