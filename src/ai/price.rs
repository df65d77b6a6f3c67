//! Prices: provider, model and tokens -> millionths of a dollar, in whole numbers, rounded up.
//!
//! A price of the configuration is found by the provider's name for the model, then by the client's. A server of one's own
//! (`openai_compatible`) costs nothing unless it has a price. What a model without a price means is configured; it is
//! never silently free.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use log::warn;

use super::usage::Usage;
use crate::config::ai::{self, Price, Provider, ProviderKind, UnknownPrice};

/// Prices are for so many tokens.
const PER: u128 = 1_000_000;
/// The most models without a price that the log is told of, each once.
const MOST_TOLD: usize = 1000;

/// What models cost.
pub struct Prices {
    models: HashMap<Arc<str>, Price>,
    unknown: UnknownPrice,
    told: Mutex<Vec<Box<str>>>,
}

impl Prices {
    /// Those of `config`.
    pub fn new(config: &ai::Prices) -> Self {
        Self { models: config.models.iter().cloned().collect(), unknown: config.unknown, told: Mutex::default() }
    }

    /// What `usage` of the model called `served` by `provider`, and `asked` by the client, costs; `None`: it has no price, and
    /// such requests are refused where money is limited.
    pub fn cost(&self, provider: &Provider, served: &str, asked: &str, usage: &Usage) -> Option<u64> {
        if let Some(price) = self.models.get(served).or_else(|| self.models.get(asked)) {
            return Some(cost(price, usage));
        }
        if provider.kind == ProviderKind::OpenAiCompatible {
            return Some(0);
        }
        match &self.unknown {
            UnknownPrice::Block => None,
            UnknownPrice::Default(price) => Some(cost(price, usage)),
            UnknownPrice::Zero => {
                self.tell(&provider.name, served);
                Some(0)
            }
        }
    }

    fn tell(&self, provider: &str, model: &str) {
        let both = format!("{provider}/{model}").into_boxed_str();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() < MOST_TOLD && !told.contains(&both) {
            let shown: String = model.chars().take(100).flat_map(char::escape_default).collect();
            warn!(target: "ai", "model {shown} of provider {provider} has no price and counts as free (ai.prices.unknown: zero)");
            told.push(both);
        }
    }
}

/// What `usage` costs at `price`.
pub fn cost(price: &Price, usage: &Usage) -> u64 {
    let long = price.long_context.filter(|long| usage.input > long.above);
    let (input, output) = long.map_or((price.input, price.output), |long| (long.input, long.output));
    let (cached, written, reasoning) = match long {
        Some(long) => (long.cached_input, long.cache_write, long.reasoning),
        None => (price.cached_input, price.cache_write, price.reasoning),
    };
    let plain = usage.input.saturating_sub(usage.cache_read).saturating_sub(usage.cache_write);
    let said = usage.output.saturating_sub(usage.reasoning);
    let parts = [
        (plain, input),
        (usage.cache_read, cached.unwrap_or(input)),
        (usage.cache_write, written.unwrap_or(input)),
        (said, output),
        (usage.reasoning, reasoning.unwrap_or(output)),
    ];
    let cost = |(tokens, price): &(u64, u64)| u128::from(*tokens) * u128::from(*price);
    let total: u128 = parts.iter().map(cost).fold(0, u128::saturating_add);
    u64::try_from(total.div_ceil(PER)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ai::LongContext;

    const PRICE: Price = Price {
        input: 2_500_000,
        cached_input: Some(1_250_000),
        cache_write: None,
        output: 10_000_000,
        reasoning: None,
        long_context: None,
    };

    #[test]
    fn tokens_cost_what_they_are() {
        let usage = Usage { input: 1000, cache_read: 400, output: 100, ..Usage::default() };
        // 600 at 2.50, 400 at 1.25, 100 at 10.00 dollars for a million.
        assert_eq!(cost(&PRICE, &usage), 1500 + 500 + 1000);
        assert_eq!(cost(&PRICE, &Usage { output: 1, ..Usage::default() }), 10);
        assert_eq!(cost(&PRICE, &Usage::default()), 0);
    }

    #[test]
    fn a_part_of_a_millionth_counts_as_one() {
        let price = Price { input: 1, ..Price::default() };
        assert_eq!(cost(&price, &Usage { input: 1, ..Usage::default() }), 1);
        assert_eq!(cost(&price, &Usage { input: u64::MAX, ..Usage::default() }), u64::MAX / 1_000_000 + 1);
        let dear = Price { input: u64::MAX, output: u64::MAX, ..Price::default() };
        assert_eq!(cost(&dear, &Usage { input: u64::MAX, output: u64::MAX, ..Usage::default() }), u64::MAX);
    }

    #[test]
    fn a_long_prompt_changes_the_price_of_the_whole_request() {
        let long = LongContext { above: 200_000, input: 5_000_000, output: 15_000_000, ..LongContext::default() };
        let price = Price { long_context: Some(long), ..PRICE };
        let usage = |input| Usage { input, output: 1000, ..Usage::default() };
        assert_eq!(cost(&price, &usage(200_000)), 500_000 + 10_000);
        assert_eq!(cost(&price, &usage(200_001)), 1_000_005 + 15_000);
    }
}
