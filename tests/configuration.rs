//! The file and the command line: what is refused, where it is said to be wrong, and with which exit code.

#[path = "support/harness.rs"]
mod support;

use support::*;

const SHORTEST: &str = "listen:\n  - address: 127.0.0.1:0\npools:\n  app:\n    members: [127.0.0.1:9001]\nroutes:\n  - match: { path: / }\n    pool: app\n";

#[test]
fn five_mistakes_are_five_errors_with_their_places() {
    let text = "\
listen:
  - adress: 127.0.0.1:8899
  - address: 127.0.0.1:8900
pools:
  app:
    members: [127.0.0.1:9001]
    balance: roundrobin
    health_check: { path: /health, interval: 5 parsecs }
routes:
  - match: { path: / }
    pool: ap
  - match: { path: /x, methods: [GET] }
    pool: app
    allow: [300.1.2.3/8]
";
    let exit = check(text);
    assert_eq!(exit.code, Some(78), "{exit:?}");
    let said = exit.stderr + &exit.stdout;
    for (place, words) in [
        (":2:5", ["adress", "address"]),
        (":7:14", ["roundrobin", "round_robin"]),
        (":8:46", ["interval", "parsecs"]),
        (":11:11", ["ap", "app"]),
        (":14:13", ["allow", "300.1.2.3/8"]),
    ] {
        assert!(said.contains(&format!("sluicegate.yaml{place}")), "no {place} in\n{said}");
        assert!(words.iter().all(|word| said.contains(word)), "no {words:?} in\n{said}");
    }
    assert_eq!(said.matches("sluicegate.yaml:").count(), 5, "{said}");
}

#[test]
fn the_shortest_configuration_is_valid() {
    let exit = check(SHORTEST.replace("127.0.0.1:0", &free_address().to_string()).as_str());
    assert_eq!(exit.code, Some(0), "{exit:?}");
}

#[test]
fn what_is_not_supported_yet_is_refused_and_not_ignored() {
    let exit = check(&format!("{SHORTEST}    balance: prefix_cost\n"));
    let said = exit.stderr + &exit.stdout;
    assert_eq!(exit.code, Some(78), "{said}");
    assert!(said.contains("not supported yet") && said.contains("sluicegate.yaml:9:"), "{said}");
}

#[test]
fn contradictions_are_refused() {
    for (from, to, words) in [
        ("pool: app", "pool: app\n  - match: { path: / }\n    pool: app", "routes"),
        ("127.0.0.1:9001", "127.0.0.1:99999", "99999"),
        ("members: [127.0.0.1:9001]", "members: []", "members"),
        ("path: /", "path: no-slash", "no-slash"),
        ("pool: app", "pool: app\n    redirect: { location: /x }", "redirect"),
        ("pool: app", "pool: app\n    unknown_option: 1", "unknown_option"),
        ("address: 127.0.0.1:0", "address: somewhere", "somewhere"),
        ("127.0.0.1:9001", "\"${NO_SUCH_VARIABLE_HERE}\"", "NO_SUCH_VARIABLE_HERE"),
        ("pools:", "admin: { address: 0.0.0.0:8404 }\npools:", "token"),
    ] {
        let exit = check(&SHORTEST.replacen(from, to, 1));
        let said = exit.stderr + &exit.stdout;
        assert_eq!(exit.code, Some(78), "{to}: {said}");
        assert!(said.contains(words) && said.contains("sluicegate.yaml:"), "{to}: {said}");
    }
}

#[tokio::test]
async fn variables_defaults_and_files_stand_in_for_text() {
    let a = upstream("a").await;
    let gate = gateway()
        .env("BACKEND_PORT", &a.address().port().to_string())
        .file("team", "blue")
        .members("app", &["127.0.0.1:${BACKEND_PORT}"], "balance: \"${BALANCE:-round_robin}\"")
        .route("match: { path: / }, pool: app, headers: { response: { set: { x-team: \"${file:{dir}/team}\" } } }")
        .start()
        .await;
    let answer = gate.get("/").await;
    assert_eq!((answer.upstream(), answer.header("x-team")), ("a", "blue"));
}

#[tokio::test]
async fn the_environment_is_stronger_than_the_file() {
    let elsewhere = free_address();
    let builder = gateway().env("SLUICEGATE_LISTEN", &elsewhere.to_string()).env("SLUICEGATE_LOG_LEVEL", "debug");
    let gate = builder.members("app", &[free_address()], "").launch();
    let client = Client::http(elsewhere);
    let up = async || client.ask("GET", "/").try_send().await.is_ok_and(|answer| answer.status == 502);
    eventually(s(10), "it listens where the environment says", up).await;
    assert!(tokio::net::TcpStream::connect(gate.address()).await.is_err());
    gate.says("DEBUG").await;
}

#[test]
fn a_file_that_cannot_be_read_is_78_and_a_wrong_command_line_is_64() {
    for arguments in [["run", "-c", "/no/such/file.yaml"], ["check", "-c", "/no/such/file.yaml"]] {
        let exit = sluicegate(&arguments);
        assert_eq!(exit.code, Some(78), "{exit:?}");
        assert!(exit.stderr.contains("/no/such/file.yaml"), "{exit:?}");
    }
    for arguments in [&["frobnicate"][..], &["run", "--no-such-flag"], &["ctl", "drain"]] {
        assert_eq!(sluicegate(arguments).code, Some(64), "{arguments:?}");
    }
}

