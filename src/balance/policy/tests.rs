//! Where the policies send requests.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::*;
use crate::balance::AdminState;
use crate::balance::tests::{names, pick, pick_at, pool};
use crate::clock;
use crate::config::{Balance, HashKey};

fn count(names: &[String]) -> HashMap<&str, usize> {
    names.iter().fold(HashMap::new(), |mut counts, name| {
        *counts.entry(name.as_str()).or_default() += 1;
        counts
    })
}

/// Whom a request with this path goes to.
fn by_uri(selector: &Selector, path_and_query: &str) -> String {
    let client = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let request = PickRequest { client, path_and_query, headers: &HeaderMap::new(), tokens: 0 };
    selector.pick(&request, &[]).unwrap().member.name.to_string()
}

fn by_client(selector: &Selector, client: impl Into<IpAddr>) -> String {
    let request = PickRequest { client: client.into(), path_and_query: "/", headers: &HeaderMap::new(), tokens: 0 };
    selector.pick(&request, &[]).unwrap().member.name.to_string()
}

fn uri_hash(bound_percent: Option<u32>) -> Balance {
    Balance::ConsistentHash { key: HashKey::Uri, bound_percent }
}

#[test]
fn round_robin_and_random_honour_weights() {
    for (balance, tolerance) in [(Balance::RoundRobin, 1), (Balance::Random, 300)] {
        let served = names(&pool(&[9, 1]).select(&balance), 10_000, clock::now());
        let light = count(&served)["b"];
        assert!(light.abs_diff(1000) <= tolerance, "{balance:?} gave {light} of 10000");
    }
}

#[test]
fn round_robin_spreads_a_share_evenly() {
    let served = names(&pool(&[5, 1, 1]).select(&Balance::RoundRobin), 70, clock::now());
    for window in served.windows(7) {
        assert_eq!(count(window)["a"], 5, "{window:?}");
        assert_eq!(count(window)["b"], 1, "{window:?}");
    }
    assert!(!served.windows(5).any(|window| window.iter().all(|name| name == "a")), "never five in a row");
}

#[test]
fn the_share_of_a_dead_member_is_split_among_the_others() {
    for (balance, tolerance) in [(Balance::RoundRobin, 1), (Balance::Random, 300), (Balance::LeastRequests, 1)] {
        let selector = pool(&[1, 1, 1, 1]).select(&balance);
        selector.pool().set_admin("b", AdminState::Maint);
        let served = names(&selector, 6_000, clock::now());
        for name in ["a", "c", "d"] {
            assert!(count(&served)[name].abs_diff(2000) <= tolerance, "{balance:?}: {:?}", count(&served));
        }
    }
}

#[test]
fn round_robin_is_right_over_all_threads_together() {
    let selector = pool(&[9, 1]).select(&Balance::RoundRobin);
    let work = || (0..1_000).for_each(|_| drop(pick(&selector).unwrap()));
    std::thread::scope(|scope| (0..64).for_each(|_| drop(scope.spawn(work))));
    let light = selector.pool().members()[1].state.requests();
    assert!(light.abs_diff(6400) <= 64, "{light} of 64000");
}

#[test]
fn least_requests_prefers_the_free_and_rotates_among_equals() {
    let selector = pool(&[1, 1, 1]).select(&Balance::LeastRequests);
    let held = pick(&selector).unwrap();
    let served = names(&selector, 10, clock::now());
    assert!(!count(&served).contains_key(&*held.member.name));
    assert!(count(&served).values().all(|n| (4..=6).contains(n)), "{served:?}");
}

#[test]
fn least_requests_and_least_tokens_fill_members_by_weight() {
    for (members, balance) in [3, 70].into_iter().flat_map(|n| [(n, Balance::LeastRequests), (n, Balance::LeastTokens)])
    {
        let mut weights = vec![0; members];
        (weights[0], weights[members - 1]) = (3, 1);
        let selector = pool(&weights).select(&balance);
        let held: Vec<Pick> = (0..40).map(|_| pick(&selector).unwrap()).collect();
        assert_eq!(held.iter().filter(|pick| pick.member.index == 0).count(), 30, "{members} members, {balance:?}");
    }
}

