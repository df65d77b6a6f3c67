//! The members of a JSON object, in their order: models fill in what they read first. And what a JSON Schema says with them.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::json::{Object, compact, object};
use super::text::Text;

/// The members of an object.
pub(in crate::ai) struct Members<'a>(pub(in crate::ai) Vec<(Text<'a>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Read)
    }
}

impl<'a> Members<'a> {
    pub(super) fn get(&self, key: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(name, _)| &**name == key).map(|(_, value)| *value)
    }

    /// Of a schema: its `description`, with `rules` that the model's provider has no words for, so that the model reads them.
    pub(super) fn describe(&self, rules: &[&(Text<'a>, &'a RawValue)], o: &mut Object<'_>) {
        let said = self.get("description").and_then(|raw| serde_json::from_str::<Text<'_>>(raw.get()).ok());
        if rules.is_empty() {
            if let Some(said) = said {
                o.text("description", &said);
            }
            return;
        }
        let mut json = Vec::new();
        object(&mut json, |o| rules.iter().for_each(|(key, raw)| o.raw(key, &compact(raw.get()))));
        let json = String::from_utf8_lossy(&json);
        match said {
            Some(said) => o.joined("description", &[&said, "\n\nIt must also satisfy ", &json]),
            None => o.joined("description", &["It must satisfy ", &json]),
        }
    }
}

/// The schema, with this description where it has none of its own.
pub(super) fn described<'s>(schema: &'s str, description: Option<&str>) -> Cow<'s, str> {
    let has_none =
        |schema| serde_json::from_str::<Members<'_>>(schema).is_ok_and(|members| members.get("description").is_none());
    match (description, schema.trim_start().strip_prefix('{')) {
        (Some(description), Some(rest)) if has_none(schema) => {
            let comma = if rest.trim_start().starts_with('}') { "" } else { "," };
            Cow::Owned(format!("{{\"description\":{}{comma}{rest}", Value::from(description)))
        }
        _ => Cow::Borrowed(schema),
    }
}

/// Whether a schema has a `$ref` that leads to what it stands in.
pub(super) fn is_recursive(schema: &Value) -> bool {
    let mut leads = HashMap::new();
    let mut new = references(schema);
    while let Some(reference) = new.pop() {
        if let Entry::Vacant(entry) = leads.entry(reference) {
            let target = reference.strip_prefix('#').and_then(|pointer| schema.pointer(pointer));
            new.extend(entry.insert(target.map(references).unwrap_or_default()).iter());
        }
    }
    // What leads nowhere any more is taken away, until nothing is left or all leads on for ever.
    let mut from: HashMap<&str, Vec<&str>> = HashMap::new();
    for (&reference, to) in &leads {
        to.iter().for_each(|to| from.entry(to).or_default().push(reference));
    }
    let mut open: HashMap<&str, usize> = leads.iter().map(|(reference, to)| (*reference, to.len())).collect();
    let mut ends: Vec<&str> = open.iter().filter(|(_, count)| **count == 0).map(|(reference, _)| *reference).collect();
    let mut ended = 0;
    while let Some(end) = ends.pop() {
        ended += 1;
        for before in from.get(end).into_iter().flatten() {
            if let Some(count) = open.get_mut(before) {
                *count -= 1;
                if *count == 0 {
                    ends.push(before);
                }
            }
        }
    }
    ended < leads.len()
}

/// All that a part of a schema refers to.
fn references(of: &Value) -> Vec<&str> {
    let mut found = Vec::new();
    let mut within = vec![of];
    while let Some(value) = within.pop() {
        match value {
            Value::Array(list) => within.extend(list),
            Value::Object(members) => {
                for (key, value) in members {
                    match (key.as_str(), value) {
                        ("$ref", Value::String(reference)) => found.push(reference.as_str()),
                        ("enum" | "const" | "default" | "example" | "examples", _) => {}
                        _ => within.push(value),
                    }
                }
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_schema_is_recursive_where_a_reference_leads_to_what_it_stands_in() {
        let node = |next: Value| json!({"type": "object", "properties": {"next": next}});
        let by_defs = json!({"$ref": "#/$defs/a", "$defs": {"a": node(json!({"$ref": "#/$defs/b"})), "b": node(json!({"anyOf": [{"$ref": "#/$defs/a"}]}))}});
        for schema in
            [by_defs, node(json!({"$ref": "#"})), json!({"properties": {"x": node(json!({"$ref": "#/properties/x"}))}})]
        {
            assert!(is_recursive(&schema), "{schema}");
        }
        let leaf = json!({"type": "string"});
        let twice =
            json!({"properties": {"a": {"$ref": "#/$defs/a"}, "b": {"$ref": "#/$defs/a"}}, "$defs": {"a": leaf}});
        for schema in [twice, json!({"$ref": "#/$defs/none"}), json!({"$ref": "https://example.com/"}), json!(true)] {
            assert!(!is_recursive(&schema), "{schema}");
        }
    }

    #[test]
    fn a_description_stands_where_there_is_none() {
        assert_eq!(described("{}", Some("a \"b\"")), r#"{"description":"a \"b\""}"#);
        assert_eq!(described(r#" {"type":"object"}"#, Some("a")), r#"{"description":"a","type":"object"}"#);
        for (schema, description) in [(r#"{"description":"b"}"#, Some("a")), ("{}", None), ("true", Some("a"))] {
            assert_eq!(described(schema, description), schema);
        }
    }
}
