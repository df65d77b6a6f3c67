//! What stands in `Authorization` for a key: the key, or the signed token that Flow wants in its place.
//!
//! Flow's token is a JWT (RFC 7519), HS256, over the client's own credentials and signed with one of them. It does not end; it
//! is made anew some time before an hour is over (row C11).
//!
//! Programs that count Flow's requests read its log: [`processed`] writes the line they know (rows C13 and C14). No line and
//! no error holds a part of a secret.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;
use log::{Level, log};
use ring::hmac;
use serde::Serialize;

use crate::config::ai::{KeySecret, ProviderKind};

/// For how long a token may be used.
const LIFETIME: Duration = Duration::from_secs(3600);
/// How long before its end it is made anew.
const MARGIN: Duration = Duration::from_secs(300);

/// No header can be made of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no credential can be made of this key")]
pub struct NoToken;

/// The token of one key, once it was asked for.
#[derive(Default)]
pub(super) struct Token {
    made: Mutex<Option<Made>>,
}

struct Made {
    at: Instant,
    value: HeaderValue,
}

/// In this order, as Flow's own programs write them.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Claims<'a> {
    client_id: &'a str,
    client_secret: &'a str,
    tenant: &'a str,
}

impl Token {
    /// The value of `Authorization` for `secret`, which is the same at every call.
    pub(super) fn authorization(&self, secret: &KeySecret, now: Instant) -> Result<HeaderValue, NoToken> {
        let KeySecret::Flow { client_id, client_secret, tenant } = secret else { return bearer(secret) };
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = made.as_ref().filter(|made| now.saturating_duration_since(made.at) < LIFETIME - MARGIN) {
            return Ok(made.value.clone());
        }
        let claims = Claims { client_id, client_secret: &client_secret.reveal(), tenant };
        let value = sensitive(&signed(&claims).ok_or(NoToken)?)?;
        *made = Some(Made { at: now, value: value.clone() });
        Ok(value)
    }
}

/// Writes the line by which scripts count requests and those that went well, to be called once a request was answered. One
/// place writes at most a hundred lines a second: where there are more, the metrics count.
pub fn processed(kind: &ProviderKind, status: u16) {
    let level = level(kind);
    if (200..400).contains(&status) {
        log!(target: "ai", level, "Request processed successfully");
    } else {
        log!(target: "ai", level, "Request processed with status {status}");
    }
}

/// Of lines about single requests: only with Flow there are scripts that count them.
pub(super) fn level(kind: &ProviderKind) -> Level {
    if *kind == ProviderKind::Flow { Level::Info } else { Level::Debug }
}

fn bearer(secret: &KeySecret) -> Result<HeaderValue, NoToken> {
    match secret {
        KeySecret::Plain(secret) => sensitive(&secret.reveal()),
        KeySecret::Flow { .. } => Err(NoToken),
    }
}

fn sensitive(token: &str) -> Result<HeaderValue, NoToken> {
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| NoToken)?;
    value.set_sensitive(true);
    Ok(value)
}

/// RFC 7515 section 3.1.
fn signed(claims: &Claims<'_>) -> Option<String> {
    let mut token = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(serde_json::to_vec(claims).ok()?, &mut token);
    let key = hmac::Key::new(hmac::HMAC_SHA256, claims.client_secret.as_bytes());
    let signature = hmac::sign(&key, token.as_bytes());
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    Some(token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::config::secret::Secret;

    fn flow(client_secret: &str) -> KeySecret {
        let client_secret = Secret::new(client_secret.to_owned()).unwrap();
        KeySecret::Flow { client_id: "id-1".to_owned(), client_secret, tenant: "acme \"eu\"".to_owned() }
    }

    fn parts(value: &HeaderValue) -> Vec<Vec<u8>> {
        let token = value.to_str().unwrap().strip_prefix("Bearer ").unwrap();
        token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap()).collect()
    }

    #[test]
    fn flow_gets_its_three_claims_signed_and_no_end() {
        let value = Token::default().authorization(&flow("s3cret"), clock::now()).unwrap();
        let [header, claims, signature] = parts(&value).try_into().unwrap();
        assert_eq!(header, br#"{"alg":"HS256","typ":"JWT"}"#);
        assert_eq!(claims, br#"{"clientId":"id-1","clientSecret":"s3cret","tenant":"acme \"eu\""}"#);
        let text = value.to_str().unwrap().strip_prefix("Bearer ").unwrap();
        let message = text.rsplit_once('.').unwrap().0;
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"s3cret");
        assert!(hmac::verify(&key, message.as_bytes(), &signature).is_ok());
    }

    #[test]
    fn a_token_is_the_one_that_other_programs_make_of_the_same_credentials() {
        let claims = Claims { client_id: "abc", client_secret: "k", tenant: "t" };
        assert_eq!(signed(&claims).unwrap(), OTHERS);
    }

    /// Made with openssl: `printf %s "$header.$claims" | openssl dgst -sha256 -hmac k -binary | basenc --base64url`.
    const OTHERS: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJjbGllbnRJZCI6ImFiYyIsImNsaWVudFNlY3JldCI6ImsiLCJ0ZW5hbnQiOiJ0In0.oDoyhDAjuxGeglIFZK63R_Tk2JAb1BHx5w3vnkEbc6A";

    #[test]
    fn a_token_is_made_anew_five_minutes_before_an_hour_is_over() {
        let (token, secret, begin) = (Token::default(), flow("s3cret"), clock::now());
        let made_at = |after: u64| {
            token.authorization(&secret, begin + Duration::from_secs(after)).unwrap();
            let at = token.made.lock().unwrap().as_ref().unwrap().at;
            at.duration_since(begin).as_secs()
        };
        assert_eq!([0, 1, 3299, 3300, 3301, 6599, 6600].map(made_at), [0, 0, 0, 3300, 3300, 3300, 6600]);
    }

    #[test]
    fn a_credential_never_shows_itself() {
        let value = Token::default().authorization(&flow("s3cret"), clock::now()).unwrap();
        assert_eq!(format!("{value:?}"), "Sensitive");
        let plain = KeySecret::Plain(Secret::new("sk-1".to_owned()).unwrap());
        let value = Token::default().authorization(&plain, clock::now()).unwrap();
        assert_eq!((value.to_str().unwrap(), format!("{value:?}")), ("Bearer sk-1", "Sensitive".to_owned()));
    }

    #[test]
    fn a_key_that_is_no_header_is_an_error_that_says_nothing_of_it() {
        let broken = KeySecret::Plain(Secret::new("sk\n1".to_owned()).unwrap());
        let error = Token::default().authorization(&broken, clock::now()).unwrap_err();
        assert_eq!(error.to_string(), "no credential can be made of this key");
    }
}
