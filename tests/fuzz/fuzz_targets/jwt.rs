//! Any bytes as a token and as a JWK set: never a panic, and no token that nobody signed is taken.
//!
//!     cd tests/fuzz && cargo run --release --bin jwt -- -max_len=9000 -timeout=5

#![no_main]

use std::sync::{Arc, OnceLock};

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use sluicegate::auth::{Tokens, Verifier};
use sluicegate::config::jwt::KeySet;
use sluicegate::config::{Environment, Overrides, parse};
use sluicegate::observe::Identity;
use sluicegate::observe::metrics::Metrics;

const CONFIG: &str = "listen: 127.0.0.1:80\nroutes: { respond: 200 }\nauth:\n  jwt:\n    - { issuer: a, secret: c4b1f7d2e9a86503c4b1f7d2e9a86503 }\n    - { issuer: b, header: x-token, secret: c4b1f7d2e9a86503c4b1f7d2e9a86503 }\n";

fn verifier() -> &'static Verifier {
    static MADE: OnceLock<Verifier> = OnceLock::new();
    MADE.get_or_init(|| {
        let loaded = parse("fuzz.yaml", CONFIG, &Overrides::default(), &Environment::of([])).expect("it loads");
        let jwt = loaded.config.auth.as_ref().and_then(|auth| auth.jwt.clone()).expect("there are issuers");
        let identity = Identity { instance_id: "fuzz".to_owned(), version: "0".to_owned() };
        let tokens = Tokens::new(Some(&jwt), &Arc::new(Metrics::new(&identity)));
        Verifier::new(&jwt, &Arc::new(tokens))
    })
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok((set, _)) = KeySet::from_jwks(bytes) {
        assert!(!set.keys.is_empty());
    }
    for (name, before) in [(AUTHORIZATION.as_str(), "Bearer "), ("x-token", "")] {
        let Ok(value) = HeaderValue::from_bytes(&[before.as_bytes(), bytes].concat()) else { return };
        let mut fields = HeaderMap::new();
        fields.insert(http::HeaderName::from_bytes(name.as_bytes()).expect("a name"), value);
        if let Ok(Some(token)) = verifier().find(&fields) {
            assert!(verifier().verify(token, 1_800_000_000).is_err());
        }
        let _ = verifier().is_bearer(&fields);
    }
});
