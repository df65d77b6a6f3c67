use std::fmt::Write;

use super::*;
use crate::ai::body::Naming;
use proptest::prelude::*;
use serde_json::{Value, json};

fn tokens(body: &Value) -> u64 {
    input_tokens(body.to_string().as_bytes(), Dialect::Chat)
}

const DIALECTS: [Dialect; 6] =
    [Dialect::Chat, Dialect::Completions, Dialect::Responses, Dialect::Messages, Dialect::Gemini, Dialect::Other];

/// Names that mean no text where a dialect has them.
const MEDIA: [&str; 15] = [
    "signature",
    "thoughtSignature",
    "thought_signature",
    "encrypted_content",
    "image_url",
    "input_audio",
    "source",
    "inline_data",
    "data",
    "url",
    "file_data",
    "file_url",
    "file_id",
    "fileUri",
    "result",
];

fn chat(content: &Value) -> Value {
    json!({"model": "m", "messages": [{"content": content}]})
}

#[test]
fn four_characters_are_a_token_and_two_chinese_ones() {
    assert_eq!(tokens(&chat(&json!("x".repeat(400)))), 100);
    assert_eq!(tokens(&chat(&json!("ä".repeat(400)))), 100);
    assert_eq!(tokens(&chat(&json!("请求缺少认证信息".repeat(50)))), 200);
    assert_eq!(tokens(&chat(&json!("한국어かな".repeat(10)))), 25);
    assert_eq!((output_tokens(0), output_tokens(1), output_tokens(4), output_tokens(5)), (0, 1, 1, 2));
}

