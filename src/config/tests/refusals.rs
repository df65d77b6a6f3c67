//! What is refused, one small file each. The text of the messages is in the snapshot.

use super::*;

/// Everything that is said of each file, for the eye of a reviewer.
fn say(files: &[(&str, String)]) -> String {
    let one = |(what, text): &(&str, String)| format!("--- {what}\n{}\n", refused(text));
    files.iter().map(one).collect::<Vec<_>>().join("\n")
}

fn listen(value: &str) -> String {
    with("").replace("listen: 127.0.0.1:80", &format!("listen: {value}"))
}

fn members(value: &str) -> String {
    with("").replace("members: 10.0.0.1:8080", &format!("members: {value}"))
}

/// Loads each file, expects exactly one error and returns its key with its message.
fn each(files: &[String]) -> Vec<String> {
    files
        .iter()
        .map(|text| {
            let errors = refused(text);
            assert_eq!(errors.problems.len(), 1, "{errors}\n{text}");
            told(&errors).remove(0)
        })
        .collect()
}

#[test]
fn listeners() {
    snapshot(
        "refused_listeners",
        &say(&[
            ("no address", listen("[{ http2: true }]")),
            ("a bare port", listen("\":8080\"")),
            ("localhost", listen("localhost:80")),
            ("bare IPv6", listen("\"::1:80\"")),
            ("a name", listen("web.example:80")),
            ("no port", listen("10.0.0.1")),
            ("twice", listen("[127.0.0.1:80, { address: 127.0.0.1:80 }]")),
            ("empty", listen("[]")),
            ("not there", with("").replace("listen: 127.0.0.1:80\n", "")),
            ("relative socket", listen("unix:x.sock")),
            ("tls without certificates", listen("{ address: 127.0.0.1:443, tls: { min_version: 1.1 } }")),
            (
                "redirect on tls",
                listen(
                    "{ address: 127.0.0.1:443, redirect_https: true, tls: { certificates: { bundle: /none.pem } } }",
                ),
            ),
            ("redirect to nowhere", listen("{ address: 127.0.0.1:80, redirect_https: 0 }")),
        ]),
    );
}

#[test]
fn admin() {
    snapshot(
        "refused_admin",
        &say(&[
            ("reachable without a token", with("admin: { address: 0.0.0.0:8404 }\n")),
            ("reachable with an empty token", with("admin: { address: 0.0.0.0:8404, token: \"${T:-}\" }\n")),
            ("the clients' address", with("admin: { address: 127.0.0.1:80 }\n")),
            ("a token that no header can carry", with("admin: { address: 127.0.0.1:1, token: \"two words\" }\n")),
            ("no address", with("admin: { token: 9f8a6c1e2b }\n")),
        ]),
    );
}

#[test]
fn pools_and_members() {
    snapshot(
        "refused_pools_and_members",
        &say(&[
            ("no members", with("").replace("    members: 10.0.0.1:8080", "    balance: random")),
            ("an empty list", members("[]")),
            ("a member twice", members("[10.0.0.1:80, { address: 10.0.0.1:80, weight: 2 }]")),
            ("no port", members("app.internal")),
            ("IPv6 without brackets", members("fd00::1")),
            ("a path", members("http://10.0.0.1:80/api")),
            ("a scheme", members("grpc://10.0.0.1:80")),
            ("mixed schemes", members("[http://10.0.0.1:80, https://10.0.0.2:80]")),
            ("schemes against tls", with_pool("tls: true").replace("10.0.0.1:8080", "http://10.0.0.1:8080")),
            ("no IPv4 address", members("10.0.0.256:80")),
            ("weight", members("{ address: 10.0.0.1:80, weight: 1001 }")),
            ("only backups", members("{ address: 10.0.0.1:80, backup: true }")),
            ("only weight 0", members("{ address: 10.0.0.1:80, weight: 0 }")),
            ("an ejection too short", with_pool("outlier: { fail_timeout: 30s, max_ejection: 10s }")),
            ("a word for outlier", with_pool("outlier: on")),
            ("tcp with a path", with_pool("health_check: { kind: tcp, path: /x }")),
            ("a share without its sign", with_pool("retry: { budget: 20 }")),
            ("a reason that is none", with_pool("retry: { on: [conect_failure, 200] }")),
            ("too many attempts", with_pool("retry: 100")),
            ("a policy of later", with_pool("balance: prefix_cost")),
            ("a header missing", with_pool("balance: header_hash")),
            ("a duration of nothing", with_pool("timeouts: { connect: 0s }")),
            ("a duration too long", with_pool("timeouts: { idle: 8d }")),
            ("a weight that is no number", members("{ address: 10.0.0.1:80, weight: -1 }")),
            ("a weight in percent", members("{ address: 10.0.0.1:80, weight: 100% }")),
            ("a switch for a check", with_pool("health_check: true")),
            ("a switch of words for a check", with_pool("health_check: on")),
            ("a kind for a check", with_pool("health_check: http")),
            ("a path without its slash for a check", with_pool("health_check: health")),
            ("a strange name", with("").replace("app:", "\"a pp\":").replace("pool: app", "pool: \"a pp\"")),
        ]),
    );
}

