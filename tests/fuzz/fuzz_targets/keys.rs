//! Any bytes as a list of keys, as permissions and as credentials: never a panic, and nobody comes in who is not there.
//!
//!     cd tests/fuzz && cargo run --release --bin keys -- -max_len=4096 -timeout=5

#![no_main]

use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use sluicegate::auth::{Authenticator, Permission, Permissions};
use sluicegate::config::{Environment, Overrides, parse};

const SECRET: &str = "0f4c2ad9e1b78c6d5f";

fuzz_target!(|bytes: &[u8]| {
    let (name, rest) = bytes.split_at(bytes.len().min(1));
    let done = match name.first().unwrap_or(&0) % 3 {
        0 => permission(rest),
        1 => entries(rest),
        _ => credentials(rest),
    };
    done.unwrap_or_default();
});

/// A permission that a route can ask for is one that can be given, and is then enough.
fn permission(bytes: &[u8]) -> Option<()> {
    let text = std::str::from_utf8(bytes).ok()?;
    let needed = Permission::parse(text).ok()?;
    let given = Permissions::parse([text]).expect("it can be given");
    assert!(given.allows(&needed));
    assert!(!Permissions::default().allows(&needed));
    Some(())
}

/// Keys of any shape, in the place where they stand.
fn entries(bytes: &[u8]) -> Option<()> {
    let text = std::str::from_utf8(bytes).ok()?;
    let text = text.replace('\n', "\n    ");
    let file = format!(
        "listen: 127.0.0.1:80\npools: {{ a: {{ members: 10.0.0.1:80 }} }}\nroutes: {{ pool: a }}\nauth:\n  api_keys:\n    keys: {text}\n"
    );
    let environment = Environment::of([("EMPTY", "")]).without_files();
    match parse("fuzz.yaml", &file, &Overrides::default(), &environment) {
        Ok(loaded) => {
            let auth = loaded.config.auth.expect("there are keys");
            let empty = authenticate(&Authenticator::new(&auth, &tokens()), "x-api-key", b"");
            assert!(!empty, "nothing brings nobody in");
            loaded.warnings.iter().for_each(|warning| drop(warning.to_string()));
        }
        Err(errors) => drop(errors.to_string()),
    }
    Some(())
}

/// Any value of the fields that bring credentials: only the secret brings its caller in.
fn credentials(bytes: &[u8]) -> Option<()> {
    let file = format!(
        "listen: 127.0.0.1:80\npools: {{ a: {{ members: 10.0.0.1:80 }} }}\nroutes: {{ pool: a }}\n\
         auth: {{ api_keys: {{ keys: [{{ id: a, secret: {SECRET}, permissions: read }}] }} }}\n"
    );
    let environment = Environment::of([]).without_files();
    let loaded = parse("fuzz.yaml", &file, &Overrides::default(), &environment).expect("it is valid");
    let keys = Authenticator::new(&loaded.config.auth.expect("there are keys"), &tokens());
    let bare = bytes.trim_ascii() == SECRET.as_bytes();
    assert_eq!(authenticate(&keys, "x-api-key", bytes), bare);
    let bearer = bytes.trim_ascii().get(..7).is_some_and(|start| start[..6].eq_ignore_ascii_case(b"bearer"))
        && bytes.trim_ascii().ends_with(SECRET.as_bytes());
    assert!(bearer || !authenticate(&keys, "authorization", bytes));
    Some(())
}

fn authenticate(keys: &Authenticator, name: &'static str, value: &[u8]) -> bool {
    let Ok(value) = HeaderValue::from_bytes(value) else { return false };
    let mut headers = HeaderMap::new();
    headers.insert(name, value);
    let _ = keys.hidden(&headers, None);
    keys.authenticate(&headers, UNIX_EPOCH + Duration::from_secs(1_800_000_000)).is_ok()
}

/// Nothing fetched, nothing revoked.
fn tokens() -> std::sync::Arc<sluicegate::auth::Tokens> {
    let identity = sluicegate::observe::Identity { instance_id: "fuzz".to_owned(), version: "0".to_owned() };
    let metrics = sluicegate::observe::metrics::Metrics::new(&identity);
    std::sync::Arc::new(sluicegate::auth::Tokens::new(None, &std::sync::Arc::new(metrics)))
}
