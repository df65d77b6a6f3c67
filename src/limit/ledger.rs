//! What accounts are found by.
//!
//! Keys are hashes under a random seed, which is drawn once: a client cannot aim at another's account.

use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};
use sha2::{Digest, Sha256};

use super::table::NOBODY;

/// Bytes of a seed.
pub const SEED_BYTES: usize = 32;

/// The book that all accounts of a process are in.
#[derive(Default)]
pub struct Ledger {
    seed: Seed,
}

/// What keys are hashed under. It is a secret: it has no Debug.
pub struct Seed([u8; SEED_BYTES]);

impl Default for Seed {
    /// One that nobody knows.
    fn default() -> Self {
        let mut seed = [0; SEED_BYTES];
        let mut drawn = 0;
        while let Some(rest) = seed.get_mut(drawn..).filter(|rest| !rest.is_empty()) {
            match getrandom(rest, GetRandomFlags::empty()) {
                Ok(more) => drawn += more,
                Err(Errno::INTR) => {}
                // No kernel that this runs on is without; then keys are only hashed.
                Err(_) => break,
            }
        }
        Self(seed)
    }
}

impl Ledger {
    /// The key of what is fed: never [`NOBODY`].
    pub fn key(&self, feed: impl FnOnce(&mut dyn FnMut(&[u8]))) -> u64 {
        let mut digest = Sha256::new_with_prefix(self.seed.0);
        feed(&mut |bytes| digest.update(bytes));
        let digest: [u8; 32] = digest.finalize().into();
        let first = digest.first_chunk().map_or(0, |first| u64::from_be_bytes(*first));
        first.max(NOBODY + 1)
    }
}
