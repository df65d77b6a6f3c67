//! Which keys the language has, and where a list, a map or a value stands: read off the raw types themselves.
//!
//! The types are deserialized from no file: [`Tracer`] answers each of serde's questions with one of everything, and writes
//! down what was asked. So a key that a type gets is in the shape at once.

use std::fmt;

use serde::de::value::{Error, StrDeserializer};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Expected, MapAccess, SeqAccess, Visitor};

use crate::config::raw::{SHORT_FORM, SHORT_FORM_OR_TARGETS};

/// What an operator's own names are called.
pub(super) const NAME: &str = "NAME";

/// What may stand at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) enum Shape {
    /// One value.
    Value,
    /// A list, or its only item.
    List(Box<Self>),
    /// A map whose keys the operator names.
    Names(Box<Self>),
    /// A map, or one value in its place, in the words of the type; `list`: or the list of its key `targets`.
    Short { expecting: String, list: bool, map: Map },
    /// A map of these keys.
    Map(Map),
}

/// A map of known keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::config) struct Map {
    /// The name of its raw type.
    pub(in crate::config) of: &'static str,
    /// Its keys, in the order of the type.
    pub(in crate::config) keys: Vec<(&'static str, Shape)>,
}

impl Shape {
    /// The shape that `T` has in a file.
    pub(in crate::config) fn of<'de, T: Deserialize<'de>>() -> Self {
        let mut shape = Self::Value;
        // A type that asks for what is not there would be one that no file can hold; its shape stays what is known of it.
        let _ = T::deserialize(Tracer { shape: &mut shape });
        shape
    }
}

/// Answers for a file that is not there.
struct Tracer<'a> {
    /// Where what was asked for is written down.
    shape: &'a mut Shape,
}

impl<'de> Deserializer<'de> for Tracer<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        *self.shape = Shape::Value;
        visitor.visit_borrowed_str("")
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let mut item = Shape::Value;
        let value = visitor.visit_seq(One { shape: Some(&mut item) })?;
        *self.shape = Shape::List(Box::new(item));
        Ok(value)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let mut item = Shape::Value;
        let value = visitor.visit_map(One { shape: Some(&mut item) })?;
        *self.shape = Shape::Names(Box::new(item));
        Ok(value)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let mut keys = Vec::with_capacity(fields.len());
        let value = visitor.visit_map(Each { rest: fields, keys: &mut keys })?;
        *self.shape = Shape::Map(Map { of: name, keys });
        Ok(value)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Error> {
        if name != SHORT_FORM && name != SHORT_FORM_OR_TARGETS {
            return self.deserialize_any(visitor);
        }
        let expecting = Words(&visitor).to_string();
        let mut behind = Shape::Value;
        let value = visitor.visit_newtype_struct(Tracer { shape: &mut behind })?;
        *self.shape = match behind {
            Shape::Map(map) => Shape::Short { expecting, list: name == SHORT_FORM_OR_TARGETS, map },
            other => other,
        };
        Ok(value)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        tuple tuple_struct enum identifier ignored_any
    }
}

/// What a visitor expects, in its words.
struct Words<'a>(&'a dyn Expected);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A list of one, or a map with one name.
struct One<'a> {
    shape: Option<&'a mut Shape>,
}

impl<'de> SeqAccess<'de> for One<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        self.shape.take().map(|shape| seed.deserialize(Tracer { shape })).transpose()
    }
}

impl<'de> MapAccess<'de> for One<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        self.shape.is_some().then(|| seed.deserialize(StrDeserializer::new(NAME))).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let mut unasked = Shape::Value;
        seed.deserialize(Tracer { shape: self.shape.take().unwrap_or(&mut unasked) })
    }
}

/// Every key of a type, once.
struct Each<'a> {
    rest: &'static [&'static str],
    keys: &'a mut Vec<(&'static str, Shape)>,
}

impl<'de> MapAccess<'de> for Each<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some((key, rest)) = self.rest.split_first() else { return Ok(None) };
        self.rest = rest;
        self.keys.push((key, Shape::Value));
        seed.deserialize(StrDeserializer::new(key)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let mut shape = Shape::Value;
        let value = seed.deserialize(Tracer { shape: &mut shape })?;
        if let Some(last) = self.keys.last_mut() {
            last.1 = shape;
        }
        Ok(value)
    }
}
