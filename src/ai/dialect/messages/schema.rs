//! JSON Schema, brought into the part of it that binds an answer of Claude's.
//!
//! Kept as they are: `type`, `title`, `enum`, `const`, `default`, `properties`, `required`, `items`, `anyOf`, `allOf`, `$ref`,
//! `$defs`, `definitions`, `minItems` of 0 and 1, `format` where Claude knows it, and a `pattern` without looking around,
//! references back and bounds of words. `oneOf` is `anyOf`, and an object has no other properties than those it names. What else narrows the
//! values (`minimum`, `maxLength`, `maxItems`, a schema in `additionalProperties`) is refused there, and written into the
//! description, where the model reads it, as JSON. Left out are words that say nothing to a model.
//!
//! What would mean something else then is [not bound at all](unbound).

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::super::json::Object;
use super::super::members::{Members, is_recursive};

/// How deep schemas are looked at. What is deeper goes on as it is.
const DEEPEST: usize = 24;

const FORMATS: [&str; 10] = [
    "\"date-time\"",
    "\"time\"",
    "\"date\"",
    "\"duration\"",
    "\"email\"",
    "\"hostname\"",
    "\"uri\"",
    "\"ipv4\"",
    "\"ipv6\"",
    "\"uuid\"",
];

/// What becomes of a word of JSON Schema.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Same,
    Schema,
    Schemas,
    AnyOf,
    AllOf,
    Description,
    Nowhere,
}

/// What no answer of Claude's can be bound to. What cannot be read is left to Anthropic to refuse.
pub(super) fn unbound(schema: &str) -> Option<&'static str> {
    let schema: Value = serde_json::from_str(schema).ok()?;
    if is_recursive(&schema) {
        return Some("a `$ref` that leads to itself");
    }
    let mut within = vec![&schema];
    while let Some(at) = within.pop() {
        let Value::Object(schema) = at else { return Some(ANYTHING) };
        if !NARROWS.iter().any(|word| schema.contains_key(*word)) {
            return Some(ANYTHING);
        }
        if is_object(schema) && !names_members(schema) {
            return Some("an object whose members have no names in the schema");
        }
        for (word, value) in schema {
            match (word.as_str(), value) {
                ("properties" | "$defs" | "definitions", Value::Object(schemas)) => within.extend(schemas.values()),
                ("anyOf" | "oneOf" | "allOf", Value::Array(schemas)) => within.extend(schemas),
                ("items", items) => within.push(items),
                _ => {}
            }
        }
    }
    None
}

const ANYTHING: &str = "a value of any type";

/// Words of which a schema has one, or it takes anything.
const NARROWS: [&str; 9] = ["type", "enum", "const", "properties", "items", "$ref", "anyOf", "oneOf", "allOf"];

fn is_object(schema: &Map<String, Value>) -> bool {
    match schema.get("type") {
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "object"),
        Some(kind) => kind == "object",
        None => schema.contains_key("properties"),
    }
}

/// Of an object: an empty one that is closed names all that it has.
fn names_members(schema: &Map<String, Value>) -> bool {
    let branches = ["anyOf", "oneOf", "allOf", "$ref"].iter().any(|word| schema.contains_key(*word));
    match (schema.get("properties").and_then(Value::as_object), schema.get("additionalProperties")) {
        (Some(_), None) | (_, Some(Value::Bool(false))) => true,
        (Some(properties), Some(_)) => !properties.is_empty(),
        (None, _) => branches,
    }
}

/// Writes the schema as the value of `key`.
pub(super) fn write(key: &str, schema: &str, o: &mut Object<'_>) {
    put(key, schema, 0, o);
}

fn put(key: &str, schema: &str, depth: usize, o: &mut Object<'_>) {
    match serde_json::from_str::<Members<'_>>(schema) {
        Ok(members) if depth < DEEPEST => o.object(key, |o| node(&members, depth + 1, o)),
        _ => o.raw(key, schema),
    }
}

