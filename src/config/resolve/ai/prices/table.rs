//! The table of prices: JSON with decimals as texts, so that none of them passes through floating point.

use serde::Deserialize;

use crate::config::ai::{LongContext, Price, PriceTable, Vendor};
use crate::config::values::money::dollars;

/// The table of the program.
const SHIPPED: &str = include_str!("../../../../../packaging/prices.json");

/// The only shape of the file that is read.
const FORMAT: u64 = 1;

/// Comments are read over.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: u64,
    version: String,
    #[serde(rename = "date")]
    _date: String,
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
    input: String,
    cached_input: Option<String>,
    cache_write: Option<String>,
    output: String,
    reasoning: Option<String>,
    long_context: Option<Long>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Long {
    above: u64,
    input: String,
    cached_input: Option<String>,
    cache_write: Option<String>,
    output: String,
    reasoning: Option<String>,
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
    for entry in &file.models {
        let vendor = match entry.vendor {
            Name::OpenAi => Vendor::OpenAi,
            Name::Anthropic => Vendor::Anthropic,
            Name::Gemini => Vendor::Gemini,
        };
        let price = entry.price().map_err(|reason| format!("the price of {}: {reason}", entry.model))?;
        if !table.insert(vendor, &entry.model, price) {
            return Err(format!("the price of {} stands there twice", entry.model));
        }
    }
    Ok(table)
}

impl Entry {
    fn price(&self) -> Result<Price, String> {
        Ok(Price {
            input: amount(&self.input)?,
            cached_input: optional(self.cached_input.as_ref())?,
            cache_write: optional(self.cache_write.as_ref())?,
            output: amount(&self.output)?,
            reasoning: optional(self.reasoning.as_ref())?,
            long_context: self.long_context.as_ref().map(Long::price).transpose()?,
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
            output: amount(&self.output)?,
            reasoning: optional(self.reasoning.as_ref())?,
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
mod tests {
    use super::*;

    fn with(models: &str) -> String {
        let head = r#""format": 1, "version": "v", "date": "2026-11-28", "unit": "dollars", "sources": []"#;
        format!("{{ {head}, \"models\": [{models}] }}")
    }

    #[test]
    fn the_table_of_the_program_is_read_whole_and_its_prices_make_sense() {
        let table = shipped().unwrap();
        assert!(table.all().count() > 50);
        for (vendor, model, price) in table.all() {
            let fits = |price: u64| price <= 200_000_000;
            assert!(price.input > 0 && fits(price.input) && fits(price.output), "{vendor:?} {model}");
            assert!(price.output == 0 || price.output > price.input, "{model}: output costs more than input");
            assert!(price.cached_input.is_none_or(|cached| cached < price.input), "{model}: a cache is cheaper");
            assert!(price.cache_write.is_none_or(|write| write > price.input), "{model}: writing it is dearer");
            if let Some(long) = price.long_context {
                assert!(long.above >= 100_000 && long.input > price.input && long.output > price.output, "{model}");
                assert_eq!(long.cached_input.is_some(), price.cached_input.is_some(), "{model}");
            }
        }
    }

    #[test]
    fn prices_are_exact() {
        let table = shipped().unwrap();
        let luna = table.get(Vendor::OpenAi, "gpt-6-luna").unwrap();
        assert_eq!((luna.input, luna.cached_input, luna.cache_write), (100_000, Some(10_000), Some(125_000)));
        assert_eq!(luna.long_context.unwrap().above, 272_000);
        assert_eq!(table.get(Vendor::Anthropic, "gpt-6-luna"), None);
    }

    #[test]
    fn what_is_wrong_with_a_table_is_told() {
        let entry = r#"{ "vendor": "openai", "model": "m", "input": "1", "output": "2" }"#;
        assert!(parse(&with(entry)).is_ok());
        for (text, told) in [
            ("{}".to_owned(), "missing field `format`"),
            (with(entry).replace("\"format\": 1", "\"format\": 2"), "only 1 is read"),
            (with(&format!("{entry}, {entry}")), "the price of m stands there twice"),
            (with(&entry.replace("\"1\"", "\"1.0000001\"")), "the price of m: `1.0000001` is not an amount of dollars"),
            (with(&entry.replace("\"1\"", "1.5")), "expected a string"),
            (with(&entry.replace("input", "inptu")), "unknown field `inptu`"),
            (with(&entry.replace("openai", "initech")), "unknown variant `initech`"),
        ] {
            let error = parse(&text).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
    }
}
