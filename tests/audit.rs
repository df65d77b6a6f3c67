//! The audit log: who changed what, who was refused, and the alarms that follow.

#[path = "support/harness.rs"]
mod support;

use std::collections::HashSet;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use serde_json::{Value, json};
use support::ai::*;
use support::*;

const TOKEN: &str = "the-operators-own-token-0815";
const WEBHOOK_SECRET: &str = "the-secret-of-the-webhook-4242";

/// A gateway with an audit log; `more` are further keys of it.
fn audited(more: &str) -> Builder {
    let log =
        format!(r#"{{ level: info, access: "{{dir}}/access.log", audit: {{ file: "{{dir}}/audit.log"{more} }} }}"#);
    gateway().section("log", &log).section("admin", &format!(r#"{{ address: "{{admin}}", token: {TOKEN} }}"#))
}

fn of_kind<'a>(lines: &'a [Value], kind: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["event"] == kind).collect()
}

async fn control(gateway: &Gateway, path: &str) -> Answer {
    gateway.admin().ask("POST", path).header("authorization", &format!("Bearer {TOKEN}")).send().await
}

#[tokio::test]
async fn a_drain_is_one_line_with_who_asked_and_from_where() {
    let app = upstream("app").await;
    let gateway = audited("").pool("app", &[&app]).start().await;
    let member = app.address();
    assert_eq!(control(&gateway, &format!("/control/pools/app/members/{member}/drain")).await.status, 200);
    let lines = gateway.audit_log(1).await;
    let [line] = of_kind(&lines, "SERVICE_MANAGEMENT")[..] else { panic!("{lines:?}") };
    assert_eq!((&line["action"], &line["outcome"]), (&"drain".into(), &"success".into()));
    assert_eq!(line["target"], format!("app/{member}"));
    assert_eq!((&line["actor"], &line["client"]), (&"control API".into(), &"127.0.0.1".into()));
    assert_eq!(line["service"], "sluicegate");
}

#[tokio::test]
async fn a_reload_is_a_config_update_whether_it_is_taken_or_refused() {
    let gateway = audited("").route("match: /, respond: 204").start().await;
    assert_eq!(control(&gateway, "/control/reload").await.status, 200);
    gateway.rewrite_config(|text| text.replace("respond: 204", "respond: 999"));
    assert_eq!(control(&gateway, "/control/reload").await.status, 422);
    gateway.signal(Signal::HUP);
    let lines = gateway.audit_log(4).await;
    let told: Vec<_> = of_kind(&lines, "CONFIG_UPDATE").iter().map(|line| (&line["outcome"], &line["actor"])).collect();
    let (success, failure) = (Value::from("success"), Value::from("failure"));
    let (api, hup) = (Value::from("control API"), Value::from("HUP"));
    assert_eq!(told, [(&success, &api), (&failure, &api), (&failure, &hup)], "{lines:?}");
}

#[tokio::test]
async fn the_sixth_wrong_token_in_a_minute_raises_one_alarm() {
    let hook = upstream("hook").await;
    let webhook = format!(", webhook: {{ url: \"http://{}/hook\", secret: {WEBHOOK_SECRET} }}", hook.address());
    let gateway = audited(&webhook).route("match: /, respond: 204").start().await;
    for _ in 0..8 {
        let wrong = gateway.admin().ask("GET", "/control/status").header("authorization", "Bearer not-the-token");
        assert_eq!(wrong.send().await.status, 401);
    }
    let lines = gateway.audit_log(9).await;
    assert_eq!(of_kind(&lines, "AUTHENTICATION_FAILURE").len(), 8, "{lines:?}");
    let [alert] = of_kind(&lines, "SECURITY_ALERT")[..] else { panic!("{lines:?}") };
    assert_eq!((&alert["reason"], &alert["count"]), (&"auth_failures".into(), &6.into()));
    assert_eq!(alert["client"], "127.0.0.1");
    gateway.says("security alert: auth_failures").await;
    assert_eq!(gateway.metric("jairouter_security_events_total{event=\"SECURITY_ALERT\"}").await, 1.0);
    assert_eq!(gateway.metric("jairouter_security_events_total{event=\"AUTHENTICATION_FAILURE\"}").await, 8.0);

    eventually(Duration::from_secs(5), "the webhook is told", async || hook.hits() == 1).await;
    let seen = last_seen(&hook);
    let body: Value = serde_json::from_slice(&seen.body).unwrap();
    assert_eq!((&body["type"], &body["data"]["alert"]), (&"security.alert".into(), &"auth_failures".into()));
    let signed = format!("{}.{}.", sent(&seen, "webhook-id"), sent(&seen, "webhook-timestamp"));
    let signed = [signed.as_bytes(), &seen.body].concat();
    let key = hmac::Key::new(hmac::HMAC_SHA256, WEBHOOK_SECRET.as_bytes());
    let expected = format!("v1,{}", STANDARD.encode(hmac::sign(&key, &signed)));
    assert_eq!(sent(&seen, "webhook-signature"), expected);
}

#[tokio::test]
async fn a_webhook_that_fails_is_asked_again_and_then_given_up() {
    let hook = upstream("hook").await;
    hook.set_fault(Some(Fault::Status(500)));
    let webhook =
        format!(", alerts: {{ auth_failures: 1 }}, webhook: {{ url: \"http://{}/\", retries: 1 }}", hook.address());
    let gateway = audited(&webhook).route("match: /, respond: 204").start().await;
    for _ in 0..2 {
        assert_eq!(gateway.admin().get("/control/status").await.status, 401);
    }
    gateway.says("an alarm could not be posted to the webhook: it answers 500").await;
    assert_eq!(hook.hits(), 2, "one attempt and one more");
    assert_eq!(gateway.metric("sluicegate_webhook_messages_total{result=\"failed\"}").await, 1.0);
    assert_eq!(gateway.get("/").await.status, 204);
}

#[tokio::test]
async fn malformed_requests_are_suspicious() {
    let gateway = audited(", alerts: { suspicious_requests: 2 }").route("match: /, respond: 204").start().await;
    for _ in 0..3 {
        let answer = gateway.connect().await.ask("GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert_eq!(answer.status, 400);
    }
    let lines = gateway.audit_log(4).await;
    assert_eq!(of_kind(&lines, "SUSPICIOUS_REQUEST").len(), 3, "{lines:?}");
    let [alert] = of_kind(&lines, "SECURITY_ALERT")[..] else { panic!("{lines:?}") };
    assert_eq!(alert["reason"], "suspicious_requests");
}

#[tokio::test]
async fn a_request_that_can_be_read_in_two_ways_is_suspicious() {
    let app = upstream("app").await;
    let gateway = audited("")
        .route("match: /admin/, respond: 204")
        .route("match: /, respond: 204")
        .route("match: { host: app.test }, pool: app")
        .pool("app", &[&app])
        .start()
        .await;
    for request in [
        "GET /admin%2Fusers HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /x HTTP/1.1\r\nHost: app.test\r\nConnection: content-length\r\n\r\n",
    ] {
        assert_eq!(gateway.connect().await.ask(request).await.status, 400, "{request}");
    }
    let lines = gateway.audit_log(2).await;
    let paths: HashSet<_> = of_kind(&lines, "SUSPICIOUS_REQUEST").iter().map(|line| &line["path"]).collect();
    assert_eq!(paths, HashSet::from([&json!("/admin%2Fusers"), &json!("/x")]), "{lines:?}");
}

#[tokio::test]
async fn an_ordinary_mistake_of_a_client_is_not_suspicious() {
    let a = upstream("a").await;
    let ai = ai().anthropic("first", &a).model("m", &["first"]);
    let gateway = audited(", alerts: { suspicious_requests: 2 }")
        .section("ai", &ai.section())
        .route("match: /v1/, ai: true")
        .route("match: /, respond: 204")
        .start()
        .await;
    let mistakes = [
        ("chat/completions", chat("nobody", "x").to_string()),
        ("chat/completions", "{ no json".to_owned()),
        ("chat/completions", json!({"messages": []}).to_string()),
        ("chat/completions", with(chat("m", "x"), json!({"seed": 7})).to_string()),
        ("embeddings", json!({"model": "m", "input": "x"}).to_string()),
    ];
    for (door, body) in mistakes {
        let answer = gateway.post(&format!("/v1/{door}"), body).await;
        assert_eq!(answer.status, 400, "{door}: {}", answer.text());
    }
    let long = format!("GET /?{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(17 << 10));
    assert_eq!(gateway.connect().await.ask(long).await.status, 414);
    assert_eq!(control(&gateway, "/control/reload").await.status, 200);
    let lines = gateway.audit_log(1).await;
    assert!(lines.iter().all(|line| line["event"] == "CONFIG_UPDATE"), "{lines:?}");
    assert_eq!(gateway.metric("jairouter_security_events_total{event=\"SUSPICIOUS_REQUEST\"}").await, 0.0);
}

#[tokio::test]
async fn nothing_is_lost_when_the_log_is_rotated_and_nothing_of_a_secret_is_in_it() {
    let gateway = audited("").route("match: /, respond: 204").start().await;
    assert_eq!(gateway.admin().get(&format!("/control/status?token={TOKEN}")).await.status, 401);
    let first = gateway.audit_log(1).await;
    let (log, rotated) = (gateway.dir().join("audit.log"), gateway.dir().join("audit.log.1"));
    std::fs::rename(&log, &rotated).unwrap();
    gateway.signal(Signal::USR1);
    eventually(Duration::from_secs(5), "the file is there again", async || log.exists()).await;
    assert_eq!(control(&gateway, "/control/reload").await.status, 200);
    let told = async || std::fs::read_to_string(&log).is_ok_and(|text| text.contains("CONFIG_UPDATE"));
    eventually(Duration::from_secs(5), "the new file has the reload", told).await;
    let second = gateway.audit_log(1).await;
    let before = std::fs::read_to_string(&rotated).unwrap();
    assert!(first[0]["event"] == "AUTHENTICATION_FAILURE" && before.contains("AUTHENTICATION_FAILURE"));
    let reopened = "reopen_logs";
    assert!(before.contains(reopened) || second.iter().any(|line| line["action"] == reopened), "{before} {second:?}");
    assert!(of_kind(&second, "CONFIG_UPDATE").len() == 1, "{second:?}");
    assert!(!before.contains(TOKEN) && !format!("{second:?}").contains(TOKEN));
}

#[tokio::test]
async fn the_way_out_is_told() {
    let mut gateway = audited("").route("match: /, respond: 204").start().await;
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.wait_exit(Duration::from_secs(10)).await.code, Some(0));
    let lines = gateway.audit_log(1).await;
    let [line] = of_kind(&lines, "SERVICE_MANAGEMENT")[..] else { panic!("{lines:?}") };
    assert_eq!((&line["action"], &line["actor"]), (&"drain".into(), &"TERM".into()));
}

#[tokio::test]
async fn an_end_at_once_is_told_too() {
    let mut gateway = audited("").route("match: /, respond: 204").start().await;
    gateway.signal(Signal::INT);
    assert_eq!(gateway.wait_exit(Duration::from_secs(10)).await.code, Some(0));
    let lines = gateway.audit_log(1).await;
    assert_eq!((&lines[0]["action"], &lines[0]["actor"]), (&"stop".into(), &"INT".into()));
}

#[tokio::test]
async fn a_reload_that_ends_the_audit_log_is_its_last_line() {
    let gateway = audited("").route("match: /, respond: 204").start().await;
    gateway.rewrite_config(|text| text.replace("audit: {", "audit: off }  # {"));
    assert_eq!(control(&gateway, "/control/reload").await.status, 200);
    assert_eq!(control(&gateway, "/control/reload").await.status, 200);
    let lines = gateway.audit_log(1).await;
    assert_eq!(of_kind(&lines, "CONFIG_UPDATE").len(), 1, "the second is not told: {lines:?}");
}

#[tokio::test]
async fn a_token_cannot_be_guessed_unseen_where_strangers_are_answered() {
    let gateway = audited("").route("match: /, respond: 204").start().await;
    let guess = gateway.admin().ask("GET", "/actuator/health").header("authorization", "Bearer not-the-token");
    assert_eq!(guess.send().await.status, 200);
    assert_eq!(gateway.admin().get("/actuator/health").await.status, 200);
    assert_eq!(control(&gateway, "/control/reload").await.status, 200);
    let lines = gateway.audit_log(2).await;
    let [line] = of_kind(&lines, "AUTHENTICATION_FAILURE")[..] else { panic!("{lines:?}") };
    assert_eq!(line["reason"], "wrong_admin_token");
}

#[tokio::test]
async fn addresses_and_origins_that_are_not_allowed_are_denied_and_raise_no_alarm_of_failures() {
    let gateway = audited(", alerts: { auth_failures: 1 }")
        .route("name: inner, match: /, respond: 204, allow: [10.0.0.0/8]")
        .start()
        .await;
    assert_eq!(gateway.get("/secret?token=s3cr3t").await.status, 403);
    for _ in 0..2 {
        let ask = gateway.admin().ask("POST", "/control/reload").header("authorization", &format!("Bearer {TOKEN}"));
        assert_eq!(ask.header("origin", "http://evil.example").send().await.status, 403);
    }
    let lines = gateway.audit_log(3).await;
    let denied = of_kind(&lines, "ACCESS_DENIED");
    assert_eq!((lines.len(), denied.len()), (3, 3), "{lines:?}");
    assert!(
        denied.iter().any(|line| line["reason"] == "address" && line["route"] == "inner" && line["path"] == "/secret")
    );
    assert!(!format!("{lines:?}").contains("s3cr3t"));
}

#[tokio::test]
async fn a_dead_webhook_delays_neither_requests_nor_the_end() {
    let hook = blackhole();
    let webhook = format!(", webhook: {{ url: \"http://{}/\", timeout: 60s }}", hook.address());
    let mut gateway =
        audited(&format!("{webhook}, alerts: {{ auth_failures: 1 }}")).route("match: /, respond: 204").start().await;
    for _ in 0..2 {
        assert_eq!(gateway.admin().get("/control/status").await.status, 401);
    }
    gateway.says("security alert").await;
    for _ in 0..50 {
        assert_eq!(gateway.get("/").await.status, 204);
        assert_eq!(gateway.admin().get("/health").await.status, 200);
    }
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.wait_exit(Duration::from_secs(10)).await.code, Some(0));
}

#[test]
fn what_cannot_be_is_refused_at_its_place() {
    for (audit, words) in [
        ("{ events: { LOGIN: true }, file: /var/log/a }", "there is no event"),
        ("{ events: { ACCESS_DENIEDD: false }, file: /var/log/a }", "did you mean `ACCESS_DENIED`?"),
        ("{ alerts: { auth_failures: 0 }, file: /var/log/a }", "1 to 100000"),
        ("{ webhook: ftp://x/, file: /var/log/a }", "no http or https URL"),
        ("{ webhook: { url: \"http://x/\", secret: changeme }, file: /var/log/a }", "placeholder"),
        ("{ webhook: { url: \"http://x/\", secret: whsec_% }, file: /var/log/a }", "is not Base64"),
        ("{ events: { ACCESS_DENIED: off } }", "`file` is missing"),
        ("/var/log/b", "two files"),
    ] {
        let config =
            format!("listen: 127.0.0.1:0\nlog:\n  audit: {audit}\n  access: /var/log/b\nroutes: {{ respond: 204 }}\n");
        let exit = check(&config);
        let said = exit.stderr + &exit.stdout;
        assert_eq!(exit.code, Some(78), "{audit}: {said}");
        assert!(said.contains(words), "{audit}: {said}");
        assert!(said.contains("sluicegate.yaml:3:"), "{audit}: {said}");
    }
}
