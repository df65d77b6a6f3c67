//! The doors that are no conversation: embeddings, ranking, images, speech and its transcription.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::door::Service;
use super::error::Trouble;
use super::json::OPENAI;
use super::question::{texts, tokens};
use super::{Call, Scene, multipart};
use crate::mock::answer::{self, Answer};
use crate::mock::faults::Flavour;
use crate::mock::ledger::Tokens;

/// A quarter second of silence as WAV would be true to life; a fixed head is enough.
const AUDIO: &[u8] = b"RIFF\x24\x08\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00";
/// A PNG of one pixel.
const PIXEL: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

/// The answer to a request with a JSON body.
pub(super) fn json(call: &Call, scene: &Scene, asked: &Value) -> Result<Answer, Trouble> {
    match call.door.service {
        Service::Embeddings => embeddings(call, scene, asked),
        Service::Rerank => rerank(call, scene, asked),
        Service::Speech => speech(scene, asked),
        _ => Ok(images(scene, asked["n"].as_u64(), asked["response_format"].as_str())),
    }
}

/// The answer to a request with a form. JAiRouter's tests send none, and are answered all the same.
pub(super) fn form(call: &Call, scene: &Scene) -> Result<Answer, Trouble> {
    let parts = multipart::parts(scene.upload);
    let multipart =
        scene.upload.headers.get("content-type").is_some_and(|kind| kind.as_bytes().starts_with(b"multipart/"));
    if parts.is_none() && multipart {
        return Err(Trouble::invalid("Could not parse multipart form"));
    }
    let parts = parts.unwrap_or_default();
    let field = |name: &str| {
        let part = parts.iter().find(|part| part.name == name)?;
        Some(String::from_utf8_lossy(part.content).into_owned())
    };
    if call.door.service == Service::ImageEdits {
        let count = field("n").and_then(|count| count.parse().ok());
        return Ok(images(scene, count, field("response_format").as_deref()));
    }
    let file = parts.iter().find(|part| part.name == "file");
    if file.is_none() && multipart {
        return Err(Trouble::missing("file"));
    }
    let heard = file.map_or_else(String::new, |file| {
        format!(": {} of {} bytes", file.file.as_deref().unwrap_or("a file"), file.content.len())
    });
    let text = format!("transcribed by {}{heard}", scene.shared.id);
    let seconds = file.map_or(1, |file| file.content.len() as u64 / 32_000 + 1);
    let answer = match field("response_format").as_deref() {
        Some("text") => answer::text(StatusCode::OK, text + "\n"),
        Some("srt") => answer::text(StatusCode::OK, format!("1\n00:00:00,000 --> 00:00:01,000\n{text}\n\n")),
        Some("vtt") => answer::text(StatusCode::OK, format!("WEBVTT\n\n00:00.000 --> 00:01.000\n{text}\n\n")),
        Some("verbose_json") => answer::json(
            StatusCode::OK,
            &json!({"task": "transcribe", "language": "english", "duration": seconds, "text": text, "segments": []}),
        ),
        _ if scene.silent => answer::json(StatusCode::OK, &json!({"text": text})),
        _ => match (scene.orders.usage.input, scene.orders.usage.output) {
            (None, None) => {
                answer::json(StatusCode::OK, &json!({"text": text, "usage": {"type": "duration", "seconds": seconds}}))
            }
            // As those do that are billed by tokens.
            (input, output) => {
                let (input, output) = (input.unwrap_or(0), output.unwrap_or(0));
                let usage = json!({
                    "type": "tokens", "input_tokens": input, "output_tokens": output, "total_tokens": input + output,
                    "input_token_details": {"text_tokens": 0, "audio_tokens": input},
                });
                scene.whole(
                    &json!({"text": text, "usage": usage}),
                    OPENAI,
                    Tokens { input, output, ..Tokens::default() },
                )
            }
        },
    };
    Ok(answer)
}

