//! What the commented file of the package says about each key.
//!
//! The file is read as an operator reads it: what is commented out counts like what is not, the words behind a key on its line
//! and in the column below are that key's, and those above a section are the section's. Keys are known by the raw type that
//! has them, so that what is said once holds wherever that type stands.

use std::collections::HashMap;

use super::shape::{Map, Shape};
use crate::config::document::{Content, Node};
use crate::config::source::Source;

/// The file.
const FILE: &str = include_str!("../../../conf/sluicegate.yaml");
/// Where words that go on below a key begin at the earliest, in bytes of the line.
const COLUMN: usize = 20;
/// Types that have the same keys, meant the same way: the second is where they are explained.
const SAME: [(&str, &str); 3] =
    [("RawRouteCache", "RawCache"), ("RawLongContext", "RawPrice"), ("RawPreviousSecret", "RawApiKey")];

/// Another way to write a key of the same type: what is said of the second holds for the first.
const ALSO: [(&str, &str, &str); 1] = [("RawLimit", "concurrency", "concurrent")];

/// What is said about a key.
#[derive(Debug, Default, Clone)]
pub(in crate::config) struct Said {
    /// The words behind it.
    pub(in crate::config) words: String,
    /// The value it has in the file, where that is one.
    pub(in crate::config) shown: Option<String>,
}

/// The file, taken apart.
#[derive(Debug)]
pub(in crate::config) struct Words {
    keys: HashMap<(&'static str, String), Said>,
    /// What stands commented out inside of what is commented out: keys that go in the place of others.
    asides: HashMap<String, Said>,
    sections: HashMap<String, String>,
    intro: Vec<String>,
}

impl Words {
    /// Reads the file by the `shape` of the language.
    pub(in crate::config) fn read(shape: &Shape) -> Self {
        let text = uncommented(FILE);
        let lines: Vec<&str> = text.lines().collect();
        let (source, _) = Source::parse("sluicegate.yaml", &text);
        let mut words = Self { keys: HashMap::new(), asides: asides(&text), sections: HashMap::new(), intro: intro() };
        words.walk(&source.root, shape, &lines);
        if let Content::Map(entries) = &source.root.content {
            for entry in entries {
                words.sections.insert(entry.key.clone(), above(&lines, entry.key_at.start.line));
            }
        }
        words
    }

    /// What is said about the key of a type. Nothing, where the file does not have it.
    pub(in crate::config) fn of(&self, map: &Map, key: &str) -> Said {
        let find = |of: &'static str| self.keys.get(&(of, key.to_owned())).filter(|said| !said.words.is_empty());
        let same = SAME.iter().find(|(of, _)| *of == map.of).map(|(_, same)| *same);
        let also = ALSO.iter().find(|(of, other, _)| *of == map.of && *other == key);
        let also = also.and_then(|(of, _, key)| self.keys.get(&(*of, (*key).to_owned())));
        let own = self.keys.get(&(map.of, key.to_owned()));
        let aside = || self.asides.get(key).filter(|_| own.is_none());
        find(map.of).or_else(|| same.and_then(find)).or(also).or_else(aside).or(own).cloned().unwrap_or_default()
    }

    /// What stands above a section.
    pub(in crate::config) fn of_section(&self, name: &str) -> &str {
        self.sections.get(name).map_or("", String::as_str)
    }

    /// The paragraphs at the head of the file.
    pub(in crate::config) fn intro(&self) -> &[String] {
        &self.intro
    }

    fn walk(&mut self, node: &Node, shape: &Shape, lines: &[&str]) {
        match (shape, &node.content) {
            (Shape::Map(map) | Shape::Short { map, .. }, Content::Map(entries)) => {
                for entry in entries {
                    if let Some((key, shape)) = map.keys.iter().find(|(key, _)| *key == entry.key) {
                        self.note(map, key, entry.key_at.start.line, &entry.node, lines);
                        self.walk(&entry.node, shape, lines);
                    }
                }
            }
            (Shape::Short { list: true, map, .. }, Content::List(_)) => {
                if let Some((_, targets)) = map.keys.iter().find(|(key, _)| *key == "targets") {
                    self.walk(node, targets, lines);
                }
            }
            (Shape::List(item), Content::List(nodes)) => nodes.iter().for_each(|node| self.walk(node, item, lines)),
            (Shape::List(item), _) => self.walk(node, item, lines),
            (Shape::Names(item), Content::Map(entries)) => {
                entries.iter().for_each(|entry| self.walk(&entry.node, item, lines));
            }
            _ => {}
        }
    }

