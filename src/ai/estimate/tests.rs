use super::*;
use crate::ai::body::Naming;
use proptest::prelude::*;
use serde_json::{Value, json};

fn tokens(body: &Value) -> u64 {
    input_tokens(body.to_string().as_bytes(), Dialect::Chat)
}

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
