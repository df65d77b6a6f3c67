//! The words of JSON Schema, and where each goes.

use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::super::super::json::Object;
use super::super::super::members::Members;
use super::super::super::text::Text;
use super::Node;

/// What becomes of a word of JSON Schema.
pub(super) enum Place<'a> {
    Same,
    Schema,
    Schemas,
    AnyOf,
    Enum(Vec<Text<'a>>),
    /// Gemini has no word for it, and the model reads it in the description.
    Description,
    Nowhere,
}

pub(super) fn place_of<'a>(key: &str, raw: &'a RawValue, kind: Option<&str>) -> Place<'a> {
    let about = |wanted: &[&str], place| match kind {
        Some(kind) if !wanted.contains(&kind) => Place::Nowhere,
        _ => place,
    };
    match key {
        "properties" => about(&["object"], Place::Schemas),
        "required" | "minProperties" | "maxProperties" | "propertyOrdering" => about(&["object"], Place::Same),
        "items" if raw.get().starts_with('{') => about(&["array"], Place::Schema),
        "minItems" | "maxItems" => about(&["array"], Place::Same),
        "minLength" | "maxLength" | "pattern" => about(&["string"], Place::Same),
        "minimum" | "maximum" => about(&["number", "integer"], Place::Same),
        "anyOf" | "oneOf" if branches_without_members(raw) => Place::Description,
        "anyOf" | "oneOf" => Place::AnyOf,
        "enum" => words(raw).map_or(Place::Description, Place::Enum),
        "const" => match serde_json::from_str(raw.get()) {
            Ok(word) => Place::Enum(vec![word]),
            Err(_) => Place::Description,
        },
        "format" => match (kind, raw.get()) {
            (None | Some("string"), "\"date-time\"") => Place::Same,
            (Some("number"), "\"float\"" | "\"double\"") | (Some("integer"), "\"int32\"" | "\"int64\"") => Place::Same,
            _ => Place::Description,
        },
        "title" | "default" | "example" => Place::Same,
        "type" | "description" | "nullable" | "$schema" | "$id" | "$defs" | "definitions" | "$comment" | "strict"
        | "examples" | "deprecated" | "readOnly" | "writeOnly" => Place::Nowhere,
        "additionalProperties" if !raw.get().starts_with('{') || raw.get() == "{}" => Place::Nowhere,
        _ => Place::Description,
    }
}

/// Whether branches are only about members that stand elsewhere (`{"required":["a"]}`): Gemini wants those that are required
/// named beside that.
pub(super) fn branches_without_members(raw: &RawValue) -> bool {
    let branches: Vec<Members<'_>> = serde_json::from_str(raw.get()).unwrap_or_default();
    let is_without = |branch: &Members<'_>| branch.get("required").is_some() && branch.get("properties").is_none();
    let refers =
        |branch: &Members<'_>| ["$ref", "allOf", "anyOf", "oneOf"].iter().any(|word| branch.get(word).is_some());
    branches.iter().any(|branch| is_without(branch) && !refers(branch))
}

/// The strings of an `enum`, but for `null`; `None`: it has others too.
fn words(raw: &RawValue) -> Option<Vec<Text<'_>>> {
    let words: Vec<Option<Text<'_>>> = serde_json::from_str(raw.get()).ok()?;
    Some(words.into_iter().flatten().collect())
}

/// `description`, with what else must hold, and `nullable`.
pub(super) fn annotate(node: &Node<'_>, kind: Option<&str>, o: &mut Object<'_>) {
    let rules: Vec<_> =
        node.members.0.iter().filter(|(key, raw)| matches!(place_of(key, raw, kind), Place::Description)).collect();
    node.members.describe(&rules, o);
    let null_word = node.members.get("enum").is_some_and(|raw| {
        serde_json::from_str::<Vec<Option<IgnoredAny>>>(raw.get()).is_ok_and(|list| list.iter().any(Option::is_none))
    });
    let said = node.members.get("nullable").is_some_and(|raw| raw.get() == "true");
    let branch = ["anyOf", "oneOf"].iter().filter_map(|key| node.members.get(key)).any(|raw| {
        serde_json::from_str::<Vec<&RawValue>>(raw.get()).is_ok_and(|list| list.iter().any(|branch| is_null(branch)))
    });
    if node.nullable || null_word || said || branch {
        o.flag("nullable", true);
    }
}

/// `{"type":"null"}`
pub(super) fn is_null(raw: &RawValue) -> bool {
    let members = serde_json::from_str::<Members<'_>>(raw.get());
    members.is_ok_and(|members| members.0.len() == 1 && members.get("type").is_some_and(|t| t.get() == "\"null\""))
}
