//! The shape of the source tree, checked like behaviour: file lengths, the direction of dependencies, leftovers.
//!
//! Each rule is a function from a file's name and text to findings, so that the tests below can show it failing on a
//! small input; one test per rule then runs it over the repository. Nothing here reads what Git ignores.

#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot read its input has to stop")]

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use reading::{code_only, crate_paths, holds_path, holds_word, lines_with, words};

#[path = "tidy/each_rule_can_fail.rs"]
mod each_rule_can_fail;
#[path = "tidy/reading.rs"]
mod reading;

/// Lines a source file may have.
const MAX_LINES: usize = 800;

/// Lines from which a source file should be split.
const LONG_LINES: usize = 500;

/// The modules that may name a `pingora` crate: a file, or a module with all below it.
const EDGE: [&str; 7] = [
    "src/server",
    "src/proxy",
    "src/transport",
    "src/admin",
    "src/upstream/peer",
    "src/upstream/connect",
    "src/balance/health",
];

/// The modules that a request passes through, and those they all use. None knows who calls it.
const STAGES: [&str; 11] =
    ["auth", "limit", "sanitize", "cache", "route", "balance", "upstream", "ai", "observe", "config", "clock"];

/// Stages whose inner modules are open to all: values, and names for logs and metrics.
const OPEN_STAGES: [&str; 3] = ["config", "clock", "observe"];

/// Words that mark unfinished work.
const LEFTOVERS: [&str; 6] = ["todo!", "unimplemented!", "TODO", "FIXME", "XXX", "for now"];

/// Where paths of a machine that built the project begin.
const MACHINE_PATHS: [&str; 3] = ["/work", "/tmp/wt", "/root/"];

/// One place where a rule is broken.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    file: String,
    line: usize,
    what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.what)
    }
}

// === The rules, over the repository ===

#[test]
fn no_source_file_is_too_long() {
    let sources = product_sources();
    for (file, text) in &sources {
        if (LONG_LINES + 1..=MAX_LINES).contains(&text.lines().count()) {
            println!("{file}: {} lines, time to split", text.lines().count());
        }
    }
    assert_clean(sources.iter().flat_map(|(file, text)| too_long(file, text)));
}

#[test]
fn only_the_edge_names_pingora() {
    assert_clean(crate_sources().iter().flat_map(|(file, text)| pingora_inside(file, text)));
}

#[test]
fn nothing_below_knows_who_calls_it() {
    assert_clean(crate_sources().iter().flat_map(|(file, text)| upward_imports(file, text)));
}

#[test]
fn no_stage_reaches_into_another() {
    let sources = crate_sources();
    let modules = inner_modules(sources.iter().map(|(file, _)| file.as_str()));
    assert_clean(sources.iter().flat_map(|(file, text)| sideways_imports(file, text, &modules)));
}

#[test]
fn no_module_file_is_called_mod_rs() {
    assert_clean(tracked_files().iter().filter_map(|file| mod_rs(file)));
}

#[test]
fn every_module_folder_has_its_file() {
    let files = tracked_files();
    assert_clean(orphan_folders(&files));
}

#[test]
fn nothing_is_left_unfinished() {
    assert_clean(texts().iter().flat_map(|(file, text)| leftovers(file, text)));
}

#[test]
fn no_text_names_a_path_of_the_machine_it_was_written_on() {
    assert_clean(texts().iter().flat_map(|(file, text)| machine_paths(file, text)));
}

#[test]
fn every_file_is_text() {
    let files = tracked_files();
    assert_clean(files.iter().filter_map(|file| not_text(file, &bytes_of(file))));
}

#[test]
fn every_shell_script_parses() {
    let scripts: Vec<_> = texts().into_iter().filter(|(file, text)| is_shell_script(file, text)).collect();
    assert!(!scripts.is_empty(), "the repository has shell scripts, and none was found");
    assert_clean(scripts.iter().filter_map(|(file, text)| shell_error(file, text)));
}

