//! What each direction makes of each file in `golden`, as it was looked at and kept.

use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::*;
use crate::ai::sse::{Decoder, MAX_EVENT};

/// The files of a folder, by name.
pub(super) fn files(folder: &str) -> Vec<(String, String)> {
    let folder = root().join(folder);
    let entries = std::fs::read_dir(&folder).expect("the folder is there").map(|entry| entry.unwrap().path());
    let inputs = entries.filter(|path| path.extension().is_some_and(|ending| ending == "json" || ending == "sse"));
    let mut files: Vec<_> = inputs.map(|path| (stem(&path), std::fs::read_to_string(path).unwrap())).collect();
    files.sort();
    assert!(!files.is_empty(), "{} has files", folder.display());
    files
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ai/dialect/golden")
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap().to_string_lossy().into_owned()
}

fn compare(folder: &str, name: &str, text: &str) {
    insta::with_settings!({
        snapshot_path => root().join(folder), prepend_module_to_snapshot => false, omit_expression => true,
    }, { insta::assert_snapshot!(name, text) });
}

fn pretty(json: &[u8]) -> String {
    let value: Value = serde_json::from_slice(json).expect("it is JSON");
    serde_json::to_string_pretty(&value).unwrap()
}

pub(super) fn notes() -> Notes {
    Notes {
        stream: true,
        include_usage: true,
        one_call: false,
        model: "asked-for".to_owned(),
        id: "gen-0".to_owned(),
        created: 1_700_000_000,
        names: HashMap::new(),
    }
}

const PROVIDERS: [(Dialect, [(Dialect, &str); 2]); 2] = [
    (Dialect::Chat, [(Dialect::Messages, "messages"), (Dialect::Gemini, "gemini")]),
    (Dialect::Messages, [(Dialect::Chat, "chat"), (Dialect::Gemini, "gemini")]),
];

fn asked_of(client: Dialect, provider: Dialect, text: &str) -> String {
    let model = serde_json::from_str::<Value>(text).unwrap()["model"].as_str().unwrap().to_owned();
    match request(client, provider, text.as_bytes(), &model) {
        Ok(translated) => pretty(&translated.body),
        Err(refused) => format!("400 ({}) {}", refused.param.unwrap_or_default(), refused.message),
    }
}

#[test]
fn requests_are_asked_as_before() {
    for (client, providers) in PROVIDERS {
        let folder = if client == Dialect::Chat { "request/chat" } else { "request/messages" };
        for (name, text) in files(folder) {
            let outcome = providers.map(|(provider, to)| format!("{to}: {}", asked_of(client, provider, &text)));
            compare(folder, &name, &outcome.join("\n"));
        }
    }
}

#[test]
fn what_cannot_be_asked_is_refused_with_the_name_of_the_field() {
    for (client, providers) in PROVIDERS {
        let name = if client == Dialect::Chat { "chat_refused" } else { "messages_refused" };
        let text = std::fs::read_to_string(root().join("request").join(format!("{name}.json"))).unwrap();
        let cases: serde_json::Map<String, Value> = serde_json::from_str(&text).unwrap();
        let mut outcome = Vec::new();
        for (case, body) in cases {
            for (provider, to) in providers {
                let asked = asked_of(client, provider, &body.to_string());
                let asked = if asked.starts_with("400") { asked } else { "is asked".to_owned() };
                outcome.push(format!("{case} -> {to}: {asked}"));
            }
        }
        compare("request", name, &outcome.join("\n"));
    }
}

type From = (Dialect, &'static str, &'static [(Dialect, &'static str)]);

/// Where the answers of which provider are, and for which clients.
pub(super) const DIRECTIONS: [From; 3] = [
    (Dialect::Messages, "messages", &[(Dialect::Chat, "chat")]),
    (Dialect::Chat, "chat", &[(Dialect::Messages, "messages")]),
    (Dialect::Gemini, "gemini", &[(Dialect::Chat, "chat"), (Dialect::Messages, "messages")]),
];

#[test]
fn answers_are_given_as_before() {
    for (provider, from, clients) in DIRECTIONS {
        let folder = format!("answer/{from}");
        for (name, text) in files(&folder) {
            let given = clients.iter().map(|(client, to)| match answer(provider, *client, text.as_bytes(), &notes()) {
                Ok(body) => format!("{to}: {}", pretty(&body)),
                Err(malformed) => format!("{to}: malformed: {malformed}"),
            });
            compare(&folder, &name, &given.collect::<Vec<_>>().join("\n"));
        }
    }
}

/// A stream as its client gets it, and what was wrong with it. `cut` says where the chunks end.
pub(super) fn streamed(
    (provider, client): (Dialect, Dialect),
    sse: &[u8],
    cut: impl IntoIterator<Item = usize>,
) -> (String, Option<Malformed>) {
    let mut decoder = Decoder::new(MAX_EVENT);
    let mut stream = Stream::new(provider, client, notes());
    let mut out = Vec::new();
    let mut start = 0;
    for end in cut.into_iter().chain([sse.len()]) {
        decoder.push(Bytes::copy_from_slice(&sse[start..end]));
        start = end;
        while let Some(frame) = decoder.next() {
            let frame = frame.unwrap();
            if !frame.has_data() {
                continue;
            }
            if let Err(malformed) = stream.event(frame.data(), &mut out) {
                return (String::from_utf8(out).unwrap(), Some(malformed));
            }
        }
    }
    let end = stream.finish(&mut out).err();
    assert_eq!(stream.is_complete(), end.is_none());
    (String::from_utf8(out).unwrap(), end)
}

#[test]
fn streams_are_given_as_before() {
    for (provider, from, clients) in DIRECTIONS {
        let folder = format!("stream/{from}");
        for (name, sse) in files(&folder) {
            let given = clients.iter().map(|(client, to)| {
                let (text, malformed) = streamed((provider, *client), sse.as_bytes(), []);
                let end = malformed.map(|malformed| format!("malformed: {malformed}\n")).unwrap_or_default();
                format!("{to}:\n{text}{end}")
            });
            compare(&folder, &name, &given.collect::<Vec<_>>().join("\n"));
        }
    }
}

#[test]
fn how_a_stream_is_cut_makes_no_difference() {
    for (provider, from, clients) in DIRECTIONS {
        for (name, sse) in files(&format!("stream/{from}")) {
            for (client, _) in clients {
                let pair = (provider, *client);
                let whole = streamed(pair, sse.as_bytes(), []);
                assert_eq!(whole, streamed(pair, sse.as_bytes(), 1..sse.len()), "{name}, byte by byte");
                for at in 1..sse.len() {
                    assert_eq!(whole, streamed(pair, sse.as_bytes(), [at]), "{name}, cut at {at}");
                }
            }
        }
    }
}