#[test]
fn version_and_help_are_there() {
    let version = sluicegate(&["version"]);
    assert_eq!(version.code, Some(0));
    assert!(version.stdout.contains(env!("CARGO_PKG_VERSION")), "{version:?}");
    let help = sluicegate(&["--help"]);
    assert_eq!(help.code, Some(0));
    for command in ["run", "check", "ctl", "version"] {
        assert!(help.stdout.contains(command), "{command} is not in {}", help.stdout);
    }
}

#[tokio::test]
async fn check_finds_a_port_that_is_taken() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let exit = check(&SHORTEST.replace("127.0.0.1:0", &address));
    let said = exit.stderr + &exit.stdout;
    assert_eq!(exit.code, Some(78), "{said}");
    assert!(said.contains(&format!("sluicegate.yaml:2:14: listen[0].address: {address} is in use by ")), "{said}");
    assert!(said.ends_with("\n\n1 error\n"), "{said}");
}

#[test]
fn a_run_on_a_port_that_is_taken_says_what_the_check_says() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sluicegate.yaml");
    std::fs::write(&file, SHORTEST.replace("127.0.0.1:0", &taken.local_addr().unwrap().to_string())).unwrap();
    let [check, run] = ["check", "run"].map(|command| sluicegate(&[command, "-c", file.to_str().unwrap()]));
    assert_eq!((check.code, run.code), (Some(78), Some(1)), "{run:?}");
    assert!(run.stderr.ends_with(&check.stderr) && check.stderr.contains(" is in use by "), "{run:?}");
}

#[test]
fn a_warning_says_so_once() {
    let unused = SHORTEST.replace("pools:\n", "pools:\n  old:\n    members: [127.0.0.1:9002]\n");
    let exit = check(&unused);
    assert_eq!(exit.code, Some(0), "{exit:?}");
    assert_eq!(exit.stderr.matches("warning:").count(), 1, "{exit:?}");
}

#[test]
fn what_no_route_uses_is_warned_of() {
    let unused = "caches: { pages: {} }\nsanitize: { pii: { rules: email } }\npools:\n";
    let exit = check(&SHORTEST.replace("pools:\n", unused));
    assert_eq!(exit.code, Some(0), "{exit:?}");
    for words in ["no route uses this cache", "no route uses this set of rules"] {
        assert_eq!(exit.stderr.matches(words).count(), 1, "{exit:?}");
    }
}

#[test]
fn an_empty_list_of_a_cache_is_told() {
    for list in ["key_headers", "tag_headers"] {
        let exit = check(&SHORTEST.replace("pools:\n", &format!("caches: {{ pages: {{ {list}: [] }} }}\npools:\n")));
        assert_eq!(exit.code, Some(78), "{exit:?}");
        assert!(exit.stderr.contains("the list is empty") || exit.stdout.contains("the list is empty"), "{exit:?}");
    }
}

#[test]
fn check_finds_a_certificate_that_is_missing() {
    let tls = "address: 127.0.0.1:0\n    tls: { certificates: { cert: /no/such.crt, key: /no/such.key } }";
    let exit = check(&SHORTEST.replace("address: 127.0.0.1:0", tls));
    let said = exit.stderr + &exit.stdout;
    assert_eq!(exit.code, Some(78), "{said}");
    assert!(said.contains("/no/such.crt"), "{said}");
}

#[tokio::test]
async fn a_running_gateway_does_not_disturb_the_check_of_its_own_file() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    let file = gate.config_file();
    let exit = tokio::task::spawn_blocking(move || sluicegate(&["check", "-c", file.to_str().unwrap()])).await.unwrap();
    assert_eq!(gate.get("/").await.status, 200);
    assert_eq!(exit.code, Some(0), "{exit:?}");
    let told: Vec<&str> = exit.stderr.lines().collect();
    assert!(matches!(told[..], [note] if note.contains("note: sluicegate runs as process")), "{exit:?}");
}

#[test]
fn a_known_placeholder_secret_is_refused() {
    let exit = check(&SHORTEST.replace("pools:", "admin: { address: 127.0.0.1:0, token: admin }\npools:"));
    assert_eq!(exit.code, Some(78), "{exit:?}");
}

#[tokio::test]
async fn a_state_directory_that_cannot_be_is_told_with_its_place_by_check_and_by_run() {
    let ai = "{ providers: { p: { kind: openai, keys: sk-proj-7f2b4936a8e1 } } }";
    let gateway = gateway()
        .section("server", "{ state_dir: \"{dir}/none/state\" }")
        .section("limits", "{ a: { key: global, tokens: 5/day } }")
        .section("ai", ai)
        .route("match: /v1/, ai: true, limits: a");
    let run = gateway.start_in_vain().await;
    assert_eq!(run.code, Some(1), "{run:?}");
    let listen = free_address();
    let checked = check(&format!(
        "listen: {listen}\nserver: {{ state_dir: /none/state }}\nlimits: {{ a: {{ key: global, tokens: 5/day }} }}\n\
         ai: {ai}\nroutes: {{ match: /v1/, ai: true, limits: a }}\n"
    ));
    assert_eq!(checked.code, Some(78), "{checked:?}");
    for said in [&run.stderr, &checked.stderr] {
        assert!(said.contains("server.state_dir: the directory ") && said.contains("none does not exist"), "{said}");
        assert!(said.contains("sluicegate.yaml:") && said.contains("make the directory first"), "{said}");
    }
}
