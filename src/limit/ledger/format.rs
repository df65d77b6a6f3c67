//! The two files of a ledger, as bytes. All numbers are little-endian.
//!
//! **The state**: a header (magic, version, generation, seed, number of records), the records, and the SHA-256 of all of
//! it. **The journal**: a header (magic, version, generation, and a word made of the seed, so that another ledger's is
//! refused), then records with a checksum each. A record says how an account stands, not what changed: reading one twice,
//! or one that the state has already, does no harm, and the last of an account holds.
//!
//! A journal may end in the middle of a record, or in bytes that the machine never came to write (zeros), for the process or
//! the machine may end there: it is torn. Any other bytes that are no record are damage. Checksums are made with the seed, so
//! that what has a right one is a record wherever it begins: what stands behind the damage is read.

use sha2::{Digest, Sha256};

use super::{SEED_BYTES, Seed};
use crate::limit::account::Saved;

const STATE: &[u8; 8] = b"SLUICEST";
const JOURNAL: &[u8; 8] = b"SLUICEJL";

/// The only version of both that is read.
const VERSION: u32 = 1;

/// Bytes of a record without its checksum.
const RECORD: usize = 40;

/// Bytes of the checksum of a record.
const CHECK: usize = 8;

/// Bytes of both.
const WHOLE: usize = RECORD + CHECK;

/// So many bytes behind damage are looked at for a record that begins anywhere.
const MOST_SEARCHED: usize = 1 << 20;

/// Bytes of the digest at the end of the state.
const DIGEST: usize = 32;

/// How one account stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// Whose it is: the limit and the unit.
    pub meter: u64,
    /// Whose it is: who is counted.
    pub key: u64,
    /// How it stands.
    pub saved: Saved,
}

/// What a state says.
pub struct State {
    /// The first journal that is newer.
    pub generation: u64,
    /// What keys were hashed under.
    pub seed: Seed,
    /// How the accounts stood.
    pub records: Vec<Record>,
}

/// What a journal says.
#[derive(Debug, PartialEq, Eq)]
pub struct Journal {
    /// In the order in which they were written.
    pub records: Vec<Record>,
    /// Bytes at its end that were not written as a whole.
    pub torn: usize,
    /// Other bytes that are no records.
    pub damaged: usize,
}

/// The bytes of a state.
pub fn write_state(generation: u64, seed: &Seed, records: &[Record]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(64 + SEED_BYTES + records.len() * RECORD);
    bytes.extend_from_slice(STATE);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&generation.to_le_bytes());
    bytes.extend_from_slice(seed.bytes());
    bytes.extend_from_slice(&(records.len() as u64).to_le_bytes());
    for record in records {
        put(record, &mut bytes);
    }
    let digest = Sha256::digest(&bytes);
    bytes.extend_from_slice(&digest);
    bytes
}

/// Reads a state.
///
/// # Errors
/// Why it is none, for an operator.
pub fn read_state(bytes: &[u8]) -> Result<State, &'static str> {
    let Some((said, digest)) = bytes.split_last_chunk::<DIGEST>() else { return Err("it is too short") };
    let mut rest = said;
    if take::<8>(&mut rest).as_ref() != Some(STATE) {
        return Err("it is none of ours");
    }
    let version = take(&mut rest).map(u32::from_le_bytes);
    if version != Some(VERSION) {
        return Err("another version wrote it");
    }
    if Sha256::digest(said).as_slice() != digest {
        return Err("it is damaged: its checksum is wrong");
    }
    let parts = (take(&mut rest), take::<SEED_BYTES>(&mut rest), take(&mut rest));
    let (Some(generation), Some(seed), Some(count)) = parts else { return Err("it is too short") };
    let mut records = Vec::with_capacity(rest.len() / RECORD);
    while let Some(record) = get(&mut rest) {
        records.push(record);
    }
    if !rest.is_empty() || records.len() as u64 != u64::from_le_bytes(count) {
        return Err("it is damaged: it has not as many records as it says");
    }
    Ok(State { generation: u64::from_le_bytes(generation), seed: Seed(seed), records })
}

