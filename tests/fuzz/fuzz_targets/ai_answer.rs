//! Whatever a provider sends, as a stream, as a body or as an error: the numbers are consistent, and what a client is told
//! is safe to send.

#![no_main]

use http::StatusCode;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use sluicegate::ai::dialect::Dialect;
use sluicegate::ai::dialect::error::{self, Class, ErrorText, ProviderError};
use sluicegate::ai::door::Operation;
use sluicegate::ai::estimate;
use sluicegate::ai::meter::{Kind, Meter, whole};
use sluicegate::ai::sse::Decoder;
use sluicegate::ai::usage::Usage;

const DIALECTS: [Dialect; 6] =
    [Dialect::Chat, Dialect::Completions, Dialect::Responses, Dialect::Messages, Dialect::Gemini, Dialect::Other];

fuzz_target!(|input: &[u8]| {
    for dialect in DIALECTS {
        let mut meter = Meter::new(dialect);
        let mut decoder = Decoder::new(1 << 20);
        decoder.push(input.to_vec().into());
        let mut chars = 0;
        let mut frames: Vec<_> = std::iter::from_fn(|| decoder.next()).map_while(Result::ok).collect();
        frames.extend(decoder.finish());
        for frame in frames {
            if let Kind::Error(error) = meter.frame(&frame) {
                told(dialect, StatusCode::OK, &error);
            }
            assert!(meter.output_chars() >= chars);
            chars = meter.output_chars();
        }
        assert!(meter.is_finished() || !meter.is_terminal());
        consistent(meter.usage());
        if let Some(whole) = whole(dialect, Operation::Chat, input) {
            assert!(std::str::from_utf8(input).is_ok());
            consistent(whole.usage);
            assert!(whole.output_chars <= 2 * input.len() as u64);
        }
        for status in [StatusCode::OK, StatusCode::BAD_REQUEST, StatusCode::UNAUTHORIZED, StatusCode::BAD_GATEWAY] {
            told(dialect, status, &error::read(dialect, status, input));
        }
        let most = input.len() as u64 * estimate::DOCUMENT;
        assert!(estimate::input_tokens(input, dialect) <= most);
    }
});

fn consistent(usage: Option<Usage>) {
    let usage = usage.unwrap_or_default();
    assert!(usage.cache_read.checked_add(usage.cache_write).is_some_and(|cached| cached <= usage.input));
    assert!(usage.reasoning <= usage.output);
}

fn told(dialect: Dialect, status: StatusCode, error: &ProviderError) {
    assert!(error.message.is_none() || error.class.is_callers() || error.class == Class::OverLimit);
    for message in error.message.iter().chain(&error.said) {
        assert!(message.chars().count() <= 501 && !message.contains(char::is_control) && !message.contains("://"));
    }
    let message = error.message.as_deref().unwrap_or("it failed");
    let text = ErrorText { status, code: error.code(), message, param: None, request_id: "r" };
    serde_json::from_slice::<Value>(&error::render(dialect, &text)).expect("it is JSON");
    let event = error::event(dialect, &text, 0, None);
    let mut decoder = Decoder::new(1 << 20);
    decoder.push(event.clone());
    let frame = decoder.next().expect("it is an event").expect("it is short");
    assert_eq!(frame.raw(), &event);
    assert!(matches!(Meter::new(dialect).frame(&frame), Kind::Error(_)));
}
