//! `sluicegate check`: what only shows when a configuration is put to use on this machine.
//!
//! [`probe`] binds every listener for a moment and looks whether log files can be written. It serves nobody, writes
//! nothing and asks no member. What it cannot know: whether the service's own user may do what the caller may.

use std::fs::OpenOptions;
use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::fs::{Access, access};
use socket2::{Domain, Protocol, Socket, Type};

use crate::config::{Config, KeyPath, ListenAddress, Loaded, Problem, Severity};

mod holder;

#[cfg(test)]
mod tests;

/// Everything that stands in the way of running `loaded` here. What an instance that runs already holds is a
/// warning: a reload hands it on.
pub fn probe(loaded: &Loaded) -> Vec<Problem> {
    let mut problems = Vec::new();
    // Kept until the end, so that two listeners that want the same find each other.
    let mut bound = Vec::new();
    for (path, address) in addresses(&loaded.config) {
        let wrong = match address {
            ListenAddress::Tcp(address) => bind(*address).map(|socket| bound.push(socket)).err(),
            ListenAddress::Unix(socket) => unix(socket),
        };
        problems.extend(wrong.map(|wrong| wrong.at(&path, loaded)));
    }
    for (path, file) in log_files(&loaded.config) {
        problems.extend(writable(file).map(|wrong| wrong.at(&path, loaded)));
    }
    problems
}

/// What is wrong, before its place is known.
struct Wrong {
    severity: Severity,
    message: String,
    hint: Option<String>,
}

impl Wrong {
    fn error(message: String, hint: Option<&str>) -> Self {
        Self { severity: Severity::Error, message, hint: hint.map(str::to_owned) }
    }

    fn at(self, path: &KeyPath, loaded: &Loaded) -> Problem {
        let mut problem = loaded.source.problem_at(path, self.severity, self.message, self.hint);
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
    file.into_iter().chain(access).collect()
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
        ErrorKind::PermissionDenied => Wrong::error(
            format!("{address} cannot be bound: permission denied"),
            (address.port() < 1024)
                .then_some("ports below 1024 need the capability CAP_NET_BIND_SERVICE, which the systemd unit gives"),
        ),
        ErrorKind::AddrNotAvailable => Wrong::error(
            format!("{address} cannot be bound: no interface of this machine has this address"),
            Some("see `ip address`, or listen on 0.0.0.0 or [::]"),
        ),
        _ => Wrong::error(format!("{address} cannot be bound: {}", reason(&error)), None),
    })
}

fn in_use(address: SocketAddr) -> Wrong {
    match holder::of(address) {
        Some(holder) if holder.pid == std::process::id() => {
            Wrong::error(format!("{address} is taken by another address of this file"), Some("[::] takes IPv4 as well"))
        }
        Some(holder) if holder.name == env!("CARGO_PKG_NAME") => Wrong {
            severity: Severity::Warning,
            message: format!("{address} is held by sluicegate itself, which runs as process {}", holder.pid),
            hint: Some("nothing to do when this is the running instance's configuration".to_owned()),
        },
        Some(holder) => Wrong::error(format!("{address} is in use by {} (process {})", holder.name, holder.pid), None),
        None => Wrong::error(format!("{address} is in use"), Some("see who holds it: ss -ltnp")),
    }
}

fn unix(path: &Path) -> Option<Wrong> {
    let shown = path.display();
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => {
            Some(Wrong::error(format!("{shown} is there already and is no socket"), None))
        }
        // One that nobody answers on is a leftover, which is replaced.
        Ok(_) => UnixStream::connect(path).is_ok().then(|| Wrong {
            severity: Severity::Warning,
            message: format!("something already answers on {shown}"),
            hint: Some("nothing to do when this is the running instance's configuration".to_owned()),
        }),
        Err(error) if error.kind() == ErrorKind::NotFound => directory(path, "the socket"),
        Err(error) => Some(Wrong::error(format!("{shown} cannot be reached: {}", reason(&error)), None)),
    }
}

/// Looks whether `file` can be appended to, without making it.
fn writable(file: &Path) -> Option<Wrong> {
    match OpenOptions::new().append(true).open(file) {
        Ok(_) => None,
        Err(error) if error.kind() == ErrorKind::NotFound => directory(file, "the log file"),
        Err(error) => Some(Wrong::error(format!("{} cannot be written: {}", file.display(), reason(&error)), None)),
    }
}

fn directory(file: &Path, what: &str) -> Option<Wrong> {
    let parent = file.parent().unwrap_or_else(|| Path::new("/"));
    let error = Error::from(access(parent, Access::WRITE_OK | Access::EXEC_OK).err()?);
    let message = match error.kind() {
        ErrorKind::NotFound => format!("the directory {} does not exist", parent.display()),
        _ => format!("the directory {} cannot be written: {}", parent.display(), reason(&error)),
    };
    let hint = format!("{what} is made there; the systemd unit makes /run/sluicegate and /var/log/sluicegate");
    Some(Wrong::error(message, Some(&hint)))
}

/// The system's words, without their number.
fn reason(error: &Error) -> String {
    let text = error.to_string();
    let words = text.split(" (os error").next().unwrap_or(&text);
    words.chars().next().map_or(String::new(), |c| c.to_lowercase().to_string()) + words.get(1..).unwrap_or_default()
}
