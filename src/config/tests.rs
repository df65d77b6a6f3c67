//! What an operator meets: files that load, and what is said of those that do not.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use super::auth::RouteAuth;
use super::*;

mod ai;
mod elsewhere;
mod jwt;
mod keys;
mod limits;
mod refusals;
mod resolved;
mod tls;

/// Loads `text` with no overrides and an empty environment.
fn load_text(text: &str) -> Result<Loaded, ConfigErrors> {
    parse("sluicegate.yaml", text, &Overrides::default(), &Environment::of([]))
}

/// The configuration of a text that must load without a warning.
fn config(text: &str) -> Config {
    match load_text(text) {
        Ok(loaded) => {
            assert_eq!(loaded.warnings, [], "unexpected warnings");
            loaded.config
        }
        Err(errors) => panic!("{errors}"),
    }
}

/// What is said of a text that must not load.
fn refused(text: &str) -> ConfigErrors {
    match load_text(text) {
        Ok(_) => panic!("this loaded:\n{text}"),
        Err(errors) => errors,
    }
}

/// `line:column key: message`, a line each.
fn told(errors: &ConfigErrors) -> Vec<String> {
    let one = |problem: &Problem| {
        let at = problem.position.map_or(String::new(), |at| format!("{}:{} ", at.line, at.column));
        format!("{at}{}: {}", problem.key, problem.message)
    };
    errors.problems.iter().map(one).collect()
}

/// Compares with the snapshot `name`, which holds the text alone.
fn snapshot(name: &str, text: &str) {
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!(name, text);
    });
}

/// A file with one pool and one route, and `more` at its end.
fn with(more: &str) -> String {
    format!("listen: 127.0.0.1:80\npools:\n  app:\n    members: 10.0.0.1:8080\nroutes:\n  - pool: app\n{more}")
}

/// The same with `more` as further keys of the pool.
fn with_pool(more: &str) -> String {
    let more: String = more.lines().map(|line| format!("    {line}\n")).collect();
    format!("listen: 127.0.0.1:80\nroutes:\n  - pool: app\npools:\n  app:\n    members: 10.0.0.1:8080\n{more}")
}

/// The same with `more` as further keys of the route.
fn with_route(more: &str) -> String {
    let more: String = more.lines().map(|line| format!("    {line}\n")).collect();
    format!("listen: 127.0.0.1:80\npools:\n  app:\n    members: 10.0.0.1:8080\nroutes:\n  - pool: app\n{more}")
}

#[test]
fn five_errors_in_one_file_are_all_told_with_their_places() {
    let errors = refused(
        "\
listen: 0.0.0.0:80
server:
  max_conections: 10
pools:
  app:
    members: [10.0.0.1:8080, 10.0.0.2]
    timeouts: { connect: 5 }
    balance: least_conn
routes:
  - match: { path: / }
    pool: ap
",
    );
    assert_eq!(
        told(&errors),
        [
            "3:3 server.max_conections: unknown key",
            "6:30 pools.app.members[1]: the member `10.0.0.2` has no port",
            "7:26 pools.app.timeouts.connect: `5` is not a duration",
            "8:14 pools.app.balance: `least_conn` is not a way to balance",
            "11:11 routes[0].pool: there is no pool `ap`",
        ]
    );
    snapshot("five_errors", &errors.to_string());
}

#[test]
fn broken_yaml_is_told_with_its_place() {
    snapshot("broken_yaml", &refused("listen: 0.0.0.0:80\npools:\n  app: [1, 2\nroutes:\n").to_string());
}

#[test]
fn every_duplicate_key_is_told() {
    let errors = refused(&with("listen: 127.0.0.1:81\nlog:\n  level: info\n  level: debug\n"));
    assert_eq!(
        told(&errors),
        [
            "7:1 : listen: this key stands here twice; the first is on line 1",
            "10:3 : log.level: this key stands here twice; the first is on line 9",
        ]
    );
}

#[test]
fn a_key_without_a_value_is_refused_because_its_items_may_be_commented_out() {
    let errors = refused(&with_route("allow:\n#  - 10.0.0.0/8"));
    assert_eq!(told(&errors), ["7:5 : routes[0].allow: this key has no value"]);
    for empty in ["~", "null", ""] {
        assert_eq!(refused(&with(&format!("admin: {empty}\n"))).problems.len(), 1, "{empty}");
    }
}

#[test]
fn a_billion_laughs_fail_fast() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for i in 1..20 {
        let items = vec![format!("*a{}", i - 1); 10].join(", ");
        writeln!(text, "a{i}: &a{i} [{items}]").unwrap();
    }
    assert!(told(&refused(&text))[0].contains("too many values"));
}