#[test]
fn a_large_pool_is_filled_evenly_by_two_choices() {
    let selector = pool(&[1; 100]).select(&Balance::LeastRequests);
    let _held: Vec<Pick> = (0..1_000).map(|_| pick(&selector).unwrap()).collect();
    let most = selector.pool().members().iter().map(|m| m.state.in_flight()).max();
    assert!(most <= Some(14), "{most:?} where 10 is the mean; one choice by chance gives 18 and more");
}

#[test]
fn peak_ewma_avoids_the_slow_and_tries_the_new() {
    let selector = pool(&[1, 1, 1]).select(&Balance::PeakEwma);
    let now = clock::now();
    for (index, member) in selector.pool().members().iter().enumerate().take(2) {
        let latency = if index == 0 { 500 } else { 5 };
        member.state.feed_latency(Duration::from_millis(latency), now);
    }
    let served = names(&selector, 3_000, now);
    let counts = count(&served);
    assert!(counts["b"] > 1_300, "{counts:?}");
    assert!(counts["c"] > 800, "no answer yet, so worth a try: {counts:?}");
    assert!(counts["a"] < 700, "only against the unknown: {counts:?}");
}

#[test]
fn peak_ewma_does_not_flood_a_new_member() {
    let selector = pool(&[1, 1, 1, 1]).select(&Balance::PeakEwma);
    let now = clock::now();
    for member in selector.pool().members().iter().take(3) {
        member.state.feed_latency(Duration::from_millis(5), now);
    }
    let _held: Vec<Pick> = (0..40).map(|_| pick_at(&selector, &[], now).unwrap()).collect();
    let new = selector.pool().members()[3].state.in_flight();
    assert!((6..=14).contains(&new), "{new} of 40");
    assert!(selector.pool().members()[0].state.in_flight() >= 6, "nor does it starve");
}

#[test]
fn peak_ewma_learns_from_reports_and_forgets_in_time() {
    let selector = pool(&[1]).select(&Balance::PeakEwma);
    pick(&selector).unwrap().succeeded(Duration::from_millis(200));
    let state = &selector.pool().members()[0].state;
    let now = clock::now();
    let latency = |at| state.latency(at).unwrap();
    assert!((180_000.0..=200_000.0).contains(&latency(now)));
    assert!(latency(now + Duration::from_secs(30)) < 15_000.0);
    pick(&selector).unwrap().failed(crate::balance::Failure::Connect);
    assert!(latency(clock::now()) > 300_000.0, "a member that refuses fast is not fast");
}

#[test]
fn a_client_keeps_its_member_and_mapped_addresses_are_the_same_client() {
    let selector = pool(&[1, 1, 1, 1, 1]).select(&Balance::IpHash);
    let other_instance = pool(&[1, 1, 1, 1, 1]).select(&Balance::IpHash);
    for last in 0..=255 {
        let client = Ipv4Addr::new(192, 0, 2, last);
        let served = by_client(&selector, client);
        assert_eq!(by_client(&selector, client), served);
        assert_eq!(by_client(&selector, client.to_ipv6_mapped()), served);
        assert_eq!(by_client(&other_instance, client), served);
    }
    assert!(!by_client(&selector, Ipv6Addr::LOCALHOST).is_empty());
}

#[test]
fn a_member_that_leaves_moves_only_its_own_keys() {
    let five = pool(&[1, 1, 1, 1, 1]).select(&uri_hash(None));
    let four = pool(&[1, 1, 1, 1, 1]).without(2).select(&uri_hash(None));
    let drained = pool(&[1, 1, 1, 1, 1]).select(&uri_hash(None));
    drained.pool().set_admin("c", AdminState::Drain);
    let mut moved = HashMap::new();
    for key in 0..10_000 {
        let uri = format!("/v1/chat?{key}");
        let (before, after) = (by_uri(&five, &uri), by_uri(&four, &uri));
        assert_eq!(by_uri(&drained, &uri), after, "to be out moves the same keys as to be gone");
        if before != "c" {
            assert_eq!(before, after);
        } else {
            *moved.entry(after).or_insert(0) += 1;
        }
    }
    let all: i32 = moved.values().sum();
    assert!((1_600..2_400).contains(&all), "{all} of 10000 moved, a fifth is 2000");
    assert!(moved.len() == 4 && moved.values().all(|n| *n > all / 10), "to all the others: {moved:?}");
}

