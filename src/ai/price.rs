//! Prices: a model and what it used -> millionths of a dollar.
//!
//! A table of list prices is part of the program (`packaging/prices.json`: its version, date and sources stand in it);
//! `ai.prices.file` puts another in its place, and `ai.prices.models` single prices over it. Whole numbers only: a request
//! costs the exact sum of what it used, rounded up to a millionth of a dollar once.
//!
//! **Kinds of tokens.** What was read from a cache or written to it, for how long, sound, pictures and reasoning have prices
//! of their own where the table has them. The tier of service multiplies all of them: that which the answer tells, or else
//! that which the request asked for. A tier without a factor costs what the usual one does.
//!
//! **Names.** A price holds for its exact name, and for that name with one suffix that means a snapshot of the same model:
//! `-latest`, a date (`-2024-08-06`, `-20250929`, `@20250929`) or a revision of three digits (`-001`). Nothing else is
//! cut off, so `gpt-4o-mini` never costs what `gpt-4o` does. An exact name wins over a cut one, and a price of the
//! configuration over one of the table, first that for the provider alone (`PROVIDER/MODEL`). The name is that which the
//! provider has for the model; only the configuration's prices are looked for by the client's too.
//!
//! **Whose price.** A provider of OpenAI, Azure, Anthropic or Gemini is looked up among the prices of its vendor (of
//! Azure, those of OpenAI), one of Flow or an `openai_compatible` one among none but those of the configuration. Servers of
//! one's own (`openai_compatible` with a pool of the file, or without keys) cost nothing unless they are priced there.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use log::warn;

use super::usage::{ServiceTier, Usage};
use crate::clock;
use crate::config::ai::{
    Ai, FoundPrice, LongContext, MADE_POOL, OwnPrices, Price, PricePlace, PriceTable, Provider, Seller, Tiers,
    UnknownPrice,
};
use crate::observe::metrics::Unpriced;

/// Models that are warned of, once each.
const MAX_WARNED: usize = 1_000;

/// What models cost.
pub struct Prices {
    table: Arc<PriceTable>,
    own: OwnPrices,
    unknown: UnknownPrice,
    /// The names of the providers, and who is paid, by their places.
    providers: Vec<(Arc<str>, Seller)>,
    warned: Mutex<HashSet<String>>,
    unpriced: Arc<Unpriced>,
}

/// A factor of one: they are millionths.
const ONCE: u64 = 1_000_000;

/// What the sum of a request is divided by: prices are for a million tokens, and factors are millionths.
const PER_TOKEN: u128 = 1_000_000_000_000;

impl Prices {
    /// The prices that `ai` asks for; `pools` has the names of the configuration's, in their order.
    pub fn new(ai: &Ai, pools: &[&str], unpriced: &Arc<Unpriced>) -> Self {
        let of_file = |provider: &Provider| pools.get(provider.pool).is_some_and(|name| !name.starts_with(MADE_POOL));
        let seller = |provider: &Arc<Provider>| (Arc::clone(&provider.name), Seller::of(provider, of_file(provider)));
        Self {
            table: Arc::clone(&ai.prices.table),
            own: OwnPrices::new(&ai.prices.models),
            unknown: ai.prices.unknown,
            providers: ai.providers.iter().map(seller).collect(),
            warned: Mutex::default(),
            unpriced: Arc::clone(unpriced),
        }
    }

    /// Which table it is: the version and the date that stand in it.
    pub fn table(&self) -> (&str, &str) {
        (&self.table.version, &self.table.date)
    }

    /// What `usage` costs at the provider number `provider` of [`Ai::providers`], which calls the model `served`, for a client
    /// that asked for `asked`; in millionths of a dollar. A model without a price costs what the configuration says of such;
    /// `None`: it has them refused where money is limited, and what they cost is not known.
    ///
    /// What another model was asked for costs what that one does; one without a price the dearer of what the configuration says
    /// of such and what the model costs that asked it.
    pub fn cost(&self, provider: usize, served: &str, asked: &str, usage: &Usage) -> Option<u64> {
        let price = self.find(provider, served, asked)?.price;
        self.warn_of_tier(price, served, usage);
        if usage.advice.is_empty() {
            return Some(cost(price, usage));
        }
        let advice = usage.advice.iter().map(|by| {
            let used = by.usage(usage.tier);
            if let Some(theirs) = self.price(provider, &by.model, &by.model) {
                return exact(theirs, &used);
            }
            let default = if let UnknownPrice::Default(price) = &self.unknown { exact(price, &used) } else { 0 };
            default.max(exact(price, &used))
        });
        Some(in_micros(advice.fold(exact(price, &usage.unadvised()), u128::saturating_add)))
    }

