use super::*;

fn status(members: Vec<MemberStatus>) -> Status {
    Status {
        pid: 4711,
        last_upgrade_failure: None,
        version: "1.2.3".to_owned(),
        instance_id: "gate-7".to_owned(),
        generation: 4,
        uptime_seconds: 61,
        draining: false,
        connections: 12,
        restart_needed: Vec::new(),
        max_connections: 4096,
        last_reload_refusal: None,
        jwks: Vec::new(),
        limit_state: Vec::new(),
        providers: Vec::new(),
        pools: vec![PoolStatus {
            name: "my pool".to_owned(),
            balance: "round_robin".to_owned(),
            usable: true,
            panicking: false,
            members,
        }],
    }
}

fn member(state: &str) -> MemberStatus {
    MemberStatus {
        name: "unix:/run/a.sock".to_owned(),
        state: state.to_owned(),
        health: "up".to_owned(),
        usable: state == "ready",
        weight: 37,
        requests: 4711,
        ..MemberStatus::default()
    }
}

fn html(status: &Status) -> String {
    page(status).into_string()
}

#[test]
fn the_page_refreshes_itself_and_shows_every_member() {
    let page = html(&status(vec![member("ready")]));
    assert!(page.contains(r#"<meta http-equiv="refresh" content="30">"#), "{page}");
    for part in ["unix:/run/a.sock", "4711", "37", "round_robin", "gate-7", "up 1m 1s", "generation 4"] {
        assert!(page.contains(part), "no {part} in {page}");
    }
}

#[test]
fn buttons_post_to_escaped_paths_and_offer_only_other_states() {
    let page = html(&status(vec![member("drain")]));
    for action in ["ready", "maint"] {
        let form = format!(
            r#"<form method="post" action="/control/pools/my%20pool/members/unix%3A%2Frun%2Fa%2Esock/{action}">"#
        );
        assert!(page.contains(&form), "no {form} in {page}");
    }
    assert!(!page.contains("sock/drain"), "{page}");
}

#[test]
fn what_others_wrote_is_text_and_no_markup() {
    let mut status = status(vec![MemberStatus { name: "<b>".to_owned(), ..member("ready") }]);
    status.last_reload_refusal = Some("<script>alert(1)</script>".to_owned());
    status.instance_id = "\"><i>".to_owned();
    let page = html(&status);
    for markup in ["<script>", "<b>", "<i>"] {
        assert!(!page.contains(markup), "{page}");
    }
    assert!(page.contains("&lt;script&gt;"), "{page}");
}

#[test]
fn a_drained_member_is_called_so() {
    let drained = MemberStatus { drained: true, ..member("drain") };
    assert!(html(&status(vec![drained])).contains("<td>drained</td>"));
    assert!(html(&status(vec![member("drain")])).contains("<td>drain</td>"));
}

#[test]
fn spans_are_in_their_two_largest_units() {
    for (seconds, text) in [(0, "0s"), (59, "59s"), (60, "1m 0s"), (3600, "1h 0m"), (90061, "1d 1h")] {
        assert_eq!(span(seconds), text);
    }
}
