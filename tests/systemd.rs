//! systemd: what it has to say on our units, and a real one in a container that installs and runs the package.
//!
//! The checks are programs in `tests/systemd/`; each thing they look at is a line of theirs. Where they cannot run (not
//! root, no systemd-nspawn, no mirror of Debian) they say so, and so do these tests.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking, and says what it leaves out")]

use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// The exit code of a check that cannot run here.
const SKIPPED: i32 = 77;

/// Containers run one after the other: what is measured in one is not to be the load of another.
static ALONE: Mutex<()> = Mutex::new(());

/// Runs one of the programs; the test fails with all that it said.
fn run(program: &str, arguments: &[&str]) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
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

/// Boots a Debian release, and installs this build of the gateway there.
fn boots(suite: &str) {
    run("lane", &["--suite", suite, "--program", env!("CARGO_BIN_EXE_sluicegate")]);
}

#[test]
fn systemd_has_nothing_to_say_on_the_units_and_sees_little_exposure() {
    run("units", &[]);
}

#[test]
fn the_package_keeps_its_promises_under_the_systemd_of_debian_12() {
    boots("bookworm");
}

#[test]
fn the_package_keeps_its_promises_under_the_systemd_of_debian_13() {
    boots("trixie");
}
