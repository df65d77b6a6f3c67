//! Prices of models: those of the file, and the table of list prices.
//!
//! Amounts are whole millionths of a dollar for a million tokens: `2.50` is 2,500,000.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

/// What models cost.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Prices {
    /// A table in the place of the one that is shipped.
    pub file: Option<PathBuf>,
    /// That table, or the one that is shipped.
    pub table: Arc<PriceTable>,
    /// Prices of the file, by model, over those of the table.
    pub models: Vec<(Arc<str>, Price)>,
    /// What a model without a price means.
    pub unknown: UnknownPrice,
}

/// Who sells models at list prices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Vendor {
    /// OpenAI, and Azure for it.
    OpenAi,
    /// Anthropic.
    Anthropic,
    /// Google Gemini.
    Gemini,
}

/// List prices.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PriceTable {
    /// Which one it is.
    pub version: String,
    prices: HashMap<Vendor, HashMap<String, Vec<Dated>>>,
}

/// A price from some time on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Dated {
    /// Milliseconds since the epoch; 0: always.
    from: u64,
    price: Price,
}

impl PriceTable {
    /// One without prices.
    pub fn new(version: String) -> Self {
        Self { version, prices: HashMap::new() }
    }

    /// Adds a price that holds from `from` on, in milliseconds since the epoch (0: always), until a later one does;
    /// `false` when the model has one from that time.
    pub fn insert(&mut self, vendor: Vendor, model: &str, from: u64, price: Price) -> bool {
        let all = self.prices.entry(vendor).or_default().entry(model.to_owned()).or_default();
        let at = all.partition_point(|dated| dated.from < from);
        if all.get(at).is_some_and(|dated| dated.from == from) {
            return false;
        }
        all.insert(at, Dated { from, price });
        true
    }

    /// The price of exactly this name at the time `now`, in milliseconds since the epoch.
    pub fn get(&self, vendor: Vendor, model: &str, now: u64) -> Option<&Price> {
        let all = self.prices.get(&vendor)?.get(model)?;
        all.iter().rfind(|dated| dated.from <= now).map(|dated| &dated.price)
    }

    /// Every price, also those of other times, in no order.
    pub fn all(&self) -> impl Iterator<Item = (Vendor, &str, &Price)> {
        self.prices.iter().flat_map(|(vendor, models)| {
            let prices = models.iter().flat_map(|(model, all)| all.iter().map(|dated| (&**model, &dated.price)));
            prices.map(|(model, price)| (*vendor, model, price))
        })
    }
}

/// Prices of one model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Price {
    /// Input that was not cached, and is of none of the kinds below.
    pub input: u64,
    /// Input read from the provider's cache; `None`: like input.
    pub cached_input: Option<u64>,
    /// Input written to the provider's cache; `None`: like input.
    pub cache_write: Option<u64>,
    /// The same, to be held for an hour; `None`: like `cache_write`.
    pub cache_write_1h: Option<u64>,
    /// Output that is of none of the kinds below.
    pub output: u64,
    /// Reasoning; `None`: like output.
    pub reasoning: Option<u64>,
    /// Sound in the input; `None`: like input.
    pub audio_input: Option<u64>,
    /// Sound in the output; `None`: like output.
    pub audio_output: Option<u64>,
    /// Pictures in the input; `None`: like input.
    pub image_input: Option<u64>,
    /// Pictures in the output; `None`: like output.
    pub image_output: Option<u64>,
    /// Other prices from so many tokens of input on.
    pub long_context: Option<LongContext>,
    /// What other tiers of service cost.
    pub tiers: Tiers,
}

/// Prices of long prompts: they hold for the whole request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LongContext {
    /// Above so many tokens of input.
    pub above: u64,
    /// As in [`Price`].
    pub input: u64,
    /// As in [`Price`]; `None`: like input.
    pub cached_input: Option<u64>,
    /// As in [`Price`]; `None`: like input.
    pub cache_write: Option<u64>,
    /// As in [`Price`]; `None`: like `cache_write`.
    pub cache_write_1h: Option<u64>,
    /// As in [`Price`].
    pub output: u64,
    /// As in [`Price`]; `None`: like output.
    pub reasoning: Option<u64>,
}

/// What other tiers of service cost: how many times the price, in millionths (`1.8` is 1,800,000). `None`: once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tiers {
    /// Slow and cheap.
    pub flex: Option<u64>,
    /// Input read from the provider's cache there; `None`: like `flex`.
    pub flex_cached_input: Option<u64>,
    /// Before others, or fast.
    pub priority: Option<u64>,
    /// Faster still.
    pub ultrafast: Option<u64>,
}

/// What a model without a price means where money is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(clippy::large_enum_variant, reason = "a configuration has one")]
pub enum UnknownPrice {
    /// The request is refused.
    #[default]
    Block,
    /// It costs nothing, with a warning in the log and a count.
    Zero,
    /// It costs this.
    Default(Price),
}
