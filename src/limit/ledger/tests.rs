use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::*;
use crate::auth::{Caller, CallerKind, Permissions};
use crate::clock;
use crate::config::limit::{Budget, Calendar, Limit, LimitKey, Period, Window};
use crate::limit::{Asked, Estimate, Keeper, Limits, Refusal, Reserved, RouteLimits, Spent};
use crate::observe::Identity;
use crate::observe::metrics::Metrics;

/// 1,000 tokens and 500 millionths of a dollar in a month: in the time of a test, nothing comes back.
fn limit(name: &str) -> Limit {
    let month = || Window::Calendar(Calendar { period: Period::Month, zone: jiff::tz::TimeZone::UTC });
    Limit {
        name: name.into(),
        key: LimitKey::ApiKey,
        rate: None,
        concurrency: None,
        tokens: Some(Budget { units: 1_000, window: month() }),
        cost: Some(Budget { units: 500, window: month() }),
        enforced: true,
        headers: true,
        max_entries: 1_000,
        overrides: Vec::new(),
    }
}

/// A process with limits, which keeps them in a folder.
struct Process {
    route: RouteLimits,
    keeper: Option<Keeper>,
    limits: Limits,
    metrics: Metrics,
}

fn start(path: &Path, limits: &[Limit]) -> Process {
    start_after(path, limits, false)
}

/// `follows`: a process that goes on working.
fn start_after(path: &Path, limits: &[Limit], follows: bool) -> Process {
    let metrics = Metrics::new(&Identity { instance_id: "gw-1".into(), version: "0.1.0".into() });
    let all = Limits::default();
    let keeper = all.keep_in(path, follows, &metrics).unwrap();
    let limiters = limits.iter().map(|limit| all.limiter(&Arc::new(limit.clone()), &metrics)).collect();
    let route = RouteLimits::new(&"r".into(), limiters, &metrics).unwrap();
    Process { route, keeper: Some(keeper), limits: all, metrics }
}

impl Process {
    fn reserve(&self, caller: &str, tokens: u64, cost: u64) -> Result<Reserved, Refusal> {
        self.ask(caller, Estimate { tokens, cost }, &mut Vec::new())
    }

    fn ask(
        &self,
        caller: &str,
        estimate: Estimate,
        fields: &mut Vec<(HeaderName, HeaderValue)>,
    ) -> Result<Reserved, Refusal> {
        let caller = Caller::new(CallerKind::ApiKey, caller.into(), Permissions::default());
        let (client, headers) = (IpAddr::from([10, 0, 0, 1]), HeaderMap::new());
        let asked = Asked { client, caller: Some(&caller), model: None, headers: &headers };
        self.route.reserve(&asked, estimate, clock::now(), fields, None).map_err(|refused| refused.why)
    }

    fn spend(&self, caller: &str, tokens: u64, cost: u64) {
        self.reserve(caller, tokens, cost).unwrap().settle(Spent { tokens, cost });
    }

    /// Whether exactly so much is left for `caller` of the first limit.
    fn has_left(&self, caller: &str, tokens: u64, cost: u64) -> bool {
        let mut fields = Vec::new();
        drop(self.ask(caller, Estimate::default(), &mut fields));
        let told = fields.iter().find(|(name, _)| name == "ratelimit").unwrap().1.to_str().unwrap();
        let mut left = told.split(", ").map(|item| item.split(';').nth(1).unwrap().trim_start_matches("r=").parse());
        (left.next(), left.next()) == (Some(Ok(tokens)), Some(Ok(cost)))
    }

    fn end(mut self) {
        self.keeper.take().unwrap().end();
    }
}

