//! The text of a file with its tree: where positions are looked up and lines are shown, secrets covered.

use std::fmt;

use super::document::{self, Content, Entry, Extent, MAX_BYTES, Node, Position};
use super::problem::{Excerpt, Finding, KeyPath, Place, Problem, Severity, Step, nearest};

/// Keys whose values are covered wherever a line of the file is shown.
const SECRET_KEYS: [&str; 18] = [
    "token",
    "access_token",
    "auth_token",
    "bearer_token",
    "secret",
    "secret_key",
    "secret_sha256",
    "secrets",
    "client_secret",
    "password",
    "passphrase",
    "keys",
    "api_key",
    "master_key",
    "authorization",
    "proxy-authorization",
    "cookie",
    "x-api-key",
];

/// What a provider has that is no secret. A text at any other key of it may be one, under a name that is misspelt.
const OPEN_PROVIDER_KEYS: [&str; 14] = [
    "kind",
    "enabled",
    "base_url",
    "tls",
    "pool",
    "base_path",
    "key_header",
    "credentials",
    "api_version",
    "deployments",
    "models",
    "headers",
    "speaks",
    "strip_body_fields",
];

/// How the secrets of well-known services begin.
const SECRET_STARTS: [&str; 9] = ["sk-", "sk_", "gsk_", "xai-", "hf_", "ghp_", "AIza", "AKIA", "eyJ"];

/// What a listed key has that is no secret.
const OPEN_KEYS: [&str; 11] = [
    "id",
    "name",
    "weight",
    "description",
    "permissions",
    "enabled",
    "created_at",
    "expires_at",
    "previous",
    "until",
    "metadata",
];

/// The shortest text that may be a secret where `key` stands, which is mostly none.
const SHORTEST_KEY: usize = 12;
/// The longest text that is shown as what a limit counts by.
const LONGEST_WORD: usize = 30;

/// What a path leads to.
struct Found<'a> {
    /// As much of the path as the file has.
    path: KeyPath,
    /// Whether that is all of it, or the rest is covered by a short form.
    complete: bool,
    key_at: Option<Extent>,
    at: Option<Extent>,
    node: &'a Node,
}

/// The text of a file with its tree: what positions and excerpts are looked up in.
#[derive(Clone, Default)]
pub struct Source {
    file: String,
    text: String,
    pub(super) root: Node,
    broken: bool,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("file", &self.file).finish_non_exhaustive()
    }
}

impl Source {
    /// Parses `text`. What is wrong is returned beside as much of the tree as could be read.
    pub(super) fn parse(file: &str, text: &str) -> (Self, Vec<Finding>) {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut source = Self { file: file.to_owned(), ..Self::default() };
        if text.len() > MAX_BYTES {
            source.broken = true;
            let message = format!("the file has {} bytes", text.len());
            return (source, vec![Finding::new(Place::File, message).expected(format!("at most {MAX_BYTES}"))]);
        }
        source.text = text.to_owned();
        let (root, findings) = document::parse(text);
        source.broken = root.is_none();
        source.root = root.unwrap_or_default();
        (source, findings)
    }

    /// A file of which nothing is known but its name.
    pub(super) fn named(file: &str) -> Self {
        Self { file: file.to_owned(), ..Self::default() }
    }

    /// Whether the text could not be read to its end.
    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Makes a finding ready to be shown.
    pub(super) fn problem(&self, finding: &Finding, severity: Severity) -> Problem {
        let mut problem = Problem {
            severity,
            origin: self.file.clone(),
            position: None,
            key: String::new(),
            message: finding.message.clone(),
            expected: finding.expected.clone(),
            hint: finding.hint.clone(),
            excerpts: Vec::new(),
        };
        let label = if finding.also.is_some() { "here" } else { "" };
        match &finding.place {
            Place::File => {}
            Place::Override(name) => problem.origin.clone_from(name),
            Place::At(position) => {
                problem.position = Some(*position);
                let end = Position { column: position.column + 1, ..*position };
                problem.excerpts.extend(self.excerpt(Extent { start: *position, end }, label));
            }
            Place::Key(path) | Place::Value(path) => {
                let found = self.find(path);
                problem.key = found.path.to_string();
                let key_wanted = matches!(finding.place, Place::Key(_)) || !found.complete;
                let extent = if key_wanted { found.key_at.or(found.at) } else { found.at };
                problem.position = extent.map(|extent| extent.start);
                problem.excerpts.extend(extent.and_then(|extent| self.excerpt(extent, label)));
            }
        }
        if let Some((path, what)) = &finding.also {
            let at = self.find(path).at;
            problem.excerpts.extend(at.and_then(|extent| self.excerpt(extent, what)));
        }
        problem
    }

