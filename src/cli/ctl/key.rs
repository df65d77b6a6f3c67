//! `ctl key`: a provider's key, used again before its time is over.

use clap::Subcommand;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::Failure;
use super::client::Client;
use crate::admin::providers::RestoredKey;

#[derive(Debug, Subcommand)]
pub(super) enum Key {
    /// Forget that a provider refused or limited a key. If it still does, the next request with it says so.
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
        let RestoredKey { provider, key } =
            client.change(&format!("/control/providers/{provider}/keys/{key}/restore")).await?;
        Ok(format!("key {key} of provider {provider} is used again"))
    }
}
