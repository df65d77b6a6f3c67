//! `ctl limits`: how an account of a budget stands, and what was used of it forgiven.

use clap::{Args, Subcommand};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::Failure;
use super::client::Client;
use crate::admin::limits::{BudgetShown, LimitShown};

#[derive(Debug, Subcommand)]
pub(super) enum Limits {
    /// Show what is left of the budgets of a limit.
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
    /// Who the limit counts: a caller's id (token:ID for a token's), an address, a route, a model, or the value of a header;
    /// left out where all count together.
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
    let BudgetShown { unit, budget, remaining, full_in } = budget;
    let of = if key.is_empty() { String::new() } else { format!(" of {key}") };
    format!("{limit}{of}: {remaining} of {budget} {unit} left; all in {full_in} s")
}
