//! What `auth.jwt` may say, and what is said of it when it may not.

use super::*;
use crate::config::jwt::{Algorithm, Jwt, Keys};

const SECRET: &str = "c4b1f7d2e9a86503c4b1f7d2e9a86503";

/// A file whose `auth.jwt` is this.
fn with_jwt(jwt: &str) -> String {
    with(&format!("auth:\n  jwt: {jwt}\n"))
}

fn jwt(text: &str) -> Arc<Jwt> {
    config(&with_jwt(text)).auth.as_ref().and_then(|auth| auth.jwt.clone()).unwrap()
}

/// The first line of what is said.
fn said(jwt: &str) -> String {
    refused(&with_jwt(jwt)).to_string()
}

#[test]
fn what_is_refused() {
    let files = [
        ("no issuer", format!("{{ secret: {SECRET} }}")),
        ("an empty issuer", format!("{{ issuer: \"\", secret: {SECRET} }}")),
        ("no key", "{ issuer: a }".to_owned()),
        ("two keys", format!("{{ issuer: a, secret: {SECRET}, jwks_url: \"https://id.test/\" }}")),
        ("an empty secret", "{ issuer: a, secret: \"${NOT_SET:-}\" }".to_owned()),
        ("a short secret", "{ issuer: a, secret: \"short-xyzzy\" }".to_owned()),
        ("a secret that is short for its algorithm", format!("{{ issuer: a, algorithm: HS512, secret: {SECRET} }}")),
        ("a placeholder", "{ issuer: a, secret: dev-jwt-secret-for-development-xyzzy }".to_owned()),
        ("no algorithm at all", format!("{{ issuer: a, algorithm: none, secret: {SECRET} }}")),
        ("an algorithm that is none", format!("{{ issuer: a, algorithm: HS265, secret: {SECRET} }}")),
        ("a secret for a public key's algorithm", format!("{{ issuer: a, algorithm: RS256, secret: {SECRET} }}")),
        (
            "HMAC with published keys",
            "{ issuer: a, algorithms: [RS256, HS256], jwks_url: \"https://id.test/\" }".to_owned(),
        ),
        ("two ways to say it", format!("{{ issuer: a, algorithm: HS256, algorithms: HS256, secret: {SECRET} }}")),
        ("keys over plain http", "{ issuer: a, jwks_url: \"http://id.test/jwks\" }".to_owned()),
        ("a password in a URL", "{ issuer: a, jwks_url: \"https://me:xyzzy@id.test/jwks\" }".to_owned()),
        ("no URL", "{ issuer: a, jwks_url: id.test }".to_owned()),
        ("a refresh of a file", format!("{{ issuer: a, secret: {SECRET}, refresh: 1m }}")),
        ("a leeway too long", format!("{{ issuer: a, secret: {SECRET}, leeway: 1h }}")),
        ("a header that is none", format!("{{ issuer: a, secret: {SECRET}, header: \"a b\" }}")),
        ("a header of another purpose", format!("{{ issuer: a, secret: {SECRET}, header: Host }}")),
        ("a claim", format!("{{ issuer: a, secret: {SECRET}, id_claim: a..b }}")),
        ("a permission", format!("{{ issuer: a, secret: {SECRET}, permissions: {{ ADMIN: [everything] }} }}")),
        ("an empty table", format!("{{ issuer: a, secret: {SECRET}, permissions: {{}} }}")),
        ("no room", format!("{{ issuer: a, secret: {SECRET}, revoked: {{ max_entries: 0 }} }}")),
        ("a file that is not there", format!("{{ issuer: a, secret: {SECRET}, revoked: /nonexistent/list }}")),
        ("the same twice", format!("[{{ issuer: a, secret: {SECRET} }}, {{ issuer: a, secret: {SECRET} }}]")),
        (
            "revoked twice",
            format!(
                "[{{ issuer: a, secret: {SECRET}, revoked: {{ ttl: 1h }} }}, {{ issuer: b, secret: {SECRET}, revoked: {{ ttl: 2h }} }}]"
            ),
        ),
        (
            "names that run together",
            format!("[{{ issuer: a@b, secret: {SECRET} }}, {{ issuer: b, secret: {SECRET} }}]"),
        ),
        ("nobody", "[]".to_owned()),
    ];
    let one = |(what, jwt): &(&str, String)| format!("--- {what}\n{}\n", said(jwt));
    let text: String = files.iter().map(one).collect::<Vec<_>>().join("\n");
    assert!(!text.contains("xyzzy") && !text.contains(SECRET), "a secret is shown:\n{text}");
    snapshot("refused_jwt", &text);
}

