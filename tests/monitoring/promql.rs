//! What an expression names, and whether a scrape has it. It finds names and does not judge: that is promtool's part.

use std::collections::{BTreeMap, BTreeSet};

use super::shipped::recorded;
use super::support::Metrics;

/// Labels that the scraper gives, or takes from the target's own.
const OF_THE_SCRAPER: [&str; 3] = ["job", "instance", "exported_instance"];
/// Words that are followed by a list of labels.
const LISTS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
/// Words that are no metrics.
const WORDS: [&str; 7] = ["and", "or", "unless", "offset", "bool", "inf", "nan"];

/// A label and what it may be; `None` for a pattern that is no choice of words.
pub type Matcher = (String, Option<Vec<String>>);

/// A metric that an expression asks for, and what it wants of its labels.
#[derive(Debug, Default, PartialEq)]
pub struct Selector {
    pub metric: String,
    pub matchers: Vec<Matcher>,
}

/// What an expression names.
#[derive(Debug, Default, PartialEq)]
pub struct Names {
    pub selectors: Vec<Selector>,
    /// Labels in lists such as `by (pool)`.
    pub lists: BTreeSet<String>,
}

/// Reads an expression.
pub fn names(text: &str) -> Names {
    let mut found = Names::default();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if first == '"' {
            rest = after_string(rest).1;
        } else if first == '[' {
            rest = rest.split_once(']').map_or("", |(_, after)| after);
        } else if first == '{' {
            let (matchers, after) = matchers(rest);
            found.selectors.last_mut().expect("a metric before its labels").matchers = matchers;
            rest = after;
        } else if is_of_name(first) {
            let (word, after) = word(rest);
            rest = found.take(word, after);
        } else {
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
        }
    }
    found
}

impl Names {
    /// A word: a metric, a list of labels, a function, a number. Gives what follows it.
    fn take<'a>(&mut self, word: &str, after: &'a str) -> &'a str {
        let next = after.trim_start();
        if LISTS.contains(&word) {
            let Some(list) = next.strip_prefix('(') else { return after };
            let (labels, after) = list.split_once(')').expect("a list ends");
            self.lists.extend(labels.split(',').map(|label| label.trim().to_owned()).filter(|label| !label.is_empty()));
            return after;
        }
        let is_metric = !word.starts_with(|first: char| first.is_ascii_digit())
            && !WORDS.contains(&word)
            && !next.starts_with('(')
            && !LISTS.iter().any(|list| next.strip_prefix(list).is_some_and(|rest| rest.trim_start().starts_with('(')));
        if is_metric {
            self.selectors.push(Selector { metric: word.to_owned(), ..Selector::default() });
        }
        after
    }
}

fn is_of_name(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_' || letter == ':'
}

fn word(text: &str) -> (&str, &str) {
    let end = text.find(|letter| !is_of_name(letter)).unwrap_or(text.len());
    text.split_at(end)
}

/// The inside of a string that begins here, and what follows it.
fn after_string(text: &str) -> (&str, &str) {
    let inside = text.get(1..).unwrap_or_default();
    inside.split_once('"').expect("a string ends, and has no escapes")
}

fn matchers(text: &str) -> (Vec<Matcher>, &str) {
    let mut found = Vec::new();
    let mut rest = text.get(1..).unwrap_or_default();
    loop {
        rest = rest.trim_start_matches([',', ' ', '\n']);
        if let Some(after) = rest.strip_prefix('}') {
            return (found, after);
        }
        let (label, after) = word(rest);
        assert!(!label.is_empty(), "no matcher: {rest}");
        let operator = after.find('"').expect("a value");
        let (value, after_value) = after_string(after.get(operator..).unwrap_or_default());
        found.push((label.to_owned(), words_of(value)));
        rest = after_value;
    }
}

/// `a|b` as its words; `None` when it is a pattern of another kind, or a variable of Grafana.
fn words_of(value: &str) -> Option<Vec<String>> {
    let plain = value.chars().all(|letter| letter.is_ascii_alphanumeric() || "_|-".contains(letter));
    (plain && !value.is_empty()).then(|| value.split('|').map(str::to_owned).collect())
}

