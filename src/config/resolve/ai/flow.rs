//! Client credentials of Flow (row C10): a file with a JSON array, which people also write with comments, single quotes,
//! bare keys and commas at the end (JSON5). No message shows a value of it.

use std::fmt;
use std::path::Path;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_path_to_error::{Segment, Track};

use super::super::{Resolver, tls};
use super::keys::Keys;
use crate::config::ai::{KeySecret, ProviderKey};
use crate::config::problem::{Finding, KeyPath, nearest};
use crate::config::raw::RawProvider;
use crate::config::secret::Secret;
use crate::config::values;

/// The most entries of the file.
const MAX_ENTRIES: usize = 1000;
/// The longest value of an entry, in bytes.
const MAX_VALUE: usize = 1024;

/// The credentials that the file of `credentials` holds.
pub(super) fn credentials(path: &KeyPath, raw: &RawProvider, enabled: bool, resolver: &mut Resolver<'_>) -> Keys {
    let mut found = Keys { keys: Vec::new(), lacking: None };
    if raw.credentials.as_deref() == Some("") {
        found.lacking = Some(("credentials", "the path of the credentials is empty"));
        return found;
    }
    let place = path.key("credentials");
    let Some(file) = tls::file(&place, raw.credentials.as_ref(), resolver) else {
        if raw.credentials.is_none() && enabled {
            resolver.missing(path, "credentials", "the path of a file such as /etc/sluicegate/secrets.json");
        }
        return found;
    };
    // Of a provider that is switched off on purpose, nothing needs to be there.
    if !enabled {
        return found;
    }
    match read(&file, resolver) {
        Ok(keys) => {
            found.keys = keys;
            resolver.warn_of_readers(&place, &file);
        }
        Err(reasons) => {
            for reason in reasons {
                let finding = Finding::value(&place, format!("{}: {reason}", file.display()));
                resolver.report(finding.expected("a list of { name, clientId, clientSecret, tenant }"));
            }
        }
    }
    found
}

fn read(file: &Path, resolver: &Resolver<'_>) -> Result<Vec<ProviderKey>, Vec<String>> {
    let one = |reason: String| vec![reason];
    let bytes = resolver.environment.read(file).map_err(|reason| one(format!("the file {reason}")))?;
    let text = String::from_utf8(bytes).map_err(|_| one("the file is not UTF-8 text".to_owned()))?;
    let entries = parse(text.strip_prefix('\u{feff}').unwrap_or(&text)).map_err(one)?;
    keys(&entries, resolver.overrides.insecure_dev)
}

/// The shape of the file. The error names the place.
fn parse(text: &str) -> Result<Vec<Entry>, String> {
    let error = match json5::from_str(text) {
        Ok(entries) => return Ok(entries),
        Err(error) => error,
    };
    if error.code().is_some() {
        return Err(syntax(&error));
    }
    // Read again, for the place: the plain way also reads what stands behind the list, and knows no path.
    let (mut json, mut track) = (json5::Deserializer::from_str(text), Track::new());
    let again = Vec::<Entry>::deserialize(serde_path_to_error::Deserializer::new(&mut json, &mut track));
    let error = again.err().unwrap_or(error);
    Err(format!("{}{error}", shown(&track.path())))
}

fn syntax(error: &json5::Error) -> String {
    let at = error.position().map(|at| format!(" at line {}, column {}", at.line + 1, at.column + 1));
    let what = error.code().map_or_else(|| "it cannot be read".to_owned(), |code| code.to_string());
    format!("not valid JSON: {what}{}", at.unwrap_or_default())
}

/// `[2].tenant: `.
fn shown(path: &serde_path_to_error::Path) -> String {
    let steps = path.iter().filter_map(|segment| match segment {
        Segment::Seq { index } => Some(format!("[{index}]")),
        Segment::Map { key } => Some(format!(".{key}")),
        _ => None,
    });
    let steps: String = steps.collect();
    if steps.is_empty() { steps } else { format!("{steps}: ") }
}

/// The keys: entries that stand there several times are one with a larger share.
fn keys(entries: &[Entry], insecure_dev: bool) -> Result<Vec<ProviderKey>, Vec<String>> {
    if entries.is_empty() {
        return Err(vec!["the list is empty".to_owned()]);
    }
    if entries.len() > MAX_ENTRIES {
        return Err(vec![format!("the list has {} entries; {MAX_ENTRIES} are the most", entries.len())]);
    }
    let (mut found, mut wrong): (Vec<(usize, ProviderKey)>, Vec<String>) = (Vec::new(), Vec::new());
    for (index, entry) in entries.iter().enumerate() {
        let reasons = entry.reasons(insecure_dev);
        wrong.extend(reasons.iter().map(|(field, reason)| format!("[{index}].{field} {reason}")));
        let Some(key) = entry.key().filter(|_| reasons.is_empty()) else { continue };
        let same = found.iter_mut().find(|(_, other)| other.name == key.name || other.secret == key.secret);
        match same {
            None => found.push((index, key)),
            Some((_, other)) if other.name == key.name && other.secret == key.secret => other.weight += 1,
            Some((first, other)) if other.name == key.name => {
                wrong.push(format!("[{index}].name is that of [{first}], and the credentials are others"));
            }
            Some((first, _)) => wrong.push(format!("[{index}] has the credentials of [{first}] under another name")),
        }
    }
    if wrong.is_empty() { Ok(found.into_iter().map(|(_, key)| key).collect()) } else { Err(wrong) }
}

