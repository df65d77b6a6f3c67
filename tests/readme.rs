//! What README.md shows is what comes back: its transcripts run as they stand there, in a network of their own.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking, and says what it leaves out")]

use std::fs;
use std::path::Path;
use std::process::Command;

/// The exit code of a check that cannot run here.
const SKIPPED: i32 = 77;

/// Runs the transcripts of `file`: the exit code and what was said. `None`: they cannot run here.
fn transcripts(file: &Path) -> Option<(Option<i32>, String)> {
    let programs = Path::new(env!("CARGO_BIN_EXE_sluicegate")).parent().unwrap();
    if !programs.join("sluicegate-mock").is_file() {
        eprintln!("skipped: there is no sluicegate-mock; `cargo build --workspace --bins` makes it");
        return None;
    }
    let runner = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/readme/transcripts");
    let output = Command::new(runner).arg(file).arg(programs).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(SKIPPED) {
        eprintln!("{said}");
        return None;
    }
    Some((output.status.code(), said))
}

#[test]
fn what_the_readme_shows_is_what_comes_back() {
    let Some((code, said)) = transcripts(&Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")) else { return };
    assert_eq!(code, Some(0), "{said}");
    let ran = said.lines().filter(|line| line.starts_with("ok ")).count();
    assert!(ran >= 40, "the transcripts ran: {said}");
}

#[test]
fn an_answer_that_is_not_the_one_shown_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("wrong.md");
    fs::write(&file, "```console\n$ echo one; echo two\none\n...\n$ echo three\nfour\n```\n").unwrap();
    let Some((code, said)) = transcripts(&file) else { return };
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("ok 2 echo one; echo two\nnot ok 5 echo three\n"), "{said}");
}
