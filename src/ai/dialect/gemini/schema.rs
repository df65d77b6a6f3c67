//! JSON Schema, brought into the part of it that Gemini reads.
//!
//! Kept as they are: `type`, `description`, `title`, `properties`, `required`, `items`, `anyOf`, `enum` of strings,
//! `format` where Gemini knows it, `nullable`, `minimum`, `maximum`, the bounds of lengths and numbers of items and
//! properties, `pattern`, `default`, `example`, `propertyOrdering`, each in its place: models fill in what they read
//! first. A `$ref` into the schema itself is put in; one out of the schema is refused.
//!
//! `oneOf` is `anyOf`; a list of types is `anyOf` them, with `null` as `nullable`; `const` is an `enum` of one;
//! `allOf` of one is that one. What else narrows the values (`exclusiveMinimum`, `not`, `patternProperties`, branches that
//! only require what stands beside them) is written into the description, where the model reads it, as JSON. Left out are
//! words that say nothing to a model: `$schema`, `$id`, `$defs`, `definitions`, `$comment`, `strict`, `examples`,
//! `deprecated`, `readOnly`, `writeOnly`, and `additionalProperties` that are no schema.
//!
//! A schema that refers to itself, or has the schema of members that it does not name, is told from Gemini 2.5 on
//! [as JSON Schema](native). Before, the first is refused, and the second written into the description.

use std::collections::HashMap;

use serde_json::value::RawValue;

use super::super::json::Object;
use super::super::members::Members;
use super::super::text::Text;
use super::super::thinking::version_of;
use super::super::translate::Untranslatable;
use words::{Place, annotate, is_null, place_of};

mod native;
mod words;

/// How deep a schema may go, references included.
const DEEPEST: usize = 24;

/// How many bytes of schemas may be read for one request beside [`TIMES`] their own: what is nested is read once for each
/// step, and references of references double with each.
const BESIDE: usize = 256 << 10;

/// See [`BESIDE`].
const TIMES: usize = 64;

/// Words that one schema may have.
const MOST_WORDS: usize = 128;

/// Writes the schemas of one request.
pub(super) struct Schemas {
    /// Bytes that may still be read, each reference anew.
    left: usize,
    /// Whether the model reads JSON Schema.
    native: bool,
}

