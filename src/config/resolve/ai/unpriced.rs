//! Targets whose requests will be refused, because money is limited and nobody knows what they cost: they are warned of.

use std::sync::Arc;

use super::super::Resolver;
use crate::clock;
use crate::config::ai::{Ai, Model, ModelTarget, OwnPrices, Seller, UnknownPrice};
use crate::config::limit::Limit;
use crate::config::problem::{Finding, KeyPath};
use crate::config::values::quote;
use crate::config::{Route, Target};

/// Warns of the targets of models that may be asked for on routes where `limits` count money. The first `of_file` pools are
/// those of the file.
pub(in crate::config::resolve) fn warn_unpriced(
    ai: &Ai,
    of_file: usize,
    limits: &[Arc<Limit>],
    routes: &[Arc<Route>],
    resolver: &mut Resolver<'_>,
) {
    if ai.prices.unknown != UnknownPrice::Block {
        return;
    }
    let counts_money =
        |route: &Route| route.limits.iter().filter_map(|index| limits.get(*index)).any(|limit| limit.cost.is_some());
    let asks = |route: &Route, model: &Model| match &route.target {
        Target::Ai(target) => counts_money(route) && ai.is_asked(model, target),
        _ => false,
    };
    let own = OwnPrices::new(&ai.prices.models);
    let section = KeyPath::default().key("ai").key("models");
    for model in ai.models.iter().filter(|model| routes.iter().any(|route| asks(route, model))) {
        for target in model.ranks.iter().flatten() {
            let Some((provider, served)) = unpriced(ai, &own, of_file, model, target) else { continue };
            let message = format!(
                "{} has no price, so requests for this model are refused where money is limited",
                quote(&format!("{provider}/{served}"))
            );
            let hint = format!(
                "give it one, in dollars for a million tokens: ai.prices.models: {{ {served}: {{ input: 0.50, output: 1.50 }} }}; \
                 or `ai.prices.unknown: zero`"
            );
            resolver.warn(Finding::key(&section.key(&model.name), message).hint(hint));
        }
    }
}

/// The names of the provider of `target` and of its model there, when that has no price.
fn unpriced<'a>(
    ai: &'a Ai,
    own: &OwnPrices,
    of_file: usize,
    model: &'a Model,
    target: &'a ModelTarget,
) -> Option<(&'a str, &'a str)> {
    let provider = ai.providers.get(target.provider).filter(|provider| provider.enabled)?;
    // Of a wildcard, only the client knows what it asks for.
    let served = &**model.only_served(target)?;
    let seller = Seller::of(provider, provider.pool < of_file);
    let price = seller.price(&ai.prices.table, own, &provider.name, served, &model.name, clock::wall_millis());
    price.is_none().then_some((&*provider.name, served))
}
