use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::condition::PROBE_MOST;
use super::*;
use crate::clock;
use crate::config::ai::{KeyPlace, ProviderKey, ProviderKind};
use crate::config::secret::Secret;
use crate::observe::Identity as Program;

/// The model that is asked for.
const M: &str = "m";
const COOLDOWN: Duration = Duration::from_secs(60);

fn provider(weights: &[u32]) -> Provider {
    let key = |(index, weight): (usize, &u32)| ProviderKey {
        name: format!("key-{}", index + 1).into(),
        weight: *weight,
        secret: KeySecret::Plain(Secret::new(format!("sk-{index}")).unwrap()),
    };
    Provider {
        name: "openai".into(),
        kind: ProviderKind::OpenAi,
        pool: 0,
        host: None,
        base_path: "/v1".to_owned(),
        keys: weights.iter().enumerate().map(key).collect(),
        key_place: KeyPlace::Bearer,
        models: Vec::new(),
        headers: Vec::new(),
        speaks: Vec::new(),
        strip_body_fields: Vec::new(),
        enabled: true,
        lacks: None,
    }
}

fn rings() -> Rings {
    Rings::new(Arc::new(Metrics::new(&Program { instance_id: "gw-1".into(), version: "0".into() })))
}

fn ring(weights: &[u32]) -> Arc<KeyRing> {
    rings().ring(&provider(weights))
}

fn states(ring: &KeyRing, now: Instant) -> Vec<&'static str> {
    ring.status(now).iter().map(|status| status.state.as_str()).collect()
}

/// How often each key was picked in so many requests.
fn shares(ring: &KeyRing, requests: usize, now: Instant) -> Vec<u64> {
    for _ in 0..requests {
        ring.used(ring.pick(M, now, &[]).unwrap());
    }
    ring.status(now).iter().map(|status| status.requests).collect()
}

#[test]
fn three_keys_of_one_weight_get_a_third_of_300_requests_each() {
    let (ring, now) = (ring(&[1, 1, 1]), clock::now());
    assert_eq!(shares(&ring, 300, now), [100, 100, 100]);
}

#[test]
fn threads_share_one_rotation() {
    let (ring, now) = (ring(&[1, 1, 1]), clock::now());
    std::thread::scope(|scope| (0..6).for_each(|_| drop(scope.spawn(|| shares(&ring, 500, now)))));
    assert_eq!(shares(&ring, 0, now), [1_000; 3]);
}

#[test]
fn heavier_keys_get_more_evenly_spread() {
    let (ring, now) = (ring(&[3, 1]), clock::now());
    let picks: Vec<_> = (0..8).filter_map(|_| ring.pick(M, now, &[])).collect();
    assert_eq!(picks, [0, 0, 1, 0, 0, 0, 1, 0]);
}

#[test]
fn a_request_gets_no_key_twice_and_none_at_all_when_all_were_tried() {
    let (ring, now) = (ring(&[5, 1, 1]), clock::now());
    let mut tried = Vec::new();
    while let Some(index) = ring.pick(M, now, &tried) {
        assert!(!tried.contains(&index));
        tried.push(index);
    }
    assert_eq!(tried.len(), 3);
}

#[test]
fn a_provider_without_keys_has_nothing_to_pick_and_nothing_to_wait_for() {
    let (ring, now) = (ring(&[]), clock::now());
    assert!(ring.is_empty());
    assert_eq!((ring.pick(M, now, &[]), ring.earliest(M, now)), (None, None));
}

#[test]
fn a_refused_key_is_set_aside_and_the_others_share_its_part() {
    let (ring, now) = (ring(&[1, 1, 1]), clock::now());
    ring.refused(1, Of::All, now, COOLDOWN);
    let mut counts = [0; 3];
    for _ in 0..100 {
        counts[ring.pick(M, now, &[]).unwrap()] += 1;
    }
    assert_eq!(counts, [50, 0, 50]);
    assert_eq!(states(&ring, now), ["ready", "failed", "ready"]);
}

