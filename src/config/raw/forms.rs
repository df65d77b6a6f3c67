//! The short forms: a list of one without brackets, a map that one value stands for, a map of names.
//!
//! An element that was refused is `None`, so that the numbers of the others stay right. A node of a file gives what it has,
//! whatever it is asked for; which of serde's questions each form asks is for `language`, which has no file.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// What a map that one value may stand for is called, for `language`.
pub(in crate::config) const SHORT_FORM: &str = "short form";
/// The same, where a list may stand for it as well: that of its key `targets`.
pub(in crate::config) const SHORT_FORM_OR_TARGETS: &str = "short form or targets";

/// A list, or its only item without brackets.
#[derive(Debug, Clone)]
pub(in crate::config) struct OneOrMany<T>(pub(in crate::config) Vec<Option<T>>);

impl<T> OneOrMany<T> {
    /// The items that were not refused, with their numbers from 0.
    pub(in crate::config) fn items(&self) -> impl Iterator<Item = (usize, &T)> {
        self.0.iter().enumerate().filter_map(|(index, item)| Some((index, item.as_ref()?)))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for List<T> {
            type Value = OneOrMany<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list, or its only item")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                T::deserialize(StrDeserializer::new(text)).map(|item| OneOrMany(vec![Some(item)]))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(|item| OneOrMany(vec![Some(item)]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(OneOrMany(list))
            }
        }

        deserializer.deserialize_seq(List(PhantomData))
    }
}

/// A map that one value may stand for.
pub(in crate::config) trait Short {
    /// The short form and the long one, for a reader who wrote neither.
    const EXPECTING: &'static str;
}

/// A map, or the value that stands for it.
#[derive(Debug)]
pub(in crate::config) enum Or<T> {
    Text(String),
    Map(T),
}

impl<'de, T: Deserialize<'de> + Short> Deserialize<'de> for Or<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrMap<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de> + Short> Visitor<'de> for TextOrMap<T> {
            type Value = Or<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(T::EXPECTING)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Or::Text(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Or::Map)
            }

            // A file has no such thing: this is how `language` finds the map behind the short form.
            fn visit_newtype_struct<D: Deserializer<'de>>(self, map: D) -> Result<Self::Value, D::Error> {
                T::deserialize(map).map(Or::Map)
            }
        }

        deserializer.deserialize_newtype_struct(SHORT_FORM, TextOrMap(PhantomData))
    }
}

/// A map whose keys are names that the operator chose, in the order of the file.
#[derive(Debug)]
pub(in crate::config) struct Named<T>(pub(in crate::config) Vec<(String, Option<T>)>);

impl<T> Named<T> {
    /// The entries that were not refused.
    pub(in crate::config) fn items(&self) -> impl Iterator<Item = (&str, &T)> {
        self.0.iter().filter_map(|(name, item)| Some((name.as_str(), item.as_ref()?)))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Names<T> {
            type Value = Named<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of names")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Named(entries))
            }
        }

        deserializer.deserialize_map(Names(PhantomData))
    }
}
