//! The JSON Schema (draft 7) of the configuration, for editors.
//!
//! It knows keys, where lists and maps stand, and what values look like. What only the program sees, such as names that do not
//! exist, is for `sluicegate check`. `${...}` may stand in every value, so a value that holds one passes.

use std::collections::BTreeMap;

use serde_json::{Map as Object, Value, json};

use super::kind::{self, Base, Kind};
use super::shape::{Map, Shape};
use super::words::Words;

/// What a value with a variable in it has.
const VARIABLE: &str = r"\$\{";

/// The schema of files of this `shape`.
pub(super) fn schema(title: &str, shape: &Shape, words: &Words) -> Value {
    let mut definitions = BTreeMap::new();
    let root = place(shape, base_text(), words, &mut definitions);
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": title,
        "allOf": [root],
        "definitions": definitions.into_iter().collect::<Object<_, _>>(),
    })
}

const fn base_text() -> Kind {
    Kind { base: Some(Base::Text), words: &[] }
}

/// What may stand at a place. `kind`: what its single values are.
fn place(shape: &Shape, kind: Kind, words: &Words, definitions: &mut BTreeMap<String, Value>) -> Value {
    match shape {
        Shape::Value => value(kind),
        Shape::List(item) => {
            let item = place(item, kind, words, definitions);
            json!({ "anyOf": [item, { "type": "array", "items": item }] })
        }
        Shape::Names(item) => json!({
            "type": "object",
            "additionalProperties": place(item, kind, words, definitions),
        }),
        Shape::Map(map) => reference(map, words, definitions),
        Shape::Short { expecting, list, map } => {
            let long = reference(map, words, definitions);
            let mut forms = vec![value(kind::short(map.of)), long];
            let targets = map.keys.iter().find(|(key, _)| *list && *key == "targets");
            if let Some((_, targets)) = targets {
                forms.push(place(targets, base_text(), words, definitions));
            }
            json!({ "anyOf": forms, "description": expecting })
        }
    }
}

/// The schema of a map, which stands once among the definitions.
fn reference(map: &Map, words: &Words, definitions: &mut BTreeMap<String, Value>) -> Value {
    let name = map.of.trim_start_matches("Raw").to_owned();
    if !definitions.contains_key(&name) {
        // Holds the place, so that a type that holds itself ends.
        definitions.insert(name.clone(), Value::Null);
        let mut properties = Object::new();
        for (key, shape) in &map.keys {
            let said = words.of(map, key);
            let kind = kind::of(map.of, key, said.shown.as_deref());
            let schema = place(shape, kind, words, definitions);
            let above = if map.of == "RawConfig" { words.of_section(key) } else { "" };
            let described = if said.words.is_empty() { above.to_owned() } else { said.words };
            let described = Some(described).filter(|described| !described.is_empty());
            properties.insert((*key).to_owned(), with_description(schema, described));
        }
        let schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
        definitions.insert(name.clone(), schema);
    }
    json!({ "$ref": format!("#/definitions/{name}") })
}

/// Draft 7 overlooks what stands beside a reference, so that is put into a list of one.
fn with_description(schema: Value, described: Option<String>) -> Value {
    let Some(description) = described else { return schema };
    match schema {
        Value::Object(mut object) if !object.contains_key("$ref") => {
            object.insert("description".to_owned(), Value::String(description));
            Value::Object(object)
        }
        reference => json!({ "allOf": [reference], "description": description }),
    }
}

fn value(kind: Kind) -> Value {
    let mut forms = Vec::new();
    if !kind.words.is_empty() {
        // YAML reads some words as other things than text.
        let words = kind.words.iter().flat_map(|word| {
            let other = serde_json::from_str::<Value>(word).ok().filter(|value| !value.is_string());
            [Some(Value::String((*word).to_owned())), other].into_iter().flatten()
        });
        forms.push(json!({ "enum": words.collect::<Vec<_>>() }));
    }
    match kind.base {
        Some(Base::Text) => return json!({ "type": ["string", "number", "boolean"] }),
        Some(base) => {
            let types = match base {
                Base::Boolean => json!(["boolean", "string"]),
                Base::Whole => json!(["integer", "string"]),
                Base::Decimal | Base::Number(..) => json!(["number", "string"]),
                _ => json!(["string"]),
            };
            forms.push(json!({ "type": types, "pattern": format!("{}|{VARIABLE}", base.pattern()) }));
        }
        None => forms.push(json!({ "type": "string", "pattern": VARIABLE })),
    }
    if forms.len() == 1 { forms.remove(0) } else { json!({ "anyOf": forms }) }
}
