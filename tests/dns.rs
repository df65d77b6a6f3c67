//! Members by host name.

#[path = "support/harness.rs"]
mod support;

use std::process::Command;

use support::*;

/// Whether this machine lets us have an `/etc/hosts` of our own.
fn own_hosts_possible() -> bool {
    Command::new("unshare").args(["--mount", "true"]).status().is_ok_and(|status| status.success())
}

#[tokio::test]
async fn a_member_may_be_a_name() {
    let a = upstream("a").await;
    let member = format!("localhost:{}", a.address().port());
    let gate = gateway().members("app", &[&member], "").start().await.ready().await;
    let tally = Load::of(gate.address(), "/", 1, 20).await;
    tally.assert_all_ok();
    assert!(gate.access_log(1).await[0]["member"].as_str().unwrap().contains(&member));
}

#[tokio::test]
async fn a_name_that_is_not_known_does_not_stop_the_others() {
    let a = upstream("a").await;
    let members = ["no-such-host.invalid:80".to_owned(), a.address().to_string()];
    let gate = gateway()
        .members("app", &members, "")
        .members("lost", &["no-such-host.invalid:80"], "")
        .route("match: { path: / }, pool: app")
        .route("match: { path: /lost }, pool: lost")
        .start()
        .await;
    Load::of(gate.address(), "/", 1, 20).await.assert_all_ok();
    assert_eq!(gate.get("/lost").await.status, 503);
}

#[tokio::test]
async fn a_name_that_moves_is_followed() {
    if !own_hosts_possible() {
        return; // Needs a mount namespace.
    }
    let a = upstream("a").await;
    let b = Mock::builder("b").listen(format!("127.0.0.2:{}", a.address().port())).start().await;
    let member = format!("backend.test:{}", a.address().port());
    let gate = gateway()
        .hosts("127.0.0.1 backend.test\n")
        .members("app", &[member], "resolve_interval: 200ms")
        .start()
        .await
        .ready()
        .await;
    assert_eq!(gate.get("/").await.upstream(), "a");
    gate.set_hosts("127.0.0.2 backend.test\n");
    eventually(s(5), "the new address serves", async || gate.get("/").await.upstream() == "b").await;
    gate.set_hosts("127.0.0.1 backend.test\n127.0.0.2 backend.test\n");
    eventually(s(5), "both addresses serve", async || {
        let tally = Load::of(gate.address(), "/", 1, 10).await;
        tally.upstream("a") == 5 && tally.upstream("b") == 5
    })
    .await;
    assert_eq!(b.address().ip().to_string(), "127.0.0.2");
}

#[tokio::test]
async fn the_last_known_address_serves_while_a_name_cannot_be_looked_up() {
    if !own_hosts_possible() {
        return; // Needs a mount namespace.
    }
    let a = upstream("a").await;
    let member = format!("backend.test:{}", a.address().port());
    let gate = gateway()
        .hosts("127.0.0.1 backend.test\n")
        .members("app", &[member], "resolve_interval: 100ms")
        .start()
        .await
        .ready()
        .await;
    assert_eq!(gate.get("/").await.upstream(), "a");
    gate.set_hosts("\n");
    holds_for(ms(800), "the last address serves", async || gate.get("/").await.status == 200).await;
}