// Debug is left out: it holds a secret.
#[derive(Default)]
struct Entry {
    name: Value,
    client_id: Value,
    client_secret: Value,
    tenant: Value,
}

/// The fields of an entry; the last two belong to other programs that read the file.
const FIELDS: [&str; 6] = ["name", "clientId", "clientSecret", "tenant", "agent", "appToAccess"];

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Entry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }

            // A field that is none is not shown: in a damaged file it may be a piece of a secret.
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entry, A::Error> {
                let (mut entry, mut other) = (Entry::default(), [Value::default(), Value::default()]);
                while let Some(field) = map.next_key::<String>()? {
                    let [agent, app] = &mut other;
                    let place = match field.as_str() {
                        "name" => &mut entry.name,
                        "clientId" => &mut entry.client_id,
                        "clientSecret" => &mut entry.client_secret,
                        "tenant" => &mut entry.tenant,
                        "agent" => agent,
                        "appToAccess" => app,
                        _ => {
                            return Err(A::Error::custom(match nearest(&field, FIELDS) {
                                Some(near) => format!("a field is unknown, did you mean {near}?"),
                                None => "a field is unknown".to_owned(),
                            }));
                        }
                    };
                    if place.0.is_some() {
                        return Err(A::Error::custom(format!("{field} stands here twice")));
                    }
                    *place = map.next_value()?;
                }
                Ok(entry)
            }
        }

        // As a struct, which is a map and nothing else.
        deserializer.deserialize_struct("Entry", &FIELDS, Fields)
    }
}

impl Entry {
    /// The fields that are no good, and why.
    fn reasons(&self, insecure_dev: bool) -> Vec<(&'static str, &'static str)> {
        let fields = [
            ("name", &self.name),
            ("clientId", &self.client_id),
            ("clientSecret", &self.client_secret),
            ("tenant", &self.tenant),
        ];
        let reason = |(field, value): (&'static str, &Value)| {
            let text = match &value.0 {
                None => return Some((field, "is missing")),
                Some(text) => text.as_str(),
            };
            let plain = |c: char| !c.is_control();
            Some(match field {
                _ if text.trim().is_empty() => (field, "is empty"),
                _ if text.len() > MAX_VALUE || !text.chars().all(plain) => {
                    (field, "is too long, or has control characters")
                }
                "name" if values::name(text, "").is_err() => {
                    (field, "is no name: at most 64 letters, digits, `_`, `-` and `.`")
                }
                "clientSecret" if crate::config::secret::is_placeholder(text) && !insecure_dev => {
                    (field, "is a well-known placeholder")
                }
                _ => return None,
            })
        };
        fields.into_iter().filter_map(reason).collect()
    }

    fn key(&self) -> Option<ProviderKey> {
        let secret = KeySecret::Flow {
            client_id: self.client_id.0.clone()?,
            client_secret: Secret::new(self.client_secret.0.clone()?)?,
            tenant: self.tenant.0.clone()?,
        };
        Some(ProviderKey { name: self.name.0.as_deref()?.into(), weight: 1, secret })
    }
}

/// A string, or nothing. Anything else is refused without a word of what it is, and without being read: it may be a
/// secret, and may be nested without end.
#[derive(Default)]
struct Value(Option<String>);

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        fn found<T, E: Error>(what: &str) -> Result<T, E> {
            Err(E::custom(format_args!("{what} stands here; expected a string")))
        }

        impl<'de> Visitor<'de> for Text {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
                Ok(Value(Some(text.to_owned())))
            }

            fn visit_bool<E: Error>(self, _: bool) -> Result<Value, E> {
                found("true or false")
            }

            fn visit_i64<E: Error>(self, _: i64) -> Result<Value, E> {
                found("a number")
            }

            fn visit_u64<E: Error>(self, _: u64) -> Result<Value, E> {
                found("a number")
            }

            fn visit_f64<E: Error>(self, _: f64) -> Result<Value, E> {
                found("a number")
            }

            fn visit_unit<E: Error>(self) -> Result<Value, E> {
                found("null")
            }

            fn visit_none<E: Error>(self) -> Result<Value, E> {
                found("null")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Value, A::Error> {
                found("a list")
            }

            fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<Value, A::Error> {
                found("a map")
            }
        }

        deserializer.deserialize_any(Text)
    }
}