#[test]
fn escapes_count_as_what_they_stand_for() {
    let body = |content: &str| format!(r#"{{"messages":[{{"content":"{content}"}}]}}"#);
    assert_eq!(input_tokens(body(&"\\u4e2d".repeat(8)).as_bytes(), Dialect::Chat), 4);
    assert_eq!(input_tokens(body(&"\\n".repeat(8)).as_bytes(), Dialect::Chat), 2);
}

#[test]
fn all_that_a_model_reads_counts() {
    let text = "x".repeat(40);
    for body in [
        json!({"messages": [{"content": [{"text": text}]}]}),
        json!({"prompt": text}),
        json!({"prompt": [text]}),
        json!({"input": [{"content": [{"text": text}]}]}),
        json!({"instructions": text}),
        json!({"system": [{"text": text}]}),
        json!({"contents": [{"parts": [{"text": text}]}]}),
        json!({"systemInstruction": {"parts": [{"text": text}]}}),
        json!({"query": text}),
        json!({"documents": [text]}),
        json!({"messages": [{"tool_calls": [{"function": {"arguments": text}}]}]}),
    ] {
        assert_eq!(tokens(&body), 10, "{body}");
    }
    assert_eq!(tokens(&json!({"model": text, "user": text, "metadata": {"a": text}})), 0);
}

#[test]
fn tools_count_with_their_names() {
    let tools = json!({"tools": [{"name": "abcdefgh", "parameters": {"properties": {"key1": {"minimum": 1000}}}}]});
    // name, abcdefgh, parameters, properties, key1, minimum, 1000.
    assert_eq!(tokens(&tools), (4_u64 + 8 + 10 + 10 + 4 + 7 + 4).div_ceil(4));
    assert_eq!(tokens(&json!({"messages": [{"content": [{"input": {"abcd": "abcd"}}]}]})), 2);
}

#[test]
fn token_ids_are_tokens() {
    assert_eq!(tokens(&json!({"prompt": [1, 22222, 333]})), 3);
    assert_eq!(tokens(&json!({"input": [[1, 22222], [333]]})), 3);
}

#[test]
fn images_sounds_and_documents_have_a_fixed_number() {
    let data = "QUJD".repeat(100_000);
    let url = format!("data:image/png;base64,{data}");
    for (part, most) in [
        (json!({"image_url": {"url": url}}), IMAGE),
        (json!({"image_url": {"url": "https://example.com/a.png"}}), IMAGE),
        (json!({"image_url": url}), IMAGE),
        (json!({"source": {"data": data}}), IMAGE),
        (json!({"source": {"url": "https://example.com/a.png"}}), IMAGE),
        (json!({"inlineData": {"data": data}}), IMAGE),
        (json!({"input_audio": {"data": data}}), AUDIO),
        (json!({"file": {"file_data": format!("data:application/pdf;base64,{data}")}}), DOCUMENT),
        (json!({"file_data": data}), DOCUMENT),
        (json!({"source": {"data": format!("JVBERi0x{data}")}}), DOCUMENT),
    ] {
        assert_eq!(tokens(&chat(&json!([part]))), most);
    }
    let image = chat(&json!([{"source": {"data": data}}])).to_string();
    assert_eq!(input_tokens(image.as_bytes(), Dialect::Messages), IMAGE_ANTHROPIC);
    assert_eq!(input_tokens(image.as_bytes(), Dialect::Gemini), IMAGE_GEMINI);
}

#[test]
fn text_is_no_image_for_how_it_begins_or_what_it_is_called() {
    let text = format!("data:image/png;base64,{}", "x".repeat(378));
    assert_eq!(tokens(&chat(&json!(text))), 100);
    assert_eq!(tokens(&chat(&json!([{"text": text}]))), 100);
    assert_eq!(tokens(&json!({"messages": [{"content": [{"input": {"data": "x".repeat(36)}}]}]})), 10);
}

#[test]
fn seals_of_thinking_do_not_count() {
    let seal = "x".repeat(4000);
    let blocks = json!([{"thinking": "abcd", "signature": seal}, {"data": seal}, {"encrypted_content": seal}]);
    assert_eq!(tokens(&chat(&blocks)), 1);
}

#[test]
fn text_counts_whatever_it_is_called_where_names_are_the_clients() {
    let text = "x".repeat(8_000);
    for name in MEDIA {
        for body in [
            json!({"messages": [{"content": [{"type": "tool_use", "input": {name: text}}]}]}),
            json!({"messages": [{"content": [{"type": "tool_use", "input": {"content": [{name: {"url": text, "data": text}}]}}]}]}),
            json!({"messages": [{"tool_calls": [{"function": {"arguments": {name: text}}}]}]}),
            json!({"tools": [{"input_schema": {"properties": {"a": {name: text}}}}]}),
            json!({"tools": [{"function": {"parameters": {"source": {name: text}}}}]}),
            json!({"response_format": {"json_schema": {"schema": {name: text}}}}),
            json!({"documents": [{name: text}]}),
            json!({"prompt": {"variables": {name: text}}}),
        ] {
            for dialect in DIALECTS {
                assert!(input_tokens(body.to_string().as_bytes(), dialect) >= 2_000, "{name} in {dialect:?}");
            }
        }
    }
}

#[test]
fn a_source_that_says_it_is_text_counts_as_text() {
    let data = "x".repeat(80_000);
    for source in [
        format!(r#"{{"type":"text","media_type":"text/plain","data":"{data}"}}"#),
        format!(r#"{{"data":"{data}","t\u0079pe":"te\u0078t"}}"#),
        format!(r#"{{"type":"base64","data":"{data}","data":"QUJD"}}"#),
        format!(r#"{{"type":"content","content":"{data}"}}"#),
    ] {
        let body = format!(r#"{{"messages":[{{"content":[{{"type":"document","source":{source}}}]}}]}}"#);
        let tokens = input_tokens(body.as_bytes(), Dialect::Messages);
        assert!((20_000..22_000).contains(&tokens), "{tokens} of {}", &source[..40]);
    }
}

#[test]
fn a_file_that_is_text_counts_by_its_length() {
    let url = format!("data:text/plain;base64,{}", "QUJD".repeat(10_000));
    let tokens = tokens(&chat(&json!([{"type": "file", "file": {"file_data": url}}])));
    assert!((7_500..7_520).contains(&tokens), "{tokens}");
}

#[test]
fn media_counts_the_same_in_every_place_that_has_it() {
    let data = "QUJD".repeat(100_000);
    let image = json!({"type": "image", "source": {"type": "base64", "data": data}});
    for body in [
        json!({"messages": [{"content": [{"type": "tool_result", "content": [image]}]}]}),
        json!({"messages": [{"content": [{"type": "document", "source": {"type": "content", "content": [image]}}]}]}),
        json!({"messages": [{"images": [{"type": "image_url", "image_url": {"url": data}}]}]}),
        json!({"input": [{"type": "computer_call_output", "output": {"image_url": data}}]}),
        json!({"input": [{"type": "function_call_output", "output": [{"image_url": data}]}]}),
        json!({"input": [{"type": "image_generation_call", "result": data}]}),
        json!({"input": [{"type": "image_url", "image_url": {"url": data}}]}),
        json!({"prompt": {"variables": {"a": {"type": "input_image", "image_url": data}}}}),
        json!({"contents": [{"parts": [{"inlineData": {"data": data}}]}]}),
    ] {
        let tokens = input_tokens(body.to_string().as_bytes(), Dialect::Responses);
        assert!((IMAGE..IMAGE + 20).contains(&tokens), "{tokens} of {}", &body.to_string()[..80]);
    }
    let ranked = json!({"documents": [{"content": [{"type": "image_url", "image_url": {"url": data}}]}]});
    assert!(input_tokens(ranked.to_string().as_bytes(), Dialect::Other) < IMAGE + 20);
    let seals = json!({"input": [{"type": "reasoning", "encrypted_content": data}], "messages": [
        {"tool_calls": [{"extra_content": {"google": {"thought_signature": data}}}]},
        {"thinking_blocks": [{"signature": data}]},
        {"content": [{"type": "web_search_tool_result", "content": [{"encrypted_content": data}]}]},
    ]});
    assert!(tokens(&seals) < 20);
}

#[test]
fn what_cannot_be_read_counts_as_far_as_it_can() {
    let text = "x".repeat(40);
    for body in ["", "{", "[]", "1", "\"prompt\""] {
        assert_eq!(input_tokens(body.as_bytes(), Dialect::Chat), 0);
    }
    assert_eq!(input_tokens(format!(r#"{{"prompt":"{text}","system":"#).as_bytes(), Dialect::Chat), 10);
    let deep = format!(r#"{{"prompt":{}"#, "[".repeat(1_000_000));
    assert_eq!(input_tokens(deep.as_bytes(), Dialect::Chat), 0);
}

proptest! {
    #[test]
    fn a_text_counts_the_same_however_it_is_written(text in any::<String>()) {
        let units: Vec<_> = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
        let escaped = format!(r#"{{"prompt":"{}"}}"#, units.concat());
        prop_assert_eq!(input_tokens(escaped.as_bytes(), Dialect::Chat), tokens(&json!({"prompt": text})));
        let chars: u64 = text.chars().map(|char| if char >= '\u{3000}' { 2 } else { 1 }).sum();
        prop_assert_eq!(tokens(&json!({"prompt": text})), chars.div_ceil(4));
    }

    #[test]
    fn a_body_counts_the_same_however_its_names_and_texts_are_written(body in a_body(), which in any::<u64>()) {
        let mut escaped = String::new();
        write(&body, which, &mut escaped);
        prop_assert_eq!(&serde_json::from_str::<Value>(&escaped).unwrap(), &body);
        for dialect in DIALECTS {
            prop_assert_eq!(
                input_tokens(escaped.as_bytes(), dialect),
                input_tokens(body.to_string().as_bytes(), dialect),
                "{}", &escaped
            );
        }
    }
}

/// Made of names that count for something, in places that have them and in others.
fn a_body() -> impl Strategy<Value = Value> {
    let names: Vec<&str> = [&READ.map(|name| std::str::from_utf8(name).unwrap())[..], &MEDIA[..], &INNER[..]].concat();
    let texts =
        prop::sample::select(vec!["text", "base64", "data:application/pdf;base64,QUJD", "JVBERi0x", "QUJD", "日本"]);
    let leaf =
        prop_oneof![texts.prop_map(Value::from), any::<bool>().prop_map(Value::from), (0..99).prop_map(Value::from)];
    let named = prop::sample::select(names);
    let value = leaf.prop_recursive(6, 48, 4, move |inner| {
        let object = prop::collection::btree_map(named.clone(), inner.clone(), 0..4);
        prop_oneof![
            1 => prop::collection::vec(inner, 0..3).prop_map(Value::from),
            3 => object.prop_map(|members| members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()),
        ]
    });
    let outermost = prop::sample::select(READ.map(|name| std::str::from_utf8(name).unwrap()).to_vec());
    prop::collection::btree_map(outermost, value, 1..4)
        .prop_map(|members| members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

const INNER: [&str; 12] = [
    "content",
    "parts",
    "output",
    "tool_calls",
    "function",
    "arguments",
    "extra_content",
    "google",
    "variables",
    "file",
    "type",
    "thinking_blocks",
];

/// Writes a value with escapes for some characters of its strings and names: by the bits of `which`.
fn write(value: &Value, which: u64, out: &mut String) {
    let quoted = |text: &str, out: &mut String| {
        out.push('"');
        for (at, unit) in text.encode_utf16().enumerate() {
            match char::from_u32(unit.into()) {
                Some(char) if which.rotate_right(u32::try_from(at).unwrap()) & 1 == 0 => out.push(char),
                _ => write!(out, "\\u{unit:04x}").unwrap(),
            }
        }
        out.push('"');
    };
    match value {
        Value::String(text) => quoted(text, out),
        Value::Array(elements) => {
            out.push('[');
            for (at, element) in elements.iter().enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                write(element, which.rotate_right(7), out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            for (at, (name, value)) in members.iter().enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                quoted(name, out);
                out.push(':');
                write(value, which.rotate_right(11), out);
            }
            out.push('}');
        }
        other => out.push_str(&other.to_string()),
    }
}

#[test]
fn what_is_no_text_has_numbers_of_its_own() {
    let form = |files, file_bytes| {
        let body = "--b\r\nContent-Disposition: form-data; name=model\r\n\r\nm\r\n--b--\r\n";
        let mut form = Form::read(b"multipart/form-data; boundary=b", &body.into(), Naming::Body).unwrap();
        (form.files, form.file_bytes, form.prompt_bytes) = (files, file_bytes, 40);
        form
    };
    assert_eq!(form_tokens(Operation::Transcription, &form(1, 1_500_001)), 1_501 + 10, "two and a half minutes");
    assert_eq!(form_tokens(Operation::ImageEdit, &form(2, 1_500_001)), 2 * IMAGE + 10);
    assert_eq!(usual_output(Operation::Transcription, 1_511, 4096), 756);
    assert_eq!(usual_output(Operation::ImageGeneration, 9, 4096), IMAGE_MADE);
    assert_eq!(usual_output(Operation::Speech, 100, 4096), 600);
    assert_eq!(usual_output(Operation::Chat, 100, 4096), 4096);
    assert_eq!(usual_output(Operation::Embeddings, 100, 4096), 0);
}
