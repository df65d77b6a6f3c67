//! `ctl limits`: how an account of a budget stands, and what was used of it forgiven.

use clap::{Args, Subcommand};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::Failure;
use super::client::Client;
use super::table::aligned;
use crate::admin::limits::{AccountShown, AccountsShown, BudgetShown, LimitShown};
use crate::admin::stats::span;

#[derive(Debug, Subcommand)]
pub(super) enum Limits {
    /// Show what is left of the budgets of a limit; without --key, of everybody's of whom it counts anything, the fullest
    /// first.
    Show {
        #[command(flatten)]
        account: Account,
    },
    /// Forgive what was used of the budgets of a limit; what is set aside for requests under way stays so.
    Reset {
        #[command(flatten)]
        account: Account,
    },
}

#[derive(Debug, Args)]
pub(super) struct Account {
    /// The key under `limits`.
    limit: String,
    /// Who the limit counts: a caller's id (token:ID for a token's), what its metadata says, an address, a route, a model, or
    /// the value of a header; '' for all who have none; to be left out where all count together.
    #[arg(long, value_name = "WHO")]
    key: Option<String>,
}

impl Limits {
    /// What to print when it is done.
    pub(super) async fn run(&self, client: &Client) -> Result<String, Failure> {
        let shown = match self {
            Self::Show { account } => client.read::<LimitShown>(&account.path("")).await?,
            Self::Reset { account } => client.change::<LimitShown>(&account.path("/reset")).await?,
        };
        if let Some(listed) = &shown.listed {
            return Ok(list(&shown.limit, listed));
        }
        Ok(shown.budgets.iter().map(|budget| line(&shown, budget)).collect::<Vec<_>>().join("\n"))
    }
}

impl Account {
    fn path(&self, action: &str) -> String {
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let query = self.key.as_deref().map(|who| format!("?key={}", encoded(who))).unwrap_or_default();
        format!("/control/limits/{}{action}{query}", encoded(&self.limit))
    }
}

fn line(shown: &LimitShown, budget: &BudgetShown) -> String {
    let LimitShown { limit, key, .. } = shown;
    let of = if key.is_empty() { String::new() } else { format!(" of {key}") };
    let again = if budget.full_in == 0 { String::new() } else { format!("; all of it again {}", again(budget)) };
    let whole = amount(budget, budget.budget);
    match over(budget) {
        Some(over) => format!("{limit}{of}: {over} over {whole}{again}"),
        None => format!("{limit}{of}: {} of {whole} left{again}", figure(budget, budget.remaining)),
    }
}

/// A budget on a line, and whose it is where that changes.
fn list(limit: &str, listed: &AccountsShown) -> String {
    if listed.accounts.is_empty() {
        return format!("{limit}: nothing is used of it");
    }
    let row = |account: &AccountShown, index: usize, budget: &BudgetShown| {
        let who = match account.key.as_deref() {
            Some("") => "'' (all who have none)",
            Some(who) => who,
            None => "(not known by name)",
        };
        let left = over(budget).map_or_else(|| amount(budget, budget.remaining), |over| format!("{over} over"));
        [
            if index == 0 { who.to_owned() } else { String::new() },
            format!("{} of {}", figure(budget, budget.used), amount(budget, budget.budget)),
            left,
            again(budget),
        ]
    };
    let head = ["WHO", "USED", "LEFT", "ALL OF IT AGAIN"].map(str::to_owned);
    let of = |account| move |(index, budget)| row(account, index, budget);
    let rows = listed.accounts.iter().flat_map(|account| account.budgets.iter().enumerate().map(of(account)));
    let mut text = aligned(&std::iter::once(head).chain(rows).collect::<Vec<_>>());
    if listed.more > 0 {
        text.extend(["\nand ", &listed.more.to_string(), " more of which less is used"]);
    }
    text
}

fn again(budget: &BudgetShown) -> String {
    if budget.full_in == 0 { "now".to_owned() } else { format!("in {}", span(budget.full_in)) }
}

/// By how much the budget was overrun.
fn over(budget: &BudgetShown) -> Option<String> {
    (budget.used > budget.budget).then(|| amount(budget, budget.used - budget.budget))
}

/// `1000 tokens` or `$1.20`.
fn amount(budget: &BudgetShown, value: f64) -> String {
    let figure = figure(budget, value);
    if budget.unit == "usd" { figure } else { format!("{figure} {}", budget.unit) }
}

/// The same without the word.
fn figure(budget: &BudgetShown, value: f64) -> String {
    if budget.unit != "usd" {
        return format!("{value:.0}");
    }
    let exact = format!("{value:.6}");
    let short = exact.trim_end_matches('0').trim_end_matches('.');
    let decimals = short.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    if decimals == 1 { format!("${short}0") } else { format!("${short}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(unit: &str, used: f64, budget: f64) -> BudgetShown {
        let remaining = if used < budget { budget - used } else { 0.0 };
        BudgetShown { unit: unit.to_owned(), budget, used, remaining, full_in: 126_000 }
    }

    #[test]
    fn amounts_are_as_people_write_them() {
        let usd = |value| figure(&budget("usd", 0.0, 1.0), value);
        assert_eq!(
            [usd(50.0), usd(1.2), usd(48.75), usd(0.000_123), usd(0.0)],
            ["$50", "$1.20", "$48.75", "$0.000123", "$0"]
        );
    }

    #[test]
    fn one_account_is_a_line_a_budget() {
        let shown = |key: &str| LimitShown { limit: "m".into(), key: key.into(), budgets: Vec::new(), listed: None };
        let left = line(&shown("team-a"), &budget("usd", 1.2, 50.0));
        assert_eq!(left, "m of team-a: $48.80 of $50 left; all of it again in 1d 11h");
        let over = line(&shown(""), &budget("tokens", 1200.0, 1000.0));
        assert_eq!(over, "m: 200 tokens over 1000 tokens; all of it again in 1d 11h");
    }

    #[test]
    fn many_are_a_table_that_says_how_many_more_there_are() {
        let account = |key: Option<&str>, budgets| AccountShown { key: key.map(str::to_owned), budgets };
        let accounts = vec![
            account(Some("team-b"), vec![budget("tokens", 1200.0, 1000.0), budget("usd", 1.2, 50.0)]),
            account(None, vec![budget("tokens", 10.0, 1000.0)]),
        ];
        assert_eq!(
            list("m", &AccountsShown { accounts, more: 7 }),
            "WHO                  USED                 LEFT             ALL OF IT AGAIN\n\
             team-b               1200 of 1000 tokens  200 tokens over  in 1d 11h\n                     \
             $1.20 of $50         $48.80           in 1d 11h\n\
             (not known by name)  10 of 1000 tokens    990 tokens       in 1d 11h\n\
             and 7 more of which less is used"
        );
        assert_eq!(list("m", &AccountsShown { accounts: Vec::new(), more: 0 }), "m: nothing is used of it");
    }
}
