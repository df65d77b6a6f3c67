//! Who comes in by a token, and who does not: 401 for a bad one, 403 for one that does not permit it.

#[path = "support/harness.rs"]
mod support;

use serde_json::{Value, json};
use support::*;

/// A gateway that takes tokens of `https://id.test`; `jwt` is the inside of the braces.
fn with_jwt(mock: &Mock, jwt: &str) -> Builder {
    gateway().section("auth", &format!("{{ jwt: {{ issuer: \"https://id.test\", {jwt} }} }}")).pool("app", &[mock])
}

/// One that shares [`SECRET`] with the issuer.
async fn shared(mock: &Mock) -> Gateway {
    with_jwt(mock, &format!("secret: {SECRET}")).start().await
}

fn hs256() -> Signer {
    Signer::secret("HS256", SECRET)
}

/// The answer to a GET with this token.
async fn get(gate: &Gateway, token: &str) -> Answer {
    gate.ask("GET", "/echo").header("authorization", &format!("Bearer {token}")).send().await
}

/// That the token is refused as the client may know it: 401, JSON, and not a word about why.
async fn refused(gate: &Gateway, token: &str, what: &str) {
    let answer = get(gate, token).await;
    assert_eq!(answer.status, 401, "{what}");
    assert_eq!(answer.header("content-type"), "application/json", "{what}");
    assert_eq!(answer.json()["error"]["code"], "unauthorized", "{what}");
    assert!(answer.header("www-authenticate").starts_with("Bearer"), "{what}");
}

/// How many requests were refused for this reason.
async fn counted(gate: &Gateway, reason: &str) -> f64 {
    gate.metric(&format!("jairouter_auth_failures_total{{reason=\"{reason}\"}}")).await
}

#[tokio::test]
async fn a_good_token_comes_in_and_does_not_go_on_to_the_backend() {
    let a = upstream("a").await;
    let gate = shared(&a).await;
    let token = hs256().token(&claims(json!({})));
    for _ in 0..3 {
        assert_eq!(get(&gate, &token).await.status, 200);
    }
    assert_eq!(sent(&last_seen(&a), "authorization"), "");
    assert_eq!(gate.get("/echo").await.status, 401, "without a token");
    assert_eq!(a.hits(), 3);
}

#[tokio::test]
async fn a_bad_token_is_refused_and_the_reason_is_counted_and_never_told() {
    let a = upstream("a").await;
    let jwt = format!("secret: {SECRET}, audience: gate, leeway: 0s");
    let gate = with_jwt(&a, &jwt).start().await;
    let said = |more: Value| {
        let mut with_audience = json!({ "aud": "gate" });
        with_audience.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        hs256().token(&claims(with_audience))
    };
    assert_eq!(get(&gate, &said(json!({}))).await.status, 200);
    let now = seconds_now();
    let good = said(json!({}));
    let (head, signature) = good.rsplit_once('.').unwrap();
    let tampered =
        format!("{}.{}.{signature}", good.split('.').next().unwrap(), part(&claims(json!({ "aud": "gate" }))));
    for (token, reason) in [
        (said(json!({ "iss": "https://evil.test" })), "issuer"),
        (said(json!({ "iss": null })), "issuer"),
        (said(json!({ "aud": "other" })), "audience"),
        (said(json!({ "aud": null })), "audience"),
        (said(json!({ "exp": now - 1 })), "expired"),
        (said(json!({ "exp": null })), "claims"),
        (said(json!({ "exp": (now + 60).to_string() })), "claims"),
        (said(json!({ "nbf": now + 600 })), "not_yet_valid"),
        (said(json!({ "nbf": "never" })), "claims"),
        (said(json!({ "sub": null })), "claims"),
        (Signer::secret("HS256", "x".repeat(64)).token(&claims(json!({ "aud": "gate" }))), "signature"),
        (Signer::secret("HS512", SECRET).token(&claims(json!({ "aud": "gate" }))), "algorithm"),
        (tampered.replace("YWxpY2U", "Ym9i") + "x", "signature"),
        (format!("{head}."), "signature"),
        (hs256().token_with(json!({ "crit": ["exp"] }), &claims(json!({ "aud": "gate" }))), "critical"),
        ("eyJ.eyJ.eyJ".to_owned(), "malformed"),
        (format!("{head}.%%%"), "malformed"),
        (said(json!({ "x": "y".repeat(9000) })), "too_long"),
    ] {
        let before = counted(&gate, reason).await;
        refused(&gate, &token, reason).await;
        assert_eq!(counted(&gate, reason).await, before + 1.0, "{reason}: {token:.80}");
    }
}

