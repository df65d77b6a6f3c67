//! Any bytes as the whole answer of a provider, for a client of another dialect: never a panic, and what the client gets is
//! JSON of a size in proportion.
//!
//!     cd tests/fuzz && cargo run --release --bin translate_answer -- -max_len=9000 -timeout=5

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use sluicegate::ai::dialect::Dialect::{self, Chat, Gemini, Messages};
use sluicegate::ai::dialect::translate::{Notes, answer, request};

const PAIRS: [(Dialect, Dialect); 4] = [(Messages, Chat), (Chat, Messages), (Gemini, Chat), (Gemini, Messages)];

fn notes() -> Notes {
    let body = br#"{"messages":[{"role":"user","content":"x"}]}"#;
    request(Chat, Messages, body, "m").expect("it can be asked").notes
}

fuzz_target!(|bytes: &[u8]| {
    for (provider, client) in PAIRS {
        if let Ok(given) = answer(provider, client, bytes, &notes()) {
            let said: Value = serde_json::from_slice(&given).expect("it is JSON");
            assert!(said.is_object());
            assert!(given.len() <= 1024 + 12 * bytes.len(), "{} bytes for {}", given.len(), bytes.len());
        }
    }
});
