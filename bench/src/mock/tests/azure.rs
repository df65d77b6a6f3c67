//! Azure's deployments.

use super::openai::{ask, with};
use super::*;

const CHAT: &str = "/openai/deployments/gpt-35-turbo/chat/completions?api-version=2024-10-21";

#[tokio::test]
async fn a_stream_begins_with_its_filter_and_no_choice() {
    let mock = Mock::builder("a").start().await;
    let events = post(&mock, CHAT, &with(ask("hello"), json!({"stream": true}))).await.data();
    assert_eq!((events[0]["choices"].as_array().unwrap().len(), events[0]["id"].as_str()), (0, Some("")));
    assert_eq!(events[0]["prompt_filter_results"][0]["content_filter_results"]["hate"]["severity"], "safe");
    assert_eq!(events[1]["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(events[2]["model"], "gpt-35-turbo");
    assert_eq!(mock.ledger().account("", "gpt-35-turbo").finished, 1);
}

#[tokio::test]
async fn a_deployment_needs_its_version() {
    let mock = Mock::builder("a").start().await;
    let path = CHAT.split('?').next().unwrap();
    assert_eq!(
        post(&mock, path, &ask("x")).await.json(),
        json!({"error": {"code": "404", "message": "Resource not found"}})
    );
    assert_eq!(post(&mock, "/openai/v1/chat/completions", &ask("x")).await.status(), "200");
}

#[tokio::test]
async fn responses_name_their_deployment_in_the_body() {
    let mock = Mock::builder("a").start().await;
    let asked = json!({"model": "eu", "input": "hello"});
    for path in ["/openai/v1/responses", "/openai/responses?api-version=2025-03-01-preview"] {
        let answer = post(&mock, path, &asked).await;
        assert_eq!((answer.status(), &answer.json()["model"]), ("200", &json!("eu")), "{path}");
    }
    for (path, status) in [
        ("/openai/responses", "404"),
        ("/openai/responses?api-version=2024-10-21", "400"),
        ("/openai/v1/responses?api-version=2024-10-21", "400"),
        ("/openai/deployments/eu/responses?api-version=2025-03-01-preview", "404"),
    ] {
        assert_eq!(post(&mock, path, &asked).await.status(), status, "{path}");
    }
}

#[tokio::test]
async fn refusals_are_its_own() {
    let mock = Mock::builder("a").start().await;
    let refused = async |fault: Fault| {
        mock.fail_next(1, fault);
        post(&mock, CHAT, &ask("x")).await
    };
    assert_eq!(refused(Fault::Refusal(Refusal::Model)).await.json()["error"]["code"], "DeploymentNotFound");
    assert_eq!(refused(Fault::Status(401)).await.json()["error"]["code"], "401");
    let filtered = refused(Fault::Refusal(Refusal::Filter)).await.json();
    assert_eq!(filtered["error"]["innererror"]["code"], "ResponsibleAIPolicyViolation");
    let limited = refused(Fault::RateLimit(Duration::from_millis(6500))).await;
    assert_eq!((limited.header("retry-after"), limited.header("retry-after-ms")), ("7", "6500"));
    assert!(limited.body().contains("retry after 7 seconds"));
}
