//! The admin address: who may change things, and what it shows.

#[path = "support/harness.rs"]
mod support;

use support::ai::*;
use support::*;

const TOKEN: &str = "t0k3n-of-the-test-4711";

/// A gateway whose admin address wants [`TOKEN`].
async fn guarded(mock: &Mock) -> Gateway {
    let admin = format!(r#"{{ address: "{{admin}}", token: {TOKEN} }}"#);
    gateway().section("admin", &admin).pool("app", &[mock]).start().await
}

#[tokio::test]
async fn changes_need_the_token() {
    let a = upstream("a").await;
    let gate = guarded(&a).await;
    let maint = format!("/control/pools/app/members/{}/maint", a.address());
    for path in ["/control/reload", &maint] {
        for authorization in ["", "Bearer ", "Bearer wrong", "Basic dDp0", TOKEN, &format!("Bearer {TOKEN}x")] {
            let refused = gate.admin().ask("POST", path).header("authorization", authorization).send().await;
            assert_eq!(refused.status, 401, "{path} with {authorization:?}");
        }
        assert_eq!(gate.control("POST", path).await.status, 401, "{path}");
    }
    assert_eq!(gate.control("GET", "/control/status").await.status, 401);
    assert_eq!(gate.get("/").await.status, 200, "nothing was changed");
    let reload =
        gate.admin().ask("POST", "/control/reload").header("authorization", &format!("Bearer {TOKEN}")).send().await;
    assert_eq!(reload.status, 200);
}

#[tokio::test]
async fn health_and_metrics_need_no_token() {
    let a = upstream("a").await;
    let gate = guarded(&a).await;
    for path in ["/health", "/ready", "/metrics", "/actuator/health", "/actuator/prometheus"] {
        assert_eq!(gate.admin().get(path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn ctl_takes_the_token_from_the_configuration_or_from_a_file() {
    let a = upstream("a").await;
    let gate = guarded(&a).await;
    assert_eq!(gate.ctl(&["reload"]).await.code, Some(0));
    let (good, bad) = (gate.dir().join("good"), gate.dir().join("bad"));
    std::fs::write(&good, format!("{TOKEN}\n")).unwrap();
    std::fs::write(&bad, "wrong").unwrap();
    for (file, accepted) in [(good, true), (bad, false)] {
        let (admin, file) = (gate.admin_address().to_string(), file.to_str().unwrap().to_owned());
        let run = move || sluicegate(&["ctl", "--admin", &admin, "--token-file", &file, "status"]);
        let exit = tokio::task::spawn_blocking(run).await.unwrap();
        assert_eq!(exit.code == Some(0), accepted, "{exit:?}");
    }
}

#[tokio::test]
async fn ctl_shows_the_same_status_as_json_and_as_yaml() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    let [json, yaml] = [gate.ctl(&["status", "--json"]).await, gate.ctl(&["status", "--yaml"]).await];
    assert_eq!((json.code, yaml.code), (Some(0), Some(0)), "{json:?} {yaml:?}");
    let [json, yaml]: [serde_json::Value; 2] =
        [serde_json::from_str(&json.stdout).unwrap(), serde_yaml::from_str(&yaml.stdout).unwrap()];
    assert_eq!(yaml["pools"][0]["members"][0]["name"], a.address().to_string());
    assert_eq!(yaml["pools"], json["pools"]);
    let both = gate.ctl(&["status", "--json", "--yaml"]).await;
    assert_eq!(both.code, Some(64), "{both:?}");
}

#[tokio::test]
async fn ctl_says_when_nobody_answers() {
    let nobody = free_address().to_string();
    let run = move || sluicegate(&["ctl", "--admin", &nobody, "status"]);
    let exit = tokio::task::spawn_blocking(run).await.unwrap();
    assert!(exit.code != Some(0) && !exit.stderr.is_empty() && !exit.stderr.contains("panicked"), "{exit:?}");
}

#[tokio::test]
async fn changes_are_made_by_post_only_and_a_wrong_name_is_404() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    let member = format!("/control/pools/app/members/{}/maint", a.address());
    assert_eq!(gate.control("GET", &member).await.status, 405);
    assert_eq!(gate.control("GET", "/control/reload").await.status, 405);
    for wrong in [
        "/control/pools/none/members/127.0.0.1:1/drain",
        "/control/pools/app/members/127.0.0.1:1/drain",
        "/control/nothing",
    ] {
        assert_eq!(gate.control("POST", wrong).await.status, 404, "{wrong}");
    }
    assert_eq!(gate.get("/").await.status, 200);
}

#[tokio::test]
async fn a_provider_is_taken_out_by_its_name_and_brought_back() {
    let [a, b] = upstreams(["a", "b"]).await;
    let ai = ai().openai("openai", &a).provider_as("gpus", "kind: openai_compatible, pool: two");
    let gate = ai.build().pool("two", &[&a, &b]).pool("one", &[&a]).start().await;
    let member = a.address();
    for (change, state) in [("maint", "maint"), ("ready", "ready"), ("drain", "drain")] {
        let changed = gate.ctl(&[change, "openai"]).await;
        assert_eq!(changed.code, Some(0), "{changed:?}");
        let pools = gate.control("GET", "/control/status").await.json()["pools"].clone();
        let pool = pools.as_array().unwrap().iter().find(|pool| pool["name"] == "ai:openai").unwrap().clone();
        assert_eq!(pool["members"][0]["state"], state, "{pool}");
    }
    let drained = gate.ctl(&["drain", "openai", "--wait"]).await;
    assert_eq!((drained.code, drained.stdout), (Some(0), format!("{member} in ai:openai: drained\n")));
    let by_both = gate.ctl(&["ready", "openai", &member.to_string()]).await;
    assert_eq!(by_both.code, Some(0), "{by_both:?}");
    let which = gate.ctl(&["drain", "two"]).await;
    assert_eq!(which.code, Some(1), "{which:?}");
    assert!(which.stderr.contains(&format!("which member of pool two? {member}, {}", b.address())), "{which:?}");
    assert_eq!(gate.ctl(&["drain", "gpus"]).await.stderr, which.stderr);
    assert_eq!(gate.ctl(&["drain", "one"]).await.code, Some(1), "a pool is not taken out by half a line");
    let none = gate.ctl(&["drain", "opneai"]).await;
    assert!(none.code == Some(1) && none.stderr.contains("pools: one, two, ai:openai"), "{none:?}");
}

#[tokio::test]
async fn status_says_why_a_provider_is_off() {
    let a = upstream("a").await;
    let gate = ai()
        .openai("on", &a)
        .provider_at("left", "openai", a.address(), "keys: sk-x-4711, enabled: false")
        .provider_at("bare", "openai", a.address(), "keys: \"${NO_SUCH_KEY:-}\"")
        .start()
        .await;
    let status = gate.ctl(&["status"]).await.stdout;
    for told in [
        "provider left is off: its configuration has `enabled: false`",
        "provider bare is off: there is no key, for all are empty",
    ] {
        assert!(status.contains(told), "{status}");
    }
}

#[tokio::test]
async fn the_stats_page_refreshes_itself_and_shows_every_member() {
    let [a, b] = upstreams(["a", "b"]).await;
    let gate = gateway().pool("app", &[&a, &b]).start().await;
    let page = gate.admin().get("/stats").await;
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").starts_with("text/html"));
    for part in ["http-equiv=\"refresh\"", "30", "app", &a.address().to_string(), &b.address().to_string()] {
        assert!(page.text().contains(part), "no {part} in {}", page.text());
    }
}

#[tokio::test]
async fn a_page_that_is_not_there_is_404_and_no_traffic_goes_through() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    for path in ["/", "/echo", "/nothing"] {
        let answer = gate.admin().get(path).await;
        assert_eq!((answer.status, answer.upstream()), (404, ""), "{path}");
    }
    assert_eq!(a.hits(), 0);
}

#[tokio::test]
async fn the_admin_address_may_be_a_unix_socket() {
    let a = upstream("a").await;
    let gate = gateway().section("admin", r#"{ address: "unix:{dir}/admin.sock" }"#).pool("app", &[&a]).start().await;
    let status = gate.ctl(&["status"]).await;
    assert_eq!(status.code, Some(0), "{status:?}");
    assert!(status.stdout.contains(&a.address().to_string()), "{status:?}");
}
