use super::*;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn read(body: &str) -> Asked {
    asked(body, Dialect::Chat).unwrap()
}

fn asked(body: &str, dialect: Dialect) -> Result<Asked, BadBody> {
    Asked::read(&Bytes::copy_from_slice(body.as_bytes()), dialect, Naming::Body)
}

fn refused(body: &str) -> BadBody {
    asked(body, Dialect::Chat).unwrap_err()
}

#[test]
fn a_request_says_what_it_asks_for() {
    let asked = read(
        r#" { "model" : "gpt-4o", "messages": [{"role":"user","content":"model"}], "stream":true, "max_tokens": 100,
            "max_completion_tokens": 200, "n": 3, "stream_options": {"x":1,"include_usage": true}, "tools":[{}],
            "temperature": 0.5, "top_p": 1, "seed": 7, "store": false, "user":"u-1" } "#,
    );
    assert_eq!(asked.model(), "gpt-4o");
    assert!(asked.stream && asked.stream_options && asked.include_usage && asked.tools && asked.seed);
    assert_eq!((asked.max_output, asked.answers(), asked.store), (Some(200), 3, Some(false)));
    assert_eq!((asked.temperature, asked.top_p), (Some(0.5), Some(1.0)));
    assert_eq!(asked.member("user"), Some(b"\"u-1\"".as_slice()));
    assert_eq!((asked.text("user").as_deref(), asked.text("n"), asked.text("x")), (Some("u-1"), None, None));
    assert_eq!(asked.member("max_tokens"), Some(b"100".as_slice()));
    assert_eq!(asked.member("role"), None);
    assert!(!asked.background && !asked.stateful);
}

