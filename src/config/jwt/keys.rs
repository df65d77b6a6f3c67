//! Public keys: out of PEM files, and out of JWK sets (RFC 7517), which come from an issuer and are read with care.
//!
//! A key of a set that is not for signatures, or of a kind that is not known, is left out, as RFC 7517 section 5 has
//! it. A secret (`oct`) in a set is left out, too: what everyone can fetch is none.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::pem::{PemObject, SectionKind};
use serde::Deserialize;
use x509_parser::oid_registry;
use x509_parser::prelude::{FromDer, SubjectPublicKeyInfo, X509Certificate};

use super::{Algorithm, Family};

/// The most keys of a set.
const MAX_KEYS: usize = 100;
/// The bits an RSA key may have: fewer are broken, and more than this the cryptography does not take.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
/// Bytes of an exponent; all in use have 3.
const MAX_EXPONENT: usize = 4;

/// A public key.
#[derive(Clone, PartialEq, Eq)]
pub enum PublicKey {
    /// RSA: modulus and exponent, big-endian, without leading zeros.
    Rsa {
        /// The modulus.
        n: Box<[u8]>,
        /// The exponent.
        e: Box<[u8]>,
    },
    /// A point on P-256, uncompressed.
    P256([u8; 65]),
    /// A point on P-384, uncompressed.
    P384([u8; 97]),
    /// Ed25519.
    Ed25519([u8; 32]),
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.family().describe())
    }
}

/// A public key, with what its set says about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedKey {
    /// Its name in the headers of tokens, when it has one.
    pub kid: Option<Arc<str>>,
    /// The only algorithm it is for, when it says so.
    pub algorithm: Option<Algorithm>,
    /// The key.
    pub key: PublicKey,
}

/// Keys that are in use at once. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySet {
    /// At most 100.
    pub keys: Vec<NamedKey>,
}

impl PublicKey {
    /// The kind of key.
    pub fn family(&self) -> Family {
        match self {
            Self::Rsa { .. } => Family::Rsa,
            Self::P256(_) => Family::P256,
            Self::P384(_) => Family::P384,
            Self::Ed25519(_) => Family::Ed25519,
        }
    }

    /// Reads the one key, or certificate, in a PEM file.
    ///
    /// # Errors
    /// What is wrong, as the end of a sentence that begins with the file.
    pub fn from_pem(bytes: &[u8]) -> Result<Self, String> {
        let mut found = None;
        for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(bytes) {
            let (kind, der) = section.map_err(|error| format!("is not valid PEM: {error}"))?;
            let key = match kind {
                SectionKind::PublicKey => {
                    let (_, info) = SubjectPublicKeyInfo::from_der(&der).map_err(|_| "holds no valid public key")?;
                    Self::from_info(&info)?
                }
                SectionKind::Certificate => {
                    let (_, certificate) =
                        X509Certificate::from_der(&der).map_err(|_| "holds no valid X.509 certificate")?;
                    Self::from_info(certificate.public_key())?
                }
                SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey => {
                    return Err("holds a private key, which only the issuer may have".to_owned());
                }
                _ => continue,
            };
            if found.replace(key).is_some() {
                return Err("holds more than one key; each needs a file of its own".to_owned());
            }
        }
        found.ok_or_else(|| "holds no public key in PEM".to_owned())
    }

    fn from_info(info: &SubjectPublicKeyInfo<'_>) -> Result<Self, String> {
        use x509_parser::public_key::PublicKey as Parsed;
        let bits = &*info.subject_public_key.data;
        if info.algorithm.algorithm == oid_registry::OID_SIG_ED25519 {
            return bits.try_into().map(Self::Ed25519).map_err(|_| "holds no valid Ed25519 key".to_owned());
        }
        if let Ok(Parsed::RSA(rsa)) = info.parsed() {
            return Self::rsa(rsa.modulus, rsa.exponent);
        }
        // The length tells the curves apart; a point that is not on its curve is refused with each signature.
        Self::point(bits).ok_or_else(|| "holds a key that is none of RSA, P-256, P-384 and Ed25519".to_owned())
    }

