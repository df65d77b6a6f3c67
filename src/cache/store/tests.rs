use http::{HeaderValue, StatusCode};

use super::super::freshness::Freshness;
use super::super::key::Asked;
use super::super::stored::Head;
use super::*;
use crate::clock;
use crate::config::cache::CacheRules;
use crate::observe::Identity;
use crate::observe::metrics::Metrics;

fn store(max_entries: u64, max_bytes: u64) -> Arc<Store> {
    let metrics = Metrics::new(&Identity { instance_id: "test".to_owned(), version: "0".to_owned() });
    let config = Cache {
        name: "web".into(),
        max_entries,
        max_bytes,
        max_object: max_bytes,
        coalesce_timeout: Duration::from_secs(5),
        tag_headers: Vec::new(),
        rules: CacheRules::default(),
    };
    Arc::new(Store::new(Arc::new(config), metrics.cache("web")))
}

fn key(path: &str) -> Key {
    let headers = HeaderMap::new();
    Asked { route: "r", https: false, host: "h", path, query: None, caller: None, headers: &headers }.key(&[])
}

fn answer(path: &str, tag: &str, bytes: usize) -> Stored {
    let (received, received_wall) = (clock::now(), clock::wall());
    let head = Head { status: StatusCode::OK, reason: None, headers: HeaderMap::new(), received, received_wall };
    let freshness = Freshness {
        lifetime: Duration::from_secs(60),
        initial_age: Duration::ZERO,
        no_stale: false,
        while_revalidate: Duration::ZERO,
        if_error: Duration::ZERO,
        if_disconnected: Duration::ZERO,
        unstored: Vec::new(),
    };
    Stored::new(head, vec![b'x'; bytes].into(), format!("//h{path}").into(), vec![tag.into()], freshness)
}

fn put(store: &Store, path: &str, tag: &str) {
    let ticket = store.ticket();
    store.put(&key(path), &[], &HeaderMap::new(), answer(path, tag, 10), ticket);
}

fn has(store: &Store, path: &str) -> bool {
    store.find(key(path), &HeaderMap::new()).stored.is_some()
}

#[test]
fn what_is_invalidated_is_gone_and_so_is_what_was_under_way() {
    let store = store(100, 1 << 20);
    put(&store, "/a", "t");
    put(&store, "/b", "t");
    let ticket = store.ticket();
    store.invalidate("//h/a");
    assert!(!has(&store, "/a") && has(&store, "/b"));
    store.put(&key("/a"), &[], &HeaderMap::new(), answer("/a", "t", 10), ticket);
    assert!(!has(&store, "/a"), "it was asked for before");
    put(&store, "/a", "t");
    assert!(has(&store, "/a"));
}

#[test]
fn a_purge_takes_what_it_names_and_keeps_out_what_is_under_way() {
    let store = store(100, 1 << 20);
    for (path, tag) in [("/a/1", "red"), ("/a/2", "blue"), ("/b/1", "red"), ("/c", "blue")] {
        put(&store, path, tag);
    }
    let ticket = store.ticket();
    assert_eq!(store.purge(&Purge::url("http://H:80/c").unwrap()), 1);
    assert_eq!(store.purge(&Purge::prefix("/a/").unwrap()), 2);
    assert_eq!(store.purge(&Purge::Tag("red".to_owned())), 1);
    assert_eq!(store.purge(&Purge::All), 0);
    store.put(&key("/d"), &[], &HeaderMap::new(), answer("/d", "t", 10), ticket);
    assert!(!has(&store, "/d"));
    put(&store, "/d", "t");
    assert_eq!(store.purge(&Purge::All), 1);
}

#[test]
fn urls_to_purge_are_read_as_requests_are() {
    assert_eq!(Purge::url("https://H.example:443/%61?b"), Some(Purge::Url("//h.example/a?b".to_owned())));
    assert_eq!(Purge::url("/a/../b"), Some(Purge::Url("/b".to_owned())));
    assert_eq!(Purge::prefix("http://h"), Some(Purge::Prefix("//h/".to_owned())));
    for wrong in ["", "h/a", "ftp://h/a", "http:///a", "//", "/%zz"] {
        assert_eq!(Purge::url(wrong), None, "{wrong}");
    }
}

