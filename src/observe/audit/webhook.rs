//! The webhook: alarms posted to another system.
//!
//! One task of the control thread posts one message after the other, each with a timeout and a bounded number of attempts
//! that wait longer each time. Redirects are not followed. With a secret, messages are signed by the rules of Standard
//! Webhooks (`webhook-id`, `webhook-timestamp`, `webhook-signature: v1,BASE64`).

use std::net::IpAddr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use log::warn;
use reqwest::{Client, StatusCode};
use ring::hmac;
use serde::Serialize;
use tokio::sync::mpsc;

use super::Raised;
use crate::clock;
use crate::config::audit::{Webhook, signing_key};
use crate::observe::metrics::Metrics;
use crate::observe::{Identity, SERVICE};

/// How long the first repeated attempt waits; each further one waits twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest that an attempt waits.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// An alarm on its way.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    #[serde(skip)]
    id: String,
    /// Always `security.alert`.
    r#type: &'static str,
    /// When it was raised, RFC 3339.
    timestamp: String,
    data: Data,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    alert: &'static str,
    count: usize,
    window_seconds: u64,
    client: Option<IpAddr>,
    service: &'static str,
    instance_id: String,
}

impl Message {
    /// The message for `raised`; `number` is another one each time.
    pub(super) fn new(number: u64, raised: &Raised, identity: &Identity) -> Self {
        let timestamp = jiff::Timestamp::try_from(clock::wall()).map(|now| format!("{now:.3}")).unwrap_or_default();
        let data = Data {
            alert: raised.alarm.as_str(),
            count: raised.count,
            window_seconds: 60,
            client: raised.worst.map(|(client, _)| client),
            service: SERVICE,
            instance_id: identity.instance_id.clone(),
        };
        let id = format!("msg_{:x}_{number:x}_{:08x}", clock::wall_millis(), fastrand::u32(..));
        Self { id, r#type: "security.alert", timestamp, data }
    }
}

/// Posts what comes in, one by one, to what `target` says at that time. Ends with the sender, or when it is dropped.
pub async fn post_all<T>(mut messages: mpsc::Receiver<Message>, target: T, metrics: &Metrics)
where
    T: Fn() -> Option<std::sync::Arc<Webhook>>,
{
    let mut client = None;
    while let Some(message) = messages.recv().await {
        let Some(webhook) = target() else { continue };
        let posted = match client_of(&mut client).await {
            Ok(client) => post(client, &webhook, &message).await,
            Err(error) => Err(error),
        };
        metrics.webhook_posted(posted.is_ok());
        if let Err(reason) = posted {
            warn!(target: "sluicegate::audit", "an alarm could not be posted to the webhook: {reason}");
        }
    }
}

/// The client, made for the first alarm: most processes never need one, and it holds all of the system's authorities.
async fn client_of(made: &mut Option<Client>) -> Result<&Client, String> {
    if made.is_none() {
        let build = || Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build();
        // It reads the system's authorities, which is not for this thread.
        let built = tokio::task::spawn_blocking(build).await.map_err(|error| error.to_string())?;
        *made = Some(built.map_err(|error| error.without_url().to_string())?);
    }
    made.as_ref().ok_or_else(|| "there is no client".to_owned())
}

/// Posts one message. The error is for the log, and does not name the URL, which may hold a secret.
async fn post(client: &Client, webhook: &Webhook, message: &Message) -> Result<(), String> {
    let body = serde_json::to_vec(message).map_err(|error| error.to_string())?;
    let mut pause = FIRST_PAUSE;
    let mut attempt = 0;
    loop {
        let failure = match try_post(client, webhook, message, &body).await {
            Ok(status) if status.is_success() => return Ok(()),
            // It was understood, and is not wanted: another try changes nothing. A redirect is not followed.
            Ok(status) if status.is_redirection() => return Err(format!("it answers {status}")),
            Ok(status) if status.is_client_error() && !matches!(status.as_u16(), 408 | 425 | 429) => {
                return Err(format!("it answers {status}"));
            }
            Ok(status) => format!("it answers {status}"),
            Err(error) => reason(&error),
        };
        if attempt == webhook.retries {
            return Err(format!("{failure}; {} attempts", attempt + 1));
        }
        attempt += 1;
        tokio::time::sleep(pause.mul_f64(0.75 + fastrand::f64() / 2.0)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn try_post(
    client: &Client,
    webhook: &Webhook,
    message: &Message,
    body: &[u8],
) -> Result<StatusCode, reqwest::Error> {
    let seconds = (clock::wall_millis() / 1000).to_string();
    let mut request = client
        .post(webhook.url.reveal())
        .timeout(webhook.timeout)
        .header("content-type", "application/json")
        .header("user-agent", SERVICE)
        .header("webhook-id", &message.id)
        .header("webhook-timestamp", &seconds);
    if let Some(secret) = &webhook.secret {
        let signed = [message.id.as_bytes(), b".", seconds.as_bytes(), b".", body].concat();
        let signature = hmac::sign(&key(&secret.reveal()), &signed);
        request = request.header("webhook-signature", format!("v1,{}", STANDARD.encode(signature)));
    }
    Ok(request.body(body.to_vec()).send().await?.status())
}

/// A secret is used as it stands, unless it has the form that Standard Webhooks hands out: `whsec_` and Base64.
fn key(secret: &str) -> hmac::Key {
    // The configuration has seen to it that it can be read.
    hmac::Key::new(hmac::HMAC_SHA256, &signing_key(secret).unwrap_or_default())
}

fn reason(error: &reqwest::Error) -> String {
    match () {
        () if error.is_timeout() => "no answer in time".to_owned(),
        () if error.is_connect() => "no connection".to_owned(),
        () => "the exchange failed".to_owned(),
    }
}
