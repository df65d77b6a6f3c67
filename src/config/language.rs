//! The language of the configuration, told to those who write it: `sluicegate.yaml(5)` and the JSON Schema.
//!
//! Nothing of it is written twice. The keys are those of the raw types (`shape`), the words those of the commented file of the
//! package (`words`), and what a value looks like shows there as well, or is noted beside it (`kind`).

use serde_json::Value;

use super::raw::{RawConfig, RawKeyFile};
use shape::{Map, NAME, Shape};
use words::Words;

mod kind;
mod schema;
mod shape;
mod words;

/// A key, for a manual.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Where it stands: `pools.NAME.timeouts.connect`.
    pub path: String,
    /// What may stand there: `a duration`.
    pub form: String,
    /// The value that the file of the package shows: the default, or an example, as the words say.
    pub shown: Option<String>,
    /// What it does.
    pub words: String,
}

/// A section of the configuration: a key of the file and all below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// The key.
    pub name: &'static str,
    /// What the section is for.
    pub words: String,
    /// Its keys, each above those below it.
    pub keys: Vec<Key>,
}

/// The file of the package with every key active: a configuration that names everything.
pub fn everything() -> String {
    words::everything()
}

/// What the file of the package says before its first key, in paragraphs.
pub fn intro() -> Vec<String> {
    Words::read(&Shape::of::<RawConfig>()).intro().to_vec()
}

/// Every key of the language.
pub fn sections() -> Vec<Section> {
    let shape = Shape::of::<RawConfig>();
    let words = Words::read(&shape);
    let Shape::Map(root) = &shape else { return Vec::new() };
    let section = |(name, shape): &(&'static str, Shape)| {
        let said = words.of(root, name);
        let mut keys = Vec::new();
        describe(name, shape, root, name, &words, &mut keys);
        let above = words.of_section(name).to_owned();
        let words = if above.is_empty() { said.words } else { above };
        Section { name, words, keys }
    };
    root.keys.iter().map(section).collect()
}

/// The JSON Schema of the configuration.
pub fn schema() -> Value {
    let shape = Shape::of::<RawConfig>();
    schema::schema("Configuration of Sluicegate", &shape, &Words::read(&shape))
}

/// The JSON Schema of a key file.
pub fn key_file_schema() -> Value {
    let words = Words::read(&Shape::of::<RawConfig>());
    schema::schema("Key file of Sluicegate", &Shape::of::<RawKeyFile>(), &words)
}

/// The key at `path`, which is `key` of `parent`, and all below it.
fn describe(path: &str, shape: &Shape, parent: &Map, key: &str, words: &Words, out: &mut Vec<Key>) {
    let said = words.of(parent, key);
    let kind = kind::of(parent.of, key, said.shown.as_deref());
    out.push(Key { path: path.to_owned(), form: form(shape, kind), shown: said.shown, words: said.words });
    below(path, shape, words, out);
}

fn below(path: &str, shape: &Shape, words: &Words, out: &mut Vec<Key>) {
    match shape {
        Shape::Value => {}
        Shape::List(item) => below(path, item, words, out),
        Shape::Names(item) => below(&format!("{path}.{NAME}"), item, words, out),
        Shape::Map(map) | Shape::Short { map, .. } => {
            for (key, shape) in &map.keys {
                describe(&format!("{path}.{key}"), shape, map, key, words, out);
            }
        }
    }
}

/// What stands at a place, for a reader.
fn form(shape: &Shape, kind: kind::Kind) -> String {
    match shape {
        Shape::Value => kind.describe(),
        Shape::List(item) => format!("a list, or one: {}", form(item, kind)),
        Shape::Names(item) => format!("a map of names: {}", form(item, kind)),
        Shape::Map(_) => "a map".to_owned(),
        Shape::Short { expecting, .. } => expecting.clone(),
    }
}
