//! Flow (C10, C11).

use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};

use super::openai::ask;
use super::*;

const CHAT: &str = "/flow-llm-proxy/v1/chat/completions";

fn token(client: &str, secret: &str) -> String {
    let payload = json!({"clientId": client, "clientSecret": "s", "tenant": "t"}).to_string();
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#), URL_SAFE_NO_PAD.encode(payload));
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(signed.as_bytes());
    format!("authorization: Bearer {signed}.{}\r\n", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

#[tokio::test]
async fn a_token_signed_with_its_own_secret_opens_the_door_and_names_the_client() {
    let mock = Mock::builder("a").start().await;
    let body = ask("x").to_string();
    assert_eq!(exchange(&mock, "POST", CHAT, &token("one", "s"), &body).await.status(), "200");
    assert_eq!(mock.ledger().account("one", "gpt-4o").finished, 1);
    assert_eq!(exchange(&mock, "POST", CHAT, &token("one", "other"), &body).await.status(), "401");
    assert_eq!(exchange(&mock, "POST", CHAT, "authorization: Bearer sk-1\r\n", &body).await.status(), "401");
    mock.set_key("two", Some(KeyState::Refused));
    assert_eq!(exchange(&mock, "POST", CHAT, &token("two", "s"), &body).await.status(), "401");
}