#[tokio::test]
async fn a_token_without_a_signature_is_refused() {
    let a = upstream("a").await;
    let gate = shared(&a).await;
    for none in ["none", "None", "NONE", "nOnE", "noNe", ""] {
        let unsigned = format!("{}.{}.", part(&json!({ "alg": none, "typ": "JWT" })), part(&claims(json!({}))));
        refused(&gate, &unsigned, none).await;
        refused(&gate, &hs256().token_with(json!({ "alg": none }), &claims(json!({}))), none).await;
    }
    assert_eq!(a.hits(), 0);
}

#[tokio::test]
async fn a_public_key_signs_nothing() {
    let a = upstream("a").await;
    for signer in [Signer::rsa("RS256"), Signer::p256(), Signer::ed25519()] {
        let gate = with_jwt(&a, "public_key: \"{dir}/key.pem\"").file("key.pem", &signer.pem).start().await;
        assert_eq!(get(&gate, &signer.token(&claims(json!({})))).await.status, 200);
        for secret in [signer.pem.as_str(), signer.pem.trim_end()] {
            for name in ["HS256", "HS384", "HS512"] {
                refused(&gate, &Signer::secret(name, secret).token(&claims(json!({}))), name).await;
            }
        }
    }
}

#[tokio::test]
async fn two_tokens_are_one_too_many() {
    let a = upstream("a").await;
    let gate = shared(&a).await;
    let token = format!("Bearer {}", hs256().token(&claims(json!({}))));
    let two = gate.ask("GET", "/echo").header("authorization", &token).header("authorization", &token).send().await;
    assert_eq!(two.status, 401);
    let listed = gate.ask("GET", "/echo").header("authorization", &format!("{token}, {token}")).send().await;
    assert_eq!(listed.status, 401);
    assert_eq!(a.hits(), 0);
}

#[tokio::test]
async fn a_token_may_come_in_a_header_of_its_own_and_authorization_is_then_the_backends() {
    let a = upstream("a").await;
    let gate = with_jwt(&a, &format!("secret: {SECRET}, header: Jairouter_Token")).start().await;
    let token = hs256().token(&claims(json!({})));
    let ask = gate.ask("GET", "/echo").header("Jairouter_Token", &token).header("authorization", "Bearer sk-provider");
    assert_eq!(ask.send().await.status, 200);
    let seen = last_seen(&a);
    assert_eq!(
        (sent(&seen, "jairouter_token"), sent(&seen, "authorization")),
        (String::new(), "Bearer sk-provider".to_owned())
    );
    refused(&gate, &token, "in the usual header").await;
    let twice = gate.ask("GET", "/echo").header("Jairouter_Token", &token).header("Jairouter_Token", &token);
    assert_eq!(twice.send().await.status, 401);
}

#[tokio::test]
async fn a_token_permits_what_its_claims_say() {
    let a = upstream("a").await;
    let jwt = format!(
        "secret: {SECRET}, permissions_claim: [roles, scope], permissions: {{ ROLE_CHAT: [\"chat:*\"], ADMIN: [\"*\"] }}"
    );
    let gate = with_jwt(&a, &jwt).route("match: { path: / }, pool: app, permission: \"chat:use\"").start().await;
    for (more, status) in [
        (json!({ "roles": ["ROLE_CHAT"] }), 200),
        (json!({ "scope": "openid ADMIN" }), 200),
        (json!({}), 403),
        (json!({ "roles": ["ROLE_IMAGE"] }), 403),
        (json!({ "roles": ["*"], "scope": "chat:use admin" }), 403),
        (json!({ "permissions": ["ADMIN"] }), 403),
        (json!({ "roles": { "ADMIN": true } }), 401),
    ] {
        let answer = get(&gate, &hs256().token(&claims(more.clone()))).await;
        assert_eq!(answer.status, status, "{more}");
        if status == 403 {
            assert_eq!(answer.json()["error"]["code"], "permission_denied");
        }
    }
}

