//! The mock's own paths under `/mock/`, for a person with curl and for tests of a mock in another process.

use std::sync::atomic::Ordering::Relaxed;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::Fault;
use super::answer::{self, Answer};
use super::backend::Upload;
use super::state::Shared;
use crate::units;

const HELP: &str = "GET /mock/stats, GET /mock/requests, POST /mock/health {\"up\":false}, \
    POST /mock/fault {\"fault\":\"reset\",\"count\":3}, POST /mock/latency {\"latency\":\"200ms\",\"path\":\"/v1/\"}, POST /mock/reset\n";

/// Answers a control request.
pub(super) fn answer(shared: &Shared, upload: &Upload) -> Answer {
    let command = upload.path().trim_start_matches("/mock/");
    if upload.method == Method::GET {
        return match command {
            "stats" => answer::json(StatusCode::OK, &stats(shared)),
            "requests" => answer::json(StatusCode::OK, &requests(shared)),
            _ => answer::text(StatusCode::NOT_FOUND, HELP),
        };
    }
    let Ok(order) = (match upload.body.is_empty() {
        true => Ok(Value::Null),
        false => serde_json::from_slice::<Value>(&upload.body),
    }) else {
        return answer::text(StatusCode::BAD_REQUEST, "the body is not JSON\n");
    };
    let done = match command {
        "health" => set_health(shared, &order),
        "fault" => set_fault(shared, &order),
        "latency" => set_latency(shared, &order),
        "reset" => {
            shared.reset();
            Ok(())
        }
        _ => return answer::text(StatusCode::NOT_FOUND, HELP),
    };
    match done {
        Ok(()) => answer::json(StatusCode::OK, &json!({"ok": true})),
        Err(why) => answer::json(StatusCode::BAD_REQUEST, &json!({"ok": false, "error": why})),
    }
}

fn set_health(shared: &Shared, order: &Value) -> Result<(), String> {
    let up = order["up"].as_bool().ok_or("expected {\"up\": true} or {\"up\": false}")?;
    shared.healthy.store(up, Relaxed);
    Ok(())
}

/// `count` orders the fault for so many requests, without it for all; a null fault ends it.
fn set_fault(shared: &Shared, order: &Value) -> Result<(), String> {
    let fault = match &order["fault"] {
        Value::Null => None,
        Value::String(name) => Some(name.parse::<Fault>()?),
        Value::Number(status) => Some(status.to_string().parse::<Fault>()?),
        other => return Err(format!("expected a fault's name or a status, not {other}")),
    };
    shared.change_plan(|plan| match (order["count"].as_u64(), fault) {
        (Some(count), Some(fault)) => {
            let count = usize::try_from(count.min(100_000)).unwrap_or(0);
            plan.next.extend(std::iter::repeat_n(fault, count));
        }
        (_, None) => {
            plan.next.clear();
            plan.always = None;
        }
        (None, fault) => plan.always = fault,
    });
    Ok(())
}

fn set_latency(shared: &Shared, order: &Value) -> Result<(), String> {
    let text = order["latency"].as_str().ok_or("expected {\"latency\": \"200ms\"}")?;
    let latency = units::duration(text).ok_or_else(|| format!("{text:?} is not a duration such as 200ms"))?;
    shared.change_plan(|plan| match order["path"].as_str() {
        None => plan.latency = latency,
        Some(path) => {
            plan.path_latency.retain(|(prefix, _)| prefix != path);
            plan.path_latency.push((path.to_owned(), latency));
        }
    });
    Ok(())
}

fn stats(shared: &Shared) -> Value {
    json!({
        "id": shared.id,
        "healthy": shared.healthy.load(Relaxed),
        "hits": shared.hits.load(Relaxed),
        "health_checks": shared.health_checks.load(Relaxed),
        "connections": shared.open.load(Relaxed),
        "accepted": shared.accepted.load(Relaxed),
        "cancelled": shared.cancelled.load(Relaxed),
    })
}

fn requests(shared: &Shared) -> Value {
    let one = |seen: &super::Seen| {
        json!({
            "method": seen.method.as_str(), "path_and_query": seen.path_and_query, "body_len": seen.body_len,
            "version": format!("{:?}", seen.version), "headers": super::backend::headers_json(&seen.headers),
        })
    };
    shared.requests().iter().map(one).collect()
}
