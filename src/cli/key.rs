//! `sluicegate key new`: makes a secret, prints it once, and prints the entry of the key file that knows its digest.

use std::process::ExitCode;
use std::time::SystemTime;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use rustix::rand::{GetRandomFlags, getrandom};
use sha2::{Digest, Sha256};

use super::{USAGE, complain, say};
use crate::clock;
use crate::config::auth::Permissions;
use crate::config::parse_expiry;

/// What every secret made here begins with, so that a scanner finds one that was leaked.
const PREFIX: &str = "sk-sg-";
/// Random bytes of a secret.
const RANDOM: usize = 32;

/// Make API keys.
#[derive(Debug, Args)]
pub struct Key {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a key. Its secret is printed once and stored nowhere; the entry for the key file has its digest only.
    New(New),
}

#[derive(Debug, Args)]
struct New {
    /// The name of the key in logs and limits. Default: one made up.
    #[arg(long, value_name = "ID", value_parser = id)]
    id: Option<String>,
    /// What it may do: `read`, `write`, `delete`, `admin`, `*`, or `service:verb`. Commas separate several.
    #[arg(long, value_name = "PERMISSIONS", value_delimiter = ',', default_value = "read", value_parser = permission)]
    permissions: Vec<String>,
    /// When it expires: a time such as 2027-12-31T23:59:59Z, an age such as 90d, or never.
    #[arg(long, value_name = "WHEN", default_value = "365d")]
    expires: String,
    /// For people.
    #[arg(long, value_name = "TEXT", value_parser = description)]
    description: Option<String>,
    /// What limits may count by, such as team=search for `key: metadata(team)`. May be given several times.
    #[arg(long, value_name = "NAME=VALUE", value_parser = metadata)]
    metadata: Vec<(String, String)>,
}

impl Key {
    /// Runs the command.
    pub fn run(self) -> ExitCode {
        let Command::New(new) = self.command;
        match new.make() {
            Ok(text) => {
                say(&text);
                ExitCode::SUCCESS
            }
            Err(reason) => {
                complain(&reason);
                ExitCode::from(USAGE)
            }
        }
    }
}

impl New {
    fn make(self) -> Result<String, String> {
        let now = clock::wall();
        let expires = parse_expiry(&self.expires, now).map_err(|wrong| format!("--expires: {wrong}"))?;
        if expires.is_some_and(|expires| expires <= now) {
            return Err(format!("--expires: {} is over already", self.expires));
        }
        let names = || self.metadata.iter().map(|(name, _)| name);
        if let Some((_, twice)) =
            names().enumerate().find(|(index, name)| names().take(*index).any(|other| other == *name))
        {
            return Err(format!("--metadata: {twice} is given twice"));
        }
        let secret = format!("{PREFIX}{}", hex(&random::<RANDOM>()?));
        let id = match self.id {
            Some(id) => id,
            None => format!("key-{}", hex(&random::<4>()?)),
        };
        let mut lines = vec![
            "# The secret, shown this once. Give it to the caller:".to_owned(),
            format!("#   {secret}"),
            "# For the list `keys` of the key file; `sluicegate ctl reload` puts it in force:".to_owned(),
            format!("- id: {}", quoted(&id)),
            format!("  secret_sha256: {}", hex(&Sha256::digest(&secret))),
        ];
        if let Some(description) = self.description {
            lines.push(format!("  description: {}", quoted(&description)));
        }
        let permissions: Vec<String> = self.permissions.iter().map(|word| quoted(word)).collect();
        lines.push(format!("  permissions: [{}]", permissions.join(", ")));
        if !self.metadata.is_empty() {
            let metadata: Vec<String> =
                self.metadata.iter().map(|(name, value)| format!("{name}: {}", quoted(value))).collect();
            lines.push(format!("  metadata: {{ {} }}", metadata.join(", ")));
        }
        // Without either a key never expires: with its creation alone it would after `default_expiry`.
        if let Some(expires) = expires {
            lines.push(format!("  created_at: {}", shown(now)));
            lines.push(format!("  expires_at: {}", shown(expires)));
        }
        Ok(lines.join("\n"))
    }
}

/// Bytes from the system's generator.
fn random<const N: usize>() -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    let mut filled = 0;
    while let Some(rest @ [_, ..]) = bytes.get_mut(filled..) {
        match getrandom(rest, GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(format!("the system has no random bytes: {error}")),
        }
    }
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// To the second, in UTC.
fn shown(at: SystemTime) -> String {
    Timestamp::try_from(at).map(|at| format!("{at:.0}")).unwrap_or_default()
}

/// `text` as YAML in double quotes; it has no control characters.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "$$"))
}

fn id(text: &str) -> Result<String, String> {
    match crate::config::auth::is_key_id(text) {
        true => Ok(text.to_owned()),
        false => Err("at most 64 letters, digits, `_`, `-`, `.`, `@` and `:`".to_owned()),
    }
}

fn permission(text: &str) -> Result<String, String> {
    match Permissions::parse([text]) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("expected `*`, read, write, delete, admin, or a service and a verb such as chat:read".to_owned()),
    }
}

fn metadata(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE such as team=search")?;
    if !(1..=64).contains(&name.len()) || !name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c)) {
        return Err("a name is at most 64 letters, digits, `_`, `-` and `.`".to_owned());
    }
    Ok((name.to_owned(), description(value)?))
}

fn description(text: &str) -> Result<String, String> {
    match text.is_empty() || text.chars().any(char::is_control) {
        true => Err("it is empty, or has control characters".to_owned()),
        false => Ok(text.to_owned()),
    }
}
