//! The files under `packaging/monitoring`, read.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// An alert rule.
#[derive(Clone)]
pub struct Alert {
    pub name: String,
    pub expr: String,
    pub labels: Value,
    pub annotations: Value,
}

/// Where the shipped files are.
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/monitoring")
}

/// Where the tests of promtool are.
pub fn tests_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/monitoring")
}

/// Names and texts of the files of a directory that end in `suffix`, in order.
fn files(directory: &Path, suffix: &str) -> Vec<(String, String)> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> = entries.filter(|path| path.to_str().unwrap().ends_with(suffix)).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} has no {suffix}", directory.display());
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    paths.iter().map(|path| (name(path), std::fs::read_to_string(path).unwrap())).collect()
}

pub fn yaml(text: &str) -> Value {
    serde_yaml::from_str(text).unwrap()
}

/// Every rule: with the file it is in.
fn rules() -> Vec<(String, Value)> {
    let mut all = Vec::new();
    for (file, text) in files(&directory().join("rules"), ".yml") {
        for group in yaml(&text)["groups"].as_array().unwrap() {
            all.extend(group["rules"].as_array().unwrap().iter().map(|rule| (file.clone(), rule.clone())));
        }
    }
    all
}

/// Every alert rule.
pub fn alerts() -> Vec<Alert> {
    let alert = |(_, rule): (String, Value)| {
        Some(Alert {
            name: rule["alert"].as_str()?.to_owned(),
            expr: rule["expr"].as_str().unwrap().to_owned(),
            labels: rule["labels"].clone(),
            annotations: rule["annotations"].clone(),
        })
    };
    let alerts: Vec<Alert> = rules().into_iter().filter_map(alert).collect();
    let names: BTreeSet<&str> = alerts.iter().map(|alert| alert.name.as_str()).collect();
    assert_eq!(names.len(), alerts.len(), "two alerts have one name");
    alerts
}

/// The recording rules: name and expression.
pub fn recorded() -> Vec<(String, String)> {
    let pair = |(_, rule): (String, Value)| {
        Some((rule["record"].as_str()?.to_owned(), rule["expr"].as_str().unwrap().to_owned()))
    };
    rules().into_iter().filter_map(pair).collect()
}

/// The tests of promtool: file and content.
pub fn alert_tests() -> Vec<(String, Value)> {
    files(&tests_directory(), ".test.yml").into_iter().map(|(file, text)| (file, yaml(&text))).collect()
}

/// Every dashboard.
pub fn dashboards() -> Vec<(String, Value)> {
    let boards = files(&directory().join("grafana/dashboards"), ".json");
    boards.into_iter().map(|(file, text)| (file, serde_json::from_str(&text).unwrap())).collect()
}

/// What the panels of every dashboard ask for, with whose it is.
pub fn panel_expressions() -> Vec<(String, String)> {
    let mut all = Vec::new();
    for (file, board) in dashboards() {
        for panel in board["panels"].as_array().unwrap() {
            for target in panel["targets"].as_array().into_iter().flatten() {
                let whose = format!("{file}, {}", panel["title"].as_str().unwrap_or_default());
                all.push((whose, target["expr"].as_str().unwrap().to_owned()));
            }
        }
    }
    all
}

/// Every expression of rules and dashboards, with whose it is.
pub fn expressions() -> Vec<(String, String)> {
    let alerts = alerts().into_iter().map(|alert| (alert.name, alert.expr));
    let mut all: Vec<(String, String)> = alerts.chain(recorded()).chain(panel_expressions()).collect();
    for (file, board) in dashboards() {
        for variable in board["templating"]["list"].as_array().unwrap() {
            if let Some(query) = variable["query"]["query"].as_str() {
                let inner = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')')).unwrap();
                let (metric, label) = inner.rsplit_once(", ").unwrap();
                all.push((format!("{file}, variables"), format!("sum by ({label}) ({metric})")));
            }
        }
    }
    all
}

/// Alerts that no test fires, and those that no test shows silent while what they look at is there: in a twin of what
/// fires, under the name of another instance or issuer, or in a test of its own.
pub fn untested(alerts: &[Alert], tests: &[(String, Value)]) -> Vec<String> {
    let blocks: Vec<&Value> = tests.iter().flat_map(|(_, test)| test["tests"].as_array().unwrap()).collect();
    let mut missing = Vec::new();
    for Alert { name, .. } in alerts {
        let firing = blocks.iter().find(|block| expected(block, name).next().is_some());
        if firing.is_none() {
            missing.push(format!("{name} never fires"));
        }
        let alone = |block: &Value| {
            is_about(block, name) && expected(block, name).next().is_none() && block["input_series"].is_array()
        };
        let silent =
            firing.is_some_and(|block| has_silent_twin(block, name)) || blocks.iter().any(|block| alone(block));
        if !silent {
            missing.push(format!("{name} is never seen silent"));
        }
    }
    missing
}

fn is_about(block: &Value, name: &str) -> bool {
    checks(block).any(|check| check["alertname"] == name)
}

fn checks(block: &Value) -> impl Iterator<Item = &Value> {
    block["alert_rule_test"].as_array().into_iter().flatten()
}

/// The alerts that a test expects of a rule.
fn expected<'a>(block: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    let name = name.to_owned();
    checks(block)
        .filter(move |check| check["alertname"] == name.as_str())
        .flat_map(|check| check["exp_alerts"].as_array().unwrap())
}

/// Whether an instance has all the metrics of the one that fires, and is not expected to.
fn has_silent_twin(block: &Value, name: &str) -> bool {
    let firing: BTreeSet<&str> =
        expected(block, name).filter_map(|alert| alert["exp_labels"]["instance"].as_str()).collect();
    let series: Vec<&str> =
        block["input_series"].as_array().unwrap().iter().map(|one| one["series"].as_str().unwrap()).collect();
    let instances: BTreeSet<&str> =
        series.iter().filter_map(|one| one.split("instance=\"").nth(1)?.split('"').next()).collect();
    let metrics = |instance: &str| -> BTreeSet<&str> {
        let of = series.iter().filter(|one| one.contains(&format!("instance=\"{instance}\"")));
        of.filter_map(|one| one.split('{').next()).collect()
    };
    let wanted: BTreeSet<&str> = firing.iter().flat_map(|instance| metrics(instance)).collect();
    instances.difference(&firing).any(|quiet| wanted.is_subset(&metrics(quiet)))
}