#[test]
fn variants_are_told_apart_by_the_fields_they_were_chosen_by() {
    let store = store(100, 1 << 20);
    let by = [HeaderName::from_static("accept-language")];
    let request = |language: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert("accept-language", HeaderValue::from_static(language));
        headers
    };
    for language in ["de", "en"] {
        store.put(&key("/"), &by, &request(language), answer("/", language, 10), store.ticket());
    }
    let found = |language| store.find(key("/"), &request(language)).stored.map(|stored| stored.tags[0].clone());
    assert_eq!(found("de").as_deref(), Some("de"));
    assert_eq!(found("EN").as_deref(), Some("en"));
    assert_eq!(found("fr"), None);
    assert!(store.find(key("/"), &HeaderMap::new()).stored.is_none());
    store.invalidate("//h/");
    assert!(found("de").is_none() && found("en").is_none());
}

#[test]
fn both_bounds_hold() {
    let few = store(10, 1 << 20);
    for index in 0..500 {
        put(&few, &format!("/{index}"), "t");
    }
    few.slots.run_pending_tasks();
    assert!(few.slots.entry_count() <= 10, "{}", few.slots.entry_count());
    let small = store(1_000_000, 256 << 10);
    for index in 0..500 {
        let path = format!("/{index}");
        small.put(&key(&path), &[], &HeaderMap::new(), answer(&path, "t", 10_000), small.ticket());
    }
    small.slots.run_pending_tasks();
    let held: usize = small.slots.iter().map(|(key, slot)| key.weight() + slot.weight()).sum();
    assert!(held <= 256 << 10 && held > 100 << 10, "{held}");
}

#[test]
fn one_fetch_is_led_and_others_follow_until_it_ends() {
    let store = store(10, 1 << 20);
    let Some(Joined::Leads(filler, _reader)) = store.join(&key("/"), "//h/") else { panic!("nobody else is there") };
    assert!(matches!(store.join(&key("/"), "//h/"), Some(Joined::Follows(_))));
    assert!(matches!(store.join(&key("/b"), "//h/b"), Some(Joined::Leads(..))));
    filler.finish(Ok(()), None);
    assert!(matches!(store.join(&key("/"), "//h/"), Some(Joined::Leads(..))));
}

#[test]
fn bodies_under_way_are_bounded_one_by_one_and_all_together() {
    let store = store(10, 1000);
    let mut one = store.coming_in();
    assert!(one.add(900) && !one.add(200), "more than an entry may have");
    let mut other = store.coming_in();
    assert!(!other.add(1), "more than the cache holds");
    drop(one);
    assert!(other.add(900));
}

#[test]
fn a_fetch_from_before_an_invalidation_or_a_purge_takes_nobody_in() {
    let store = store(10, 1 << 20);
    let first = store.join(&key("/"), "//h/");
    assert!(matches!(first, Some(Joined::Leads(..))));
    store.invalidate("//h/");
    let second = store.join(&key("/"), "//h/");
    assert!(matches!(second, Some(Joined::Leads(..))), "what was asked before is not for who asks after");
    assert!(matches!(store.join(&key("/"), "//h/"), Some(Joined::Follows(_))));
    drop(first);
    assert!(matches!(store.join(&key("/"), "//h/"), Some(Joined::Follows(_))), "the old one closes nothing of the new");
    store.purge(&Purge::All);
    assert!(matches!(store.join(&key("/"), "//h/"), Some(Joined::Leads(..))));
}

#[test]
fn large_answers_leave_as_soon_as_the_bound_is_passed() {
    let store = store(1000, 8 << 20);
    for n in 0..100 {
        let path = format!("/{n}");
        let answer = answer(&path, "t", 1 << 20);
        store.put(&key(&path), &[], &HeaderMap::new(), answer, store.ticket());
    }
    assert!(store.metrics().bytes() <= 9 << 20, "{} bytes are held", store.metrics().bytes());
}
