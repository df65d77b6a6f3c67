//! Server-sent events as a client reads them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use serde_json::Value;

use crate::support::client::Stream;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its `event`; empty when it has none.
    pub name: String,
    /// Its `data`, several lines joined by a line end.
    pub data: String,
}

impl Event {
    /// Its data as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|error| panic!("not JSON ({error}): {:?}", self.data))
    }

    /// Whether it is OpenAI's last.
    pub fn is_done(&self) -> bool {
        self.data == "[DONE]"
    }
}

/// A stream of events, read one by one.
pub struct Events {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// Comments so far.
    pub comments: usize,
    stream: Stream,
    buffer: String,
    broken: Vec<u8>,
    after_return: bool,
}

impl Events {
    /// The events of an answer that has begun.
    pub fn new(stream: Stream) -> Self {
        let (status, headers) = (stream.status, stream.headers.clone());
        Self { status, headers, comments: 0, stream, buffer: String::new(), broken: Vec::new(), after_return: false }
    }

    /// A header's value; empty when it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The next event; `None` at the end of the body.
    pub async fn next(&mut self) -> Option<Event> {
        self.try_next().await.expect("the stream goes on")
    }

    /// The next event; `None` at the end of the body, an error when it breaks off.
    pub async fn try_next(&mut self) -> Result<Option<Event>, reqwest::Error> {
        loop {
            while let Some((block, rest)) = self.buffer.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.buffer = rest;
                self.comments += block.lines().filter(|line| line.starts_with(':')).count();
                if let Some(event) = read(&block) {
                    return Ok(Some(event));
                }
            }
            let Some(piece) = self.stream.try_piece().await? else {
                assert!(self.buffer.trim().is_empty(), "the body ends inside of an event: {:?}", self.buffer);
                return Ok(None);
            };
            self.take(&piece);
        }
    }

    /// All that are still to come.
    pub async fn rest(&mut self) -> Vec<Event> {
        let mut all = Vec::new();
        while let Some(event) = self.next().await {
            all.push(event);
        }
        all
    }

    /// Reads until an event's data holds `text`, and gives those up to it.
    pub async fn until(&mut self, text: &str) -> Vec<Event> {
        let mut all = Vec::new();
        loop {
            let event = self.next().await.unwrap_or_else(|| panic!("no {text:?} in {all:#?}"));
            let found = event.data.contains(text);
            all.push(event);
            if found {
                return all;
            }
        }
    }

    /// Adds a piece whose last character may be cut.
    fn take(&mut self, piece: &[u8]) {
        self.broken.extend_from_slice(piece);
        let whole = match std::str::from_utf8(&self.broken) {
            Ok(text) => text.len(),
            Err(error) => error.valid_up_to(),
        };
        let rest = self.broken.split_off(whole);
        let text = String::from_utf8(std::mem::replace(&mut self.broken, rest)).expect("checked");
        // A line end that a cut has parted is one all the same.
        let text = if self.after_return { text.strip_prefix('\n').unwrap_or(&text) } else { &text };
        self.after_return = text.ends_with('\r');
        self.buffer.push_str(&plain(text));
    }
}

/// The events of a whole body.
pub fn events(body: &str) -> Vec<Event> {
    plain(body).split("\n\n").filter_map(read).collect()
}

/// The same with `\n` for each of the line ends that the standard allows, and no byte order mark.
fn plain(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n").trim_start_matches('\u{feff}').to_owned()
}

fn read(block: &str) -> Option<Event> {
    let field = |name: &str| {
        let values = block.lines().filter_map(move |line| {
            let rest = line.strip_prefix(name)?.strip_prefix(':')?;
            Some(rest.strip_prefix(' ').unwrap_or(rest))
        });
        values.collect::<Vec<_>>()
    };
    let (names, data) = (field("event"), field("data"));
    if data.is_empty() {
        return None;
    }
    Some(Event { name: names.last().copied().unwrap_or_default().to_owned(), data: data.join("\n") })
}

/// The number and the age of a piece of text of `chat/completions` that the mock stamped (its order `sse` with `stamp`).
pub fn stamped(event: &Event) -> Option<(u64, Duration)> {
    if event.is_done() {
        return None;
    }
    let chunk = event.json();
    let (number, made) = chunk["choices"][0]["delta"]["content"].as_str()?.trim().split_once('@')?;
    let made = UNIX_EPOCH + Duration::from_micros(made.parse().ok()?);
    Some((number.parse().ok()?, SystemTime::now().duration_since(made).unwrap_or_default()))
}
