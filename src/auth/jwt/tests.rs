//! Tokens that are taken, and those that are not: every way that went wrong elsewhere.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::auth::{CallerKind, Permission};
use crate::config::jwt::KeySet;
use crate::config::{Environment, Overrides, parse};
use crate::observe::Identity;
use crate::observe::metrics::Metrics;
use signer::{SECRET, Signer, claims, part, seconds_now};

#[path = "../../../tests/support/tokens.rs"]
#[expect(unreachable_pub, clippy::disallowed_methods, reason = "shared with the tests of the whole program")]
mod signer;

const ISSUER: &str = "issuer: https://id.test";

/// A verifier of `auth.jwt` with these keys, and `{dir}` for the directory of `files`.
fn verifier_with(jwt: &str, files: &[(&str, &str)]) -> Verifier {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let jwt = jwt.replace("{dir}", dir.path().to_str().unwrap());
    let text = format!("listen: 127.0.0.1:80\nauth: {{ jwt: {jwt} }}\nroutes: [{{ match: /, respond: 200 }}]\n");
    let loaded = parse("sluicegate.yaml", &text, &Overrides::default(), &Environment::of([]));
    let loaded = loaded.unwrap_or_else(|errors| panic!("{errors}"));
    let jwt = loaded.config.auth.as_ref().unwrap().jwt.clone().unwrap();
    let identity = Identity { instance_id: "a".to_owned(), version: "0".to_owned() };
    let tokens = Tokens::new(Some(&jwt), &Arc::new(Metrics::new(&identity)));
    Verifier::new(&jwt, &Arc::new(tokens))
}

fn verifier(jwt: &str) -> Verifier {
    verifier_with(jwt, &[])
}

/// With a shared secret and `more` keys.
fn shared(more: &str) -> Verifier {
    verifier(&format!("{{ {ISSUER}, secret: {SECRET}, {more} }}"))
}

/// What becomes of `token` in `Authorization`.
fn taken(verifier: &Verifier, token: &str) -> Result<Arc<Caller>, Denied> {
    verifier.verify(Presented { text: token, header: None }, seconds_now())
}

fn hs256() -> Signer {
    Signer::secret("HS256", SECRET)
}

/// What becomes of a token with these claims.
fn said(verifier: &Verifier, more: Value) -> Result<Arc<Caller>, Denied> {
    taken(verifier, &hs256().token(&claims(more)))
}

#[test]
fn every_algorithm_is_checked_with_its_kind_of_key() {
    for name in ["HS256", "HS384", "HS512"] {
        let verifier = shared(&format!("algorithm: {name}"));
        let signer = Signer::secret(name, SECRET);
        assert!(taken(&verifier, &signer.token(&claims(json!({})))).is_ok(), "{name}");
        let other = Signer::secret(name, SECRET.replace('c', "d"));
        assert_eq!(taken(&verifier, &other.token(&claims(json!({})))), Err(Denied::Signature), "{name}");
    }
    let mut rsa = Signer::rsa("RS256");
    for name in ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"] {
        rsa = rsa.under(name);
        let verifier = public(&rsa, &format!("algorithm: {name}"));
        assert!(taken(&verifier, &rsa.token(&claims(json!({})))).is_ok(), "{name}");
    }
    for (signer, other) in [
        (Signer::p256(), Signer::p256()),
        (Signer::p384(), Signer::p384()),
        (Signer::ed25519(), Signer::ed25519()),
        (rsa.under("RS256"), Signer::rsa("RS256")),
    ] {
        let verifier = public(&signer, "leeway: 0s");
        let good = signer.token(&claims(json!({})));
        assert!(taken(&verifier, &good).is_ok(), "{}", signer.pem);
        assert_eq!(taken(&verifier, &other.token(&claims(json!({})))), Err(Denied::Signature), "{}", signer.pem);
    }
}

/// With the public key of `signer`.
fn public(signer: &Signer, more: &str) -> Verifier {
    verifier_with(&format!("{{ {ISSUER}, public_key: \"{{dir}}/key.pem\", {more} }}"), &[("key.pem", &signer.pem)])
}

