//! A JSON body of a request: what is taken for JSON is JSON for others too, what goes on differs only where it has to,
//! and the digest is that of the meaning.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};
use sluicegate::ai::body::{Asked, BadBody, Naming, canonical};
use sluicegate::ai::dialect::Dialect;

fuzz_target!(|input: &[u8]| {
    let valid = std::str::from_utf8(input).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok());
    let digest = canonical(input, &[]);
    assert_eq!(valid && digest.is_err(), digest == Err(BadBody::TooDeep), "what others can read has a digest");
    assert!(valid || digest.is_err(), "what others cannot read has none");
    let body = Bytes::copy_from_slice(input);
    for dialect in [Dialect::Chat, Dialect::Completions, Dialect::Responses, Dialect::Messages, Dialect::Other] {
        let asked = match Asked::read(&body, dialect, Naming::Body) {
            Ok(asked) => asked,
            Err(error) => {
                assert!(valid || matches!(error, BadBody::NotJson | BadBody::Invalid(_) | BadBody::Twice(_) | BadBody::TooDeep));
                continue;
            }
        };
        assert!(valid, "{input:?} is no JSON");
        assert_eq!(asked.edit().build().as_ptr(), body.as_ptr());
        // Numbers out of range are no matter of ours, but have no tree.
        let Ok(mut tree) = serde_json::from_slice::<Map<String, Value>>(input) else { continue };
        assert_eq!(tree.get("model").and_then(Value::as_str), Some(asked.model()));
        let changed = asked.edit().model("another \"name").include_usage().remove("user").stream(true).build();
        tree.insert("model".into(), "another \"name".into());
        tree.insert("stream".into(), true.into());
        tree.remove("user");
        match tree.get_mut("stream_options") {
            Some(Value::Object(options)) => drop(options.insert("include_usage".into(), true.into())),
            _ => drop(tree.insert("stream_options".into(), serde_json::json!({"include_usage": true}))),
        }
        assert_eq!(serde_json::from_slice::<Map<String, Value>>(&changed).expect("it is JSON"), tree);
    }
});
