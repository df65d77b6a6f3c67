//! The AI providers: which door was asked, with which key, for which model, and the answer in that provider's dialect.
//!
//! Every dialect reads its request into one [`question::Question`]; one [`reply::Reply`] is planned from it by fixed rules; the dialect
//! writes it, whole or as a [`script::Script`] of events, which [`play`] performs with the pace and the faults ordered.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde_json::Value;

use super::answer::{self, Answer, Payload};
use super::backend::Upload;
use super::faults::{ErrorShape, Fault, Flavour, Orders, Stage, Twist};
use super::ledger::{Serves, Tokens};
use super::state::Shared;
use super::wire::Conn;

mod chat;
mod door;
mod error;
mod failure;
mod flow;
mod gemini;
mod jairouter;
mod json;
mod keys;
mod messages;
mod models;
mod multipart;
mod other;
mod play;
mod question;
mod ratelimit;
mod reply;
mod responses;
mod script;

pub(super) use door::Door;
pub use flow::{FlowClaims, flow_claims};
pub use keys::KeyState;
pub(super) use keys::Keys;

use door::{Service, Shape};
use error::Trouble;
pub(super) use jairouter::failure;
pub(super) use models::of_router as models_of_router;

/// A request on an AI path, read as far as every door needs it.
pub(super) struct Call {
    door: Door,
    /// The body, where it is JSON.
    asked: Option<Value>,
    /// The provider key, as it was sent; with Flow the client id.
    pub(super) key: String,
    /// The model, from the body or the path.
    pub(super) model: String,
}

/// What the answer to one call may use.
struct Scene<'a> {
    shared: &'a Shared,
    upload: &'a Upload,
    orders: &'a Orders,
    conn: Arc<Conn>,
    serves: Serves,
    /// Where nothing about tokens is said.
    silent: bool,
    number: u64,
    created: i64,
}

impl Call {
    /// Reads what arrived at a door.
    pub(super) fn read(door: Door, upload: &Upload) -> Self {
        let asked = if door.service.takes_json() { serde_json::from_slice::<Value>(&upload.body).ok() } else { None };
        let form = || multipart::field(upload, "model");
        let in_body = asked.as_ref().and_then(|asked| asked["model"].as_str()).map(str::to_owned);
        let model = door.named.clone().or(in_body).or_else(form).unwrap_or_default();
        Self { key: keys::sent(&door, upload), door, asked, model }
    }

    /// Whether books are kept on it: lists of models are free.
    pub(super) fn is_counted(&self) -> bool {
        !matches!(self.door.service, Service::Models | Service::Model)
    }

    /// The answer, with the faults of streams in it. Other faults are applied to what is returned.
    pub(super) fn answer(
        &self,
        shared: &Shared,
        upload: &Upload,
        orders: &Orders,
        conn: &Arc<Conn>,
        serves: Serves,
    ) -> Answer {
        let scene = Scene {
            shared,
            upload,
            orders,
            conn: conn.clone(),
            serves,
            silent: orders.fault == Some(Fault::NoUsage),
            number: shared.next_number(),
            created: jiff::Timestamp::now().as_second(),
        };
        let mut answer = self.refusal(&scene).unwrap_or_else(|| {
            let answered = self.serve(&scene);
            answered.unwrap_or_else(|trouble| self.trouble(&scene, trouble))
        });
        ratelimit::describe(&self.door, &scene, &self.key, &mut answer);
        spoil(&scene, answer)
    }

    /// The error that was ordered, or the one that the key or the model earns.
    fn refusal(&self, scene: &Scene) -> Option<Answer> {
        let orders = scene.orders;
        let inside = self.streams(orders) && matches!(orders.fault, Some(Fault::At(_, Twist::Error(_))));
        if let Some(shape) = orders.error.filter(|_| !inside) {
            return Some(jairouter::failure(shape, orders.status));
        }
        let refused = match orders.fault {
            Some(Fault::OkFalse) => return Some(jairouter::failure(ErrorShape::OkFalse, None)),
            Some(Fault::Status(status)) => Some(Trouble::of_status(status)),
            Some(Fault::Refusal(refusal)) => Some(Trouble::of_refusal(refusal, self.door.shape, &self.model)),
            Some(Fault::RateLimit(reset)) => Some(Trouble::limited(reset, &self.model)),
            Some(Fault::At(_, Twist::Error(status))) if !self.streams(orders) => Some(Trouble::of_status(status)),
            _ => orders.status.filter(|status| !status.is_success()).map(|status| Trouble::of_status(status.as_u16())),
        };
        let refused = refused.or_else(|| scene.shared.keys.check(self, scene.upload));
        refused.map(|trouble| self.trouble(scene, trouble))
    }

    fn trouble(&self, scene: &Scene, trouble: Trouble) -> Answer {
        let streams = self.asked_to_stream() && self.door.shape == Shape::Gemini;
        trouble.answer(self.shape(scene.orders), scene.number, streams && !self.wants_sse(scene.upload))
    }