#[test]
fn what_another_program_signed_is_taken() {
    for (name, vector) in [("RS256", RS256), ("PS256", PS256), ("ES256", ES256), ("ES384", ES384), ("EdDSA", ED25519)] {
        let (key, token) = vector;
        let config = format!("{{ {ISSUER}, public_key: \"{{dir}}/key.pem\", algorithm: {name} }}");
        let verifier = verifier_with(&config, &[("key.pem", key)]);
        let caller = taken(&verifier, token).unwrap_or_else(|denied| panic!("{name}: {denied:?}"));
        assert_eq!((&*caller.id, caller.kind), ("alice", CallerKind::Jwt), "{name}");
    }
}

#[test]
fn a_token_without_a_signature_is_never_taken() {
    let ed = Signer::ed25519();
    for verifier in [shared("algorithms: [HS256, HS384, HS512]"), public(&ed, "leeway: 0s")] {
        for none in ["none", "None", "NONE", "nOnE", "nonE", "", "null", " none", "none\u{0}", "HS256 "] {
            let unsigned = format!("{}.{}.", part(&json!({ "alg": none })), part(&claims(json!({}))));
            assert_eq!(taken(&verifier, &unsigned), Err(Denied::Algorithm), "{none:?}");
            let signed = hs256().token_with(json!({ "alg": none }), &claims(json!({})));
            assert_eq!(taken(&verifier, &signed), Err(Denied::Algorithm), "{none:?}");
        }
        for odd in [json!(null), json!(0), json!(["none"]), json!({})] {
            let token = hs256().token_with(json!({ "alg": odd }), &claims(json!({})));
            assert_eq!(taken(&verifier, &token), Err(Denied::Algorithm), "{odd}");
        }
        let no_algorithm = format!("{}.{}.", part(&json!({ "typ": "JWT" })), part(&claims(json!({}))));
        assert_eq!(taken(&verifier, &no_algorithm), Err(Denied::Algorithm));
        let unsigned = format!("{}.{}.", part(&json!({ "alg": "HS256" })), part(&claims(json!({}))));
        assert!(taken(&verifier, &unsigned).is_err());
    }
}

#[test]
fn a_public_key_is_no_secret() {
    for signer in [Signer::rsa("RS256"), Signer::p256(), Signer::p384(), Signer::ed25519()] {
        let verifier = public(&signer, "leeway: 0s");
        let der = signer.pem.lines().filter(|line| !line.starts_with('-')).collect::<String>();
        let der = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, der).unwrap();
        let without_end = signer.pem.trim_end();
        for bytes in [signer.pem.as_bytes(), without_end.as_bytes(), &der, &der[der.len() - 32..], b""] {
            for name in ["HS256", "HS384", "HS512"] {
                let forged = Signer::secret(name, bytes).token(&claims(json!({})));
                assert_eq!(taken(&verifier, &forged), Err(Denied::Algorithm), "{name}");
            }
        }
    }
}

#[test]
fn a_key_checks_no_algorithm_of_another_kind() {
    let (rsa, p256) = (Signer::rsa("RS256"), Signer::p256());
    let verifier = public(&rsa, "algorithms: [RS256]");
    for name in ["ES256", "PS256", "RS512", "EdDSA", "HS256", "ES512", "RS1", "rs256"] {
        let token = rsa.token_with(json!({ "alg": name }), &claims(json!({})));
        assert_eq!(taken(&verifier, &token), Err(Denied::Algorithm), "{name}");
    }
    // A set with both, where the token names the other key.
    let set = json!({ "keys": [rsa.jwk("r"), p256.jwk("e")] }).to_string();
    let verifier = verifier_with(&format!("{{ {ISSUER}, jwks_file: \"{{dir}}/set\" }}"), &[("set", &set)]);
    assert!(taken(&verifier, &p256.token_with(json!({ "kid": "e" }), &claims(json!({})))).is_ok());
    assert!(taken(&verifier, &p256.token(&claims(json!({})))).is_ok(), "a token need not name its key");
    let crossed = p256.token_with(json!({ "kid": "r" }), &claims(json!({})));
    assert_eq!(taken(&verifier, &crossed), Err(Denied::Algorithm));
    let unknown = p256.token_with(json!({ "kid": "x" }), &claims(json!({})));
    assert_eq!(taken(&verifier, &unknown), Err(Denied::KeyUnknown));
    let odd = p256.token_with(json!({ "kid": 7 }), &claims(json!({})));
    assert_eq!(taken(&verifier, &odd), Err(Denied::Malformed));
}

