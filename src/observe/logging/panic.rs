//! The panic hook: where it was, in the log and in the metrics.

use std::panic::PanicHookInfo;
use std::sync::Arc;

use crate::observe::metrics::Metrics;

/// What takes the place of the default hook, which writes several lines to stderr.
pub(super) fn hook(metrics: Arc<Metrics>) -> impl Fn(&PanicHookInfo<'_>) {
    move |info| {
        metrics.panicked();
        log::error!(target: "panic", "{}", describe(info));
    }
}

/// Where and what. A payload that is not text says nothing.
pub(super) fn describe(info: &PanicHookInfo<'_>) -> String {
    let payload = info.payload();
    let message = payload
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    match info.location() {
        Some(place) => format!("panic at {}:{}:{}: {message}", place.file(), place.line(), place.column()),
        None => format!("panic: {message}"),
    }
}
