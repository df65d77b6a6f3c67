//! One line of the process log as bytes.

use std::fmt::Write;

use log::Level;
use log::kv::{self, Key, Source, Value, VisitSource, VisitValue};

use crate::config::LogFormat;
use crate::observe::{SERVICE, escape, timestamp};

/// Bytes of a message, before escaping; the rest is cut off.
const MESSAGE_MOST: usize = 16 * 1024;
/// Bytes of one value, before escaping.
const VALUE_MOST: usize = 2 * 1024;
/// Key-values of one record.
const FIELDS_MOST: usize = 32;

/// What a line says.
pub(super) struct Line<'a> {
    pub(super) millis: u64,
    pub(super) level: Level,
    pub(super) logger: &'a str,
    pub(super) message: &'a str,
    pub(super) thread: &'a str,
    pub(super) fields: &'a Fields,
    pub(super) instance_id: &'a str,
}

/// A record's key-values.
#[derive(Debug, Default)]
pub(super) struct Fields {
    trace_id: String,
    span_id: String,
    /// All others, keys in camel case.
    context: Vec<(String, Scalar)>,
}

#[derive(Debug)]
struct Scalar {
    text: String,
    /// Whether JSON wants quotes around it.
    quoted: bool,
}

impl Line<'_> {
    /// Appends the line and its line feed.
    pub(super) fn write(&self, buf: &mut Vec<u8>, format: LogFormat) {
        match format {
            LogFormat::Json => self.json(buf),
            LogFormat::Text => self.text(buf),
        }
    }

    fn json(&self, buf: &mut Vec<u8>) {
        buf.extend_from_slice(b"{\"@timestamp\":\"");
        timestamp::rfc3339(buf, self.millis);
        buf.push(b'"');
        let message = escape::truncate(self.message.as_bytes(), MESSAGE_MOST);
        let members = [
            ("level", self.level.as_str().as_bytes()),
            ("logger", self.logger.as_bytes()),
            ("message", message),
            ("thread", self.thread.as_bytes()),
            ("traceId", self.fields.trace_id.as_bytes()),
            ("spanId", self.fields.span_id.as_bytes()),
            ("service", SERVICE.as_bytes()),
            ("instanceId", self.instance_id.as_bytes()),
        ];
        for (key, value) in members {
            buf.push(b',');
            quoted(buf, key.as_bytes());
            buf.push(b':');
            quoted(buf, value);
        }
        if !self.fields.context.is_empty() {
            buf.extend_from_slice(b",\"context\":{");
            for (n, (key, value)) in self.fields.context.iter().enumerate() {
                if n > 0 {
                    buf.push(b',');
                }
                quoted(buf, key.as_bytes());
                buf.push(b':');
                if value.quoted {
                    quoted(buf, value.text.as_bytes())
                } else {
                    buf.extend_from_slice(value.text.as_bytes())
                }
            }
            buf.push(b'}');
        }
        buf.extend_from_slice(b"}\n");
    }

    fn text(&self, buf: &mut Vec<u8>) {
        timestamp::rfc3339(buf, self.millis);
        buf.extend_from_slice(b" [");
        escape::text(buf, self.thread.as_bytes());
        buf.extend_from_slice(b"] ");
        buf.extend_from_slice(match self.level {
            Level::Error => b"ERROR",
            Level::Warn => b"WARN ",
            Level::Info => b"INFO ",
            Level::Debug => b"DEBUG",
            Level::Trace => b"TRACE",
        });
        buf.extend_from_slice(b" [");
        escape::text(buf, self.fields.trace_id.as_bytes());
        buf.extend_from_slice(b"] ");
        escape::text(buf, self.logger.as_bytes());
        buf.extend_from_slice(b" - ");
        self.say(buf);
        buf.push(b'\n');
    }

    /// The message and the key-values, as people read them.
    pub(super) fn said(&self) -> Vec<u8> {
        let mut said = Vec::with_capacity(256);
        self.say(&mut said);
        said
    }

    fn say(&self, buf: &mut Vec<u8>) {
        // A message of several lines stays readable; an indented line cannot pass for a record of its own.
        for (index, line) in
            escape::truncate(self.message.as_bytes(), MESSAGE_MOST).split(|&byte| byte == b'\n').enumerate()
        {
            if index > 0 {
                buf.extend_from_slice(b"\n    ");
            }
            escape::text(buf, line);
        }
        for (key, value) in &self.fields.context {
            buf.push(b' ');
            escape::text(buf, key.as_bytes());
            buf.push(b'=');
            if value.text.contains([' ', '"', '=']) || value.text.is_empty() {
                quoted(buf, value.text.as_bytes());
            } else {
                escape::text(buf, value.text.as_bytes());
            }
        }
    }
}