#[test]
fn routes() {
    let two = |one: &str, other: &str| {
        with("").replace("  - pool: app\n", &format!("  - {{ pool: app, {one} }}\n  - {{ pool: app, {other} }}\n"))
    };
    snapshot(
        "refused_routes",
        &say(&[
            ("no target", with("").replace("- pool: app", "- match: /x")),
            ("two targets", with_route("respond: 200")),
            ("a pool that is not there", with("").replace("- pool: app", "- pool: ap")),
            ("the same name", two("name: a, match: /a", "name: a, match: /b")),
            ("unreachable", two("match: /a", "match: { path: /a }")),
            ("a tie", two("match: { path: /a, methods: [GET] }", "match: { path: /a, headers: { x-a: b } }")),
            ("a path", with_route("match: api")),
            ("a wildcard in a path", with_route("match: /api/*")),
            ("a query in a path", with_route("match: /api?x=1")),
            ("dots in a path", with_route("match: /a/../b")),
            ("a host with a port", with_route("match: { host: example.com:80 }")),
            ("a wildcard inside of a host", with_route("match: { host: a.*.com }")),
            ("a method in small letters", with_route("match: { methods: [get] }")),
            ("a network off its bits", with_route("allow: [10.0.1.5/8]")),
            ("let in and kept out", with_route("allow: 10.1.0.0/16\ndeny: 10.0.0.0/8")),
            ("an empty list", with_route("allow: []")),
            ("a prefix on an exact path", with_route("match: /x\nrewrite: { prefix: /y/ }")),
            ("a prefix without its end", with_route("match: /x/\nrewrite: { prefix: /y }")),
            ("two rewrites", with_route("rewrite: { prefix: /y/, path: /z }")),
            ("retries of nothing", with_route("retry: off\nretry_non_idempotent: true")),
            ("a pool's keys on a fixed answer", with_route("respond: 200\nretry: off").replace("pool: app\n    ", "")),
            ("a location", with_route("redirect: example.com").replace("pool: app\n    ", "")),
            ("a word in braces", with_route("redirect: \"https://{name}/\"").replace("pool: app\n    ", "")),
            ("a status", with_route("redirect: { location: /, status: 200 }").replace("pool: app\n    ", "")),
            (
                "a body where none can be",
                with_route("respond: { status: 204, body: x }").replace("pool: app\n    ", ""),
            ),
            ("no body at all", with_route("max_body: 0B")),
            ("a size without its unit", with_route("max_body: 100")),
            ("nginx's sizes", with_route("max_body: 100m")),
        ]),
    );
}

#[test]
fn headers() {
    snapshot(
        "refused_headers",
        &say(&[
            ("hop by hop", with_route("headers: { request: { set: { Connection: close } } }")),
            ("host on an answer", with_route("headers: { response: { set: { host: x } } }")),
            ("host removed", with_route("headers: { request: { remove: host } }")),
            ("framing", with_route("headers: { request: { remove: [content-length] } }")),
            ("a control character", with_route("headers: { request: { set: { x-a: \"a\\r\\nb: c\" } } }")),
            ("no name", with_route("headers: { request: { set: { \"x a\": b } } }")),
            ("twice", with_route("headers: { request: { set: { x-a: b, X-A: c } } }")),
            ("set and removed", with_route("headers: { request: { set: { x-a: b }, remove: x-a } }")),
        ]),
    );
}

#[test]
fn shapes() {
    snapshot(
        "refused_shapes",
        &say(&[
            ("a list for a value", with("log: { level: [info] }\n")),
            ("a value for a map", with("server: fast\n")),
            ("a list for a map", with("log: [info, json]\n")),
            ("a map for a value", with_pool("balance: { round_robin: true }")),
            ("a key of another place", with_pool("pool: x")),
            ("a merge key", with_pool("<<: { balance: random }")),
            ("two wrong items keep their numbers", members("[[a], 10.0.0.1:80, [b], 10.0.0.2]")),
            ("a switch", with_route("websocket: yes")),
            ("a path for a rewrite", with_route("match: /x/\nrewrite: /v1/")),
            ("a list for the admin listener", with("admin: [127.0.0.1:8404]\n")),
            ("a host on the route", with_route("host: a.example")),
            ("a path on the route", with_route("path: /x")),
            ("a key near another", with("cache: { a: { ttl: 1s } }\n")),
            ("a key of another language", with("cors: {}\n")),
            ("hosts in a match", with_route("match: { hosts: a.example }")),
        ]),
    );
}