    /// The shape of errors: that of the door, in the flavour ordered.
    fn shape(&self, orders: &Orders) -> error::Manner {
        error::Manner { shape: self.door.shape, flavour: orders.flavour }
    }

    /// Whether the answer is an event stream.
    pub(super) fn streams(&self, orders: &Orders) -> bool {
        self.asked_to_stream() && orders.fault != Some(Fault::IgnoresStream)
    }

    fn asked_to_stream(&self) -> bool {
        match self.door.service {
            Service::Generate { stream } => stream,
            Service::Chat | Service::Completions | Service::Responses | Service::Messages => {
                self.asked.as_ref().is_some_and(|asked| asked["stream"].as_bool() == Some(true))
            }
            _ => false,
        }
    }

    /// Whether Gemini was asked for events; else its stream is a JSON array.
    fn wants_sse(&self, upload: &Upload) -> bool {
        upload.query().split('&').any(|pair| pair == "alt=sse")
    }

    fn serve(&self, scene: &Scene) -> Result<Answer, Trouble> {
        if scene.upload.method != self.door.service.method() {
            return Err(Trouble::method(&scene.upload.method));
        }
        if matches!(self.door.shape, Shape::Anthropic) && scene.orders.flavour == (Flavour::Vllm { messages: false }) {
            return Err(Trouble::no_such_path());
        }
        match self.door.service {
            Service::Models | Service::Model => return models::answer(self, scene),
            Service::ImageEdits | Service::Transcriptions | Service::Translations => return other::form(self, scene),
            _ => {}
        }
        let asked =
            self.asked.as_ref().filter(|asked| asked.is_object()).ok_or_else(|| Trouble::no_json(self.door.shape))?;
        let stream = self.streams(scene.orders);
        match self.door.service {
            Service::Chat => chat::answer(self, scene, asked, stream),
            Service::Completions => chat::completions::answer(self, scene, asked, stream),
            Service::Responses => responses::answer(self, scene, asked, stream),
            Service::Messages => messages::answer(self, scene, asked, stream),
            Service::CountTokens => messages::count(scene, asked),
            Service::Generate { .. } => gemini::answer(self, scene, asked, stream),
            Service::GeminiCount => gemini::count(scene, asked),
            Service::GeminiEmbed { batch } => gemini::embed(asked, batch),
            _ => other::json(self, scene, asked),
        }
    }
}

impl Scene<'_> {
    /// The answer that is this JSON in the order of a dialect's keys, and serves these tokens.
    fn whole(&self, value: &Value, order: &[&str], tokens: Tokens) -> Answer {
        let mut answer = answer::typed(StatusCode::OK, "application/json", json::written(value, order));
        answer.extensions_mut().insert(tokens);
        answer
    }
}

/// Faults of whole answers that are 200 all the same.
fn spoil(scene: &Scene, answer: Answer) -> Answer {
    let (mut parts, payload) = answer.into_parts();
    let payload = match (scene.orders.fault, payload) {
        (Some(Fault::InvalidJson | Fault::At(_, Twist::Garbage | Twist::Finish)), Payload::Whole(bytes)) => {
            scene.serves.spoil();
            Payload::Whole(bytes.slice(..bytes.len() / 2))
        }
        (Some(Fault::Empty), _) => {
            scene.serves.spoil();
            Payload::Whole(bytes::Bytes::new())
        }
        (Some(Fault::At(_, Twist::Huge(size))), Payload::Whole(bytes)) if bytes.starts_with(b"{") => {
            let padding = "x".repeat(usize::try_from(size.min(256 << 20)).unwrap_or(0));
            let rest = String::from_utf8_lossy(bytes.get(1..).unwrap_or_default()).into_owned();
            Payload::Whole(format!("{{\"padding\":\"{padding}\",{rest}").into())
        }
        (Some(Fault::WrongType), payload) => {
            parts.headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("text/html"));
            payload
        }
        (_, payload) => payload,
    };
    http::Response::from_parts(parts, payload)
}

/// The pause that a fault of streams means for a whole answer.
pub(super) fn delay_of_whole(fault: Option<Fault>) -> Duration {
    match fault {
        Some(Fault::At(_, Twist::Delay(delay))) => delay,
        _ => Duration::ZERO,
    }
}

/// The fault of a stream, if it is one, and the framing that one may be.
fn of_stream(orders: &Orders) -> (Option<(Stage, Twist)>, super::faults::Framing) {
    match orders.fault {
        Some(Fault::At(stage, twist)) => (Some((stage, twist)), orders.framing),
        Some(Fault::Framed(framing)) => (None, framing),
        Some(Fault::InvalidJson) => (Some((Stage::Start, Twist::Garbage)), orders.framing),
        _ => (None, orders.framing),
    }
}
