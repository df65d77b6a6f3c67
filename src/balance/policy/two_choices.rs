//! The better of two members chosen by chance.

use crate::balance::eligible::Eligible;
use crate::balance::member::Member;

/// Draws among all members before looking who may be chosen at all.
const DRAWS: usize = 8;

/// (Requests in flight + 1/2) / weight, in a fixed-point number; the weight in thousandths, never 0. The half rounds
/// each share to the nearest whole request, so that weights hold with few requests in flight too.
pub(super) fn load((member, weight): (&Member, u64)) -> u64 {
    ((2 * u64::from(member.state.in_flight()) + 1) << 27) / weight.max(1)
}

/// The one with the lesser load.
pub(super) fn least(eligible: &Eligible<'_>, load: impl Fn((&Member, u64)) -> u64) -> Option<usize> {
    better_of_two(eligible, |one, other| load(one) <= load(other))
}

/// The one with the lesser peak latency times (requests in flight + 1) / weight. A member that has not answered yet
/// is taken to be as fast as the other: it gets requests at once, but no more than its requests in flight allow.
pub(super) fn peak_ewma(eligible: &Eligible<'_>) -> Option<usize> {
    better_of_two(eligible, |one, other| {
        let now = eligible.now();
        let latencies = (one.0.state.latency(now), other.0.state.latency(now));
        let (one_latency, other_latency) = match latencies {
            (Some(one), Some(other)) => (one.max(1.0), other.max(1.0)),
            _ => (1.0, 1.0),
        };
        cost(one, one_latency) <= cost(other, other_latency)
    })
}

#[expect(clippy::cast_precision_loss, reason = "loads are far below 2^52, and a cost is an estimate")]
fn cost(member: (&Member, u64), latency: f64) -> f64 {
    load(member) as f64 * latency
}

type Weighed<'a> = (&'a Member, u64);

fn better_of_two<'a>(
    eligible: &Eligible<'a>,
    first_is_better: impl Fn(Weighed<'a>, Weighed<'a>) -> bool,
) -> Option<usize> {
    let (one, weighed_one) = any(eligible, None)?;
    let Some((other, weighed_other)) = any(eligible, Some(one)) else {
        return Some(one);
    };
    Some(if first_is_better(weighed_one, weighed_other) { one } else { other })
}

/// One member by chance, each as likely as the other.
fn any<'a>(eligible: &Eligible<'a>, except: Option<usize>) -> Option<(usize, Weighed<'a>)> {
    let look = |index| (Some(index) != except).then(|| Some((index, eligible.get(index)?))).flatten();
    for _ in 0..DRAWS {
        if let Some(found) = look(fastrand::usize(..eligible.len())) {
            return Some(found);
        }
    }
    let mut chosen = None;
    for (seen, found) in (0..eligible.len()).filter_map(look).enumerate() {
        if fastrand::usize(..=seen) == 0 {
            chosen = Some(found);
        }
    }
    chosen
}
