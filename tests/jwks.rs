//! Keys that an issuer publishes: fetched, followed when they change, and kept when the issuer fails.

#[path = "support/harness.rs"]
mod support;

use serde_json::{Value, json};
use support::*;

/// A gateway that fetches its keys at `url`, with `more` keys of `auth.jwt`.
fn fetching(mock: &Mock, url: &str, more: &str) -> Builder {
    let jwt = format!("{{ issuer: \"https://id.test\", jwks_url: \"{url}\", {more} }}");
    gateway().section("auth", &format!("{{ jwt: {jwt} }}")).pool("app", &[mock])
}

async fn status(gate: &Gateway, token: &str) -> u16 {
    gate.ask("GET", "/echo").header("authorization", &format!("Bearer {token}")).send().await.status
}

fn token(signer: &Signer, kid: &str) -> String {
    signer.token_with(json!({ "kid": kid }), &claims(json!({})))
}

/// The one set in the status.
async fn jwks(gate: &Gateway) -> Value {
    gate.control("GET", "/control/status").await.json()["jwks"][0].clone()
}

#[tokio::test]
async fn keys_are_there_from_the_first_request_on() {
    let a = upstream("a").await;
    let (rsa, p256, ed) = (Signer::rsa("RS256"), Signer::p256(), Signer::ed25519());
    let server = key_server(Answers::Keys(vec![rsa.jwk("r"), p256.jwk("p"), ed.jwk("e")])).await;
    let gate = fetching(&a, &server.url(), "").start().await;
    for (signer, kid) in [(&rsa, "r"), (&p256, "p"), (&ed, "e")] {
        assert_eq!(status(&gate, &token(signer, kid)).await, 200, "{kid}");
    }
    assert_eq!(status(&gate, &token(&p256, "e")).await, 401, "it names another key");
    assert_eq!(server.hits(), 1, "fetched once, not per request");
    assert_eq!(jwks(&gate).await["keys"], 3);
    let shown = gate.ctl(&["status"]).await.stdout;
    assert!(shown.contains("/jwks.json: 3, fetched "), "{shown}");
    assert!(!shown.contains("sEcReT"), "the query may be a secret: {shown}");
    assert!(!gate.stderr().contains("sEcReT"), "{}", gate.stderr());
    assert!(!gate.admin().get("/metrics").await.text().contains("sEcReT"));
}

#[tokio::test]
async fn a_new_key_is_fetched_when_a_token_names_it_and_no_more_often_than_that() {
    let a = upstream("a").await;
    let (old, new) = (Signer::p256(), Signer::p256());
    let server = key_server(Answers::Keys(vec![old.jwk("old")])).await;
    let gate = fetching(&a, &server.url(), "").start().await;
    let remembered = token(&old, "old");
    assert_eq!(status(&gate, &remembered).await, 200);
    server.now(Answers::Keys(vec![new.jwk("new")]));
    let good = token(&new, "new");
    assert_eq!(status(&gate, &good).await, 401, "this one asks for the keys");
    eventually(s(5), "the new key is known", async || status(&gate, &good).await == 200).await;
    assert_eq!(server.hits(), 2);
    assert_eq!(status(&gate, &remembered).await, 401, "the old key is gone, and what it signed with it");
    for number in 0..50 {
        assert_eq!(status(&gate, &token(&new, &number.to_string())).await, 401);
    }
    assert_eq!(server.hits(), 2, "strangers do not make us fetch");
}

#[tokio::test]
async fn keys_are_fetched_again_in_their_time() {
    let a = upstream("a").await;
    let (old, new) = (Signer::p256(), Signer::p256());
    let server = key_server(Answers::Keys(vec![old.jwk("1")])).await;
    let gate = fetching(&a, &server.url(), "refresh: 1s").start().await;
    assert_eq!(status(&gate, &token(&old, "1")).await, 200);
    server.now(Answers::Keys(vec![new.jwk("1")]));
    eventually(s(10), "the key under the same name is another", async || status(&gate, &token(&new, "1")).await == 200)
        .await;
    assert_eq!(status(&gate, &token(&old, "1")).await, 401);
}