    /// Tells once of a tier of service that the price knows nothing of: it is charged as the usual one.
    fn warn_of_tier(&self, price: &Price, model: &str, usage: &Usage) {
        let Some(tier) = usage.tier.filter(|tier| *tier != ServiceTier::Standard) else { return };
        if (price.input, price.output) == (0, 0) || factor(&price.tiers, tier).is_some() {
            return;
        }
        let word = tier.word();
        if self.is_news(&format!("{model} {word}")) {
            let shown = shown(model);
            warn!(target: "ai", "the model `{shown}` has no price in the tier `{word}`, and is charged there as in the usual one; give it `tiers` under ai.prices.models");
        }
    }

    /// The most that a request can cost there which will use what `usage` says of input, output and tier, whatever their
    /// parts are; to be asked where money is limited. Models without a price are counted, and told once each.
    pub fn estimate(&self, provider: usize, served: &str, asked: &str, usage: &Usage) -> Option<u64> {
        if let Some(price) = self.price(provider, served, asked) {
            return Some(most(price, usage));
        }
        match &self.unknown {
            UnknownPrice::Block => {
                self.unpriced.blocked();
                self.warn_once(served, "is refused: money is limited, and nobody knows what it costs");
                None
            }
            UnknownPrice::Zero => {
                self.unpriced.free();
                self.warn_once(served, "counts as free, for nobody knows what it costs");
                Some(0)
            }
            UnknownPrice::Default(price) => {
                self.unpriced.by_default();
                Some(most(price, usage))
            }
        }
    }

    /// What a model costs now, and where that stands; `None`: nowhere, and it is refused where money is limited.
    pub fn find<'a>(&'a self, provider: usize, served: &'a str, asked: &'a str) -> Option<FoundPrice<'a, 'a>> {
        let unknown = |price| FoundPrice { price, name: served, place: PricePlace::Unknown };
        let (name, seller) = self.seller(provider);
        let found = seller.find(&self.table, &self.own, name, served, asked, clock::wall_millis());
        found.or_else(|| match &self.unknown {
            UnknownPrice::Block => None,
            UnknownPrice::Zero => Some(unknown(&Price::FREE)),
            UnknownPrice::Default(price) => Some(unknown(price)),
        })
    }

    fn seller(&self, provider: usize) -> (&str, Seller) {
        self.providers.get(provider).map_or(("", Seller::Unknown), |(name, seller)| (&**name, *seller))
    }

    /// The price of a model; `None` when there is none.
    fn price(&self, provider: usize, served: &str, asked: &str) -> Option<&Price> {
        let (name, seller) = self.seller(provider);
        seller.price(&self.table, &self.own, name, served, asked, clock::wall_millis())
    }

    /// A client names the model, so neither the text nor the number of these may be without a bound.
    fn warn_once(&self, model: &str, what: &str) {
        if self.is_news(model) {
            let shown = shown(model);
            warn!(target: "ai", "the model `{shown}` {what}; give it a price under ai.prices.models");
        }
    }

    /// Whether `what` was not told yet, and may be.
    fn is_news(&self, what: &str) -> bool {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        warned.len() < MAX_WARNED && !warned.contains(what) && warned.insert(what.to_owned())
    }
}

/// The name of a model for the log.
fn shown(model: &str) -> String {
    model.chars().take(80).flat_map(char::escape_debug).collect()
}

/// What `usage` costs at one price, in millionths of a dollar, rounded up.
fn cost(price: &Price, usage: &Usage) -> u64 {
    in_micros(exact(price, usage))
}

