//! `sluicegate check`: what only shows when a configuration is put to use on this machine.
//!
//! [`probe`] (before a start) and [`obstacles`] (after one that failed) bind every listener for a moment and look whether log files and
//! the state can be written. They serve nobody, write nothing and ask no member. What they cannot know: whether the service's own user may do what the caller may.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::fs::{Access, access};
use socket2::{Domain, Protocol, Socket, Type};

use crate::config::{Config, KeyPath, ListenAddress, Loaded, Problem, Severity};

use holder::Holder;

mod holder;

#[cfg(test)]
mod tests;

/// Everything that stands in the way of running `loaded` here. The addresses that a running sluicegate holds are one
/// note: it usually is the instance that this file is for.
pub fn probe(loaded: &Loaded) -> Vec<Problem> {
    let (held, wrong): (Vec<_>, Vec<_>) = look(loaded).into_iter().partition(|(_, wrong)| wrong.held_by.is_some());
    let mut problems: Vec<Problem> = wrong.into_iter().map(|(path, wrong)| wrong.at(&path, loaded)).collect();
    problems.extend(notes(&held, loaded));
    problems
}

/// What keeps a gateway from starting with `loaded`, for one that could not. Another sluicegate is in the way as
/// anything else.
pub fn obstacles(loaded: &Loaded) -> Vec<Problem> {
    look(loaded).into_iter().map(|(path, wrong)| wrong.at(&path, loaded)).collect()
}

/// What is wrong, before its place is known.
struct Wrong {
    message: String,
    hint: Option<String>,
    /// The running sluicegate that is in the way, and where.
    held_by: Option<(u32, String)>,
}

impl Wrong {
    fn new(message: String, hint: Option<&str>) -> Self {
        Self { message, hint: hint.map(str::to_owned), held_by: None }
    }

    fn at(self, path: &KeyPath, loaded: &Loaded) -> Problem {
        let mut problem = loaded.source.problem_at(path, Severity::Error, self.message, self.hint);
        // A listener of a flag stands nowhere in the file.
        if let Some(name) = loaded.listen_override.filter(|_| path.to_string().starts_with("listen")) {
            problem = Problem {
                origin: name.to_owned(),
                position: None,
                key: String::new(),
                excerpts: Vec::new(),
                ..problem
            };
        }
        problem
    }
}

fn look(loaded: &Loaded) -> Vec<(KeyPath, Wrong)> {
    let mut found = Vec::new();
    // Kept until the end, so that two listeners that want the same find each other.
    let mut bound = Vec::new();
    for (path, address) in addresses(&loaded.config) {
        let wrong = match address {
            ListenAddress::Tcp(address) => bind(*address).map(|socket| bound.push(socket)).err(),
            ListenAddress::Unix(socket) => unix(socket),
        };
        found.extend(wrong.map(|wrong| (path, wrong)));
    }
    for (path, file) in log_files(&loaded.config) {
        found.extend(writable(file).map(|wrong| (path, wrong)));
    }
    if let Some(directory) = state_directory(&loaded.config) {
        let path = KeyPath::default().key("server").key("state_dir");
        found.extend(state(directory).map(|wrong| (path, wrong)));
    }
    found
}

/// One line for all that a running sluicegate holds.
fn notes(held: &[(KeyPath, Wrong)], loaded: &Loaded) -> Vec<Problem> {
    let mut by_process: BTreeMap<u32, Vec<&str>> = BTreeMap::new();
    for (process, address) in held.iter().filter_map(|(_, wrong)| wrong.held_by.as_ref()) {
        by_process.entry(*process).or_default().push(address);
    }
    let note = |(process, addresses): (u32, Vec<&str>)| {
        let addresses = addresses.join(", ");
        let message =
            format!("sluicegate runs as process {process} and holds {addresses}; nothing to do if this is its file");
        loaded.source.problem_at(&KeyPath::default(), Severity::Note, message, None)
    };
    by_process.into_iter().map(note).collect()
}

fn addresses(config: &Config) -> Vec<(KeyPath, &ListenAddress)> {
    let root = KeyPath::default();
    let listen = root.key("listen");
    let listeners = config.listeners.iter().enumerate();
    let mut addresses: Vec<_> =
        listeners.map(|(index, listener)| (listen.index(index).key("address"), &listener.address)).collect();
    addresses.extend(config.admin.as_ref().map(|admin| (root.key("admin").key("address"), &admin.address)));
    addresses
}

fn log_files(config: &Config) -> Vec<(KeyPath, &Path)> {
    let log = KeyPath::default().key("log");
    let file = config.log.file.as_deref().map(|file| (log.key("file"), file));
    let access = config.log.access.as_ref().map(|access| (log.key("access").key("file"), access.file.as_path()));
    let audit = config.log.audit.as_ref().map(|audit| (log.key("audit").key("file"), audit.file.as_path()));
    file.into_iter().chain(access).chain(audit).collect()
}