    /// The first that says something about a key is heard.
    fn note(&mut self, map: &Map, key: &str, line: usize, node: &Node, lines: &[&str]) {
        let mut words = behind(lines, line);
        // Items that stand below their key one a line may each have words of their own.
        if let Content::List(items) = &node.content {
            for item in items {
                let Content::Scalar(scalar) = &item.content else { continue };
                let said = if item.at.start.line == line { String::new() } else { behind(lines, item.at.start.line) };
                if !said.is_empty() {
                    words = format!("{words}; {}: {said}", scalar.text);
                }
            }
        }
        let words = words.trim_start_matches("; ").to_owned();
        let shown = match &node.content {
            Content::Scalar(scalar) => Some(scalar.text.clone()),
            _ => None,
        };
        let said = self.keys.entry((map.of, key.to_owned())).or_default();
        if said.words.is_empty() {
            said.words = words;
        }
        if said.shown.is_none() {
            said.shown = shown;
        }
    }
}

/// The file with everything that is commented out active, but for what stands there twice.
pub(super) fn everything() -> String {
    uncommented(FILE)
}

/// `text` with everything that is commented out active, line for line.
fn uncommented(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        match line.split_once("# ") {
            Some((before, after)) if before.trim().is_empty() && is_key(after) => {
                out.push_str(before);
                out.push_str(after);
            }
            _ => out.push_str(line),
        }
        out.push('\n');
    }
    out
}

/// Whether a comment is a line of YAML: a key, or an item of a list, and no sentence.
fn is_key(text: &str) -> bool {
    let text = text.trim_start();
    let text = text.strip_prefix("- ").unwrap_or(text);
    let name = text.split(':').next().unwrap_or_default();
    let word =
        !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-.*\"".contains(c));
    (word && name.len() < text.len()) || text.starts_with("10.") || text.starts_with('{')
}

/// The keys that are still commented out in `text`, with what is said of each.
fn asides(text: &str) -> HashMap<String, Said> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = HashMap::new();
    let comments = lines.iter().enumerate().filter(|(_, line)| line.trim_start().starts_with('#'));
    for (index, line) in comments {
        let bare = line.trim_start_matches([' ', '#']);
        let Some((key, rest)) = bare.trim_start_matches("- ").split_once(": ") else { continue };
        let Some((value, words)) = split_comment(rest).filter(|_| is_key(bare)) else { continue };
        let shown = Some(value.trim().to_owned()).filter(|value| !value.is_empty() && !value.starts_with(['{', '[']));
        let said = Said { words: going_on(words, &lines, index + 1), shown };
        found.entry(key.to_owned()).or_insert(said);
    }
    found
}

/// The words behind what stands on a line (from 1), and in the column below.
fn behind(lines: &[&str], line: usize) -> String {
    let here = lines.get(line.wrapping_sub(1)).and_then(|text| split_comment(text));
    here.map_or_else(String::new, |(_, words)| going_on(words, lines, line))
}

/// Words, and those that go on in the column below: in the lines after the first `skip`.
fn going_on(words: &str, lines: &[&str], skip: usize) -> String {
    let mut words = words.trim().to_owned();
    for text in lines.iter().skip(skip) {
        let Some(more) = continued(text) else { break };
        words.push(' ');
        words.push_str(more);
    }
    words
}

/// A line's YAML and its comment.
fn split_comment(text: &str) -> Option<(&str, &str)> {
    let mut quote = None;
    let mut before = ' ';
    for (index, c) in text.char_indices() {
        match quote {
            Some(open) if open == c => quote = None,
            Some(_) => {}
            None if c == '#' && before == ' ' => {
                let (yaml, comment) = text.split_at(index);
                return Some((yaml, comment.trim_start_matches('#')));
            }
            None if (c == '"' || c == '\'') && !before.is_alphanumeric() => quote = Some(c),
            None => {}
        }
        before = c;
    }
    None
}

/// The words of a line that only goes on with those of the line above.
fn continued(text: &str) -> Option<&str> {
    let words = text.trim_start_matches([' ', '#']);
    let head = text.get(..text.len() - words.len())?;
    (head.rfind('#')? >= COLUMN && !words.is_empty()).then_some(words)
}

/// The sentences right above a line (from 1).
fn above(lines: &[&str], line: usize) -> String {
    let before = lines.get(..line.saturating_sub(1)).unwrap_or_default();
    let sentence = |text: &&&str| text.strip_prefix("# ").is_some_and(|text| !text.starts_with(' '));
    let mut found: Vec<&str> =
        before.iter().rev().take_while(sentence).map(|text| text.trim_start_matches("# ")).collect();
    found.reverse();
    found.join(" ")
}

/// The paragraphs before the first key.
fn intro() -> Vec<String> {
    let mut paragraphs = vec![String::new()];
    for line in FILE.lines() {
        let Some(text) = line.strip_prefix('#') else { break };
        match (text.trim(), paragraphs.last_mut()) {
            ("", _) => paragraphs.push(String::new()),
            (text, Some(last)) => {
                if !last.is_empty() {
                    last.push(' ');
                }
                last.push_str(text);
            }
            (_, None) => {}
        }
    }
    paragraphs.retain(|paragraph| !paragraph.is_empty());
    paragraphs
}
