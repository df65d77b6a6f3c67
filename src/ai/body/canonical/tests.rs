use super::*;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

fn digest(body: &str) -> [u8; 32] {
    canonical(body.as_bytes(), &[]).unwrap()
}

#[test]
fn the_same_in_other_words_is_the_same() {
    let one = r#"{"model":"m","messages":[{"role":"user","content":"Grüße/1\n"}],"n":1}"#;
    for other in [
        r#"{"n":1,"messages":[{"content":"Grüße/1\n","role":"user"}],"model":"m"}"#,
        " {\n\"n\" : 1 , \"model\":\"m\",\t\"messages\":[ {\"role\":\"user\",\"content\":\"Gr\\u00FC\\u00dfe\\/1\\u000a\"} ] } ",
        r#"{"mod\u0065l":"m","messages":[{"role":"user","content":"Grüße/1\n"}],"n":1}"#,
    ] {
        assert_eq!(digest(one), digest(other), "{other}");
    }
    assert_eq!(digest(r#""\ud83d\ude00""#), digest("\"😀\""));
}

#[test]
fn what_differs_in_one_place_differs() {
    let all = [
        r#"{"a":1}"#,
        r#"{"a":2}"#,
        r#"{"a":1.0}"#,
        r#"{"a":-1}"#,
        r#"{"a":1e0}"#,
        r#"{"a":"1"}"#,
        r#"{"a":[1]}"#,
        r#"{"a":{"1":1}}"#,
        r#"{"A":1}"#,
        r#"{"a":null}"#,
        r#"{"a":"null"}"#,
        r#"{"a":true}"#,
        r#"{"a":false}"#,
        "{}",
        "[]",
        r#"{"a":[]}"#,
        r#"{"a":{}}"#,
        r#"{"a":""}"#,
        r#"{"a":[[]]}"#,
        r#"{"a":[1,2]}"#,
        r#"{"a":[2,1]}"#,
        r#"{"a":[12]}"#,
        r#"{"a":["1","2"]}"#,
        r#"{"a":["12"]}"#,
        r#"{"a":["1\u00002"]}"#,
        r#"{"a":1,"b":2}"#,
        r#"{"a":2,"b":1}"#,
        r#"{"a":1,"a":2}"#,
        r#"{"a":2,"a":1}"#,
        r#"{"a":{"b":1},"c":2}"#,
        r#"{"a":{"b":1,"c":2}}"#,
        r#"{"a":"\ud800"}"#,
        r#"{"a":"\udc00"}"#,
        r#"{"a":"\ufffd"}"#,
        r#"[{"a":1}]"#,
        "1",
        "\"1\"",
        "\"\"",
        "null",
        r#"{"a":" "}"#,
    ];
    for (at, one) in all.iter().enumerate() {
        for other in &all[at + 1..] {
            assert_ne!(digest(one), digest(other), "{one} and {other}");
        }
    }
}

#[test]
fn two_prompts_have_two_keys() {
    let body = |prompt: &str| format!(r#"{{"model":"m","messages":[{{"role":"user","content":"{prompt}"}}]}}"#);
    assert_ne!(digest(&body("hello")), digest(&body("hellp")));
}

#[test]
fn members_that_do_not_count_are_only_those_outermost() {
    let without = |body: &str| canonical(body.as_bytes(), &["stream", "stream_options"]).unwrap();
    let plain = without(r#"{"a":{"stream":1},"b":2}"#);
    assert_eq!(without(r#"{"stream":true,"a":{"stream":1},"b":2,"stream_options":{"x":[1]}}"#), plain);
    assert_eq!(without(r#"{"a":{"stream":1},"b":2,"strea\u006d":false}"#), plain);
    assert_ne!(without(r#"{"a":{"stream":2},"b":2}"#), plain);
    assert_eq!(digest(r#"{"a":{"stream":1},"b":2}"#), plain);
}

#[test]
fn what_cannot_be_read_has_no_digest() {
    for body in ["", "{", "[1,]", "{\"a\"}", "1 1", "{} {}"] {
        assert_eq!(canonical(body.as_bytes(), &[]), Err(BadBody::NotJson), "{body}");
    }
    assert_eq!(canonical(b"\"\xff\"", &[]), Err(BadBody::NotJson));
    assert_eq!(canonical("[".repeat(1_000_000).as_bytes(), &[]), Err(BadBody::TooDeep));
}

#[test]
fn what_is_held_is_bounded() {
    let wide = |members: usize| {
        let members: Vec<_> = (0..members).map(|n| format!("\"{n}\":0")).collect();
        format!("{{{}}}", members.join(","))
    };
    assert!(canonical(wide(MAX_HELD).as_bytes(), &[]).is_ok());
    assert_eq!(canonical(wide(MAX_HELD + 1).as_bytes(), &[]), Err(BadBody::TooManyMembers));
    // Side by side they are not held together.
    assert!(canonical(format!("[{0},{0}]", wide(MAX_HELD)).as_bytes(), &[]).is_ok());
}

fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![Just(Json::Null), any::<i32>().prop_map(Json::from), "[a-c\n\"é]{0,3}".prop_map(Json::from)];
    leaf.prop_recursive(4, 30, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Json::from),
            prop::collection::btree_map("[a-c]{0,2}", inner, 0..5)
                .prop_map(|map| Json::Object(map.into_iter().collect())),
        ]
    })
}

/// JSON with its keys the other way round, and its strings in escapes.
fn otherwise(value: &Json) -> String {
    match value {
        Json::String(string) => {
            let units: Vec<_> = string.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect();
            format!("\"{}\"", units.concat())
        }
        Json::Array(values) => format!("[ {} ]", values.iter().map(otherwise).collect::<Vec<_>>().join(" , ")),
        Json::Object(members) => {
            let member = |(key, value): (&String, &Json)| format!("{}\n:{}", otherwise(&json!(key)), otherwise(value));
            format!("{{{}}}", members.iter().rev().map(member).collect::<Vec<_>>().join(","))
        }
        other => other.to_string(),
    }
}

proptest! {
    #[test]
    fn a_digest_tells_values_apart_and_nothing_else(a in any_json(), b in any_json()) {
        prop_assert_eq!(digest(&a.to_string()), digest(&otherwise(&a)));
        prop_assert_eq!(digest(&a.to_string()) == digest(&b.to_string()), a == b);
    }
}
