//! Any bytes as the event stream of a provider, for a client of another dialect: never a panic, whole events of JSON, the
//! same however the bytes are cut, and one end.
//!
//!     cd tests/fuzz && cargo run --release --bin translate_stream -- -max_len=9000 -timeout=5

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use sluicegate::ai::dialect::Dialect::{self, Chat, Gemini, Messages};
use sluicegate::ai::dialect::translate::{Notes, Stream, request};
use sluicegate::ai::sse::{Decoder, MAX_EVENT};

const PAIRS: [(Dialect, Dialect); 4] = [(Messages, Chat), (Chat, Messages), (Gemini, Chat), (Gemini, Messages)];

fn notes() -> Notes {
    let body = br#"{"messages":[{"role":"user","content":"x"}],"stream_options":{"include_usage":true}}"#;
    request(Chat, Messages, body, "m").expect("it can be asked").notes
}

fn given(provider: Dialect, client: Dialect, notes: &Notes, chunks: &[&[u8]]) -> (Vec<u8>, bool) {
    let mut decoder = Decoder::new(MAX_EVENT);
    let mut stream = Stream::new(provider, client, notes.clone());
    let mut out = Vec::new();
    for chunk in chunks {
        decoder.push(Bytes::copy_from_slice(chunk));
        while let Some(Ok(frame)) = decoder.next() {
            if frame.has_data() && stream.event(frame.data(), &mut out).is_err() {
                return (out, false);
            }
        }
    }
    let ended = stream.finish(&mut out).is_ok();
    assert_eq!(ended, stream.is_complete());
    (out, ended)
}

fuzz_target!(|bytes: &[u8]| {
    let Some((cut, bytes)) = bytes.split_first() else { return };
    let (before, after) = bytes.split_at(usize::from(*cut) * bytes.len() / 256);
    let notes = notes();
    for (provider, client) in PAIRS {
        let whole = given(provider, client, &notes, &[bytes]);
        assert_eq!(whole, given(provider, client, &notes, &[before, after]));
        let text = String::from_utf8(whole.0).expect("it is text");
        assert!(text.is_empty() || text.ends_with("\n\n"));
        let mut ends = 0;
        for line in text.lines().filter_map(|line| line.strip_prefix("data: ")) {
            let event: Value = if line == "[DONE]" { Value::Null } else { serde_json::from_str(line).expect("it is JSON") };
            ends += usize::from(line == "[DONE]" || event["type"] == "message_stop");
        }
        assert_eq!(ends, usize::from(whole.1));
    }
});
