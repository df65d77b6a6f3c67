//! Secrecy of the process: what others can learn of its secrets from the kernel.
//!
//! It writes no core unless `server.core_dumps` says so, and without one `/proc/PID/{environ,mem,maps}` are closed to
//! other processes of the same user. Variables that the configuration reads are taken out of the block of memory that
//! `/proc/PID/environ` shows: the process executes itself again without them, and is handed their values in a file that
//! exists in memory only and is emptied as soon as it is read. It does not hide the memory of a process from root.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use log::warn;
use rustix::fs::MemfdFlags;
use rustix::process::DumpableBehavior;

use crate::config::Environment;

/// Names the file with the variables of a process that executed itself again.
pub(super) const HANDED_OVER: &str = "SLUICEGATE_ENVIRONMENT";
/// Variables that others than the configuration ask for, and that are no secrets.
const KEPT: [&str; 5] = ["CREDENTIALS_DIRECTORY", "HOME", "NOTIFY_SOCKET", "PATH", "TZ"];
/// The most bytes of variables that are taken back; the kernel's own bound on all of them is 2 MiB by default.
const MOST: u64 = 4 << 20;

/// The environment of this process, with what an earlier execution of it handed over.
pub fn environment() -> Environment {
    let environment = Environment::of_process();
    let Some(path) = environment.variable(HANDED_OVER) else { return environment };
    match take_back(&path) {
        Ok(variables) => environment.with_variables(variables),
        Err(error) => {
            warn!("the environment variables that were set aside cannot be read from {path}: {error}");
            environment
        }
    }
}

/// Takes the variables that the configuration read out of sight. Where there are any this does not return: the program
/// begins again, in the same process.
///
/// # Errors
/// When the program cannot be executed again.
pub fn set_aside(environment: &Environment) -> io::Result<()> {
    let hidden: BTreeMap<String, String> = environment
        .interpolated()
        .into_iter()
        .filter(|name| !KEPT.contains(&name.as_str()) && std::env::var_os(name).is_some())
        .filter_map(|name| environment.variable(&name).map(|value| (name, value)))
        .collect();
    if hidden.is_empty() {
        return Ok(());
    }
    // It survives the execution because it is not closed by it.
    let mut file = File::from(rustix::fs::memfd_create("environment", MemfdFlags::empty())?);
    file.write_all(&serde_json::to_vec(&hidden)?)?;
    let mut arguments = std::env::args_os();
    let mut command = Command::new(std::env::current_exe()?);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    command.args(arguments).env(HANDED_OVER, format!("/proc/self/fd/{}", file.as_raw_fd()));
    for name in hidden.keys() {
        command.env_remove(name);
    }
    Err(command.exec())
}

/// Forbids a core of this process, and with it other processes of the same user to look into it.
pub fn forbid_core() {
    if let Err(error) = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        warn!("the system does not let cores be forbidden: {error}");
    }
}

fn take_back(path: &str) -> io::Result<BTreeMap<String, String>> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut text = Vec::new();
    (&mut file).take(MOST).read_to_end(&mut text)?;
    file.set_len(0)?;
    Ok(serde_json::from_slice(&text)?)
}