#[test]
fn broken_yaml() {
    let file = |text: &str| text.to_owned();
    snapshot(
        "refused_yaml",
        &say(&[
            ("too little indented", file("pools:\n  app:\n    balance: random\n\n   # why\n   http2: true\n")),
            ("too far indented", file("listen: 127.0.0.1:80\n  routes: x\n")),
            ("a key off its list item", file("routes:\n  - pool: app\n   match: /x\n")),
            ("a dash off its list", file("routes:\n  - pool: app\n - pool: b\n")),
            ("two colons", file("listen: a: b\n")),
            ("an open list", file("routes:\n  - allow: [10.0.0.0/8\n    pool: app\n")),
            ("an open list at the end", file("routes:\n  - allow: [10.0.0.0/8,\n")),
            ("an open map", file("routes:\n  - match: { path: /x\n    pool: app\n")),
            ("a tab", file("routes:\n\t- pool: app\n")),
            ("a tab in a line that could go on", file("routes:\n  - pool: app\n\tmatch: /x\n")),
            ("an open quote", file("listen: \"127.0.0.1:80\nroutes:\n  - pool: app\n")),
            ("no colon", file("listen: 127.0.0.1:80\npools\n  app: x\n")),
            ("a bracket too many", file("listen: [a]]\n")),
            ("another language", file("http {\n  server {\n    listen 80;\n  }\n}\n")),
        ]),
    );
}

#[test]
fn a_match_that_is_wrong_is_not_compared_with_others() {
    // Each stands for every host and `/` as long as it is wrong, and so would seem to take what the last one takes.
    for (route, message) in [
        ("match: { hosts: www.test }", "match.hosts: unknown key"),
        ("match: { host: \"www.test:8443\" }", "match.host: `www.test:8443` is not a host to match"),
        ("match: { host: [a.test, \"b_:1\"] }", "match.host[1]: `b_:1` is not a host to match"),
        ("match: { path: x }", "match.path: `x` is not a path to match"),
        ("match: { path: [/x] }", "match.path: a list stands here"),
        ("match: { headers: { \"x y\": z } }", "match.headers.\"x y\": `x y` is not the name of a header"),
        ("match: [/x]", "match: a list stands here"),
        ("match: \"${NONE}\"", "match: the environment variable NONE is not set"),
        ("match: { host: }", "match.host: this key has no value"),
        ("matsh: /x", "matsh: unknown key"),
        ("host: www.test", "host: unknown key"),
        ("hosts: [www.test]", "hosts: unknown key"),
    ] {
        let text = with_route(route) + "  - pool: app\n";
        let told = each(&[text]).remove(0);
        assert!(told.ends_with(&format!("routes[0].{message}")), "{route}: {told}");
    }
}

#[test]
fn what_is_built_later_is_never_ignored() {
    let later = each(&[with_pool("balance: prefix_cost")]);
    for message in later {
        assert!(message.ends_with("not supported yet"), "{message}");
    }
    assert!(load_text(&with_route("auth: none")).is_ok(), "this is true");
}

#[test]
fn what_was_refused_is_not_missed_as_well() {
    // The whole pool is misshapen: neither is it unknown to the route, nor are its members missing.
    let text = "listen: 127.0.0.1:80\npools: { app: [10.0.0.1:80] }\nroutes: { pool: app }\n";
    assert_eq!(each(&[text.to_owned()]), ["2:15 pools.app: a list stands here"]);
    let text = "listen: { address: \"${NONE}\" }\nroutes: { respond: 200 }\n";
    assert_eq!(each(&[text.to_owned()]), ["1:20 listen.address: the environment variable NONE is not set"]);
}

#[test]
fn logs() {
    snapshot(
        "refused_logs",
        &say(&[
            ("a level", with("log: { level: \"info,balance=loud\" }\n")),
            ("a target", with("log: { level: \"info,balanse=debug\" }\n")),
            ("no target at all", with("log: { level: \"nginx=debug\" }\n")),
            ("two levels", with("log: { level: \"info,debug\" }\n")),
            ("a format", with("log: { format: jsn }\n")),
            ("a relative file", with("log: { file: x.log }\n")),
            ("no file", with("log: { access: { format: combined } }\n")),
            ("one file for two", with("log: { file: /x.log, access: /x.log }\n")),
            ("a strange set of headers", with("security_headers: strict\n")),
        ]),
    );
}
