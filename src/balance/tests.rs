//! Pools as a whole: building, admin states, ejection, panic mode, caps, and the guard. The builder here serves the
//! tests of the submodules too.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use http::HeaderMap;
use proptest::prelude::*;

use super::*;
use crate::balance::member::{CheckResult, Health};
use crate::config::Balance;

/// A pool under test. Its members are `a`, `b`, `c` ... on 10.0.0.1:80, 10.0.0.2:80 ...
pub(super) struct Builder {
    pub(super) config: config::Pool,
    live: Arc<Live>,
}

/// A pool of members with these weights.
pub(super) fn pool(weights: &[u32]) -> Builder {
    let member = |(index, weight): (usize, &u32)| config::Member {
        name: name(index).into(),
        address: config::MemberAddress::Socket(address(index)),
        weight: *weight,
        backup: false,
    };
    let second = Duration::from_secs(1);
    let config = config::Pool {
        name: "pool".into(),
        members: weights.iter().enumerate().map(member).collect(),
        balance: Balance::RoundRobin,
        health_check: None,
        outlier: None,
        max_requests_per_member: None,
        slow_start: Duration::ZERO,
        timeouts: config::UpstreamTimeouts {
            connect: second,
            first_byte: second,
            idle: second,
            write: second,
            keepalive: second,
        },
        retry: config::Retry {
            attempts: 1,
            on: config::RetryOn { connect_failure: true, reset: true, timeout: false, statuses: Vec::new() },
            budget_percent: 20,
            non_idempotent: false,
        },
        tls: None,
        http2: false,
        resolve_interval: second,
    };
    Builder { config, live: Arc::default() }
}

impl Builder {
    pub(super) fn backup(mut self, index: usize) -> Self {
        self.config.members[index].backup = true;
        self
    }

    pub(super) fn without(mut self, index: usize) -> Self {
        self.config.members.remove(index);
        self
    }

    pub(super) fn cap(mut self, cap: u32) -> Self {
        self.config.max_requests_per_member = Some(cap);
        self
    }

    pub(super) fn slow_start(mut self, seconds: u64) -> Self {
        self.config.slow_start = Duration::from_secs(seconds);
        self
    }

    pub(super) fn outlier(mut self, max_fails: u32, max_ejected_percent: u32, panic_percent: u32) -> Self {
        self.config.outlier = Some(config::Outlier {
            max_fails,
            fail_timeout: Duration::from_secs(30),
            max_ejection: Duration::from_secs(300),
            max_ejected_percent,
            panic_percent,
        });
        self
    }

    pub(super) fn checked(mut self, check: config::HealthCheck) -> Self {
        self.config.health_check = Some(check);
        self
    }

    /// Uses the live state of another pool under test: this is a reload of that one.
    pub(super) fn reload_of(mut self, other: &Self) -> Self {
        self.live = other.live.clone();
        self
    }

    pub(super) fn build(&self) -> Arc<Pool> {
        Pool::build(&Arc::new(self.config.clone()), |_| Vec::new(), &self.live)
    }

    pub(super) fn select(&self, balance: &Balance) -> Selector {
        Selector::new(balance, self.build())
    }
}

pub(super) fn name(index: usize) -> String {
    char::from(b'a' + u8::try_from(index).unwrap()).to_string()
}

fn address(index: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, u8::try_from(index).unwrap() + 1], 80))
}

/// A check for tests that run none.
pub(super) fn tcp_check(fall: u32, rise: u32) -> config::HealthCheck {
    let (interval, timeout) = (Duration::from_secs(5), Duration::from_secs(2));
    config::HealthCheck { kind: config::CheckKind::Tcp, interval, timeout, fall, rise, jitter_percent: 0, port: None }
}

/// Picks with nothing special about the request.
pub(super) fn pick(selector: &Selector) -> Result<Pick, NoPick> {
    pick_at(selector, &[], clock::now())
}

pub(super) fn pick_at(selector: &Selector, tried: &[usize], now: Instant) -> Result<Pick, NoPick> {
    selector.pick_at(&request(&HeaderMap::new(), 0), tried, Some(now))
}

/// Picks for a request of that many tokens.
pub(super) fn pick_for(selector: &Selector, tokens: u64) -> Result<Pick, NoPick> {
    selector.pick(&request(&HeaderMap::new(), tokens), &[])
}

