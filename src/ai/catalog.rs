//! The catalogue: the name of a model -> the targets that may serve it, in the order in which they are tried.
//!
//! With `ai.models`, only those may be asked for, and what its wildcards take; without, any model of any provider: by
//! `provider/model`, by the list of the provider, by the family of its name, or because there is one provider only.
//!
//! **Invariant:** shares of a rank are exact: over one round of a rank each target comes first as often as its weight
//! says, however many workers ask.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::config::ai::{Ai, AiTimeouts, Model, ModelTarget, Provider, ProviderKind, wildcard};
use crate::observe::metrics::OTHER_MODEL;

/// The longest round of a rank; weights that need more are scaled down.
const LONGEST_ROUND: u32 = 1000;

/// Finds the targets of a model.
pub struct Catalog {
    config: Arc<Ai>,
    entries: HashMap<Arc<str>, Entry>,
}

struct Entry {
    model: Arc<Model>,
    ranks: Vec<Rank>,
}

struct Rank {
    /// Indices into the rank's targets, each as often as its weight, well mixed.
    round: Vec<usize>,
    turn: AtomicUsize,
}

/// A target that may be tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Index into [`Ai::providers`].
    pub provider: usize,
    /// What the provider calls the model.
    pub model: Arc<str>,
    /// Its place in the configuration: of the targets of a rank, another one comes first each time.
    pub place: usize,
}

/// How a request for a model goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The model as metrics name it: a name of the configuration, a wildcard among them, or `other`.
    pub label: Arc<str>,
    /// In the order in which they are tried. Never empty.
    pub candidates: Vec<Candidate>,
    /// Tokens that an answer is assumed to have at most where the request names no bound.
    pub assumed_output: u32,
    /// How long each may take.
    pub timeouts: AiTimeouts,
}

impl Catalog {
    /// The catalogue of `config`.
    pub fn new(config: &Arc<Ai>) -> Self {
        let entries = config.models.iter().map(|model| {
            let ranks = model.ranks.iter().map(|rank| Rank::new(rank)).collect();
            (Arc::clone(&model.name), Entry { model: Arc::clone(model), ranks })
        });
        Self { entries: entries.collect(), config: Arc::clone(config) }
    }

    /// How a request for `model` goes; `None` when nobody knows it.
    pub fn plan(&self, model: &str) -> Option<Plan> {
        let by_wildcard = || self.entries.get(&self.config.taken_by(model)?.name);
        if let Some(entry) = self.entries.get(model).or_else(by_wildcard) {
            return entry.plan(model, &self.config);
        }
        if !self.entries.is_empty() {
            return None;
        }
        let candidate = self.open(model)?;
        Some(Plan {
            label: label_of(&self.config, &candidate, OTHER_MODEL),
            candidates: vec![candidate],
            assumed_output: self.config.assumed_output,
            timeouts: self.config.timeouts,
        })
    }

    /// The way to `model` of the provider of this index alone.
    pub fn at(&self, provider: usize, model: &str) -> Plan {
        let candidates = vec![Candidate { provider, model: model.into(), place: 0 }];
        Plan {
            label: Arc::from(OTHER_MODEL),
            candidates,
            assumed_output: self.config.assumed_output,
            timeouts: self.config.timeouts,
        }
    }

    /// Whether any model of any provider may be asked for, and not only what the configuration names.
    pub fn is_open(&self) -> bool {
        self.entries.is_empty()
    }

    /// The names that the configuration gives.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.config.models.iter().map(|model| &model.name).filter(|name| wildcard(name).is_none())
    }

    /// Who may serve `model`, in the order of the configuration; nobody: nobody knows it. Unlike [`Self::plan`] this takes no turn.
    pub fn targets(&self, model: &str) -> Vec<Candidate> {
        let Some(entry) = self.config.model(model) else {
            return self.open(model).filter(|_| self.is_open()).into_iter().collect();
        };
        let targets = entry.ranks.iter().flatten().enumerate().filter_map(|(place, target)| {
            Some(Candidate { provider: target.provider, model: entry.served(target, model)?, place })
        });
        targets.collect()
    }

    /// The names by which wildcards lead to `model` of the provider of this index, where it is the first to be asked.
    pub fn by_wildcard(&self, provider: usize, model: &str) -> impl Iterator<Item = Arc<str>> {
        let is_on = |target: &ModelTarget| self.config.providers.get(target.provider).is_some_and(|it| it.enabled);
        let wildcards = self.config.models.iter().filter(|model| wildcard(&model.name).is_some());
        wildcards.filter_map(move |entry| {
            let first = entry.ranks.iter().find(|rank| rank.iter().any(is_on))?;
            let target = first.iter().find(|target| target.provider == provider)?;
            let asked = entry.asked(target, model)?;
            self.config.model(&asked).is_some_and(|found| found.name == entry.name).then_some(asked)
        })
    }

    /// Who has `model`, when no list says so.
    fn open(&self, model: &str) -> Option<Candidate> {
        let providers = || self.config.providers.iter().enumerate();
        let candidate = |provider, model: &str| Some(Candidate { provider, model: model.into(), place: 0 });
        if let Some((prefix, rest)) = model.split_once('/')
            && let Some((index, _)) = providers().find(|(_, provider)| *provider.name == *prefix)
            && !rest.is_empty()
        {
            return candidate(index, rest);
        }
        let lists = |provider: &Provider| provider.models.iter().any(|name| **name == *model);
        let of_family = |provider: &Provider| is_of_family(&provider.kind, model);
        let (mut enabled, mut rest): (Vec<_>, Vec<_>) = providers().partition(|(_, provider)| provider.enabled);
        // One that is switched off is an answer too: the client hears that, and not that nobody knows the model.
        enabled.append(&mut rest);
        let found = enabled.iter().find(|(_, provider)| lists(provider));
        let found = found.or_else(|| enabled.iter().find(|(_, provider)| of_family(provider)));
        match (found, enabled.as_slice()) {
            (Some((index, _)), _) => candidate(*index, model),
            (None, [(index, _)]) => candidate(*index, model),
            _ => None,
        }
    }
}

