use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use super::*;
use crate::config::{Environment, Overrides, parse};

const ROUTES: &str = "routes: { respond: 200 }\n";

fn loaded(text: &str) -> Loaded {
    parse("gate.yaml", text, &Overrides::default(), &Environment::of([])).unwrap_or_else(|errors| panic!("{errors}"))
}

fn probed(text: &str) -> Vec<String> {
    probe(&loaded(text)).iter().map(ToString::to_string).collect()
}

#[test]
fn what_can_be_bound_is_fine_and_free_again_afterwards() {
    let text = format!("listen: [127.0.0.1:0]\n{ROUTES}");
    assert!(probed(&text).is_empty());
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text = format!("listen: [\"{free}\"]\n{ROUTES}");
    assert!(probed(&text).is_empty());
    assert!(probed(&text).is_empty(), "the first probe let go of it");
}

#[test]
fn an_address_in_use_is_told_with_its_key_and_holder() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let problems = probed(&format!("listen:\n  - address: {address}\n{ROUTES}"));
    assert_eq!(problems.len(), 1);
    assert!(
        problems[0].starts_with(&format!("gate.yaml:2:14: listen[0].address: {address} is taken")),
        "{}",
        problems[0]
    );
}

#[test]
fn an_address_that_is_not_of_this_machine_is_told() {
    // 192.0.2.0/24 is for documentation and on no machine (RFC 5737).
    let problems = probed(&format!("listen: 192.0.2.1:8080\n{ROUTES}"));
    assert!(problems[0].contains("no interface of this machine has this address"), "{problems:?}");
}

#[test]
fn a_listener_of_a_flag_is_named_by_it() {
    let overrides = Overrides { listen: vec!["192.0.2.1:8080".to_owned()], ..Overrides::default() };
    let text = format!("listen: 127.0.0.1:0\n{ROUTES}");
    let loaded = parse("gate.yaml", &text, &overrides, &Environment::of([])).unwrap();
    let problems = probe(&loaded);
    assert!(problems[0].to_string().starts_with("--listen: 192.0.2.1:8080 cannot be bound"), "{}", problems[0]);
}

#[test]
fn what_a_running_sluicegate_holds_is_one_note_and_an_obstacle_to_another_one() {
    let text = format!("listen: [127.0.0.1:1, 127.0.0.1:2]\n{ROUTES}");
    let loaded = loaded(&text);
    let holder = Holder { pid: 7, name: "sluicegate".to_owned() };
    let listen = KeyPath::default().key("listen");
    let found =
        [0, 1].map(|index| (listen.index(index), held(loaded.config.listeners[index].address.to_string(), &holder)));
    let told: Vec<String> = notes(&found, &loaded).iter().map(ToString::to_string).collect();
    let note = "gate.yaml: note: sluicegate runs as process 7 and holds 127.0.0.1:1, 127.0.0.1:2; ";
    assert_eq!(told, [format!("{note}nothing to do if this is its file")]);
    let [(path, wrong), _] = found;
    let obstacle = wrong.at(&path, &loaded).to_string();
    assert!(obstacle.starts_with("gate.yaml:1:10: listen[0]: 127.0.0.1:1 is in use by sluicegate"), "{obstacle}");
}

#[test]
fn unix_sockets_are_looked_at() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().display();
    let text = |name: &str| format!("listen: unix:{path}/{name}\n{ROUTES}");
    assert!(probed(&text("new.sock")).is_empty());
    assert!(probed(&text("no/where.sock"))[0].contains("does not exist"));
    std::fs::write(directory.path().join("file"), "").unwrap();
    assert!(probed(&text("file"))[0].contains("is no socket"));
    let live = UnixListener::bind(directory.path().join("live.sock")).unwrap();
    let problems = probe(&loaded(&text("live.sock")));
    assert!(problems[0].message.contains("live.sock is in use by "), "{}", problems[0]);
    assert!(problems[0].message.ends_with(&format!("(process {})", std::process::id())), "{}", problems[0]);
    drop(live);
    assert!(probed(&text("live.sock")).is_empty(), "a leftover is replaced");
}

#[test]
fn log_files_must_have_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().display();
    let text = |file: &str| format!("listen: 127.0.0.1:0\n{ROUTES}log: {{ access: {path}/{file} }}\n");
    assert!(probed(&text("access.log")).is_empty());
    assert!(!directory.path().join("access.log").exists(), "nothing is written");
    let problems = probed(&text("none/access.log"));
    assert!(problems[0].starts_with("gate.yaml:3:16: log.access: the directory"), "{}", problems[0]);
}

#[test]
fn the_state_directory_can_be_made_or_written() {
    const BUDGET: &str = "limits: { a: { key: global, tokens: 5/day } }\n\
                          ai: { providers: { p: { kind: openai, keys: sk-proj-7f2b4936a8e1 } } }\n";
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().display();
    let text = |name: &str| {
        let routes = "routes: { match: /v1/, ai: true, limits: a }\n";
        format!("listen: 127.0.0.1:0\nserver: {{ state_dir: {path}/{name} }}\n{BUDGET}{routes}")
    };
    assert!(probed(&text("state")).is_empty(), "a start makes the last part");
    assert!(!directory.path().join("state").exists(), "nothing is made");
    let problems = probed(&text("no/state"));
    let place = "gate.yaml:2:22: server.state_dir: ";
    assert!(problems[0].starts_with(&format!("{place}the directory {path}/no does not exist")), "{problems:?}");
    assert!(problems[0].contains("make the directory first"), "{problems:?}");
    std::fs::write(directory.path().join("file"), "").unwrap();
    let problems = probed(&text("file"));
    assert!(problems[0].starts_with(&format!("{place}{path}/file is there already and is no directory")));
    assert!(probed(&text("file/state"))[0].contains("no directory"));
    std::fs::create_dir(directory.path().join("state")).unwrap();
    assert!(probed(&text("state")).is_empty());
    let unused = format!("listen: 127.0.0.1:0\nserver: {{ state_dir: {path}/no/state }}\n{ROUTES}");
    assert!(probed(&unused).is_empty(), "without a budget it is not touched");
}