/// A request with nothing special about it but these.
pub(super) fn request(headers: &HeaderMap, tokens: u64) -> PickRequest<'_> {
    PickRequest { client: IpAddr::V4(Ipv4Addr::LOCALHOST), path_and_query: "/", headers, tokens }
}

/// The names of the members that `count` requests go to, one after the other.
pub(super) fn names(selector: &Selector, count: usize, now: Instant) -> Vec<String> {
    let name =
        |_| pick_at(selector, &[], now).map_or_else(|none| format!("{none:?}"), |pick| pick.member.name.to_string());
    (0..count).map(name).collect()
}

/// Lets a request to this member fail.
fn fail(selector: &Selector, index: usize, now: Instant) {
    let all: Vec<usize> = (0..selector.pool().members().len()).filter(|other| *other != index).collect();
    pick_at(selector, &all, now).unwrap().failed_at(Failure::Connect, now);
}

fn check(member: &Member, good: bool) -> Option<Health> {
    let error = (!good).then(|| "status 503".to_owned());
    member.state.record_check(CheckResult { at: clock::now(), duration: Duration::ZERO, error }, 2, 3)
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn a_host_name_with_several_addresses_gives_several_members() {
    let mut builder = pool(&[1]);
    builder.config.members[0].address = config::MemberAddress::Host { host: "db.local".into(), port: 80 };
    builder.config.members[0].name = "db.local:80".into();
    let build = |count| {
        let addresses = move |_: &config::Member| (0..count).map(|i| Address::Inet(address(i))).collect();
        Pool::build(&Arc::new(builder.config.clone()), addresses, &builder.live)
    };
    let names = |pool: &Pool| pool.members().iter().map(|m| m.name.to_string()).collect::<Vec<_>>();
    assert_eq!(names(&build(2)), ["db.local:80@10.0.0.1", "db.local:80@10.0.0.2"]);
    assert_eq!(names(&build(1)), ["db.local:80"]);
    assert!(!build(0).has_usable_member());
    assert_eq!(build(1).members()[0].host.as_deref(), Some("db.local"));
}

#[test]
fn a_new_address_of_a_drained_host_is_drained_too() {
    let mut builder = pool(&[1]);
    builder.config.members[0].address = config::MemberAddress::Host { host: "db.local".into(), port: 80 };
    let build = |from, to| {
        let addresses = move |_: &config::Member| (from..to).map(|i| Address::Inet(address(i))).collect();
        Pool::build(&Arc::new(builder.config.clone()), addresses, &builder.live)
    };
    let before = build(0, 2);
    before.set_admin(&before.members()[0].name.clone(), AdminState::Drain);
    assert!(build(1, 3).has_usable_member(), "only one of two was drained");
    assert_eq!(before.set_admin("a", AdminState::Drain), 2);
    assert!(!build(2, 4).has_usable_member());
}

#[test]
fn a_member_keeps_its_state_over_a_reload_and_a_forgotten_one_starts_anew() {
    let first = pool(&[1, 1]);
    let before = first.select(&Balance::RoundRobin);
    let pick = pick_at(&before, &[1], clock::now()).unwrap();
    before.pool().set_admin("b", AdminState::Maint);
    let after = pool(&[5, 5]).reload_of(&first).build();
    assert_eq!(after.members()[0].state.in_flight(), 1);
    assert_eq!(after.members()[1].state.admin(), AdminState::Maint);
    drop((pick, before, after));
    first.live.retain();
    assert_eq!(first.build().members()[1].state.admin(), AdminState::Ready);
}

#[test]
fn drain_and_maint_take_no_new_requests_and_let_those_in_flight_finish() {
    let selector = pool(&[1, 1]).select(&Balance::RoundRobin);
    let in_flight = pick_at(&selector, &[1], clock::now()).unwrap();
    assert_eq!(selector.pool().set_admin("a", AdminState::Drain), 1);
    assert_eq!(names(&selector, 4, clock::now()), ["b"; 4]);
    assert!(!selector.pool().sample().members[0].drained);
    drop(in_flight);
    assert!(selector.pool().sample().members[0].drained);
    selector.pool().set_admin("b", AdminState::Maint);
    assert_eq!(pick(&selector).unwrap_err(), NoPick::NoMember);
    assert!(!selector.pool().has_usable_member());
    assert_eq!(selector.pool().set_admin("nobody", AdminState::Ready), 0);
    selector.pool().set_admin("a", AdminState::Ready);
    assert_eq!(names(&selector, 2, clock::now()), ["a"; 2]);
}

#[test]
fn a_new_checked_member_waits_for_its_first_good_check() {
    let pool = pool(&[1]).checked(tcp_check(3, 2)).build();
    assert!(!pool.has_usable_member());
    check(&pool.members()[0], false);
    assert_eq!(check(&pool.members()[0], true), Some(Health::Up));
    assert!(pool.has_usable_member());
}

#[test]
fn a_check_newly_configured_takes_no_serving_member_out() {
    let unchecked = pool(&[1]);
    let _serving = unchecked.build();
    let pool = pool(&[1]).checked(tcp_check(3, 2)).reload_of(&unchecked).build();
    assert!(pool.has_usable_member());
    let changes = [false, false, false].map(|good| check(&pool.members()[0], good));
    assert_eq!(changes, [None, None, Some(Health::Down)]);
    assert!(!pool.has_usable_member());
}

#[test]
fn backups_take_over_only_when_no_other_member_is_usable() {
    let selector = pool(&[1, 1, 1]).backup(2).select(&Balance::RoundRobin);
    assert!(!names(&selector, 6, clock::now()).contains(&"c".to_owned()));
    assert_eq!(&*pick_at(&selector, &[0, 1], clock::now()).unwrap().member.name, "c");
    selector.pool().set_admin("a", AdminState::Drain);
    selector.pool().set_admin("b", AdminState::Drain);
    assert_eq!(names(&selector, 3, clock::now()), ["c"; 3]);
}

#[test]
fn busy_members_are_no_reason_for_backups() {
    let selector = pool(&[1, 1]).backup(1).cap(1).select(&Balance::RoundRobin);
    let _busy = pick(&selector).unwrap();
    assert_eq!(pick(&selector).unwrap_err(), NoPick::AllBusy);
    assert!(selector.pool().has_usable_member());
}

#[test]
fn a_request_is_never_given_a_member_that_it_has_tried() {
    let selector = pool(&[1, 1, 0]).select(&Balance::RoundRobin);
    assert_eq!(&*pick_at(&selector, &[0], clock::now()).unwrap().member.name, "b");
    assert_eq!(pick_at(&selector, &[0, 1], clock::now()).unwrap_err(), NoPick::AllTried);
    assert_eq!(pick(&pool(&[0]).select(&Balance::RoundRobin)).unwrap_err(), NoPick::NoMember);
}

#[test]
fn three_failures_within_the_window_eject_until_the_time_is_over() {
    let selector = pool(&[1, 1]).outlier(3, 50, 50).select(&Balance::RoundRobin);
    let start = clock::now();
    fail(&selector, 0, start);
    fail(&selector, 0, start + seconds(29));
    assert!(names(&selector, 4, start + seconds(29)).contains(&"a".to_owned()));
    fail(&selector, 0, start + seconds(30));
    assert_eq!(names(&selector, 4, start + seconds(59)), ["b"; 4]);
    let back = names(&selector, 4, start + seconds(60));
    assert_eq!(back.iter().filter(|name| *name == "a").count(), 2);
    fail(&selector, 0, start + seconds(61));
    assert_eq!(names(&selector, 4, start + seconds(120)), ["b"; 4], "the second ejection lasts twice as long");
    assert!(names(&selector, 4, start + seconds(121)).contains(&"a".to_owned()));
    assert_eq!(selector.pool().members()[0].state.ejections(), 2);
}

#[test]
fn a_failure_of_a_request_from_before_the_ejection_does_not_prolong_it() {
    let selector = pool(&[1, 1]).outlier(1, 50, 50).select(&Balance::RoundRobin);
    let start = clock::now();
    let mut slow = pick_at(&selector, &[1], start).unwrap();
    fail(&selector, 0, start);
    slow.failed_at(Failure::Timeout, start + seconds(31));
    assert!(names(&selector, 4, start + seconds(31)).contains(&"a".to_owned()));
}

#[test]
fn statuses_below_500_never_eject() {
    let selector = pool(&[1, 1]).outlier(1, 50, 50).select(&Balance::RoundRobin);
    let now = clock::now();
    pick_at(&selector, &[1], now).unwrap().failed_at(Failure::Status(429), now);
    assert_eq!(selector.pool().members()[0].state.successes(), 1);
    assert_eq!(selector.pool().members()[0].state.ejections(), 0);
    pick_at(&selector, &[1], now).unwrap().failed_at(Failure::Status(503), now);
    assert_eq!(selector.pool().members()[0].state.ejections(), 1);
}

#[test]
fn only_a_share_is_ejected_and_a_single_member_never() {
    let ejected = |weights: &[u32], percent| {
        let selector = pool(weights).outlier(1, percent, 0).select(&Balance::RoundRobin);
        let now = clock::now();
        for index in (0..weights.len()).filter(|index| weights[*index] > 0) {
            fail(&selector, index, now);
        }
        selector.pool().members().iter().filter(|m| m.state.ejected_for(now).is_some()).count()
    };
    assert_eq!(ejected(&[1], 100), 0);
    assert_eq!(ejected(&[1, 1], 50), 1);
    assert_eq!(ejected(&[1, 1], 10), 1, "one of several may always go");
    assert_eq!(ejected(&[1, 1, 1, 1, 1], 50), 2);
    assert_eq!(ejected(&[1, 1, 1, 1], 100), 4);
    assert_eq!(ejected(&[1, 1], 0), 0);
    assert_eq!(ejected(&[1, 0], 100), 0, "a member without weight does not count");
}

#[test]
fn the_last_member_that_is_not_drained_is_never_ejected() {
    let selector = pool(&[1, 1]).outlier(1, 100, 0).select(&Balance::RoundRobin);
    selector.pool().set_admin("b", AdminState::Drain);
    fail(&selector, 0, clock::now());
    assert_eq!(names(&selector, 2, clock::now()), ["a"; 2]);
}

#[test]
fn panic_mode_brings_back_the_ejected_but_not_those_that_are_down() {
    let selector = pool(&[1, 1, 1, 1]).outlier(1, 50, 50).checked(tcp_check(1, 1)).select(&Balance::RoundRobin);
    let members = selector.pool().members();
    members.iter().for_each(|member| {
        check(member, true);
    });
    let now = clock::now();
    fail(&selector, 0, now);
    fail(&selector, 1, now);
    let served = |selector| names(selector, 12, now).into_iter().collect::<std::collections::BTreeSet<_>>();
    assert!(served(&selector).iter().eq(["c", "d"]), "two of four is not below half");
    (0..3).for_each(|_| {
        check(&members[3], false);
    });
    assert!(served(&selector).iter().eq(["a", "b", "c"]), "one of four is: {:?}", served(&selector));
    assert!(selector.pool().sample().panicking);
}

#[test]
fn without_outlier_settings_an_old_ejection_counts_no_more() {
    let first = pool(&[1, 1]).outlier(1, 50, 50);
    let before = first.select(&Balance::RoundRobin);
    fail(&before, 0, clock::now());
    let after = pool(&[1, 1]).reload_of(&first).select(&Balance::RoundRobin);
    assert!(names(&after, 2, clock::now()).contains(&"a".to_owned()));
}

#[test]
fn a_member_that_comes_back_gets_a_growing_share() {
    for (balance, tolerance) in [(Balance::RoundRobin, 1), (Balance::Random, 90)] {
        let selector = pool(&[1, 1]).slow_start(90).select(&balance);
        let now = clock::now();
        let share = |at| names(&selector, 1100, at).iter().filter(|name| *name == "a").count();
        assert!(share(now).abs_diff(550) <= tolerance, "none for a member that never was away");
        selector.pool().members()[0].state.set_admin(AdminState::Drain, now);
        selector.pool().members()[0].state.set_admin(AdminState::Ready, now);
        assert!(share(now).abs_diff(100) <= tolerance, "a tenth of the other's");
        assert!(share(now + seconds(45)).abs_diff(390) <= tolerance, "0.55 of the other's");
        assert!(share(now + seconds(90)).abs_diff(550) <= tolerance);
    }
}

#[test]
fn the_cap_is_never_exceeded_by_many_threads() {
    for balance in plain_policies() {
        let selector = pool(&[1, 1, 3]).cap(2).select(&balance);
        let given = AtomicU32::new(0);
        let work = || {
            for _ in 0..2_000 {
                if let Ok(mut pick) = pick(&selector) {
                    given.fetch_add(1, SeqCst);
                    assert!(pick.member.state.in_flight() <= 2);
                    std::thread::yield_now();
                    pick.succeeded(Duration::from_millis(1));
                }
            }
        };
        std::thread::scope(|scope| (0..8).for_each(|_| drop(scope.spawn(work))));
        let states = selector.pool().members().iter().map(|m| &m.state);
        assert_eq!(states.clone().map(|s| s.in_flight()).sum::<u32>(), 0);
        assert_eq!(states.map(|s| s.requests()).sum::<u64>(), u64::from(given.into_inner()));
    }
}

#[test]
fn a_full_pool_says_so_and_an_empty_place_is_found() {
    let selector = pool(&[1, 1]).cap(2).select(&Balance::Random);
    let mut held: Vec<Pick> = (0..4).map(|_| pick(&selector).unwrap()).collect();
    assert_eq!(pick(&selector).unwrap_err(), NoPick::AllBusy);
    let freed = held.pop().unwrap().member.name.clone();
    assert_eq!(pick(&selector).unwrap().member.name, freed);
}

/// The policies without arguments.
fn plain_policies() -> [Balance; 6] {
    use Balance::{IpHash, LeastRequests, LeastTokens, PeakEwma, Random, RoundRobin};
    [RoundRobin, Random, LeastRequests, LeastTokens, PeakEwma, IpHash]
}

#[derive(Debug, Clone)]
enum Step {
    Pick(Vec<usize>),
    Succeed(usize),
    Fail(usize, u16),
    Drop(usize),
    Admin(usize, bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => proptest::collection::vec(0..4_usize, 0..3).prop_map(Step::Pick),
        2 => any::<usize>().prop_map(Step::Succeed),
        2 => (any::<usize>(), 400..600_u16).prop_map(|(index, status)| Step::Fail(index, status)),
        2 => any::<usize>().prop_map(Step::Drop),
        1 => (0..4_usize, any::<bool>()).prop_map(|(index, ready)| Step::Admin(index, ready)),
    ]
}

fn balance() -> impl Strategy<Value = Balance> {
    let bounded = Balance::ConsistentHash { key: config::HashKey::Uri, bound_percent: Some(25) };
    proptest::sample::select(plain_policies().into_iter().chain([bounded]).collect::<Vec<_>>())
}

proptest! {
    #[test]
    fn whatever_happens_in_flight_is_the_number_of_living_picks(
        steps in proptest::collection::vec(step(), 1..200), balance in balance(),
    ) {
        let selector = pool(&[1, 2, 3, 1]).backup(3).cap(5).outlier(2, 50, 50).select(&balance);
        let mut living: Vec<Pick> = Vec::new();
        for step in steps {
            let place = |index: usize, living: &[Pick]| (!living.is_empty()).then(|| index % living.len());
            match step {
                Step::Pick(tried) => {
                    if let Ok(pick) = pick_at(&selector, &tried, clock::now()) {
                        prop_assert!(!tried.contains(&pick.member.index));
                        prop_assert_eq!(pick.member.state.admin(), AdminState::Ready);
                        living.push(pick);
                    }
                }
                Step::Succeed(index) => if let Some(at) = place(index, &living) {
                    living[at].succeeded(Duration::from_millis(3));
                },
                Step::Fail(index, status) => if let Some(at) = place(index, &living) {
                    living[at].failed(Failure::Status(status));
                },
                Step::Drop(index) => if let Some(at) = place(index, &living) {
                    living.swap_remove(at);
                },
                Step::Admin(index, ready) => {
                    let admin = if ready { AdminState::Ready } else { AdminState::Drain };
                    selector.pool().set_admin(&name(index), admin);
                }
            }
            for member in selector.pool().members() {
                let alive = living.iter().filter(|pick| pick.member.index == member.index).count();
                prop_assert_eq!(member.state.in_flight() as usize, alive);
                prop_assert!(alive <= 5);
            }
        }
        living.clear();
        for member in selector.pool().members() {
            let failures = member.state.failures().iter().sum::<u64>();
            prop_assert_eq!(member.state.in_flight(), 0);
            prop_assert!(member.state.successes() + failures <= member.state.requests(), "reports count once");
        }
    }
}
