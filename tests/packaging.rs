//! The packages: what is in them, and what they do with the service. The checks are programs in `tests/packaging/`, and each
//! thing they look at is a line of theirs; where they cannot run they say so.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking, and says what it leaves out")]

use std::path::Path;
use std::process::Command;

/// The exit code of a check that cannot run here.
const SKIPPED: i32 = 77;

/// Runs one of the programs; the test fails with all that it said.
fn run(program: &str, arguments: &[&str], at_least: usize) {
    let path = format!("{}/tests/packaging/{program}", env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(path).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(SKIPPED) {
        eprintln!("{said}");
        return;
    }
    assert!(output.status.success(), "{said}");
    let looked_at = said.lines().filter(|line| line.starts_with("ok ")).count();
    assert!(looked_at >= at_least, "the checks ran: {said}");
}

#[test]
fn the_packages_hold_what_they_should() {
    run("contents", &[env!("CARGO_BIN_EXE_sluicegate")], 20);
}

#[test]
fn the_program_is_built_with_what_a_training_counted() {
    let program = env!("CARGO_BIN_EXE_sluicegate");
    let mock = Path::new(program).with_file_name("sluicegate-mock");
    if !mock.is_file() {
        eprintln!("skipped: there is no sluicegate-mock; `cargo build --workspace --bins` makes it");
        return;
    }
    run("optimised", &[program, &mock.to_string_lossy()], 12);
}

#[test]
fn an_upgrade_hands_over_and_an_installation_starts_what_is_usable() {
    run("service", &[], 10);
}