#[test]
fn after_the_cool_down_one_request_tries_before_the_others_may() {
    let (ring, now) = (ring(&[1]), clock::now());
    ring.refused(0, Of::All, now, COOLDOWN);
    assert_eq!((ring.pick(M, now, &[]), ring.earliest(M, now)), (None, Some(COOLDOWN)));
    let after = now + COOLDOWN;
    assert_eq!(ring.earliest(M, after), Some(Duration::ZERO));
    assert_eq!(ring.pick(M, after, &[]), Some(0), "the probe");
    assert_eq!((ring.pick(M, after, &[]), states(&ring, after)), (None, vec!["probing"]));
    ring.succeeded(0, M, after);
    assert_eq!((ring.pick(M, after, &[]), ring.pick(M, after, &[])), (Some(0), Some(0)));
}

#[test]
fn a_probe_that_is_refused_sets_the_key_aside_again() {
    let (ring, now) = (ring(&[1]), clock::now());
    ring.refused(0, Of::All, now, COOLDOWN);
    let after = now + COOLDOWN;
    ring.pick(M, after, &[]).unwrap();
    ring.refused(0, Of::All, after, COOLDOWN);
    assert_eq!((ring.pick(M, after, &[]), ring.earliest(M, after)), (None, Some(COOLDOWN)));
}

#[test]
fn a_probe_that_says_nothing_lets_the_next_one_go() {
    let (ring, now) = (ring(&[1]), clock::now());
    ring.refused(0, Of::All, now, COOLDOWN);
    let after = now + COOLDOWN;
    ring.pick(M, after, &[]).unwrap();
    ring.released(0, M);
    assert_eq!(ring.pick(M, after, &[]), Some(0));
    // Nobody says how this one ended.
    assert_eq!(ring.pick(M, after + PROBE_MOST - Duration::from_millis(1), &[]), None);
    assert_eq!(ring.pick(M, after + PROBE_MOST, &[]), Some(0));
}

#[test]
fn of_many_threads_one_gets_the_probe() {
    let (ring, now) = (ring(&[1]), clock::now());
    for round in 1..=50 {
        ring.refused(0, Of::All, now + COOLDOWN * (round - 1), COOLDOWN);
        let after = now + COOLDOWN * round;
        let probes = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| probes.fetch_add(usize::from(ring.pick(M, after, &[]).is_some()), Ordering::Relaxed));
            }
        });
        assert_eq!(probes.into_inner(), 1);
    }
}

#[test]
fn answers_to_requests_of_before_change_nothing() {
    let (ring, now) = (ring(&[1]), clock::now());
    ring.refused(0, Of::All, now, COOLDOWN);
    ring.refused(0, Of::All, now + Duration::from_secs(30), COOLDOWN);
    assert_eq!(ring.earliest(M, now), Some(COOLDOWN), "a late refusal prolongs nothing");
    ring.succeeded(0, M, now + Duration::from_secs(30));
    assert_eq!(ring.pick(M, now + Duration::from_secs(30), &[]), None, "a late success brings nothing back");
}

#[test]
fn a_key_rests_until_the_latest_moment_it_was_told() {
    let (ring, now) = (ring(&[1]), clock::now());
    let second = Duration::from_secs(1);
    ring.rests(0, Of::All, now, now + 9 * second, "test");
    ring.rests(0, Of::All, now, now + 2 * second, "test");
    ring.succeeded(0, M, now);
    assert_eq!(
        (ring.pick(M, now, &[]), ring.earliest(M, now), states(&ring, now)),
        (None, Some(9 * second), vec!["resting"])
    );
    assert_eq!(ring.pick(M, now + 9 * second, &[]), Some(0));
}

#[test]
fn a_spared_key_is_used_only_when_no_other_can_be() {
    let (ring, now) = (ring(&[1, 1]), clock::now());
    ring.spares(0, now + COOLDOWN);
    assert_eq!([(); 4].map(|()| ring.pick(M, now, &[]).unwrap()), [1; 4]);
    ring.rests(1, Of::All, now, now + COOLDOWN, "test");
    assert_eq!((ring.pick(M, now, &[]), ring.earliest(M, now)), (Some(0), Some(Duration::ZERO)));
}

