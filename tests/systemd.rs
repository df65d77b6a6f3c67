//! systemd: what it has to say on our units.
//!
//! The checks are programs in `tests/systemd/`; each thing they look at is a line of theirs. Where they cannot run they say
//! so, and so do these tests.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking, and says what it leaves out")]

use std::process::Command;

/// The exit code of a check that cannot run here.
const SKIPPED: i32 = 77;

/// Runs one of the programs; the test fails with all that it said.
fn run(program: &str, arguments: &[&str]) {
    let path = format!("{}/tests/systemd/{program}", env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(path).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(SKIPPED) {
        eprintln!("{said}");
        return;
    }
    assert!(output.status.success(), "{said}");
    let looked_at = said.lines().filter(|line| line.starts_with("ok ")).count();
    assert!(looked_at >= 10, "the checks ran: {said}");
}

#[test]
fn systemd_has_nothing_to_say_on_the_units_and_sees_little_exposure() {
    run("units", &[]);
}
