//! What is made from the language of the configuration and from the commands: JSON Schemas, man pages, completions.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking, and says what it leaves out")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use sluicegate::config::language;
use tempfile::TempDir;

/// The exit code of a check that cannot run here.
const SKIPPED: i32 = 77;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Everything that the program makes.
fn generated() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let status = Command::new(env!("CARGO_BIN_EXE_sluicegate")).arg("generate").arg(directory.path()).status().unwrap();
    assert!(status.success());
    directory
}

/// What a real validator says of `files`, a line each. `None`: there is none here.
fn validate(schema: &Path, files: &[PathBuf]) -> Option<Vec<String>> {
    let output = Command::new(root().join("tests/language/validate")).arg(schema).args(files).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.code() == Some(SKIPPED) {
        eprintln!("{said}");
        return None;
    }
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<String> = said.lines().map(ToOwned::to_owned).collect();
    assert_eq!(lines.len(), files.len(), "{said}");
    Some(lines)
}

/// `text` in a file of its own.
fn file(directory: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = directory.path().join(name);
    fs::write(&path, text).unwrap();
    path
}

/// The fields of the raw types, as they are written in the sources.
fn fields() -> BTreeSet<String> {
    let raw = root().join("src/config/raw");
    let parts = fs::read_dir(&raw).unwrap().map(|entry| entry.unwrap().path());
    let text: String = parts
        .chain([raw.with_extension("rs")])
        .map(|path| fs::read_to_string(path).unwrap())
        .collect::<Vec<_>>()
        .join("\n");
    let field = |line: &str| {
        let line = line.trim();
        let line = line.strip_prefix("pub(super) ").or_else(|| line.strip_prefix("pub(in crate::config) "))?;
        let (name, _) = line.split_once(": ")?;
        let name = name.trim_start_matches("r#");
        name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_').then(|| name.to_owned())
    };
    text.lines().filter_map(field).collect()
}

#[test]
fn every_shipped_file_fits_the_schema() {
    let made = generated();
    let examples = fs::read_dir(root().join("conf/examples")).unwrap().map(|entry| entry.unwrap().path());
    let (keys, mut files): (Vec<_>, Vec<_>) = examples.partition(|path| path.ends_with("api-keys.yaml"));
    files.push(root().join("conf/sluicegate.yaml"));
    files.push(file(&made, "everything.yaml", &language::everything()));
    for (schema, files) in [("sluicegate.schema.json", files), ("api-keys.schema.json", keys)] {
        assert!(!files.is_empty());
        let Some(said) = validate(&made.path().join(schema), &files) else { return };
        let wrong: Vec<&String> = said.iter().filter(|line| !line.ends_with(": ok")).collect();
        assert!(wrong.is_empty(), "{schema}: {wrong:#?}");
    }
}

#[test]
fn wrong_files_do_not_fit_the_schema() {
    let wrong = [
        ("a key that does not exist", "listne: 127.0.0.1:80\n"),
        ("one below a section", "server: { thread: 2 }\n"),
        ("one below a name", "pools: { app: { member: 10.0.0.1:80 } }\n"),
        ("one in a list", "routes: [{ match: /, poll: app }]\n"),
        ("a word that is none of the set", "pools: { app: { members: 10.0.0.1:80, balance: leastconn } }\n"),
        ("another", "log: { format: xml }\n"),
        ("a TLS version nobody should speak", "listen: [{ address: '[::]:443', tls: { min_version: 1.1 } }]\n"),
        ("a duration without a unit", "server: { timeouts: { drain: 30 } }\n"),
        ("a size without a unit", "server: { max_header: 65536 }\n"),
        ("a share without its sign", "pools: { app: { members: 10.0.0.1:80, retry: { budget: 20 } } }\n"),
        ("yes for true", "server: { core_dumps: yes }\n"),
        ("a number that is none", "server: { threads: many }\n"),
        ("a list where a map belongs", "server: [threads, 2]\n"),
        ("a map where a value belongs", "server: { threads: { count: 2 } }\n"),
        ("a key without a value", "server:\n"),
        ("a rate without a time", "limits: { a: { key: route, rate: 100 } }\n"),
        ("a status that redirects nobody", "routes: { match: /, redirect: { location: /x, status: 200 } }\n"),
        ("a kind of provider that nobody is", "ai: { providers: { x: { kind: opnai, keys: k } } }\n"),
        ("a digest that is too short", "auth: { api_keys: { keys: [{ id: a, secret_sha256: abc }] } }\n"),
    ];
    let made = generated();
    let files: Vec<PathBuf> =
        wrong.iter().enumerate().map(|(index, (_, text))| file(&made, &format!("{index}.yaml"), text)).collect();
    let Some(said) = validate(&made.path().join("sluicegate.schema.json"), &files) else { return };
    let passed: Vec<&str> =
        wrong.iter().zip(&said).filter(|(_, line)| line.ends_with(": ok")).map(|((what, _), _)| *what).collect();
    assert!(passed.is_empty(), "these pass: {passed:?}");
}