#[test]
fn a_placeholder_is_for_development_only() {
    let text = with_jwt("{ issuer: a, secret: dev-jwt-secret-for-development-only-1 }");
    let overrides = Overrides { insecure_dev: true, ..Overrides::default() };
    assert!(parse("sluicegate.yaml", &text, &overrides, &Environment::of([])).is_ok());
}

#[test]
fn the_example_of_the_language_is_taken() {
    let text = with_jwt(
        "{ algorithm: HS256, secret: \"${PROD_JWT_SECRET}\", issuer: jairouter-prod, revoked: { max_entries: 50000 } }",
    );
    let environment = Environment::of([("PROD_JWT_SECRET", SECRET)]);
    let loaded = parse("sluicegate.yaml", &text, &Overrides::default(), &environment).unwrap();
    assert_eq!(loaded.warnings, []);
    let jwt = loaded.config.auth.unwrap().jwt.clone().unwrap();
    assert_eq!(&*jwt.issuers[0].name, "jairouter-prod");
    assert_eq!(jwt.revoked.max_entries, 50_000);
    assert!(!format!("{jwt:?}").contains(SECRET));
}

#[test]
fn what_is_not_said_has_a_default() {
    let jwt = jwt(&format!("{{ issuer: a, secret: {SECRET} }}"));
    let issuer = &jwt.issuers[0];
    assert_eq!(issuer.algorithms, [Algorithm::Hs256]);
    assert_eq!((issuer.leeway.as_secs(), issuer.header.as_ref()), (30, None));
    assert_eq!(issuer.id_claim.0, ["sub"]);
    assert_eq!(
        issuer.permission_claims.iter().map(|path| path.0.concat()).collect::<Vec<_>>(),
        ["permissions", "scope"]
    );
    assert_eq!((jwt.revoked.max_entries, jwt.revoked.ttl.as_secs()), (100_000, 86_400));
}

#[test]
fn published_keys_come_by_https_or_from_this_machine() {
    for url in ["https://id.test/jwks", "http://127.0.0.1:9/jwks", "http://[::1]:9/jwks", "http://localhost:9/jwks?x=1"]
    {
        let jwt = jwt(&format!("{{ issuer: a, jwks_url: \"{url}\" }}"));
        let Keys::Url(at) = &jwt.issuers[0].keys else { panic!("{url}") };
        assert_eq!((&*at.url, at.refresh.as_secs()), (url, 600));
    }
    for url in
        ["http://127.0.0.1.evil.test/", "http://localhost.evil.test/", "http://10.0.0.1/", "ftp://id.test/", "//x"]
    {
        assert!(load_text(&with_jwt(&format!("{{ issuer: a, jwks_url: \"{url}\" }}"))).is_err(), "{url}");
    }
}

#[test]
fn a_key_file_says_what_is_wrong_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("key.pem");
    let made = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
    let (public, private, certificate) =
        (made.signing_key.public_key_pem(), made.signing_key.serialize_pem(), made.cert.pem());
    let load = |text: &str, more: &str| {
        std::fs::write(&file, text).unwrap();
        load_text(&with_jwt(&format!("{{ issuer: a, public_key: \"{}\", {more} }}", file.display())))
    };
    for good in [&public, &certificate, &format!("a comment\n{public}")] {
        let jwt = load(good, "leeway: 1s").unwrap().config.auth.unwrap().jwt.clone().unwrap();
        assert_eq!(jwt.issuers[0].algorithms, [Algorithm::Es256], "what the key is for");
    }
    for (text, more, says) in [
        ("", "", "holds no public key in PEM"),
        ("garbage", "", "holds no public key in PEM"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "", "holds no valid public key"),
        (&private, "", "holds a private key, which only the issuer may have"),
        (&format!("{public}{public}"), "", "holds more than one key"),
        (&public, "algorithm: RS256", "RS256 needs an RSA key, and there is none"),
        (&public, "algorithm: HS256", "HS256 needs a secret, and a public key is none"),
    ] {
        let errors = load(text, more).unwrap_err().to_string();
        assert!(errors.contains(says), "{text}: {errors}");
    }
}
