//! Gemini's `generateContent`.

use super::openai::with;
use super::*;

const WHOLE: &str = "/v1beta/models/gemini:generateContent";
const EVENTS: &str = "/v1beta/models/gemini:streamGenerateContent?alt=sse";

fn ask(text: &str) -> Value {
    json!({"contents": [{"role": "user", "parts": [{"text": text}]}]})
}

fn tools(parameters: Value) -> Value {
    json!({"tools": [{"functionDeclarations": [{"name": "weather", "parameters": parameters}]}]})
}

fn city() -> Value {
    json!({"type": "OBJECT", "properties": {"city": {"type": "STRING"}}})
}

#[tokio::test]
async fn content_is_generated_whole() {
    let mock = Mock::builder("a").start().await;
    let system = json!({"systemInstruction": {"parts": [{"text": "be"}]}, "generationConfig": {"maxOutputTokens": 3}});
    let answer = post(&mock, WHOLE, &with(ask("hello"), system)).await.json();
    assert_eq!(answer["candidates"][0]["content"], json!({"role": "model", "parts": [{"text": "This is a "}]}));
    assert_eq!(answer["candidates"][0]["finishReason"], "MAX_TOKENS");
    let usage = &answer["usageMetadata"];
    assert_eq!((usage["promptTokenCount"].as_u64(), usage["totalTokenCount"].as_u64()), (Some(2), Some(5)));
}

#[tokio::test]
async fn a_stream_counts_as_it_goes() {
    let mock = Mock::builder("a").start().await;
    let events = post(&mock, EVENTS, &ask("say one two three")).await.data();
    let counts: Vec<u64> =
        events.iter().map(|event| event["usageMetadata"]["candidatesTokenCount"].as_u64().unwrap()).collect();
    assert_eq!(counts, [1, 2, 3, 3]);
    assert_eq!(events[3]["candidates"][0]["finishReason"], "STOP");
    assert!(events[..3].iter().all(|event| event["candidates"][0].get("finishReason").is_none()));
}

#[tokio::test]
async fn without_alt_sse_a_stream_is_an_array() {
    let mock = Mock::builder("a").start().await;
    let path = "/v1beta/models/gemini:streamGenerateContent";
    let heard = post(&mock, path, &ask("say one two")).await;
    assert_eq!(heard.header("content-type"), "application/json");
    let bodies: String =
        heard.body().split("\r\n").filter(|line| !line.chars().all(|c| c.is_ascii_hexdigit())).collect();
    let list: Value = serde_json::from_str(&bodies).unwrap();
    assert_eq!(list.as_array().unwrap().len(), 3);
    mock.fail_next(1, Fault::Status(429));
    let refused = post(&mock, path, &ask("x")).await.json();
    assert_eq!(refused[0]["error"]["status"], "RESOURCE_EXHAUSTED");
}

#[tokio::test]
async fn functions_are_called_whole_and_answered() {
    let mock = Mock::builder("a").start().await;
    let asked = with(ask("call weather twice"), tools(city()));
    let answer = post(&mock, WHOLE, &asked).await.json();
    let content = answer["candidates"][0]["content"].clone();
    assert_eq!(content["parts"][1]["functionCall"], json!({"name": "weather", "args": {"city": "mock 2"}}));
    assert_eq!(answer["candidates"][0]["finishReason"], "STOP");
    let response = json!({"functionResponse": {"name": "weather", "response": {"result": "sun"}}});
    let turns = |parts: Value| {
        with(asked.clone(), json!({"contents": [asked["contents"][0], content, {"role": "user", "parts": parts}]}))
    };
    let both = post(&mock, WHOLE, &turns(json!([response, response]))).await.json();
    let text = "This is a answering a question of 24 characters, 2 tool results.";
    assert_eq!(both["candidates"][0]["content"]["parts"][0]["text"], text);
    assert!(post(&mock, WHOLE, &turns(json!([response]))).await.body().contains("number of function response parts"));
}

#[tokio::test]
async fn thoughts_are_shown_and_counted_apart() {
    let mock = Mock::builder("a").start().await;
    let config = json!({"generationConfig": {"thinkingConfig": {"includeThoughts": true}}});
    let answer = post(&mock, WHOLE, &with(ask("hello"), config)).await.json();
    assert_eq!(answer["candidates"][0]["content"]["parts"][0]["thought"], true);
    let usage = &answer["usageMetadata"];
    assert_eq!((usage["thoughtsTokenCount"].as_u64(), usage["candidatesTokenCount"].as_u64()), (Some(8), Some(9)));
    assert_eq!(usage["totalTokenCount"], 19);
}

#[tokio::test]
async fn what_its_protocol_does_not_know_is_refused_where_that_is_ordered() {
    let mock = Mock::builder("a").start().await;
    mock.set_order("strict", "1");
    for (asked, name) in [
        (with(ask("x"), json!({"messages": []})), "messages"),
        (with(ask("x"), tools(json!({"type": "object", "additionalProperties": false}))), "additionalProperties"),
        (with(ask("x"), tools(json!({"type": "object", "properties": {"a": {"$ref": "#"}}}))), "$ref"),
    ] {
        let error = post(&mock, WHOLE, &asked).await.json()["error"].clone();
        assert_eq!(error["status"], "INVALID_ARGUMENT");
        assert!(error["message"].as_str().unwrap().contains(&format!("Unknown name \"{name}\"")), "{error}");
    }
}

#[tokio::test]
async fn errors_have_its_shape() {
    let mock = Mock::builder("a").start().await;
    mock.fail_next(1, Fault::RateLimit(Duration::from_secs(30)));
    let limited = post(&mock, WHOLE, &ask("x")).await;
    assert_eq!((limited.status(), limited.header("retry-after")), ("429", ""));
    assert_eq!(limited.json()["error"]["details"][0]["retryDelay"], "30s");
    mock.fail_next(1, Fault::Refusal(Refusal::Key));
    let key = post(&mock, WHOLE, &ask("x")).await;
    assert_eq!((key.status(), key.json()["error"]["details"][0]["reason"].as_str()), ("400", Some("API_KEY_INVALID")));
    mock.set_fault(Some(Fault::At(Stage::After(1), Twist::Error(503))));
    let broken = post(&mock, EVENTS, &ask("x")).await.data();
    assert_eq!((broken.len(), broken[1]["error"]["status"].as_str()), (2, Some("UNAVAILABLE")));
    assert_eq!(post(&mock, WHOLE, &json!({"contents": []})).await.status(), "503", "a whole answer shows the status");
}

#[tokio::test]
async fn tokens_models_and_vectors_have_their_doors() {
    let mock = Mock::builder("a").start().await;
    let count = post(&mock, "/v1beta/models/gemini:countTokens", &ask("12345")).await.json();
    assert_eq!(count["totalTokens"], 2);
    assert_eq!(get(&mock, "/v1beta/models").await.json()["models"][0]["name"], "models/qwen2:7b");
    let stable = exchange(&mock, "GET", "/v1/models", "x-goog-api-key: k\r\n", "").await.json();
    assert_eq!(stable["models"][0]["name"], "models/qwen2:7b");
    let asked = json!({"content": {"parts": [{"text": "x"}]}});
    let vector = post(&mock, "/v1beta/models/e:embedContent", &asked).await.json();
    assert_eq!(vector["embedding"]["values"].as_array().unwrap().len(), 8);
}
