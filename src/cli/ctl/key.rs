//! `ctl key` and `ctl provider`: a provider, or one of its keys, used again before its time is over.

use clap::Subcommand;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::Failure;
use super::client::Client;
use crate::admin::providers::{RestoredKey, RestoredProvider};

#[derive(Debug, Subcommand)]
pub(super) enum Key {
    /// Forget that a provider refused or limited a key, and close its breakers. If that was too early, the next requests
    /// with it say so.
    Restore {
        /// The key under `ai.providers`.
        provider: String,
        /// The name of its key, as `ctl status` shows it.
        key: String,
    },
}

impl Key {
    /// What to print when it is done.
    pub(super) async fn run(&self, client: &Client) -> Result<String, Failure> {
        let Self::Restore { provider, key } = self;
        let [provider, key] = [provider, key].map(|name| utf8_percent_encode(name, NON_ALPHANUMERIC));
        let RestoredKey { provider, key, breakers } =
            client.change(&format!("/control/providers/{provider}/keys/{key}/restore")).await?;
        Ok(format!("key {key} of provider {provider} is used again{}", closed(breakers)))
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum Provider {
    /// Close all breakers of a provider that is mended: the next requests may go to it. Its keys stay as they are.
    Restore {
        /// The key under `ai.providers`.
        provider: String,
    },
}

impl Provider {
    /// What to print when it is done.
    pub(super) async fn run(&self, client: &Client) -> Result<String, Failure> {
        let Self::Restore { provider } = self;
        let name = utf8_percent_encode(provider, NON_ALPHANUMERIC);
        let RestoredProvider { provider, breakers } =
            client.change(&format!("/control/providers/{name}/restore")).await?;
        Ok(match breakers {
            0 => format!("provider {provider} has no breaker that is open"),
            _ => format!("provider {provider} is asked again{}", closed(breakers)),
        })
    }
}

fn closed(breakers: usize) -> String {
    match breakers {
        0 => String::new(),
        1 => "; 1 breaker is closed".to_owned(),
        _ => format!("; {breakers} breakers are closed"),
    }
}
