use proptest::prelude::*;
use regex::bytes::Regex;
use serde_json::Value;

use super::*;
use crate::config::sanitize::{Finds, Rule};

fn set(rules: Vec<(&str, Finds)>) -> Sanitize {
    let rule = |(name, finds): (&str, Finds)| Rule { name: name.into(), finds, replace: b"***".to_vec().into() };
    Sanitize {
        name: "pii".into(),
        rules: rules.into_iter().map(rule).collect(),
        request: true,
        response: true,
        max_body: 1 << 20,
        on_too_large: Unmasked::Refuse,
        on_unreadable: Unmasked::Refuse,
        callers: Vec::new(),
        addresses: Vec::new(),
    }
}

fn all() -> Arc<Sanitize> {
    let order = Finds::Pattern(Regex::new("ORD-[0-9]{6}").unwrap());
    let built_in = [("email", Finds::Email), ("phone", Finds::Phone), ("card", Finds::Card), ("id", Finds::IdCard)];
    Arc::new(set(built_in.into_iter().chain([("order", order)]).collect()))
}

/// What becomes of a body that comes in these chunks.
fn masked_in<'a>(set: &Arc<Sanitize>, format: Format, chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut masker = Masker::new(Arc::clone(set), format);
    let mut out = Vec::new();
    for chunk in chunks {
        out.extend_from_slice(&masker.push(chunk).unwrap());
    }
    out.extend_from_slice(&masker.finish());
    out
}

fn masked(body: &str) -> String {
    String::from_utf8(masked_in(&all(), Format::Json, [body.as_bytes()])).unwrap()
}

/// What becomes of `text` as the only string value of a body.
fn value(text: &str) -> String {
    let body = masked(&Value::String(text.to_owned()).to_string());
    serde_json::from_str::<Value>(&body).unwrap().as_str().unwrap().to_owned()
}

/// A number with a good check digit after `digits`.
fn with_luhn(digits: &str) -> String {
    (0..10).map(|check| format!("{digits}{check}")).find(|number| value(number) == "***").unwrap()
}

#[test]
fn e_mail_addresses() {
    for (text, left) in [
        ("bob@example.com", "***"),
        ("write to bob.w+x@mail.example.co.uk, please", "write to ***, please"),
        ("联系bob@example.com。", "联系***。"),
        ("<bob@example.com>", "<***>"),
        ("a@x.io b@y.io", "*** ***"),
        ("bob@example.com.", "***."),
        ("bob@example.com--hello", "***--hello"),
        ("bob@h1.example.com2", "***2"),
        ("bob@xn--bcher-kva.xn--p1ai", "***"),
        ("a@b@c.com", "a@***"),
        ("bob@localhost", "bob@localhost"),
        ("@example.com", "@example.com"),
        ("price@10.50", "price@10.50"),
        ("@@@", "@@@"),
    ] {
        assert_eq!(value(text), left, "{text}");
    }
}

#[test]
fn telephone_numbers() {
    for text in [
        "13812345678",
        "138-1234-5678",
        "138 1234 5678",
        "+8613812345678",
        "+86 138 1234 5678",
        "8613812345678",
        "008613812345678",
        "+14155552671",
        "+1 (415) 555-2671",
        "+49 1512 3456789",
        "+44.7911.123456",
    ] {
        assert_eq!(value(text), "***", "{text}");
        assert_eq!(value(&format!("电话:{text}。")), "电话:***。", "{text}");
    }
    assert_eq!(value("86 13812345678"), "86 ***");
    assert_eq!(value("+8613812345678 13912345678"), "*** ***");
    for text in [
        "12812345678",
        "138123456789",
        "1381234567",
        "x13812345678",
        "call_13812345678",
        "13812345678x",
        "0.13812345678",
        "1+23456789",
        "+123456",
        "+1234567890123456",
        "1700000000000",
        "2026-11-20 21:35:00",
        "10.0.0.1:8080",
    ] {
        assert_eq!(value(text), text);
    }
}

#[test]
fn payment_cards() {
    for text in [
        "4111111111111111",
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        "378282246310005",
        "3782 822463 10005",
        "5555555555554444",
        "6011111111111117",
        "4222222222222",
    ] {
        assert_eq!(value(text), "***", "{text}");
    }
    assert_eq!(value("card 12 4111 1111 1111 1111 7"), "card 12 *** 7");
    assert_eq!(value(&with_luhn("622202123456789012")), "***", "19 digits");
    for text in [
        "4111111111111112",
        "1700000000000",
        "0.4111111111111111",
        "a4111111111111111",
        "41111111111111111111",
        "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
    ] {
        assert_eq!(value(text), text);
    }
}

