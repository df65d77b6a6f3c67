//! What one target is asked: the body in the dialect of its provider, changed only where it has to be.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;

use super::{Job, LONG, aside};
use crate::ai::body::{Asked, Edit, Naming};
use crate::ai::catalog::Candidate;
use crate::ai::dialect::{Dialect, translate};
use crate::ai::refusal::Refusal;
use crate::ai::way::{self, Way};
use crate::config::ai::ProviderKind;
use crate::observe::Termination;
use crate::observe::ai::Phase;
use crate::proxy::ai::body::{Body, Held};
use crate::snapshot::ai::ProviderState;

/// What asks for usage in a stream.
pub(super) const STREAM_OPTIONS: &str = "stream_options";

/// What is asked of one candidate.
pub(super) struct Prepared {
    pub(super) way: Way,
    pub(super) body: Bytes,
    /// What its answer needs to be translated.
    pub(super) notes: Option<translate::Notes>,
    /// It asks for usage in the stream, which the client did not.
    pub(super) adds_options: bool,
}

impl Job {
    /// The body for `candidate`, in the dialect of its provider.
    pub(super) async fn prepare(&self, candidate: &Candidate, provider: &ProviderState) -> Result<Prepared, Refusal> {
        let unsupported = || {
            let message = format!("the provider of this model does not offer {}", self.operation.path());
            Refusal::of_request(StatusCode::BAD_REQUEST, "UNSUPPORTED_OPERATION", message)
        };
        let way = way::way(&provider.config, self.operation).ok_or_else(unsupported)?;
        let asked = match &*self.body {
            Body::Json(asked) => asked,
            Body::Form(form) => {
                let body = form.with_model(&candidate.model);
                return Ok(Prepared { way, body, notes: None, adds_options: false });
            }
        };
        let mut edit = asked.edit();
        for name in self.strip.iter().chain(&provider.config.strip_body_fields) {
            edit = edit.remove(name);
        }
        let Way::Translate(dialect) = way else {
            edit = edit.model(way::model_in_body(&provider.config, self.operation, &candidate.model));
            // Without it a stream would not tell what it used; a client that did not ask does not see it.
            let wants = asked.stream && self.operation.asks_for_usage() && provider.takes_stream_options();
            if wants {
                edit = edit.include_usage();
            }
            let adds_options = wants && !asked.stream_options;
            let body = Self::own_thinking(edit.build(), self.operation.dialect(), provider, &candidate.model).await?;
            return Ok(Prepared { way, body, notes: None, adds_options });
        };
        // Some clients write down what they do not say, also of what no other dialect has a word for.
        let edit = asked.nulls().fold(edit, Edit::remove);
        let _room = self.room(asked)?;
        let working = self.ai.books.gateway.begin(Phase::Translate);
        let (body, client, model) = (edit.build(), self.operation.dialect(), Arc::clone(&candidate.model));
        let translate = move || translate::request(client, dialect, &body, &model);
        let translated = aside(asked.body().len(), translate).await.ok_or_else(Refusal::internal)?;
        drop(working);
        let translated = translated.map_err(|cannot| {
            Refusal::of_request(StatusCode::BAD_REQUEST, "INVALID_REQUEST", cannot.message).param(cannot.param)
        })?;
        let (mut body, notes) = (Bytes::from(translated.body), Some(translated.notes));
        let has_options = dialect == Dialect::Chat && asked.stream;
        let adds_options = has_options && provider.takes_stream_options();
        if has_options && !adds_options {
            let written = Asked::read(&body, dialect, Naming::Body).map_err(|_| Refusal::internal())?;
            body = written.edit().remove(STREAM_OPTIONS).build();
        }
        if dialect == Dialect::Chat {
            body = Self::own_thinking(body, dialect, provider, &candidate.model).await?;
        }
        Ok(Prepared { way, body, notes, adds_options })
    }

    /// A body of this dialect without what others thought, where its provider refuses that.
    async fn own_thinking(
        body: Bytes,
        dialect: Dialect,
        provider: &ProviderState,
        model: &Arc<str>,
    ) -> Result<Bytes, Refusal> {
        let (length, model) = (body.len(), Arc::clone(model));
        let own = match provider.config.kind {
            ProviderKind::Anthropic { .. } => {
                aside(length, move || translate::without_foreign_thinking(&body, &model).map_or(body, Bytes::from))
                    .await
            }
            ProviderKind::OpenAi | ProviderKind::AzureOpenAi { .. } if dialect == Dialect::Chat => {
                aside(length, move || translate::without_foreign_fields(&body).map_or(body, Bytes::from)).await
            }
            _ => return Ok(body),
        };
        own.ok_or_else(Refusal::internal)
    }

    /// The memory that its translation takes, while it lasts.
    fn room(&self, asked: &Asked) -> Result<Option<Held>, Refusal> {
        if asked.body().len() <= LONG {
            return Ok(None);
        }
        let most = self.held.most();
        if asked.bulk_of_length() > most {
            let message = format!(
                "the request is too long for a translation to the dialect of the model's provider, which would take more than \
                 the {most} bytes that all requests for models may have here"
            );
            return Err(Refusal::of_request(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", message));
        }
        if asked.bulk() > most {
            let message = "the request has too many parts for a translation to the dialect of the model's provider";
            return Err(Refusal::of_request(StatusCode::BAD_REQUEST, "INVALID_REQUEST", message));
        }
        self.held.beside(asked.bulk()).map(Some).ok_or_else(busy)
    }
}

/// What a client is told while others take all of the memory for bodies.
pub fn busy() -> Refusal {
    let message = "requests for models fill the memory that they may have: retry in a moment";
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", message, Termination::Rejected).after(1)
}
