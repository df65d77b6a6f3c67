//! JSON Schema as Gemini reads it from 2.5 on, in `parametersJsonSchema` and `responseJsonSchema`: with `$ref` and
//! `additionalProperties`, for which its own words have no place.
//!
//! It reads `$defs`, `$ref`, `type`, `format`, `title`, `description`, `enum`, `items`, `prefixItems`, `minItems`, `maxItems`,
//! `minimum`, `maximum`, `anyOf`, `oneOf`, `properties`, `additionalProperties`, `required` and `propertyOrdering`. Beside a
//! `$ref` stands nothing else, so one with more is the only branch of an `anyOf`. Other words are left out or told in the
//! description as before.

use serde_json::Value;
use serde_json::value::RawValue;

use super::super::super::json::Object;
use super::super::super::members::{Members, is_recursive};
use super::words::branches_without_members;

/// Whether a schema needs it.
pub(super) fn needs(schema: &str) -> bool {
    // Most have neither, and are not read once more.
    if !["additionalProperties", "$ref"].iter().any(|word| schema.contains(word)) {
        return false;
    }
    let Ok(schema) = serde_json::from_str::<Value>(schema) else { return false };
    has_open_map(&schema) || is_recursive(&schema)
}

/// Whether an object says of which kind the members are that it does not name.
fn has_open_map(schema: &Value) -> bool {
    match schema {
        Value::Array(list) => list.iter().any(has_open_map),
        Value::Object(members) => members.iter().any(|(word, value)| match (word.as_str(), value) {
            ("additionalProperties", Value::Object(schema)) => !schema.is_empty(),
            _ => has_open_map(value),
        }),
        _ => false,
    }
}

/// What becomes of a word of JSON Schema.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Same,
    Schema,
    Schemas,
    Branches,
    /// Of a `const`, which is an `enum` of one.
    OneOf,
    Reference,
    Description,
    Nowhere,
}

/// Writes what the schema says into `o`.
pub(super) fn write(schema: &str, o: &mut Object<'_>) {
    let Ok(members) = serde_json::from_str::<Members<'_>>(schema) else { return };
    let is_alone = members.0.iter().all(|(word, _)| word.starts_with('$') || &**word == "definitions");
    let refers = members.get("$ref").is_some();
    let place_of = |word: &str, raw: &RawValue| match place_of(word, raw) {
        Place::Branches if refers || word == "oneOf" && members.get("anyOf").is_some() => Place::Description,
        place => place,
    };
    let rules: Vec<_> = members.0.iter().filter(|(word, raw)| place_of(word, raw) == Place::Description).collect();
    members.describe(&rules, o);
    for (word, raw) in &members.0 {
        match place_of(word, raw) {
            Place::Same => o.raw(word, raw.get()),
            Place::Schema => put(word, raw, o),
            Place::Schemas => {
                let schemas = serde_json::from_str(raw.get()).unwrap_or(Members(Vec::new()));
                let word = if &**word == "definitions" { "$defs" } else { word };
                o.object(word, |o| schemas.0.iter().for_each(|(name, raw)| put(name, raw, o)));
            }
            Place::Branches => {
                let branches: Vec<&RawValue> = serde_json::from_str(raw.get()).unwrap_or_default();
                o.list("anyOf", |list| branches.iter().for_each(|branch| list.object(|o| write(branch.get(), o))));
            }
            Place::OneOf => o.list("enum", |list| list.raw(raw.get())),
            Place::Reference if is_alone => o.text("$ref", &reference(raw)),
            Place::Reference => o.list("anyOf", |list| list.object(|o| o.text("$ref", &reference(raw)))),
            Place::Description | Place::Nowhere => {}
        }
    }
}

fn put(word: &str, raw: &RawValue, o: &mut Object<'_>) {
    if raw.get().starts_with('{') {
        o.object(word, |o| write(raw.get(), o));
    } else {
        o.raw(word, raw.get());
    }
}

/// Of what older schemas call `definitions`, too.
fn reference(raw: &RawValue) -> String {
    let reference: String = serde_json::from_str(raw.get()).unwrap_or_default();
    match reference.strip_prefix("#/definitions/") {
        Some(name) => format!("#/$defs/{name}"),
        None => reference,
    }
}

fn place_of(word: &str, raw: &RawValue) -> Place {
    match word {
        "type" | "format" | "title" | "enum" | "prefixItems" | "minItems" | "maxItems" | "minimum" | "maximum"
        | "required" | "propertyOrdering" | "default" => Place::Same,
        "items" | "additionalProperties" => Place::Schema,
        "properties" | "$defs" | "definitions" => Place::Schemas,
        "anyOf" | "oneOf" if branches_without_members(raw) => Place::Description,
        "anyOf" | "oneOf" => Place::Branches,
        "const" => Place::OneOf,
        "$ref" => Place::Reference,
        "description" | "$schema" | "$id" | "$comment" | "strict" | "examples" | "deprecated" | "readOnly"
        | "writeOnly" => Place::Nowhere,
        _ => Place::Description,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::super::json::object;
    use super::*;

    fn written(schema: &Value) -> Value {
        let mut out = Vec::new();
        object(&mut out, |o| write(&schema.to_string(), o));
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn a_tree_and_a_map_need_it_and_other_schemas_do_not() {
        let tree = json!({"type": "object", "properties": {"next": {"$ref": "#"}}});
        let map = json!({"properties": {"a": {"type": "object", "additionalProperties": {"type": "string"}}}});
        for schema in [tree, map] {
            assert!(needs(&schema.to_string()), "{schema}");
        }
        let twice = json!({"properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"type": "string"}}});
        let closed = json!({"type": "object", "additionalProperties": false});
        for schema in [twice, closed, json!({"type": "object", "additionalProperties": {}}), json!({"type": "string"})]
        {
            assert!(!needs(&schema.to_string()), "{schema}");
        }
    }

    #[test]
    fn a_reference_stands_alone_and_what_gemini_does_not_read_is_told() {
        let schema = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {
                "next": {"$ref": "#/definitions/node"},
                "last": {"$ref": "#/definitions/node", "description": "The last."},
                "labels": {"type": "object", "additionalProperties": {"type": "string", "maxLength": 9}},
                "kind": {"const": 1},
                "either": {"oneOf": [{"type": "string"}, {"type": "null"}]},
            },
            "definitions": {"node": {"type": "object", "properties": {"next": {"$ref": "#/definitions/node"}}}},
            "not": {"required": ["kind"]},
        });
        let told = json!({
            "description": "It must satisfy {\"not\":{\"required\":[\"kind\"]}}",
            "type": "object",
            "properties": {
                "next": {"$ref": "#/$defs/node"},
                "last": {"description": "The last.", "anyOf": [{"$ref": "#/$defs/node"}]},
                "labels": {
                    "type": "object",
                    "additionalProperties": {"type": "string", "description": "It must satisfy {\"maxLength\":9}"},
                },
                "kind": {"enum": [1]},
                "either": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            },
            "$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}},
        });
        assert_eq!(written(&schema), told);
    }
}
