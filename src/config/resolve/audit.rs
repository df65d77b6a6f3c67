//! `log.audit`.

use std::sync::Arc;
use std::time::Duration;

use super::tls::file;
use super::{OPENSSL, Resolver};
use crate::config::audit::{Alerts, Audit, EventKind, EventKinds, Webhook, signing_key};
use crate::config::problem::{Finding, KeyPath, Place, list, nearest};
use crate::config::raw::{Named, Or, RawAlerts, RawLog, RawWebhook, Text};
use crate::config::secret::Secret;
use crate::config::values::{self, Wrong};

/// The audit log. `path` is that of `log`.
pub(super) fn audit(path: &KeyPath, raw: &RawLog, resolver: &mut Resolver<'_>) -> Option<Audit> {
    let path = path.key("audit");
    let raw = match raw.audit.as_ref()? {
        Or::Text(text) if text == "off" => return None,
        Or::Text(text) => {
            let file = file(&path, Some(text), resolver)?;
            let (events, alerts) = (EventKinds::default(), Alerts::default());
            return Some(Audit { file, events, alerts, webhook: None });
        }
        Or::Map(raw) => raw,
    };
    if raw.file.is_none() {
        resolver.missing(&path, "file", "the path of a file, or `audit: off`");
    }
    let events = events(&path.key("events"), raw.events.as_ref(), resolver);
    let alerts = alerts(&path.key("alerts"), raw.alerts.as_ref(), resolver);
    let webhook = raw.webhook.as_ref().and_then(|raw| webhook(&path.key("webhook"), raw, resolver));
    let file = file(&path.key("file"), raw.file.as_ref(), resolver)?;
    Some(Audit { file, events, alerts, webhook: webhook.map(Arc::new) })
}

fn events(path: &KeyPath, raw: Option<&Named<String>>, resolver: &mut Resolver<'_>) -> EventKinds {
    let mut events = EventKinds::default();
    let names = EventKind::ALL.map(EventKind::as_str);
    for (name, text) in raw.iter().flat_map(|raw| raw.items()) {
        let path = path.key(name);
        let Some(kind) = EventKind::ALL.into_iter().find(|kind| kind.as_str() == name) else {
            let wrong = Wrong::new(format!("there is no event {}", values::quote(name)));
            let wrong = match nearest(name, names) {
                Some(near) => wrong.hint(format!("did you mean `{near}`?")),
                None => wrong.expected(format!("one of {}", list(&names))),
            };
            resolver.wrong_at(Place::Key(path), wrong);
            continue;
        };
        let on = resolver.boolean(&path, &Some(text.clone()), true);
        events.set(kind, on);
    }
    events
}

fn alerts(path: &KeyPath, raw: Option<&RawAlerts>, resolver: &mut Resolver<'_>) -> Alerts {
    let default = Alerts::default();
    let Some(raw) = raw else { return default };
    let mut threshold = |key: &str, text: &Text, default| match text.as_deref() {
        Some("off") => 0,
        _ => resolver.number(&path.key(key), text, default, 1..=100_000),
    };
    Alerts {
        auth_failures: threshold("auth_failures", &raw.auth_failures, default.auth_failures),
        suspicious_requests: threshold("suspicious_requests", &raw.suspicious_requests, default.suspicious_requests),
        sanitizations: threshold("sanitizations", &raw.sanitizations, default.sanitizations),
    }
}

fn webhook(path: &KeyPath, raw: &Or<RawWebhook>, resolver: &mut Resolver<'_>) -> Option<Webhook> {
    let short;
    let (raw, url_path) = match raw {
        Or::Map(raw) => (raw, path.key("url")),
        Or::Text(text) => {
            short = RawWebhook { url: Some(text.clone()), ..RawWebhook::default() };
            (&short, path.clone())
        }
    };
    if raw.url.is_none() {
        resolver.missing(path, "url", "one such as https://alerts.example.com/hook");
    }
    let url = url(&url_path, &raw.url, resolver);
    let timeout = resolver.duration(&path.key("timeout"), &raw.timeout, Duration::from_secs(5));
    let retries = resolver.number(&path.key("retries"), &raw.retries, 3, 0..=10);
    let secret = secret(&path.key("secret"), &raw.secret, resolver);
    Some(Webhook { url: url?, timeout, retries, secret })
}

/// No message shows the URL: it may hold a secret.
fn url(path: &KeyPath, text: &Text, resolver: &mut Resolver<'_>) -> Option<Secret> {
    let text = text.as_ref()?;
    // By the parser that will read it again when an alarm is posted.
    let read = reqwest::Url::parse(text);
    let fits = read.is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if !fits {
        let finding = Finding::value(path, "this is no http or https URL");
        resolver.report(finding.expected("one such as https://alerts.example.com/hook"));
        return None;
    }
    Secret::new(text.clone())
}

fn secret(path: &KeyPath, text: &Text, resolver: &mut Resolver<'_>) -> Option<Secret> {
    let text = text.as_ref()?;
    if text.is_empty() {
        let finding = Finding::value(path, "the secret is empty: messages are not signed");
        resolver.warn(finding.hint("remove the key to say so on purpose"));
    } else if !resolver.is_placeholder(path, text, "secret", OPENSSL) && signing_key(text).is_none() {
        let finding = Finding::value(path, "what follows `whsec_` is not Base64");
        resolver.report(finding.expected("the secret as it was handed out"));
    }
    Secret::new(text.clone())
}
