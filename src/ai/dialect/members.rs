//! The members of a JSON object, in their order: models fill in what they read first.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::json::{Object, compact, object};
use super::text::Text;

/// The members of an object.
pub(super) struct Members<'a>(pub(super) Vec<(Text<'a>, &'a RawValue)>);

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