/// The metrics that there are, with the values of their labels.
#[derive(Default)]
pub struct Exposed {
    metrics: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
    /// Words of fixed sets that no traffic brings about at will: those that the reference explains.
    words: BTreeSet<String>,
}

impl Exposed {
    /// What is in these scrapes.
    pub fn of(scrapes: &[Metrics]) -> Self {
        let mut all = Self::default();
        for (name, labels, _) in scrapes.iter().flat_map(Metrics::samples) {
            let known = all.metrics.entry(name.to_owned()).or_default();
            let mut rest = labels;
            while let Some((label, after)) = rest.split_once("=\"") {
                let (value, after) = after.split_once('"').expect("a value ends");
                known.entry(label.trim_start_matches(',').to_owned()).or_default().insert(value.to_owned());
                rest = after;
            }
        }
        all.metrics.entry("up".to_owned()).or_default();
        all
    }

    /// Takes every word in backticks as the value of some label.
    pub fn know_words_of(&mut self, reference: &str) {
        self.words.extend(reference.split('`').skip(1).step_by(2).map(str::to_owned));
    }

    /// What an expression names that is not there.
    pub fn lacks(&self, whose: &str, names: &Names) -> Vec<String> {
        let mut missing = Vec::new();
        let mut labels: BTreeSet<String> = OF_THE_SCRAPER.map(str::to_owned).into();
        let mut known = true;
        for Selector { metric, matchers } in &names.selectors {
            let Some(own) = self.labels_of(metric) else {
                missing.push(format!("{whose}: no metric {metric}"));
                known = false;
                continue;
            };
            for (label, words) in matchers {
                match own.get(label) {
                    // Only our own words are fixed sets; file systems and devices differ from machine to machine.
                    Some(_) if !own.contains_key("application") => {}
                    Some(values) => {
                        let unknown = self.unknown(values, words).into_iter();
                        missing.extend(unknown.map(|word| format!("{whose}: {metric} has no {label}=\"{word}\"")));
                    }
                    None if OF_THE_SCRAPER.contains(&label.as_str()) => {}
                    None => missing.push(format!("{whose}: {metric} has no label {label}")),
                }
            }
            labels.extend(own.into_keys());
        }
        if known {
            missing
                .extend(names.lists.difference(&labels).map(|label| format!("{whose}: nothing has the label {label}")));
        }
        missing
    }

    /// Words that are neither there nor explained. A status is a number, and any may come.
    fn unknown<'a>(&self, values: &BTreeSet<String>, words: &'a Option<Vec<String>>) -> Vec<&'a String> {
        let is_status = |word: &str| word.len() == 3 && word.bytes().all(|letter| letter.is_ascii_digit());
        let known = |word: &str| values.contains(word) || self.words.contains(word) || is_status(word);
        words.iter().flatten().filter(|word| !known(word)).collect()
    }

    /// Labels and values of a metric; of one that a rule records, those of what it is made of.
    fn labels_of(&self, metric: &str) -> Option<BTreeMap<String, BTreeSet<String>>> {
        if let Some(own) = self.metrics.get(metric) {
            return Some(own.clone());
        }
        let (_, text) = recorded().into_iter().find(|(name, _)| name == metric)?;
        let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for selector in names(&text).selectors {
            for (label, values) in self.labels_of(&selector.metric)? {
                all.entry(label).or_default().extend(values);
            }
        }
        Some(all)
    }
}

#[test]
fn names_are_found_wherever_they_stand() {
    let found = names(
        r#"sum without (a, b) (rate(x_total{c="d|e",f=~"$g"}[5m])) / on (h) group_left () y:z > 0.5e1 and (w offset 30m) unless vector(1)"#,
    );
    let metrics: Vec<&str> = found.selectors.iter().map(|selector| selector.metric.as_str()).collect();
    assert_eq!(metrics, ["x_total", "y:z", "w"]);
    let matchers = &found.selectors[0].matchers;
    assert_eq!(matchers[0], ("c".to_owned(), Some(vec!["d".to_owned(), "e".to_owned()])));
    assert_eq!(matchers[1], ("f".to_owned(), None));
    assert_eq!(found.lists, ["a", "b", "h"].map(str::to_owned).into());
}
