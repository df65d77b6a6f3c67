//! Any bytes as a configuration: never a panic, never unbounded time or memory, and what is told can be shown.
//!
//!     cd tests/fuzz && cargo run --release --bin config -- -max_len=65536 -timeout=5

#![no_main]

use libfuzzer_sys::fuzz_target;
use sluicegate::config::{Environment, MAX_PROBLEMS, Overrides, parse};

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let environment = Environment::of([("VAR", "value"), ("EMPTY", "")]).without_files();
    match parse("fuzz.yaml", text, &Overrides::default(), &environment) {
        Ok(loaded) => {
            assert!(!loaded.config.listeners.is_empty());
            assert!(loaded.config.pools.iter().all(|pool| !pool.members.is_empty()));
        }
        Err(errors) => {
            assert!((1..=MAX_PROBLEMS).contains(&errors.problems.len()));
            let _ = errors.to_string();
        }
    }
});
