//! Files that load, and what they come to.

use super::*;

#[test]
fn the_shortest_file_gets_every_default() {
    let config = config(&with(""));
    insta::assert_debug_snapshot!(
        "defaults",
        (&config.listeners, &config.pools, &config.routes, &config.log, config.server.timeouts)
    );
    assert_eq!(config.server.max_connections, 4096);
    assert_eq!(config.server.max_body, 100 << 20);
    assert_eq!(config.server.max_header, 64 << 10);
    assert_eq!(config.server.upstream_keepalive, 512);
    assert_eq!(config.server.keepalive_requests, None);
    assert!(config.server.threads >= 1);
    assert!(!config.server.instance_id.is_empty());
    assert!(config.server.security_headers, "on unless said otherwise");
    assert!(config.admin.is_none());
}

#[test]
fn numbers_and_switches_may_come_out_of_variables() {
    let environment = Environment::of([("W", "7"), ("B", "true")]);
    let text = with_pool("").replace(
        "10.0.0.1:8080",
        "[10.0.0.9:80, { address: \"10.0.0.${N:-1}:80\", weight: \"${W}\", backup: \"${B}\" }]",
    );
    let loaded = parse("f", &text, &Overrides::default(), &environment).unwrap();
    let member = &loaded.config.pools[0].members[1];
    assert_eq!((&*member.name, member.weight, member.backup), ("10.0.0.1:80", 7, true));
}

#[test]
fn short_forms_say_what_the_long_ones_say() {
    let short = config(
        "\
listen: 127.0.0.1:80
pools: { app: { members: 10.0.0.1:80, health_check: /health, retry: off, tls: true } }
routes: { match: /api/, pool: app, allow: 10.0.0.1 }
log: { access: /var/log/access.log }
",
    );
    let long = config(
        "\
listen: [{ address: \"127.0.0.1:80\" }]
pools:
  app:
    members: [{ address: 10.0.0.1:80 }]
    health_check: { kind: http, path: /health, expect_status: [200] }
    retry: { attempts: 1 }
    tls: { verify: true }
routes: [{ match: { path: /api/ }, pool: app, allow: [10.0.0.1/32] }]
log: { access: { file: /var/log/access.log, format: json } }
",
    );
    assert_eq!(short.listeners, long.listeners);
    assert_eq!(short.pools, long.pools);
    assert_eq!(short.log.access, long.log.access);
    assert_eq!(short.routes[0].matching, long.routes[0].matching);
    assert_eq!(short.routes[0].allow, long.routes[0].allow);
}

#[test]
fn pools_stand_in_the_order_of_their_names_and_routes_find_them() {
    let config = config(
        "\
listen: 127.0.0.1:80
pools: { zebra: { members: 10.0.0.1:80 }, ape: { members: 10.0.0.2:80 } }
routes: [{ match: /z/, pool: zebra }, { match: /a/, pool: ape }]
",
    );
    let names: Vec<&str> = config.pools.iter().map(|pool| &*pool.name).collect();
    assert_eq!(names, ["ape", "zebra"]);
    let pools = config.routes.iter().map(|route| match &route.target {
        Target::Pool(target) => target.pool,
        _ => panic!("a pool was asked for"),
    });
    assert_eq!(pools.collect::<Vec<_>>(), [1, 0]);
    assert_eq!(&*config.routes[1].name, "route-2");
}

#[test]
fn a_route_overrides_its_pool_in_part() {
    let text = with_pool("timeouts: { connect: 1s, idle: 2s }\nretry: { attempts: 5, on: 503, budget: 40% }");
    let text = text.replace(
        "- pool: app",
        "- pool: app\n    timeouts: { idle: 9s }\n    retry: { attempts: 2 }\n    retry_non_idempotent: true\n    balance: random",
    );
    let config = config(&text);
    let Target::Pool(target) = &config.routes[0].target else { panic!() };
    let seconds = Duration::from_secs;
    assert_eq!((target.timeouts.connect, target.timeouts.idle), (seconds(1), seconds(9)));
    assert_eq!((target.retry.attempts, target.retry.budget_percent, target.retry.non_idempotent), (2, 40, true));
    assert_eq!(target.retry.on.statuses, [503]);
    assert!(!target.retry.on.connect_failure, "only what `on` lists");
    assert_eq!(target.balance, Balance::Random);
    assert_eq!(config.pools[0].retry.attempts, 5);
}

