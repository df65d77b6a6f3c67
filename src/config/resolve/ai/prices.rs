//! `ai.prices`: dollars for a million tokens, as exact decimals.

use std::path::Path;
use std::sync::Arc;

use super::super::{Resolver, tls};
use super::provider::model_name;
use crate::config::ai::{LongContext, Price, PriceTable, Prices, Tiers, UnknownPrice};
use crate::config::problem::{Finding, KeyPath, Place};
use crate::config::raw::{Or, RawLongContext, RawPrice, RawPrices, RawTiers, Text};
use crate::config::values::money::dollars;
use crate::config::values::{self, Wrong};

mod table;

/// The most that a million tokens may cost, in millionths of a dollar.
const MOST: u64 = 1_000_000_000_000;

/// The most that a tier may cost, in millionths of the price.
const MOST_TIMES: u64 = 1_000_000_000;

pub(super) fn prices(path: &KeyPath, raw: Option<&RawPrices>, resolver: &mut Resolver<'_>) -> Prices {
    let absent = RawPrices::default();
    let raw = raw.unwrap_or(&absent);
    let place = path.key("file");
    let file = tls::file(&place, raw.file.as_ref(), resolver);
    let table = file.as_deref().map_or_else(table::shipped, |file| read(file, resolver)).unwrap_or_else(|reason| {
        resolver.report(Finding::value(&place, reason));
        PriceTable::default()
    });
    let unknown = match &raw.unknown {
        None => UnknownPrice::default(),
        Some(Or::Text(text)) => {
            let words = [("block", UnknownPrice::Block), ("zero", UnknownPrice::Zero)];
            let parse = |text: &str| {
                values::one_of(text, "what an unknown price means", &words)
                    .map_err(|wrong| wrong.expected("block, zero, or a price such as { input: 1.00, output: 2.00 }"))
            };
            resolver.get(&path.key("unknown"), &Some(text.clone()), parse).unwrap_or_default()
        }
        Some(Or::Map(raw)) => UnknownPrice::Default(price(&path.key("unknown"), raw, resolver)),
    };
    let mut models = Vec::new();
    for (name, raw) in raw.models.iter().flat_map(|models| models.items()) {
        let path = path.key("models").key(name);
        if let Err(wrong) = model_name(name) {
            resolver.wrong_at(Place::Key(path.clone()), wrong);
        }
        models.push((name.into(), price(&path, raw, resolver)));
    }
    Prices { file, table: Arc::new(table), models, unknown }
}

fn read(file: &Path, resolver: &Resolver<'_>) -> Result<PriceTable, String> {
    let bytes = resolver.environment.read(file).map_err(|reason| format!("{} {reason}", file.display()))?;
    let text = String::from_utf8(bytes).map_err(|_| format!("{} is not text in UTF-8", file.display()))?;
    table::parse(&text).map_err(|reason| format!("{}: {reason}", file.display()))
}

fn price(path: &KeyPath, raw: &RawPrice, resolver: &mut Resolver<'_>) -> Price {
    both(path, &raw.input, &raw.output, resolver);
    let mut amount = |key: &str, text: &Text| resolver.get(&path.key(key), text, amount);
    let price = Price {
        input: amount("input", &raw.input).unwrap_or_default(),
        cached_input: amount("cached_input", &raw.cached_input),
        cache_write: amount("cache_write", &raw.cache_write),
        cache_write_1h: amount("cache_write_1h", &raw.cache_write_1h),
        output: amount("output", &raw.output).unwrap_or_default(),
        reasoning: amount("reasoning", &raw.reasoning),
        audio_input: amount("audio_input", &raw.audio_input),
        audio_output: amount("audio_output", &raw.audio_output),
        image_input: amount("image_input", &raw.image_input),
        image_output: amount("image_output", &raw.image_output),
        long_context: None,
        tiers: Tiers::default(),
    };
    let long_context = raw.long_context.as_ref().map(|raw| long_context(&path.key("long_context"), raw, resolver));
    let tiers = raw.tiers.as_ref().map(|raw| tiers(&path.key("tiers"), raw, resolver)).unwrap_or_default();
    Price { long_context, tiers, ..price }
}

fn long_context(path: &KeyPath, raw: &RawLongContext, resolver: &mut Resolver<'_>) -> LongContext {
    if raw.above.is_none() {
        resolver.missing(path, "above", "the tokens of input above which these prices hold, such as 200000");
    }
    let above = resolver.number(&path.key("above"), &raw.above, 0, 1..=1_000_000_000);
    both(path, &raw.input, &raw.output, resolver);
    let mut amount = |key: &str, text: &Text| resolver.get(&path.key(key), text, amount);
    LongContext {
        above,
        input: amount("input", &raw.input).unwrap_or_default(),
        cached_input: amount("cached_input", &raw.cached_input),
        cache_write: amount("cache_write", &raw.cache_write),
        cache_write_1h: amount("cache_write_1h", &raw.cache_write_1h),
        output: amount("output", &raw.output).unwrap_or_default(),
        reasoning: amount("reasoning", &raw.reasoning),
    }
}

fn tiers(path: &KeyPath, raw: &RawTiers, resolver: &mut Resolver<'_>) -> Tiers {
    let mut times = |key: &str, text: &Text| resolver.get(&path.key(key), text, factor);
    Tiers {
        flex: times("flex", &raw.flex),
        flex_cached_input: times("flex_cached_input", &raw.flex_cached_input),
        priority: times("priority", &raw.priority),
        ultrafast: times("ultrafast", &raw.ultrafast),
    }
}

fn both(path: &KeyPath, input: &Text, output: &Text, resolver: &mut Resolver<'_>) {
    for (key, text) in [("input", input), ("output", output)] {
        if text.is_none() {
            resolver.missing(path, key, "dollars for a million tokens such as 2.50");
        }
    }
}

/// Dollars for a million tokens, as millionths of one.
fn amount(text: &str) -> Result<u64, Wrong> {
    let expected = "dollars for a million tokens such as 2.50, with 6 decimals at most";
    match dollars(text).map_err(|wrong| wrong.expected(expected))? {
        found if found <= MOST => Ok(found),
        _ => Err(Wrong::new(format!("{} is out of range", values::quote(text))).expected("at most 1000000")),
    }
}

/// How many times the price, as millionths.
fn factor(text: &str) -> Result<u64, Wrong> {
    let expected = "how many times the price, such as 0.5 or 1.75, with 6 decimals at most";
    let wrong = || Wrong::not(text, "a factor").expected(expected);
    match dollars(text).map_err(|_| wrong())? {
        found if (1..=MOST_TIMES).contains(&found) => Ok(found),
        _ => Err(Wrong::new(format!("{} is out of range", values::quote(text))).expected("more than 0, at most 1000")),
    }
}
