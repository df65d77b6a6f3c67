//! Any bytes as a request of one dialect, for a provider of another: never a panic, what is asked is JSON, and what Messages
//! or Chat would be asked can be read as a request of theirs.
//!
//!     cd tests/fuzz && cargo run --release --bin translate_request -- -max_len=9000 -timeout=5

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use sluicegate::ai::dialect::Dialect::{self, Chat, Gemini, Messages};
use sluicegate::ai::dialect::translate::request;

const PAIRS: [(Dialect, Dialect); 4] = [(Chat, Messages), (Chat, Gemini), (Messages, Chat), (Messages, Gemini)];

fuzz_target!(|bytes: &[u8]| {
    for (client, provider) in PAIRS {
        for model in ["claude-opus-4-5", "gemini-3-pro", "gemini-2.5-flash"] {
            let translated = match request(client, provider, bytes, model) {
                Ok(translated) => translated,
                Err(refused) => {
                    assert!(!refused.message.is_empty());
                    continue;
                }
            };
            let asked: Value = serde_json::from_slice(&translated.body).expect("it is JSON");
            assert!(asked.is_object());
            if provider != Gemini {
                let back = request(provider, client, &translated.body, model);
                let unread = back.err().filter(|refused| refused.message.contains("it is not known"));
                assert_eq!(unread, None, "{asked}");
            }
        }
    }
});
