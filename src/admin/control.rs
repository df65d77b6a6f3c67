//! The control API: a request that was let in -> what it asks for.

use std::sync::Arc;

use http::request::Parts;
use http::{StatusCode, header};
use log::{info, warn};
use serde_json::json;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;

use super::answer::Answer;
use super::endpoint::Endpoint;
use super::status::{Changed, PoolStatus, ReloadDone, Status, UpgradeDone};
use super::{Admin, Order, Peer, health, limits, prices, providers, purge, record, scrape, stats, tokens};
use crate::balance::{AdminState, Pool};
use crate::config::ai;
use crate::config::audit::EventKind;
use crate::observe::audit::Event;
use crate::server::handover::Successor;
use crate::snapshot::Snapshot;

/// The most names that an answer about a wrong one lists.
const MAX_NAMES: usize = 50;

/// Does what is asked for. `trusted`: the request passed all of [`super::access`].
///
/// # Errors
/// The answer for the client when it cannot be done.
pub(super) async fn answer(
    admin: &Admin,
    endpoint: &Endpoint<'_>,
    head: &Parts,
    snapshot: &Arc<Snapshot>,
    peer: Peer,
    trusted: bool,
) -> Result<Answer, Answer> {
    Ok(match endpoint {
        Endpoint::Probe(probe) => health::plain(*probe, admin, head, snapshot),
        Endpoint::Actuator => health::actuator(admin, snapshot, trusted),
        Endpoint::Summary => health::summary(admin, snapshot),
        Endpoint::Metrics => scrape::answer(&admin.reloader.shared().metrics, snapshot),
        Endpoint::Stats => stats::answer(&Status::of(admin, snapshot)),
        Endpoint::Status => Answer::json(StatusCode::OK, &Status::of(admin, snapshot)),
        Endpoint::Reload => or_back_to_the_page(reload(admin, peer).await?, head),
        Endpoint::Upgrade => upgrade(admin, head, peer).await?,
        Endpoint::ReopenLogs => or_back_to_the_page(reopen_logs(admin, peer)?, head),
        Endpoint::Revoke { jti } => tokens::revoke(admin, snapshot, jti, head, peer)?,
        Endpoint::Purge { cache } => or_back_to_the_page(purge_cache(snapshot, cache, head, peer).await?, head),
        Endpoint::Limit { limit, reset: false } => limits::show(snapshot, limit, head)?,
        Endpoint::Limit { limit, reset: true } => limits::reset(snapshot, limit, head, peer)?,
        Endpoint::Prices => prices::show(snapshot, head)?,
        Endpoint::Key { provider, key } => providers::restore(snapshot, provider, key, peer)?,
        Endpoint::Provider { provider } => providers::restore_all(snapshot, provider, peer)?,
        Endpoint::Member { pool, member, to } => {
            or_back_to_the_page(set_member(snapshot, pool, member, *to, peer)?, head)
        }
    })
}

/// A browser that pressed a button is shown the page again.
fn or_back_to_the_page(done: Answer, head: &Parts) -> Answer {
    let accept = head.headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    if accept.is_some_and(|accept| accept.contains("text/html")) {
        return Answer::new(StatusCode::SEE_OTHER, "text/plain", "done\n").with(header::LOCATION, "/stats");
    }
    done
}

async fn reload(admin: &Admin, peer: Peer) -> Result<Answer, Answer> {
    info!("control: reload, asked by {peer}");
    let (reply, done) = oneshot::channel();
    order(admin, Order::Reload(peer, reply))?;
    match done.await {
        Ok(Ok(done)) => {
            let (generation, restart_needed, warnings) = (done.generation, done.restart_needed, done.warnings);
            Ok(Answer::json(StatusCode::OK, &ReloadDone { generation, restart_needed, warnings }))
        }
        Ok(Err(reason)) => Err(Answer::error(StatusCode::UNPROCESSABLE_ENTITY, "refused", reason)),
        Err(_) => Err(Answer::error(StatusCode::SERVICE_UNAVAILABLE, "busy", "the process is about to end")),
    }
}