/// A process that is started with the files as they are once `done` holds of it: as when the first is killed then. It gets
/// the state that the first had at its start: what came since has to be in the journal.
fn killed_when(path: &Path, limits: &[Limit], state: &[u8], done: impl Fn(&Process) -> bool) -> Process {
    for _ in 0..1_000 {
        let copy = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(path).unwrap().flatten() {
            // One that is gone meanwhile is one of an older generation.
            let _ = fs::copy(entry.path(), copy.path().join(entry.file_name()));
        }
        fs::write(copy.path().join("limits.state"), state).unwrap();
        let process = start(copy.path(), limits);
        if done(&process) {
            return process;
        }
        drop(process);
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("it never came to be so");
}

fn state_of(path: &Path) -> Vec<u8> {
    fs::read(path.join("limits.state")).unwrap()
}

#[test]
fn budgets_go_on_after_a_restart_for_the_same_callers() {
    let directory = tempfile::tempdir().unwrap();
    let first = start(directory.path(), &[limit("a")]);
    first.spend("one", 300, 50);
    first.spend("two", 10, 1);
    first.end();
    let second = start(directory.path(), &[limit("a")]);
    assert!(
        second.has_left("one", 700, 450) && second.has_left("two", 990, 499) && second.has_left("three", 1_000, 500)
    );
    second.spend("one", 100, 0);
    second.end();
    let third = start(directory.path(), &[limit("a"), limit("b")]);
    assert!(third.has_left("one", 600, 450));
}

#[test]
fn a_kill_loses_nothing_that_was_noted_and_gives_nothing_away() {
    let directory = tempfile::tempdir().unwrap();
    let first = start(directory.path(), &[limit("a")]);
    let state = state_of(directory.path());
    first.spend("one", 300, 50);
    let open = first.reserve("one", 200, 20).unwrap();
    killed_when(directory.path(), &[limit("a")], &state, |after| after.has_left("one", 500, 430));
    drop(open);
    killed_when(directory.path(), &[limit("a")], &state, |after| after.has_left("one", 700, 450));
}

#[test]
fn a_ledger_that_is_killed_over_and_over_goes_on_each_time() {
    let mut directory = tempfile::tempdir().unwrap();
    for round in 1..=8 {
        let process = start(directory.path(), &[limit("a")]);
        let state = state_of(directory.path());
        process.spend("one", 10, 5);
        let after = killed_when(directory.path(), &[limit("a")], &state, |after| {
            after.has_left("one", 1_000 - 10 * round, 500 - 5 * round)
        });
        after.end();
        process.end();
        let next = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(directory.path()).unwrap().flatten() {
            fs::copy(entry.path(), next.path().join(entry.file_name())).unwrap();
        }
        directory = next;
    }
}

#[test]
fn a_budget_of_another_name_or_key_begins_anew_and_one_of_another_size_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let first = start(directory.path(), &[limit("a")]);
    first.spend("one", 300, 50);
    first.end();
    let mut larger = limit("a");
    larger.tokens.as_mut().unwrap().units = 2_000;
    let second = start(directory.path(), &[larger.clone()]);
    assert!(second.has_left("one", 1_700, 450));
    second.end();
    let by_address = Limit { key: LimitKey::ClientIp { ipv6_prefix: 64 }, ..larger.clone() };
    let third = start(directory.path(), &[by_address]);
    assert!(third.has_left("one", 2_000, 500));
    third.end();
    let fourth = start(directory.path(), &[larger]);
    assert!(fourth.has_left("one", 2_000, 500), "what no limit was there for is forgotten");
}

#[test]
fn who_has_a_budget_of_its_own_finds_it_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let first = start(directory.path(), &[limit("a")]);
    first.spend("one", 300, 50);
    first.spend("two", 300, 50);
    first.end();
    let mut larger = limit("a");
    larger.tokens.as_mut().unwrap().units = 5_000;
    let named = Limit { overrides: vec![("one".into(), Arc::new(larger))], ..limit("a") };
    let second = start(directory.path(), &[named]);
    assert!(second.has_left("one", 4_700, 450) && second.has_left("two", 700, 450));
}

#[test]
fn a_limit_that_a_reload_brings_finds_what_it_had() {
    let directory = tempfile::tempdir().unwrap();
    let first = start(directory.path(), &[limit("a"), limit("b")]);
    first.spend("one", 300, 50);
    first.end();
    let second = start(directory.path(), &[limit("a")]);
    let limiter = second.limits.limiter(&Arc::new(limit("b")), &second.metrics);
    let route = RouteLimits::new(&"r".into(), vec![limiter], &second.metrics).unwrap();
    assert!(Process { route, ..second }.has_left("one", 700, 450));
}

#[test]
fn what_changes_while_a_state_is_collected_is_not_lost() {
    let directory = tempfile::tempdir().unwrap();
    let opened = Keeper::open(directory.path(), false).unwrap();
    let saved = |spent| Saved { spent, pending: 0, at: 7 };
    let ledger = Arc::clone(&opened.ledger);
    let accounts = move |show: &mut dyn FnMut(Record)| {
        show(Record { meter: 1, key: 2, saved: saved(10) });
        ledger.note(1, 2, Moved::default(), || saved(11));
    };
    opened.start(Box::new(accounts), Arc::default()).unwrap().end();
    assert_eq!(Keeper::open(directory.path(), false).unwrap().ledger.claim(1), [(2, saved(11))]);
}

