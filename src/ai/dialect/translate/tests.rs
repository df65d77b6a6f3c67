//! The rules of the doors themselves; what each direction makes of what is in `golden`.

use serde_json::{Value, json};

use super::*;

mod golden;

fn asked(client: Dialect, provider: Dialect, body: &Value) -> Value {
    let translated = request(client, provider, body.to_string().as_bytes(), "the-model").expect("it is translated");
    serde_json::from_slice(&translated.body).expect("it is JSON")
}

fn refused(client: Dialect, provider: Dialect, body: &str) -> Untranslatable {
    request(client, provider, body.as_bytes(), "the-model").expect_err("it is refused")
}

#[test]
fn a_request_of_chat_is_asked_of_messages() {
    let body = json!({
        "model": "x",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
        "temperature": 0.5,
        "stream": true,
    });
    assert_eq!(
        asked(Dialect::Chat, Dialect::Messages, &body),
        json!({
            "model": "the-model",
            "max_tokens": 4096,
            "system": "Be brief.",
            "messages": [{"role": "user", "content": "Hi"}],
            "temperature": 0.5,
            "stream": true,
        })
    );
}

#[test]
fn a_refusal_names_the_field_and_repeats_nothing_of_the_request() {
    let cases = [
        (
            r#"{"messages":[],"logitbias":"S3CRET"}"#,
            "logitbias",
            "logitbias: it is not known, and cannot be said to this model's provider",
        ),
        (
            r#"{"messages":[{"role":"user","content":[{"type":"text","txet":"S3CRET"}]}]}"#,
            "messages[0].content[0].txet",
            "messages[0].content[0].txet: it is not known, and cannot be said to this model's provider",
        ),
        (r#"{"messages":[{"content":"S3CRET"}]}"#, "messages[0].role", "messages[0].role: it is missing"),
        (r#"{"messages":[],"temperature":"S3CRET"}"#, "temperature", "temperature: expected a number"),
        (r#"{"messages":"S3CRET"}"#, "messages", "messages: expected a list"),
    ];
    for (body, param, message) in cases {
        let refused = refused(Dialect::Chat, Dialect::Messages, body);
        assert_eq!((refused.param.as_deref(), &*refused.message), (Some(param), message), "{body}");
    }
}

#[test]
fn a_body_that_is_no_json_is_refused_with_its_place() {
    for body in ["", "{", "{\"messages\":[}", "[1]", "{} {}", "\u{feff}{}"] {
        let refused = refused(Dialect::Chat, Dialect::Messages, body);
        assert!(!refused.message.is_empty(), "{body}");
    }
    assert_eq!(
        refused(Dialect::Messages, Dialect::Chat, "{\"max_tokens\":1,").message,
        "the body cannot be read: no valid JSON at line 1, column 16"
    );
}