#[test]
fn what_is_said_for_one_model_holds_for_no_other() {
    let (ring, now) = (ring(&[1]), clock::now());
    ring.refused(0, Of::Model("o9"), now, COOLDOWN);
    ring.rests(0, Of::Model("busy"), now, now + COOLDOWN, "test");
    assert_eq!(["o9", "busy", M].map(|model| ring.pick(model, now, &[])), [None, None, Some(0)]);
    assert!(ring.are_refused("o9", now) && !ring.are_refused("busy", now) && !ring.are_refused(M, now));
    assert_eq!(states(&ring, now), ["failed"], "the worst is shown");
    let after = now + COOLDOWN;
    assert_eq!((ring.pick("o9", after, &[]), ring.pick("o9", after, &[])), (Some(0), None), "one probe");
    ring.succeeded(0, "o9", after);
    assert_eq!(["o9", "busy", M].map(|model| ring.pick(model, after, &[])), [Some(0); 3]);
    ring.refused(0, Of::All, after, COOLDOWN);
    assert_eq!(["o9", "busy", M].map(|model| ring.pick(model, after, &[])), [None; 3]);
}

#[test]
fn a_probe_of_a_key_that_meets_a_model_it_may_not_use_has_found_the_key_good() {
    let (ring, now) = (ring(&[1]), clock::now());
    ring.refused(0, Of::All, now, COOLDOWN);
    let after = now + COOLDOWN;
    assert_eq!(ring.pick("o9", after, &[]), Some(0));
    ring.refused(0, Of::Model("o9"), after, COOLDOWN);
    assert_eq!((ring.pick("o9", after, &[]), ring.pick(M, after, &[])), (None, Some(0)));
}

#[test]
fn models_that_clients_make_up_are_remembered_up_to_a_bound() {
    let (ring, now) = (ring(&[1]), clock::now());
    for index in 0..3 * held::MOST as u64 {
        let until = now + Duration::from_secs(1 + index);
        ring.rests(0, Of::Model(&format!("m{index}")), now, until, "test");
    }
    let out = (0..3 * held::MOST).filter(|index| ring.pick(&format!("m{index}"), now, &[]).is_none()).count();
    assert_eq!(out, held::MOST, "those that last longest");
    assert_eq!(ring.pick(&format!("m{}", 3 * held::MOST - 1), now, &[]), None);
}

#[test]
fn a_request_that_is_dropped_lets_the_next_probe_go_at_once() {
    let (ring, now) = (ring(&[1]), clock::now());
    ring.refused(0, Of::All, now, COOLDOWN);
    let after = now + COOLDOWN;
    let key = ring.pick(M, after, &[]);
    let probing = Probing::new(&ring, key, M);
    assert_eq!(ring.pick(M, after, &[]), None, "one at a time");
    drop(probing);
    let key = ring.pick(M, after, &[]);
    assert_eq!(key, Some(0));
    Probing::new(&ring, key, M).over();
    assert_eq!(ring.pick(M, after, &[]), None, "its end was told elsewhere");
}

#[test]
fn a_reload_keeps_what_is_known_of_a_key_with_the_same_secret() {
    let (rings, now) = (rings(), clock::now());
    let first = rings.ring(&provider(&[1, 1]));
    first.refused(0, Of::All, now, COOLDOWN);
    let mut changed = provider(&[2, 1, 1]);
    changed.keys[1].secret = KeySecret::Plain(Secret::new("another".to_owned()).unwrap());
    first.refused(1, Of::All, now, COOLDOWN);
    let next = rings.ring(&changed);
    assert_eq!(states(&next, now), ["failed", "ready", "ready"]);
    drop((first, next));
    rings.retain();
    assert_eq!(states(&rings.ring(&changed), now), ["ready"; 3], "nobody held it any more");
}

#[test]
fn the_rotation_goes_on_when_the_same_keys_come_again() {
    let (rings, now) = (rings(), clock::now());
    let first = rings.ring(&provider(&[1, 1, 1]));
    first.pick(M, now, &[]).unwrap();
    assert_eq!(rings.ring(&provider(&[1, 1, 1])).pick(M, now, &[]), Some(1));
}

