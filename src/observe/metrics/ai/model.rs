//! Requests for one model at one provider.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use super::buckets::{Buckets, NANOS, ONES};
use super::{NO_PROVIDER, lock};
use crate::config::ai::ProviderKind;
use crate::observe::ai::{Operation, Outcome, Tokens, TryOutcome};
use crate::observe::metrics::counters::Counters;
use crate::observe::metrics::family::Families;
use crate::observe::metrics::statuses::Statuses;

/// The classes of a status, in hundreds; 0 when none was sent.
const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];
const OUTCOMES: usize = TryOutcome::ALL.len();
const TOKENS: usize = OUTCOMES + Outcome::ALL.len() * CLASSES.len();
const REPORTED: usize = TOKENS + Tokens::KINDS.len();
const ESTIMATED: usize = REPORTED + 1;
const MICRO_DOLLARS: usize = REPORTED + 2;

/// Bounds that OpenTelemetry's conventions advise: tokens, then times in nanoseconds.
const TOKEN_BOUNDS: [u64; 14] =
    [1, 4, 16, 64, 256, 1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216, 67_108_864];
const DURATION_BOUNDS: [u64; 14] =
    millis([10, 20, 40, 80, 160, 320, 640, 1_280, 2_560, 5_120, 10_240, 20_480, 40_960, 81_920]);
const FIRST_TOKEN_BOUNDS: [u64; 16] =
    millis([1, 5, 10, 20, 40, 60, 80, 100, 250, 500, 750, 1_000, 2_500, 5_000, 7_500, 10_000]);
const PER_TOKEN_BOUNDS: [u64; 13] = millis([10, 25, 50, 75, 100, 150, 200, 300, 400, 500, 750, 1_000, 2_500]);

/// What is recorded of one request to the AI gateway, once, at its end.
#[derive(Debug, Clone, Copy)]
pub struct AiObservation {
    /// The door.
    pub operation: Operation,
    /// The status sent to the client; 0 when none was.
    pub status: u16,
    /// How it ended.
    pub outcome: Outcome,
    /// From its header block to the end of the answer.
    pub duration: Duration,
    /// From its header block to the provider's first content.
    pub first_token: Option<Duration>,
    /// From a stream's first content to its last.
    pub generation: Option<Duration>,
    /// The tokens used.
    pub tokens: Option<Tokens>,
    /// Whether they were counted here, because the provider did not say.
    pub estimated: bool,
    /// What they cost, in millionths of a dollar.
    pub cost: u64,
}

/// One model at one provider.
pub struct AiModelMetrics {
    provider: Arc<str>,
    model: Arc<str>,
    /// What the conventions call the provider. A reload may change it.
    kind: Mutex<&'static str>,
    counters: Counters<{ MICRO_DOLLARS + 1 }>,
    statuses: Statuses,
    /// By operation, made when first used.
    operations: [OnceLock<Box<OperationMetrics>>; Operation::ALL.len()],
}

/// The histograms of one operation.
struct OperationMetrics {
    duration: Buckets<{ DURATION_BOUNDS.len() + 2 }>,
    first_token: Buckets<{ FIRST_TOKEN_BOUNDS.len() + 2 }>,
    per_token: Buckets<{ PER_TOKEN_BOUNDS.len() + 2 }>,
    input: Buckets<{ TOKEN_BOUNDS.len() + 2 }>,
    output: Buckets<{ TOKEN_BOUNDS.len() + 2 }>,
}

impl AiModelMetrics {
    pub(super) fn new(provider: Arc<str>, model: Arc<str>) -> Self {
        Self {
            provider,
            model,
            kind: Mutex::new(NO_PROVIDER),
            counters: Counters::new(),
            statuses: Statuses::default(),
            operations: std::array::from_fn(|_| OnceLock::new()),
        }
    }

    pub(super) fn set_kind(&self, kind: Option<&ProviderKind>) {
        *lock(&self.kind) = kind.map_or(NO_PROVIDER, gen_ai_name);
    }

    /// Counts a try at this target.
    pub fn tried(&self, outcome: TryOutcome) {
        self.counters.add(outcome as usize, 1);
    }

    /// Records a request that has ended, where it was answered or tried last. Some relaxed additions.
    pub fn record(&self, observation: &AiObservation) {
        let class = usize::from(observation.status / 100).min(CLASSES.len() - 1);
        self.counters.add(OUTCOMES + observation.outcome as usize * CLASSES.len() + class, 1);
        self.statuses.add(observation.status);
        if observation.cost > 0 {
            self.counters.add(MICRO_DOLLARS, observation.cost);
        }
        if let Some(tokens) = &observation.tokens {
            self.counters.add(if observation.estimated { ESTIMATED } else { REPORTED }, 1);
            for (kind, count) in tokens.counts().into_iter().enumerate().filter(|(_, count)| *count > 0) {
                self.counters.add(TOKENS + kind, count);
            }
        }
        if let Some(operation) = self.operations.get(observation.operation as usize) {
            operation.get_or_init(|| Box::new(OperationMetrics::new())).record(observation);
        }
    }