#[tokio::test]
async fn a_revoked_token_is_refused_and_stays_so_after_a_reload() {
    let a = upstream("a").await;
    let gate = with_jwt(&a, &format!("secret: {SECRET}, revoked: {{ max_entries: 50000 }}")).start().await;
    let [one, other] = ["urn:token/1 %", "2"].map(|jti| hs256().token(&claims(json!({ "jti": jti }))));
    assert_eq!(get(&gate, &one).await.status, 200);
    let done = gate.ctl(&["revoke", "urn:token/1 %"]).await;
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(
        done.stdout.contains("urn:token/1 % is revoked until ") && done.stdout.contains("(1 of 50000)"),
        "{done:?}"
    );
    refused(&gate, &one, "revoked").await;
    assert_eq!(counted(&gate, "revoked").await, 1.0);
    assert_eq!(get(&gate, &other).await.status, 200);
    assert_eq!(gate.reload().await.status, 200);
    refused(&gate, &one, "revoked before the reload").await;
    assert_eq!(get(&gate, &other).await.status, 200);
    assert_eq!(gate.metric("sluicegate_revoked_tokens").await, 1.0);
}

#[tokio::test]
async fn a_revocation_stands_in_the_audit_log() {
    let a = upstream("a").await;
    let log = r#"{ level: info, audit: { file: "{dir}/audit.log" } }"#;
    let gate = with_jwt(&a, &format!("secret: {SECRET}")).section("log", log).start().await;
    assert_eq!(gate.control("POST", "/control/tokens/stolen/revoke").await.status, 200);
    let file = gate.dir().join("audit.log");
    eventually(s(5), "the revocation in the audit log", async || {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        text.lines().any(|line| line.contains("\"revoke\"") && line.contains("\"stolen\""))
    })
    .await;
}

#[tokio::test]
async fn a_revocation_may_say_until_when_and_says_what_is_wrong_with_it() {
    let a = upstream("a").await;
    let gate = shared(&a).await;
    let answer = gate.control("POST", "/control/tokens/a/revoke?expires=2031-01-01T00:00:00Z").await;
    assert_eq!((answer.status, answer.json()["until"].as_str()), (200, Some("2031-01-01T00:00:30Z")), "and the leeway");
    let seconds = gate.control("POST", "/control/tokens/b/revoke?expires=4102444800").await;
    assert_eq!(seconds.json()["until"], "2100-01-01T00:00:30Z");
    let long = format!("/control/tokens/{}/revoke", "x".repeat(513));
    for (path, status) in [
        ("/control/tokens/a/revoke?expires=soon", 400),
        ("/control/tokens/a/revoke?expires=1", 400),
        ("/control/tokens/a/revoke?until=1", 400),
        ("/control/tokens//revoke", 400),
        (long.as_str(), 400),
        ("/control/tokens/%ff/revoke", 404),
    ] {
        assert_eq!(gate.control("POST", path).await.status, status, "{path}");
    }
    assert_eq!(gate.control("GET", "/control/tokens/a/revoke").await.status, 405);
    let without = gateway().pool("app", &[&a]).start().await;
    let exit = without.ctl(&["revoke", "a"]).await;
    assert_eq!(exit.code, Some(1));
    assert!(exit.stderr.contains("there is no auth.jwt"), "{exit:?}");
}