    /// A problem at the key `path`, for what is found out after loading. `path` may name list items that the file
    /// writes in a short form.
    pub fn problem_at(
        &self,
        path: &KeyPath,
        severity: Severity,
        message: impl Into<String>,
        hint: Option<String>,
    ) -> Problem {
        let finding = Finding { hint, ..Finding::value(path, message) };
        self.problem(&finding, severity)
    }

    /// Whether the file has something at `path`.
    pub(super) fn has(&self, path: &KeyPath) -> bool {
        self.find(path).complete
    }

    /// Whether the file has a map at `path`, or nothing at all there.
    pub(super) fn is_map(&self, path: &KeyPath) -> bool {
        let found = self.find(path);
        !found.complete || matches!(found.node.content, Content::Map(_))
    }

    /// Whether a value at `path` or below it is absent where one has to be.
    pub(super) fn lacks(&self, path: &KeyPath) -> bool {
        let found = self.find(path);
        found.complete && found.node.has_refused()
    }

    /// `path` without the numbers of lists of one that the file writes without brackets.
    pub(super) fn as_written(&self, path: &KeyPath) -> KeyPath {
        let (mut node, mut written) = (Some(&self.root), KeyPath::default());
        for step in &path.0 {
            let content = node.map(|node| &node.content);
            node = match (content, step) {
                (Some(Content::Map(entries)), Step::Key(key)) => {
                    entries.iter().find(|entry| &entry.key == key).map(|entry| &entry.node)
                }
                (Some(Content::List(items)), Step::Index(index)) => items.get(*index),
                (Some(Content::Map(_) | Content::Scalar(_)), Step::Index(0)) => continue,
                _ => None,
            };
            written.0.push(step.clone());
        }
        written
    }

    /// The deepest part of `path` that the file has.
    fn find(&self, path: &KeyPath) -> Found<'_> {
        let mut found = Found { path: KeyPath::default(), complete: true, key_at: None, at: None, node: &self.root };
        for step in &path.0 {
            match (&found.node.content, step) {
                (Content::Map(entries), Step::Key(key)) => {
                    let Some(entry) = entries.iter().find(|entry| &entry.key == key) else {
                        return Found { complete: false, ..found };
                    };
                    (found.key_at, found.at) = (Some(entry.key_at), Some(entry.node.at));
                    (found.path, found.node) = (found.path.key(key), &entry.node);
                }
                (Content::List(items), Step::Index(index)) => {
                    let Some(item) = items.get(*index) else {
                        return Found { complete: false, ..found };
                    };
                    (found.key_at, found.at) = (None, Some(item.at));
                    (found.path, found.node) = (found.path.index(*index), item);
                }
                // The short forms: a list of one without its brackets, a map that one value stands for.
                (_, Step::Index(0)) | (Content::Scalar(_), Step::Key(_)) => {}
                _ => {
                    return Found { complete: false, ..found };
                }
            }
        }
        found
    }

    fn excerpt(&self, extent: Extent, label: &str) -> Option<Excerpt> {
        let line = self.text.lines().nth(extent.start.line.checked_sub(1)?)?;
        let text: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let text = self.cover(extent.start.line, &text);
        let length = text.trim_end().chars().count();
        let start = extent.start.column - 1;
        let end = if extent.end.line == extent.start.line { extent.end.column - 1 } else { length };
        let width = end.min(length).saturating_sub(start).max(1);
        Some(Excerpt {
            line: extent.start.line,
            text: text.trim_end().to_owned(),
            start,
            width,
            label: label.to_owned(),
        })
    }

    /// `text`, which is line `line`, with every secret in it covered.
    fn cover(&self, line: usize, text: &str) -> String {
        if self.broken {
            return cover_starts(&cover_by_words(text, |_| false));
        }
        let mut secrets = Vec::new();
        secret_extents(&self.root, Cover::Nothing, &mut secrets);
        let covered = |column: usize| {
            let here = Position { line, column };
            secrets.iter().any(|extent| extent.start <= here && here < extent.end)
        };
        let shown = text.chars().enumerate().map(|(i, c)| if c != ' ' && covered(i + 1) { '*' } else { c });
        // What the tree has no place for (a key that stands twice, an anchor) is covered by the word before it.
        cover_starts(&cover_by_words(&cover_urls(&shown.collect::<String>()), shows_nothing))
    }
}

