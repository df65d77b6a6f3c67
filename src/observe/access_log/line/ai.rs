//! What a JSON line says of a request to the AI gateway.

use super::{decimal, millis, number, optional, text};
use crate::observe::ai::{AiRecord, Tokens};

/// Appends the keys, each with its comma before it.
pub(super) fn json(buf: &mut Vec<u8>, record: &AiRecord) {
    text(buf, b",\"operation\":\"", record.operation.as_str());
    if !record.model.is_empty() {
        text(buf, b",\"model\":\"", &record.model);
    }
    optional(buf, b",\"model_served\":\"", record.served.as_deref());
    optional(buf, b",\"provider\":\"", record.provider.as_deref());
    optional(buf, b",\"provider_key\":\"", record.key.as_deref());
    buf.extend_from_slice(b",\"stream\":");
    buf.extend_from_slice(if record.stream { b"true".as_slice() } else { b"false".as_slice() });
    tries(buf, record);
    if let Some(used) = &record.tokens {
        tokens(buf, used);
        if record.estimated {
            buf.extend_from_slice(b",\"tokens_estimated\":true");
        }
    }
    if let Some(cost) = record.cost {
        buf.extend_from_slice(b",\"cost_usd\":");
        decimal(buf, cost.into(), 1_000_000);
    }
    millis(buf, b",\"first_token_ms\":", record.first_token);
    if record.broken {
        buf.extend_from_slice(b",\"broken\":true");
    }
}

fn tries(buf: &mut Vec<u8>, record: &AiRecord) {
    if record.tries().is_empty() {
        return;
    }
    for (n, one) in record.tries().iter().enumerate() {
        let key: &[u8] = if n == 0 { b",\"tries\":[{\"provider\":\"" } else { b",{\"provider\":\"" };
        text(buf, key, &one.provider);
        optional(buf, b",\"key\":\"", one.key.as_deref());
        text(buf, b",\"outcome\":\"", one.outcome.as_str());
        optional(buf, b",\"request_id\":\"", one.request_id.as_ref().and_then(|id| id.to_str().ok()));
        buf.push(b'}');
    }
    buf.push(b']');
    if record.untold() > 0 {
        number(buf, b",\"tries_untold\":", record.untold());
    }
}

fn tokens(buf: &mut Vec<u8>, used: &Tokens) {
    const KEYS: [&[u8]; 5] = [
        b",\"tokens_input\":",
        b",\"tokens_output\":",
        b",\"tokens_cache_read\":",
        b",\"tokens_cache_write\":",
        b",\"tokens_reasoning\":",
    ];
    for (key, count) in KEYS.into_iter().zip(used.counts()) {
        number(buf, key, count);
    }
}