impl Fields {
    /// All of them, with names as the journal wants them: `requestId` is `REQUEST_ID`. What is no such name is left out.
    pub(super) fn all(&self) -> impl Iterator<Item = (String, &str)> {
        let ids = [("TRACE_ID", &self.trace_id), ("SPAN_ID", &self.span_id)];
        let ids = ids.into_iter().filter(|(_, id)| !id.is_empty()).map(|(name, id)| (name.to_owned(), id.as_str()));
        let context = self.context.iter().filter_map(|(key, value)| Some((journal_name(key)?, value.text.as_str())));
        ids.chain(context)
    }

    /// The key-values of a record, at most 32, each key once.
    pub(super) fn of(source: &dyn Source) -> Self {
        let mut fields = Self::default();
        // The visitor itself never fails.
        let _ = source.visit(&mut fields);
        fields
    }
}

impl<'kvs> VisitSource<'kvs> for Fields {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        let mut scalar = Scalar { text: String::new(), quoted: true };
        value.visit(&mut scalar)?;
        scalar.text.truncate(escape::truncate(scalar.text.as_bytes(), VALUE_MOST).len());
        match key.as_str() {
            "trace_id" => self.trace_id = scalar.text,
            "span_id" => self.span_id = scalar.text,
            key => {
                let key = camel_case(key);
                if self.context.len() < FIELDS_MOST && self.context.iter().all(|(known, _)| *known != key) {
                    self.context.push((key, scalar));
                }
            }
        }
        Ok(())
    }
}

impl Scalar {
    fn bare(&mut self, value: impl std::fmt::Display) {
        // Writing to a String cannot fail.
        let _ = write!(self.text, "{value}");
        self.quoted = false;
    }
}

impl VisitValue<'_> for Scalar {
    fn visit_any(&mut self, value: Value<'_>) -> Result<(), kv::Error> {
        let _ = write!(self.text, "{value}");
        Ok(())
    }

    fn visit_null(&mut self) -> Result<(), kv::Error> {
        self.bare("null");
        Ok(())
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), kv::Error> {
        self.bare(value);
        Ok(())
    }

    fn visit_i64(&mut self, value: i64) -> Result<(), kv::Error> {
        self.bare(value);
        Ok(())
    }

    fn visit_bool(&mut self, value: bool) -> Result<(), kv::Error> {
        self.bare(value);
        Ok(())
    }

    fn visit_f64(&mut self, value: f64) -> Result<(), kv::Error> {
        self.bare(value);
        // JSON has no infinity.
        self.quoted = !value.is_finite();
        Ok(())
    }
}

/// The level as syslog(3) counts them, in a digit.
pub(super) fn priority(level: Level) -> u8 {
    match level {
        Level::Error => b'3',
        Level::Warn => b'4',
        Level::Info => b'6',
        Level::Debug | Level::Trace => b'7',
    }
}

fn quoted(buf: &mut Vec<u8>, text: &[u8]) {
    buf.push(b'"');
    escape::json(buf, text);
    buf.push(b'"');
}

/// `requestId` becomes `REQUEST_ID`; `None` for a key that can be no name there.
fn journal_name(key: &str) -> Option<String> {
    if !key.starts_with(|first: char| first.is_ascii_alphabetic())
        || !key.bytes().all(|byte| byte.is_ascii_alphanumeric())
    {
        return None;
    }
    let mut name = String::with_capacity(key.len() + 2);
    for letter in key.chars() {
        if letter.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    Some(name)
}

/// `request_id` becomes `requestId`.
fn camel_case(key: &str) -> String {
    let mut words = key.split('_');
    let mut camel = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        camel.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        camel.push_str(letters.as_str());
    }
    camel
}