#[test]
fn keys_and_extensions_that_a_token_brings_are_not_used() {
    let (own, foreign) = (Signer::p256(), Signer::p256());
    let verifier = public(&own, "leeway: 0s");
    for header in [
        json!({ "jwk": foreign.jwk("x") }),
        json!({ "jku": "https://evil.test/jwks", "kid": "x" }),
        json!({ "x5u": "https://evil.test/cert" }),
        json!({ "x5c": ["MIIB"] }),
    ] {
        let token = foreign.token_with(header.clone(), &claims(json!({})));
        assert_eq!(taken(&verifier, &token), Err(Denied::Signature), "{header}");
        assert!(taken(&verifier, &own.token_with(header, &claims(json!({})))).is_ok());
    }
    for crit in [json!(["b64"]), json!([]), json!(null)] {
        let token = own.token_with(json!({ "crit": crit, "b64": false }), &claims(json!({})));
        assert_eq!(taken(&verifier, &token), Err(Denied::Critical), "{crit}");
    }
    for kind in [json!("logout+jwt"), json!("dpop+jwt"), json!(1)] {
        let token = own.token_with(json!({ "typ": kind }), &claims(json!({})));
        assert_eq!(taken(&verifier, &token), Err(Denied::Malformed), "{kind}");
    }
    for kind in ["JWT", "jwt", "at+jwt", "application/at+jwt"] {
        assert!(taken(&verifier, &own.token_with(json!({ "typ": kind }), &claims(json!({})))).is_ok(), "{kind}");
    }
}

#[test]
fn times_are_kept_to_the_second() {
    let verifier = shared("leeway: 30s");
    let now = seconds_now();
    let token = |more: Value| hs256().token(&claims(more));
    let at = |token: &str, now: u64| verifier.verify(Presented { text: token, header: None }, now).map(|_| ());
    let expiring = token(json!({ "exp": now }));
    assert_eq!(at(&expiring, now + 29), Ok(()));
    assert_eq!(at(&expiring, now + 30), Err(Denied::Expired), "also when its signature was checked before");
    let early = token(json!({ "nbf": now + 31 }));
    assert_eq!(at(&early, now), Err(Denied::NotYetValid));
    assert_eq!(at(&early, now + 1), Ok(()));
    for (exp, wanted) in [
        (json!(null), Err(Denied::Claims)),
        (json!("4102444800"), Err(Denied::Claims)),
        (json!([now + 60]), Err(Denied::Claims)),
        (json!(true), Err(Denied::Claims)),
        (json!(-1), Err(Denied::Expired)),
        (json!(0), Err(Denied::Expired)),
        (json!(now as f64 + 60.5), Ok(())),
        (json!(u64::MAX), Ok(())),
        (json!(1e300), Ok(())),
    ] {
        assert_eq!(at(&token(json!({ "exp": exp })), now), wanted, "{exp}");
    }
    for odd in [json!("0"), json!([]), json!({})] {
        assert_eq!(said(&verifier, json!({ "nbf": odd })), Err(Denied::Claims), "{odd}");
        assert_eq!(said(&verifier, json!({ "iat": odd })), Err(Denied::Claims), "{odd}");
    }
}

