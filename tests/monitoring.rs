//! What is shipped to watch the gateway with is right: every alert fires when it should and is silent when it should not,
//! every dashboard asks for what there is, and an alert reaches whoever is to hear it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    unreachable_pub,
    reason = "a test fails by panicking, says what it leaves out, and is a program of several files"
)]

#[path = "monitoring/daemons.rs"]
mod daemons;
#[path = "monitoring/dashboards.rs"]
mod dashboards;
#[path = "monitoring/promql.rs"]
mod promql;
#[path = "monitoring/shipped.rs"]
mod shipped;
#[path = "support/harness.rs"]
mod support;
#[path = "monitoring/traffic.rs"]
mod traffic;

use std::collections::BTreeSet;
use std::path::Path;

use daemons::{Alertmanager, Prometheus, blackbox, node_exporter, tool};
use promql::{Exposed, names};
use serde_json::Value;
use shipped::{Alert, alert_tests, alerts, directory, expressions, tests_directory, untested};
use support::*;

// === Rules and configuration, by the tools of their makers ===

#[test]
fn prometheus_takes_its_configuration_and_every_rule() {
    tool("promtool", &["check", "config", path(&directory().join("prometheus.yml"))]);
}

#[test]
fn alertmanager_takes_both_configurations_and_tells_alerts_by_severity() {
    for name in ["alertmanager.yml", "alertmanager.mail.yml"] {
        let file = directory().join(name);
        tool("amtool", &["check-config", path(&file)]);
        let whom = |severity: &str| {
            let config = format!("--config.file={}", path(&file));
            let said = tool("amtool", &["config", "routes", "test", &config, &format!("severity={severity}")]);
            said.lines().next().unwrap_or_default().to_owned()
        };
        assert_eq!(["critical", "warning", "info"].map(whom), ["critical", "warning", "default"], "{name}");
    }
}

#[test]
fn nothing_that_is_shipped_holds_a_credential() {
    for name in [
        "alertmanager.yml",
        "alertmanager.mail.yml",
        "prometheus.yml",
        "grafana/provisioning/datasources/sluicegate.yml",
    ] {
        let text = std::fs::read_to_string(directory().join(name)).unwrap();
        let told = text.lines().filter(|line| !line.trim_start().starts_with('#'));
        let secret = ["password:", "secret:", "token:", "credentials:", "basicAuthPassword"];
        let found: Vec<&str> = told.filter(|line| secret.iter().any(|word| line.contains(word))).collect();
        assert!(found.is_empty(), "{name}: {found:?}");
    }
}

#[test]
fn alerts_on_the_gateway_fire_and_are_silent() {
    fire("gateway");
}

#[test]
fn alerts_on_pools_fire_and_are_silent() {
    fire("pools");
}

#[test]
fn alerts_on_models_fire_and_are_silent() {
    fire("ai");
}

#[test]
fn alerts_on_security_fire_and_are_silent() {
    fire("security");
}

#[test]
fn alerts_on_machines_and_probes_fire_and_are_silent() {
    fire("host");
}

#[test]
fn alerts_on_jairouter_fire_and_are_silent() {
    fire("backends");
}

#[test]
fn alerts_that_take_hours_fire_and_are_silent() {
    fire("slow");
}

/// Runs the tests of one file.
fn fire(name: &str) {
    tool("promtool", &["test", "rules", path(&tests_directory().join(format!("{name}.test.yml")))]);
}

