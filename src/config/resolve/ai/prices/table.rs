//! The table of prices: JSON with decimals as texts, so that none of them passes through floating point.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Deserialize;

use super::factor;
use crate::config::ai::{LongContext, Price, PriceTable, Tiers, Vendor};
use crate::config::values::money::dollars;

/// The table of the program.
const SHIPPED: &str = include_str!("../../../../../packaging/prices.json");

/// The only shape of the file that is read.
const FORMAT: u64 = 1;

/// Comments are read over: what the figures were checked against, and which of them may be nothing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: u64,
    version: String,
    date: String,
    #[serde(rename = "unit")]
    _unit: String,
    #[serde(rename = "sources")]
    _sources: Vec<String>,
    #[serde(rename = "notes", default)]
    _notes: Vec<String>,
    models: Vec<Entry>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Name {
    OpenAi,
    Anthropic,
    Gemini,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    vendor: Name,
    model: String,
    /// Other names at the same price.
    #[serde(default)]
    aliases: Vec<String>,
    /// A day, such as 2027-01-01: the price holds from its beginning in UTC on.
    from: Option<String>,
    input: String,
    cached_input: Option<String>,
    cache_write: Option<String>,
    cache_write_1h: Option<String>,
    output: String,
    reasoning: Option<String>,
    audio_input: Option<String>,
    audio_output: Option<String>,
    image_input: Option<String>,
    image_output: Option<String>,
    long_context: Option<Long>,
    tiers: Option<Times>,
    #[serde(rename = "free", default)]
    _free: Vec<String>,
    #[serde(rename = "checked", default)]
    _checked: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Long {
    above: u64,
    input: String,
    cached_input: Option<String>,
    cache_write: Option<String>,
    cache_write_1h: Option<String>,
    output: String,
    reasoning: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Times {
    flex: Option<String>,
    flex_cached_input: Option<String>,
    priority: Option<String>,
    ultrafast: Option<String>,
}

/// That of the program.
///
/// # Errors
/// As [`parse`]; a test reads it, so there are none.
pub(super) fn shipped() -> Result<PriceTable, String> {
    parse(SHIPPED)
}

/// Reads a table.
///
/// # Errors
/// What is wrong with it: its shape, a price that is none, or a model that stands there twice.
pub(super) fn parse(text: &str) -> Result<PriceTable, String> {
    let file: File = serde_json::from_str(text).map_err(|error| format!("this is no table of prices: {error}"))?;
    if file.format != FORMAT {
        return Err(format!("this table has the format {}, and only {FORMAT} is read", file.format));
    }
    let mut table = PriceTable::new(file.version);
    table.date = file.date;
    for entry in &file.models {
        let vendor = match entry.vendor {
            Name::OpenAi => Vendor::OpenAi,
            Name::Anthropic => Vendor::Anthropic,
            Name::Gemini => Vendor::Gemini,
        };
        let wrong = |reason| format!("the price of {}: {reason}", entry.model);
        let price = entry.price().map_err(wrong)?;
        let from = entry.from.as_deref().map(beginning).transpose().map_err(wrong)?.unwrap_or(0);
        for model in [&entry.model].into_iter().chain(&entry.aliases) {
            if !table.insert(vendor, model, from, price) {
                return Err(format!("the price of {model} stands there twice"));
            }
        }
    }
    Ok(table)
}

/// The beginning of a day in UTC, in milliseconds since the epoch.
fn beginning(day: &str) -> Result<u64, String> {
    let wrong = || format!("`{day}` is no day such as 2027-01-01");
    let date: Date = day.parse().map_err(|_| wrong())?;
    let midnight = date.to_zoned(TimeZone::UTC).map_err(|_| wrong())?.timestamp();
    u64::try_from(midnight.as_millisecond()).map_err(|_| wrong())
}

impl Entry {
    fn price(&self) -> Result<Price, String> {
        Ok(Price {
            input: amount(&self.input)?,
            cached_input: optional(self.cached_input.as_ref())?,
            cache_write: optional(self.cache_write.as_ref())?,
            cache_write_1h: optional(self.cache_write_1h.as_ref())?,
            output: amount(&self.output)?,
            reasoning: optional(self.reasoning.as_ref())?,
            audio_input: optional(self.audio_input.as_ref())?,
            audio_output: optional(self.audio_output.as_ref())?,
            image_input: optional(self.image_input.as_ref())?,
            image_output: optional(self.image_output.as_ref())?,
            long_context: self.long_context.as_ref().map(Long::price).transpose()?,
            tiers: self.tiers.as_ref().map(Times::tiers).transpose()?.unwrap_or_default(),
        })
    }
}

impl Long {
    fn price(&self) -> Result<LongContext, String> {
        Ok(LongContext {
            above: self.above,
            input: amount(&self.input)?,
            cached_input: optional(self.cached_input.as_ref())?,
            cache_write: optional(self.cache_write.as_ref())?,
            cache_write_1h: optional(self.cache_write_1h.as_ref())?,
            output: amount(&self.output)?,
            reasoning: optional(self.reasoning.as_ref())?,
        })
    }
}

impl Times {
    fn tiers(&self) -> Result<Tiers, String> {
        let times =
            |text: &Option<String>| text.as_deref().map(|text| factor(text).map_err(|wrong| wrong.message)).transpose();
        Ok(Tiers {
            flex: times(&self.flex)?,
            flex_cached_input: times(&self.flex_cached_input)?,
            priority: times(&self.priority)?,
            ultrafast: times(&self.ultrafast)?,
        })
    }
}

fn amount(text: &str) -> Result<u64, String> {
    dollars(text).map_err(|wrong| wrong.message)
}

fn optional(text: Option<&String>) -> Result<Option<u64>, String> {
    text.map(|text| amount(text)).transpose()
}

#[cfg(test)]
mod tests;
