//! JAiRouter's shapes (F01 to F09).

use super::*;

#[tokio::test]
async fn chat_answers_whole_and_as_a_stream() {
    let mock = Mock::builder("a").start().await;
    let ask = r#"{"model":"m","messages":[{"role":"user","content":"12345678"}]"#;
    for path in ["/v1/chat/completions", "/api/v1/chat/completions"] {
        let chat = exchange(&mock, "POST", path, "", &format!("{ask}}}")).await.json();
        assert_eq!((chat["object"].as_str(), chat["model"].as_str()), (Some("chat.completion"), Some("m")));
        assert_eq!(chat["usage"]["prompt_tokens"], 2);
        assert_eq!(chat["choices"][0]["finish_reason"], "stop");
    }
    let stream = format!(r#"{ask},"stream":true,"stream_options":{{"include_usage":true}}}}"#);
    let heard = exchange(&mock, "POST", "/v1/chat/completions", "", &stream).await;
    let (last, chunks) = heard.events().split_last().map(|(last, rest)| (*last, rest.to_vec())).unwrap();
    let chunks: Vec<Value> = chunks.iter().map(|event| serde_json::from_str(event).unwrap()).collect();
    assert_eq!(last, "[DONE]");
    assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
    let words: String = chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(words, "This is a answering a question of 8 characters.");
    assert_eq!(chunks[chunks.len() - 2]["choices"][0]["finish_reason"], "stop");
    assert_eq!(chunks[chunks.len() - 1]["usage"]["completion_tokens"], 9);
}

#[tokio::test]
async fn other_services_answer_in_their_shapes() {
    let mock = Mock::builder("a").start().await;
    let embeddings = exchange(&mock, "POST", "/v1/embeddings", "", r#"{"input":["a","b"]}"#).await.json();
    assert_eq!(embeddings["data"][1]["index"], 1);
    let rerank = exchange(&mock, "POST", "/v1/rerank", "", r#"{"documents":["x"]}"#).await.json();
    assert_eq!(rerank["results"][0]["document"], "x");
    let speech = exchange(&mock, "POST", "/v1/audio/speech", "", r#"{"input":"hi"}"#).await;
    assert!(speech.text.contains("audio/wav") && speech.body().starts_with("RIFF"));
    assert_eq!(get(&mock, "/v1/models").await.json()["object"], "list");
    assert_eq!(get(&mock, "/api/models").await.json()["data"]["data"][0]["owned_by"], "model-router");
    assert_eq!(exchange(&mock, "POST", "/v1/embeddings", "", "").await.status(), "400");
}

#[tokio::test]
async fn error_bodies_have_the_known_shapes() {
    let mock = Mock::builder("a").start().await;
    let shaped = |shape: &'static str| {
        let mock = &mock;
        async move { get(mock, &format!("/v1/models?x-mock-error={shape}")).await }
    };
    assert_eq!(shaped("router").await.json()["success"], false);
    let auth = shaped("auth").await;
    assert_eq!((auth.status(), auth.json()["error"]["code"].as_str()), ("401", Some("AUTH_MISSING")));
    assert!(!auth.text.contains("content-type"));
    assert_eq!(shaped("documented").await.json()["error"]["type"], "service_unavailable");
    let fallback = shaped("fallback").await;
    assert!(fallback.text.contains("application/json") && serde_json::from_str::<Value>(fallback.body()).is_err());
    let trap = shaped("ok-false").await;
    assert_eq!((trap.status(), trap.json()["errorCode"].as_str()), ("200", Some("500")));
}

#[tokio::test]
async fn its_flavour_errs_and_counts_as_it_does() {
    let mock = Mock::builder("a").start().await;
    mock.set_order("flavour", "jairouter");
    let ask = json!({"model": "m", "messages": [{"role": "user", "content": "x"}]});
    mock.fail_next(1, Fault::Status(429));
    let limited = post(&mock, "/v1/chat/completions", &ask).await;
    assert_eq!((limited.status(), limited.json()["error"]["type"].as_str()), ("429", Some("rate_limit_exceeded")));
    assert_eq!(limited.header("retry-after"), "", "F09: there is none");
    let usage = post(&mock, "/v1/chat/completions", &ask).await.json()["usage"].clone();
    assert_eq!(usage, json!({"prompt_tokens": 1, "completion_tokens": 9, "total_tokens": 10}));
}

#[tokio::test]
async fn its_errors_come_inside_of_streams_that_began_well() {
    let mock = Mock::builder("a").start().await;
    mock.set_order("error", "router");
    mock.set_fault(Some(Fault::At(Stage::Start, Twist::Error(500))));
    let ask = json!({"model": "m", "stream": true, "messages": [{"role": "user", "content": "x"}]});
    let heard = post(&mock, "/api/v1/chat/completions", &ask).await;
    let events = heard.data();
    assert_eq!((heard.status(), events.len()), ("200", 2));
    assert_eq!(events[0]["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(events[1]["success"], false);
}
