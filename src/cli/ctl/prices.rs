//! `ctl prices`: what models cost, and where that stands.

use clap::Args;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::Failure;
use super::client::Client;
use super::table::aligned;
use crate::admin::prices::{PriceShown, PricesShown};

#[derive(Debug, Args)]
pub(super) struct Which {
    /// A model, as clients ask for it; without it, all that the configuration names.
    model: Option<String>,
    /// Print all of it as JSON.
    #[arg(long)]
    json: bool,
}

impl Which {
    /// What to print.
    pub(super) async fn run(&self, client: &Client) -> Result<String, Failure> {
        let encoded = |name: &String| format!("?model={}", utf8_percent_encode(name, NON_ALPHANUMERIC));
        let path = format!("/control/prices{}", self.model.as_ref().map(encoded).unwrap_or_default());
        if self.json {
            return client.get(&path).await;
        }
        client.read::<PricesShown>(&path).await.map(|shown| table(&shown))
    }
}

/// A kind of tokens on a line, and of which model where that changes.
fn table(shown: &PricesShown) -> String {
    if shown.prices.is_empty() {
        return "the configuration names no model: ask for one by its name".to_owned();
    }
    let head = ["MODEL", "AT", "FROM", "TOKENS", "$ A MILLION"].map(str::to_owned);
    let rows = shown.prices.iter().flat_map(|price| {
        let first = [price.model.clone(), at(price), from(price)];
        let mut lines: Vec<[String; 2]> = lines(price);
        if lines.is_empty() {
            lines.push([String::new(), String::new()]);
        }
        lines.into_iter().enumerate().map(move |(index, [what, dollars])| {
            let [model, at, from] = if index == 0 { first.clone() } else { Default::default() };
            [model, at, from, what, dollars]
        })
    });
    aligned(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
}

fn at(price: &PriceShown) -> String {
    let PriceShown { model, provider, served, .. } = price;
    if model == served { provider.clone() } else { format!("{provider}: {served}") }
}

fn lines(price: &PriceShown) -> Vec<[String; 2]> {
    let kinds = price.usd_per_million.iter().map(|kind| {
        let of = kind.above.map(|above| format!(" above {above}")).unwrap_or_default();
        [format!("{}{of}", kind.tokens), kind.usd.to_string()]
    });
    let tiers = price.tiers.iter().map(|tier| [tier.tier.clone(), format!("x {}", tier.times)]);
    kinds.chain(tiers).collect()
}

fn from(price: &PriceShown) -> String {
    let name = price.name.as_ref().map(|name| format!(" for {name}")).unwrap_or_default();
    let nowhere = || "no price: refused where money is limited".to_owned();
    price.from.as_ref().map_or_else(nowhere, |from| format!("{from}{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::prices::{KindShown, TierShown};

    #[test]
    fn prices_are_a_table_with_where_they_stand() {
        let kind = |tokens: &str, above, usd| KindShown { tokens: tokens.into(), above, usd };
        let priced = PriceShown {
            model: "fast".into(),
            provider: "openai".into(),
            served: "gpt-6-sol-2026-08-06".into(),
            from: Some("table 2026-11-28".into()),
            name: Some("gpt-6-sol".into()),
            usd_per_million: vec![
                kind("input", None, 2.0),
                kind("output", None, 10.5),
                kind("input", Some(272_000), 4.0),
            ],
            tiers: vec![TierShown { tier: "flex".into(), times: 0.5 }],
        };
        let unpriced = PriceShown {
            model: "odd".into(),
            provider: "router".into(),
            served: "odd".into(),
            from: None,
            name: None,
            usd_per_million: Vec::new(),
            tiers: Vec::new(),
        };
        assert_eq!(
            table(&PricesShown { prices: vec![priced, unpriced] }),
            "MODEL  AT                            FROM                                      TOKENS              $ A MILLION\n\
             fast   openai: gpt-6-sol-2026-08-06  table 2026-11-28 for gpt-6-sol            input                         2\n\
             \x20                                                                              output                     10.5\n\
             \x20                                                                              input above 272000            4\n\
             \x20                                                                              flex                      x 0.5\n\
             odd    router                        no price: refused where money is limited"
        );
        let none = table(&PricesShown { prices: Vec::new() });
        assert_eq!(none, "the configuration names no model: ask for one by its name");
    }
}