/// `text` with every word in it covered that begins like a secret.
fn cover_starts(text: &str) -> String {
    let ends = |c: char| c.is_whitespace() || "\"'[]{},:".contains(c);
    let words = text.split_inclusive(ends);
    let cover = |word: &str| {
        let plain = word.trim_end_matches(ends);
        if !SECRET_STARTS.iter().any(|start| plain.starts_with(start)) {
            return word.to_owned();
        }
        plain.chars().map(|_| '*').chain(word.chars().skip(plain.chars().count())).collect()
    };
    words.map(cover).collect()
}

/// `text` with the user, the password and the query of every URL in it covered.
fn cover_urls(text: &str) -> String {
    let mut covered = String::new();
    for (index, part) in text.split("://").enumerate() {
        let end = part.find(|c: char| c.is_whitespace() || "/?#\"',[]{}".contains(c)).unwrap_or(part.len());
        let user = part.get(..end).and_then(|authority| authority.rfind('@')).filter(|_| index > 0).unwrap_or(0);
        covered.push_str(if index > 0 { "://" } else { "" });
        covered.extend(part.chars().take(part.get(..user).unwrap_or_default().chars().count()).map(|_| '*'));
        let rest = part.get(user..).unwrap_or_default();
        let query = rest.find('?').filter(|_| index > 0).map_or(rest.len(), |mark| mark + 1);
        covered.push_str(rest.get(..query).unwrap_or_default());
        let mut open = true;
        covered.extend(rest.get(query..).unwrap_or_default().chars().map(|c| {
            open &= !(c.is_whitespace() || "\"',]}".contains(c));
            if open { '*' } else { c }
        }));
    }
    covered
}

/// What of a part of the file is covered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Cover {
    /// Nothing, but for what its keys say.
    Nothing,
    /// All of it.
    All,
    /// All but what is known to be no secret: where keys are listed, a misspelt `secret` still holds one.
    AllButKnown,
    /// As [`Self::Nothing`], in the section `limits`.
    Limits,
    /// As [`Self::Nothing`], where providers stand.
    Providers,
    /// As [`Self::Nothing`], in a provider: an unknown key of it may be a misspelt `keys`.
    Provider,
    /// As [`Self::Nothing`], in a limit: its `key` is what it counts by.
    Limit,
}

impl Cover {
    /// Whether a text is covered that stands here.
    pub(super) fn covers(self) -> bool {
        matches!(self, Self::All | Self::AllButKnown)
    }

    /// For what stands at `entry`, which lies in a part that is covered like this.
    pub(super) fn below(self, entry: &Entry) -> Self {
        let is_map = |node: &Node| matches!(node.content, Content::Map(_));
        let records = match &entry.node.content {
            Content::List(items) => items.iter().all(is_map),
            _ => is_map(&entry.node),
        };
        match (self, entry.key.as_str()) {
            (Self::All, _) => Self::All,
            (Self::AllButKnown, "previous") => Self::AllButKnown,
            (Self::AllButKnown, key) if OPEN_KEYS.contains(&key) => Self::Nothing,
            (Self::AllButKnown, _) => Self::All,
            (Self::Nothing, "limits") if is_map(&entry.node) => Self::Limits,
            (Self::Limits, _) if is_map(&entry.node) => Self::Limit,
            (Self::Limit, "key") if !looks_like_a_key(&entry.node) => Self::Nothing,
            (Self::Limits | Self::Limit, _) => Self::Nothing.below(entry),
            (Self::Nothing, "providers") if is_map(&entry.node) => Self::Providers,
            (Self::Providers, _) if is_map(&entry.node) => Self::Provider,
            (Self::Provider, key) if !OPEN_PROVIDER_KEYS.contains(&key) && may_be_a_secret(&entry.node) => Self::All,
            (Self::Providers | Self::Provider, _) => Self::Nothing.below(entry),
            (Self::Nothing, "keys") if records => Self::AllButKnown,
            (Self::Nothing, key) if is_secret_key(key) => Self::All,
            (Self::Nothing, "key") if holds_a_secret(&entry.node) => Self::All,
            (Self::Nothing, _) => Self::Nothing,
        }
    }
}