#[tokio::test]
async fn the_last_good_keys_stay_while_the_issuer_fails() {
    let a = upstream("a").await;
    let signer = Signer::p256();
    let server = key_server(Answers::Keys(vec![signer.jwk("1")])).await;
    let gate = fetching(&a, &server.url(), "refresh: 1s").start().await;
    let failed = async || gate.metric("sluicegate_jwks_fetches_total{result=\"failure\"}").await;
    for answers in [
        Answers::Status(500, "no".to_owned()),
        Answers::Status(200, "<html>maintenance</html>".to_owned()),
        Answers::Status(200, "{\"keys\":[]}".to_owned()),
        Answers::Redirect("http://127.0.0.1:1/".to_owned()),
        Answers::Endless,
    ] {
        server.now(answers);
        let before = failed().await;
        eventually(s(20), "the fetch failed", async || failed().await > before).await;
        assert_eq!(status(&gate, &token(&signer, "1")).await, 200);
    }
    let now = jwks(&gate).await;
    assert_eq!((now["keys"].as_u64(), now["failure"].as_str()), (Some(1), Some("has more than 262144 bytes")));
    gate.says("the keys in use stay").await;
    server.now(Answers::Keys(vec![signer.jwk("1")]));
    eventually(s(70), "it is well again", async || jwks(&gate).await["failure"].is_null()).await;
}

#[tokio::test]
async fn without_keys_tokens_are_refused_and_the_status_says_why() {
    let a = upstream("a").await;
    let signer = Signer::p256();
    let nobody = format!("http://{}/jwks", free_address());
    let server = key_server(Answers::Status(200, "garbage".to_owned())).await;
    for (url, why) in [(nobody, "cannot be fetched: "), (server.url(), "holds no JWK set")] {
        let gate = fetching(&a, &url, "").start().await;
        assert_eq!(status(&gate, &token(&signer, "1")).await, 401);
        assert_eq!(gate.metric("jairouter_auth_failures_total{reason=\"no_keys\"}").await, 1.0);
        let now = jwks(&gate).await;
        assert_eq!(now["keys"], 0);
        assert!(now["failure"].as_str().unwrap().contains(why), "{now}");
        gate.says("its tokens are refused").await;
    }
    server.now(Answers::Keys(vec![signer.jwk("1")]));
    let gate = fetching(&a, &server.url(), "").start().await;
    assert_eq!(status(&gate, &token(&signer, "1")).await, 200);
}

#[tokio::test]
async fn an_issuer_that_says_nothing_holds_up_nobody_but_its_own() {
    let a = upstream("a").await;
    let server = key_server(Answers::Nothing).await;
    let jwt = format!(
        "[{{ issuer: slow, jwks_url: \"{}\" }}, {{ issuer: \"https://id.test\", secret: {SECRET} }}]",
        server.url()
    );
    let gate = gateway().section("auth", &format!("{{ jwt: {jwt} }}")).pool("app", &[&a]).start().await;
    let good = Signer::secret("HS256", SECRET).token(&claims(json!({})));
    assert_eq!(status(&gate, &good).await, 200);
    let other = Signer::p256().token(&claims(json!({ "iss": "slow" })));
    assert_eq!(status(&gate, &other).await, 401);
    let reload = within(s(15), "a reload", gate.reload()).await;
    assert_eq!(reload.status, 200);
    assert_eq!(status(&gate, &good).await, 200);
}

#[tokio::test]
async fn keys_and_what_is_known_of_them_outlive_a_reload() {
    let a = upstream("a").await;
    let signer = Signer::p256();
    let server = key_server(Answers::Keys(vec![signer.jwk("1")])).await;
    let gate = fetching(&a, &server.url(), "").start().await;
    assert_eq!(gate.reload().await.status, 200);
    server.now(Answers::Status(500, String::new()));
    assert_eq!(gate.reload().await.status, 200);
    assert_eq!(status(&gate, &token(&signer, "1")).await, 200);
    assert_eq!(server.hits(), 1);
}

#[tokio::test]
async fn the_servers_certificate_is_checked() {
    let a = upstream("a").await;
    let authority = Authority::new();
    let identity = authority.issue(&["localhost"]);
    let server = Mock::builder("keys").tls(&identity.cert, &identity.key).start().await;
    let url = format!("https://localhost:{}/jwks", server.address().port());
    let stranger = fetching(&a, &url, "").start().await;
    let failure = jwks(&stranger).await["failure"].as_str().unwrap().to_owned();
    assert!(failure.contains("certificate"), "{failure}");
    let file = "{dir}/ca.pem";
    let known = fetching(&a, &url, "").file("ca.pem", &authority.pem());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ca.pem");
    std::fs::write(&path, authority.pem()).unwrap();
    let gate = known.env("SSL_CERT_FILE", path.to_str().unwrap()).start().await;
    let failure = jwks(&gate).await["failure"].as_str().unwrap().to_owned();
    assert!(failure.contains("holds no JWK set"), "it came this far, and {file} is what it is checked with: {failure}");
}