#[test]
fn the_schema_and_the_program_agree_on_every_value() {
    let made = generated();
    let everything = file(&made, "everything.yaml", &language::everything());
    let output = Command::new(root().join("tests/language/agree"))
        .args([&made.path().join("sluicegate.schema.json"), Path::new(env!("CARGO_BIN_EXE_sluicegate")), &everything])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.code() == Some(SKIPPED) {
        eprintln!("{said}");
        return;
    }
    let lines: Vec<&str> = said.lines().collect();
    assert!(output.status.success() && lines.len() == 1, "{said}{}", String::from_utf8_lossy(&output.stderr));
    let tried: usize = said.split_whitespace().next().unwrap().parse().unwrap();
    assert!(tried > 100, "{said}");
}

#[test]
fn every_key_is_explained() {
    let keys: Vec<language::Key> = language::sections().into_iter().flat_map(|section| section.keys).collect();
    assert!(keys.len() > 200);
    // What is said of a key may be about those below it.
    let above = |path: &str| path.rsplit_once('.').map(|(above, _)| above.trim_end_matches(".NAME").to_owned());
    let explained = |path: &str| keys.iter().any(|key| key.path == path && !key.words.is_empty());
    let silent: Vec<&str> = keys
        .iter()
        .filter(|key| {
            !key.form.contains("map") && !explained(&key.path) && !above(&key.path).is_some_and(|path| explained(&path))
        })
        .map(|key| key.path.as_str())
        .filter(|path| path.contains('.'))
        .collect();
    assert!(silent.is_empty(), "conf/sluicegate.yaml says nothing of {silent:#?}");
}

#[test]
fn a_variable_may_stand_in_every_value() {
    let text = "server: { threads: '${N}', timeouts: { drain: '${DRAIN:-30s}' } }\npools: { app: { members: '${M}', balance: '${B}' } }\n";
    let made = generated();
    let files = [file(&made, "variables.yaml", text)];
    let Some(said) = validate(&made.path().join("sluicegate.schema.json"), &files) else { return };
    assert!(said.iter().all(|line| line.ends_with(": ok")), "{said:?}");
}

#[test]
fn no_key_of_the_types_is_missing_in_the_schema_or_the_manual() {
    let made = generated();
    let read = |name: &str| fs::read_to_string(made.path().join(name)).unwrap();
    let mut known = BTreeSet::new();
    for name in ["sluicegate.schema.json", "api-keys.schema.json"] {
        let schema: Value = serde_json::from_str(&read(name)).unwrap();
        for definition in schema["definitions"].as_object().unwrap().values() {
            known.extend(definition["properties"].as_object().unwrap().keys().cloned());
        }
    }
    let fields = fields();
    assert!(fields.len() > 150, "{fields:?}");
    assert_eq!(fields.difference(&known).collect::<Vec<_>>(), Vec::<&String>::new(), "not in the schema");
    let manual = read("sluicegate.yaml.5").replace("\\-", "-");
    let written = |field: &&String| {
        [":", "\\fR"].iter().any(|end| manual.contains(&format!(".{field}{end}")))
            || manual.contains(&format!("\\fB{field}"))
    };
    assert_eq!(
        fields.iter().filter(|field| !written(field)).collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "not in the manual"
    );
}

#[test]
fn the_man_pages_are_in_order_and_tell_of_every_command() {
    let made = generated();
    for page in ["sluicegate.8", "sluicegate.yaml.5"] {
        let path = made.path().join(page);
        let Ok(output) = Command::new("man")
            .args(["--warnings", "-l"])
            .arg(&path)
            .env("MANPAGER", "cat")
            .env("LC_ALL", "C")
            .output()
        else {
            eprintln!("skipped: man is not installed");
            return;
        };
        let warnings = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && warnings.trim().is_empty(), "{page}: {warnings}");
    }
    let page = fs::read_to_string(made.path().join("sluicegate.8")).unwrap().replace("\\-", "-");
    let help = Command::new(env!("CARGO_BIN_EXE_sluicegate")).args(["ctl", "--help"]).output().unwrap();
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    let (_, after) = help.split_once("Commands:").unwrap();
    let commands: Vec<&str> = after
        .lines()
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(commands.len() >= 5, "{help}");
    for command in commands {
        assert!(page.contains(&format!("sluicegate ctl {command}")), "{command} is not in sluicegate(8)");
    }
    for words in ["EXIT STATUS", "SIGNALS", "ENVIRONMENT", "SLUICEGATE_LOG_LEVEL", "--config"] {
        assert!(page.contains(words), "{words}");
    }
}

#[test]
fn a_shell_completes_commands() {
    let made = generated();
    let script = format!(
        "source {}/sluicegate.bash; COMP_WORDS=(sluicegate ctl pu); COMP_CWORD=2; _sluicegate sluicegate pu ctl; echo \"${{COMPREPLY[*]}}\"",
        made.path().display()
    );
    let output = Command::new("bash").args(["-c", &script]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "purge", "{}", String::from_utf8_lossy(&output.stderr));
    for (shell, name) in [("zsh", "_sluicegate"), ("fish", "sluicegate.fish")] {
        match Command::new(shell).arg("-n").arg(made.path().join(name)).output() {
            Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
            Err(_) => eprintln!("skipped: {shell} is not installed"),
        }
    }
}
