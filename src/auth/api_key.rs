//! Keys: a secret -> the caller that it belongs to.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use http::HeaderName;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{Caller, CallerKind, Denied, Refused};
use crate::config::auth::ApiKeys;

/// The longest secret that is looked at, in bytes: hashing more would be work for nothing.
const MOST_SECRET: usize = 512;

/// All keys, by the SHA-256 of their secrets (row T29).
pub struct KeyTable {
    headers: Vec<HeaderName>,
    /// By the first bytes of the digest, for finding; the whole is then compared in constant time. How long finding
    /// takes tells of a digest, at most, and the map's own hash is secret.
    entries: HashMap<u64, Vec<Entry>>,
}

struct Entry {
    digest: [u8; 32],
    caller: Arc<Caller>,
    enabled: bool,
    expires_at: Option<SystemTime>,
}

impl KeyTable {
    /// The table of `keys`.
    pub fn new(keys: &ApiKeys) -> Self {
        let mut entries: HashMap<u64, Vec<Entry>> = HashMap::new();
        for key in &keys.keys {
            let caller = Caller::new(CallerKind::ApiKey, Arc::clone(&key.id), key.permissions.clone());
            let caller = Arc::new(Caller { metadata: Arc::clone(&key.metadata), ..caller });
            for secret in &key.secrets {
                entries.entry(start(&secret.digest)).or_default().push(Entry {
                    digest: secret.digest,
                    caller: Arc::clone(&caller),
                    enabled: key.enabled,
                    expires_at: key.expires_at.into_iter().chain(secret.until).min(),
                });
            }
        }
        Self { headers: keys.headers.clone(), entries }
    }

    /// The fields that bring a key.
    pub fn headers(&self) -> &[HeaderName] {
        &self.headers
    }

    /// The caller whose secret this is.
    ///
    /// # Errors
    /// When nobody's is, or its key is switched off or expired; then with the id of that.
    pub fn find(&self, secret: &[u8], wall: SystemTime) -> Result<Arc<Caller>, Refused> {
        let entry = self.entry(secret).ok_or(Denied::Unknown)?;
        let refused = |why| Err(Refused { why, key: Some(Arc::clone(&entry.caller.id)) });
        if !entry.enabled {
            return refused(Denied::Disabled);
        }
        if entry.expires_at.is_some_and(|at| at <= wall) {
            return refused(Denied::Expired);
        }
        Ok(Arc::clone(&entry.caller))
    }

    /// Whether this is the secret of a key, be it in force or not.
    pub fn knows(&self, secret: &[u8]) -> bool {
        self.entry(secret).is_some()
    }

    fn entry(&self, secret: &[u8]) -> Option<&Entry> {
        if secret.is_empty() || secret.len() > MOST_SECRET {
            return None;
        }
        let digest: [u8; 32] = Sha256::digest(secret).into();
        let near = self.entries.get(&start(&digest))?;
        near.iter().find(|entry| bool::from(entry.digest.ct_eq(&digest)))
    }
}

fn start(digest: &[u8; 32]) -> u64 {
    digest.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}