impl Entry {
    /// `None` when nothing is left of the name that any provider could be asked for.
    fn plan(&self, asked: &str, config: &Ai) -> Option<Plan> {
        let mut candidates = Vec::new();
        let mut before = 0;
        for (rank, targets) in self.ranks.iter().zip(&self.model.ranks) {
            let first = rank.next();
            let order = first.into_iter().chain((0..targets.len()).filter(|index| Some(*index) != first));
            for (index, target) in order.filter_map(|index| Some((index, targets.get(index)?))) {
                let Some(model) = self.model.served(target, asked) else { continue };
                candidates.push(Candidate { provider: target.provider, model, place: before + index });
            }
            before += targets.len();
        }
        let name = &self.model.name;
        let label = match wildcard(name) {
            None => Arc::clone(name),
            Some(start) => label_of(config, candidates.first()?, if start.is_empty() { OTHER_MODEL } else { name }),
        };
        Some(Plan { label, candidates, assumed_output: self.model.assumed_output, timeouts: self.model.timeouts })
    }
}

/// The name under which a model that `ai.models` does not name is counted: its own, where its provider's list has it, else
/// `other`, a name that clients cannot make.
fn label_of(config: &Ai, candidate: &Candidate, other: &str) -> Arc<str> {
    let listed = config.providers.get(candidate.provider);
    let listed = listed.and_then(|provider| provider.models.iter().find(|name| **name == candidate.model));
    listed.map_or_else(|| Arc::from(other), Arc::clone)
}

impl Rank {
    fn new(targets: &[ModelTarget]) -> Self {
        let weights: Vec<u32> = targets.iter().map(|target| target.weight).collect();
        Self { round: round(&weights), turn: AtomicUsize::new(0) }
    }

    /// The target whose turn it is.
    fn next(&self) -> Option<usize> {
        if self.round.len() < 2 {
            return self.round.first().copied();
        }
        // Relaxed: the count is all there is to it.
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        self.round.get(turn % self.round.len()).copied()
    }
}

/// One round by smooth weighted round robin.
fn round(weights: &[u32]) -> Vec<usize> {
    let divisor = weights.iter().copied().fold(0, gcd).max(1);
    let mut weights: Vec<i64> = weights.iter().map(|weight| i64::from(weight / divisor)).collect();
    let total: i64 = weights.iter().sum();
    if total > i64::from(LONGEST_ROUND) {
        for weight in &mut weights {
            *weight = (*weight * i64::from(LONGEST_ROUND) / total).max(1);
        }
    }
    let total: i64 = weights.iter().sum();
    let mut owed = vec![0_i64; weights.len()];
    let mut round = Vec::new();
    for _ in 0..total {
        for (owed, weight) in owed.iter_mut().zip(&weights) {
            *owed += weight;
        }
        let Some(most) = (0..owed.len()).rev().max_by_key(|index| owed.get(*index)) else { break };
        if let Some(owed) = owed.get_mut(most) {
            *owed -= total;
        }
        round.push(most);
    }
    round
}

fn gcd(one: u32, other: u32) -> u32 {
    if other == 0 { one } else { gcd(other, one % other) }
}

/// Whether a provider of this kind is known for models with such names.
fn is_of_family(kind: &ProviderKind, model: &str) -> bool {
    let begins = |starts: &[&str]| starts.iter().any(|start| model.starts_with(start));
    match kind {
        ProviderKind::OpenAi => begins(&[
            "gpt-",
            "chatgpt-",
            "o1",
            "o3",
            "o4",
            "text-embedding-",
            "text-moderation-",
            "omni-moderation-",
            "dall-e-",
            "whisper-",
            "tts-",
            "codex-",
            "computer-use-",
        ]),
        ProviderKind::Anthropic { .. } => begins(&["claude-"]),
        ProviderKind::Gemini => begins(&["gemini-"]),
        ProviderKind::AzureOpenAi { deployments, .. } => deployments.iter().any(|(name, _)| name == model),
        ProviderKind::OpenAiCompatible | ProviderKind::Flow => false,
    }
}

#[cfg(test)]
mod tests;
