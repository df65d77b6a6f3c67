//! serde's view of a [`Node`]: scalars are text, refused nodes are nothing.

use std::fmt;

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{self, Deserializer, Expected, IntoDeserializer, Unexpected, Visitor};

use crate::config::document::{Content, Node};
use crate::config::values::quote;

/// Why a node does not have the shape that its place asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) enum ShapeError {
    Misshapen { found: String, expected: String },
    UnknownKey { key: String, known: &'static [&'static str] },
}

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Misshapen { found, expected } => write!(f, "{found}; expected {expected}"),
            Self::UnknownKey { key, .. } => write!(f, "unknown key {key}"),
        }
    }
}

impl std::error::Error for ShapeError {}

impl de::Error for ShapeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Misshapen { found: message.to_string(), expected: "something else".to_owned() }
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let found = match unexpected {
            Unexpected::Str(text) => format!("{} stands here", quote(text)),
            Unexpected::Seq => "a list stands here".to_owned(),
            Unexpected::Map => "a map stands here".to_owned(),
            _ => "nothing stands here".to_owned(),
        };
        let expected = expected.to_string();
        // serde's own words for what it derives.
        let expected = match expected.as_str() {
            "a string" => "one value".to_owned(),
            text if text.starts_with("struct ") => "a map of keys".to_owned(),
            _ => expected,
        };
        Self::Misshapen { found, expected }
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::UnknownKey { key: field.to_owned(), known: expected }
    }
}

/// A map, with the first of its keys.
fn keys(fields: &[&str]) -> String {
    match fields {
        [one] => format!("a map with `{one}`"),
        [one, other] => format!("a map with `{one}` or `{other}`"),
        [one, other, ..] => format!("a map with keys such as `{one}` and `{other}`"),
        [] => "a map of keys".to_owned(),
    }
}

impl<'de> Deserializer<'de> for &'de Node {
    type Error = ShapeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ShapeError> {
        match &self.content {
            Content::Scalar(scalar) => visitor.visit_borrowed_str(&scalar.text),
            Content::List(items) => visitor.visit_seq(SeqDeserializer::new(items.iter())),
            Content::Map(entries) => {
                let entries = entries.iter().map(|entry| (entry.key.as_str(), &entry.node));
                visitor.visit_map(MapDeserializer::new(entries))
            }
            Content::Refused => visitor.visit_unit(),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ShapeError> {
        match self.content {
            Content::Refused => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    /// serde's derived structs would take a list too, by position; a map of keys is meant, and some are named.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ShapeError> {
        match self.content {
            Content::List(_) => Err(de::Error::invalid_type(Unexpected::Seq, &keys(fields).as_str())),
            Content::Scalar(ref scalar) => {
                Err(de::Error::invalid_type(Unexpected::Str(&scalar.text), &keys(fields).as_str()))
            }
            _ => self.deserialize_any(visitor),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

impl<'de> IntoDeserializer<'de, ShapeError> for &'de Node {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}
