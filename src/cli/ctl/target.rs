//! Which gateway, and by which token.
//!
//! Address: `--admin`, then `SLUICEGATE_ADMIN`, then `admin.address` of the file. Token: `--token-file`, then
//! `SLUICEGATE_ADMIN_TOKEN`, then `admin.token` of the file; the file's only goes where the file was asked for, so that
//! `--admin` alone does not carry this machine's token elsewhere.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::Args;

use super::Failure;
use crate::cli::CONFIG_FILE;
use crate::config::secret::Secret;
use crate::config::{self, AdminPeek, Environment, ListenAddress};

const TOKEN_VARIABLE: &str = "SLUICEGATE_ADMIN_TOKEN";

/// How the gateway is named on the command line.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The configuration file of the gateway, which need not be valid: only `admin` is read
    /// [default: /etc/sluicegate/sluicegate.yaml]
    #[arg(short, long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// The gateway's admin address instead of the file's: host:port or unix:/path
    #[arg(long, value_name = "ADDRESS", env = "SLUICEGATE_ADMIN", global = true)]
    admin: Option<String>,
    /// A file with the admin token instead of the configuration's or that in SLUICEGATE_ADMIN_TOKEN
    #[arg(long, value_name = "FILE", global = true)]
    token_file: Option<PathBuf>,
}

/// A gateway to call.
#[derive(Debug)]
pub(super) struct Target {
    /// Where it is.
    pub(super) place: Place,
    /// What lets us in.
    pub(super) token: Option<Secret>,
    /// Why there is no token, for when one was needed.
    pub(super) no_token: Option<String>,
}

/// Where an admin listener is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// `host:port`.
    Tcp(String),
    /// The path of a socket.
    Unix(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Options {
    /// Finds the gateway.
    pub(super) fn find(&self) -> Result<Target, Failure> {
        self.find_in(&Environment::of_process())
    }

    fn find_in(&self, environment: &Environment) -> Result<Target, Failure> {
        let file = self.config.as_deref().unwrap_or_else(|| Path::new(CONFIG_FILE));
        let of_file = |reason: &str| format!("{} {reason}", file.display());
        let wanted = self.config.is_some() || self.admin.is_none();
        let peek = wanted.then(|| config::peek_admin(file, environment).map_err(|reason| of_file(&reason)));
        let place = match (&self.admin, &peek) {
            (Some(admin), _) => parse(admin)?,
            (None, Some(Ok(AdminPeek { address: Ok(address), .. }))) => reachable(address).map_err(|r| of_file(&r))?,
            (None, Some(Ok(AdminPeek { address: Err(reason), .. }))) => return Err(elsewhere(&of_file(reason))),
            (None, Some(Err(reason))) => return Err(elsewhere(reason)),
            (None, None) => return Err(elsewhere("no gateway is named")),
        };
        if let Some(path) = &self.token_file {
            let token = read_token(path, environment)?;
            return Ok(Target { place, token: Some(token), no_token: None });
        }
        if let Some(token) = environment.variable(TOKEN_VARIABLE).and_then(Secret::new) {
            return Ok(Target { place, token: Some(token), no_token: None });
        }
        let (token, why_not) = match peek {
            Some(Ok(AdminPeek { token: Ok(Some(token)), .. })) => (Some(token), None),
            Some(Ok(AdminPeek { token: Ok(None), .. })) => (None, Some(of_file("has no `admin.token`"))),
            Some(Ok(AdminPeek { token: Err(reason), .. })) => (None, Some(format!("admin.token: {reason}"))),
            Some(Err(reason)) => (None, Some(reason)),
            None => (None, Some("no token was given".to_owned())),
        };
        let no_token = why_not.map(|why| format!("{why}; give it by --token-file or {TOKEN_VARIABLE}"));
        Ok(Target { place, token, no_token })
    }
}

fn elsewhere(reason: &str) -> Failure {
    format!("{reason}; name the file by -c or the address by --admin")
}

fn read_token(path: &Path, environment: &Environment) -> Result<Secret, Failure> {
    let of_file = |reason: &str| format!("the token file {} {reason}", path.display());
    let bytes = environment.read(path).map_err(|reason| of_file(&reason))?;
    let text = String::from_utf8(bytes).map_err(|_| of_file("is no text"))?;
    Secret::new(text.trim().to_owned()).ok_or_else(|| of_file("is empty"))
}

/// Reads what `--admin` says.
fn parse(text: &str) -> Result<Place, Failure> {
    if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
        return Ok(Place::Unix(path.into()));
    }
    let text = text.strip_prefix("http://").unwrap_or(text);
    let text = text.strip_suffix('/').unwrap_or(text);
    let is_good = |(host, port): (&str, &str)| {
        let bare = !host.contains([':', '/', '@', ' ']);
        !host.is_empty() && (bare || host.starts_with('[')) && port.parse::<u16>().is_ok()
    };
    if text.rsplit_once(':').is_some_and(is_good) {
        return Ok(Place::Tcp(text.to_owned()));
    }
    Err(format!("{text:?} is no admin address; it is one such as 127.0.0.1:8404 or unix:/run/sluicegate/admin.sock"))
}

/// Where a listener can be reached from here: all addresses are this machine's, too.
fn reachable(address: &ListenAddress) -> Result<Place, Failure> {
    let mut socket = match address {
        ListenAddress::Unix(path) => return Ok(Place::Unix(path.clone())),
        ListenAddress::Tcp(socket) => *socket,
    };
    if socket.port() == 0 {
        return Err("lets the system choose the admin port; name the address by --admin".to_owned());
    }
    match socket {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => socket.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => socket.set_ip(IpAddr::V6(Ipv6Addr::LOCALHOST)),
        _ => {}
    }
    Ok(Place::Tcp(socket.to_string()))
}

#[cfg(test)]
mod tests;