#[test]
fn https_in_front_of_members_turns_tls_on() {
    let config = config(&with("").replace("10.0.0.1:8080", "https://api.example:443/"));
    let pool = &config.pools[0];
    assert_eq!(pool.tls, Some(UpstreamTls::default()));
    assert_eq!(&*pool.members[0].name, "api.example:443");
}

#[test]
fn header_rules_and_rewrites_are_read() {
    let config = config(&with_route(
        "match: /api/
rewrite: { prefix: /v2/ }
headers:
  request: { set: { Host: inner, X-A: a }, add: { x-b: [1, 2] }, remove: [X-C] }
  response: { remove: server }",
    ));
    let route = &config.routes[0];
    assert_eq!(route.rewrite, Some(Rewrite::Prefix { from: "/api/".into(), to: "/v2/".into() }));
    assert_eq!(route.request_headers.set.len(), 2);
    assert_eq!(route.request_headers.add.len(), 2);
    assert_eq!(route.request_headers.remove, ["x-c"]);
    assert_eq!(route.response_headers.remove, ["server"]);
}

#[test]
fn redirects_and_fixed_answers_are_read() {
    let config = config(
        "\
listen: 127.0.0.1:80
routes:
  - { match: /a, redirect: \"https://{host}{path}{query}\" }
  - { match: /b, redirect: { location: /c, status: 302 } }
  - { match: /d, respond: 204 }
  - { match: /e, respond: { body: hello, content_type: text/html } }
",
    );
    insta::assert_debug_snapshot!("targets", config.routes.iter().map(|route| &route.target).collect::<Vec<_>>());
}

#[test]
fn an_empty_token_is_a_disabled_one_and_is_warned_of() {
    let loaded = load_text(&with("admin: { address: 127.0.0.1:1, token: \"${T:-}\" }\n")).unwrap();
    assert!(loaded.config.admin.unwrap().token.is_none());
    assert_eq!(loaded.warnings.len(), 1);
}

#[test]
fn placeholders_pass_for_development_only() {
    let text = with("admin: { address: 127.0.0.1:1, token: changeme }\n");
    assert!(told(&refused(&text))[0].ends_with("the token is a well-known placeholder"));
    let overrides = Overrides { insecure_dev: true, ..Overrides::default() };
    assert!(parse("f", &text, &overrides, &Environment::of([])).is_ok());
}

#[test]
fn bodies_may_be_unlimited() {
    assert_eq!(config(&with("server: { max_body: unlimited }\n")).routes[0].max_body, u64::MAX);
    assert_eq!(config(&with_route("max_body: 1KiB")).routes[0].max_body, 1024);
}

#[test]
fn a_check_without_http_keys_is_a_connect() {
    assert_eq!(config(&with_pool("health_check: tcp")).pools[0].health_check.as_ref().unwrap().kind, CheckKind::Tcp);
    let config = config(&with_pool("health_check: { interval: 1s }"));
    assert_eq!(config.pools[0].health_check.as_ref().unwrap().kind, CheckKind::Tcp);
}

#[test]
fn a_secret_in_a_header_does_not_show() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("key"), "hunter2hunter2").unwrap();
    let environment = Environment::of([("CREDENTIALS_DIRECTORY", directory.path().to_str().unwrap())]);
    let text = with_route(
        "headers: { request: { set: { x-upstream: \"Key ${credential:key}\", authorization: Basic abcdefgh } } }",
    );
    let loaded = parse("f", &text, &Overrides::default(), &environment).unwrap();
    let shown = format!("{:?}", loaded);
    assert!(!shown.contains("hunter2") && !shown.contains("abcdefgh"), "{shown}");
    assert_eq!(loaded.config.routes[0].request_headers.set[0].1, "Key hunter2hunter2");
}

#[test]
fn trusting_everyone_is_warned_of() {
    let loaded = load_text(&with("server: { trusted_proxies: 0.0.0.0/0 }\n")).unwrap();
    assert_eq!(loaded.warnings.len(), 1);
    assert_eq!(loaded.warnings[0].severity, Severity::Warning);
}
