//! `GET /control/prices?model=NAME`: what models cost now, and where that stands. Without a model: those that the file names.

use http::StatusCode;
use http::request::Parts;
use serde::{Deserialize, Serialize};

use super::answer::Answer;
use super::query;
use crate::config::ai::{FoundPrice, LongContext, Price, PricePlace};
use crate::config::limit::MICROS;
use crate::snapshot::Snapshot;
use crate::snapshot::ai::AiState;

/// What models cost.
#[derive(Debug, Serialize, Deserialize)]
pub struct PricesShown {
    /// One for each target of a model.
    pub prices: Vec<PriceShown>,
}

/// What a model costs at one provider.
#[derive(Debug, Serialize, Deserialize)]
pub struct PriceShown {
    /// As clients ask for it.
    pub model: String,
    /// The key under `ai.providers`.
    pub provider: String,
    /// What the provider calls it.
    pub served: String,
    /// Where it stands: `ai.prices.models`, `table` with its version and date, `ai.prices.unknown`, or `own server`, which costs
    /// nothing. `None`: the model has no price, and is refused where money is limited.
    pub from: Option<String>,
    /// The name that it stands there for, where that is not what the provider calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Dollars for a million tokens of each kind that has a price of its own.
    pub usd_per_million: Vec<KindShown>,
    /// How many times all of this in other tiers of service.
    pub tiers: Vec<TierShown>,
}

/// What tokens of one kind cost.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct KindShown {
    /// As the configuration has it, such as `cached_input`.
    pub tokens: String,
    /// Of requests with more tokens of input than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above: Option<u64>,
    /// Dollars for a million.
    pub usd: f64,
}

/// A tier of service.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct TierShown {
    /// As the configuration has it, such as `flex`.
    pub tier: String,
    /// How many times the usual price.
    pub times: f64,
}

/// Shows what the model costs that the query of `head` names, or all do that the file names.
///
/// # Errors
/// The answer for the client when there is no such model.
pub(super) fn show(snapshot: &Snapshot, head: &Parts) -> Result<Answer, Answer> {
    let Some(ai) = &snapshot.ai else {
        return Err(Answer::error(StatusCode::NOT_FOUND, "not_found", "there is no section `ai` in the configuration"));
    };
    let prices = match query::only(head, "model", "at most ?model=NAME may stand here")? {
        Some(model) => {
            let prices = of_model(ai, &model);
            if prices.is_empty() {
                let message = format!("no provider serves a model {model:?}");
                return Err(Answer::error(StatusCode::NOT_FOUND, "not_found", message));
            }
            prices
        }
        None => ai.named_models().iter().flat_map(|name| of_model(ai, name)).collect(),
    };
    Ok(Answer::json(StatusCode::OK, &PricesShown { prices }))
}

fn of_model(ai: &AiState, model: &str) -> Vec<PriceShown> {
    let shown = ai.catalog.targets(model).into_iter().filter_map(|target| {
        let provider = ai.config.providers.get(target.provider)?;
        let found = ai.prices.find(target.provider, &target.model, model);
        let name = found.map(|found| found.name).filter(|name| **name != *target.model);
        Some(PriceShown {
            model: model.to_owned(),
            provider: provider.name.to_string(),
            served: target.model.to_string(),
            from: found.map(|found| place(ai, &found)),
            name: name.map(str::to_owned),
            usd_per_million: found.map(|found| kinds(found.price)).unwrap_or_default(),
            tiers: found.map(|found| tiers(found.price)).unwrap_or_default(),
        })
    });
    shown.collect()
}

fn place(ai: &AiState, found: &FoundPrice<'_, '_>) -> String {
    match found.place {
        PricePlace::File => "ai.prices.models".to_owned(),
        PricePlace::Unknown => "ai.prices.unknown".to_owned(),
        PricePlace::OwnServer => "own server".to_owned(),
        PricePlace::Table => match ai.prices.table() {
            (version, date) if date.is_empty() || date == version => format!("table {version}"),
            (version, date) => format!("table {version} of {date}"),
        },
    }
}

fn dollars(micros: u64) -> f64 {
    micros as f64 / MICROS as f64
}

/// What is charged, in the order of the reference.
fn kinds(price: &Price) -> Vec<KindShown> {
    let kind = |above: Option<u64>| {
        move |(tokens, price): (&str, Option<u64>)| {
            Some(KindShown { tokens: tokens.to_owned(), above, usd: dollars(price?) })
        }
    };
    let usual = [
        ("input", Some(price.input)),
        ("cached_input", price.cached_input),
        ("cache_write", price.cache_write),
        ("cache_write_1h", price.cache_write_1h),
        ("audio_input", price.audio_input),
        ("image_input", price.image_input),
        ("output", Some(price.output)),
        ("reasoning", price.reasoning),
        ("audio_output", price.audio_output),
        ("image_output", price.image_output),
    ];
    let long = price.long_context.into_iter().flat_map(|long| {
        let LongContext { above, input, cached_input, cache_write, cache_write_1h, output, reasoning } = long;
        let prices = [
            ("input", Some(input)),
            ("cached_input", cached_input),
            ("cache_write", cache_write),
            ("cache_write_1h", cache_write_1h),
            ("output", Some(output)),
            ("reasoning", reasoning),
        ];
        prices.into_iter().filter_map(kind(Some(above)))
    });
    usual.into_iter().filter_map(kind(None)).chain(long).collect()
}

fn tiers(price: &Price) -> Vec<TierShown> {
    let tiers = &price.tiers;
    let all = [
        ("flex", tiers.flex),
        ("flex_cached_input", tiers.flex_cached_input),
        ("priority", tiers.priority),
        ("ultrafast", tiers.ultrafast),
    ];
    let shown = |(tier, times): (&str, Option<u64>)| Some(TierShown { tier: tier.to_owned(), times: dollars(times?) });
    all.into_iter().filter_map(shown).collect()
}
