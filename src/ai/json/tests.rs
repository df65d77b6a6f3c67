use super::*;
use proptest::prelude::*;
use serde::de::IgnoredAny;
use serde_json::Value;

fn skip(text: &[u8]) -> Result<(), Fault> {
    let mut reader = Reader::new(text);
    reader.skip()?;
    reader.end()
}

#[test]
fn what_is_json_is_what_the_standard_says() {
    for text in [
        "null",
        " true ",
        "0",
        "-0.5e+10",
        "1E9",
        "\"\"",
        "[]",
        "{}",
        "[ 1 , [ ] , {\"a\" : [{}]} ]",
        "\"\\u00e9\\n\\/\"",
        "{\"a\":1,\"a\":2}",
        "\t\r\n[\"\u{7f}\u{10ffff}\"]",
        "\"\\ud800\"",
    ] {
        assert_eq!(skip(text.as_bytes()), Ok(()), "{text:?}");
        assert!(serde_json::from_str::<IgnoredAny>(text).is_ok(), "{text:?}");
    }
    for text in [
        "",
        " ",
        "nul",
        "truee",
        "tru",
        "01",
        "-",
        "1.",
        ".5",
        "+1",
        "1e",
        "1e+",
        "0x1",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{\"a\"}",
        "{\"a\":}",
        "{a:1}",
        "{\"a\":1,}",
        "{,}",
        "{\"a\":1 \"b\":2}",
        "[}",
        "{]",
        "[",
        "{",
        "\"",
        "\"\\x\"",
        "\"\\u12g4\"",
        "\"\\u123\"",
        "\"\n\"",
        "\"\0\"",
        "1 2",
        "[] []",
        "]",
        "}",
        ",",
        "'a'",
        "\u{feff}1",
        "NaN",
    ] {
        assert_eq!(skip(text.as_bytes()), Err(Fault::Syntax), "{text:?}");
        assert!(serde_json::from_str::<IgnoredAny>(text).is_err(), "{text:?}");
    }
}

#[test]
fn every_special_byte_is_found_at_every_place() {
    for special in [b'"', b'\\', 0, 0x1f] {
        for len in 0..40 {
            let mut bytes = vec![0xff; len];
            bytes.push(special);
            bytes.extend_from_slice(b"\"\"\"\"\"\"\"\"\"\"");
            assert_eq!(text::plain(&bytes), len, "{special:#x}");
        }
    }
    let all_others: Vec<u8> = (0x20..=0xff).filter(|byte| !matches!(byte, b'"' | b'\\')).collect();
    assert_eq!(text::plain(&all_others), all_others.len());
}

#[test]
fn nesting_has_a_bound_and_costs_no_stack() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let nested = |depth: u32| {
            let depth = depth as usize;
            format!("{}1{}", open.repeat(depth), close.repeat(depth))
        };
        assert_eq!(skip(nested(MAX_DEPTH).as_bytes()), Ok(()));
        assert_eq!(skip(nested(MAX_DEPTH + 1).as_bytes()), Err(Fault::TooDeep));
        assert_eq!(skip(open.repeat(1_000_000).as_bytes()), Err(Fault::TooDeep));
    }
}