#[test]
fn a_token_is_for_us_and_from_whom_we_know() {
    let verifier = shared("audience: [gate, other]");
    for audience in [json!("gate"), json!(["x", "other"])] {
        assert!(said(&verifier, json!({ "aud": audience })).is_ok(), "{audience}");
    }
    for audience in
        [json!(null), json!("x"), json!([]), json!(["x"]), json!(["gate", 1]), json!({ "gate": 1 }), json!(1)]
    {
        assert_eq!(said(&verifier, json!({ "aud": audience })), Err(Denied::Audience), "{audience}");
    }
    assert_eq!(said(&shared("leeway: 0s"), json!({ "aud": "gate" })), Err(Denied::Audience), "nobody said that is us");
    for issuer in
        [json!(null), json!("https://id.test/"), json!("HTTPS://ID.TEST"), json!(["https://id.test"]), json!(1)]
    {
        assert_eq!(said(&verifier, json!({ "iss": issuer, "aud": "gate" })), Err(Denied::Issuer), "{issuer}");
    }
}

#[test]
fn two_issuers_do_not_sign_for_each_other() {
    let (one, other) = (Signer::secret("HS256", SECRET), Signer::secret("HS256", SECRET.replace('c', "d")));
    let verifier = verifier(&format!(
        "[{{ issuer: one, secret: {SECRET} }}, {{ issuer: other, header: Jairouter_Token, secret: {} }}]",
        SECRET.replace('c', "d")
    ));
    let named = |name: &str| claims(json!({ "iss": name }));
    let header = HeaderName::from_static("jairouter_token");
    let at = |token: &str, header| {
        let caller = verifier.verify(Presented { text: token, header }, seconds_now());
        caller.map(|caller| caller.id.to_string())
    };
    assert_eq!(at(&one.token(&named("one")), None), Ok("alice@one".to_owned()));
    assert_eq!(at(&other.token(&named("other")), Some(&header)), Ok("alice@other".to_owned()), "not the same alice");
    assert_eq!(at(&other.token(&named("one")), None), Err(Denied::Signature));
    assert_eq!(at(&other.token(&named("other")), None), Err(Denied::Issuer), "it comes in another header");
    assert_eq!(at(&one.token(&named("one")), Some(&header)), Err(Denied::Issuer), "also when known already");
}

#[test]
fn both_secrets_of_a_rotation_are_taken() {
    let next = SECRET.replace('c', "d");
    let verifier = verifier(&format!("{{ {ISSUER}, secret: [{SECRET}, {next}] }}"));
    for secret in [SECRET, &next] {
        assert!(taken(&verifier, &Signer::secret("HS256", secret).token(&claims(json!({})))).is_ok());
    }
}

#[test]
fn what_is_no_token_is_malformed() {
    let verifier = shared("leeway: 0s");
    let good = hs256().token(&claims(json!({})));
    let [header, payload, signature] = good.split('.').collect::<Vec<_>>().try_into().unwrap();
    for text in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "a.b".to_owned(),
        format!("{header}.{payload}"),
        format!("{good}."),
        format!("{good}.{signature}"),
        format!("{header}={payload}.{signature}"),
        format!("{header}.{payload}.{signature}="),
        format!("{header}.{payload}.{signature}\n"),
        format!(" {good}"),
        format!("{header}.{payload}==.{signature}"),
        format!("{}.{payload}.{signature}", part(&json!([]))),
        format!("{}.{payload}.{signature}", part(&json!("x"))),
        format!("{header}.{}.{signature}", part(&json!(["iss"]))),
        format!("{header}.%%%.{signature}"),
        format!("{header}.{payload}.%%%"),
        format!("{}.{payload}.{signature}", "W".repeat(4000)),
    ] {
        assert_eq!(taken(&verifier, &text), Err(Denied::Malformed), "{text:?}");
    }
    let deep = format!("{}{}", "[".repeat(3000), "]".repeat(3000));
    let deep = base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, format!("{{\"a\":{deep}}}"));
    assert_eq!(taken(&verifier, &format!("{header}.{deep}.{signature}")), Err(Denied::Malformed));
    let long = hs256().token(&claims(json!({ "x": "y".repeat(MAX_TOKEN) })));
    assert_eq!(taken(&verifier, &long), Err(Denied::TooLong));
}