#[test]
fn more_notes_than_may_wait_are_made_up_for_by_a_state() {
    let notes = Notes::default();
    for key in 0..MAX_NOTES as u64 + 10 {
        notes.put(Record { meter: 1, key, saved: Saved { spent: key, pending: 0, at: 0 } }, Moved::default());
    }
    notes.put(Record { meter: 1, key: 3, saved: Saved { spent: 77, pending: 0, at: 0 } }, Moved::default());
    let woken = notes.wait(Duration::ZERO);
    assert_eq!((woken.notes.len(), woken.overflowed), (MAX_NOTES, true));
    assert_eq!(woken.notes.get(&(1, 3)).unwrap().spent, 77, "the last of an account holds");
    assert!(!notes.wait(Duration::ZERO).overflowed);
}

#[test]
fn accounts_are_counted_on_when_the_disk_is_gone() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("state");
    let process = start(&path, &[limit("a")]);
    process.spend("one", 100, 10);
    fs::remove_dir_all(&path).unwrap();
    process.spend("one", 100, 10);
    assert!(process.has_left("one", 800, 480));
    process.end();
    let again = start(&path, &[limit("a")]);
    assert!(again.has_left("one", 1_000, 500), "nothing was left to go on with");
}

#[test]
fn threads_that_spend_while_states_are_written_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let process = start(directory.path(), &[limit("a")]);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let process = &process;
            scope.spawn(move || {
                for n in 0..200 {
                    process.spend(&format!("key-{}", (thread + n) % 5), 1, 0);
                }
            });
        }
    });
    process.end();
    let names = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap());
    let journals: Vec<_> = names.filter(|entry| entry.file_name().to_string_lossy().contains("journal")).collect();
    assert_eq!(journals.len(), 1, "{journals:?}");
    assert!(journals[0].metadata().unwrap().len() < 100, "what is in the state is in no journal any more");
    let after = start(directory.path(), &[limit("a")]);
    for n in 0..5 {
        assert!(after.has_left(&format!("key-{n}"), 840, 500));
    }
}

#[test]
fn a_process_that_takes_over_charges_what_the_one_before_still_does() {
    let directory = tempfile::tempdir().unwrap();
    let mut first = start(directory.path(), &[limit("a")]);
    first.spend("one", 100, 10);
    let (under_way, never_settled) = (first.reserve("one", 300, 30).unwrap(), first.reserve("one", 50, 5).unwrap());
    let paused = first.keeper.take().unwrap().hand_over().unwrap();
    let second = start_after(directory.path(), &[limit("a")], true);
    assert!(second.has_left("one", 550, 455), "what is set aside stays set aside");
    first.spend("one", 7, 1);
    first.spend("another", 20, 2);
    under_way.settle(Spent { tokens: 120, cost: 12 });
    for (meter, key, moved) in paused.moves() {
        second.limits.follow(meter, key, moved);
    }
    assert!(second.has_left("one", 1_000 - 100 - 7 - 120 - 50, 500 - 10 - 1 - 12 - 5));
    assert!(second.has_left("another", 980, 498));
    assert_eq!(paused.moves(), [], "each is told once");
    second.limits.follow_no_more();
    drop(never_settled);
    assert!(second.has_left("one", 723, 472), "what it left behind counts as used");
    second.end();
    assert!(start(directory.path(), &[limit("a")]).has_left("one", 723, 472));
}

#[test]
fn a_process_whose_successor_fails_keeps_its_budgets_on() {
    let directory = tempfile::tempdir().unwrap();
    let mut first = start(directory.path(), &[limit("a")]);
    first.spend("one", 100, 10);
    let paused = first.keeper.take().unwrap().hand_over().unwrap();
    let second = start_after(directory.path(), &[limit("a")], true);
    first.spend("one", 100, 10);
    first.keeper = Some(paused.resume(directory.path()).unwrap());
    first.spend("one", 100, 10);
    second.end();
    killed_when(directory.path(), &[limit("a")], &state_of(directory.path()), |third| third.has_left("one", 700, 470));
    first.end();
    assert!(start(directory.path(), &[limit("a")]).has_left("one", 700, 470));
}