#[test]
fn a_list_has_a_bound_and_a_long_one_full_of_errors_is_told_fast() {
    let list = |count: usize| with_route(&format!("allow: [{}]", "x, ".repeat(count)));
    assert!(told(&refused(&list(10_001)))[0].contains("too long"));
    let errors = refused(&list(9_000));
    assert_eq!(errors.problems.len(), MAX_PROBLEMS);
    assert_eq!(errors.problems.len() + errors.left_out, 9_000);
}

#[test]
fn nesting_has_a_bound_and_so_have_aliases_within_it() {
    let deep = format!("a: {}{}", "[".repeat(10_000), "]".repeat(10_000));
    assert!(told(&refused(&deep))[0].contains("nested too deeply"));
    let mut text = String::from("a0: &a0 [x]\n");
    for i in 1..60 {
        writeln!(text, "a{i}: &a{i} [*a{}]", i - 1).unwrap();
    }
    assert!(told(&refused(&text))[0].contains("nested too deeply"));
}

#[test]
fn an_alias_inside_of_its_own_anchor_is_refused() {
    assert!(told(&refused("a: &a [*a]\n"))[0].contains("stands inside of what it stands for"));
}

#[test]
fn a_file_too_large_is_not_even_parsed() {
    let text = format!("# {}\n", "x".repeat(document::MAX_BYTES));
    assert!(told(&refused(&text))[0].contains("bytes"));
}

#[test]
fn tags_documents_and_odd_keys_are_refused() {
    for text in ["a: !!str x\n", "a: 1\n---\nb: 2\n", "[a]: 1\n", "{a: b}: 1\n", "- a\n", "text\n"] {
        assert_eq!(refused(text).problems.len(), 1, "{text}");
    }
}

#[test]
fn the_number_of_errors_shown_has_a_bound() {
    let many: String = (0..150).map(|i| format!("zzz{i}: 1\n")).collect();
    let errors = refused(&with(&many));
    assert_eq!(errors.problems.len(), MAX_PROBLEMS);
    assert!(errors.left_out > 0);
}

#[test]
fn anchors_serve_to_write_things_once() {
    let config = config(
        "\
listen: 127.0.0.1:80
pools:
  a: { members: 10.0.0.1:80, timeouts: &slow { connect: 9s } }
  b: { members: 10.0.0.2:80, timeouts: *slow }
routes:
  - { match: /a/, pool: a }
  - { match: /b/, pool: b }
",
    );
    assert_eq!(config.pools[1].timeouts.connect, Duration::from_secs(9));
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_do_no_harm() {
    let text = format!("\u{feff}{}", with("").replace('\n', "\r\n"));
    assert_eq!(config(&text).pools.len(), 1);
}

#[test]
fn a_literal_secret_is_covered_where_its_line_is_shown() {
    let errors = refused(&with("admin: { address: 127.0.0.1:1, token: hunter2hunter2, tokn: x }\n")).to_string();
    assert!(!errors.contains("hunter2"), "{errors}");
    assert!(errors.contains("token: **************"), "{errors}");
}

#[test]
fn what_comes_out_of_a_file_is_covered_in_messages() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("s"), "hunter2hunter2\n").unwrap();
    let environment = Environment::of([("CREDENTIALS_DIRECTORY", directory.path().to_str().unwrap())]);
    let text = with_pool("balance: ${credential:s}");
    let errors = parse("f", &text, &Overrides::default(), &environment).unwrap_err().to_string();
    assert!(!errors.contains("hunter2") && errors.contains("***"), "{errors}");
}

#[test]
fn flag_goes_over_environment_and_environment_over_file() {
    let text = with("log: { level: error }\n");
    let load = |overrides: &Overrides, environment: &Environment| {
        parse("f", &text, overrides, environment)
            .map(|loaded| (loaded.config.listeners[0].address.clone(), loaded.config.log.level))
    };
    let address = |text: &str| ListenAddress::Tcp(text.parse().unwrap());
    let environment =
        Environment::of([("SLUICEGATE_LISTEN", "127.0.0.1:81, 127.0.0.1:82"), ("SLUICEGATE_LOG_LEVEL", "warn")]);
    let flags = Overrides { listen: vec!["[::1]:83".into()], log_level: Some("debug".into()), insecure_dev: false };
    assert_eq!(
        load(&Overrides::default(), &Environment::of([])).unwrap(),
        (address("127.0.0.1:80"), log::LevelFilter::Error)
    );
    assert_eq!(load(&Overrides::default(), &environment).unwrap(), (address("127.0.0.1:81"), log::LevelFilter::Warn));
    assert_eq!(load(&flags, &environment).unwrap(), (address("[::1]:83"), log::LevelFilter::Debug));
}

