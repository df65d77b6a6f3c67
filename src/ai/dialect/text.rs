//! Strings and lists of a body as they are read: borrowed from it wherever they hold no escapes, so that an image of
//! megabytes is not copied before it is written.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use serde::de::value::SeqAccessDeserializer;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize as Read, Serialize as Write};
use serde_json::value::RawValue;

use crate::ai::json::count;

/// A string of a body.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Read, Write)]
#[serde(transparent)]
pub(in crate::ai) struct Text<'a>(#[serde(borrow)] pub(in crate::ai) Cow<'a, str>);

impl Text<'_> {
    /// Whether there is nothing to read in it; Messages and Gemini take no such text.
    pub(super) fn is_blank(&self) -> bool {
        self.0.trim().is_empty()
    }
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self(Cow::Borrowed(text))
    }
}

impl From<String> for Text<'_> {
    fn from(text: String) -> Self {
        Self(Cow::Owned(text))
    }
}

/// What may be a string or a list: the content of a message, `stop`, `system`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content<'a, T> {
    /// A string.
    Text(Text<'a>),
    /// A list.
    Parts(Vec<T>),
}

impl<'de: 'a, 'a, T: Deserialize<'de>> Deserialize<'de> for Content<'a, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Either(PhantomData))
    }
}

struct Either<'a, T>(PhantomData<Content<'a, T>>);

impl<'de: 'a, 'a, T: Deserialize<'de>> Visitor<'de> for Either<'a, T> {
    type Value = Content<'a, T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or a list")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Content::Text(text.into()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Content::Text(text.to_owned().into()))
    }

    fn visit_string<E>(self, text: String) -> Result<Self::Value, E> {
        Ok(Content::Text(text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(list)).map(Content::Parts)
    }
}

/// What a provider counted of one thing: see [`count`]. What is none does not spoil what stands around it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Count(pub(super) Option<u64>);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&RawValue>::deserialize(deserializer).map(|value| Self(count(value.get().as_bytes())))
    }
}

/// What may be left out, and is as if it was where it cannot be read.
pub(super) fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(from: D) -> Result<T, D::Error> {
    <&RawValue>::deserialize(from).map(|value| serde_json::from_str(value.get()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_without_escapes_is_not_copied() {
        let plain: Text = serde_json::from_str(r#""plain""#).unwrap();
        let escaped: Text = serde_json::from_str(r#""a\n""#).unwrap();
        assert!(matches!(plain.0, Cow::Borrowed("plain")));
        assert_eq!(&*escaped, "a\n");
    }

    #[test]
    fn content_is_a_string_or_a_list_and_nothing_else() {
        let text: Content<Text> = serde_json::from_str(r#""a""#).unwrap();
        let list: Content<Text> = serde_json::from_str(r#"["a","b"]"#).unwrap();
        assert_eq!(text, Content::Text("a".into()));
        assert_eq!(list, Content::Parts(vec!["a".into(), "b".into()]));
        assert!(serde_json::from_str::<Content<Text>>("7").is_err());
    }
}