#[test]
fn identity_numbers() {
    for text in ["11010519491231002X", "11010519491231002x", "440524188001010014"] {
        assert_eq!(value(text), "***", "{text}");
        assert_eq!(value(&format!("身份证{text},男")), "身份证***,男");
    }
    for text in ["110105194912310021", "110105194913310029", "11010519491231002XY", "110105-19491231-002X"] {
        assert_eq!(value(text), text);
    }
}

#[test]
fn patterns_of_ones_own_and_what_overlaps() {
    assert_eq!(value("ORD-123456 by bob@example.com"), "*** by ***");
    // The address begins inside of the order's number, and ends behind it: all of it is covered.
    assert_eq!(value("xORD-123456@example.com"), "***");
}

#[test]
fn only_string_values_are_touched() {
    let body = r#" {"bob@example.com" : "bob@example.com", "n": 13812345678, "a": [ "x" , "bob@example.com", {"13812345678":true}, ["4111111111111111"]], "e": "" } "#;
    let left = r#" {"bob@example.com" : "***", "n": 13812345678, "a": [ "x" , "***", {"13812345678":true}, ["***"]], "e": "" } "#;
    assert_eq!(masked(body), left);
    assert_eq!(masked("\"bob@example.com\""), "\"***\"");
    assert_eq!(
        masked("{\"a\":\"bob@example.com\"}\n{\"bob@x.io\":\"bob@x.io\"}\n"),
        "{\"a\":\"***\"}\n{\"bob@x.io\":\"***\"}\n"
    );
}