/// Whether what stands at `key` is no path of a file and nothing that limits count by, but long: `keys` was meant.
fn holds_a_secret(node: &Node) -> bool {
    let Content::Scalar(scalar) = &node.content else { return false };
    scalar.text.len() >= SHORTEST_KEY && !["/", "$", "header("].iter().any(|start| scalar.text.starts_with(start))
}

/// Whether a text is long enough for a secret, and neither an address nor one of the short words that options have.
fn may_be_a_secret(node: &Node) -> bool {
    let Content::Scalar(scalar) = &node.content else { return false };
    scalar.text.len() >= SHORTEST_KEY && !scalar.text.contains("://")
}

/// Whether what stands at the `key` of a limit is more than a word for what that counts by: the provider of another section may
/// have come there.
fn looks_like_a_key(node: &Node) -> bool {
    let Content::Scalar(scalar) = &node.content else { return false };
    scalar.text.starts_with("sk-") || (holds_a_secret(node) && scalar.text.len() > LONGEST_WORD)
}

/// Whether `key` is that of a secret, or was probably meant to be.
fn is_secret_key(key: &str) -> bool {
    let meant = || nearest(key, SECRET_KEYS.into_iter().filter(|secret| secret.len() > 4)).is_some();
    // The section `api_keys` says itself what its secrets are; `tokens` of a limit are a number.
    let known = ["api_keys", "tokens"].contains(&key);
    SECRET_KEYS.iter().any(|secret| secret.eq_ignore_ascii_case(key)) || (!known && meant())
}

/// Whether what stands after the colon of a secret is covered already, or only says where the secret is.
fn shows_nothing(rest: &str) -> bool {
    let value = rest.trim_start_matches(':').trim_start().trim_start_matches(['"', '\'']);
    let reference = value.strip_prefix("${").and_then(|name| name.split_once('}')).is_some_and(|(name, after)| {
        let plain = |c: char| c.is_alphanumeric() || "_:/.-".contains(c);
        name.chars().all(plain)
            && name.trim_end_matches(":-").find(":-").is_none()
            && !after.starts_with(|c: char| c.is_alphanumeric())
    });
    value.is_empty() || value.starts_with(['*', '#']) || reference
}

/// `text` without what stands after the key of a secret, unless `keep` finds nothing in that. There is no tree that could
/// say where the secret ends, so the rest of the line is covered.
fn cover_by_words(text: &str, keep: impl Fn(&str) -> bool) -> String {
    let is_word = |c: char| c.is_alphanumeric() || "_-".contains(c);
    let colons = text.match_indices(':').map(|(at, _)| text.split_at(at));
    let secret = colons.filter(|(before, _)| {
        let before = before.trim_end().trim_end_matches(['"', '\'']);
        let start = before.rfind(|c| !is_word(c)).map_or(0, |at| at + 1);
        before.get(start..).is_some_and(is_secret_key)
    });
    let Some((open, rest)) = secret.into_iter().find(|(_, rest)| !keep(rest)) else { return text.to_owned() };
    let hidden = rest.chars().map(|c| if c == ':' || c == ' ' { c } else { '*' });
    open.chars().chain(hidden).collect()
}

/// Collects where secrets stand literally; a reference such as `${VAR}` shows nothing and helps the reader.
fn secret_extents(node: &Node, cover: Cover, out: &mut Vec<Extent>) {
    match &node.content {
        Content::Scalar(scalar) if cover.covers() && !scalar.text.starts_with("${") => out.push(node.at),
        Content::Scalar(_) | Content::Refused => {}
        Content::List(items) => items.iter().for_each(|item| secret_extents(item, cover, out)),
        Content::Map(entries) => {
            for entry in entries {
                secret_extents(&entry.node, cover.below(entry), out);
            }
        }
    }
}
