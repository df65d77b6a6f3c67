//! Pass 1: text -> a tree of nodes that know where they stand.
//!
//! One marked parse serves values and positions alike, so the two can never disagree. Scalars stay text: what a
//! scalar means is up to the key it stands at, so `min_version: 1.2` and `weight: "3"` say what they seem to say.
//! Refused here: broken YAML, duplicate keys (all of them), keys without a value, tags, several documents.
//! Bounds: [`MAX_BYTES`], [`MAX_DEPTH`], [`MAX_ITEMS`], [`MAX_NODES`] (aliases counted as what they stand for).

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span, StrInput};

use super::problem::{Finding, KeyPath, Place, Step};

mod syntax;

/// The largest configuration file, in bytes.
pub(super) const MAX_BYTES: usize = 1 << 20;
/// The deepest nesting.
pub(super) const MAX_DEPTH: usize = 32;
/// The most items of one list or map.
pub(super) const MAX_ITEMS: usize = 10_000;
/// The most nodes, aliases counted as what they stand for.
pub(super) const MAX_NODES: usize = 100_000;

/// A place in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
}

impl Position {
    fn of(marker: &Marker) -> Self {
        Self { line: marker.line().max(1), column: marker.col() + 1 }
    }
}

/// A stretch of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Extent {
    pub(super) start: Position,
    /// Exclusive.
    pub(super) end: Position,
}

impl Extent {
    fn of(span: &Span) -> Self {
        Self { start: Position::of(&span.start), end: Position::of(&span.end) }
    }
}

/// A value and where it stands.
#[derive(Clone, Default)]
pub(super) struct Node {
    pub(super) at: Extent,
    pub(super) content: Content,
}

/// What a node holds.
#[derive(Clone)]
pub(super) enum Content {
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<Entry>),
    /// Something stood here that was reported and taken out. It keeps its place, so that the numbers of the list
    /// items after it stay right and nobody complains that it is missing.
    Refused,
}

impl Default for Content {
    fn default() -> Self {
        Self::Map(Vec::new())
    }
}

/// A scalar, as text.
#[derive(Clone)]
pub(super) struct Scalar {
    pub(super) text: String,
    /// Whether it came out of a file or a credential and so must not be shown.
    pub(super) hidden: bool,
}

/// A key with its value.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_at: Extent,
    pub(super) node: Node,
}

impl Node {
    /// Whether anything in it was taken out.
    pub(super) fn has_refused(&self) -> bool {
        match &self.content {
            Content::Refused => true,
            Content::Scalar(_) => false,
            Content::List(items) => items.iter().any(Self::has_refused),
            Content::Map(entries) => entries.iter().any(|entry| entry.node.has_refused()),
        }
    }

    /// Takes the node at `path` out; with `key_too` its key as well, as if it had never been there. A path that leads
    /// through a short form takes out the short form.
    pub(super) fn refuse(&mut self, path: &[Step], key_too: bool) {
        let Some((step, rest)) = path.split_first() else {
            self.content = Content::Refused;
            return;
        };
        match (&mut self.content, step) {
            (Content::Map(entries), Step::Key(key)) if rest.is_empty() && key_too => {
                entries.retain(|entry| &entry.key != key);
            }
            (Content::Map(entries), Step::Key(key)) => {
                if let Some(entry) = entries.iter_mut().find(|entry| &entry.key == key) {
                    entry.node.refuse(rest, key_too);
                }
            }
            (Content::List(items), Step::Index(index)) => {
                if let Some(item) = items.get_mut(*index) {
                    item.refuse(rest, key_too);
                }
            }
            _ => self.content = Content::Refused,
        }
    }
}

/// Parses `text`. What is wrong is returned beside the tree; there is no tree when the text could not be read to its
/// end.
pub(super) fn parse(text: &str) -> (Option<Node>, Vec<Finding>) {
    let mut builder = Builder::default();
    if let Err(finding) = builder.run(text) {
        builder.findings.push(*finding);
        return (None, builder.findings);
    }
    let root = builder.root.unwrap_or_default();
    if !matches!(root.content, Content::Map(_)) {
        let at = Place::At(root.at.start);
        let finding = Finding::new(at, "the file is not a map of keys").expected("keys such as `listen:`");
        builder.findings.push(finding);
        return (None, builder.findings);
    }
    (Some(root), builder.findings)
}