#[tokio::test]
async fn at_the_most_revocations_the_oldest_is_forgotten_and_that_is_told() {
    let a = upstream("a").await;
    let gate = with_jwt(&a, &format!("secret: {SECRET}, revoked: {{ max_entries: 2 }}")).start().await;
    for jti in ["1", "2", "3"] {
        assert_eq!(gate.control("POST", &format!("/control/tokens/{jti}/revoke")).await.status, 200);
    }
    let status = async |jti: &str| get(&gate, &hs256().token(&claims(json!({ "jti": jti })))).await.status;
    assert_eq!([status("1").await, status("2").await, status("3").await], [200, 401, 401]);
    assert_eq!(gate.metric("sluicegate_revoked_tokens_forgotten_total").await, 1.0);
    gate.says("auth.jwt.revoked.max_entries is reached").await;
}

#[tokio::test]
async fn the_file_of_revoked_tokens_is_read_again_by_a_reload() {
    let a = upstream("a").await;
    let jwt = format!("secret: {SECRET}, revoked: {{ file: \"{{dir}}/revoked\" }}");
    let gate = with_jwt(&a, &jwt).file("revoked", "# lost laptop\n1\n").start().await;
    let status = async |jti: &str| get(&gate, &hs256().token(&claims(json!({ "jti": jti })))).await.status;
    assert_eq!([status("1").await, status("2").await], [401, 200]);
    std::fs::write(gate.dir().join("revoked"), "2\n").unwrap();
    assert_eq!([status("1").await, status("2").await], [401, 200], "it only counts after a reload");
    assert_eq!(gate.reload().await.status, 200);
    assert_eq!([status("1").await, status("2").await], [200, 401]);
}

#[tokio::test]
async fn a_reload_changes_the_secret_and_whose_tokens_are_taken() {
    let a = upstream("a").await;
    let gate = shared(&a).await;
    let old = hs256().token(&claims(json!({})));
    assert_eq!(get(&gate, &old).await.status, 200);
    let next = SECRET.replace('c', "d");
    gate.reload_with(&format!("secret: {SECRET}"), &format!("secret: {next}")).await;
    refused(&gate, &old, "of the old secret, though it was taken before").await;
    assert_eq!(get(&gate, &Signer::secret("HS256", &next).token(&claims(json!({})))).await.status, 200);
}

#[tokio::test]
async fn no_log_and_no_answer_shows_a_token_or_the_secret() {
    let a = upstream("a").await;
    let gate = with_jwt(&a, &format!("secret: {SECRET}"))
        .section("log", r#"{ level: trace, access: { file: "{dir}/access.log", format: json } }"#)
        .start()
        .await;
    let good = hs256().token(&claims(json!({ "jti": "1" })));
    let bad = Signer::secret("HS256", "y".repeat(64)).token(&claims(json!({})));
    let header = hs256().token_with(json!({ "alg": "none" }), &claims(json!({})));
    let mut shown = String::new();
    for token in [&good, &bad, &header] {
        shown.push_str(get(&gate, token).await.text());
    }
    shown.push_str(&gate.access_lines(3).await.concat());
    shown.push_str(gate.admin().get("/metrics").await.text());
    shown.push_str(gate.control("GET", "/control/status").await.text());
    shown.push_str(&gate.stderr());
    assert!(shown.contains("trace") || shown.contains("TRACE"), "the log says everything");
    for token in [&good, &bad, &header] {
        for piece in token.split('.').filter(|piece| piece.len() > 30) {
            assert!(!shown.contains(piece), "a part of a token is shown");
        }
    }
    assert!(!shown.contains(SECRET));
}

#[tokio::test]
async fn a_weak_secret_does_not_start_and_is_not_shown() {
    let a = upstream("a").await;
    for (secret, says) in [
        ("\"\"", "the secret is empty, so anyone could sign tokens"),
        ("tooshort-4711-xyzzy", "the secret has fewer than 32 bytes"),
        ("dev-jwt-secret-key-for-development-only-4711", "the secret is a well-known placeholder"),
    ] {
        let exit = with_jwt(&a, &format!("secret: {secret}")).start_in_vain().await;
        assert_eq!(exit.code, Some(78), "{secret}");
        assert!(exit.stderr.contains(says), "{secret}: {}", exit.stderr);
        assert!(!exit.stderr.contains("4711"), "{}", exit.stderr);
    }
}
