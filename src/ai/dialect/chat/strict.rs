//! Whether OpenAI's strict mode takes a JSON Schema.
//!
//! It refuses the whole request where an object leaves a member optional or open, or where there is a word that it does not
//! know; Anthropic takes both.

use serde_json::{Map, Value};

/// Words that strict mode knows and that say no more than themselves.
const WORDS: [&str; 16] = [
    "$ref",
    "$schema",
    "const",
    "description",
    "enum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "maxItems",
    "maximum",
    "minItems",
    "minimum",
    "multipleOf",
    "pattern",
    "required",
    "title",
    "type",
];

const FORMATS: [&str; 9] = ["date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"];

/// Whether it is the schema of an object, in which every object has `additionalProperties` `false` and all of its
/// properties in `required`.
pub(super) fn is_strict(schema: &str) -> bool {
    let Ok(Value::Object(root)) = serde_json::from_str(schema) else { return false };
    root.get("type").is_some_and(|kind| kind == "object") && !root.contains_key("anyOf") && holds(&root)
}

fn holds(schema: &Map<String, Value>) -> bool {
    let is_object = schema.contains_key("properties") || schema.get("type").is_some_and(names_object);
    (!is_object || is_closed(schema)) && schema.iter().all(|(word, value)| takes(word, value))
}

fn names_object(kind: &Value) -> bool {
    kind == "object" || kind.as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == "object"))
}

fn is_closed(object: &Map<String, Value>) -> bool {
    let required = object.get("required").and_then(Value::as_array);
    let is_required = |name: &String| required.is_some_and(|names| names.iter().any(|other| other == name));
    let properties = object.get("properties").and_then(Value::as_object);
    let all_required = properties.is_none_or(|properties| properties.keys().all(is_required));
    object.get("additionalProperties") == Some(&Value::Bool(false)) && all_required
}

fn takes(word: &str, value: &Value) -> bool {
    let inner = |schema: &Value| schema.as_object().is_some_and(holds);
    match word {
        "properties" | "$defs" | "definitions" => value.as_object().is_some_and(|schemas| schemas.values().all(inner)),
        "anyOf" => value.as_array().is_some_and(|schemas| schemas.iter().all(inner)),
        "items" => inner(value),
        "additionalProperties" => value == &Value::Bool(false),
        "format" => FORMATS.iter().any(|format| value == format),
        _ => WORDS.contains(&word),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(properties: &Value, required: &Value) -> Value {
        json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
    }

    #[test]
    fn a_schema_whose_objects_are_closed_and_whole_is_strict() {
        let inner = object(&json!({"n": {"type": ["integer", "null"], "minimum": 0}}), &json!(["n"]));
        let outer = json!({
            "list": {"type": "array", "items": {"$ref": "#/$defs/inner"}, "minItems": 2},
            "either": {"anyOf": [inner, {"type": "null"}]},
            "day": {"type": "string", "format": "date"},
        });
        let mut schema = object(&outer, &json!(["list", "either", "day"]));
        schema["$defs"] = json!({"inner": inner});
        assert!(is_strict(&schema.to_string()));
        assert!(is_strict(r#"{"type":"object","additionalProperties":false}"#));
    }

    #[test]
    fn one_object_that_leaves_something_open_is_enough_not_to_be() {
        let text = json!({"type": "string"});
        let optional = object(&json!({"a": text, "b": text}), &json!(["a"]));
        let open = json!({"type": "object", "properties": {"a": text}, "required": ["a"]});
        let any = json!({"type": "object", "properties": {}, "additionalProperties": {"type": "string"}});
        for inner in [optional, open, any] {
            assert!(!is_strict(&inner.to_string()), "{inner}");
            for schema in [
                object(&json!({"x": inner}), &json!(["x"])),
                object(&json!({"x": {"type": "array", "items": inner}}), &json!(["x"])),
                object(&json!({"x": {"anyOf": [inner, {"type": "null"}]}}), &json!(["x"])),
            ] {
                assert!(!is_strict(&schema.to_string()), "{schema}");
            }
        }
    }

    #[test]
    fn neither_is_one_with_words_that_openai_does_not_take() {
        for property in [
            json!({"type": "string", "default": "x"}),
            json!({"type": "string", "format": "uri"}),
            json!({"oneOf": []}),
        ] {
            let schema = object(&json!({"x": property}), &json!(["x"]));
            assert!(!is_strict(&schema.to_string()), "{schema}");
        }
        for schema in ["true", "[]", "", "{}", r#"{"type":"array"}"#, r#"{"type":"string"}"#] {
            assert!(!is_strict(schema), "{schema}");
        }
    }
}
