//! Any body in any chunks: the outcome is that of the whole, valid JSON stays valid with its keys and numbers, and
//! without a finding every byte stays.

#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use pieces::pieces;
use serde_json::Value;
use sluicegate::config::sanitize::{Finds, Rule, Sanitize, Unmasked};
use sluicegate::sanitize::{Format, Masker};

mod pieces;

fuzz_target!(|input: (bool, Vec<u16>, Vec<u8>)| {
    let (events, cuts, body) = input;
    let format = if events { Format::Events } else { Format::Json };
    let (whole, hits) = masked(format, [body.as_slice()]);
    assert_eq!(masked(format, pieces(&cuts, &body)).0, whole, "the chunks have a part in it");
    if let (false, Ok(before)) = (events, serde_json::from_slice::<Value>(&body)) {
        let after = serde_json::from_slice::<Value>(&whole).expect("valid JSON stays valid");
        assert!(same_shape(&before, &after), "{before} became {after}");
    }
    assert!(hits > 0 || whole == body, "nothing was found, and something is different");
});

fn masked<'a>(format: Format, chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<u8>, u64) {
    let rule = |(name, finds): (&str, Finds)| Rule { name: name.into(), finds, replace: b"***".to_vec().into() };
    let rules = [("email", Finds::Email), ("phone", Finds::Phone), ("card", Finds::Card), ("id_card", Finds::IdCard)];
    let set = Sanitize {
        name: "fuzz".into(),
        rules: rules.map(rule).into(),
        request: true,
        response: true,
        max_body: u64::MAX,
        on_too_large: Unmasked::Refuse,
        on_unreadable: Unmasked::Refuse,
        callers: Vec::new(),
        addresses: Vec::new(),
    };
    let mut masker = Masker::new(Arc::new(set), format);
    let mut out = Vec::new();
    for chunk in chunks {
        out.extend_from_slice(&masker.push(chunk).expect("no body is too large"));
    }
    out.extend_from_slice(&masker.finish());
    (out, masker.hits().iter().sum())
}

fn same_shape(before: &Value, after: &Value) -> bool {
    match (before, after) {
        (Value::String(_), Value::String(_)) => true,
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_shape(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|((k, a), (l, b))| k == l && same_shape(a, b))
        }
        (a, b) => a == b,
    }
}
