//! What is wrong with a configuration, told so that a reader can mend it.
//!
//! A [`Finding`] names a place by key path. A [`Problem`] is a finding made ready to read: file, line, column, the
//! source line and a caret below it. A secret that stands in the shown line is covered.

use std::fmt;

use super::document::Position;
use super::source::Source;

/// The most problems that one run reports; the rest is counted.
pub const MAX_PROBLEMS: usize = 100;

/// The most findings whose place is looked up, before they are put in order and cut to [`MAX_PROBLEMS`].
const MAX_LOCATED: usize = 500;

/// A path of keys, such as `routes[2].match.path`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct KeyPath(pub(super) Vec<Step>);

/// One step of a [`KeyPath`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

impl KeyPath {
    /// The path of `key` below this one.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        self.with(Step::Key(key.to_owned()))
    }

    /// The path of the list item `index`, from 0, below this one.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.with(Step::Index(index))
    }

    /// The path of what this one stands in.
    #[must_use]
    pub(super) fn parent(&self) -> Self {
        Self(self.0.split_last().map(|(_, steps)| steps.to_vec()).unwrap_or_default())
    }

    fn with(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for step in &self.0 {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) => {
                    let dot = if first { "" } else { "." };
                    let plain = key.chars().all(|c| c.is_alphanumeric() || "_-*".contains(c)) && !key.is_empty();
                    if plain { write!(f, "{dot}{key}")? } else { write!(f, "{dot}{key:?}")? }
                }
            }
            first = false;
        }
        Ok(())
    }
}

/// Where something is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// The key itself is wrong.
    Key(KeyPath),
    /// The value is.
    Value(KeyPath),
    /// The text is no YAML here.
    At(Position),
    /// A flag or an environment variable.
    Override(String),
    /// The file as a whole.
    File,
}

/// Something wrong, before its position is looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) place: Place,
    pub(super) message: String,
    pub(super) expected: Option<String>,
    pub(super) hint: Option<String>,
    /// Another place that has a part in it, with what it is.
    pub(super) also: Option<(KeyPath, String)>,
}

impl Finding {
    pub(super) fn new(place: Place, message: impl Into<String>) -> Self {
        Self { place, message: message.into(), expected: None, hint: None, also: None }
    }

    pub(super) fn value(path: &KeyPath, message: impl Into<String>) -> Self {
        Self::new(Place::Value(path.clone()), message)
    }

    pub(super) fn key(path: &KeyPath, message: impl Into<String>) -> Self {
        Self::new(Place::Key(path.clone()), message)
    }

    pub(super) fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(super) fn also(mut self, path: KeyPath, what: impl Into<String>) -> Self {
        self.also = Some((path, what.into()));
        self
    }
}

/// How bad a [`Problem`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// It can, but is worth a look.
    Warning,
    /// Nothing is wrong; it is said so that nobody wonders.
    Note,
}

/// One thing that is wrong, ready to be shown. `Display` is several lines, without a newline at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Whether it stops anything.
    pub severity: Severity,
    /// The file, the flag or the variable.
    pub origin: String,
    /// Line and column, both from 1, when it lies in the file.
    pub position: Option<Position>,
    /// The key; empty when the file as a whole is meant.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub expected: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
    /// Shown lines: the place itself, then any other that has a part in it.
    pub excerpts: Vec<Excerpt>,
}

/// A line of the file with a mark below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt {
    /// From 1.
    pub line: usize,
    /// The line, secrets covered.
    pub text: String,
    /// Where the mark begins, in characters from 0.
    pub start: usize,
    /// How many characters it spans, at least 1.
    pub width: usize,
    /// What stands beside the mark.
    pub label: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin)?;
        if let Some(at) = self.position {
            write!(f, ":{}:{}", at.line, at.column)?;
        }
        f.write_str(": ")?;
        f.write_str(match self.severity {
            Severity::Error => "",
            Severity::Warning => "warning: ",
            Severity::Note => "note: ",
        })?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)?;
        if let Some(expected) = &self.expected {
            write!(f, "; expected {expected}")?;
        }
        let last = self.excerpts.iter().map(|e| e.line).max().unwrap_or(0);
        let gutter = last.to_string().len();
        let mut before = None;
        for excerpt in &self.excerpts {
            if before != Some(excerpt.line) {
                let gap = before.is_some_and(|line: usize| line.abs_diff(excerpt.line) > 1);
                write!(f, "\n{:gutter$} {}", "", if gap { "..." } else { "|" })?;
                write!(f, "\n{:gutter$} | {}", excerpt.line, excerpt.text)?;
            }
            let mark = "^".repeat(excerpt.width);
            write!(f, "\n{:gutter$} | {:start$}{mark}", "", "", start = excerpt.start)?;
            if !excerpt.label.is_empty() {
                write!(f, " {}", excerpt.label)?;
            }
            before = Some(excerpt.line);
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n{:gutter$} = hint: {hint}", "")?;
        }
        Ok(())
    }
}

/// Everything that is wrong with a configuration, in the order of the file. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    /// At most [`MAX_PROBLEMS`].
    pub problems: Vec<Problem>,
    /// How many more there are.
    pub left_out: usize,
}

impl ConfigErrors {
    pub(super) fn new(findings: &[Finding], source: &Source) -> Self {
        let beyond = findings.len().saturating_sub(MAX_LOCATED);
        let located = findings.get(..MAX_LOCATED).unwrap_or(findings);
        let mut problems = locate(located, Severity::Error, source);
        let left_out = problems.len().saturating_sub(MAX_PROBLEMS) + beyond;
        problems.truncate(MAX_PROBLEMS);
        Self { problems, left_out }
    }
}

impl ConfigErrors {
    /// Adds what is wrong in another file that belongs to the configuration.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.problems.extend(other.problems);
        self.left_out += other.left_out + self.problems.len().saturating_sub(MAX_PROBLEMS);
        self.problems.truncate(MAX_PROBLEMS);
        self
    }
}

impl From<Vec<Problem>> for ConfigErrors {
    /// For what is found out after loading.
    fn from(problems: Vec<Problem>) -> Self {
        Self { problems, left_out: 0 }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.problems {
            writeln!(f, "{problem}\n")?;
        }
        match self.problems.len() + self.left_out {
            1 => f.write_str("1 error"),
            count => write!(f, "{count} errors"),
        }?;
        if self.left_out > 0 { write!(f, ", the first {MAX_PROBLEMS} shown") } else { Ok(()) }
    }
}

impl std::error::Error for ConfigErrors {}

/// Looks the positions up and sorts by them; what has none comes first.
pub(super) fn locate(findings: &[Finding], severity: Severity, source: &Source) -> Vec<Problem> {
    let mut problems: Vec<Problem> = findings.iter().map(|finding| source.problem(finding, severity)).collect();
    problems.sort_by_key(|problem| problem.position);
    problems.dedup();
    problems
}

/// The name of `names` that is nearest to `wrong`, when one is near enough to have been meant.
pub(super) fn nearest<'a>(wrong: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |s: &str| s.to_lowercase().replace('-', "_");
    let wrong = plain(wrong);
    names
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&wrong, &plain(name)), name))
        .filter(|(distance, name)| *distance <= (name.chars().count().max(wrong.chars().count()) / 3).max(1))
        .min()
        .map(|(_, name)| name)
}

/// `a, b or c`.
pub(super) fn list(names: &[&str]) -> String {
    match names {
        [] => "nothing".to_owned(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}