/// `?wait` asks for the outcome; without, it is in the log and in the status.
async fn upgrade(admin: &Admin, head: &Parts, peer: Peer) -> Result<Answer, Answer> {
    info!("control: upgrade, asked by {peer}");
    let (reply, done) = oneshot::channel();
    order(admin, Order::Upgrade(peer, reply))?;
    if !head.uri.query().is_some_and(|query| query.split('&').any(|pair| pair == "wait")) {
        return Ok(Answer::json(StatusCode::ACCEPTED, &UpgradeDone::default()));
    }
    match done.await {
        Ok(Ok(Successor { pid, version, .. })) => {
            Ok(Answer::json(StatusCode::OK, &UpgradeDone { pid: Some(pid), version: Some(version) }))
        }
        Ok(Err(reason)) => Err(Answer::error(StatusCode::UNPROCESSABLE_ENTITY, "refused", reason)),
        Err(_) => Err(Answer::error(StatusCode::SERVICE_UNAVAILABLE, "busy", "the process is about to end")),
    }
}

fn order(admin: &Admin, order: Order) -> Result<(), Answer> {
    admin.orders.try_send(order).map_err(|error| {
        let message = match error {
            TrySendError::Full(_) => "too many reloads are waiting",
            TrySendError::Closed(_) => "the process is about to end",
        };
        Answer::error(StatusCode::SERVICE_UNAVAILABLE, "busy", message)
    })
}

fn reopen_logs(admin: &Admin, peer: Peer) -> Result<Answer, Answer> {
    info!("control: reopen the logs, asked by {peer}");
    let reopened = admin.reloader.reopen_logs();
    managed(&admin.reloader.shared().current.load(), peer, "reopen_logs", None, reopened.is_ok());
    match reopened {
        Ok(()) => Ok(Answer::json(StatusCode::OK, &json!({ "reopened": true }))),
        Err(error) => {
            warn!("control: cannot reopen the logs: {error}; the old files stay in use");
            let message = format!("a log cannot be opened, the old file stays in use: {error}");
            Err(Answer::error(StatusCode::INTERNAL_SERVER_ERROR, "logs", message))
        }
    }
}

fn set_member(snapshot: &Snapshot, pool: &str, member: &str, to: AdminState, peer: Peer) -> Result<Answer, Answer> {
    let named = |name: &str| snapshot.pools.iter().find(|known| &**known.name() == name);
    let found = named(pool).or_else(|| named(&ai::made_pool(pool)));
    let found = found.ok_or_else(|| {
        let names = snapshot.pools.iter().map(|pool| &**pool.name());
        unknown(format!("there is no pool {pool:?}"), "pools", names)
    })?;
    let known = found.set_admin(member, to) > 0;
    managed(snapshot, peer, to.as_str(), Some(&format!("{}/{member}", found.name())), known);
    if !known {
        return Err(no_member(found, member));
    }
    info!("control: pool {} member {member:?} to {}, asked by {peer}", found.name(), to.as_str());
    let mut status = PoolStatus::of(found);
    status.members.retain(|known| known.name == member || known.configured == member);
    Ok(Answer::json(StatusCode::OK, &Changed { pool: status.name, members: status.members }))
}

async fn purge_cache(snapshot: &Snapshot, cache: &str, head: &Parts, peer: Peer) -> Result<Answer, Answer> {
    let purged = purge::run(snapshot, cache, head).await;
    let event = Event::new(EventKind::CachePurge, purged.is_ok());
    record(snapshot, peer, &Event { action: Some("purge"), target: Some(cache), ..event });
    let purged = purged?;
    info!("control: purge of cache {}: {} answers, asked by {peer}", purged.cache, purged.purged);
    Ok(Answer::json(StatusCode::OK, &purged))
}

pub(super) fn managed(snapshot: &Snapshot, peer: Peer, action: &str, target: Option<&str>, done: bool) {
    record(snapshot, peer, &Event { action: Some(action), target, ..Event::new(EventKind::ServiceManagement, done) });
}

fn no_member(pool: &Pool, member: &str) -> Answer {
    let message = format!("pool {} has no member {member:?}", pool.name());
    if pool.config().members.iter().any(|known| &*known.name == member) {
        let message = format!("{message} now: the host name has no address");
        return Answer::error(StatusCode::CONFLICT, "unresolved", message);
    }
    unknown(message, "members", pool.members().iter().map(|member| &*member.name))
}

pub(super) fn unknown<'a>(message: String, what: &str, names: impl Iterator<Item = &'a str>) -> Answer {
    let mut names: Vec<&str> = names.collect();
    let more = names.len().saturating_sub(MAX_NAMES);
    names.truncate(MAX_NAMES);
    let list = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Answer::error(StatusCode::NOT_FOUND, "not_found", format!("{message}; {what}: {list}{more}"))
}