// === The rules, each on one file ===

fn too_long(file: &str, text: &str) -> Option<Finding> {
    let lines = text.lines().count();
    (lines > MAX_LINES).then(|| finding(file, lines, format!("{lines} lines, {MAX_LINES} at most")))
}

fn pingora_inside(file: &str, text: &str) -> Vec<Finding> {
    if EDGE.iter().any(|module| is_within(file, module)) {
        return Vec::new();
    }
    let code = code_only(text);
    lines_with(&code, |line| words(line).any(|word| word.starts_with("pingora")))
        .map(|line| finding(file, line, "names a pingora crate; only the edge may".to_owned()))
        .collect()
}

fn upward_imports(file: &str, text: &str) -> Vec<Finding> {
    let above: &[&str] = if stage_of(file).is_some() {
        &["snapshot", "proxy", "admin", "server", "cli"]
    } else if is_within(file, "src/snapshot") {
        &["proxy", "admin", "server", "cli"]
    } else {
        return Vec::new();
    };
    crate_paths(&code_only(text))
        .into_iter()
        .filter(|(_, path)| path.first().is_some_and(|module| above.contains(&module.as_str())))
        .map(|(line, path)| finding(file, line, format!("imports crate::{}, which is above it", path.join("::"))))
        .collect()
}

/// `modules` holds every inner module as `stage/module`.
fn sideways_imports(file: &str, text: &str, modules: &BTreeSet<String>) -> Vec<Finding> {
    let Some(own) = stage_of(file) else { return Vec::new() };
    crate_paths(&code_only(text))
        .into_iter()
        .filter(|(_, path)| {
            let [stage, module, ..] = path.as_slice() else { return false };
            STAGES.contains(&stage.as_str())
                && stage != own
                && !OPEN_STAGES.contains(&stage.as_str())
                && modules.contains(&format!("{stage}/{module}"))
        })
        .map(|(line, path)| {
            finding(
                file,
                line,
                format!("reaches into another stage by crate::{}; take it from the stage", path.join("::")),
            )
        })
        .collect()
}

fn mod_rs(file: &str) -> Option<Finding> {
    (file.rsplit('/').next() == Some("mod.rs"))
        .then(|| finding(file, 1, "a module is foo.rs beside foo/, never foo/mod.rs".to_owned()))
}

fn orphan_folders(files: &[String]) -> Vec<Finding> {
    let known: BTreeSet<&str> = files.iter().map(String::as_str).collect();
    let folders: BTreeSet<&str> = known
        .iter()
        .filter(|file| file.ends_with(".rs") && (file.starts_with("src/") || file.starts_with("bench/src/")))
        .filter_map(|file| file.rsplit_once('/').map(|(folder, _)| folder))
        .filter(|folder| !matches!(*folder, "src" | "src/bin" | "bench/src" | "bench/src/bin"))
        .collect();
    folders
        .into_iter()
        .filter(|folder| !known.contains(format!("{folder}.rs").as_str()))
        .map(|folder| finding(folder, 1, format!("the folder has no {folder}.rs beside it")))
        .collect()
}

fn leftovers(file: &str, text: &str) -> Vec<Finding> {
    let found = LEFTOVERS.iter().flat_map(|mark| {
        lines_with(text, |line| holds_word(line, mark)).map(move |line| finding(file, line, format!("holds {mark:?}")))
    });
    found.collect()
}

fn machine_paths(file: &str, text: &str) -> Vec<Finding> {
    let found = MACHINE_PATHS.iter().flat_map(|path| {
        lines_with(text, |line| holds_path(line, path)).map(move |line| finding(file, line, format!("names {path}")))
    });
    found.collect()
}

/// What was built or fetched is not kept: see [`tracked_files`].
fn not_text(file: &str, bytes: &[u8]) -> Option<Finding> {
    std::str::from_utf8(bytes)
        .is_err()
        .then(|| finding(file, 1, "is not text: the repository has what was written".into()))
}

