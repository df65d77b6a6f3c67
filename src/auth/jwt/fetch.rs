//! One GET of a JWK set: bounded in time and size, without redirects.
//!
//! The server's certificate is checked against the system's authorities. Nothing but the configuration says where
//! it goes: variables that name a proxy are not read, and a redirect is a failure.

use std::error::Error;
use std::fmt::Write;
use std::time::Duration;

use http::StatusCode;
use http::header::ACCEPT;
use reqwest::redirect::Policy;
use reqwest::{Client, Response};

/// For a whole fetch.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of a set. A hundred RSA keys of 4096 bits need about 100 KiB.
const MAX_BYTES: usize = 256 << 10;

/// Fetches JWK sets. `Err`: why it cannot.
pub(super) struct Fetcher(Result<Client, String>);

impl Fetcher {
    /// Reads the system's authorities, off this thread.
    pub(super) async fn new() -> Self {
        let build = || {
            let client = Client::builder()
                .user_agent(concat!("sluicegate/", env!("CARGO_PKG_VERSION")))
                .timeout(TIMEOUT)
                .redirect(Policy::none())
                .pool_max_idle_per_host(0)
                .no_proxy();
            client.build().map_err(|error| whole(&error))
        };
        let built = tokio::task::spawn_blocking(build).await;
        Self(built.unwrap_or_else(|error| Err(error.to_string())))
    }

    /// The body at `url`.
    ///
    /// # Errors
    /// What went wrong, as the end of a sentence that begins with the set.
    pub(super) async fn fetch(&self, url: &str) -> Result<Vec<u8>, String> {
        let client = self.0.as_ref().map_err(|reason| format!("cannot be fetched: {reason}"))?;
        let failed = |error: reqwest::Error| {
            let timeout = error.is_timeout();
            let reason = whole(&error.without_url());
            if timeout { format!("did not come within {TIMEOUT:?}") } else { format!("cannot be fetched: {reason}") }
        };
        let response = client.get(url).header(ACCEPT, "application/jwk-set+json, application/json");
        let response = response.send().await.map_err(failed)?;
        if response.status() != StatusCode::OK {
            let status = response.status();
            let hint = if status.is_redirection() { "; redirects are not followed" } else { "" };
            return Err(format!("came with status {}{hint}", status.as_u16()));
        }
        read(response).await.map_err(|error| error.map_or_else(too_large, failed))
    }
}

/// The body; `Err(None)` when it is too large.
async fn read(mut response: Response) -> Result<Vec<u8>, Option<reqwest::Error>> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(Some)? {
        if body.len() + chunk.len() > MAX_BYTES {
            return Err(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn too_large() -> String {
    format!("has more than {MAX_BYTES} bytes")
}

/// An error with what caused it.
fn whole(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}