#[test]
fn a_caller_has_the_id_and_the_permissions_that_its_claims_say() {
    let verifier = shared("leeway: 0s");
    let may =
        |more: Value, word: &str| said(&verifier, more).unwrap().permissions.allows(&Permission::parse(word).unwrap());
    assert!(!may(json!({}), "chat:use"));
    for (given, wanted) in [
        (json!({ "scope": "openid chat:* read" }), [true, true, false]),
        (json!({ "scope": "openid", "permissions": ["chat:use", "read"] }), [true, true, false]),
        (json!({ "permissions": "delete" }), [false, false, true]),
        (json!({ "permissions": ["*"] }), [true, true, true]),
    ] {
        assert_eq!(["chat:use", "read", "delete"].map(|word| may(given.clone(), word)), wanted, "{given}");
    }
    assert_eq!(&*said(&verifier, json!({ "sub": 42 })).unwrap().id, "42");
    for sub in [json!(null), json!(""), json!("a\nb"), json!(["a"]), json!(1.5), json!("x".repeat(600))] {
        assert_eq!(said(&verifier, json!({ "sub": sub })), Err(Denied::Claims), "{sub}");
    }
}

#[test]
fn a_table_says_what_the_values_of_a_claim_permit_and_nothing_else_does() {
    let verifier = shared(
        "id_claim: user.name, permissions_claim: [realm_access.roles, \"https://x.test/roles\"], \
         permissions: { ROLE_CHAT: [\"chat:*\"], ADMIN: \"*\" }",
    );
    let token = json!({
        "user": { "name": "bob" },
        "realm_access": { "roles": ["ROLE_CHAT", "*", "admin"] },
        "https://x.test/roles": "ROLE_CHAT",
    });
    let may = |more: &Value, word: &str| {
        said(&verifier, more.clone()).unwrap().permissions.allows(&Permission::parse(word).unwrap())
    };
    assert_eq!(&*said(&verifier, token.clone()).unwrap().id, "bob");
    assert_eq!(["chat:use", "image:use"].map(|word| may(&token, word)), [true, false]);
    let admin = json!({ "user": { "name": "bob" }, "https://x.test/roles": "ADMIN" });
    assert!(may(&admin, "admin"));
    let not_listed = json!({ "user": { "name": "bob" }, "scope": "*", "realm_access": { "roles": ["*", "admin"] } });
    assert!(!may(&not_listed, "chat:use"));
}

#[test]
fn a_revoked_token_is_refused_even_when_it_was_taken_before() {
    let listed = "# why\n\nlisted \n";
    let config = format!("{{ {ISSUER}, secret: {SECRET}, revoked: \"{{dir}}/list\" }}");
    let verifier = verifier_with(&config, &[("list", listed)]);
    let token = hs256().token(&claims(json!({ "jti": "a" })));
    assert!(taken(&verifier, &token).is_ok());
    verifier.tokens.revocations.revoke("a", seconds_now() + 60);
    assert_eq!(taken(&verifier, &token), Err(Denied::Revoked));
    assert!(said(&verifier, json!({ "jti": "b" })).is_ok());
    assert_eq!(said(&verifier, json!({ "jti": "listed" })), Err(Denied::Revoked));
    for jti in [json!(""), json!(1), json!("x".repeat(600))] {
        assert_eq!(said(&verifier, json!({ "jti": jti })), Err(Denied::Claims), "one that cannot be revoked: {jti}");
    }
}

#[test]
fn a_revoked_token_is_not_good_again_during_the_leeway() {
    let (verifier, now) = (shared("leeway: 30s"), seconds_now());
    let token = hs256().token(&claims(json!({ "jti": "a", "exp": now + 60 })));
    let at = |now: u64| verifier.verify(Presented { text: &token, header: None }, now).map(|_| ());
    assert_eq!(at(now), Ok(()));
    verifier.tokens.revocations.revoke("a", now + 60);
    for later in [0, 59, 60, 89] {
        assert_eq!(at(now + later), Err(Denied::Revoked), "after {later} s");
    }
    assert_eq!(at(now + 90), Err(Denied::Expired));
}