/// Builds the tree from the parser's events, with a stack of its own instead of recursion.
#[derive(Default)]
struct Builder {
    root: Option<Node>,
    stack: Vec<Open>,
    anchors: HashMap<usize, Anchor>,
    nodes: usize,
    documents: usize,
    findings: Vec<Finding>,
}

/// A list or map whose end has not come yet.
struct Open {
    node: Node,
    anchor: usize,
    /// Nodes counted before it began.
    nodes_before: usize,
    /// The deepest nesting seen below, itself included.
    height: usize,
    /// In a map: the key whose value comes next. The flag says that the key was there before.
    key: Option<(String, Extent, bool)>,
}

struct Anchor {
    node: Node,
    nodes: usize,
    height: usize,
}

type Stop = Box<Finding>;

impl Builder {
    fn run(&mut self, text: &str) -> Result<(), Stop> {
        let mut parser: Parser<'_, StrInput<'_>> = Parser::new_from_str(text);
        while let Some(event) = parser.next_event() {
            let (event, span) = event.map_err(|error| {
                let open = self.stack.last().map(|open| open.node.at.start);
                Box::new(syntax::explain(error.info(), Position::of(error.marker()), text, open))
            })?;
            self.event(event, Extent::of(&span))?;
        }
        Ok(())
    }

