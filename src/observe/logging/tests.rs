use std::collections::BTreeSet;
use std::panic::catch_unwind;
use std::path::Path;

use log::{LevelFilter, MetadataBuilder, RecordBuilder};
use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// A logger that is not installed: tests run side by side.
struct Bench {
    dir: tempfile::TempDir,
    logging: Logging,
    metrics: Arc<Metrics>,
}

impl Bench {
    fn new(config: impl FnOnce(&Path) -> config::Log) -> Self {
        Self::with_journal(config, None)
    }

    fn with_journal(config: impl FnOnce(&Path) -> config::Log, journal: Option<Option<Journal>>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let identity = Identity { instance_id: "gw-1".into(), version: "0.1.0".into() };
        let metrics = Arc::new(Metrics::new(&identity));
        let stderr = LogFile::open(dir.path().join("stderr")).unwrap();
        let logging = Logging::new(&config(dir.path()), &identity, metrics.clone(), stderr, journal).unwrap();
        Self { dir, logging, metrics }
    }

    fn log(&self, target: &str, level: Level, message: &str) {
        self.log_with(target, level, message, &[]);
    }

    fn log_with(&self, target: &str, level: Level, message: &str, fields: &[(&str, log::kv::Value<'_>)]) {
        let metadata = MetadataBuilder::new().target(target).level(level).build();
        let mut record = RecordBuilder::new();
        record.metadata(metadata).file_static(Some("here.rs")).line(Some(7)).key_values(&fields);
        Logger(self.logging.shared.clone()).log(&record.args(format_args!("{message}")).build());
    }

    fn read(&self, file: &str) -> String {
        self.logging.flush();
        std::fs::read_to_string(self.dir.path().join(file)).unwrap()
    }

    fn only_json(&self) -> Value {
        let text = self.read("stderr");
        assert_eq!(text.lines().count(), 1, "{text}");
        serde_json::from_str(&text).unwrap()
    }
}

fn json_log(_: &Path) -> config::Log {
    config::Log {
        level: LevelFilter::Info,
        targets: Vec::new(),
        format: LogFormat::Json,
        file: None,
        access: None,
        audit: None,
    }
}

fn text_log(dir: &Path) -> config::Log {
    config::Log { format: LogFormat::Text, file: Some(dir.join("sluicegate.log")), ..json_log(dir) }
}

#[test]
fn a_json_line_has_exactly_the_keys_that_readers_expect() {
    let bench = Bench::new(json_log);
    bench.log("sluicegate::balance::health", Level::Warn, "member is down");
    let line = bench.only_json();
    let keys: BTreeSet<_> = line.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = ["@timestamp", "level", "logger", "message", "thread", "traceId", "spanId", "service", "instanceId"];
    assert_eq!(keys, BTreeSet::from(expected));
    assert_eq!(line["level"], "WARN");
    assert_eq!(line["logger"], "balance::health");
    assert_eq!(line["service"], "sluicegate");
    assert_eq!(line["instanceId"], "gw-1");
    let timestamp = line["@timestamp"].as_str().unwrap();
    assert!(timestamp.len() == 24 && timestamp.ends_with('Z') && timestamp.as_bytes()[19] == b'.', "{timestamp}");
}

#[test]
fn key_values_go_to_the_trace_and_to_the_context() {
    let bench = Bench::new(json_log);
    let fields = [
        ("trace_id", "0af7651916cd43dd8448eb211c80319c".into()),
        ("span_id", "b7ad6b7169203331".into()),
        ("request_id", "r-1".into()),
        ("attempts", 3.into()),
        ("sent", true.into()),
        ("share", f64::NAN.into()),
        ("request_id", "twice".into()),
    ];
    bench.log_with("proxy", Level::Info, "done", &fields);
    let line = bench.only_json();
    assert_eq!(line["traceId"], "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(line["spanId"], "b7ad6b7169203331");
    let context = serde_json::json!({"requestId": "r-1", "attempts": 3, "sent": true, "share": "NaN"});
    assert_eq!(line["context"], context);
}

#[test]
fn text_has_the_columns_of_the_pattern() {
    let bench = Bench::new(text_log);
    let fields = [("trace_id", "0af7651916cd43dd8448eb211c80319c".into()), ("member", "a b".into()), ("try", 2.into())];
    bench.log_with("sluicegate::proxy", Level::Warn, "say \"no\"\nnow", &fields);
    let text = bench.read("stderr");
    let (timestamp, rest) = text.split_once(' ').unwrap();
    assert_eq!(timestamp.len(), 24);
    let thread = std::thread::current().name().unwrap().to_owned();
    assert_eq!(
        rest,
        format!(
            "[{thread}] WARN  [0af7651916cd43dd8448eb211c80319c] proxy - say \"no\"\n    now member=\"a b\" try=2\n"
        )
    );
    assert_eq!(bench.read("sluicegate.log"), text, "the file has the same lines");
}

#[test]
fn the_journal_gets_the_priority_and_the_file_does_not() {
    let bench = Bench::with_journal(text_log, Some(None));
    bench.log("proxy", Level::Error, "broken");
    assert!(bench.read("stderr").starts_with("<3>20"));
    assert!(bench.read("sluicegate.log").starts_with("20"));
}

#[test]
fn the_journal_gets_fields_at_its_own_door() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let journal = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    let bench = Bench::with_journal(text_log, Some(Some(Journal::at(&path).unwrap())));
    let fields = [("trace_id", "0af7".into()), ("request_id", "r\n1".into()), ("odd key", 1.into())];
    bench.log_with("sluicegate::balance", Level::Warn, "one\ntwo", &fields);
    let mut record = [0; 4096];
    let length = journal.recv(&mut record).unwrap();
    let mut rest = &record[..length];
    let mut found = Vec::new();
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == b'\n').unwrap();
        let name = String::from_utf8(rest[..end].to_vec()).unwrap();
        let length = u64::from_le_bytes(rest[end + 1..end + 9].try_into().unwrap()) as usize;
        found.push((name, String::from_utf8(rest[end + 9..end + 9 + length].to_vec()).unwrap()));
        rest = &rest[end + 10 + length..];
    }
    let thread = std::thread::current();
    let expected = [
        ("MESSAGE", "one\n    two requestId=r\\n1 odd key=1"),
        ("PRIORITY", "4"),
        ("SYSLOG_IDENTIFIER", "sluicegate"),
        ("LOGGER", "balance"),
        ("THREAD", thread.name().unwrap()),
        ("INSTANCE_ID", "gw-1"),
        ("TRACE_ID", "0af7"),
        ("REQUEST_ID", "r\n1"),
    ];
    for (name, value) in expected {
        assert!(found.iter().any(|(known, said)| known == name && said == value), "{name}={value} in {found:?}");
    }
    assert_eq!(found.len(), expected.len(), "{found:?}");
    assert_eq!(bench.read("stderr"), "", "it is not told twice");
    drop(journal);
    bench.log("balance", Level::Warn, "nobody at the door");
    assert!(bench.read("stderr").starts_with("<4>20"), "{}", bench.read("stderr"));
    assert!(bench.read("sluicegate.log").lines().count() > 1, "the file has both");
}

