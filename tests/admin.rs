//! The admin listener and `ctl`: the edges that an operator, a scraper or a hostile page can reach.

#[path = "support/harness.rs"]
mod support;

use support::*;

const TOKEN: &str = "t0k3n-of-the-test-4711";

/// Base64 of `me:` and [`TOKEN`].
const BASIC: &str = "Basic bWU6dDBrM24tb2YtdGhlLXRlc3QtNDcxMQ==";

/// A gateway whose admin address wants [`TOKEN`].
async fn guarded(members: &[&Mock]) -> Gateway {
    let admin = format!(r#"{{ address: "{{admin}}", token: {TOKEN} }}"#);
    gateway().section("admin", &admin).pool("app", members).start().await
}

fn path(mock: &Mock, state: &str) -> String {
    format!("/control/pools/app/members/{}/{state}", mock.address())
}

fn bearer() -> String {
    format!("Bearer {TOKEN}")
}

/// The state of a member in `/control/status`.
async fn state(gate: &Gateway, mock: &Mock) -> String {
    let answer = gate.admin().ask("GET", "/control/status").header("authorization", &bearer()).send().await;
    let (status, name) = (answer.json(), mock.address().to_string());
    let mut members = status["pools"][0]["members"].as_array().into_iter().flatten();
    let member = members.find(|member| member["name"] == *name);
    member.map_or_else(String::new, |member| member["state"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_button_of_the_page_works_with_the_token_as_password() {
    let [a, b] = upstreams(["a", "b"]).await;
    let gate = guarded(&[&a, &b]).await;
    let page = gate.admin().get("/stats").await;
    assert_eq!(page.status, 401);
    let schemes: Vec<_> = page.headers.get_all("www-authenticate").iter().map(|v| v.to_str().unwrap()).collect();
    assert!(schemes.iter().any(|scheme| scheme.starts_with("Basic realm=")), "{schemes:?}");
    let page = gate.admin().ask("GET", "/stats").header("authorization", BASIC).send().await;
    assert_eq!(page.status, 200);
    let action = page.text().split("action=\"").find(|rest| rest.contains("/drain\"")).unwrap();
    let pressed = gate
        .admin()
        .ask("POST", action.split('"').next().unwrap())
        .header("authorization", BASIC)
        .header("accept", "text/html,*/*")
        .header("sec-fetch-site", "same-origin")
        .header("origin", &format!("http://{}", gate.admin_address()))
        .send()
        .await;
    assert_eq!((pressed.status, pressed.header("location")), (303, "/stats"));
    assert_eq!(state(&gate, &a).await, "drain");
}

#[tokio::test]
async fn a_page_from_elsewhere_changes_nothing() {
    let [a, b] = upstreams(["a", "b"]).await;
    let gate = guarded(&[&a, &b]).await;
    for (name, value) in [("origin", "http://evil.example"), ("origin", "null"), ("sec-fetch-site", "cross-site")] {
        let ask = gate.admin().ask("POST", &path(&a, "maint")).header("authorization", BASIC).header(name, value);
        assert_eq!(ask.send().await.status, 403, "{name}: {value}");
    }
    assert_eq!(state(&gate, &a).await, "ready");
}

#[tokio::test]
async fn without_a_token_a_foreign_name_for_the_address_is_refused() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    for path in ["/control/status", "/stats", "/metrics"] {
        let rebound = gate.admin().ask("GET", path).header("host", "evil.example:8404").send().await;
        assert_eq!(rebound.status, 403, "{path}");
        assert_eq!(gate.admin().ask("GET", path).header("host", "localhost:8404").send().await.status, 200, "{path}");
    }
    let health = gate.admin().ask("GET", "/health").header("host", "gate.example:8404").send().await;
    assert_eq!(health.status, 200, "probes may use any name");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_413_and_changes_nothing() {
    let a = upstream("a").await;
    let gate = guarded(&[&a]).await;
    let ask = |size| {
        let ask = gate.admin().ask("POST", &path(&a, "maint")).header("authorization", &bearer());
        ask.body(vec![b'x'; size]).send()
    };
    assert_eq!(ask(100_000).await.status, 413);
    assert_eq!(state(&gate, &a).await, "ready");
    assert_eq!(ask(10_000).await.status, 200);
    assert_eq!(state(&gate, &a).await, "maint");
}

#[tokio::test]
async fn what_health_is_made_of_is_only_for_those_who_have_the_token() {
    let a = upstream("a").await;
    let gate = guarded(&[&a]).await;
    let anonymous = gate.admin().get("/actuator/health").await;
    assert_eq!((anonymous.status, anonymous.text()), (200, r#"{"status":"UP"}"#));
    let ask = || gate.admin().ask("GET", "/actuator/health").header("authorization", &bearer()).send();
    let health = ask().await.json();
    assert_eq!(health["components"]["pools"]["components"]["app"]["status"], "UP", "{health}");
    gate.admin().ask("POST", &path(&a, "maint")).header("authorization", &bearer()).send().await;
    let down = ask().await;
    assert_eq!((down.status, down.json()["status"].as_str()), (503, Some("DOWN")));
    assert_eq!(down.json()["components"]["pools"]["components"]["app"]["status"], "DOWN");
    let anonymous = gate.admin().get("/actuator/health").await;
    assert_eq!((anonymous.status, anonymous.text()), (503, r#"{"status":"DOWN"}"#));
}

#[tokio::test]
async fn a_wrong_name_is_answered_with_the_right_ones() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    let pool = gate.control("POST", "/control/pools/ap/members/x/drain").await;
    assert!(pool.status == 404 && pool.text().contains("pools: app"), "{}", pool.text());
    let member = gate.control("POST", "/control/pools/app/members/x/drain").await;
    assert!(member.status == 404 && member.text().contains(&a.address().to_string()), "{}", member.text());
    let nothing = gate.control("GET", "/nothing").await;
    assert_eq!(nothing.json()["error"]["code"], "not_found");
    assert!(nothing.text().contains("/control/reload"), "{}", nothing.text());
    let method = gate.control("DELETE", "/control/reload").await;
    assert_eq!((method.status, method.header("allow")), (405, "POST"));
}

#[tokio::test]
async fn a_reload_takes_a_new_token_into_use() {
    let a = upstream("a").await;
    let gate = guarded(&[&a]).await;
    gate.rewrite_config(|text| text.replace(TOKEN, "another-token-0815"));
    let reload = |token: &str| {
        let ask = gate.admin().ask("POST", "/control/reload").header("authorization", &format!("Bearer {token}"));
        ask.send()
    };
    assert_eq!(reload("another-token-0815").await.status, 401);
    assert_eq!(reload(TOKEN).await.status, 200);
    assert_eq!(reload(TOKEN).await.status, 401);
    assert_eq!(reload("another-token-0815").await.status, 200);
}

#[tokio::test]
async fn ctl_reload_of_a_file_that_is_no_yaml_shows_what_the_gateway_says() {
    let a = upstream("a").await;
    let gate = guarded(&[&a]).await;
    gate.rewrite_config(|text| format!("{text}pools: [\n"));
    let exit = gate.ctl(&["reload"]).await;
    assert_eq!(exit.code, Some(1), "{exit:?}");
    assert!(exit.stderr.contains("sluicegate.yaml:9:8") && exit.stderr.contains("is not closed"), "{exit:?}");
    let status = gate.ctl(&["status"]).await;
    assert!(status.code == Some(0) && status.stdout.contains("last reload refused"), "{status:?}");
    gate.says("control: reload, asked by 127.0.0.1:").await;
}

#[tokio::test]
async fn ctl_drain_waits_for_the_last_request_in_flight() {
    let a = upstream("a").await;
    let gate = guarded(&[&a]).await;
    let client = gate.client().clone();
    let slow = tokio::spawn(async move { client.get("/slow?delay=2s").await });
    eventually(s(2), "the backend has it", async || a.hits() == 1).await;
    let address = a.address().to_string();
    let impatient = gate.ctl(&["drain", "app", &address, "--wait", "0"]).await;
    assert!(impatient.code == Some(1) && impatient.stderr.contains("still 1 in flight"), "{impatient:?}");
    assert!(!slow.is_finished());
    let patient = gate.ctl(&["drain", "app", &address, "--wait"]).await;
    assert_eq!(patient.code, Some(0), "{patient:?}");
    assert_eq!(slow.await.unwrap().status, 200);
    let status = gate.ctl(&["status"]).await.stdout;
    assert!(status.lines().any(|line| line.contains(&address) && line.contains("drained")), "{status}");
}

#[tokio::test]
async fn status_json_is_what_programs_read() {
    let a = upstream("a").await;
    let gate = guarded(&[&a]).await;
    let exit = gate.ctl(&["status", "--json"]).await;
    let status: serde_json::Value = serde_json::from_str(&exit.stdout).unwrap();
    assert_eq!((&status["generation"], &status["draining"]), (&1.into(), &false.into()), "{status}");
    assert_eq!(status["pools"][0]["members"][0]["name"], *a.address().to_string());
    assert_eq!(status["pools"][0]["balance"], "round_robin");
}

#[tokio::test]
async fn the_admin_address_answers_while_the_gateway_drains() {
    let a = upstream("a").await;
    let gate = guarded(&[&a]).await;
    let client = gate.client().clone();
    let slow = tokio::spawn(async move { client.get("/slow?delay=2s").await });
    eventually(s(2), "the backend has it", async || a.hits() == 1).await;
    gate.signal(Signal::TERM);
    eventually(s(2), "not ready", async || gate.admin().get("/ready").await.status == 503).await;
    let status = gate.ctl(&["status"]).await;
    assert!(status.code == Some(0) && status.stdout.contains("draining"), "{status:?}");
    assert_eq!(gate.metric("sluicegate_draining").await, 1.0);
    assert_eq!(slow.await.unwrap().status, 200);
}

#[tokio::test]
async fn connections_that_say_nothing_do_not_keep_a_probe_waiting() {
    let a = upstream("a").await;
    let gate = guarded(&[&a]).await;
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(connect(gate.admin_address()).await);
    }
    let answer = within(s(5), "the probe is answered", gate.admin().get("/health")).await;
    assert_eq!(answer.status, 200);
}