#[test]
fn every_alert_has_a_test_in_which_it_fires_and_one_in_which_it_does_not() {
    let files: BTreeSet<String> = alert_tests().into_iter().map(|(file, _)| file).collect();
    let run = ["ai", "backends", "gateway", "host", "pools", "security", "slow"];
    assert_eq!(files, run.map(|name| format!("{name}.test.yml")).into(), "a test above runs each file");
    let missing = untested(&alerts(), &alert_tests());
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn an_alert_without_a_test_is_noticed() {
    let tests = alert_tests();
    let invented = Alert { name: "Invented".to_owned(), ..alerts().remove(0) };
    assert_eq!(untested(&[invented], &tests), ["Invented never fires", "Invented is never seen silent"]);
    let (file, mut only) = tests.into_iter().find(|(file, _)| file == "pools.test.yml").unwrap();
    let block = only["tests"][0].take();
    let name = block["alert_rule_test"][0]["alertname"].as_str().unwrap().to_owned();
    let alert: Vec<Alert> = alerts().into_iter().filter(|alert| alert.name == name).collect();
    let with = |change: &dyn Fn(&mut Value)| {
        let mut block = block.clone();
        change(&mut block);
        untested(&alert, &[(file.clone(), serde_json::json!({ "tests": [block] }))])
    };
    assert!(with(&|_| ()).is_empty(), "it is tested as it is");
    let without_twin = with(&|block| {
        let series = block["input_series"].as_array_mut().unwrap();
        series.retain(|one| !one["series"].as_str().unwrap().contains("quiet"));
    });
    assert_eq!(without_twin, [format!("{name} is never seen silent")]);
    let never = with(&|block| block["alert_rule_test"].as_array_mut().unwrap().truncate(1));
    assert_eq!(never, [format!("{name} never fires")]);
}

#[test]
fn every_alert_says_how_grave_it_is_what_happened_and_what_to_do() {
    let runbook = std::fs::read_to_string(directory().join("RUNBOOK.md")).unwrap();
    let sections: Vec<&str> = runbook.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let alerts = alerts();
    for Alert { name, labels, annotations, .. } in &alerts {
        let told = |key: &str| annotations[key].as_str().unwrap_or_default();
        assert!(["critical", "warning", "info"].map(Value::from).contains(&labels["severity"]), "{name}: severity");
        assert!(labels["alertgroup"].is_string(), "{name}: without alertgroup nothing is inhibited");
        assert!(!told("summary").is_empty(), "{name}: summary");
        let all = format!("{} {}", told("summary"), told("description"));
        assert!(all.contains("{{ ") || name == "SluicegateAbsent", "{name} names no value and no label: {all}");
        assert!(told("description").ends_with('.'), "{name}: description");
        assert_eq!(told("runbook"), format!("RUNBOOK.md#{}", name.to_lowercase()));
        assert!(sections.contains(&name.as_str()), "{name} has no section in RUNBOOK.md");
    }
    for section in &sections {
        assert!(alerts.iter().any(|alert| alert.name == *section), "RUNBOOK.md has {section}, and no rule has");
        let (_, text) = runbook.split_once(&format!("### {section}\n")).unwrap();
        let text = text.split("\n#").next().unwrap();
        let has = |part: &str| text.contains(&format!("- **{part}:** "));
        assert!(["Means", "Look", "Do"].into_iter().all(has), "{section} lacks a part:\n{text}");
    }
}

// === What the rules and the dashboards name, against what there is ===

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_and_dashboards_name_only_metrics_and_labels_that_there_are() {
    let busy = traffic::busy().await;
    let (Some(node), Some(probe)) = (node_exporter().await, blackbox(busy.ca()).await) else { return };
    let mut there = Exposed::of(&busy.scrapes(&[node, probe]).await);
    let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference.md");
    there.know_words_of(&std::fs::read_to_string(reference).unwrap());
    let findings: Vec<String> =
        expressions().iter().flat_map(|(whose, text)| there.lacks(whose, &names(text))).collect();
    assert!(findings.is_empty(), "{findings:#?}");
    let lacks = |text: &str| there.lacks("x", &names(text)).len();
    assert_eq!(lacks("rate(sluicegate_no_such_total[5m])"), 1, "a metric that is not there is noticed");
    assert_eq!(lacks(r#"sluicegate_draining{colour="red"}"#), 1, "and a label");
    assert_eq!(lacks(r#"sum by (colour) (sluicegate_draining)"#), 1, "and one that is summed by");
    assert_eq!(lacks(r#"sluicegate_reloads_total{result="sucess"}"#), 1, "and a value");
}

#[test]
fn dashboards_are_such_as_grafana_takes_from_files() {
    let findings: Vec<String> =
        shipped::dashboards().iter().flat_map(|(file, board)| dashboards::faults(file, board)).collect();
    assert!(findings.is_empty(), "{findings:#?}");
    let titles: BTreeSet<String> =
        shipped::dashboards().iter().map(|(_, board)| board["title"].as_str().unwrap_or_default().to_owned()).collect();
    let expected = [
        "Application Performance",
        "Business Metrics",
        "JAiRouter Overview",
        "Resource Usage",
        "Sluicegate AI",
        "Sluicegate Gateway",
        "System Overview",
    ];
    assert_eq!(titles, expected.map(str::to_owned).into());
}

#[test]
fn a_dashboard_that_grafana_would_not_show_is_noticed() {
    let (file, board) = shipped::dashboards().remove(0);
    let with = |change: &dyn Fn(&mut Value)| {
        let mut board = board.clone();
        change(&mut board);
        dashboards::faults(&file, &board)
    };
    assert!(with(&|_| ()).is_empty());
    let wrong: [&dyn Fn(&mut Value); 9] = [
        &|board| *board = serde_json::json!({ "dashboard": board.clone() }),
        &|board| board["panels"][1]["id"] = board["panels"][0]["id"].clone(),
        &|board| board["panels"][1]["gridPos"] = board["panels"][0]["gridPos"].clone(),
        &|board| board["panels"][0]["gridPos"]["w"] = 25.into(),
        &|board| board["panels"][1]["type"] = "graph".into(),
        &|board| board["panels"][1]["description"] = "".into(),
        &|board| board["panels"][1]["datasource"]["uid"] = "P1809F7CD0C75ACF3".into(),
        &|board| board["panels"][1]["fieldConfig"]["defaults"]["unit"] = "".into(),
        &|board| board["templating"]["list"][0]["name"] = "other".into(),
    ];
    for (which, change) in wrong.iter().enumerate() {
        assert!(!with(change).is_empty(), "change {which} was not noticed");
    }
}

// === The daemons themselves ===

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_panel_shows_something_to_a_prometheus_that_scrapes_a_busy_gateway() {
    let busy = traffic::busy().await;
    let (Some(node), Some(probe)) = (node_exporter().await, blackbox(busy.ca()).await) else { return };
    let Some(prometheus) = Prometheus::start(&busy.targets(&node, &probe), None).await else { return };
    busy.go_on(&prometheus).await;
    let mut empty = Vec::new();
    for (whose, text) in shipped::panel_expressions() {
        let asked = dashboards::filled(&text);
        let series = prometheus.ask(&asked).await.unwrap_or_else(|error| panic!("{whose}: {error}\n{asked}"));
        if series == 0 {
            empty.push(format!("{whose}: {text}"));
        }
    }
    assert!(empty.is_empty(), "panels without a series: {empty:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_a_backend_dies_the_alert_reaches_the_webhook_and_so_does_its_end() {
    let hook = upstream("hook").await;
    let Some(alertmanager) = Alertmanager::start(hook.address()).await else { return };
    let backend = upstream("backend").await;
    let check = "health_check: { path: /health, interval: 500ms, timeout: 500ms, fall: 2, rise: 1 }";
    let gate = gateway().pool_with("app", &[&backend], check).start().await.ready().await;
    let targets = daemons::Targets { sluicegate: vec![gate.admin_address()], ..Default::default() };
    let Some(prometheus) = Prometheus::start(&targets, Some(&alertmanager)).await else { return };
    let load = load(gate.address(), "/echo", 2);
    prometheus.has(r#"up{job="sluicegate"} == 1"#).await;
    assert!(!about(&hook, "/critical", "SluicegatePoolEmpty"), "all is well, and nobody is told otherwise");

    backend.stop().await;
    let told = told(&hook, "/critical", "firing", "SluicegatePoolEmpty").await;
    let alert = &told["alerts"][0];
    assert_eq!(alert["labels"]["pool"], "app", "{told}");
    assert_eq!(alert["labels"]["instance"], gate.admin_address().to_string(), "{told}");
    assert_eq!(alert["annotations"]["summary"], "The pool app has no usable member", "{told}");
    assert_eq!(alert["annotations"]["runbook"], "RUNBOOK.md#sluicegatepoolempty", "{told}");
    // Where nothing can be asked, nobody has to be told of each member.
    alertmanager.holds_back("SluicegateMemberDown").await;
    assert!(!about(&hook, "/warning", "SluicegateMemberDown"), "it was told before it was inhibited");

    revive(&backend).await;
    self::told(&hook, "/critical", "resolved", "SluicegatePoolEmpty").await;
    let tally = load.stop().await;
    assert!(tally.statuses.contains_key(&200) && tally.statuses.contains_key(&503), "{tally:?}");
}

/// The message of Alertmanager about `alert` that came to `path`.
async fn told(hook: &Mock, path: &str, status: &str, alert: &str) -> Value {
    let mut found = None;
    eventually(s(60), &format!("{alert} is {status} at {path}"), async || {
        let about = |message: &Value| message["status"] == status && message["commonLabels"]["alertname"] == alert;
        found = messages(hook, path).into_iter().find(about);
        found.is_some()
    })
    .await;
    found.unwrap()
}

/// Whether any message that came to `path` is about `alert`.
fn about(hook: &Mock, path: &str, alert: &str) -> bool {
    messages(hook, path).iter().any(|message| message["commonLabels"]["alertname"] == alert)
}

/// All messages that came to `path`.
fn messages(hook: &Mock, path: &str) -> Vec<Value> {
    let seen = hook.requests();
    let here = seen.iter().filter(|seen| seen.path_and_query == path);
    here.filter_map(|seen| serde_json::from_slice(&seen.body).ok()).collect()
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}
