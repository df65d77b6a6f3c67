//! JAiRouter's AI answers (F01 to F06) and its error bodies (F07, F08).
//!
//! A path serves with and without the `/api` prefix. The text of an answer says which backend gave it and how long the question was.

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use serde_json::{Value, json};

use super::answer::{self, Answer, Payload};
use super::backend::Upload;
use super::faults::{ErrorShape, Orders};
use super::sse::{self, Cadence};
use super::state::Shared;

/// A quarter second of silence as WAV would be true to life; a fixed head is enough.
const AUDIO: &[u8] = b"RIFF\x24\x08\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00";

/// The answer to an AI path, or `None` when `path` is not one.
pub(super) fn answer(shared: &Shared, upload: &Upload, orders: &Orders) -> Option<Answer> {
    let path = upload.path();
    let path = path.strip_prefix("/api").filter(|rest| rest.starts_with("/v1/")).unwrap_or(path);
    if path == "/v1/models" && upload.method == Method::GET {
        return Some(answer::json(StatusCode::OK, &models(None)));
    }
    if path == "/api/models" && upload.method == Method::GET {
        return Some(answer::json(StatusCode::OK, &json!({"success": true, "data": models(Some("chat"))})));
    }
    let path = path.strip_prefix("/v1/")?;
    if upload.method != Method::POST {
        return None;
    }
    if path == "audio/transcriptions" {
        return Some(answer::json(StatusCode::OK, &json!({"text": format!("transcribed by {}", shared.id)})));
    }
    if path == "images/edits" {
        return Some(answer::json(StatusCode::OK, &images()));
    }
    if !matches!(path, "chat/completions" | "embeddings" | "rerank" | "audio/speech" | "images/generations") {
        return None;
    }
    let Ok(asked) = serde_json::from_slice::<Value>(&upload.body) else {
        return Some(documented(StatusCode::BAD_REQUEST, "Required request body is missing"));
    };
    Some(match path {
        "chat/completions" => chat(shared, &asked, orders),
        "embeddings" => answer::json(StatusCode::OK, &embeddings(&asked)),
        "rerank" => answer::json(StatusCode::OK, &rerank(&asked)),
        "audio/speech" => answer::typed(StatusCode::OK, "audio/wav", Bytes::from_static(AUDIO)),
        _ => answer::json(StatusCode::OK, &images()),
    })
}

/// One of the error bodies, with the ordered status where the shape leaves it open.
pub(super) fn error(shape: ErrorShape, status: Option<StatusCode>) -> Answer {
    let unavailable = StatusCode::SERVICE_UNAVAILABLE;
    match shape {
        ErrorShape::Router => {
            let status = status.unwrap_or(unavailable);
            let message = "No healthy instance for the requested model";
            answer::json(status, &router_failure(message, status.as_str()))
        }
        ErrorShape::Auth => {
            let message = "请求缺少认证信息，请提供X-API-Key";
            let body = json!({"error": {"message": message, "type": "authentication_error", "code": "AUTH_MISSING"}});
            let mut answer = Response::new(Payload::Whole(Bytes::from(body.to_string())));
            *answer.status_mut() = status.unwrap_or(StatusCode::UNAUTHORIZED);
            answer
        }
        ErrorShape::Documented => documented(status.unwrap_or(unavailable), "The request could not be served"),
        ErrorShape::Fallback => {
            let text = "Service is currently degraded, please try again later";
            answer::typed(status.unwrap_or(unavailable), "application/json", text)
        }
        ErrorShape::OkFalse => answer::json(StatusCode::OK, &router_failure("Service rate limit exceeded", "500")),
    }
}

fn router_failure(message: &str, code: &str) -> Value {
    let timestamp = jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M:%S").to_string();
    json!({"success": false, "message": message, "errorCode": code, "timestamp": timestamp})
}

fn documented(status: StatusCode, message: &str) -> Answer {
    let kind = match status.as_u16() {
        404 => "not_found",
        429 => "rate_limit_exceeded",
        500 => "internal_error",
        503 => "service_unavailable",
        _ => "invalid_request",
    };
    let error = json!({"message": message, "type": kind, "code": kind.to_uppercase(), "details": {}});
    answer::json(status, &json!({"error": error}))
}

fn models(owner: Option<&str>) -> Value {
    let model = |id: &str| match owner {
        None => json!({"id": id, "object": "model", "created": 1_700_000_000, "owned_by": "mock"}),
        Some(service) => json!({
            "id": id, "object": "model", "created": 1_700_000_000, "owned_by": "model-router",
            "service_type": service, "adapter": "normal",
        }),
    };
    json!({"object": "list", "data": [model("qwen2:7b"), model("llama3.1")]})
}