#[test]
fn an_escape_hides_nothing() {
    for (body, left) in [
        (r#""bob\u0040example.com""#, r#""***""#),
        (r#""\u0062ob\u0040example\u002ecom\n\"x\"""#, r#""***\n\"x\"""#),
        (
            r#""a \\ \" \/ \u00e9 \ud83d\ude00 bob@example.com \ud83d\ude00""#,
            r#""a \\ \" \/ \u00e9 \ud83d\ude00 *** \ud83d\ude00""#,
        ),
        (r#""\ud83dbob@example.com\ude00""#, r#""\ud83d***\ude00""#),
        (r#""{\"to\":\"bob@example.com\"}""#, r#""{\"to\":\"***\"}""#),
        (r#""\q \u12 \uZZZZ bob@example.com""#, r#""\q \u12 \uZZZZ ***""#),
    ] {
        assert_eq!(masked(body), left);
    }
    // `\n` before an address is a line break and no letter of it.
    assert_eq!(masked(r#""\nbob@example.com""#), r#""\n***""#);
}

#[test]
fn a_mask_is_escaped() {
    let mut quoted = set(vec![("email", Finds::Email)]);
    quoted.rules[0].replace = br#"\"x\""#.to_vec().into();
    let left = masked_in(&Arc::new(quoted), Format::Json, [br#"["bob@example.com"]"#.as_slice()]);
    assert_eq!(left, br#"["\"x\""]"#);
}

#[test]
fn hits_are_counted_by_rule() {
    let mut masker = Masker::new(all(), Format::Json);
    masker.push(br#"["a@x.io b@x.io", "13812345678"]"#).unwrap();
    masker.finish();
    assert_eq!(masker.hits(), [2, 1, 0, 0, 0]);
}

#[test]
fn in_a_long_string_everything_is_found_wherever_it_stands() {
    for before in (WINDOW - OVERLAP - 40)..(WINDOW - OVERLAP + 20) {
        let text = format!("{} bob@example.com {}", "é".repeat(before / 2), ".".repeat(WINDOW));
        assert_eq!(value(&text), text.replace("bob@example.com", "***"), "after {before} bytes");
    }
    for before in (WINDOW - 40)..(WINDOW + 20) {
        let text = format!("{} bob@example.com {}", "-".repeat(before), ".".repeat(WINDOW));
        assert_eq!(value(&text), text.replace("bob@example.com", "***"), "after {before} bytes");
        let escaped = format!("\"{}\"", text.replace('@', "\\u0040").replace('-', "\\u002d"));
        let left = format!("\"{}\"", text.replace("bob@example.com", "***").replace('-', "\\u002d"));
        assert_eq!(masked(&escaped), left, "after {before} escapes");
    }
}

#[test]
fn what_is_longer_than_a_window_still_gets_through() {
    let everything = Arc::new(set(vec![("all", Finds::Pattern(Regex::new("a+").unwrap()))]));
    let body = format!("\"{}\"", "a".repeat(10 * WINDOW));
    let left = String::from_utf8(masked_in(&everything, Format::Json, [body.as_bytes()])).unwrap();
    assert!(left.trim_matches(['"', '*']).is_empty() && left.len() < 100, "{left}");
    let escapes = format!("\"{}\"", "\\".repeat(4 * WINDOW));
    assert_eq!(masked(&escapes), escapes);
}

#[test]
fn deep_nesting_costs_no_memory_and_hides_nothing() {
    let deep = "[{\"a\":".repeat(100_000) + "\"bob@example.com\"";
    let left = masked(&deep);
    assert!(left.ends_with("\"***\"") && !left.contains('@'));
}

#[test]
fn a_long_body_is_refused_or_passes_from_there_on() {
    let body = br#"["bob@example.com", "bob@example.com"]"#;
    let small = |on_too_large| Arc::new(Sanitize { max_body: 20, on_too_large, ..(*all()).clone() });
    let mut masker = Masker::new(small(Unmasked::Refuse), Format::Json);
    assert_eq!(masker.push(&body[..20]), Ok(Bytes::from_static(br#"["***", "#)));
    assert_eq!(masker.push(&body[20..]), Err(TooLarge));
    for cut in 0..body.len() {
        let (one, two) = body.split_at(cut);
        let left = masked_in(&small(Unmasked::Pass), Format::Json, [one, two]);
        assert_eq!(left, br#"["***", "bob@example.com"]"#, "cut at {cut}");
    }
}

#[test]
fn events_are_masked_one_by_one() {
    let stream = "\u{feff}data: {\"a\":\"bob@example.com\"}\n\nevent: bob@example.com\n: bob@example.com\nid: 1\r\ndata:{\"k\r\n\
                  data: [\"x\",\r\ndata: \"bob@example.com\"]\r\n\r\ndata: [DONE]\n\ndata\ndatax: \"bob@x.io\"\n\ndata: \"bob@example.com";
    let left = "\u{feff}data: {\"a\":\"***\"}\n\nevent: bob@example.com\n: bob@example.com\nid: 1\r\ndata:{\"k\r\n\
                data: [\"x\",\r\ndata: \"***\"]\r\n\r\ndata: [DONE]\n\ndata\ndatax: \"bob@x.io\"\n\ndata: \"***";
    assert_eq!(String::from_utf8(masked_in(&all(), Format::Events, [stream.as_bytes()])).unwrap(), left);
    let bytes = stream.as_bytes().chunks(1);
    assert_eq!(String::from_utf8(masked_in(&all(), Format::Events, bytes)).unwrap(), left);
}

#[test]
fn a_whole_event_is_given_out_at_once() {
    let mut masker = Masker::new(all(), Format::Events);
    let event = "data: {\"content\":\"13812345678\"}\n\n";
    assert_eq!(masker.push(event.as_bytes()).unwrap(), "data: {\"content\":\"***\"}\n\n");
    assert!(masker.finish().is_empty());
}

#[test]
fn what_can_be_read_is_told_by_the_fields() {
    let of = |fields: &[(&'static str, &'static str)]| {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        readable(&headers)
    };
    let json = ("content-type", "application/json");
    assert_eq!(of(&[json]), Readable::As(Format::Json));
    assert_eq!(of(&[("content-type", "Application/Problem+JSON; charset=\"UTF-8\"")]), Readable::As(Format::Json));
    assert_eq!(of(&[("content-type", "text/event-stream;charset=utf-8")]), Readable::As(Format::Events));
    assert_eq!(of(&[json, ("content-encoding", "identity")]), Readable::As(Format::Json));
    assert_eq!(of(&[json, ("content-encoding", "gzip")]), Readable::No);
    assert_eq!(of(&[json, ("content-range", "bytes 0-1/2")]), Readable::No);
    assert_eq!(of(&[("content-type", "application/json; charset=utf-16")]), Readable::No);
    for odd in [
        "application/json; charset = utf-16",
        "application/json;charset= \"UTF-16LE\"",
        "application/json; charset=utf-8; charset=utf-16",
        "application/json; charset=utf-8x",
        "application/json; charset=",
        "text/event-stream; charset\t=\tlatin1",
    ] {
        assert_eq!(of(&[("content-type", odd)]), Readable::No, "{odd}");
    }
    assert_eq!(of(&[("content-type", "application/json; charset = us-ascii; v=1")]), Readable::As(Format::Json));
    assert_eq!(of(&[json, ("content-type", "text/plain")]), Readable::No, "it depends on who reads it");
    assert_eq!(of(&[("content-type", "text/plain"), ("content-encoding", "gzip")]), Readable::Other);
    assert_eq!(of(&[]), Readable::Other);
}

/// JSON of any shape, with texts in it that rules find.
fn any_json() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        ".*",
        "[a-z]{1,8}@[a-z]{1,8}\\.(com|io)",
        ".{0,8}(bob@example\\.com|13812345678|\\+1 415 555 2671|4111 1111 1111 1111|ORD-123456).{0,8}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text.prop_map(Value::from)
    ];
    leaf.prop_recursive(4, 48, 6, |inner| {
        let object = prop::collection::hash_map(".{0,12}", inner.clone(), 0..6);
        prop_oneof![
            prop::collection::vec(inner, 0..6).prop_map(Value::from),
            object.prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

/// Some of the characters written as escapes, each as valid as before.
fn escaped(json: &str, every: usize) -> String {
    let mut out = String::new();
    let mut inside = false;
    let mut after_backslash = false;
    // The digits of an escape that is there already.
    let mut digits = 0;
    for (index, c) in json.chars().enumerate() {
        let plain = inside && !after_backslash && digits == 0 && c != '"' && c != '\\';
        if plain && index % every == 0 {
            let mut units = [0; 2];
            out.extend(c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            out.push(c);
        }
        if c == '"' && !after_backslash {
            inside = !inside;
        }
        digits = if after_backslash && c == 'u' { 4_usize } else { digits.saturating_sub(1) };
        after_backslash = c == '\\' && !after_backslash;
    }
    out
}

/// What rules must make of a parsed value.
fn expected(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(self::value(text)),
        Value::Array(items) => items.iter().map(expected).collect(),
        Value::Object(entries) => entries.iter().map(|(key, value)| (key.clone(), expected(value))).collect(),
        other => other.clone(),
    }
}

fn cut(body: &[u8], mut cuts: Vec<usize>) -> Vec<&[u8]> {
    cuts.push(0);
    cuts.push(body.len());
    cuts.iter_mut().for_each(|cut| *cut %= body.len() + 1);
    cuts.sort_unstable();
    cuts.windows(2).map(|pair| &body[pair[0]..pair[1]]).chain([&body[*cuts.last().unwrap()..]]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn valid_json_stays_valid_and_keeps_its_shape(json in any_json(), every in 1..5_usize, cuts in prop::collection::vec(any::<usize>(), 0..8)) {
        for body in [json.to_string(), serde_json::to_string_pretty(&json).unwrap(), escaped(&json.to_string(), every)] {
            let left = masked_in(&all(), Format::Json, cut(body.as_bytes(), cuts.clone()));
            let left: Value = serde_json::from_slice(&left).unwrap();
            prop_assert_eq!(left, expected(&json));
        }
    }

    #[test]
    fn chunks_have_no_part_in_the_outcome(
        body in prop::collection::vec(prop_oneof![Just(b'"'), Just(b'\\'), Just(b'{'), Just(b','), Just(b'\n'), Just(b'@'), Just(b'1'), Just(b'u'), any::<u8>()], 0..200),
        cuts in prop::collection::vec(any::<usize>(), 0..8),
    ) {
        for format in [Format::Json, Format::Events] {
            let body = if format == Format::Events { [b"data: ".as_slice(), &body].concat() } else { body.clone() };
            let whole = masked_in(&all(), format, [body.as_slice()]);
            prop_assert_eq!(&masked_in(&all(), format, cut(&body, cuts.clone())), &whole);
            prop_assert_eq!(&masked_in(&all(), format, body.chunks(1)), &whole);
        }
    }

    #[test]
    fn what_no_rule_finds_is_the_same_to_the_byte(body in prop::collection::vec(any::<u8>(), 0..400), cuts in prop::collection::vec(any::<usize>(), 0..8)) {
        let nothing = Arc::new(set(vec![("none", Finds::Pattern(Regex::new("no such text").unwrap()))]));
        for format in [Format::Json, Format::Events] {
            prop_assert_eq!(&masked_in(&nothing, format, cut(&body, cuts.clone())), &body);
        }
    }

    #[test]
    fn long_strings_come_out_the_same_in_any_chunks(length in 0..3 * WINDOW, every in 100..5000_usize, size in 1..5000_usize) {
        let text: String = (0..length / 10).map(|index| if index % (every / 10) == 0 { "bob@x.io, " } else { "0123 5\\n9 " }).collect();
        let body = format!("[\"{text}\"]");
        let whole = masked(&body);
        prop_assert_eq!(&masked_in(&all(), Format::Json, body.as_bytes().chunks(size)), whole.as_bytes());
        prop_assert_eq!(whole, body.replace("bob@x.io", "***"));
    }
}
