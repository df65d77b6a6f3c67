//! `auth`: what is refused, what is warned of, and what the values become.

use std::time::{Duration, UNIX_EPOCH};

use sha2::{Digest, Sha256};

use super::*;

const SECRET: &str = "0f4c2ad9e1b78c6d5f";

/// A file whose one key has `more`.
fn with_key(more: &str) -> String {
    with(&format!("auth: {{ api_keys: {{ default_expiry: never, keys: [{{ {more} }}] }} }}\n"))
}

fn messages(text: &str) -> Vec<String> {
    refused(text).problems.iter().map(|problem| format!("{}: {}", problem.key, problem.message)).collect()
}

fn warnings(text: &str) -> Vec<String> {
    let loaded = load_text(text).unwrap_or_else(|errors| panic!("{errors}"));
    loaded.warnings.iter().map(|problem| format!("{}: {}", problem.key, problem.message)).collect()
}

fn keys(text: &str) -> Vec<auth::ApiKey> {
    let auth = load_text(text).unwrap_or_else(|errors| panic!("{errors}")).config.auth.unwrap();
    auth.api_keys.clone().unwrap().keys
}

#[test]
fn what_makes_no_key_is_refused() {
    let key = "auth.api_keys.keys[0]";
    for (more, told) in [
        ("secret: 0f4c2ad9e1b78c6d5f, permissions: read", "`id` is missing"),
        ("id: \"a b\", secret: 0f4c2ad9e1b78c6d5f, permissions: read", "id: `a b` is not the id of a key"),
        ("id: a, permissions: read", "`secret` is missing"),
        ("id: a, secret: 0f4c2ad9e1b78c6d5f", "`permissions` is missing"),
        ("id: a, secret: 0f4c2ad9e1b78c6d5f, permissions: []", "permissions: the list is empty"),
        ("id: a, secret: 0f4c2ad9e1b78c6d5f, permissions: Read", "permissions: `Read` is not a permission"),
        (
            "id: a, secret: \"a b\", permissions: read",
            "secret: the secret has spaces, line breaks or characters outside of ASCII",
        ),
        ("id: a, secret: admin, permissions: read", "secret: the secret is a well-known placeholder"),
        ("id: a, secret_sha256: 12, permissions: read", "secret_sha256: this is not a SHA-256 digest"),
        (
            "id: a, secret: x, secret_sha256: y, permissions: read",
            "secret_sha256: the secret stands here twice: in plain text, and as its digest",
        ),
        (
            "id: a, secret: 0f4c2ad9e1b78c6d5f, permissions: read, expires_at: tomorrow",
            "expires_at: `tomorrow` is not a moment",
        ),
        (
            "id: a, secret: 0f4c2ad9e1b78c6d5f, permissions: read, previous: { secret: 1f4c2ad9e1b78c6d5f }",
            "previous: `until` is missing",
        ),
        (
            "id: a, secret: 0f4c2ad9e1b78c6d5f, permissions: read, previous: { secret: 0f4c2ad9e1b78c6d5f, until: 2099-01-01T00:00:00Z }",
            ": the previous secret is the current one",
        ),
    ] {
        let all = messages(&with_key(more));
        let (place, message) = told.split_once(": ").filter(|_| !told.starts_with('`')).unwrap_or(("", told));
        let dot = if place.is_empty() { "" } else { "." };
        assert_eq!(all, [format!("{key}{dot}{place}: {message}")], "{more}");
    }
}

#[test]
fn what_routes_ask_for_in_vain_is_refused() {
    let auth = format!(
        "auth: {{ api_keys: {{ default_expiry: never, keys: [{{ id: a, secret: {SECRET}, permissions: read }}] }} }}\n"
    );
    let said = |more: &str, auth: &str| messages(&format!("{}{auth}", with_route(more)));
    for (more, section, told) in [
        ("auth: required", "", "routes[0].auth: there is no section `auth`: nobody can come in"),
        ("auth: api_keys", "", "routes[0].auth: there is no `auth.api_keys`: nobody can come in by it"),
        ("auth: jwt", auth.as_str(), "routes[0].auth: there is no `auth.jwt`: nobody can come in by it"),
        ("auth: [none, api_keys]", &auth, "routes[0].auth: `none` and `required` stand alone"),
        ("auth: requird", &auth, "routes[0].auth: `requird` is not what a route can ask for"),
        ("permission: \"a:b\"", "", "routes[0].permission: nobody has permissions here: the route needs no caller"),
        (
            "auth: none\npermission: read",
            &auth,
            "routes[0].permission: nobody has permissions here: the route needs no caller",
        ),
        (
            "permission: \"chat:*\"",
            &auth,
            "routes[0].permission: `chat:*` is not a permission that a route can ask for",
        ),
        ("forward_credentials: true", "", "routes[0].forward_credentials: there is no section `auth`"),
    ] {
        assert_eq!(said(more, section), [told], "{more}");
    }
    assert_eq!(
        messages(&with("auth: { forward_credentials: true }\n")),
        ["auth.forward_credentials: there are no credentials to forward"]
    );
    assert_eq!(messages(&with("auth: { api_keys: {} }\n")), ["auth.api_keys: `file` is missing"]);
    for header in ["Cookie", "authorization", "a b"] {
        let text = with(&format!("auth: {{ api_keys: {{ header: {header}, keys: [] }} }}\n"));
        assert!(messages(&text)[0].starts_with("auth.api_keys.header: "), "{header}");
    }
}

