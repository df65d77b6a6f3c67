//! Flow's way of proving who asks (C10, C11): a token over `{clientId, clientSecret, tenant}`, HS256 with the client secret.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use serde_json::Value;
use sha2::Sha256;

/// What a token of Flow says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowClaims {
    /// `clientId`.
    pub client_id: String,
    /// `clientSecret`, with which the token is signed.
    pub client_secret: String,
    /// `tenant`.
    pub tenant: String,
}

/// Reads a token, with or without `Bearer ` before it. Errors say what is wrong: the form, the algorithm, a claim that is
/// missing, empty or more than the three, or the signature.
pub fn flow_claims(token: &str) -> Result<FlowClaims, String> {
    let token = token.strip_prefix("Bearer ").unwrap_or(token);
    let (signed, signature) = token.rsplit_once('.').ok_or("not a token of three parts")?;
    let (header, payload) = signed.split_once('.').ok_or("not a token of three parts")?;
    let header = part(header)?;
    if header["alg"] != "HS256" {
        return Err(format!("the algorithm is {}, not HS256", header["alg"]));
    }
    let payload = part(payload)?;
    let claim = |name: &str| {
        let value = payload[name].as_str().filter(|value| !value.is_empty());
        value.map(str::to_owned).ok_or_else(|| format!("the claim {name} is missing or empty"))
    };
    let claims =
        FlowClaims { client_id: claim("clientId")?, client_secret: claim("clientSecret")?, tenant: claim("tenant")? };
    let mut mac = Hmac::<Sha256>::new_from_slice(claims.client_secret.as_bytes()).map_err(|error| error.to_string())?;
    mac.update(signed.as_bytes());
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|error| error.to_string())?;
    mac.verify_slice(&signature).map_err(|_| "the signature is not made with the client secret".to_owned())?;
    let others: Vec<&String> = payload.as_object().into_iter().flatten().map(|(name, _)| name).collect();
    let known = |name: &&String| ["clientId", "clientSecret", "tenant"].contains(&name.as_str());
    match others.iter().all(known) {
        true => Ok(claims),
        false => Err(format!("the token has other claims: {others:?}")),
    }
}

fn part(text: &str) -> Result<Value, String> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|error| error.to_string())?;
    serde_json::from_slice(&bytes).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str, payload: &str, secret: &str) -> String {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
    }

    const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;
    const PAYLOAD: &str = r#"{"clientId":"i","clientSecret":"s","tenant":"t"}"#;

    #[test]
    fn a_token_signed_with_its_secret_is_good() {
        let claims = flow_claims(&format!("Bearer {}", token(HEADER, PAYLOAD, "s"))).unwrap();
        assert_eq!((claims.client_id.as_str(), claims.tenant.as_str()), ("i", "t"));
    }

    #[test]
    fn any_other_token_is_not() {
        for (header, payload, secret) in [
            (HEADER, PAYLOAD, "other"),
            (r#"{"alg":"none"}"#, PAYLOAD, "s"),
            (HEADER, r#"{"clientId":"i","clientSecret":"s"}"#, "s"),
            (HEADER, r#"{"clientId":"i","clientSecret":"s","tenant":""}"#, "s"),
            (HEADER, r#"{"clientId":"i","clientSecret":"s","tenant":"t","exp":1}"#, "s"),
        ] {
            assert!(flow_claims(&token(header, payload, secret)).is_err(), "{header} {payload}");
        }
        assert!(flow_claims("Bearer x").is_err());
    }
}