    pub(super) fn collect(&self, out: &mut Families) {
        let (provider, model) = (("provider", &*self.provider), ("model", &*self.model));
        for (status, count) in self.statuses.counts() {
            let labels = [provider, model, ("status", &*status.to_string())];
            let help = "Requests to models by status; status 0: none was sent.";
            out.counter("ai_gateway_requests_total", help, &labels, count);
        }
        self.collect_outcomes(out);
        for outcome in TryOutcome::ALL {
            let count = self.counters.sum(outcome as usize);
            if count > 0 {
                let labels = [provider, model, ("outcome", outcome.as_str())];
                let help = "Tries at a provider and model by how they ended.";
                out.counter("sluicegate_ai_attempts_total", help, &labels, count);
            }
        }
        let (reported, estimated) = (self.counters.sum(REPORTED), self.counters.sum(ESTIMATED));
        if reported + estimated > 0 {
            self.collect_usage(out, reported, estimated);
        }
        let kind = *lock(&self.kind);
        for (operation, metrics) in Operation::ALL.iter().zip(&self.operations) {
            if let Some(metrics) = metrics.get() {
                metrics.collect(
                    out,
                    &[
                        ("gen_ai_operation_name", operation.gen_ai_name()),
                        ("gen_ai_provider_name", kind),
                        ("gen_ai_request_model", &self.model),
                        provider,
                        ("operation", operation.as_str()),
                    ],
                );
            }
        }
    }

    fn collect_outcomes(&self, out: &mut Families) {
        let (provider, model) = (("provider", &*self.provider), ("model", &*self.model));
        let mut broken = 0;
        for outcome in Outcome::ALL {
            for (class, status) in CLASSES.iter().enumerate() {
                let count = self.counters.sum(OUTCOMES + outcome as usize * CLASSES.len() + class);
                if count > 0 {
                    let labels = [provider, model, ("status", *status), ("outcome", outcome.as_str())];
                    let help = "Requests to models by class of status and how they ended.";
                    out.counter("sluicegate_ai_requests_total", help, &labels, count);
                }
                broken += if outcome == Outcome::Broken { count } else { 0 };
            }
        }
        if broken > 0 {
            let help = "Streams that broke after a part of them had gone out.";
            out.counter("sluicegate_ai_broken_streams_total", help, &[provider, model], broken);
        }
    }

    fn collect_usage(&self, out: &mut Families, reported: u64, estimated: u64) {
        let (provider, model) = (("provider", &*self.provider), ("model", &*self.model));
        for (kind, word) in Tokens::KINDS.iter().enumerate() {
            let help = "Tokens used; those read from and written to the provider's cache are within input, reasoning within output.";
            let count = self.counters.sum(TOKENS + kind);
            out.counter("sluicegate_ai_tokens_total", help, &[provider, model, ("type", *word)], count);
        }
        for (source, count) in [("provider", reported), ("estimate", estimated)] {
            let help = "Answers whose tokens are known, by who counted them.";
            out.counter("sluicegate_ai_usage_total", help, &[provider, model, ("source", source)], count);
        }
        let dollars = self.counters.sum(MICRO_DOLLARS) as f64 / 1e6;
        out.amount(
            "sluicegate_ai_cost_dollars_total",
            "What the tokens cost, in dollars.",
            &[provider, model],
            dollars,
        );
    }
}

impl OperationMetrics {
    fn new() -> Self {
        Self {
            duration: Buckets::new(&DURATION_BOUNDS),
            first_token: Buckets::new(&FIRST_TOKEN_BOUNDS),
            per_token: Buckets::new(&PER_TOKEN_BOUNDS),
            input: Buckets::new(&TOKEN_BOUNDS),
            output: Buckets::new(&TOKEN_BOUNDS),
        }
    }

    fn record(&self, observation: &AiObservation) {
        self.duration.record_time(observation.duration);
        if let Some(time) = observation.first_token {
            self.first_token.record_time(time);
        }
        let Some(tokens) = &observation.tokens else { return };
        self.input.record(tokens.input);
        self.output.record(tokens.output);
        // The first token is there when the generation begins.
        let after_first = u32::try_from(tokens.output.saturating_sub(1)).unwrap_or(u32::MAX);
        if let Some(time) = observation.generation.and_then(|time| time.checked_div(after_first)) {
            self.per_token.record_time(time);
        }
    }

    fn collect(&self, out: &mut Families, labels: &[(&str, &str); 5]) {
        let [operation, provider, model, name, door] = *labels;
        let help = "Time from a request to a model to the end of its answer.";
        self.duration.collect(out, "gen_ai_server_request_duration_seconds", help, labels, NANOS);
        let help = "Time from a request to a model to the first content of its answer.";
        self.first_token.collect(out, "gen_ai_server_time_to_first_token_seconds", help, labels, NANOS);
        let help = "Time between the tokens of a stream, after the first.";
        self.per_token.collect(out, "gen_ai_server_time_per_output_token_seconds", help, labels, NANOS);
        for (kind, buckets) in [("input", &self.input), ("output", &self.output)] {
            let labels = [operation, provider, model, name, door, ("gen_ai_token_type", kind)];
            buckets.collect(out, "gen_ai_client_token_usage", "Tokens of a request to a model.", &labels, ONES);
        }
    }
}

/// What the conventions call a provider (`gen_ai.provider.name`); our own word where they have none.
fn gen_ai_name(kind: &ProviderKind) -> &'static str {
    match kind {
        ProviderKind::AzureOpenAi { .. } => "azure.ai.openai",
        ProviderKind::Gemini => "gcp.gemini",
        other => other.as_str(),
    }
}

const fn millis<const N: usize>(mut bounds: [u64; N]) -> [u64; N] {
    let mut at = 0;
    while at < N {
        bounds[at] *= 1_000_000;
        at += 1;
    }
    bounds
}