#[test]
fn a_key_comes_in_one_header_or_in_any_of_a_list() {
    let with_header = |header: &str| with(&format!("auth: {{ api_keys: {{ {header} keys: [] }} }}\n"));
    let headers = |header: &str| config(&with_header(header)).auth.as_ref().unwrap().api_keys.clone().unwrap().headers;
    assert_eq!(headers(""), ["x-api-key"]);
    assert_eq!(headers("header: Api-Key,"), ["api-key"]);
    assert_eq!(headers("header: [X-API-Key, api-key],"), ["x-api-key", "api-key"]);
    let many: Vec<String> = (0..9).map(|n| format!("x-key-{n}")).collect();
    for (header, told) in [
        ("[]".to_owned(), "auth.api_keys.header: the list is empty"),
        ("[x-a, X-A]".to_owned(), "auth.api_keys.header[1]: `X-A` stands here twice"),
        ("[x-a, Cookie]".to_owned(), "auth.api_keys.header[1]: `Cookie` is not a header of its own"),
        (format!("[{}]", many.join(", ")), "auth.api_keys.header: 9 headers are too many"),
    ] {
        assert_eq!(messages(&with_header(&format!("header: {header},"))), [told]);
    }
}

#[test]
fn keys_that_end_within_a_week_are_warned_of_at_once() {
    let after =
        |days: u64| jiff::Timestamp::try_from(crate::clock::wall() + Duration::from_secs(days * 86_400)).unwrap();
    let key = |id: &str, more: &str| format!("{{ id: {id}, secret: {SECRET}-{id}, permissions: read, {more} }}");
    let ends = |id: &str, days: u64| key(id, &format!("expires_at: {}", after(days)));
    let told = |keys: &[String]| {
        let keys = keys.join(", ");
        warnings(&with(&format!("auth: {{ api_keys: {{ default_expiry: never, keys: [{keys}] }} }}\n")))
    };
    assert_eq!(told(&[ends("a", 8), key("b", "expires_at: 2098-01-01T00:00:00Z")]), [""; 0]);
    assert_eq!(told(&[key("off", &format!("enabled: false, expires_at: {}", after(2)))]), [""; 0]);
    let one = told(&[ends("a", 8), ends("b", 3)]);
    assert!(one.len() == 1 && one[0].starts_with("auth.api_keys.keys: `b` ends soon, at "), "{one:?}");
    let more = told(&[ends("a", 6), ends("b", 3), ends("c", 4)]);
    assert!(more.len() == 1 && more[0].contains("`b` ends soon"), "{more:?}");
    assert!(more[0].ends_with(", and 2 more within a week"), "{more:?}");
}

#[test]
fn every_route_needs_a_caller_once_there_are_keys() {
    let text = format!(
        "{}auth: {{ api_keys: {{ default_expiry: never, keys: [{{ id: a, secret: {SECRET}, permissions: read }}] }} }}\n",
        with_route("match: /a")
    );
    assert!(matches!(config(&text).routes[0].auth, RouteAuth::Required(_)));
    let open = text.replace("match: /a", "match: /a\n    auth: none");
    assert_eq!(config(&open).routes[0].auth, RouteAuth::None);
    assert_eq!(config(&with("")).routes[0].auth, RouteAuth::None);
}

#[test]
fn a_key_that_cannot_come_in_is_warned_of_and_has_no_secret() {
    let empty = format!("{:x}", Sha256::digest(""));
    let known = format!("{:x}", Sha256::digest("admin"));
    for (more, told) in [
        (
            "secret: \"${UNSET:-}\"".to_owned(),
            "secret: the secret is empty: this key is disabled, and nothing matches it",
        ),
        (
            "secret_sha256: \"${UNSET:-}\"".to_owned(),
            "secret_sha256: the secret is empty: this key is disabled, and nothing matches it",
        ),
        (
            format!("secret_sha256: {empty}"),
            "secret_sha256: the secret is empty: this key is disabled, and nothing matches it",
        ),
        (
            format!("secret_sha256: {known}"),
            "secret_sha256: this is the digest of a well-known placeholder: nothing matches it",
        ),
    ] {
        let text = with_key(&format!("id: a, {more}, permissions: read"));
        assert_eq!(warnings(&text), [format!("auth.api_keys.keys[0].{told}")], "{more}");
        assert_eq!(keys(&text)[0].secrets, []);
        let off = with_key(&format!("id: a, {more}, permissions: read, enabled: false"));
        assert_eq!(warnings(&off), [""; 0], "{more}");
    }
    assert_eq!(warnings(&with_key("id: a, secret: admin, enabled: false, permissions: read")), [""; 0]);
}