fn is_shell_script(file: &str, text: &str) -> bool {
    let first = text.lines().next().unwrap_or_default();
    file.ends_with(".sh") || (first.starts_with("#!") && ["sh", "bash", "dash"].iter().any(|sh| holds_word(first, sh)))
}

fn shell_error(file: &str, text: &str) -> Option<Finding> {
    let output = Command::new("bash").args(["-n", "-c", text]).output().expect("bash runs");
    let message = String::from_utf8_lossy(&output.stderr);
    // "bash: line 3: syntax error near unexpected token `fi'"
    let line = message.split("line ").nth(1).and_then(|rest| rest.split(':').next()?.parse().ok()).unwrap_or(1);
    (!output.status.success()).then(|| finding(file, line, message.trim().to_owned()))
}

/// The stage a file of the crate belongs to.
fn stage_of(file: &str) -> Option<&str> {
    let module = file.strip_prefix("src/")?.split(['/', '.']).next()?;
    STAGES.contains(&module).then_some(module)
}

/// Every inner module, as `stage/module`, out of file names such as `src/stage/module.rs`.
fn inner_modules<'a>(files: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
    files
        .filter_map(|file| file.strip_prefix("src/")?.strip_suffix(".rs"))
        .filter(|module| module.matches('/').count() == 1)
        .map(str::to_owned)
        .collect()
}

/// Whether `file` is the module `module` or lies below it.
fn is_within(file: &str, module: &str) -> bool {
    file.strip_prefix(module).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

// === The repository ===

fn finding(file: &str, line: usize, what: String) -> Finding {
    Finding { file: file.to_owned(), line, what }
}

#[track_caller]
fn assert_clean(findings: impl IntoIterator<Item = Finding>) {
    let lines: Vec<String> = findings.into_iter().map(|found| found.to_string()).collect();
    assert!(lines.is_empty(), "\n{}", lines.join("\n"));
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The files of the repository: those Git has or would add; without Git, as in a source archive, all but build output.
fn tracked_files() -> Vec<String> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output();
    let mut files = match listed {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).split('\0').map(str::to_owned).collect()
        }
        _ => walk(&root(), ""),
    };
    files.retain(|file| root().join(file).is_file());
    assert!(files.iter().any(|file| file == "Cargo.toml"), "the list of files lacks Cargo.toml: {files:?}");
    files
}

fn walk(folder: &Path, prefix: &str) -> Vec<String> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the folder is readable").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        if !entry.path().is_dir() {
            files.push(path);
        } else if !matches!(name.as_str(), ".git" | "target" | "dist") {
            files.extend(walk(&entry.path(), &format!("{path}/")));
        }
    }
    files
}

/// Every text file with its text, but for those not ours to word, and these tests, which have to name what they seek.
fn texts() -> Vec<(String, String)> {
    tracked_files()
        .into_iter()
        .filter(|file| !matches!(file.as_str(), "Cargo.lock" | "LICENSE") && !is_within(file, "tests/tidy"))
        .filter_map(|file| {
            let text = String::from_utf8(bytes_of(&file)).ok()?;
            Some((file, text))
        })
        .collect()
}

fn bytes_of(file: &str) -> Vec<u8> {
    std::fs::read(root().join(file)).unwrap_or_else(|error| panic!("cannot read {file}: {error}"))
}

/// The Rust files of the crate.
fn crate_sources() -> Vec<(String, String)> {
    texts().into_iter().filter(|(file, _)| file.starts_with("src/") && file.ends_with(".rs")).collect()
}

/// The Rust files of the crate and of the benchmark, without tests.
fn product_sources() -> Vec<(String, String)> {
    let is_product = |file: &str| file.starts_with("src/") || file.starts_with("bench/src/");
    let is_test = |file: &str| file.ends_with("/tests.rs") || file.contains("/tests/");
    texts().into_iter().filter(|(file, _)| file.ends_with(".rs") && is_product(file) && !is_test(file)).collect()
}
