//! Ring hash: a key belongs to the member whose point on the ring follows it, so a member that leaves moves only its
//! own keys, to as many others as it has points.
//!
//! The hash is fixed, so all instances and all versions agree on who has a key.

use std::sync::Arc;

use crate::balance::eligible::Eligible;
use crate::balance::member::Member;

/// Points on the ring per unit of the least weight.
const POINTS: u64 = 160;
/// Points of one member at most; weights that differ by more are scaled down.
const MAX_POINTS: u64 = 4096;
/// Points looked at before members are asked one after the other: a bound on the work when nearly all are out.
const MAX_STEPS: usize = 512;

/// The ring of the members and the ring of the backups.
#[derive(Debug)]
pub(super) struct Rings([Vec<Point>; 2]);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Point {
    hash: u32,
    member: u32,
}

impl Rings {
    pub(super) fn new(members: &[Arc<Member>]) -> Self {
        Self([false, true].map(|backup| ring(members.iter().filter(|m| m.backup == backup && m.weight > 0))))
    }

    /// The first member from `key` on that is accepted.
    pub(super) fn walk(&self, key: u64, eligible: &Eligible<'_>, accept: impl Fn(usize) -> bool) -> Option<usize> {
        let Self([members, backups]) = self;
        let ring = if eligible.backup() { backups } else { members };
        let hash = top(key);
        let start = ring.partition_point(|point| point.hash < hash);
        let (before, after) = ring.split_at_checked(start)?;
        let mut last = u32::MAX;
        for point in after.iter().chain(before).take(MAX_STEPS) {
            let index = usize::try_from(point.member).ok()?;
            if point.member != last && accept(index) {
                return Some(index);
            }
            last = point.member;
        }
        // Still the same answer for the same key, by the order of the members instead of the ring's.
        let first = usize::try_from(key % u64::try_from(eligible.len().max(1)).ok()?).ok()?;
        (first..eligible.len()).chain(0..first).find(|index| accept(*index))
    }

    /// As [`Self::walk`], but a member takes no more than its weighted part of all requests in flight and `percent`
    /// above it (consistent hashing with bounded loads). Returns the member and the most it may have in flight.
    pub(super) fn walk_bounded(
        &self,
        key: u64,
        eligible: &Eligible<'_>,
        percent: u32,
        cap: u32,
    ) -> Option<(usize, u32)> {
        let (mut in_flight, mut weights) = (1_u64, 0_u64);
        for (member, weight) in (0..eligible.len()).filter_map(|index| eligible.get(index)) {
            in_flight += u64::from(member.state.in_flight());
            weights += weight;
        }
        let bound = |weight: u64| {
            let part = u128::from(100 + u64::from(percent)) * u128::from(in_flight) * u128::from(weight);
            let most = part.div_ceil(u128::from(weights.max(1)) * 100);
            u32::try_from(most).unwrap_or(u32::MAX - 1).min(cap)
        };
        let below =
            |index| eligible.get(index).is_some_and(|(member, weight)| member.state.in_flight() < bound(weight));
        let index = self.walk(key, eligible, below)?;
        Some((index, bound(eligible.weight(index))))
    }
}

fn ring<'a>(members: impl Iterator<Item = &'a Arc<Member>> + Clone) -> Vec<Point> {
    let unit = members.clone().map(|m| u64::from(m.weight)).fold(0, greatest_common_divisor).max(1);
    let most = members.clone().map(|m| u64::from(m.weight) / unit).max().unwrap_or(1) * POINTS;
    let mut points = Vec::new();
    for member in members {
        let wanted = u64::from(member.weight) / unit * POINTS;
        let count = if most <= MAX_POINTS { wanted } else { (wanted * MAX_POINTS / most).max(1) };
        let seed = hash(format!("{}\0{}", member.configured, member.address).as_bytes());
        let Ok(member) = u32::try_from(member.index) else {
            break;
        };
        points.extend((0..count).map(|n| Point { hash: top(mix(seed ^ mix(n + 1))), member }));
    }
    points.sort_unstable();
    points
}

/// A fixed 64-bit hash: FNV-1a, its bits mixed.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    let fnv = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    mix(bytes.iter().fold(0xcbf2_9ce4_8422_2325, fnv))
}

/// The finalizer of splitmix64: each bit of the input moves half the bits of the output.
fn mix(mut n: u64) -> u64 {
    n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

/// The upper half: a place on the ring.
fn top(hash: u64) -> u32 {
    u32::try_from(hash >> 32).unwrap_or(u32::MAX)
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}