/// The bytes that a journal begins with.
pub fn begin_journal(generation: u64, seed: &Seed) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(32);
    bytes.extend_from_slice(JOURNAL);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&generation.to_le_bytes());
    bytes.extend_from_slice(&check(seed, &bytes));
    bytes
}

/// Appends a record to the bytes of a journal.
pub fn put_journal(record: &Record, seed: &Seed, bytes: &mut Vec<u8>) {
    let begin = bytes.len();
    put(record, bytes);
    let check = check(seed, bytes.get(begin..).unwrap_or_default());
    bytes.extend_from_slice(&check);
}

/// Reads the journal of `generation`.
///
/// # Errors
/// Why it is none, for an operator.
pub fn read_journal(bytes: &[u8], generation: u64, seed: &Seed) -> Result<Journal, &'static str> {
    let head = begin_journal(generation, seed);
    let Some(mut rest) = bytes.strip_prefix(head.as_slice()) else {
        // One that ended with its header has nothing to say.
        if head.starts_with(bytes) {
            return Ok(Journal { records: Vec::new(), torn: bytes.len(), damaged: 0 });
        }
        return Err("it does not belong to the state beside it");
    };
    let mut records = Vec::with_capacity(rest.len() / WHOLE);
    let mut damaged = 0;
    loop {
        while let Some((record, after)) = checked(rest, seed) {
            records.push(record);
            rest = after;
        }
        // Mostly bytes have changed and none are missing; the other search is long.
        let aligned = (WHOLE..rest.len()).step_by(WHOLE);
        let mut places = aligned.chain(1..rest.len().min(MOST_SEARCHED));
        let next = places.find(|at| rest.get(*at..).is_some_and(|rest| checked(rest, seed).is_some()));
        let Some(next) = next else { break };
        damaged += next;
        rest = rest.get(next..).unwrap_or_default();
    }
    let torn = if is_torn(rest) { rest.len() } else { 0 };
    Ok(Journal { records, torn, damaged: damaged + rest.len() - torn })
}

/// The record that `bytes` begin with, and what follows it; `None`: they begin with none.
fn checked<'a>(bytes: &'a [u8], seed: &Seed) -> Option<(Record, &'a [u8])> {
    let (mut said, after) = bytes.split_at_checked(RECORD)?;
    let (sum, after) = after.split_first_chunk::<CHECK>()?;
    if check(seed, said) != *sum {
        return None;
    }
    Some((get(&mut said)?, after))
}

/// Whether the end of a journal is one that was not written as a whole.
fn is_torn(end: &[u8]) -> bool {
    end.len() < WHOLE || end.ends_with(&[0; CHECK])
}

/// The first bytes of a digest that only this ledger makes.
fn check(seed: &Seed, bytes: &[u8]) -> [u8; CHECK] {
    let digest: [u8; DIGEST] = Sha256::new_with_prefix(seed.bytes()).chain_update(bytes).finalize().into();
    digest.first_chunk().copied().unwrap_or_default()
}

fn put(record: &Record, bytes: &mut Vec<u8>) {
    let Record { meter, key, saved: Saved { spent, pending, at } } = record;
    for number in [meter, key, spent, pending, at] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
}