#[test]
fn levels_format_and_file_follow_a_reload() {
    let bench = Bench::new(json_log);
    bench.log("sluicegate::balance", Level::Debug, "before");
    let mut config = text_log(bench.dir.path());
    config.targets = vec![("balance".into(), LevelFilter::Debug)];
    bench.logging.reconfigure(&config).unwrap();
    bench.log("sluicegate::balance", Level::Debug, "after");
    bench.log("sluicegate::proxy", Level::Debug, "never");
    assert_eq!(bench.read("sluicegate.log").lines().count(), 1);
    assert!(bench.read("sluicegate.log").contains("balance - after"));
}

#[test]
fn a_reload_with_a_file_that_cannot_be_opened_changes_nothing() {
    let bench = Bench::new(json_log);
    let config = config::Log {
        level: LevelFilter::Trace,
        file: Some("/nowhere/at/all.log".into()),
        ..json_log(bench.dir.path())
    };
    assert!(bench.logging.reconfigure(&config).is_err());
    bench.log("proxy", Level::Trace, "hidden");
    bench.log("proxy", Level::Info, "shown");
    assert_eq!(bench.only_json()["message"], "shown");
}

#[test]
fn a_reload_with_the_same_file_keeps_it_and_rotation_makes_a_new_one() {
    let bench = Bench::new(text_log);
    let (path, old) = (bench.dir.path().join("sluicegate.log"), bench.dir.path().join("old"));
    bench.log("proxy", Level::Info, "one");
    std::fs::rename(&path, &old).unwrap();
    bench.logging.reconfigure(&text_log(bench.dir.path())).unwrap();
    bench.log("proxy", Level::Info, "two");
    assert!(!path.exists(), "a reload alone does not rotate");
    bench.logging.reopen().unwrap();
    bench.log("proxy", Level::Info, "three");
    assert!(bench.read("old").ends_with("two\n"));
    assert!(bench.read("sluicegate.log").ends_with("three\n"));
}