fn model_of(asked: &Value) -> &str {
    asked["model"].as_str().unwrap_or("qwen2:7b")
}

/// Characters of all message texts, the question's size.
fn asked_chars(asked: &Value) -> usize {
    let messages = asked["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    messages.iter().map(|message| message["content"].as_str().map_or(0, |text| text.chars().count())).sum()
}

fn usage(prompt_chars: usize, words: usize) -> Value {
    let prompt = prompt_chars.div_ceil(4).max(1);
    json!({"prompt_tokens": prompt, "completion_tokens": words, "total_tokens": prompt + words})
}

fn chat(shared: &Shared, asked: &Value, orders: &Orders) -> Answer {
    let question = asked_chars(asked);
    let text = format!("This is {} answering a question of {question} characters.", shared.id);
    let words: Vec<&str> = text.split_inclusive(' ').collect();
    let model = model_of(asked);
    let created = jiff::Timestamp::now().as_second();
    if asked["stream"].as_bool() == Some(true) {
        let wants_usage = asked["stream_options"]["include_usage"].as_bool() == Some(true);
        let usage = wants_usage.then(|| usage(question, words.len()));
        return chat_stream(&words, model, created, usage, orders.sse);
    }
    let message = json!({"role": "assistant", "content": text});
    answer::json(
        StatusCode::OK,
        &json!({
            "id": format!("chatcmpl-{created}"), "object": "chat.completion", "created": created, "model": model,
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": usage(question, words.len()), "system_fingerprint": "fp_mock",
        }),
    )
}

/// A role chunk, one chunk per word (repeated up to the ordered number of events), `stop`, the usage if asked for, `[DONE]`.
fn chat_stream(words: &[&str], model: &str, created: i64, usage: Option<Value>, order: Option<Cadence>) -> Answer {
    let cadence =
        order.unwrap_or(Cadence { events: words.len() as u64, interval: std::time::Duration::ZERO, padding: 0 });
    let head = json!({"id": format!("chatcmpl-{created}"), "object": "chat.completion.chunk", "created": created, "model": model});
    let chunk = move |delta: Value, finish: Option<&str>| {
        let mut chunk = head.clone();
        chunk["choices"] = json!([{"index": 0, "delta": delta, "finish_reason": finish}]);
        chunk
    };
    let words: Vec<String> = words.iter().map(ToString::to_string).collect();
    let mut step: u64 = 0;
    sse::paced(cadence.interval, move || {
        let at = step;
        step += 1;
        let value = match at.checked_sub(cadence.events + 1) {
            None if at == 0 => chunk(json!({"role": "assistant", "content": ""}), None),
            None => {
                let word = words.iter().cycle().nth((at as usize - 1) % words.len().max(1));
                chunk(json!({"content": word}), None)
            }
            Some(0) => chunk(json!({}), Some("stop")),
            Some(1) => match &usage {
                None => return Some(done(&mut step)),
                Some(usage) => {
                    let mut last = chunk(json!({}), None);
                    last["choices"] = json!([]);
                    last["usage"] = usage.clone();
                    last
                }
            },
            Some(2) => return Some(done(&mut step)),
            Some(_) => return None,
        };
        Some(Bytes::from(format!("data: {value}\n\n")))
    })
}

/// The last event; moves `step` past every other.
fn done(step: &mut u64) -> Bytes {
    *step = u64::MAX / 2;
    Bytes::from_static(b"data: [DONE]\n\n")
}

fn embeddings(asked: &Value) -> Value {
    let count = asked["input"].as_array().map_or(1, Vec::len);
    let data: Vec<Value> = (0..count)
        .map(|index| json!({"object": "embedding", "embedding": [0.1, -0.2, 0.3, 0.4], "index": index}))
        .collect();
    json!({"object": "list", "data": data, "model": model_of(asked), "usage": {"prompt_tokens": 4, "total_tokens": 4}})
}

fn rerank(asked: &Value) -> Value {
    let documents = asked["documents"].as_array().map(Vec::as_slice).unwrap_or_default();
    let results: Vec<Value> = documents
        .iter()
        .enumerate()
        .map(|(index, document)| json!({"index": index, "score": 1.0 / (index + 1) as f64, "document": document}))
        .collect();
    json!({"id": "rerank-1", "results": results, "model": model_of(asked), "usage": {"total_tokens": 8}})
}

fn images() -> Value {
    json!({"created": 1_700_000_000, "data": [{"url": "http://127.0.0.1/mock.png", "revised_prompt": "a mock"}]})
}