fn embeddings(call: &Call, scene: &Scene, asked: &Value) -> Result<Answer, Trouble> {
    // A list of numbers is one text that is already in tokens, a list of such lists several.
    let inputs: Vec<String> = match &asked["input"] {
        Value::String(text) => vec![text.clone()],
        Value::Array(list) if list.iter().all(Value::is_number) && !list.is_empty() => vec![asked["input"].to_string()],
        Value::Array(list) if !list.is_empty() => {
            list.iter().map(|one| one.as_str().map_or_else(|| one.to_string(), str::to_owned)).collect()
        }
        _ => return Err(Trouble::missing("input")),
    };
    let size = asked["dimensions"].as_u64().and_then(|size| usize::try_from(size).ok()).unwrap_or(8).clamp(1, 4096);
    let base64 = asked["encoding_format"] == "base64";
    let one = |(index, text): (usize, &String)| {
        let vector = vector(text, size);
        let embedding = match base64 {
            true => STANDARD.encode(vector.iter().flat_map(|one| one.to_le_bytes()).collect::<Vec<u8>>()).into(),
            false => json!(vector),
        };
        json!({"object": "embedding", "embedding": embedding, "index": index})
    };
    let data: Vec<Value> = inputs.iter().enumerate().map(one).collect();
    let counted = inputs.iter().map(|text| tokens(text.chars().count()).max(1)).sum();
    let used = scene.orders.usage.input.unwrap_or(counted);
    let mut whole = json!({"object": "list", "data": data, "model": model(call)});
    if !scene.silent {
        whole["usage"] = json!({"prompt_tokens": used, "total_tokens": used});
    }
    Ok(scene.whole(&whole, OPENAI, Tokens { input: used, ..Tokens::default() }))
}

/// JAiRouter's requests may leave it to the router which model.
fn model(call: &Call) -> &str {
    if call.model.is_empty() { "qwen2:7b" } else { &call.model }
}

/// Numbers from -1 to 1 that a text always has.
pub(super) fn vector(text: &str, size: usize) -> Vec<f32> {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().cycle().take(size).map(|byte| f32::from(*byte) / 127.5 - 1.0).collect()
}

fn rerank(call: &Call, scene: &Scene, asked: &Value) -> Result<Answer, Trouble> {
    let documents = asked["documents"].as_array().ok_or_else(|| Trouble::missing("documents"))?;
    let most = asked["top_n"].as_u64().and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
    let vllm = matches!(scene.orders.flavour, Flavour::Vllm { .. });
    let one = |(index, document): (usize, &Value)| {
        let score = 1.0 / (index + 1) as f64;
        let own = document["text"].as_str().or_else(|| document.as_str()).unwrap_or_default();
        match vllm {
            true => json!({"index": index, "document": {"text": own}, "relevance_score": score}),
            false => json!({"index": index, "score": score, "relevance_score": score, "document": document}),
        }
    };
    let results: Vec<Value> = documents.iter().enumerate().take(most).map(one).collect();
    let chars: usize = documents.iter().map(|document| document.to_string().chars().count()).sum();
    let used = scene.orders.usage.input.unwrap_or_else(|| tokens(chars).max(1));
    let mut whole = json!({"id": format!("rerank-{}", scene.number), "results": results, "model": model(call)});
    if !scene.silent {
        whole["usage"] = json!({"prompt_tokens": used, "total_tokens": used});
    }
    Ok(scene.whole(&whole, OPENAI, Tokens { input: used, ..Tokens::default() }))
}

fn speech(scene: &Scene, asked: &Value) -> Result<Answer, Trouble> {
    let text = texts(&asked["input"]).concat();
    if text.is_empty() {
        return Err(Trouble::missing("input"));
    }
    let kind = match asked["response_format"].as_str() {
        Some("mp3") => "audio/mpeg",
        Some("opus") => "audio/opus",
        Some("aac") => "audio/aac",
        Some("flac") => "audio/flac",
        Some("pcm") => "audio/pcm",
        _ => "audio/wav",
    };
    let mut answer = answer::typed(StatusCode::OK, kind, Bytes::from_static(AUDIO));
    let input = scene.orders.usage.input.unwrap_or_else(|| tokens(text.chars().count()));
    answer.extensions_mut().insert(Tokens { input, ..Tokens::default() });
    Ok(answer)
}

fn images(scene: &Scene, count: Option<u64>, format: Option<&str>) -> Answer {
    let image = |_| match format {
        Some("b64_json") => json!({"b64_json": PIXEL, "revised_prompt": "a mock"}),
        _ => json!({"url": "http://127.0.0.1/mock.png", "revised_prompt": "a mock"}),
    };
    let data: Vec<Value> = (0..count.unwrap_or(1).clamp(1, 10)).map(image).collect();
    let made = data.len() as u64;
    let used = scene.orders.usage;
    let (input, output) = (used.input.unwrap_or(10), used.output.unwrap_or(100 * made));
    let mut whole = json!({"created": 1_700_000_000, "data": data});
    if !scene.silent {
        whole["usage"] = json!({
            "input_tokens": input, "output_tokens": output, "total_tokens": input + output,
            "input_tokens_details": {"text_tokens": input, "image_tokens": 0},
        });
    }
    scene.whole(&whole, OPENAI, Tokens { input, output, ..Tokens::default() })
}