#[test]
fn errors_are_counted_even_when_a_flood_is_cut() {
    let bench = Bench::new(json_log);
    for _ in 0..1_000 {
        bench.log("pingora_core::connectors", Level::Error, "upstream is gone");
    }
    let text = bench.read("stderr");
    assert!(text.contains("more lines from here.rs:7"), "{text}");
    assert!(text.lines().count() < 1_000);
    let metrics = String::from_utf8(bench.metrics.render(&[], &[])).unwrap();
    assert!(metrics.lines().any(|line| line.starts_with("jairouter_log_errors_total{") && line.ends_with(" 1000")));
}

#[test]
fn a_panic_is_described_by_place_and_message() {
    // The hook is the process's: it is only borrowed, and other tests' panics are not looked at.
    let metrics = Arc::new(Metrics::new(&Identity { instance_id: "gw-1".into(), version: "0".into() }));
    let described = Arc::new(Mutex::new(String::new()));
    let (hook, seen) = (panic::hook(metrics.clone()), described.clone());
    std::panic::set_hook(Box::new(move |info| {
        hook(info);
        if info.payload().is::<&str>() && panic::describe(info).contains("boom") {
            *seen.lock().unwrap() = panic::describe(info);
        }
    }));
    let caught = catch_unwind(|| panic!("boom"));
    let _ = std::panic::take_hook();
    assert!(caught.is_err());
    let described = described.lock().unwrap();
    assert!(
        described.starts_with("panic at src/observe/logging/tests.rs:") && described.ends_with(": boom"),
        "{described}"
    );
    let rendered = String::from_utf8(metrics.render(&[], &[])).unwrap();
    assert!(rendered.lines().any(|line| line.starts_with("sluicegate_panics_total{") && !line.ends_with(" 0")));
}

proptest! {
    #[test]
    fn any_message_is_one_line_of_json(message in any::<String>(), key in "[a-z_\"\n]{1,8}", value in any::<String>()) {
        let mut buf = Vec::new();
        let fields = Fields::of(&[(key.as_str(), value.as_str())]);
        let line = Line {
            millis: 0, level: Level::Info, logger: &message, message: &message, thread: &message,
            fields: &fields, instance_id: &message,
        };
        line.write(&mut buf, LogFormat::Json);
        let text = String::from_utf8(buf).unwrap();
        prop_assert_eq!(text.matches('\n').count(), 1);
        let parsed: Value = serde_json::from_str(&text).unwrap();
        for key in ["message", "logger", "thread", "instanceId"] {
            prop_assert_eq!(parsed[key].as_str(), Some(message.as_str()));
        }
        let written: Vec<_> = parsed["context"].as_object().unwrap().values().collect();
        prop_assert_eq!(written, [&Value::String(value)]);
    }

    #[test]
    fn any_message_is_one_line_of_text(message in any::<String>(), value in any::<String>()) {
        let mut buf = Vec::new();
        let fields = Fields::of(&[("key", value.as_str())]);
        let line = Line {
            millis: 0, level: Level::Info, logger: "a", message: &message, thread: "b", fields: &fields, instance_id: "c",
        };
        line.write(&mut buf, LogFormat::Text);
        let text = String::from_utf8(buf).unwrap();
        prop_assert!(text.ends_with('\n'));
        let broken = text.trim_end_matches('\n').chars().any(|c| c.is_control() || c == '\u{2028}');
        prop_assert!(!broken);
    }
}
