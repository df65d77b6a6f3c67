//! Prices of the file that no request is charged by, such as that of a name misspelt: they are warned of.

use super::super::Resolver;
use crate::clock;
use crate::config::ai::{Ai, Model, ModelTarget, OwnPrices, Price, Provider, Seller, wildcard};
use crate::config::problem::{Finding, KeyPath, nearest};
use crate::config::values::quote;

/// Warns of the prices under which nothing is looked up, or before which another one is always found. The first `of_file`
/// pools are those of the file.
pub(in crate::config::resolve) fn warn_idle_prices(ai: &Ai, of_file: usize, resolver: &mut Resolver<'_>) {
    // Without models, clients may ask for whatever a provider has.
    if ai.models.is_empty() {
        return;
    }
    let own = OwnPrices::new(&ai.prices.models);
    let targets = ai.models.iter().flat_map(|model| model.ranks.iter().flatten().map(move |target| (model, target)));
    let ways: Vec<Way<'_>> = targets.filter_map(|(model, target)| Way::new(ai, &own, of_file, model, target)).collect();
    let section = KeyPath::default().key("ai").key("prices").key("models");
    for (name, _) in &ai.prices.models {
        let Some(price) = own.named(name) else { continue };
        if ways.iter().any(|way| way.may_be_charged_by(name, price)) {
            continue;
        }
        let mut finding = Finding::key(&section.key(name), "no request is charged by this price");
        finding.hint = instead(ai, &own, &ways, name);
        resolver.warn(finding);
    }
}

/// What to do about a price of `name`.
fn instead(ai: &Ai, own: &OwnPrices, ways: &[Way<'_>], name: &str) -> Option<String> {
    if let Some(way) = ways.iter().find(|way| way.asked.is(name) || way.served.is(name)) {
        let other = |price: &Price| {
            let is_it = |name: &str| own.named(name).is_some_and(|other| std::ptr::eq(other, price));
            ai.prices.models.iter().map(|(name, _)| &**name).find(|name| is_it(name))
        };
        return Some(match way.charged().and_then(other) {
            Some(other) => format!("requests for it are charged by {}", quote(other)),
            None => format!("what the provider calls it has a price: name {}", quote(way.served.start)),
        });
    }
    let names: Vec<String> = ways.iter().flat_map(Way::names).collect();
    nearest(name, names.iter().map(String::as_str)).map(|near| format!("did you mean `{near}`?"))
}

/// A name, or how it begins.
#[derive(Clone, Copy)]
struct Name<'a> {
    start: &'a str,
    open: bool,
}

impl<'a> Name<'a> {
    fn new(text: &'a str) -> Self {
        wildcard(text).map_or(Self { start: text, open: false }, |start| Self { start, open: true })
    }

    fn is(&self, name: &str) -> bool {
        !self.open && self.start == name
    }

    /// Whether it is left open and may turn out to be `name`, or a snapshot of that.
    fn may_be(&self, name: &str) -> bool {
        self.open && (name.starts_with(self.start) || self.start.starts_with(name))
    }
}

/// A way that requests may go: what a client asks for, and what is asked of a provider then.
struct Way<'a> {
    ai: &'a Ai,
    own: &'a OwnPrices,
    provider: &'a Provider,
    seller: Seller,
    served: Name<'a>,
    asked: Name<'a>,
}

impl<'a> Way<'a> {
    fn new(ai: &'a Ai, own: &'a OwnPrices, of_file: usize, model: &'a Model, target: &'a ModelTarget) -> Option<Self> {
        let provider = ai.providers.get(target.provider)?;
        let seller = match Seller::of(provider, provider.pool < of_file) {
            // What is free without a price says nothing of those that there are.
            Seller::Nobody => Seller::Unknown,
            seller => seller,
        };
        let served = target.model.as_ref().unwrap_or(&model.name);
        let served = Name::new(served.strip_prefix("models/").unwrap_or(served));
        Some(Self { ai, own, provider, seller, served, asked: Name::new(&model.name) })
    }

    /// What requests are charged by, as far as that is known: where the names are open, by what the provider calls the model.
    fn charged(&self) -> Option<&'a Price> {
        let asked = if self.asked.open { "" } else { self.asked.start };
        self.price(asked)
    }

    fn price(&self, asked: &str) -> Option<&'a Price> {
        let table = &self.ai.prices.table;
        self.seller.price(table, self.own, &self.provider.name, self.served.start, asked, clock::wall_millis())
    }

    /// Whether `price`, which the file has under `name`, may be the one.
    fn may_be_charged_by(&self, name: &str, price: &Price) -> bool {
        if self.served.open {
            let of_provider = name.strip_prefix(&*self.provider.name).and_then(|rest| rest.strip_prefix('/'));
            return self.served.may_be(name)
                || of_provider.is_some_and(|name| self.served.may_be(name))
                || self.asked.may_be(name);
        }
        match self.charged() {
            Some(charged) => std::ptr::eq(charged, price),
            None => self.asked.may_be(name),
        }
    }

    /// The names under which a price would count.
    fn names(&self) -> Vec<String> {
        let of_provider = |name: &str| [name.to_owned(), format!("{}/{name}", self.provider.name)];
        if self.served.open {
            let listed = self.provider.models.iter().filter(|name| self.served.may_be(name));
            return listed.flat_map(|name| of_provider(name)).collect();
        }
        let asked = (!self.asked.open && self.price("").is_none()).then(|| self.asked.start.to_owned());
        of_provider(self.served.start).into_iter().chain(asked).collect()
    }
}
