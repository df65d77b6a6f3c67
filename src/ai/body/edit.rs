//! The body that goes on: the bytes that came, but for what has to differ.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;

use super::Asked;

/// Changes of the members of a body. Each byte that no change concerns stays, and its place among the others, too.
#[derive(Debug)]
pub struct Edit<'a> {
    asked: &'a Asked,
    /// By the place of the member; the last one counts.
    changes: Vec<(usize, Change<'a>)>,
    /// New members, to come last.
    added: Vec<(&'a str, Cow<'a, [u8]>)>,
}

#[derive(Debug)]
enum Change<'a> {
    Value(Cow<'a, [u8]>),
    Removed,
}

impl<'a> Edit<'a> {
    pub(super) fn new(asked: &'a Asked) -> Self {
        Self { asked, changes: Vec::new(), added: Vec::new() }
    }

    /// Another name for the model.
    #[must_use]
    pub fn model(self, name: &str) -> Self {
        let written = self.asked.text("model");
        if written.as_deref().or_else(|| self.asked.implied.then(|| self.asked.model())) == Some(name) {
            return self;
        }
        let quoted = serde_json::Value::from(name).to_string();
        self.set("model", quoted.into_bytes())
    }

    /// Asks for usage in the stream, and keeps what else the options say.
    #[must_use]
    pub fn include_usage(self) -> Self {
        if self.asked.include_usage {
            return self;
        }
        let options = self.with_usage();
        self.set("stream_options", options)
    }

    /// Asks for a stream, or for none.
    #[must_use]
    pub fn stream(self, stream: bool) -> Self {
        if self.asked.stream == stream {
            return self;
        }
        self.set("stream", if stream { b"true".as_slice() } else { b"false" })
    }

    /// Gives a member a value, which is JSON; adds it where it is not there.
    #[must_use]
    pub fn set(mut self, name: &'a str, json: impl Into<Cow<'a, [u8]>>) -> Self {
        let json = json.into();
        if let Some(at) = self.asked.find(name) {
            self.changes.push((at, Change::Value(json)));
        } else {
            self.added.retain(|(other, _)| *other != name);
            self.added.push((name, json));
        }
        self
    }

    /// Leaves a member out.
    #[must_use]
    pub fn remove(mut self, name: &str) -> Self {
        self.added.retain(|(other, _)| *other != name);
        if let Some(at) = self.asked.find(name) {
            self.changes.push((at, Change::Removed));
        }
        self
    }

    /// The body with all changes: the very one that came where there is none.
    pub fn build(&self) -> Bytes {
        let asked = self.asked;
        if self.changes.is_empty() && self.added.is_empty() {
            return asked.body.clone();
        }
        let mut out = Vec::with_capacity(asked.body.len() + self.longer());
        out.extend_from_slice(self.part(0..asked.open));
        let mut end = asked.open;
        let mut empty = true;
        for (at, member) in asked.members.iter().enumerate() {
            // The comma, the name and the colon, with the blanks between them.
            let mut lead = self.part(end..member.value.start);
            end = member.value.end;
            let value = match self.change(at) {
                None => self.part(member.value.clone()),
                Some(Change::Value(value)) => value,
                Some(Change::Removed) => continue,
            };
            if empty && at > 0 {
                let comma = lead.iter().position(|byte| *byte == b',').map_or(0, |comma| comma + 1);
                lead = lead.get(comma..).unwrap_or_default();
            }
            out.extend_from_slice(lead);
            out.extend_from_slice(value);
            empty = false;
        }
        for (name, value) in &self.added {
            if !empty {
                out.push(b',');
            }
            out.extend_from_slice(serde_json::Value::from(*name).to_string().as_bytes());
            out.push(b':');
            out.extend_from_slice(value);
            empty = false;
        }
        out.extend_from_slice(self.part(end..asked.body.len()));
        out.into()
    }

    fn change(&self, at: usize) -> Option<&Change<'a>> {
        self.changes.iter().rev().find(|(other, _)| *other == at).map(|(_, change)| change)
    }

    /// How much longer the body may become.
    fn longer(&self) -> usize {
        let changed = self.changes.iter().map(|(_, change)| match change {
            Change::Value(value) => value.len(),
            Change::Removed => 0,
        });
        changed.chain(self.added.iter().map(|(name, value)| name.len() * 2 + value.len() + 4)).sum()
    }

    fn part(&self, range: Range<usize>) -> &'a [u8] {
        self.asked.body.get(range).unwrap_or_default()
    }

    /// The options that came, with the wish for usage.
    fn with_usage(&self) -> Vec<u8> {
        const USAGE: &[u8] = b"\"include_usage\":true";
        let options = self.asked.member_at("stream_options").filter(|_| self.asked.stream_options);
        let Some(options) = options else {
            return [b"{", USAGE, b"}"].concat();
        };
        if let Some(usage) = self.asked.usage_at.clone() {
            return [self.part(options.start..usage.start), b"true", self.part(usage.end..options.end)].concat();
        }
        let inner = self.part(options.start + 1..options.end);
        let comma: &[u8] = if inner.trim_ascii_start() == b"}" { b"" } else { b"," };
        [b"{", USAGE, comma, inner].concat()
    }
}