fn node(members: &Members<'_>, depth: usize, o: &mut Object<'_>) {
    let place_of = |key: &str, raw: &RawValue| match place_of(key, raw) {
        Place::AnyOf if key == "oneOf" && members.get("anyOf").is_some() => Place::Description,
        place => place,
    };
    let rules: Vec<_> = members.0.iter().filter(|(key, raw)| place_of(key, raw) == Place::Description).collect();
    members.describe(&rules, o);
    for (key, raw) in &members.0 {
        match place_of(key, raw) {
            Place::Same => o.raw(key, raw.get()),
            Place::Schema => put(key, raw.get(), depth, o),
            Place::Schemas => match serde_json::from_str::<Members<'_>>(raw.get()) {
                Ok(schemas) => {
                    o.object(key, |o| schemas.0.iter().for_each(|(name, raw)| put(name, raw.get(), depth, o)));
                }
                Err(_) => o.raw(key, raw.get()),
            },
            Place::AnyOf => branches("anyOf", raw, depth, o),
            Place::AllOf => branches("allOf", raw, depth, o),
            Place::Description | Place::Nowhere => {}
        }
    }
    let is_closed = members.get("additionalProperties").is_some_and(|raw| raw.get() == "false");
    if members.get("properties").is_some() || is_closed {
        o.flag("additionalProperties", false);
    }
}

fn branches(key: &str, raw: &RawValue, depth: usize, o: &mut Object<'_>) {
    match serde_json::from_str::<Vec<Members<'_>>>(raw.get()) {
        Ok(schemas) if depth < DEEPEST => {
            o.list(key, |list| schemas.iter().for_each(|schema| list.object(|o| node(schema, depth + 1, o))));
        }
        _ => o.raw(key, raw.get()),
    }
}

fn place_of(key: &str, raw: &RawValue) -> Place {
    let if_known = |known: bool| if known { Place::Same } else { Place::Description };
    match key {
        "type" | "title" | "enum" | "const" | "default" | "required" | "$ref" => Place::Same,
        "additionalProperties" if matches!(raw.get(), "true" | "false" | "{}") => Place::Nowhere,
        "items" => Place::Schema,
        "properties" | "$defs" | "definitions" => Place::Schemas,
        "anyOf" | "oneOf" => Place::AnyOf,
        "allOf" => Place::AllOf,
        "minItems" => if_known(matches!(raw.get(), "0" | "1")),
        "format" => if_known(FORMATS.contains(&raw.get())),
        "pattern" => if_known(is_plain(raw.get())),
        "description" | "nullable" | "$schema" | "$id" | "$comment" | "strict" | "examples" | "deprecated"
        | "readOnly" | "writeOnly" => Place::Nowhere,
        _ => Place::Description,
    }
}

