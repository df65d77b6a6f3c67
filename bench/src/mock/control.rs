//! The mock's own paths under `/mock/`, for a person with curl and for tests of a mock in another process.

use std::sync::atomic::Ordering::Relaxed;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::ai::KeyState;
use super::answer::{self, Answer};
use super::backend::Upload;
use super::faults::{Fault, Orders, Plan, Planned};
use super::state::Shared;
use crate::units;

const HELP: &str = r#"GET /mock/stats, GET /mock/requests, GET /mock/ledger
POST /mock/health {"up":false}
POST /mock/fault {"fault":"reset","count":3,"path":"/v1/messages","key":"k","model":"m"}; {"fault":null} ends all
POST /mock/latency {"latency":"200ms","path":"/v1/"}
POST /mock/orders {"sse":"rate=20,events=1200","usage":"in=10,out=5"}; {} ends them
POST /mock/keys {"require":["k"],"key":"k","state":"refused"|"forbidden"|"no-quota"|"limited:30s"|402|null}
POST /mock/models {"models":["m"]}
POST /mock/leaving, POST /mock/reset
"#;

/// Answers a control request.
pub(super) fn answer(shared: &Shared, upload: &Upload) -> Answer {
    let command = upload.path().trim_start_matches("/mock/");
    if upload.method == Method::GET {
        return match command {
            "stats" => answer::json(StatusCode::OK, &stats(shared)),
            "requests" => answer::json(StatusCode::OK, &requests(shared)),
            "ledger" => answer::json(StatusCode::OK, &shared.books.read().json()),
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
        "orders" => set_orders(shared, &order),
        "keys" => set_keys(shared, &order),
        "models" => set_models(shared, &order),
        "leaving" => {
            shared.books.mark();
            Ok(())
        }
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

/// `count` orders the fault for so many requests, without it for all; `path`, `key` and `model` for some; a null fault ends
/// every one.
fn set_fault(shared: &Shared, order: &Value) -> Result<(), String> {
    let fault = match &order["fault"] {
        Value::Null => {
            shared.change_plan(Plan::clear_faults);
            return Ok(());
        }
        Value::String(name) => name.parse::<Fault>()?,
        Value::Number(status) => status.to_string().parse::<Fault>()?,
        other => return Err(format!("expected a fault's name or a status, not {other}")),
    };
    let count = order["count"].as_u64().map(|count| usize::try_from(count.min(100_000)).unwrap_or(0));
    let part = |name: &str| order[name].as_str().map(str::to_owned);
    let (path, key, model) = (part("path"), part("key"), part("model"));
    let for_some = path.is_some() || key.is_some() || model.is_some();
    let mut planned = Planned::new(fault);
    planned = path.into_iter().fold(planned, Planned::on_path);
    planned = key.into_iter().fold(planned, Planned::for_key);
    planned = model.into_iter().fold(planned, Planned::for_model);
    shared.change_plan(|plan| match (for_some, count) {
        (true, Some(count)) => plan.some.push(planned.times(count)),
        (true, None) => plan.some.push(planned),
        (false, Some(count)) => plan.next.extend(std::iter::repeat_n(fault, count)),
        (false, None) => plan.always = Some(fault),
    });
    Ok(())
}

/// The orders that stand from now on, in place of those before.
fn set_orders(shared: &Shared, order: &Value) -> Result<(), String> {
    let mut orders = Orders::default();
    for (name, value) in order.as_object().ok_or("expected {\"NAME\": \"VALUE\"}")? {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        orders.read(name, &value)?;
    }
    let none = order.as_object().is_none_or(serde_json::Map::is_empty);
    shared.change_plan(|plan| plan.standing = (!none).then_some(orders));
    Ok(())
}

fn set_keys(shared: &Shared, order: &Value) -> Result<(), String> {
    match &order["require"] {
        Value::Null => {}
        Value::Bool(true) => shared.keys.require([]),
        Value::Array(keys) => shared.keys.require(keys.iter().filter_map(|key| key.as_str().map(str::to_owned))),
        other => return Err(format!("expected true or a list of keys, not {other}")),
    }
    if let Some(key) = order["key"].as_str() {
        shared.keys.set(key, key_state(&order["state"])?);
    }
    Ok(())
}

fn key_state(state: &Value) -> Result<Option<KeyState>, String> {
    let unknown = || format!("there is no state {state}");
    Ok(Some(match state {
        Value::Null => return Ok(None),
        Value::Number(status) => {
            KeyState::Status(status.as_u64().and_then(|code| u16::try_from(code).ok()).ok_or_else(unknown)?)
        }
        Value::String(name) => match name.as_str() {
            "refused" => KeyState::Refused,
            "forbidden" => KeyState::Forbidden,
            "no-quota" => KeyState::NoQuota,
            name => {
                let time = name.strip_prefix("limited:").and_then(units::duration);
                KeyState::Limited(time.ok_or_else(unknown)?)
            }
        },
        _ => return Err(unknown()),
    }))
}

fn set_models(shared: &Shared, order: &Value) -> Result<(), String> {
    let models = order["models"].as_array().ok_or("expected {\"models\": [\"m\"]}")?;
    shared.keys.set_models(models.iter().filter_map(|model| model.as_str().map(str::to_owned)));
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

/// How much of a body is told.
const TOLD_BODY: usize = 64 << 10;

fn requests(shared: &Shared) -> Value {
    let one = |seen: &super::Seen| {
        let body = seen.body.get(..TOLD_BODY).unwrap_or(&seen.body);
        json!({
            "body": String::from_utf8_lossy(body),
            "method": seen.method.as_str(), "path_and_query": seen.path_and_query, "body_len": seen.body_len,
            "version": format!("{:?}", seen.version), "headers": super::backend::headers_json(&seen.headers),
        })
    };
    shared.requests().iter().map(one).collect()
}
