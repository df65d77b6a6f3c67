//! The loads of AI gateways: what is asked, and by which program.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::json;

/// Open connections, or streams, of every load.
pub const CONNECTIONS: usize = 64;
/// Pieces of text in an answer.
pub const PIECES: u64 = 100;
/// The path of every request.
pub const PATH: &str = "/v1/chat/completions";
/// What the mock is told for streams: a piece each 10 ms, as a fast model has them.
const STREAM_ORDER: &str = "events=100,interval=10ms,stamp";
/// The same answer without a pace.
const WHOLE_ORDER: &str = "events=100,interval=0ms";

/// A kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// wrk, whole answers; client and provider speak OpenAI's dialect.
    Chat,
    /// Event streams, the same.
    Stream,
    /// wrk, whole answers of a provider that speaks Anthropic's dialect.
    Translated,
    /// Event streams of such a one.
    TranslatedStream,
    /// ab with keep-alive, whole answers in one dialect.
    Ab,
}

impl Load {
    /// All of them, in the order of the report.
    pub const ALL: [Self; 5] = [Self::Chat, Self::Stream, Self::Translated, Self::TranslatedStream, Self::Ab];

    /// The name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Stream => "stream",
            Self::Translated => "chat-translated",
            Self::TranslatedStream => "stream-translated",
            Self::Ab => "ab-chat",
        }
    }

    /// Whether client and provider speak different dialects.
    pub fn is_translated(self) -> bool {
        matches!(self, Self::Translated | Self::TranslatedStream)
    }

    /// Whether the answers are event streams.
    pub fn is_stream(self) -> bool {
        matches!(self, Self::Stream | Self::TranslatedStream)
    }

    /// The mock's order `sse` for it.
    pub fn order(self) -> &'static str {
        if self.is_stream() { STREAM_ORDER } else { WHOLE_ORDER }
    }

    /// The request's body: a prompt of about 1 KiB.
    pub fn body(self, model: &str) -> String {
        let question = "What does a reverse proxy do with a request whose backend does not answer in time? ".repeat(11);
        let mut body = json!({
            "model": model,
            "messages": [
                {"role": "system", "content": "You answer in plain short sentences."},
                {"role": "user", "content": question.trim_end()},
            ],
            "max_tokens": 256,
        });
        if self.is_stream() {
            body["stream"] = true.into();
            body["stream_options"] = json!({"include_usage": true});
        }
        body.to_string()
    }
}

/// One peer's request under one load, as wrk and ab take it.
pub struct Shot {
    url: String,
    fields: Vec<(String, String)>,
    script: PathBuf,
    body: PathBuf,
}

impl Shot {
    /// Writes wrk's script and ab's body to files in `dir`. Errors when they cannot be written.
    pub fn write(dir: &Path, name: &str, url: String, fields: Vec<(String, String)>, body: &str) -> io::Result<Self> {
        let headers: String =
            fields.iter().map(|(name, value)| format!("wrk.headers[\"{name}\"] = \"{value}\"\n")).collect();
        let script = dir.join(format!("{name}.lua"));
        std::fs::write(
            &script,
            format!(
                "wrk.method = \"POST\"\nwrk.body = [[{body}]]\nwrk.headers[\"Content-Type\"] = \"application/json\"\n{headers}"
            ),
        )?;
        let file = dir.join(format!("{name}.json"));
        std::fs::write(&file, body)?;
        Ok(Self { url, fields, script, body: file })
    }

    /// wrk over so many connections; a slow peer's answers are waited for.
    pub fn wrk(&self, connections: usize, seconds: u32) -> Vec<String> {
        let script = self.script.display();
        let line = format!("wrk -t1 -c{connections} -d{seconds}s --timeout 60s --latency -s {script} {}", self.url);
        line.split(' ').map(str::to_owned).collect()
    }

    /// ab with keep-alive; answers may differ in length, as they do in their numbers.
    pub fn ab(&self, requests: u64) -> Vec<String> {
        let body = self.body.display();
        let line = format!("ab -q -l -k -n {requests} -c {CONNECTIONS} -p {body} -T application/json");
        let mut argv: Vec<String> = line.split(' ').map(str::to_owned).collect();
        for (name, value) in &self.fields {
            argv.extend(["-H".to_owned(), format!("{name}: {value}")]);
        }
        argv.push(self.url.clone());
        argv
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_load_asks_for_the_same_prompt() {
        let body = Load::Chat.body("m");
        assert!((1000..1100).contains(&body.len()), "{}", body.len());
        let streamed: serde_json::Value = serde_json::from_str(&Load::TranslatedStream.body("c")).unwrap();
        let whole: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(streamed["messages"], whole["messages"]);
        assert_eq!((streamed["stream"].as_bool(), streamed["model"].as_str()), (Some(true), Some("c")));
    }

    #[test]
    fn both_programs_send_the_fields_and_the_body() {
        let dir = std::env::temp_dir();
        let name = format!("sluicegate-shot-test-{}", std::process::id());
        let fields = vec![("Authorization".to_owned(), "Bearer k".to_owned())];
        let shot = Shot::write(&dir, &name, "http://h/".to_owned(), fields, "{\"a\":[1]}").unwrap();
        let script = std::fs::read_to_string(dir.join(format!("{name}.lua"))).unwrap();
        assert!(script.contains("wrk.headers[\"Authorization\"] = \"Bearer k\"\n"), "{script}");
        assert!(script.contains("wrk.body = [[{\"a\":[1]}]]"), "{script}");
        let ab = shot.ab(7);
        let field = ab.windows(2).any(|two| two == ["-H".to_owned(), "Authorization: Bearer k".to_owned()]);
        assert!(field && ab.last().is_some_and(|url| url == "http://h/"), "{ab:?}");
        for end in ["lua", "json"] {
            std::fs::remove_file(dir.join(format!("{name}.{end}"))).unwrap();
        }
    }
}