fn get(bytes: &mut &[u8]) -> Option<Record> {
    let mut rest = *bytes;
    let mut number = || take(&mut rest).map(u64::from_le_bytes);
    let (meter, key) = (number()?, number()?);
    let saved = Saved { spent: number()?, pending: number()?, at: number()? };
    *bytes = rest;
    Some(Record { meter, key, saved })
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*first)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn records() -> impl Strategy<Value = Vec<Record>> {
        let record = any::<[u64; 5]>().prop_map(|[meter, key, spent, pending, at]| Record {
            meter,
            key,
            saved: Saved { spent, pending, at },
        });
        proptest::collection::vec(record, 0..20)
    }

    fn journal(records: &[Record], seed: &Seed) -> Vec<u8> {
        let mut bytes = begin_journal(7, seed);
        records.iter().for_each(|record| put_journal(record, seed, &mut bytes));
        bytes
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(records in records(), generation: u64) {
            let seed = Seed::default();
            let state = read_state(&write_state(generation, &seed, &records)).unwrap();
            prop_assert_eq!((state.generation, state.seed.bytes(), &state.records), (generation, seed.bytes(), &records));
            let journal = read_journal(&journal(&records, &seed), 7, &seed).unwrap();
            prop_assert_eq!(journal, Journal { records, torn: 0, damaged: 0 });
        }

        #[test]
        fn a_state_with_any_byte_changed_or_cut_is_refused(records in records(), at: usize, flip in 1..=255_u8) {
            let seed = Seed::default();
            let good = write_state(1, &seed, &records);
            let mut changed = good.clone();
            let at = at % good.len();
            changed[at] ^= flip;
            prop_assert!(read_state(&changed).is_err());
            prop_assert!(read_state(&good[..at]).is_err());
        }

        #[test]
        fn a_journal_that_was_cut_off_is_read_up_to_there(records in records(), cut: usize, zeros in 0..200_usize) {
            let seed = Seed::default();
            let mut bytes = journal(&records, &seed);
            let head = begin_journal(7, &seed).len();
            let cut = head + cut % (bytes.len() + 1 - head);
            bytes.truncate(cut);
            // As a file system has it that knew of a length and not of what was written.
            let end = bytes.iter().rev().take_while(|byte| **byte == 0).count();
            let zeros = if end == 0 && zeros > CHECK { zeros } else { 0 };
            bytes.resize(cut + zeros, 0);
            let read = read_journal(&bytes, 7, &seed).unwrap();
            let whole = (cut - head) / WHOLE;
            prop_assert_eq!(&read.records, &records[..whole]);
            prop_assert_eq!((read.torn, read.damaged), ((cut - head) % WHOLE + zeros, 0));
        }

        #[test]
        fn of_a_journal_that_is_damaged_all_else_is_read(records in records(), at: usize, flip in 1..=255_u8) {
            let seed = Seed::default();
            let mut bytes = journal(&records, &seed);
            let head = begin_journal(7, &seed).len();
            let at = at % bytes.len();
            bytes[at] ^= flip;
            let Some(bad) = at.checked_sub(head).map(|at| at / WHOLE) else {
                prop_assert!(read_journal(&bytes, 7, &seed).is_err());
                return Ok(());
            };
            let read = read_journal(&bytes, 7, &seed).unwrap();
            let mut others = records.clone();
            others.remove(bad);
            prop_assert_eq!(&read.records, &others);
            prop_assert_eq!(read.damaged + read.torn, WHOLE);
            prop_assert!(read.torn == 0 || bad + 1 == records.len());
        }

        #[test]
        fn bytes_that_are_missing_in_a_journal_cost_no_more_than_the_record_that_they_are_of(
            records in records(), at: usize, missing in 1..RECORD,
        ) {
            let seed = Seed::default();
            let mut bytes = journal(&records, &seed);
            let head = begin_journal(7, &seed).len();
            prop_assume!(!records.is_empty());
            let bad = at % records.len();
            let begin = head + bad * WHOLE;
            bytes.drain(begin..begin + missing);
            let read = read_journal(&bytes, 7, &seed).unwrap();
            let mut others = records;
            others.remove(bad);
            prop_assert_eq!(read.records, others);
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes: Vec<u8>, generation: u64) {
            let seed = Seed::default();
            prop_assert!(read_state(&bytes).is_err());
            let _ = read_journal(&bytes, generation, &seed);
            let mut dressed = begin_journal(generation, &seed);
            dressed.extend_from_slice(&bytes);
            prop_assert_eq!(read_journal(&dressed, generation, &seed).unwrap().records, []);
        }
    }

    #[test]
    fn the_journal_of_another_ledger_or_generation_is_refused() {
        let (one, other) = (Seed::default(), Seed::default());
        let bytes = journal(&[], &one);
        assert!(read_journal(&bytes, 7, &other).is_err());
        assert!(read_journal(&bytes, 8, &one).is_err());
        assert!(read_journal(&bytes, 7, &one).is_ok());
    }
}