#[test]
fn values_are_read_in_their_order() {
    let mut reader = Reader::new(br#" { "a" : [ 1 , -2.5 , "x\ty" ] , "b\u0063" : { } , "d" : true, "e":null } "#);
    reader.object().unwrap();
    assert!(reader.key().unwrap().unwrap().is(b"a"));
    reader.array().unwrap();
    assert!(reader.element().unwrap());
    assert_eq!(reader.maybe_u64(), Ok(Some(1)));
    assert!(reader.element().unwrap());
    assert_eq!(reader.number().unwrap(), b"-2.5");
    assert!(reader.element().unwrap());
    assert_eq!(reader.string().unwrap().str().unwrap(), "x\ty");
    assert!(!reader.element().unwrap());
    assert!(reader.key().unwrap().unwrap().is(b"bc"));
    assert_eq!(reader.maybe_object(), Ok(true));
    assert_eq!(reader.key(), Ok(None));
    assert!(reader.key().unwrap().unwrap().is(b"d"));
    assert_eq!(reader.maybe_bool(), Ok(Some(true)));
    assert!(reader.key().unwrap().unwrap().is(b"e"));
    assert_eq!(reader.kind(), Ok(Kind::Null));
    assert_eq!(reader.maybe_string(), Ok(None));
    assert_eq!(reader.key(), Ok(None));
    assert_eq!(reader.end(), Ok(()));
}

#[test]
fn escapes_are_decoded() {
    for (raw, bytes) in [
        (r#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{c}\n\r\t".as_bytes()),
        (r#""a\u00e9\u4e2d\ud83d\ude00z""#, "aé中😀z".as_bytes()),
        (r#""\ud800x""#, b"\xed\xa0\x80x"),
        (r#""\ud800\ud800\udc00""#, b"\xed\xa0\x80\xf0\x90\x80\x80"),
        (r#""\udfff""#, b"\xed\xbf\xbf"),
        (r#""\ud800\n""#, b"\xed\xa0\x80\n"),
    ] {
        let text = Reader::new(raw.as_bytes()).string().unwrap();
        assert_eq!(text.bytes(), bytes, "{raw}");
        assert!(text.is(bytes) && text.is_escaped());
    }
    assert_eq!(Reader::new(r#""\ud800""#.as_bytes()).string().unwrap().str(), None);
}

#[test]
fn whole_numbers_are_whole_however_they_are_written() {
    for (text, number) in [
        ("0", Some(0)),
        ("100", Some(100)),
        ("100.0", Some(100)),
        ("1e3", Some(1000)),
        ("-0", Some(0)),
        ("-1", None),
        ("1.5", None),
        ("18446744073709551615", Some(u64::MAX)),
        ("99999999999999999999", Some(u64::MAX)),
        ("1e999", None),
        ("9999999999999999999", Some(9_999_999_999_999_999_999)),
    ] {
        assert_eq!(whole(text.as_bytes()), number, "{text}");
    }
}

#[test]
fn a_count_is_a_whole_number_or_a_string_of_digits_and_nothing_else() {
    for (text, number) in [
        ("0", Some(0)),
        ("5", Some(5)),
        ("5.0", Some(5)),
        ("5e2", Some(500)),
        ("\"5\"", Some(5)),
        ("18446744073709551615", Some(u64::MAX)),
        ("\"18446744073709551615\"", Some(u64::MAX)),
        ("18446744073709551616", None),
        ("-500", None),
        ("5.5", None),
        ("1e30", None),
        ("1e999", None),
        ("\"\"", None),
        ("\"+5\"", None),
        ("\"5.0\"", None),
        ("\"many\"", None),
        ("null", None),
        ("true", None),
        ("[5]", None),
        ("{\"n\":5}", None),
    ] {
        let list = format!("[{text},7]");
        let mut reader = Reader::new(list.as_bytes());
        reader.array().unwrap();
        let mut told = Vec::new();
        while reader.element().unwrap() {
            told.push(reader.maybe_count().unwrap());
        }
        assert_eq!(told, [number, Some(7)], "{text}");
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 60, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(value in any_json(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&value).unwrap() } else { value.to_string() };
        prop_assert_eq!(skip(text.as_bytes()), Ok(()));
        if let Value::String(string) = value {
            let read = Reader::new(text.as_bytes()).string().unwrap();
            prop_assert_eq!(read.str().unwrap(), string.as_str());
        }
    }

    #[test]
    fn what_one_byte_breaks_is_refused_as_elsewhere(value in any_json(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut text = value.to_string().into_bytes();
        let at = at.index(text.len());
        text[at] = byte;
        if std::str::from_utf8(&text).is_ok() {
            prop_assert_eq!(skip(&text).is_ok(), serde_json::from_slice::<IgnoredAny>(&text).is_ok());
        }
    }
}

#[test]
fn a_lenient_reader_takes_what_some_write_for_numbers_and_nothing_else_besides() {
    let lenient = |text: &str| {
        let mut reader = Reader::lenient(text.as_bytes());
        reader.skip().and_then(|()| reader.end())
    };
    for text in ["NaN", "[-Infinity, Infinity ,1]", "{\"logprob\":-Infinity,\"n\":NaN}"] {
        assert_eq!(lenient(text), Ok(()), "{text}");
        assert_eq!(skip(text.as_bytes()), Err(Fault::Syntax), "{text}");
    }
    for text in ["nan", "-NaN1", "Inf", "{NaN:1}", "[NaN NaN]", "+Infinity", "I"] {
        assert_eq!(lenient(text), Err(Fault::Syntax), "{text}");
    }
    let mut reader = Reader::lenient(b"[NaN,Infinity,-Infinity,7]");
    reader.array().unwrap();
    let mut told = Vec::new();
    while reader.element().unwrap() {
        told.push(reader.maybe_u64().unwrap());
    }
    assert_eq!(told, [None, None, None, Some(7)]);
}
