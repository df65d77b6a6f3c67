//! The text of a token -> its parts (RFC 7515 section 5.2, RFC 7519 section 7.2). What it says is not checked here.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::auth::Denied;

/// The types of tokens that are taken; others are made for another purpose (RFC 8725 section 3.11, RFC 9068). `JWT` is
/// usual, and many leave it out.
const TYPES: [&str; 2] = ["jwt", "at+jwt"];

/// A token, taken apart.
pub(super) struct Token<'a> {
    /// What the signature is of.
    pub(super) signed: &'a [u8],
    /// The signature.
    pub(super) signature: Vec<u8>,
    header: Map<String, Value>,
    claims: Map<String, Value>,
}

impl<'a> Token<'a> {
    /// Takes `text` apart, of which the length was checked.
    pub(super) fn parse(text: &'a str) -> Result<Self, Denied> {
        let (signed, signature) = text.rsplit_once('.').ok_or(Denied::Malformed)?;
        // A third dot is no letter of base64url, so it is found below.
        let (header, claims) = signed.split_once('.').ok_or(Denied::Malformed)?;
        let header = object(header)?;
        if header.contains_key("crit") {
            return Err(Denied::Critical);
        }
        if !header.get("typ").is_none_or(is_taken) {
            return Err(Denied::Malformed);
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| Denied::Malformed)?;
        Ok(Self { signed: signed.as_bytes(), signature, header, claims: object(claims)? })
    }

    /// What it calls its algorithm.
    pub(super) fn algorithm(&self) -> Option<&str> {
        self.header.get("alg")?.as_str()
    }

    /// The name of its key, when it says one.
    ///
    /// # Errors
    /// When that is no text.
    pub(super) fn kid(&self) -> Result<Option<&str>, Denied> {
        match self.header.get("kid") {
            None => Ok(None),
            Some(Value::String(kid)) => Ok(Some(kid)),
            Some(_) => Err(Denied::Malformed),
        }
    }

    /// Who made it, by its own word.
    pub(super) fn issuer(&self) -> Option<&str> {
        self.claims.get("iss")?.as_str()
    }

    /// What it says.
    pub(super) fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }
}

fn object(part: &str) -> Result<Map<String, Value>, Denied> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| Denied::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| Denied::Malformed)
}

fn is_taken(kind: &Value) -> bool {
    kind.as_str().is_some_and(|kind| {
        let kind = kind.to_ascii_lowercase();
        TYPES.contains(&kind.strip_prefix("application/").unwrap_or(&kind))
    })
}
