//! What Grafana wants of a dashboard that it reads from a file, and what people want of a panel.

use std::collections::BTreeSet;

use serde_json::Value;

/// Panels that Grafana 11 still has, of those that are used.
const KINDS: [&str; 4] = ["row", "timeseries", "stat", "table"];
/// How wide a dashboard is.
const COLUMNS: u64 = 24;
const SOURCE: &str = "${datasource}";

/// What is wrong with a dashboard.
pub fn faults(file: &str, board: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let text = |key: &str| board[key].as_str().unwrap_or_default();
    for key in ["uid", "title", "description", "refresh"] {
        if text(key).is_empty() {
            found.push(format!("{key} is missing; wrapped in another object it would not be read from a file"));
        }
    }
    if board["schemaVersion"].as_u64() < Some(36) {
        found.push("schemaVersion is that of an old Grafana".to_owned());
    }
    if text("uid").len() > 40 {
        found.push("uid is over 40 letters".to_owned());
    }
    let empty = Vec::new();
    let variables = board["templating"]["list"].as_array().unwrap_or(&empty);
    let first = variables.first().unwrap_or(&Value::Null);
    if first["name"] != "datasource" || first["type"] != "datasource" || first["query"] != "prometheus" {
        found.push("the first variable is not the data source".to_owned());
    }
    let names: Vec<&str> = variables.iter().filter_map(|variable| variable["name"].as_str()).collect();
    let panels = board["panels"].as_array().unwrap_or(&empty);
    let ids: BTreeSet<u64> = panels.iter().filter_map(|panel| panel["id"].as_u64()).collect();
    if panels.is_empty() || ids.len() != panels.len() {
        found.push("panels need ids of their own".to_owned());
    }
    for panel in panels {
        let title = panel["title"].as_str().unwrap_or_default();
        found.extend(faults_of_panel(panel, &names).into_iter().map(|fault| format!("{title}: {fault}")));
    }
    for (at, panel) in panels.iter().enumerate() {
        if panels.iter().skip(at + 1).any(|other| overlap(panel, other)) {
            found.push(format!("{} lies over another panel", panel["title"]));
        }
    }
    found.into_iter().map(|fault| format!("{file}: {fault}")).collect()
}

fn faults_of_panel(panel: &Value, variables: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let kind = text(&panel["type"]);
    if !KINDS.contains(&&*kind) {
        found.push(format!("no panel of kind {kind:?} is known"));
    }
    let [x, _, w, h] = place(panel);
    if w == 0 || h == 0 || x + w > COLUMNS {
        found.push("it is not within the columns".to_owned());
    }
    if kind == "row" {
        return found;
    }
    if text(&panel["title"]).is_empty() || !text(&panel["description"]).ends_with('.') {
        found.push("it has no title or no description".to_owned());
    }
    if text(&panel["fieldConfig"]["defaults"]["unit"]).is_empty() {
        found.push("it has no unit".to_owned());
    }
    let empty = Vec::new();
    let targets = panel["targets"].as_array().unwrap_or(&empty);
    let letters: BTreeSet<String> = targets.iter().map(|target| text(&target["refId"])).collect();
    if targets.is_empty() || letters.len() != targets.len() {
        found.push("it has no targets, or two of one name".to_owned());
    }
    let sources = std::iter::once(panel).chain(targets).map(|owner| &owner["datasource"]);
    if sources.into_iter().any(|source| source["uid"] != SOURCE || source["type"] != "prometheus") {
        found.push("its data source is not the variable".to_owned());
    }
    for used in targets.iter().flat_map(|target| variables_of(target["expr"].as_str().unwrap_or_default())) {
        if used != "__rate_interval" && !variables.contains(&&*used) {
            found.push(format!("the dashboard has no variable {used}"));
        }
    }
    found
}

/// Column, line, width and height.
fn place(panel: &Value) -> [u64; 4] {
    ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap_or_default())
}

fn overlap(one: &Value, other: &Value) -> bool {
    let ([x, y, w, h], [x2, y2, w2, h2]) = (place(one), place(other));
    x < x2 + w2 && x2 < x + w && y < y2 + h2 && y2 < y + h
}

/// The variables that an expression names.
fn variables_of(text: &str) -> Vec<String> {
    let pieces = text.split('$').skip(1);
    pieces
        .map(|piece| piece.chars().take_while(|letter| letter.is_ascii_alphanumeric() || *letter == '_').collect())
        .collect()
}

/// An expression as Grafana sends it when everything is chosen.
pub fn filled(text: &str) -> String {
    let mut filled = text.replace("$__rate_interval", "1m");
    for name in variables_of(&filled) {
        filled = filled.replace(&format!("${name}"), ".*");
    }
    filled
}