/// Whether a pattern, as JSON has it, can be matched letter by letter.
fn is_plain(pattern: &str) -> bool {
    let mut escapes = pattern.split("\\\\").skip(1);
    let looks_back = escapes.any(|rest| rest.starts_with(|c: char| c.is_ascii_digit() || matches!(c, 'b' | 'B' | 'k')));
    !looks_back && !["(?=", "(?!", "(?<"].iter().any(|look| pattern.contains(look))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::super::json::object;
    use super::*;

    fn written(schema: &Value) -> Value {
        let mut out = Vec::new();
        object(&mut out, |o| write("s", &schema.to_string(), o));
        serde_json::from_slice::<Value>(&out).unwrap()["s"].clone()
    }

    #[test]
    fn what_claude_cannot_be_bound_to_is_told_in_the_description() {
        for (schema, told) in [
            (
                json!({"type": "integer", "minimum": 0, "maximum": 10}),
                json!({"type": "integer", "description": "It must satisfy {\"maximum\":10,\"minimum\":0}"}),
            ),
            (
                json!({"type": "string", "description": "A name.", "maxLength": 9}),
                json!({"type": "string", "description": "A name.\n\nIt must also satisfy {\"maxLength\":9}"}),
            ),
            (
                json!({"type": "array", "items": {"type": "number", "multipleOf": 2}, "minItems": 2}),
                json!({
                    "type": "array", "description": "It must satisfy {\"minItems\":2}",
                    "items": {"type": "number", "description": "It must satisfy {\"multipleOf\":2}"},
                }),
            ),
            (
                json!({"oneOf": [{"type": "string", "format": "regex"}, {"type": "null"}]}),
                json!({"anyOf": [
                    {"type": "string", "description": "It must satisfy {\"format\":\"regex\"}"}, {"type": "null"},
                ]}),
            ),
        ] {
            assert_eq!(written(&schema), told, "{schema}");
            let nested = json!({"$defs": {"d": schema}, "type": "object", "properties": {"minimum": schema}});
            let closed = json!({
                "$defs": {"d": told}, "type": "object", "properties": {"minimum": told}, "additionalProperties": false,
            });
            assert_eq!(written(&nested), closed, "a member may be called as a word is");
        }
    }

    #[test]
    fn what_claude_knows_stays() {
        let schema = json!({
            "type": "object", "title": "T", "description": "D", "required": ["a"], "additionalProperties": false,
            "properties": {
                "a": {"type": "string", "format": "uri", "default": "x"},
                "b": {"type": "array", "items": {"$ref": "#/$defs/d"}, "minItems": 1},
                "c": {"type": "string", "pattern": "^[a-z]\\d+(?:x|y)$"},
                "d": {"anyOf": [{"enum": ["a", 1]}, {"const": "x"}]},
            },
            "$defs": {"d": {"type": ["string", "null"]}},
        });
        assert_eq!(written(&schema), schema);
        for pattern in ["^(?!x)", "\\bword\\b", "(a)\\1", "(?<=x)y"] {
            let schema = json!({"type": "string", "pattern": pattern});
            assert_eq!(written(&schema).get("pattern"), None, "{pattern}");
        }
        assert_eq!(written(&json!(true)), json!(true));
    }

    #[test]
    fn an_object_is_closed_and_what_its_other_members_would_be_is_told() {
        let open = |more: &Value| json!({"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": more});
        let closed = open(&json!(false));
        for same in
            [open(&json!(true)), json!({"type": "object", "properties": {"a": {"type": "string"}}}), closed.clone()]
        {
            assert_eq!(written(&same), closed);
        }
        let mut told = closed;
        told["description"] = json!("It must satisfy {\"additionalProperties\":{\"type\":\"integer\"}}");
        assert_eq!(written(&open(&json!({"type": "integer"}))), told);
        let empty = json!({"type": "object", "additionalProperties": false});
        assert_eq!(written(&empty), empty);
    }

    #[test]
    fn what_would_be_another_schema_if_it_was_closed_is_not_bound() {
        let object = |value: &Value| json!({"type": "object", "properties": {"x": value}});
        for bound in [
            json!({"type": "object", "properties": {}}),
            json!({"type": "object", "additionalProperties": false}),
            object(&json!({"enum": [1, "a"]})),
            object(&json!({"type": "array", "items": {"$ref": "#/$defs/none"}})),
            json!({"anyOf": [{"type": "string"}, object(&json!({"type": "null"}))]}),
        ] {
            assert_eq!(unbound(&bound.to_string()), None, "{bound}");
        }
        for open in [
            json!({"type": "object"}),
            json!({"type": ["object", "null"], "additionalProperties": true}),
            json!({"type": "object", "properties": {}, "additionalProperties": {"type": "string"}}),
            json!({}),
            json!({"description": "d"}),
            json!(true),
        ] {
            let list = json!({"type": "array", "items": open});
            for schema in [
                object(&open),
                object(&list),
                json!({"anyOf": [object(&open)]}),
                json!({"$defs": {"d": open}, "$ref": "#/$defs/d"}),
                open,
            ] {
                assert!(unbound(&schema.to_string()).is_some(), "{schema}");
            }
        }
        assert_eq!(unbound(&object(&json!({"$ref": "#"})).to_string()), Some("a `$ref` that leads to itself"));
    }
}