#[test]
fn a_token_is_found_in_its_header_and_nowhere_else() {
    let both = verifier(&format!(
        "[{{ issuer: one, secret: {SECRET} }}, {{ issuer: two, header: Jairouter_Token, secret: {SECRET} }}]"
    ));
    let own = shared("header: Jairouter_Token");
    let plain = shared("leeway: 0s");
    let find = |verifier: &Verifier, fields: &[(&'static str, &str)]| {
        let fields = fields.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        let fields: HeaderMap = fields.collect();
        verifier.find(&fields).map(|found| found.map(|presented| presented.text.to_owned()))
    };
    let found = |text: &str| Ok(Some(text.to_owned()));
    for value in ["Bearer eyA.b.c", "bearer  eyA.b.c", "BEARER eyA.b.c "] {
        assert_eq!(find(&plain, &[("authorization", value)]), found("eyA.b.c"), "{value}");
    }
    for value in
        ["Basic eyA.b.c", "eyA.b.c", "Bearer", "Bearer abc", "Bearer sk-a.b.c", "Bearer eyA.b", "Bearer eyA.b.c.d.e"]
    {
        assert_eq!(find(&plain, &[("authorization", value)]), Ok(None), "{value}");
    }
    assert_eq!(find(&plain, &[("jairouter_token", "eyA.b.c")]), Ok(None));
    assert_eq!(find(&own, &[("authorization", "Bearer eyA.b.c")]), Ok(None), "it is for the upstream");
    assert_eq!(find(&own, &[("jairouter_token", "eyA.b.c")]), found("eyA.b.c"));
    assert_eq!(find(&own, &[("jairouter_token", "Bearer eyA.b.c")]), found("eyA.b.c"));
    assert_eq!(find(&own, &[("jairouter_token", "x")]), found("x"), "nothing else comes in this header");
    let two = [("jairouter_token", "eyA.b.c"), ("authorization", "Bearer eyA.b.c")];
    assert_eq!(find(&both, &two), Err(Denied::Malformed));
    assert_eq!(find(&plain, &two), found("eyA.b.c"));
    let fields = [two[1], two[1]];
    assert_eq!(find(&plain, &fields), Err(Denied::Malformed));
}

#[test]
fn what_shows_a_token_shows_nothing_of_it() {
    let presented = Presented { text: "eyJhbGciOi.secret.x", header: None };
    assert_eq!(format!("{presented:?}"), "Presented(***)");
}

#[test]
fn a_set_keeps_only_keys_that_check_signatures() {
    let (p256, rsa) = (Signer::p256(), Signer::rsa("RS256"));
    let with = |mut jwk: Value, name: &str, value: Value| {
        jwk[name] = value;
        jwk
    };
    let read = |keys: &[Value]| KeySet::from_jwks(json!({ "keys": keys }).to_string().as_bytes());
    assert_eq!(read(&[p256.jwk("a"), rsa.jwk("b")]).unwrap().0.keys.len(), 2);
    for unusable in [
        with(p256.jwk("x"), "use", json!("enc")),
        with(p256.jwk("x"), "key_ops", json!(["sign"])),
        with(p256.jwk("x"), "alg", json!("RS256")),
        with(p256.jwk("x"), "alg", json!("none")),
        with(p256.jwk("x"), "crv", json!("P-521")),
        with(p256.jwk("x"), "crv", json!("P-384")),
        with(p256.jwk("x"), "x", json!("AAAA")),
        with(p256.jwk("x"), "x", json!(7)),
        with(rsa.jwk("x"), "n", json!("AQAB")),
        with(rsa.jwk("x"), "e", json!("AQ")),
        with(rsa.jwk("x"), "e", json!("")),
        hs256().jwk("x"),
        json!({ "kty": "OKP", "crv": "X25519", "x": "AAAA" }),
        json!(null),
        json!("x"),
    ] {
        let (set, left_out) = read(&[unusable.clone(), p256.jwk("good")]).unwrap();
        assert_eq!((set.keys.len(), left_out), (1, 1), "{unusable}");
        assert!(read(&[unusable]).is_err());
    }
    assert!(read(&vec![p256.jwk("x"); 101]).unwrap_err().contains("101 keys"));
    for garbage in ["", "{}", "[]", "{\"keys\":1}", "<html>", "{\"keys\":[]}"] {
        assert!(KeySet::from_jwks(garbage.as_bytes()).is_err(), "{garbage}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// Whatever byte of a good token is changed, and to whatever, it is refused.
    #[test]
    fn a_token_with_any_byte_changed_is_refused(place in any::<prop::sample::Index>(), to in 0x21u8..0x7f, which in 0usize..3) {
        let (secret, p256, ed) = fixtures();
        let (verifier, token) = [secret, p256, ed][which];
        let mut bytes = token.clone().into_bytes();
        let place = place.index(bytes.len());
        prop_assume!(bytes[place] != to);
        bytes[place] = to;
        prop_assert!(taken(verifier, std::str::from_utf8(&bytes).unwrap()).is_err());
        prop_assert!(taken(verifier, token).is_ok());
    }

    /// Any text at all is refused, and nothing panics.
    #[test]
    fn any_text_is_refused(text in "\\PC{0,200}|ey[A-Za-z0-9_-]{0,80}\\.[A-Za-z0-9_-]{0,80}\\.[A-Za-z0-9_-]{0,80}") {
        prop_assert!(taken(fixtures().0.0, &text).is_err());
    }
}

type Fixture = (&'static Verifier, &'static String);

fn fixtures() -> (Fixture, Fixture, Fixture) {
    static MADE: std::sync::OnceLock<[(Verifier, String); 3]> = std::sync::OnceLock::new();
    let made = MADE.get_or_init(|| {
        let (p256, ed) = (Signer::p256(), Signer::ed25519());
        let good = claims(json!({ "jti": "a", "scope": "chat:*" }));
        [
            (shared("leeway: 0s"), hs256().token(&good)),
            (public(&p256, "leeway: 0s"), p256.token(&good)),
            (public(&ed, "leeway: 0s"), ed.token(&good)),
        ]
    });
    let [a, b, c] = made;
    ((&a.0, &a.1), (&b.0, &b.1), (&c.0, &c.1))
}

// Made with OpenSSL's library; the private keys are gone. A key and a token each, which expires in 2100.

const RS256: (&str, &str) = (
    "-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA5lfKPvn7HqrXTksO+KEe
jfHyU60QZedY0lFk15tzMTLalVD5VjEWfSgiG4tlrXvFMdYQ6TjLamBJ2Pc4HqlP
W7249rcKgI3d2GF/QwbIHWrylsw8BvsmacNGSBg/VsoWozjTODR8ubLDPx1mg802
adfd06rI9kB0/32AK3+l3+ZErX5OJbhlM5bvBTyAwEaZG+txSi98z97lo9z/YjIg
Z7dpjW4xzQtwB/qUFE5aD7pBdwtTqn68aDAZRTlAqUIYf+epOesfJfgAvbECwLJx
/rQqUvTKR5LsoAFS3Qa7sYCpB5V8yMWLqLq0O77ShrCEFF+cOCdsKre+KJbiSDyP
6QIDAQAB
-----END PUBLIC KEY-----
",
    "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJodHRwczovL2lkLnRlc3QiLCJzdWIiOiJhbGljZSIsImV4cCI6NDEwMjQ0NDgwMH0.Alw-btOrEbNGADTGeELzWpNY_H1w8J4IKGwWCEh2iDI33mJ6CD2xcf2_fh7eTmuyMhd1-TYgJ5-LAfknCOtwITa5Xv4BV0a6ioFZ8tXZdvWZm-7larKKhTdd5SndRSPQpJHMgvcArwOabqAPUG3TjyGc8e2XAYdSaYj1iUR3hW3da1S2dYYlZ6aWtL8a_7OKWavbRCKiYxYXWwo-3uROCEkSf8zoRgncoAVG8eK3q36XSD-C-ZwI5SK42oJr-Tq5dzl17HR2GQ0dyJcWDt9D0mEcaE9ytqMyhBADSMnuZBy9jZFv2Fh37xBHMid9slhuqCVi96guTOBAh7AAbpf8Ww",
);

const PS256: (&str, &str) = (
    "-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA5lfKPvn7HqrXTksO+KEe
jfHyU60QZedY0lFk15tzMTLalVD5VjEWfSgiG4tlrXvFMdYQ6TjLamBJ2Pc4HqlP
W7249rcKgI3d2GF/QwbIHWrylsw8BvsmacNGSBg/VsoWozjTODR8ubLDPx1mg802
adfd06rI9kB0/32AK3+l3+ZErX5OJbhlM5bvBTyAwEaZG+txSi98z97lo9z/YjIg
Z7dpjW4xzQtwB/qUFE5aD7pBdwtTqn68aDAZRTlAqUIYf+epOesfJfgAvbECwLJx
/rQqUvTKR5LsoAFS3Qa7sYCpB5V8yMWLqLq0O77ShrCEFF+cOCdsKre+KJbiSDyP
6QIDAQAB
-----END PUBLIC KEY-----
",
    "eyJhbGciOiJQUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJodHRwczovL2lkLnRlc3QiLCJzdWIiOiJhbGljZSIsImV4cCI6NDEwMjQ0NDgwMH0.Fi82xzRuEkxuZ8fu7hwSMnNe_q1T8tK1coUylAJ8WX8g1BKddy4NVa0_qQniCfJjVykTzLBzM9TwlN5O9r1AQnx9s92pyn47XFGnqGI2TB6mgVKlDdPcHZIW6QD7FIecb8Uo5iYiDxl5PD6XSsp-keZ16gSHTovqb_VICyFgEPCUfMygm-rj5EGlDJRFfYMii9NekAryAugdEmsmLJ5A8Is1U0mvrZKxyH0EboqyOU7ygGmZuTV446FdhxDOcuOWmITNhRjRpkcsL9ekkzLL9tyFiVbRooo3xHMFKTpZyYhu-PtZxMMEMRHsdDd_Hwj23r4svBT-dzBndhG3Tz3oRg",
);

const ES256: (&str, &str) = (
    "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEyessI8zZ26opSEvo4RwtLnraeks/
xbI6o4thPOISp913hq6djBGGZru0WmJRjMezddiCfbZdJeTPQkGye/uiMQ==
-----END PUBLIC KEY-----
",
    "eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJodHRwczovL2lkLnRlc3QiLCJzdWIiOiJhbGljZSIsImV4cCI6NDEwMjQ0NDgwMH0.Su3YZBMT88Li37ag7L7kUIZLY3bimB-UJpitCSAJSMQjgSxKyOJ2j4z-1ncEHbsfP41-4fyXSZOu8JqaGEt3lg",
);

const ES384: (&str, &str) = (
    "-----BEGIN PUBLIC KEY-----
MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEcCsv/3av63a+Qi50Nmms3QRZW2aujEto
7OVVGgX85mKK0pCKM8Jf9bKfrcnWcDcOadFI5NEBOwSAZpOTrtHWTqdJ1ThVBv2n
OnKXNBxUwr9GyOC6wfDHRsSeIpgEfIkU
-----END PUBLIC KEY-----
",
    "eyJhbGciOiJFUzM4NCIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJodHRwczovL2lkLnRlc3QiLCJzdWIiOiJhbGljZSIsImV4cCI6NDEwMjQ0NDgwMH0.EWJN8g7re_8iLEtPxn8GzyzhzoQ1inXfWHK6f59SQWP0TjVkjB2ZWwYzRlRyix_pC7fZLUSKmpgRx9bsooLwJ5eqWygmubxGP1rt6IACbOav2orgB80hmC-L0mSDkPRm",
);

const ED25519: (&str, &str) = (
    "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEA6Km5dn3mWDhjBi/KDIqX3FT1t1z+xjJaX9alxw3TFe4=
-----END PUBLIC KEY-----
",
    "eyJhbGciOiJFZERTQSIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJodHRwczovL2lkLnRlc3QiLCJzdWIiOiJhbGljZSIsImV4cCI6NDEwMjQ0NDgwMH0.0RFl9CK0ua1zyrLNLKVZFQBMvWoFeUxvlzAIyzwKokRUEkdqZlddP4HyphDPeBmfINf4bKb-49zTIiwp3HLyBw",
);