#[test]
fn the_key_of_the_examples_comes_in_and_is_warned_of() {
    let text = with_key(&format!("id: a, secret_sha256: {:x}, permissions: read", Sha256::digest("secret")));
    let told = "secret_sha256: this is the digest of `secret`: everyone who knows the examples can come in";
    assert_eq!(warnings(&text), [format!("auth.api_keys.keys[0].{told}")]);
    assert_eq!(keys(&text)[0].secrets.len(), 1);
}

#[test]
fn in_development_placeholders_are_secrets() {
    let overrides = Overrides { insecure_dev: true, ..Overrides::default() };
    let known = format!("{:x}", Sha256::digest("secret"));
    for secret in ["secret: changeme".to_owned(), format!("secret_sha256: {known}")] {
        let text = with_key(&format!("id: a, {secret}, permissions: read"));
        let loaded = parse("x.yaml", &text, &overrides, &Environment::of([])).unwrap();
        assert_eq!(loaded.config.auth.unwrap().api_keys.as_ref().unwrap().keys[0].secrets.len(), 1, "{secret}");
        assert_eq!(loaded.warnings, []);
    }
}

#[test]
fn the_age_of_a_key_ends_it_unless_it_says_when() {
    let second = |seconds| Some(UNIX_EPOCH + Duration::from_secs(seconds));
    let expiry = |default: &str, more: &str| {
        let text = with(&format!(
            "auth: {{ api_keys: {{ {default} keys: [{{ id: a, secret: {SECRET}, permissions: read{more} }}] }} }}\n"
        ));
        keys(&text)[0].expires_at
    };
    let made = ", created_at: 2000-01-01T00:00:00Z";
    let year = Duration::from_secs(365 * 86_400);
    let epoch = second(946_684_800);
    assert_eq!(expiry("", made), epoch.map(|at| at + year));
    assert_eq!(expiry("default_expiry: 1d,", made), epoch.map(|at| at + Duration::from_secs(86_400)));
    assert_eq!(expiry("default_expiry: never,", made), None);
    assert_eq!(expiry("", &format!("{made}, expires_at: 1970-01-01T02:00:09+02:00")), second(9));
    assert_eq!(expiry("", ""), None);
    let forever = format!("auth: {{ api_keys: {{ keys: [{{ id: a, secret: {SECRET}, permissions: read }}] }} }}\n");
    assert_eq!(warnings(&with(&forever)), ["auth.api_keys.keys: `a` never expires"]);
}

#[test]
fn a_key_file_is_told_of_with_its_own_places() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keys.yaml");
    let main = with(&format!("auth: {{ api_keys: {{ file: {} }} }}\nnonsense: 1\n", file.display()));
    std::fs::write(&file, "keys:\n  - { id: a, secret: admin, permissions: read }\n  - { id: a }\n").unwrap();
    let errors = refused(&main);
    let told: Vec<_> = errors
        .problems
        .iter()
        .map(|problem| {
            (problem.origin.ends_with("keys.yaml"), problem.position.unwrap().line, problem.message.as_str())
        })
        .collect();
    assert_eq!(
        told,
        [
            (false, 8, "unknown key"),
            (true, 2, "the secret is a well-known placeholder"),
            (true, 3, "`permissions` is missing"),
            (true, 3, "`secret` is missing"),
            (true, 3, &*format!("two keys have the id `a`; the first is in {}:2", file.display())),
        ]
    );
    assert!(!errors.to_string().contains("secret: admin"), "{errors}");
    for (text, message) in [
        ("- x\n", "the file is not a map of keys"),
        ("{}\n", "`keys` is missing"),
        ("keys: x\n", "expected a map of keys"),
    ] {
        std::fs::write(&file, text).unwrap();
        let errors = refused(&main.replace("nonsense: 1\n", ""));
        assert!(errors.to_string().contains(message), "{errors}");
        assert!(errors.problems[0].origin.ends_with("keys.yaml"), "{errors}");
    }
    std::fs::write(&file, [0xff, b'\n']).unwrap();
    assert_eq!(messages(&main.replace("nonsense: 1\n", "")).len(), 1);
}

#[test]
fn a_line_that_is_no_yaml_shows_no_secret() {
    for line in [
        "token: hush",
        "  - { id: a, secret: hush",
        "\"secret\" : hush",
        "Secret: hush: hush",
        "sceret: hush, token: hush",
        "general_settings: { master_key: hush }",
        "litellm: [sk-hush, \"hf_hush\"]",
    ] {
        let errors = refused(&format!("listen: 127.0.0.1:80\n{line}\n  - ]\n"));
        assert!(!errors.to_string().contains("hush"), "{line}: {errors}");
    }
}