/// The two members that a schema may be told in: in Gemini's own words, and as JSON Schema.
pub(super) type Fields = [&'static str; 2];

impl Schemas {
    pub(super) fn new(model: &str) -> Self {
        Self { left: BESIDE, native: reads_json_schema(model) }
    }

    /// Writes what `raw` says as one of the members of `o`. `at` is the field it came in.
    ///
    /// # Errors
    ///
    /// Those of [`write`](Self::write).
    pub(super) fn put(
        &mut self,
        [own, native]: Fields,
        raw: &RawValue,
        at: &str,
        o: &mut Object<'_>,
    ) -> Result<(), Untranslatable> {
        if self.native && native::needs(raw.get()) {
            o.object(native, |o| native::write(raw.get(), o));
            return Ok(());
        }
        o.object(own, |o| self.write(raw, at, o))
    }

    /// Writes what `raw` says into `o`, in Gemini's own words.
    ///
    /// # Errors
    ///
    /// References that lead nowhere or to themselves, several schemas that all must hold, and what is too deep or, with
    /// its references put in, too long.
    fn write(&mut self, raw: &RawValue, at: &str, o: &mut Object<'_>) -> Result<(), Untranslatable> {
        self.left = self.left.saturating_add(raw.get().len().saturating_mul(TIMES));
        let mut walk =
            Walk { root: raw, at, left: &mut self.left, within: Vec::new(), depth: 0, places: HashMap::new() };
        walk.node(raw, o)
    }

    /// Whether the schema is that of an object without members: Gemini wants none in its place.
    pub(super) fn is_empty(raw: &RawValue) -> bool {
        let Ok(members) = serde_json::from_str::<Members<'_>>(raw.get()) else { return false };
        let says_more = ["$ref", "anyOf", "oneOf", "allOf"].iter().any(|key| members.get(key).is_some())
            || members.get("additionalProperties").is_some_and(|raw| raw.get().starts_with('{') && raw.get() != "{}");
        let properties = members.get("properties").and_then(|raw| serde_json::from_str::<Members<'_>>(raw.get()).ok());
        !says_more && properties.is_none_or(|properties| properties.0.is_empty())
    }
}

/// Gemini does from 2.5 on, and under names that show no version.
fn reads_json_schema(model: &str) -> bool {
    let lower = model.to_ascii_lowercase();
    let version = lower.split_once("gemini").and_then(|(_, version)| version_of(version));
    version.is_none_or(|version| version >= (2, 5))
}

/// One schema, as it is gone through.
struct Walk<'r, 'l> {
    root: &'r RawValue,
    at: &'r str,
    left: &'l mut usize,
    /// References that what is written now lies within.
    within: Vec<String>,
    depth: usize,
    /// What is in the places that references have led through, by their pointers.
    places: HashMap<String, HashMap<Text<'r>, &'r RawValue>>,
}

/// A node with its references put in.
struct Node<'r> {
    members: Members<'r>,
    nullable: bool,
    types: Vec<Text<'r>>,
}

impl<'r> Walk<'r, '_> {
    fn node(&mut self, raw: &'r RawValue, o: &mut Object<'_>) -> Result<(), Untranslatable> {
        if raw.get() == "true" {
            return Ok(());
        }
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(self.refused("the schema is too deep for this model"));
        }
        let within = self.within.len();
        let node = self.flat(raw)?;
        let written = match node.types.as_slice() {
            [] => self.fields(&node, None, o),
            [one] => {
                o.text("type", one);
                self.fields(&node, Some(one), o)
            }
            many => {
                annotate(&node, None, o);
                o.list("anyOf", |list| {
                    many.iter().try_for_each(|one| {
                        list.object(|o| {
                            o.text("type", one);
                            self.constraints(&node, Some(one), o)
                        })
                    })
                })
            }
        };
        self.within.truncate(within);
        self.depth -= 1;
        written
    }

    /// The node without what leads to another: references, `allOf` of one, and `anyOf` of one and `null`.
    fn flat(&mut self, raw: &'r RawValue) -> Result<Node<'r>, Untranslatable> {
        let mut members = self.members(raw)?;
        let mut nullable = false;
        for _ in 0..DEEPEST {
            if members.0.len() > MOST_WORDS {
                return Err(self.refused("a schema of too many words for this model"));
            }
            let inner = if let Some(reference) = members.take("$ref") {
                self.resolve(reference)?
            } else if let Some(all) = members.take("allOf") {
                let all = self.list(all)?;
                let [one] = all.as_slice() else {
                    return Err(self.refused("`allOf` of several schemas says more than this model can be told"));
                };
                *one
            } else if let Some((only, key)) = self.only_branch(&members)? {
                members.take(key);
                nullable = true;
                only
            } else {
                let (types, null) = self.types(&members)?;
                return Ok(Node { members, nullable: nullable || null, types });
            };
            members = self.members(inner)?.under(members);
        }
        Err(self.refused("the schema is too deep for this model"))
    }

    /// The one branch that is not `null`, where there are these two.
    fn only_branch(&mut self, members: &Members<'r>) -> Result<Option<(&'r RawValue, &'static str)>, Untranslatable> {
        for key in ["anyOf", "oneOf"] {
            let Some(branches) = members.get(key) else { continue };
            let branches = self.list(branches)?;
            let others: Vec<_> = branches.iter().filter(|branch| !is_null(branch)).collect();
            if let ([only], true) = (others.as_slice(), others.len() < branches.len()) {
                return Ok(Some((only, key)));
            }
        }
        Ok(None)
    }

    /// The types but for `null`, and whether it was among them.
    fn types(&self, members: &Members<'r>) -> Result<(Vec<Text<'r>>, bool), Untranslatable> {
        let Some(raw) = members.get("type") else { return Ok((Vec::new(), false)) };
        if let Ok(one) = serde_json::from_str::<Text<'_>>(raw.get()) {
            return Ok((vec![one], false));
        }
        let Ok(mut types) = serde_json::from_str::<Vec<Text<'_>>>(raw.get()) else {
            return Err(self.refused("a `type` that is neither a word nor a list of them"));
        };
        let before = types.len();
        types.retain(|one| &**one != "null");
        let null = types.len() < before;
        Ok((types, null))
    }

    fn fields(&mut self, node: &Node<'r>, kind: Option<&str>, o: &mut Object<'_>) -> Result<(), Untranslatable> {
        annotate(node, kind, o);
        self.constraints(node, kind, o)
    }

    /// All but the words that describe, as far as they are about this type.
    fn constraints(&mut self, node: &Node<'r>, kind: Option<&str>, o: &mut Object<'_>) -> Result<(), Untranslatable> {
        for (key, raw) in &node.members.0 {
            match place_of(key, raw, kind) {
                Place::Same => o.raw(key, raw.get()),
                Place::Schema => o.object(key, |o| self.node(raw, o))?,
                Place::Schemas => {
                    let members = self.members(raw)?;
                    o.object(key, |o| {
                        members.0.iter().try_for_each(|(name, raw)| o.object(name, |o| self.node(raw, o)))
                    })?;
                }
                Place::AnyOf => {
                    let branches = self.list(raw)?;
                    o.list("anyOf", |list| {
                        let mut branches = branches.iter().filter(|branch| !is_null(branch));
                        branches.try_for_each(|branch| list.object(|o| self.node(branch, o)))
                    })?;
                }
                Place::Enum(words) => {
                    if kind.is_none() {
                        o.text("type", "string");
                    }
                    o.list("enum", |list| words.iter().for_each(|word| list.text(word)));
                }
                Place::Nowhere | Place::Description => {}
            }
        }
        if kind == Some("array") && node.members.get("items").is_none() {
            o.object("items", |_| ());
        }
        Ok(())
    }

    fn resolve(&mut self, reference: &'r RawValue) -> Result<&'r RawValue, Untranslatable> {
        let Ok(reference) = serde_json::from_str::<String>(reference.get()) else {
            return Err(self.refused("a `$ref` that is no word"));
        };
        let Some(pointer) = reference.strip_prefix("#/") else {
            return Err(self.refused("a `$ref` out of the schema, or to all of it, which this model cannot follow"));
        };
        if self.within.contains(&reference) {
            return Err(self.refused("a `$ref` that leads to itself, which this model cannot follow"));
        }
        let (mut at, mut place) = (self.root, String::new());
        for step in pointer.split('/') {
            if !self.places.contains_key(&place) {
                let members = self.members(at)?.0.into_iter().collect();
                self.places.insert(place.clone(), members);
            }
            let name = step.replace("~1", "/").replace("~0", "~");
            let found = self.places.get(&place).and_then(|members| members.get(&Text::from(&*name)));
            at = found.copied().ok_or_else(|| self.refused("a `$ref` that leads nowhere"))?;
            place.push('/');
            place.push_str(step);
        }
        self.within.push(reference);
        Ok(at)
    }

    fn members(&mut self, raw: &'r RawValue) -> Result<Members<'r>, Untranslatable> {
        self.spend(raw)?;
        serde_json::from_str(raw.get()).map_err(|_| self.refused("no schema where one has to be"))
    }

    fn list(&mut self, raw: &'r RawValue) -> Result<Vec<&'r RawValue>, Untranslatable> {
        self.spend(raw)?;
        serde_json::from_str(raw.get()).map_err(|_| self.refused("no list of schemas where one has to be"))
    }

    fn spend(&mut self, raw: &RawValue) -> Result<(), Untranslatable> {
        let left = self.left.checked_sub(raw.get().len());
        *self.left = left.ok_or_else(|| self.refused("the schema, with its references put in, is too long"))?;
        Ok(())
    }

    fn refused(&self, why: &str) -> Untranslatable {
        Untranslatable::at(self.at, why.to_owned())
    }
}

impl<'a> Members<'a> {
    fn take(&mut self, key: &str) -> Option<&'a RawValue> {
        let at = self.0.iter().position(|(name, _)| &**name == key)?;
        Some(self.0.remove(at).1)
    }

    /// These, with `over` in their place where both say something.
    fn under(self, over: Self) -> Self {
        let mut members: Vec<_> = self.0.into_iter().filter(|(key, _)| over.get(key).is_none()).collect();
        members.extend(over.0);
        Self(members)
    }
}