#[test]
fn what_is_not_said_has_its_default() {
    let asked =
        read(r#"{"model":"m","stream":null,"max_tokens":null,"n":null,"tools":[],"seed":null,"stream_options":null}"#);
    assert!(!asked.stream && !asked.stream_options && !asked.include_usage && !asked.tools && !asked.seed);
    assert_eq!((asked.max_output, asked.answers(), asked.temperature), (None, 1, None));
}

#[test]
fn each_dialect_has_its_own_bound_of_tokens() {
    let body = r#"{"model":"m","max_tokens":1,"max_completion_tokens":2,"max_output_tokens":3}"#;
    for (dialect, most) in
        [(Dialect::Chat, 2), (Dialect::Completions, 1), (Dialect::Messages, 1), (Dialect::Responses, 3)]
    {
        assert_eq!(asked(body, dialect).unwrap().max_output, Some(most), "{dialect:?}");
    }
}

#[test]
fn a_bound_of_tokens_is_a_whole_number() {
    for (number, most) in
        [("1e3", Some(1000)), ("100.0", Some(100)), ("-1", None), ("99999999999999999999", Some(u64::MAX))]
    {
        assert_eq!(read(&format!(r#"{{"model":"m","max_tokens":{number}}}"#)).max_output, most, "{number}");
    }
    for number in ["1.5", "\"100\"", "[]", "true", "1e999"] {
        assert_eq!(
            refused(&format!(r#"{{"model":"m","max_tokens":{number}}}"#)),
            BadBody::Invalid("max_tokens"),
            "{number}"
        );
    }
}

#[test]
fn several_prompts_have_several_answers() {
    for (prompt, answers) in
        [("\"a\"", 6), ("[\"a\",\"b\"]", 12), ("[1,2,3]", 6), ("[[1,2],[3],[4]]", 18), ("[]", 6), ("null", 6)]
    {
        let body = format!(r#"{{"model":"m","n":2,"best_of":6,"prompt":{prompt}}}"#);
        assert_eq!(asked(&body, Dialect::Completions).unwrap().answers(), answers, "{prompt}");
    }
    assert_eq!(read(r#"{"model":"m","n":0}"#).answers(), 1);
    let chat = r#"{"model":"m","n":2,"best_of":10}"#;
    assert_eq!(asked(chat, Dialect::Chat).unwrap().answers(), 10, "some servers take it there, too");
    assert_eq!(asked(chat, Dialect::Messages).unwrap().answers(), 2);
}

#[test]
fn state_that_the_provider_keeps_is_known() {
    let responses = |body| asked(body, Dialect::Responses).unwrap();
    assert!(responses(r#"{"model":"m","previous_response_id":"r"}"#).stateful);
    assert!(responses(r#"{"model":"m","conversation":{"id":"c"}}"#).stateful);
    for wanted in ["true", "1", "\"true\"", "{}"] {
        let body = format!(r#"{{"model":"m","background":{wanted}}}"#);
        assert!(asked(&body, Dialect::Responses).unwrap().background, "{wanted}");
    }
    for not in ["false", "null"] {
        let body = format!(r#"{{"model":"m","background":{not}}}"#);
        assert!(!asked(&body, Dialect::Responses).unwrap().background, "{not}");
    }
    assert!(!responses(r#"{"model":"m","previous_response_id":null}"#).stateful);
}

#[test]
fn names_written_with_escapes_are_the_same_names() {
    let asked = read(r#"{"\u006dodel":"gpt\u002d4o","strea\u006d":true}"#);
    assert_eq!(asked.model(), "gpt-4o");
    assert!(asked.stream);
    let body = asked.edit().model("x").stream(false).build();
    assert_eq!(body, r#"{"\u006dodel":"x","strea\u006d":false}"#);
}

#[test]
fn what_stands_twice_is_refused() {
    assert_eq!(refused(r#"{"model":"a","model":"b"}"#), BadBody::Twice(Some("model")));
    assert_eq!(refused(r#"{"model":"a","\u006dodel":"b"}"#), BadBody::Twice(Some("model")));
    assert_eq!(refused(r#"{"model":"a","secret":1,"secret":1}"#), BadBody::Twice(None));
    let options = r#"{"model":"a","stream_options":{"include_usage":true,"include_usage":false}}"#;
    assert_eq!(refused(options), BadBody::Twice(Some("stream_options")));
    assert!(!BadBody::Twice(None).to_string().contains("secret"));
}

#[test]
fn a_body_without_a_model_has_a_code_of_its_own() {
    for body in ["{}", r#"{"model":null}"#, r#"{"model":""}"#, r#"{"model":" "}"#, r#"{"a":{"model":"m"}}"#] {
        assert_eq!(refused(body), BadBody::MissingModel, "{body}");
    }
    assert_eq!((BadBody::MissingModel.code(), BadBody::MissingModel.param()), ("MISSING_MODEL", Some("model")));
    for model in ["1", "[]", "true", "\"a\\nb\"", "\"\\ud800\"", &format!("\"{}\"", "m".repeat(MAX_MODEL + 1))] {
        assert_eq!(refused(&format!("{{\"model\":{model}}}")), BadBody::Invalid("model"), "{model}");
    }
}

#[test]
fn what_decides_on_the_answer_has_the_right_type() {
    for (name, value) in [("stream", "\"true\""), ("stream", "1"), ("n", "\"2\""), ("stream_options", "[]")] {
        assert_eq!(refused(&format!(r#"{{"model":"m","{name}":{value}}}"#)), BadBody::Invalid(name), "{name} {value}");
    }
    let usage = r#"{"model":"m","stream_options":{"include_usage":1}}"#;
    assert_eq!(refused(usage), BadBody::Invalid("stream_options"));
    assert_eq!(BadBody::Invalid("n").code(), "INVALID_REQUEST");
}

#[test]
fn what_is_no_object_in_json_is_refused() {
    for body in ["", "{", "{\"model\":\"m\"}}", "{\"model\":\"m\",}", "nul", "[1", "{\"model\":\"m\"} x", "\u{feff}{}"]
    {
        assert_eq!(refused(body), BadBody::NotJson, "{body:?}");
    }
    for body in ["[]", "1", "\"model\"", "null"] {
        assert_eq!(refused(body), BadBody::NotObject, "{body:?}");
    }
    let latin = Bytes::from_static(b"{\"model\":\"m\",\"x\":\"\xe9\"}");
    assert_eq!(Asked::read(&latin, Dialect::Chat, Naming::Body).unwrap_err(), BadBody::NotJson);
}

#[test]
fn depth_and_members_are_bounded() {
    let deep = |depth| format!(r#"{{"model":"m","x":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
    assert!(asked(&deep(127), Dialect::Chat).is_ok());
    assert_eq!(refused(&deep(128)), BadBody::TooDeep);
    assert_eq!(refused(&format!("{{\"model\":\"m\",\"x\":{}", "{\"a\":".repeat(1_000_000))), BadBody::TooDeep);
    let wide = |members: usize| {
        let members: Vec<_> = (1..members).map(|n| format!(",\"{n}\":0")).collect();
        format!("{{\"model\":\"m\"{}}}", members.concat())
    };
    assert!(asked(&wide(MAX_MEMBERS), Dialect::Chat).is_ok());
    assert_eq!(refused(&wide(MAX_MEMBERS + 1)), BadBody::TooManyMembers);
}

#[test]
fn a_body_that_need_not_change_is_the_one_that_came() {
    let body = Bytes::from_static(br#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#);
    let asked = Asked::read(&body, Dialect::Chat, Naming::Body).unwrap();
    let same = asked.edit().model("m").stream(true).include_usage().remove("other").build();
    assert_eq!(same.as_ptr(), body.as_ptr());
    assert_eq!(same, body);
}

#[test]
fn only_what_has_to_differ_differs() {
    let asked = read("{ \"a\" : 1.0 ,\n\"model\"\t: \"m\", \"b\":[ ] }");
    assert_eq!(asked.edit().model("q\"\\").build(), "{ \"a\" : 1.0 ,\n\"model\"\t: \"q\\\"\\\\\", \"b\":[ ] }");
    assert_eq!(asked.edit().set("b", b"2".as_slice()).build(), "{ \"a\" : 1.0 ,\n\"model\"\t: \"m\", \"b\":2 }");
    assert_eq!(asked.edit().stream(true).build(), "{ \"a\" : 1.0 ,\n\"model\"\t: \"m\", \"b\":[ ],\"stream\":true }");
}

#[test]
fn members_are_left_out_with_their_comma() {
    let asked = read(r#"{ "a":1, "model":"m" , "b":2 }"#);
    for (names, body) in [
        (&["a"][..], r#"{ "model":"m" , "b":2 }"#),
        (&["b"], r#"{ "a":1, "model":"m" }"#),
        (&["model"], r#"{ "a":1 , "b":2 }"#),
        (&["a", "model"], r#"{ "b":2 }"#),
        (&["model", "b"], r#"{ "a":1 }"#),
        (&["a", "model", "b"], r#"{ }"#),
        (&["context_management"], r#"{ "a":1, "model":"m" , "b":2 }"#),
    ] {
        let edit = names.iter().fold(asked.edit(), |edit, name| edit.remove(name));
        assert_eq!(edit.build(), body, "{names:?}");
    }
    let edit = asked.edit().remove("a").remove("model").remove("b").set("c", b"3".as_slice()).set("d", b"4".as_slice());
    assert_eq!(edit.build(), r#"{"c":3,"d":4 }"#);
}

#[test]
fn the_last_change_of_a_member_counts() {
    let asked = read(r#"{"model":"m"}"#);
    assert_eq!(asked.edit().remove("model").model("x").build(), r#"{"model":"x"}"#);
    assert_eq!(asked.edit().model("x").remove("model").build(), r#"{}"#);
    assert_eq!(asked.edit().stream(true).set("stream", b"1".as_slice()).build(), r#"{"model":"m","stream":1}"#);
    assert_eq!(asked.edit().stream(true).remove("stream").build(), r#"{"model":"m"}"#);
}

#[test]
fn usage_is_asked_for_beside_the_other_options() {
    for (options, with) in [
        ("", r#","stream_options":{"include_usage":true}"#),
        (r#","stream_options":null"#, r#","stream_options":{"include_usage":true}"#),
        (r#","stream_options":{ }"#, r#","stream_options":{"include_usage":true }"#),
        (r#","stream_options":{"x":1}"#, r#","stream_options":{"include_usage":true,"x":1}"#),
        (r#","stream_options":{"include_usage": false ,"x":1}"#, r#","stream_options":{"include_usage": true ,"x":1}"#),
        (r#","stream_options":{"include_usage":null}"#, r#","stream_options":{"include_usage":true}"#),
    ] {
        let body = read(&format!(r#"{{"model":"m"{options}}}"#)).edit().include_usage().build();
        assert_eq!(body, format!(r#"{{"model":"m"{with}}}"#));
    }
}

fn members() -> impl Strategy<Value = Map<String, Value>> {
    let name = prop::sample::select(vec!["a", "é", "stream", "stream_options", "x\"y", "n", "z"]);
    let value = prop_oneof![
        Just(json!(true)),
        Just(json!({"include_usage": false, "b": [1, {"c": "}"}]})),
        any::<String>().prop_map(Value::from),
        any::<u32>().prop_map(Value::from),
    ];
    prop::collection::vec((name, value), 0..7)
        .prop_map(|members| members.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())
}

proptest! {
    #[test]
    fn changed_bodies_say_what_they_should(
        mut body in members(), model in any::<String>(), pretty in any::<bool>(), gone in 0usize..7, usage in any::<bool>(),
    ) {
        body.insert("model".into(), json!("m"));
        let text = if pretty { serde_json::to_string_pretty(&body).unwrap() } else { serde_json::to_string(&body).unwrap() };
        if let Ok(asked) = asked(&text, Dialect::Chat) {
            let name = ["a", "é", "stream", "x\"y", "n", "z", "none"][gone];
            let mut edit = asked.edit().model(&model).remove(name);
            body.remove(name);
            body["model"] = json!(model);
            if usage {
                edit = edit.include_usage();
                match body.get_mut("stream_options") {
                    Some(options) => options["include_usage"] = json!(true),
                    None => drop(body.insert("stream_options".into(), json!({"include_usage": true}))),
                }
            }
            let read: Value = serde_json::from_slice(&edit.build()).unwrap();
            prop_assert_eq!(read, Value::Object(body));
        }
    }
}

#[test]
fn a_known_name_in_other_letters_is_refused() {
    for (member, name) in
        [("Model", "model"), ("MAX_TOKENS", "max_tokens"), ("max_to\\u212aens", "max_tokens"), ("\u{17f}tore", "store")]
    {
        let body = Bytes::from(format!(r#"{{"model":"m","{member}":1}}"#));
        assert_eq!(Asked::read(&body, Dialect::Chat, Naming::Body).unwrap_err(), BadBody::Disguised(name), "{member}");
    }
    let body = Bytes::from_static(br#"{"model":"m","generationConfig":1,"x":{"Model":2}}"#);
    assert!(Asked::read(&body, Dialect::Chat, Naming::Body).is_ok());
}

#[test]
fn no_tokens_at_all_are_no_bound() {
    let body = Bytes::from_static(br#"{"model":"m","max_tokens":0}"#);
    assert_eq!(Asked::read(&body, Dialect::Chat, Naming::Body).unwrap().max_output, None);
}