/// Where budgets are kept, when there are any and the file says so.
fn state_directory(config: &Config) -> Option<&Path> {
    let keeps = config.limits.iter().any(|limit| limit.has_budget());
    config.server.state_dir.as_deref().filter(|_| keeps)
}

/// Binds as the server does, and listens: two sockets that may both bind need not both listen.
fn bind(address: SocketAddr) -> Result<Socket, Wrong> {
    let bound = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP)).and_then(|socket| {
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(1)?;
        Ok(socket)
    });
    bound.map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => in_use(address),
        ErrorKind::PermissionDenied => Wrong::new(
            format!("{address} cannot be bound: permission denied"),
            (address.port() < 1024)
                .then_some("a port below 1024 is for root, or for a process with the capability CAP_NET_BIND_SERVICE"),
        ),
        ErrorKind::AddrNotAvailable => Wrong::new(
            format!("{address} cannot be bound: no interface of this machine has this address"),
            Some("see `ip address`, or listen on 0.0.0.0 or [::]"),
        ),
        _ => Wrong::new(format!("{address} cannot be bound: {}", reason(&error)), None),
    })
}

fn in_use(address: SocketAddr) -> Wrong {
    match holder::of(address) {
        Some(holder) if holder.pid == std::process::id() => {
            Wrong::new(format!("{address} is taken by another address of this file"), Some("[::] takes IPv4 as well"))
        }
        Some(holder) => held(address.to_string(), &holder),
        None => Wrong::new(format!("{address} is in use"), Some("see who holds it: ss -ltnp")),
    }
}

fn held(address: String, holder: &Holder) -> Wrong {
    let message = format!("{address} is in use by {} (process {})", holder.name, holder.pid);
    if holder.name != env!("CARGO_PKG_NAME") {
        return Wrong::new(message, None);
    }
    let hint = "sluicegate runs already; it takes over a new configuration with `sluicegate ctl reload`";
    Wrong { held_by: Some((holder.pid, address)), ..Wrong::new(message, Some(hint)) }
}

fn unix(path: &Path) -> Option<Wrong> {
    let shown = path.display();
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => {
            Some(Wrong::new(format!("{shown} is there already and is no socket"), None))
        }
        // One that nobody answers on is a leftover, which is replaced.
        Ok(_) => UnixStream::connect(path).is_ok().then(|| match holder::of_unix(path) {
            Some(holder) => held(format!("unix:{shown}"), &holder),
            None => Wrong::new(format!("unix:{shown} is in use"), Some("see who holds it: ss -lxp")),
        }),
        Err(error) if error.kind() == ErrorKind::NotFound => directory(path, "the socket"),
        Err(error) => Some(Wrong::new(format!("{shown} cannot be reached: {}", reason(&error)), None)),
    }
}

/// Looks whether `file` can be appended to, without making it.
fn writable(file: &Path) -> Option<Wrong> {
    match OpenOptions::new().append(true).open(file) {
        Ok(_) => None,
        Err(error) if error.kind() == ErrorKind::NotFound => directory(file, "the log file"),
        Err(error) => Some(Wrong::new(format!("{} cannot be written: {}", file.display(), reason(&error)), None)),
    }
}

/// Looks whether budgets can be kept in `directory`, without making it: a start makes its last part, or systemd before that.
fn state(directory: &Path) -> Option<Wrong> {
    let shown = directory.display();
    match std::fs::metadata(directory) {
        Ok(metadata) if !metadata.is_dir() => {
            Some(Wrong::new(format!("{shown} is there already and is no directory"), None))
        }
        Ok(_) => {
            let error = Error::from(access(directory, Access::WRITE_OK | Access::EXEC_OK).err()?);
            let message = format!("the directory {shown} cannot be written: {}", reason(&error));
            Some(Wrong::new(message, Some("what is used of tokens and money is kept there")))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let parent = directory.parent().filter(|parent| !parent.is_dir())?;
            let hint = "what is used of tokens and money is kept there; make the directory first, for the user who runs sluicegate";
            Some(Wrong::new(format!("the directory {} does not exist", parent.display()), Some(hint)))
        }
        Err(error) => Some(Wrong::new(format!("{shown} is no directory: {}", reason(&error)), None)),
    }
}

fn directory(file: &Path, what: &str) -> Option<Wrong> {
    let parent = file.parent().unwrap_or_else(|| Path::new("/"));
    let error = Error::from(access(parent, Access::WRITE_OK | Access::EXEC_OK).err()?);
    let message = match error.kind() {
        ErrorKind::NotFound => format!("the directory {} does not exist", parent.display()),
        _ => format!("the directory {} cannot be written: {}", parent.display(), reason(&error)),
    };
    let hint = format!("{what} is made there; make the directory first, for the user who runs sluicegate");
    Some(Wrong::new(message, Some(&hint)))
}

/// The system's words, without their number.
fn reason(error: &Error) -> String {
    let text = error.to_string();
    let words = text.split(" (os error").next().unwrap_or(&text);
    words.chars().next().map_or(String::new(), |c| c.to_lowercase().to_string()) + words.get(1..).unwrap_or_default()
}
