//! Keys and models that are known.

use super::openai::ask;
use super::*;

const CHAT: &str = "/v1/chat/completions";

async fn with_header(mock: &Mock, path: &str, header: &str) -> Heard {
    let messages = json!([{"role": "user", "content": "x"}]);
    let body = json!({"model": "m", "max_tokens": 9, "messages": messages, "contents": [{"parts": [{"text": "x"}]}]});
    let header = if header.is_empty() { String::new() } else { format!("{header}\r\n") };
    exchange(mock, "POST", path, &header, &body.to_string()).await
}

#[tokio::test]
async fn each_provider_wants_its_own_header() {
    let mock = Mock::builder("a").start().await;
    mock.require_keys(&["good"]);
    let (gemini, azure) = ("/v1beta/models/g:generateContent", "/openai/deployments/d/chat/completions?api-version=1");
    for (path, own, other, status) in [
        (CHAT, "authorization: Bearer", "x-api-key:", "401"),
        (azure, "api-key:", "authorization: Bearer", "401"),
        (gemini, "x-goog-api-key:", "authorization: Bearer", "401"),
        ("/v1/messages", "anthropic-version: 2023-06-01\r\nx-api-key:", "authorization: Bearer", "401"),
    ] {
        assert_eq!(with_header(&mock, path, &format!("{own} good")).await.status(), "200", "{path}");
        assert_eq!(with_header(&mock, path, &format!("{other} good")).await.status(), status, "{path}");
        let wrong = with_header(&mock, path, &format!("{own} bad")).await;
        assert_eq!(wrong.status(), if path == gemini { "400" } else { "401" }, "{path}");
    }
    assert!(with_header(&mock, "/v1/messages", "x-api-key: good").await.body().contains("anthropic-version"));
    assert_eq!(with_header(&mock, &format!("{gemini}?key=good"), "").await.status(), "200");
}

#[tokio::test]
async fn a_key_is_refused_forbidden_or_out_of_money() {
    let mock = Mock::builder("a").start().await;
    let asked = async |state: KeyState, path: &str| {
        mock.set_key("k", Some(state));
        with_header(&mock, path, "authorization: Bearer k").await
    };
    assert_eq!(asked(KeyState::Refused, CHAT).await.json()["error"]["code"], "invalid_api_key");
    assert_eq!(asked(KeyState::Forbidden, CHAT).await.status(), "403");
    let broke = asked(KeyState::NoQuota, CHAT).await;
    assert_eq!((broke.status(), broke.json()["error"]["code"].as_str()), ("429", Some("insufficient_quota")));
    let broke = asked(KeyState::NoQuota, "/v1/messages").await;
    assert_eq!((broke.status(), broke.json()["error"]["type"].as_str()), ("402", Some("billing_error")));
    assert_eq!(asked(KeyState::Status(402), CHAT).await.status(), "402");
    mock.set_key("k", None);
    assert_eq!(with_header(&mock, CHAT, "authorization: Bearer k").await.status(), "200");
    assert_eq!(mock.ledger().account("k", "m").failed, 5);
}

#[tokio::test]
async fn a_limited_key_says_when_and_is_free_then() {
    let mock = Mock::builder("a").start().await;
    mock.set_key("k", Some(KeyState::Limited(Duration::from_secs(360))));
    let limited = with_header(&mock, CHAT, "authorization: Bearer k").await;
    assert_eq!((limited.status(), limited.header("retry-after")), ("429", "360"));
    let reset = limited.header("x-ratelimit-reset-requests");
    assert!(reset == "6m0s" || reset.starts_with("5m59."), "{reset}");
    let limited = with_header(&mock, "/v1/messages", "x-api-key: k").await;
    let at: jiff::Timestamp = limited.header("anthropic-ratelimit-requests-reset").parse().unwrap();
    let left = at.as_second() - jiff::Timestamp::now().as_second();
    assert!((355..=361).contains(&left), "{left}");
    assert_eq!(with_header(&mock, CHAT, "authorization: Bearer other").await.status(), "200");
    mock.set_key("k", Some(KeyState::Limited(Duration::ZERO)));
    assert_eq!(with_header(&mock, CHAT, "authorization: Bearer k").await.status(), "200");
}

#[tokio::test]
async fn unknown_models_are_not_found_where_models_are_known() {
    let mock = Mock::builder("a").start().await;
    mock.set_models(&["gpt-4o"]);
    assert_eq!(get(&mock, "/v1/models").await.json()["data"][0]["id"], "gpt-4o");
    assert_eq!(post(&mock, CHAT, &ask("x")).await.status(), "200");
    let missing = with_header(&mock, CHAT, "").await;
    assert_eq!((missing.status(), missing.json()["error"]["code"].as_str()), ("404", Some("model_not_found")));
    let missing = with_header(&mock, "/v1/messages", "").await;
    assert_eq!((missing.status(), missing.json()["error"]["type"].as_str()), ("404", Some("not_found_error")));
}

#[tokio::test]
async fn secrets_come_back_in_headers_only_on_order() {
    let mock = Mock::builder("a").start().await;
    let quiet = with_header(&mock, CHAT, "authorization: Bearer k").await;
    assert_eq!((quiet.header("authorization"), quiet.header("set-cookie")), ("", ""));
    mock.set_order("leak", "1");
    let leaky = with_header(&mock, CHAT, "authorization: Bearer k").await;
    assert_eq!(leaky.header("authorization"), "Bearer k");
    assert!(leaky.header("set-cookie").contains("secret-of-the-provider"));
}

#[tokio::test]
async fn all_of_it_can_be_ordered_over_http() {
    let mock = Mock::builder("a").start().await;
    let order = async |path: &str, body: Value| post(&mock, path, &body).await.status().to_owned();
    assert_eq!(order("/mock/keys", json!({"require": true, "key": "k", "state": "limited:30s"})).await, "200");
    assert_eq!(order("/mock/models", json!({"models": ["m"]})).await, "200");
    assert_eq!(order("/mock/orders", json!({"usage": "in=7"})).await, "200");
    assert_eq!(with_header(&mock, CHAT, "").await.status(), "401");
    assert_eq!(with_header(&mock, CHAT, "authorization: Bearer k").await.header("retry-after"), "30");
    let answer = with_header(&mock, CHAT, "authorization: Bearer free").await;
    assert_eq!(answer.json()["usage"]["prompt_tokens"], 7);
    for (path, nonsense) in [
        ("/mock/keys", json!({"key": "k", "state": "tired"})),
        ("/mock/orders", json!({"colour": "red"})),
        ("/mock/models", json!({})),
        ("/mock/fault", json!({"fault": "close@"})),
    ] {
        assert_eq!(order(path, nonsense.clone()).await, "400", "{path} {nonsense}");
    }
    mock.reset();
    assert_eq!(with_header(&mock, CHAT, "").await.status(), "200");
}