    fn event(&mut self, event: Event<'_>, at: Extent) -> Result<(), Stop> {
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(stop(at, "a second YAML document begins here", "one document"));
                }
            }
            Event::Scalar(_, _, _, Some(_)) | Event::SequenceStart(_, Some(_)) | Event::MappingStart(_, Some(_)) => {
                return Err(stop(
                    at,
                    "YAML tags have no meaning here",
                    "a plain value; quote a text that begins with `!`",
                ));
            }
            Event::Scalar(text, style, anchor, None) => {
                self.count(1, at)?;
                let null = style == ScalarStyle::Plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let content = Content::Scalar(Scalar { text: text.into_owned(), hidden: false });
                self.scalar(Node { at, content }, anchor, null);
            }
            Event::Alias(anchor) => self.alias(anchor, at)?,
            Event::SequenceStart(anchor, None) => self.open(Content::List(Vec::new()), anchor, at)?,
            Event::MappingStart(anchor, None) => self.open(Content::default(), anchor, at)?,
            Event::SequenceEnd | Event::MappingEnd => self.close(at),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        Ok(())
    }

    fn count(&mut self, nodes: usize, at: Extent) -> Result<(), Stop> {
        if self.stack.last().is_some_and(|open| open.len() >= MAX_ITEMS) {
            return Err(stop(at, "this list or map is too long", "at most 10000 items"));
        }
        self.nodes += nodes;
        if self.nodes > MAX_NODES {
            return Err(stop(
                at,
                "the file has too many values, aliases counted as what they stand for",
                MAX_NODES_TEXT,
            ));
        }
        Ok(())
    }

    fn open(&mut self, content: Content, anchor: usize, at: Extent) -> Result<(), Stop> {
        if self.stack.last().is_some_and(Open::wants_key) {
            return Err(stop(at, "a list or map cannot be a key", "a name"));
        }
        self.count(1, at)?;
        if self.stack.len() >= MAX_DEPTH {
            return Err(stop(at, TOO_DEEP, "at most 32 levels"));
        }
        self.stack.push(Open { node: Node { at, content }, anchor, nodes_before: self.nodes, height: 1, key: None });
        Ok(())
    }

    fn close(&mut self, at: Extent) {
        let Some(mut open) = self.stack.pop() else {
            return;
        };
        // The end of a block is only found at the next token; its own extent is its first line then.
        if at.end.line == open.node.at.start.line {
            open.node.at.end = at.end;
        } else {
            open.node.at.end = Position { line: open.node.at.start.line + 1, column: 1 };
        }
        if open.anchor != 0 {
            let nodes = self.nodes - open.nodes_before + 1;
            self.anchors.insert(open.anchor, Anchor { node: open.node.clone(), nodes, height: open.height });
        }
        self.add(open.node, open.height);
    }

    fn alias(&mut self, anchor: usize, at: Extent) -> Result<(), Stop> {
        if self.stack.last().is_some_and(Open::wants_key) {
            return Err(stop(at, "an alias cannot be a key", "a name"));
        }
        let Some(known) = self.anchors.get(&anchor) else {
            return Err(stop(at, "this alias stands inside of what it stands for", "an anchor that is complete"));
        };
        let (nodes, height) = (known.nodes, known.height);
        // Counted before it is copied: a few lines of nested aliases can stand for billions of values.
        self.count(nodes, at)?;
        if self.stack.len() + height > MAX_DEPTH {
            return Err(stop(at, TOO_DEEP, "at most 32 levels"));
        }
        if let Some(node) = self.anchors.get(&anchor).map(|known| known.node.clone()) {
            self.add(node, height);
        }
        Ok(())
    }

    fn scalar(&mut self, node: Node, anchor: usize, null: bool) {
        if anchor != 0 {
            self.anchors.insert(anchor, Anchor { node: node.clone(), nodes: 1, height: 0 });
        }
        let Some(open) = self.stack.last_mut() else {
            if !null {
                self.root = Some(node);
            }
            return;
        };
        if open.wants_key() {
            let Content::Scalar(scalar) = node.content else {
                return;
            };
            let repeated = open.entries().iter().any(|entry| entry.key == scalar.text);
            open.key = Some((scalar.text, node.at, repeated));
        } else if null {
            self.empty(node.at);
        } else {
            self.add(node, 0);
        }
    }

    /// A key or list item without a value: refused, because a list emptied by commenting out its items would
    /// otherwise silently mean its default.
    fn empty(&mut self, at: Extent) {
        let path = self.path();
        let Some(open) = self.stack.last() else {
            return;
        };
        let key = open.key.as_ref();
        let place = Place::At(key.as_ref().map_or(at.start, |(_, key_at, _)| key_at.start));
        let what = if key.is_some() { "key" } else { "list item" };
        let finding = Finding::new(place, format!("{path}: this {what} has no value"));
        self.findings.push(finding.hint(format!("give it a value, or remove the {what}")));
        self.add(Node { at, content: Content::Refused }, 0);
    }

    fn add(&mut self, node: Node, height: usize) {
        let path = self.path();
        let Some(open) = self.stack.last_mut() else {
            self.root = Some(node);
            return;
        };
        open.height = open.height.max(height + 1);
        match &mut open.node.content {
            Content::List(items) => items.push(node),
            Content::Map(entries) => {
                let Some((key, key_at, repeated)) = open.key.take() else {
                    return;
                };
                if repeated {
                    let first =
                        entries.iter().find(|entry| entry.key == key).map_or(0, |entry| entry.key_at.start.line);
                    let message = format!("{path}: this key stands here twice; the first is on line {first}");
                    self.findings.push(Finding::new(Place::At(key_at.start), message).hint("keep one of them"));
                } else {
                    entries.push(Entry { key, key_at, node });
                }
            }
            Content::Scalar(_) | Content::Refused => {}
        }
    }

    fn path(&self) -> KeyPath {
        let steps = self.stack.iter().filter_map(|open| match &open.node.content {
            Content::List(items) => Some(Step::Index(items.len())),
            _ => open.key.as_ref().map(|(key, ..)| Step::Key(key.clone())),
        });
        KeyPath(steps.collect())
    }
}

impl Open {
    fn wants_key(&self) -> bool {
        matches!(self.node.content, Content::Map(_)) && self.key.is_none()
    }

    fn len(&self) -> usize {
        match &self.node.content {
            Content::List(items) => items.len(),
            _ => self.entries().len(),
        }
    }

    fn entries(&self) -> &[Entry] {
        if let Content::Map(entries) = &self.node.content { entries } else { &[] }
    }
}

const TOO_DEEP: &str = "the file is nested too deeply";
const MAX_NODES_TEXT: &str = "at most 100000";

fn stop(at: Extent, message: &str, expected: &str) -> Stop {
    Box::new(Finding::new(Place::At(at.start), message).expected(expected))
}
