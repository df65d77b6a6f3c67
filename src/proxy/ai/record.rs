//! What is told of a request to a model: its line in the access log, and its counts.

use std::time::Duration;

use log::warn;

use super::trail::Trail;
use crate::ai::door;
use crate::clock;
use crate::observe::Termination;
use crate::observe::ai::{AiRecord, Operation, Outcome, Tokens, Try, TryOutcome};
use crate::observe::metrics::{AiObservation, OTHER_MODEL};
use crate::snapshot::books::Books;

/// The longest name of a model that is written to the log, in bytes.
const MOST_NAME: usize = 256;

/// How a request ended, as far as the client is concerned.
#[derive(Debug, Clone, Copy)]
pub struct End {
    /// The status sent; 0: none.
    pub status: u16,
    /// Why it ended.
    pub termination: Termination,
    /// From its header block to its end.
    pub duration: Duration,
}

impl Trail {
    /// For the access log.
    pub fn record(&self) -> AiRecord {
        let mut record = AiRecord::new(self.told_operation());
        if let Some(model) = &self.model {
            record.model = model.chars().take(MOST_NAME).collect();
        }
        record.stream = self.streams;
        for one in &self.tries {
            let (provider, key) = (one.name.clone(), one.key.clone());
            record.tried(Try { provider, key, outcome: one.told(), request_id: one.id.clone() });
        }
        if let Some(last) = self.last_try() {
            record.provider = Some(last.name.clone());
            record.key = last.key.clone();
            record.served = Some(last.model.clone());
        }
        record.tokens = self.usage.as_ref().map(Tokens::from);
        record.estimated = self.estimated;
        record.cost = self.cost;
        record.first_token = self.first_content;
        record.broken = self.broken;
        record
    }

    /// Counts it, and tells the process log when no provider gave a whole answer.
    pub fn count(&self, books: &Books, end: End) {
        let label = self.label.as_deref().unwrap_or(OTHER_MODEL);
        // A provider that has no words for a request has not failed.
        let tries = || self.tries.iter().filter(|one| one.told() != TryOutcome::Unsupported);
        for one in tries() {
            books.model(Some(one.provider), label).tried(one.told());
        }
        for (one, _) in tries().zip(tries().skip(1)).filter(|(one, next)| one.went_on_to(next)) {
            if let Some(provider) = books.providers.get(one.provider) {
                provider.failover(one.told());
            }
        }
        let (last, outcome) = (self.last_try().map(|last| last.provider), self.outcome(end));
        books.model(last, label).record(&AiObservation {
            operation: self.told_operation(),
            status: end.status,
            outcome,
            duration: end.duration,
            first_token: self.first_content,
            generation: self.generation().filter(|_| self.streams),
            tokens: self.usage.as_ref().map(Tokens::from),
            estimated: self.estimated,
            cost: self.cost.unwrap_or(0),
        });
        match outcome {
            Outcome::Failed => self.tell("no target served a request", label, books),
            Outcome::Broken if self.first_content.is_none() => {
                self.tell("an answer broke off before its first content", label, books)
            }
            Outcome::Broken => self.tell("an answer broke off after its first content", label, books),
            _ => {}
        }
    }

    /// For who looks into the process log alone, and not for every request. Of the client's words nothing.
    fn tell(&self, what: &str, label: &str, books: &Books) {
        let Some(last) = self.tries.last() else { return };
        let Some(untold) = books.unserved.get(last.provider).and_then(|of| of.happened(clock::now())) else { return };
        let tries = self.tries.iter().map(|one| {
            let key = one.key.as_ref().map(|key| format!(", key {key}")).unwrap_or_default();
            // One that answered is told of here because it broke off.
            let how = if one.told() == TryOutcome::Answered { Outcome::Broken.as_str() } else { one.told().as_str() };
            format!("provider {}{key}: {how}", one.name)
        });
        let tries = tries.collect::<Vec<_>>().join("; ");
        let said =
            self.said.as_ref().map(|said| format!("; the last one that failed said {said:?}")).unwrap_or_default();
        let more = if untold == 0 { String::new() } else { format!("; {untold} more were not told") };
        warn!(target: "ai", "{what} for model {label}: {tries}{said}{more}");
    }

    fn outcome(&self, end: End) -> Outcome {
        let left = matches!(end.termination, Termination::ClientClosed | Termination::ClientTimeout);
        // A target that was passed over counts: it was looked for, and gave no answer. Where none has words for the request,
        // that is at fault.
        let untried = self.tries.iter().all(|one| one.told() == TryOutcome::Unsupported);
        match (untried, self.first_content.is_some()) {
            _ if left => Outcome::Cancelled,
            _ if self.broken => Outcome::Broken,
            (true, _) if (200..300).contains(&end.status) => Outcome::Local,
            (true, _) => Outcome::Refused,
            (false, true) => Outcome::Answered,
            // A provider's own 400 is an answer.
            (false, false) if end.termination == Termination::Completed => Outcome::Answered,
            (false, false) => Outcome::Failed,
        }
    }

    fn told_operation(&self) -> Operation {
        use door::Operation as Door;
        match self.operation {
            Some(Door::Chat) => Operation::Chat,
            Some(Door::Completions) => Operation::Completions,
            Some(Door::Responses) => Operation::Responses,
            Some(Door::Messages) => Operation::Messages,
            Some(Door::CountTokens) => Operation::CountTokens,
            Some(Door::Embeddings) => Operation::Embeddings,
            Some(Door::Rerank) => Operation::Rerank,
            Some(Door::ImageGeneration | Door::ImageEdit | Door::ImageVariation) => Operation::Images,
            Some(Door::Speech | Door::Transcription | Door::Translation) => Operation::Audio,
            Some(Door::Models) => Operation::Models,
            Some(Door::Moderations) | None => Operation::Other,
        }
    }
}
