//! `ctl revoke`: take a token back before it expires.

use clap::Args;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::Failure;
use super::client::Client;
use crate::admin::tokens::RevokedToken;

#[derive(Debug, Args)]
pub(super) struct Token {
    /// The token's name: its claim `jti`.
    jti: String,
    /// When the token expires by itself, in seconds since the epoch or as 2026-12-31T23:59:59Z. Without it,
    /// auth.jwt.revoked.ttl counts.
    #[arg(long, value_name = "TIME")]
    expires: Option<String>,
}

impl Token {
    /// What to print when it is done.
    pub(super) async fn run(&self, client: &Client) -> Result<String, Failure> {
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let query = self.expires.as_deref().map(|time| format!("?expires={}", encoded(time))).unwrap_or_default();
        let path = format!("/control/tokens/{}/revoke{query}", encoded(&self.jti));
        let done = client.change::<RevokedToken>(&path).await?;
        Ok(format!("{} is revoked until {} ({} of {})", done.jti, done.until, done.revoked, done.max_entries))
    }
}
