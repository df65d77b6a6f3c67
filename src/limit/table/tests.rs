use super::*;

type Words = Table<AtomicU64>;

const SLOT_BYTES: usize = Words::SLOT_BYTES;

fn table(max_entries: usize, forgets: bool) -> (Words, Arc<LimitGauges>) {
    let gauges = Arc::new(LimitGauges::default());
    (Table::new(max_entries, Units::new(1, []), forgets, Arc::clone(&gauges)), gauges)
}

/// The key number `n`, spread as hashes are.
fn key(n: u64) -> u64 {
    let mut z = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)).max(1)
}

fn set(table: &Words, key: u64, idle: u64, value: u64) -> bool {
    table.with(key, idle, |word, _| word.store(value, Ordering::Relaxed)).is_some()
}

fn get(table: &Words, key: u64) -> Option<u64> {
    table.find(key, |word, _| word.load(Ordering::Relaxed))
}

/// Bytes of all slots there are.
fn bytes(table: &Words) -> usize {
    table.shards.iter().map(|shard| read(shard).slots.len() * SLOT_BYTES).sum()
}

#[test]
fn a_slot_is_two_words() {
    assert_eq!(SLOT_BYTES, 16);
}

#[test]
fn memory_grows_with_the_keys_in_use() {
    let (table, gauges) = table(1_000_000, true);
    assert_eq!(bytes(&table), 0);
    set(&table, key(1), 0, 7);
    assert_eq!(bytes(&table), WAYS * SLOT_BYTES);
    for n in 0..10_000 {
        set(&table, key(n), 0, n + 1);
    }
    assert!(bytes(&table) < 1 << 20, "{}", bytes(&table));
    assert_eq!(gauges.bytes.load(Ordering::Relaxed), bytes(&table) as u64);
    assert_eq!(gauges.entries.load(Ordering::Relaxed), 10_000);
    for n in 0..10_000 {
        assert_eq!(get(&table, key(n)), Some(n + 1), "growing loses nobody");
    }
}

#[test]
fn a_million_busy_keys_stay_within_the_stated_bound_and_hardly_any_is_forgotten() {
    let (table, gauges) = table(1_000_000, true);
    for n in 0..1_000_000 {
        assert!(set(&table, key(n), 0, 1_000 + n));
    }
    assert_eq!(table.max_bytes(), 16 << 20);
    assert!(bytes(&table) <= table.max_bytes());
    let (entries, evictions) = (gauges.entries.load(Ordering::Relaxed), gauges.evictions.load(Ordering::Relaxed));
    assert_eq!(entries + evictions, 1_000_000);
    assert!(evictions < 30_000, "{evictions}");
    for n in 1_000_000..1_200_000 {
        assert!(set(&table, key(n), 0, 1_000 + n), "there always is room");
    }
    assert!(bytes(&table) <= table.max_bytes());
}

#[test]
fn idle_keys_give_their_place_to_new_ones_and_nothing_grows() {
    let (table, gauges) = table(1_000_000, true);
    for n in 0..1_000_000_u64 {
        // Each is idle by the time that the next thousand has come.
        set(&table, key(n), n, n + 1_000);
    }
    assert!(bytes(&table) <= 256 << 10, "{}", bytes(&table));
    assert_eq!(gauges.evictions.load(Ordering::Relaxed), 0);
}

#[test]
fn with_no_room_the_key_nearest_to_idle_goes() {
    let (table, _) = table(SHARDS * WAYS, true);
    // All in one shard of one set.
    for n in 0..8 {
        set(&table, n + 1, 0, 100 - n);
    }
    set(&table, 9, 0, 500);
    assert_eq!(get(&table, 8), None, "it had the lowest word");
    assert!((1..8).all(|n| get(&table, n).is_some()) && get(&table, 9) == Some(500));
}

#[test]
fn a_table_that_forgets_nobody_says_so_when_it_is_full() {
    let (table, gauges) = table(SHARDS * WAYS, false);
    for n in 0..8 {
        assert!(set(&table, n + 1, 0, 1));
    }
    assert!(!set(&table, 9, 0, 1));
    set(&table, 3, 0, 0);
    assert!(set(&table, 9, 0, 1), "an idle one made room");
    assert_eq!(gauges.evictions.load(Ordering::Relaxed), 0);
}

#[test]
fn some_keys_have_a_unit_of_their_own_and_keep_their_count_when_they_get_and_lose_it() {
    let (table, _) = table(1_000, true);
    for n in [1, 2] {
        assert!(set(&table, key(n), 0, 1_005), "five units of one ahead of now");
    }
    table.rescale(Units::new(1, [(key(1), 1_000)]), 1_000);
    assert_eq!((get(&table, key(1)), get(&table, key(2))), (Some(6_000), Some(1_005)));
    assert_eq!([1, 2, 3].map(|n| table.unit_of(key(n))), [1_000, 1, 1]);
    table.rescale(Units::new(10, []), 1_000);
    assert_eq!((get(&table, key(1)), get(&table, key(2))), (Some(1_050), Some(1_050)));
}

#[test]
fn a_new_unit_keeps_the_count_of_units() {
    let gauges = Arc::new(LimitGauges::default());
    let table = Words::new(1_000, Units::new(10, []), true, gauges);
    set(&table, key(1), 0, 1_050);
    set(&table, key(2), 0, 400);
    table.rescale(Units::new(1_000, []), 1_000);
    assert_eq!(get(&table, key(1)), Some(6_000), "five units ahead of now");
    assert_eq!(get(&table, key(2)), Some(400), "what is over stays so");
    assert_eq!(table.find(key(1), |_, increment| *increment), Some(1_000));
}

#[test]
fn threads_that_bring_the_same_keys_at_once_make_one_entry_of_each_and_lose_no_count() {
    let (table, gauges) = table(1_000_000, true);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for n in 0..20_000 {
                    table.with(key(n), 0, |word, _| word.fetch_add(1, Ordering::Relaxed)).unwrap();
                }
            });
        }
    });
    assert_eq!(gauges.entries.load(Ordering::Relaxed), 20_000);
    assert!((0..20_000).all(|n| get(&table, key(n)) == Some(4)));
}