#[test]
fn a_ring_honours_weights() {
    for (weights, light) in [([9, 1], 1_000_usize), ([900, 100], 1_000), ([1000, 333], 2_498)] {
        let selector = pool(&weights).select(&uri_hash(None));
        let served: Vec<String> = (0..10_000).map(|key| by_uri(&selector, &format!("/{key}"))).collect();
        let got = count(&served)["b"];
        assert!(got.abs_diff(light) < light / 4, "{weights:?}: {got} of 10000, wanted about {light}");
    }
}

#[test]
fn a_header_is_hashed_and_without_it_there_is_another_way() {
    let name = HeaderName::from_static("x-session");
    let by_header = |selector: &Selector, value: Option<&'static str>, client: [u8; 4]| {
        let value = value.map(|value| (name.clone(), HeaderValue::from_static(value)));
        let headers = HeaderMap::from_iter(value);
        let request = PickRequest { client: client.into(), path_and_query: "/", headers: &headers, tokens: 0 };
        selector.pick(&request, &[]).unwrap().member.name.to_string()
    };
    let distinct = |served: Vec<String>| count(&served).len();
    let hashed = pool(&[1, 1, 1]).select(&Balance::HeaderHash(name.clone()));
    let ring =
        pool(&[1, 1, 1]).select(&Balance::ConsistentHash { key: HashKey::Header(name.clone()), bound_percent: None });
    for selector in [&hashed, &ring] {
        assert_eq!(distinct((0..9).map(|n| by_header(selector, Some("alice"), [n; 4])).collect()), 1);
        assert_eq!(distinct((0..99).map(|n| by_header(selector, None, [n; 4])).collect()), 3);
    }
    assert_eq!(distinct((0..9).map(|_| by_header(&hashed, None, [1; 4])).collect()), 3, "round robin");
    assert_eq!(distinct((0..9).map(|_| by_header(&ring, None, [1; 4])).collect()), 1, "the client");
}

#[test]
fn a_bounded_load_never_exceeds_its_part() {
    for weights in [[1, 1, 1, 1], [4, 1, 1, 2]] {
        let total: u32 = weights.iter().sum();
        let selector = pool(&weights).select(&uri_hash(Some(25)));
        let mut held = Vec::new();
        for requests in 1..=400_u32 {
            held.push(pick(&selector).unwrap());
            for (member, weight) in selector.pool().members().iter().zip(weights) {
                let most = (125 * requests * weight).div_ceil(100 * total);
                assert!(member.state.in_flight() <= most, "{} of {requests}", member.state.in_flight());
            }
        }
        let first = held[0].member.index;
        let full = (125 * 400 * weights[first]).div_ceil(100 * total);
        assert_eq!(selector.pool().members()[first].state.in_flight(), full, "its own member is full first");
    }
}

#[test]
fn an_unusual_pool_is_no_trouble_for_any_policy() {
    let header = Balance::HeaderHash(HeaderName::from_static("x-session"));
    let all = [
        Balance::RoundRobin,
        Balance::Random,
        Balance::LeastRequests,
        Balance::LeastTokens,
        Balance::PeakEwma,
        Balance::IpHash,
        header,
        uri_hash(None),
        uri_hash(Some(0)),
    ];
    for balance in &all {
        assert_eq!(pick(&pool(&[]).select(balance)).unwrap_err(), NoPick::NoMember);
        assert_eq!(pick(&pool(&[0, 0]).select(balance)).unwrap_err(), NoPick::NoMember);
        assert_eq!(names(&pool(&[0, 1000]).select(balance), 3, clock::now()), ["b"; 3]);
        assert_eq!(names(&pool(&[0, 1]).backup(1).select(balance), 3, clock::now()), ["b"; 3]);
        let crowd = pool(&[1; 100]).cap(1).select(balance);
        let held: Vec<Pick> = (0..100).map(|_| pick(&crowd).unwrap()).collect();
        assert_eq!(pick(&crowd).unwrap_err(), NoPick::AllBusy, "{balance:?}");
        drop(held);
    }
}
