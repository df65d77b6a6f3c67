//! Which key checks a token, and the check itself.

use std::sync::Arc;

use ring::hmac;
use ring::signature::{self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey};

use super::sources::{Source, Sources};
use super::token::Token;
use crate::auth::Denied;
use crate::config::jwt::{Algorithm, Issuer, KeySet, Keys, NamedKey, PublicKey};

/// Keys that are tried for a token that names none. More would let a stranger make us work.
const MAX_TRIED: usize = 4;

/// The keys of an issuer, ready to check.
pub(super) enum IssuerKeys {
    /// A key for each secret and algorithm.
    Secrets(Vec<(Algorithm, hmac::Key)>),
    Fixed(Arc<KeySet>),
    Fetched(Arc<Source>),
}

impl IssuerKeys {
    pub(super) fn new(issuer: &Issuer, sources: &Sources) -> Self {
        match &issuer.keys {
            Keys::Secrets(secrets) => {
                let keys = issuer.algorithms.iter().filter_map(|algorithm| Some((*algorithm, hash(*algorithm)?)));
                let keys = keys.flat_map(|(algorithm, hash)| {
                    let key = move |secret: &crate::config::secret::Secret| {
                        (algorithm, hmac::Key::new(hash, secret.reveal().as_bytes()))
                    };
                    secrets.iter().map(key)
                });
                Self::Secrets(keys.collect())
            }
            Keys::Public(set) => Self::Fixed(Arc::clone(set)),
            Keys::Url(at) => Self::Fetched(sources.at(&at.url)),
        }
    }

    /// Changes whenever the keys do; 0 for those that never change.
    pub(super) fn version(&self) -> u64 {
        match self {
            Self::Secrets(_) | Self::Fixed(_) => 0,
            Self::Fetched(source) => source.current().map_or(0, |fetched| fetched.version),
        }
    }

    /// Checks the signature. Returns the version of the keys that it was checked with.
    pub(super) fn check(&self, issuer: &Issuer, token: &Token<'_>, now: u64) -> Result<u64, Denied> {
        let algorithm = token.algorithm().and_then(Algorithm::named);
        let algorithm = algorithm.filter(|named| issuer.algorithms.contains(named)).ok_or(Denied::Algorithm)?;
        let kid = token.kid()?;
        match self {
            Self::Secrets(keys) => {
                let mut keys = keys.iter().filter(|(only, _)| *only == algorithm);
                let good = keys.any(|(_, key)| hmac::verify(key, token.signed, &token.signature).is_ok());
                if good { Ok(0) } else { Err(Denied::Signature) }
            }
            Self::Fixed(set) => check_public(set, algorithm, kid, token).map(|()| 0),
            Self::Fetched(source) => {
                let Some(fetched) = source.current() else {
                    return Err(Denied::NoKeys);
                };
                let checked = check_public(&fetched.keys, algorithm, kid, token);
                if checked == Err(Denied::KeyUnknown) {
                    source.ask(now);
                }
                checked.map(|()| fetched.version)
            }
        }
    }
}

fn check_public(set: &KeySet, algorithm: Algorithm, kid: Option<&str>, token: &Token<'_>) -> Result<(), Denied> {
    let named = |key: &&NamedKey| match (&key.kid, kid) {
        (Some(own), Some(wanted)) => **own == *wanted,
        _ => true,
    };
    let mut fitting = set.keys.iter().filter(named).filter(|key| key.fits(algorithm)).peekable();
    if fitting.peek().is_none() {
        // A key of this name that is for something else: fetching the keys again would change nothing.
        let known = kid.is_some() && set.keys.iter().any(|key| key.kid.as_deref() == kid);
        return Err(if known { Denied::Algorithm } else { Denied::KeyUnknown });
    }
    let good = fitting.take(MAX_TRIED).any(|key| is_signed(&key.key, algorithm, token.signed, &token.signature));
    if good { Ok(()) } else { Err(Denied::Signature) }
}

fn hash(algorithm: Algorithm) -> Option<hmac::Algorithm> {
    match algorithm {
        Algorithm::Hs256 => Some(hmac::HMAC_SHA256),
        Algorithm::Hs384 => Some(hmac::HMAC_SHA384),
        Algorithm::Hs512 => Some(hmac::HMAC_SHA512),
        _ => None,
    }
}

/// Whether `signature` of `message` was made with the private part of `key`. A key of another kind than the algorithm's
/// checks nothing.
fn is_signed(key: &PublicKey, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
    let checked = match (key, algorithm) {
        (PublicKey::Rsa { n, e }, algorithm) => {
            let Some(parameters) = rsa(algorithm) else { return false };
            RsaPublicKeyComponents { n, e }.verify(parameters, message, signature)
        }
        (PublicKey::P256(point), Algorithm::Es256) => {
            UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
        }
        (PublicKey::P384(point), Algorithm::Es384) => {
            UnparsedPublicKey::new(&signature::ECDSA_P384_SHA384_FIXED, point).verify(message, signature)
        }
        (PublicKey::Ed25519(point), Algorithm::EdDsa) => {
            UnparsedPublicKey::new(&signature::ED25519, point).verify(message, signature)
        }
        _ => return false,
    };
    checked.is_ok()
}

fn rsa(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    match algorithm {
        Algorithm::Rs256 => Some(&signature::RSA_PKCS1_2048_8192_SHA256),
        Algorithm::Rs384 => Some(&signature::RSA_PKCS1_2048_8192_SHA384),
        Algorithm::Rs512 => Some(&signature::RSA_PKCS1_2048_8192_SHA512),
        Algorithm::Ps256 => Some(&signature::RSA_PSS_2048_8192_SHA256),
        Algorithm::Ps384 => Some(&signature::RSA_PSS_2048_8192_SHA384),
        Algorithm::Ps512 => Some(&signature::RSA_PSS_2048_8192_SHA512),
        _ => None,
    }
}