    fn rsa(n: &[u8], e: &[u8]) -> Result<Self, String> {
        let [n, e] = [n, e].map(|number| {
            let zeros = number.iter().take_while(|byte| **byte == 0).count();
            number.get(zeros..).unwrap_or_default()
        });
        let unused = n.first().map_or(0, |byte| byte.leading_zeros() as usize);
        let bits = (n.len() * 8).saturating_sub(unused);
        if !RSA_BITS.contains(&bits) {
            return Err(format!(
                "holds an RSA key of {bits} bits; {} to {} are taken",
                RSA_BITS.start(),
                RSA_BITS.end()
            ));
        }
        let odd = e.last().is_some_and(|byte| byte % 2 == 1);
        if !odd || e == [1] || e.len() > MAX_EXPONENT {
            return Err("holds an RSA key with an exponent that nobody uses".to_owned());
        }
        Ok(Self::Rsa { n: n.into(), e: e.into() })
    }

    /// An uncompressed point.
    fn point(bytes: &[u8]) -> Option<Self> {
        if bytes.first() != Some(&4) {
            return None;
        }
        bytes.try_into().map(Self::P256).or_else(|_| bytes.try_into().map(Self::P384)).ok()
    }
}

impl KeySet {
    /// Reads a JWK set; also how many keys of it were left out.
    ///
    /// # Errors
    /// What is wrong, as the end of a sentence that begins with where the set is.
    pub fn from_jwks(bytes: &[u8]) -> Result<(Self, usize), String> {
        let set: Jwks = serde_json::from_slice(bytes).map_err(|error| {
            // Not with its text: it may quote what stands there.
            format!("holds no JWK set (line {}, column {})", error.line(), error.column())
        })?;
        let count = set.keys.len();
        if count > MAX_KEYS {
            return Err(format!("holds {count} keys; at most {MAX_KEYS} are taken"));
        }
        let keys: Vec<NamedKey> =
            set.keys.into_iter().filter_map(|key| serde_json::from_value::<Jwk>(key).ok()?.into_key()).collect();
        if keys.is_empty() {
            return Err(format!("holds {count} keys, and none that signatures can be checked with"));
        }
        let left_out = count - keys.len();
        Ok((Self { keys }, left_out))
    }

    /// The kinds of keys in it that can check `algorithm`.
    pub fn fits(&self, algorithm: Algorithm) -> bool {
        self.keys.iter().any(|key| key.fits(algorithm))
    }
}

impl NamedKey {
    /// Whether it is for `algorithm`.
    pub fn fits(&self, algorithm: Algorithm) -> bool {
        self.key.family() == algorithm.family() && self.algorithm.is_none_or(|only| only == algorithm)
    }
}

/// A JWK set as it is sent. It is not ours, so what is not known in it is passed over.
#[derive(Deserialize)]
struct Jwks {
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(default, rename = "use")]
    purpose: Option<String>,
    #[serde(default)]
    key_ops: Option<Vec<String>>,
    #[serde(default)]
    alg: Option<String>,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    crv: Option<String>,
    #[serde(default)]
    n: Option<String>,
    #[serde(default)]
    e: Option<String>,
    #[serde(default)]
    x: Option<String>,
    #[serde(default)]
    y: Option<String>,
}

impl Jwk {
    /// The key, when it is one that signatures are checked with.
    fn into_key(self) -> Option<NamedKey> {
        let for_signatures = self.purpose.as_deref().is_none_or(|purpose| purpose == "sig")
            && self.key_ops.as_ref().is_none_or(|operations| operations.iter().any(|op| op == "verify"));
        if !for_signatures {
            return None;
        }
        let key = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => PublicKey::rsa(&decoded(self.n.as_ref())?, &decoded(self.e.as_ref())?).ok()?,
            ("EC", Some(curve @ ("P-256" | "P-384"))) => {
                let (x, y) = (decoded(self.x.as_ref())?, decoded(self.y.as_ref())?);
                let size = if curve == "P-256" { 32 } else { 48 };
                let point = [&[4], x.as_slice(), &y].concat();
                ((x.len(), y.len()) == (size, size)).then(|| PublicKey::point(&point))??
            }
            ("OKP", Some("Ed25519")) => decoded(self.x.as_ref())?.try_into().map(PublicKey::Ed25519).ok()?,
            _ => return None,
        };
        let algorithm = match self.alg.as_deref() {
            None => None,
            Some(name) => Some(Algorithm::named(name).filter(|algorithm| algorithm.family() == key.family())?),
        };
        Some(NamedKey { kid: self.kid.map(Arc::from), algorithm, key })
    }
}

fn decoded(text: Option<&String>) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text?).ok()
}