#[test]
fn the_line_that_scripts_count_says_which_one_failed_and_how_many_are_left() {
    assert_eq!(marked("flow-a", 1, 2), "Config 'flow-a' marked as failed. Available: 1/2");
}

#[test]
fn credentials_of_other_parts_have_other_digests() {
    let flow = |client_id: &str, tenant: &str| KeySecret::Flow {
        client_id: client_id.to_owned(),
        client_secret: Secret::new("s".to_owned()).unwrap(),
        tenant: tenant.to_owned(),
    };
    assert_ne!(digest(&flow("ab", "c")), digest(&flow("a", "bc")));
    assert_eq!(digest(&flow("a", "b")), digest(&flow("a", "b")));
}

/// What may happen to a ring, a second apart.
#[derive(Debug, Clone)]
enum Step {
    Pick,
    Refused(usize),
    Rests(usize, u64),
    Spares(usize, u64),
    Succeeded(usize),
    Released(usize),
    Wait(u64),
}

fn step(keys: usize) -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Pick),
        1 => (0..keys).prop_map(Step::Refused),
        1 => (0..keys, 0..90_u64).prop_map(|(key, seconds)| Step::Rests(key, seconds)),
        1 => (0..keys, 0..90_u64).prop_map(|(key, seconds)| Step::Spares(key, seconds)),
        1 => (0..keys).prop_map(Step::Succeeded),
        1 => (0..keys).prop_map(Step::Released),
        1 => (0..70_u64).prop_map(Step::Wait),
    ]
}

proptest! {
    /// A key that may be used is found whenever there is one, and one that may not never is.
    #[test]
    fn a_pick_and_what_is_said_of_the_keys_agree(weights in proptest::collection::vec(1..5_u32, 1..5), steps in proptest::collection::vec(step(4), 0..60)) {
        let (ring, mut now) = (ring(&weights), clock::now());
        for step in steps {
            match step {
                Step::Pick => {
                    let before = ring.status(now);
                    let open: Vec<bool> = before.iter().map(|status| status.lasts.is_zero()).collect();
                    prop_assert_eq!(ring.earliest(M, now).unwrap().is_zero(), open.contains(&true));
                    match ring.pick(M, now, &[]) {
                        Some(index) => {
                            prop_assert!(open[index]);
                            let fresh = before.iter().zip(&open).any(|(status, open)| *open && status.state != KeyState::Spared);
                            prop_assert!(!fresh || before[index].state != KeyState::Spared);
                        }
                        None => prop_assert!(!open.contains(&true)),
                    }
                }
                Step::Refused(key) => ring.refused(key, Of::All, now, COOLDOWN),
                Step::Rests(key, seconds) => ring.rests(key, Of::All, now, now + Duration::from_secs(seconds), "test"),
                Step::Spares(key, seconds) => ring.spares(key, now + Duration::from_secs(seconds)),
                Step::Succeeded(key) => ring.succeeded(key, M, now),
                Step::Released(key) => ring.released(key, M),
                Step::Wait(seconds) => now += Duration::from_secs(seconds),
            }
        }
        // Nothing keeps a key away for good.
        let later = now + COOLDOWN + PROBE_MOST + Duration::from_secs(90);
        prop_assert!(ring.status(later).iter().all(|status| status.lasts.is_zero()));
    }

    /// Over whole rounds, every key gets its share to the request.
    #[test]
    fn shares_are_the_weights(weights in proptest::collection::vec(1..9_u32, 1..6), rounds in 1..4_u32) {
        let (ring, now) = (ring(&weights), clock::now());
        let mut counts = BTreeMap::new();
        for _ in 0..weights.iter().sum::<u32>() * rounds {
            *counts.entry(ring.pick(M, now, &[]).unwrap()).or_insert(0) += 1;
        }
        let expected = weights.iter().enumerate().map(|(index, weight)| (index, weight * rounds)).collect();
        prop_assert_eq!(counts, expected);
    }
}
