//! Health for probes that know other shapes than ours.

use http::StatusCode;
use http::request::Parts;
use http::{HeaderValue, header};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::Admin;
use super::answer::Answer;
use super::status::PoolStatus;
use crate::proxy::local::{self, Probe, probe};
use crate::snapshot::Snapshot;

/// What clients get at the same path (D03, T06).
pub(super) fn plain(wanted: Probe, admin: &Admin, head: &Parts, snapshot: &Snapshot) -> Answer {
    probe(wanted, snapshot, admin.drain.is_draining(), wants_json(head)).into()
}

/// Spring's shape (F11): UP and 200, or DOWN and 503. What it is made of is only for those who are let in (A3.08).
pub(super) fn actuator(admin: &Admin, snapshot: &Snapshot, with_components: bool) -> Answer {
    let ready = is_ready(admin, snapshot);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    if !with_components {
        return Answer::json(status, &json!({ "status": word(ready) }));
    }
    // A pool without a member may be one that no route needs, or for which others stand in.
    let enough = local::unusable(snapshot).is_none();
    let components: Map<String, Value> = snapshot.pools.iter().map(|pool| component(PoolStatus::of(pool))).collect();
    let draining = admin.drain.is_draining();
    Answer::json(
        status,
        &json!({
            "status": word(ready),
            "components": {
                "ping": { "status": "UP" },
                "gateway": { "status": word(!draining), "details": { "draining": draining } },
                "pools": { "status": word(enough), "components": components },
            },
        }),
    )
}

/// A summary that is always 200: the process answers (B04).
pub(super) fn summary(admin: &Admin, snapshot: &Snapshot) -> Answer {
    #[derive(Serialize)]
    struct Summary {
        status: &'static str,
        version: &'static str,
        uptime_seconds: u64,
        draining: bool,
        connections: usize,
    }
    let status = if is_ready(admin, snapshot) { "ready" } else { "not_ready" };
    let summary = Summary {
        status,
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: admin.uptime().as_secs(),
        draining: admin.drain.is_draining(),
        connections: admin.drain.connections(),
    };
    Answer::json(StatusCode::OK, &summary)
}

fn is_ready(admin: &Admin, snapshot: &Snapshot) -> bool {
    probe(Probe::Ready, snapshot, admin.drain.is_draining(), true).status == StatusCode::OK
}

fn word(up: bool) -> &'static str {
    if up { "UP" } else { "DOWN" }
}

fn component(pool: PoolStatus) -> (String, Value) {
    let usable = pool.members.iter().filter(|member| member.usable).count();
    let details = json!({ "members": pool.members.len(), "usable": usable });
    (pool.name, json!({ "status": word(pool.usable), "details": details }))
}

fn wants_json(head: &Parts) -> bool {
    let names_json = |accept: &HeaderValue| accept.to_str().is_ok_and(|accept| accept.contains("application/json"));
    head.headers.get_all(header::ACCEPT).iter().any(names_json)
        || head.uri.query().is_some_and(|query| query.split('&').any(|pair| pair == "format=json"))
}
