//! Prices of models: those of the file, and the table of list prices.
//!
//! Amounts are whole millionths of a dollar for a million tokens: `2.50` is 2,500,000.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::{Provider, ProviderKind};

/// What models cost.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Prices {
    /// A table in the place of the one that is shipped.
    pub file: Option<PathBuf>,
    /// That table, or the one that is shipped.
    pub table: Arc<PriceTable>,
    /// Prices of the file, by model or by `PROVIDER/MODEL`, over those of the table. No name stands there twice.
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

/// Who is paid for a provider's models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seller {
    /// One whose list is known.
    Vendor(Vendor),
    /// Nobody: the server is one's own.
    Nobody,
    /// Somebody.
    Unknown,
}

impl Seller {
    /// Who sells what `provider` serves. `of_file`: its pool is one of the file.
    pub fn of(provider: &Provider, of_file: bool) -> Self {
        match &provider.kind {
            ProviderKind::OpenAi | ProviderKind::AzureOpenAi { .. } => Self::Vendor(Vendor::OpenAi),
            ProviderKind::Anthropic { .. } => Self::Vendor(Vendor::Anthropic),
            ProviderKind::Gemini => Self::Vendor(Vendor::Gemini),
            ProviderKind::Flow => Self::Unknown,
            ProviderKind::OpenAiCompatible if of_file || provider.keys.is_empty() => Self::Nobody,
            ProviderKind::OpenAiCompatible => Self::Unknown,
        }
    }

    /// The price of a model that `provider` calls `served`, for a client that asked for `asked`; `own` are the prices of the
    /// configuration. `now`: in milliseconds since the epoch. `None`: there is none.
    pub fn price<'a>(
        self,
        table: &'a PriceTable,
        own: &'a OwnPrices,
        provider: &str,
        served: &str,
        asked: &str,
        now: u64,
    ) -> Option<&'a Price> {
        self.find(table, own, provider, served, asked, now).map(|found| found.price)
    }

    /// The same, and where it was found.
    pub fn find<'a, 'n>(
        self,
        table: &'a PriceTable,
        own: &'a OwnPrices,
        provider: &str,
        served: &'n str,
        asked: &'n str,
        now: u64,
    ) -> Option<FoundPrice<'a, 'n>> {
        let served = served.strip_prefix("models/").unwrap_or(served);
        let found = |price, name, place| FoundPrice { price, name, place };
        let alone = |name: &'n str| own.of(provider, name).map(|price| found(price, name, PricePlace::File));
        let of_file = |name: &'n str| own.named(name).map(|price| found(price, name, PricePlace::File));
        let listed = |name: &'n str| match self {
            Self::Vendor(vendor) => table.get(vendor, name, now).map(|price| found(price, name, PricePlace::Table)),
            Self::Nobody | Self::Unknown => None,
        };
        let named = |name: &'n str| alone(name).or_else(|| of_file(name)).or_else(|| listed(name));
        let by_client = || of_file(asked).or_else(|| of_file(snapshot_of(asked)?));
        let free = || (self == Self::Nobody).then(|| found(&Price::FREE, served, PricePlace::OwnServer));
        named(served).or_else(|| named(snapshot_of(served)?)).or_else(by_client).or_else(free)
    }
}

/// The prices of the file, to be looked up by what stands before the first `/` of a name, then by the rest.
#[derive(Debug, Default)]
pub struct OwnPrices(HashMap<Box<str>, HashMap<Box<str>, Price>>);

impl OwnPrices {
    /// For looking `models` up.
    pub fn new(models: &[(Arc<str>, Price)]) -> Self {
        let mut own = Self::default();
        for (name, price) in models {
            let (before, rest) = split(name);
            own.0.entry(before.into()).or_default().insert(rest.into(), *price);
        }
        own
    }

    /// The price of `provider` alone for what it calls `served`.
    pub fn of(&self, provider: &str, served: &str) -> Option<&Price> {
        self.0.get(provider)?.get(served)
    }

    /// The price of exactly this name.
    pub fn named(&self, name: &str) -> Option<&Price> {
        let (before, rest) = split(name);
        self.of(before, rest)
    }
}

/// What stands before the first `/` of a name, and the rest.
fn split(name: &str) -> (&str, &str) {
    name.split_once('/').unwrap_or(("", name))
}

/// A price, and where it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundPrice<'a, 'n> {
    /// What it is.
    pub price: &'a Price,
    /// The name that it is for.
    pub name: &'n str,
    /// Where it stands.
    pub place: PricePlace,
}

/// Where a price stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PricePlace {
    /// In the configuration, for this model.
    File,
    /// In the table of list prices.
    Table,
    /// Nowhere: the server is one's own.
    OwnServer,
    /// In the configuration, for models without a price.
    Unknown,
}

/// The name of the model that `name` is a snapshot of, when it is one.
pub fn snapshot_of(name: &str) -> Option<&str> {
    if let Some(base) = name.strip_suffix("-latest") {
        return Some(base);
    }
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let at = name.rfind(['-', '@'])?;
    let (base, last) = (name.get(..at)?, name.get(at + 1..)?);
    let is_hyphen = name.get(at..=at) == Some("-");
    match last.len() {
        8 if digits(last) => Some(base),
        3 if digits(last) && is_hyphen => Some(base),
        // `-2024-08-06`: two more parts before it.
        2 if digits(last) && is_hyphen => {
            let (base, month) = base.rsplit_once('-')?;
            let (base, year) = base.rsplit_once('-')?;
            let date = digits(year) && year.len() == 4 && digits(month) && month.len() == 2;
            date.then_some(base)
        }
        _ => None,
    }
    .filter(|base| !base.is_empty())
}

/// List prices.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PriceTable {
    /// Which one it is.
    pub version: String,
    /// Of which day it is; empty: that is not told.
    pub date: String,
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
        Self { version, ..Self::default() }
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

impl Price {
    /// A price of nothing.
    pub const FREE: Self = Self {
        input: 0,
        cached_input: None,
        cache_write: None,
        cache_write_1h: None,
        output: 0,
        reasoning: None,
        audio_input: None,
        audio_output: None,
        image_input: None,
        image_output: None,
        long_context: None,
        tiers: Tiers { flex: None, flex_cached_input: None, priority: None, ultrafast: None },
    };
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