/// The same before it is brought [`in_micros`].
fn exact(price: &Price, usage: &Usage) -> u128 {
    let rates = Rates::of(price, usage.input);
    let (times, times_cached) = factors(&price.tiers, usage.tier);
    // Providers count the parts within the whole; one that does not is charged for what it says of each.
    let less = |whole: u64, parts: &[u64]| parts.iter().fold(whole, |rest, part| rest.saturating_sub(*part));
    let written_1h = usage.cache_write_1h.min(usage.cache_write);
    let of_input = [usage.cache_read, usage.cache_write, usage.audio_input, usage.image_input];
    let of_output = [usage.reasoning, usage.audio_output, usage.image_output];
    let parts = [
        (less(usage.input, &of_input), rates.input, times),
        (usage.cache_read, rates.cached_input, times_cached),
        (usage.cache_write - written_1h, rates.cache_write, times),
        (written_1h, rates.cache_write_1h, times),
        (usage.audio_input, price.audio_input.unwrap_or(rates.input), times),
        (usage.image_input, price.image_input.unwrap_or(rates.input), times),
        (less(usage.output, &of_output), rates.output, times),
        (usage.reasoning, rates.reasoning, times),
        (usage.audio_output, price.audio_output.unwrap_or(rates.output), times),
        (usage.image_output, price.image_output.unwrap_or(rates.output), times),
    ];
    sum(&parts)
}

/// The most that the input and output of `usage` can cost in its tier.
fn most(price: &Price, usage: &Usage) -> u64 {
    let rates = Rates::of(price, usage.input);
    let most = |rate: u64, others: &[Option<u64>]| others.iter().flatten().fold(rate, |most, other| most.max(*other));
    let written = rates.cache_write.max(rates.cache_write_1h);
    let input = most(rates.input.max(rates.cached_input).max(written), &[price.audio_input, price.image_input]);
    let output = most(rates.output.max(rates.reasoning), &[price.audio_output, price.image_output]);
    let (times, times_cached) = factors(&price.tiers, usage.tier);
    in_micros(sum(&[(usage.input, input, times.max(times_cached)), (usage.output, output, times)]))
}

/// What tokens cost at their rates and factors.
fn sum(parts: &[(u64, u64, u64)]) -> u128 {
    parts.iter().fold(0_u128, |sum, (tokens, rate, times)| {
        // Of two numbers of 64 bits: it fits. The third may be too much.
        let once = u128::from(*tokens) * u128::from(*rate);
        sum.saturating_add(once.saturating_mul(u128::from(*times)))
    })
}

/// In millionths of a dollar, rounded up.
fn in_micros(sum: u128) -> u64 {
    u64::try_from(sum.div_ceil(PER_TOKEN)).unwrap_or(u64::MAX)
}

/// How many times the price a tier costs, and how many times that of what was read from a cache; in millionths.
fn factors(tiers: &Tiers, tier: Option<ServiceTier>) -> (u64, u64) {
    let times = tier.and_then(|tier| factor(tiers, tier)).unwrap_or(ONCE);
    let cached = if tier == Some(ServiceTier::Flex) { tiers.flex_cached_input } else { None };
    (times, cached.unwrap_or(times))
}

/// How many times the price this tier costs, where the price tells.
fn factor(tiers: &Tiers, tier: ServiceTier) -> Option<u64> {
    match tier {
        ServiceTier::Standard => None,
        ServiceTier::Flex => tiers.flex,
        ServiceTier::Priority => tiers.priority,
        ServiceTier::Ultrafast => tiers.ultrafast,
    }
}

/// The prices that hold for one request, as far as they depend on the length of its prompt.
struct Rates {
    input: u64,
    cached_input: u64,
    cache_write: u64,
    cache_write_1h: u64,
    output: u64,
    reasoning: u64,
}

impl Rates {
    fn of(price: &Price, input_tokens: u64) -> Self {
        let long = price.long_context.filter(|long| input_tokens > long.above);
        let LongContext { input, cached_input, cache_write, cache_write_1h, output, reasoning, .. } =
            long.unwrap_or(LongContext {
                above: 0,
                input: price.input,
                cached_input: price.cached_input,
                cache_write: price.cache_write,
                cache_write_1h: price.cache_write_1h,
                output: price.output,
                reasoning: price.reasoning,
            });
        let cache_write = cache_write.unwrap_or(input);
        Self {
            input,
            cached_input: cached_input.unwrap_or(input),
            cache_write,
            cache_write_1h: cache_write_1h.unwrap_or(cache_write),
            output,
            reasoning: reasoning.unwrap_or(output),
        }
    }
}

#[cfg(test)]
mod tests;