#[test]
fn an_override_that_is_wrong_is_named() {
    let environment = Environment::of([("SLUICEGATE_LISTEN", "nowhere"), ("SLUICEGATE_LOG_LEVEL", "loud")]);
    let errors = parse("f", &with(""), &Overrides::default(), &environment).unwrap_err();
    snapshot("override", &errors.to_string());
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let load = |path: &Path| load(path, &Overrides::default(), &Environment::of([])).unwrap_err().to_string();
    assert!(load(&directory.path().join("none.yaml")).contains("none.yaml: the file does not exist"));
    assert!(load(directory.path()).contains("is not a regular file"));
    let latin = directory.path().join("latin.yaml");
    std::fs::write(&latin, b"listen: 127.0.0.1:80\n# caf\xe9\n").unwrap();
    assert!(load(&latin).contains("line 2 is not UTF-8"));
}

#[test]
fn what_nothing_uses_is_warned_of() {
    let loaded = load_text(&with("").replace("routes:", "  old:\n    members: 10.0.0.9:80\nroutes:")).unwrap();
    assert_eq!(loaded.warnings.len(), 1);
    assert_eq!(loaded.warnings[0].key, "pools.old");
}

#[test]
fn a_check_that_may_take_longer_than_its_interval_is_warned_of() {
    let warned = |check: &str| load_text(&with_pool(&format!("health_check: {check}"))).unwrap().warnings;
    let warnings = warned("{ path: /health, interval: 1s, timeout: 5s }");
    assert_eq!(warnings.len(), 1);
    assert_eq!(warnings[0].key, "pools.app.health_check.timeout");
    assert_eq!(warnings[0].message, "the timeout of 5s is longer than the interval of 1s");
    for fine in ["{ interval: 1s, timeout: 1s }", "{ interval: 1s }", "{ path: /, timeout: 5s }", "/health"] {
        assert!(warned(fine).is_empty(), "{fine}");
    }
}

#[test]
fn the_admin_listener_may_be_written_as_its_address() {
    let admin = |text: &str| config(&with(text)).admin.unwrap();
    let short = admin("admin: 127.0.0.1:8404\n");
    assert_eq!(short.address, admin("admin: { address: 127.0.0.1:8404 }\n").address);
    assert!(short.token.is_none());
    assert_eq!(
        told(&refused(&with("admin: 0.0.0.0:8404\n"))),
        ["7:8 admin: this address can be reached from elsewhere, and there is no token"]
    );
}

/// A file that loads, changed in a few places.
fn damaged() -> impl proptest::strategy::Strategy<Value = String> {
    use proptest::prelude::*;
    const GOOD: [&str; 2] =
        [include_str!("../../conf/examples/jairouter.yaml"), include_str!("../../conf/examples/ai.yaml")];
    const PIECES: [&str; 16] =
        ["", ":", "- ", "[", "]", "{", "}", "&a ", "*a", "\"", "\n", "  ", "${X}", "$", "#", "\u{e9}\t"];
    let change = (0_usize..200, 0_usize..60, prop::sample::select(PIECES.to_vec()), 0_usize..8, any::<bool>());
    (prop::sample::select(GOOD.to_vec()), prop::collection::vec(change, 1..6)).prop_map(|(good, changes)| {
        let mut text: Vec<Vec<char>> = good.lines().map(|line| line.chars().collect()).collect();
        for (line, column, piece, cut, whole) in changes {
            let lines = text.len();
            let line = &mut text[line % lines];
            let start = if whole { 0 } else { column.min(line.len()) };
            let end = if whole { line.len() } else { (start + cut).min(line.len()) };
            line.splice(start..end, piece.chars());
        }
        text.into_iter().map(|line| line.into_iter().chain(['\n']).collect::<String>()).collect()
    })
}

proptest::proptest! {
    #[test]
    fn no_damage_panics_and_all_that_is_told_can_be_shown(text in damaged()) {
        let environment = Environment::of([("OPENAI_API_KEY", "sk-1"), ("GATEWAY_API_KEY", "0c7d05b9f3e6")]).without_files();
        if let Err(errors) = parse("f", &text, &Overrides::default(), &environment) {
            proptest::prop_assert!(!errors.problems.is_empty() && errors.problems.len() <= MAX_PROBLEMS);
            proptest::prop_assert!(!errors.to_string().is_empty());
        }
    }

    #[test]
    fn no_text_panics(text in ".{0,200}") {
        let _ = parse("f", &text, &Overrides::default(), &Environment::of([]).without_files());
    }

    #[test]
    fn no_value_panics(value in "[^\n]{0,60}", key in 0_usize..12) {
        let key = ["listen", "max_body", "path", "host", "address", "members", "balance", "connect", "on", "allow", "level", "token"][key];
        let text = format!("{key}: {value}\nlog: {{ {key}: {value} }}\npools:\n  a:\n    {key}: {value}\n    timeouts: {{ {key}: {value} }}\nroutes:\n  - {key}: {value}\n    match: {{ {key}: {value} }}\n");
        let _ = parse("f", &text, &Overrides::default(), &Environment::of([]).without_files());
    }
}
