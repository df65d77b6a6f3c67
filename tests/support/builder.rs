//! What a gateway is to be like, before it runs: its configuration file, its files and its environment.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::Mock;
use super::gateway::{Addresses, Exit, Gateway};

/// Tries with other ports when a reserved one was taken meanwhile.
const TRIES: usize = 5;

/// What a gateway is to be like. Its text may hold `{listen}`, `{listen2}`, `{admin}` (addresses reserved for it) and
/// `{dir}` (its directory).
#[derive(Default, Clone)]
pub struct Builder {
    listeners: Vec<String>,
    pools: Vec<String>,
    routes: Vec<String>,
    sections: Vec<(String, String)>,
    whole: Option<String>,
    files: Vec<(String, String)>,
    environment: Vec<(String, String)>,
    hosts: Option<String>,
    open_files: Option<u32>,
    behind: Vec<String>,
}

/// A gateway with one plain listener, an admin address and a JSON access log; add pools and routes.
/// Without a route, everything goes to the first pool.
pub fn gateway() -> Builder {
    Builder::default()
        .section("admin", r#"{ address: "{admin}" }"#)
        .section("log", r#"{ level: info, access: { file: "{dir}/access.log", format: json } }"#)
}

impl Builder {
    /// A pool of mocks.
    pub fn pool(self, name: &str, members: &[&Mock]) -> Self {
        self.pool_with(name, members, "")
    }

    /// A pool of mocks with more keys: `balance: ip_hash, retry: { attempts: 1 }`.
    pub fn pool_with(self, name: &str, members: &[&Mock], options: &str) -> Self {
        let addresses: Vec<String> = members.iter().map(|mock| mock.address().to_string()).collect();
        self.members(name, &addresses, options)
    }

    /// A pool of members as they stand in the file: addresses, or `{ address: ..., weight: 9 }`.
    pub fn members(mut self, name: &str, members: &[impl ToString], options: &str) -> Self {
        let members: Vec<String> = members.iter().map(|member| quoted(&member.to_string())).collect();
        let comma = if options.is_empty() { "" } else { ", " };
        self.pools.push(format!("  {name}: {{ members: [{}]{comma}{options} }}\n", members.join(", ")));
        self
    }

    /// A route: the inside of its braces, `match: { path: /api/ }, pool: app`.
    pub fn route(mut self, route: &str) -> Self {
        self.routes.push(format!("  - {{ {route} }}\n"));
        self
    }

    /// A listener in the place of the plain one: the inside of its braces.
    pub fn listener(mut self, listener: &str) -> Self {
        self.listeners.push(format!("  - {{ {listener} }}\n"));
        self
    }

    /// Any other section of the file.
    pub fn section(mut self, name: &str, value: &str) -> Self {
        self.sections.retain(|(known, _)| known != name);
        self.sections.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The whole text of the file, in the place of everything else.
    pub fn config(mut self, text: &str) -> Self {
        self.whole = Some(text.to_owned());
        self
    }

    /// A file in the gateway's directory.
    pub fn file(mut self, name: &str, content: &str) -> Self {
        self.files.push((name.to_owned(), content.to_owned()));
        self
    }

    /// A variable of the gateway's environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Lines of a hosts file of its own, in a mount namespace of its own; change them with [`Gateway::set_hosts`].
    pub fn hosts(mut self, lines: &str) -> Self {
        self.hosts = Some(lines.to_owned());
        self
    }

    /// The most descriptors it may have open.
    pub fn open_files(mut self, most: u32) -> Self {
        self.open_files = Some(most);
        self
    }

    /// Another program that executes it: these words, with `{dir}` and the addresses filled in, and then its own.
    pub fn behind(mut self, words: &[&str]) -> Self {
        self.behind = words.iter().map(ToString::to_string).collect();
        self
    }

    /// As if it were installed: by the path `{dir}/gateway`, which a test may replace.
    pub fn installed(self) -> Self {
        self.behind(&["sh", "-c", r#"ln -s "$1" "$0" && shift && exec "$0" "$@""#, "{dir}/gateway"])
    }

    /// Starts it, and waits until it answers.
    pub async fn start(self) -> Gateway {
        let mut last = String::new();
        for _ in 0..TRIES {
            match self.launch().came_up().await {
                Ok(gateway) => return gateway,
                // A port that was free a moment ago, or that was given out twice.
                Err(exit) if ["in use", "served on this address"].iter().any(|text| exit.stderr.contains(text)) => {
                    last = exit.stderr;
                }
                Err(exit) => panic!("the gateway ended with {:?} instead of starting:\n{}", exit.code, exit.stderr),
            }
        }
        panic!("no free port in {TRIES} tries:\n{last}");
    }

    /// Starts it, and waits until it gives up.
    pub async fn start_in_vain(self) -> Exit {
        match self.launch().came_up().await {
            Ok(gateway) => panic!("the gateway started, and should not have:\n{}", gateway.config()),
            Err(exit) => exit,
        }
    }

    /// Starts it, and waits for nothing.
    pub fn launch(&self) -> Gateway {
        let dir = TempDir::new().unwrap();
        let addresses = Addresses::reserve();
        for (name, content) in &self.files {
            std::fs::write(dir.path().join(name), content).unwrap();
        }
        let config = dir.path().join("sluicegate.yaml");
        std::fs::write(&config, addresses.fill(&self.text(), dir.path())).unwrap();
        let mut command = self.command(dir.path(), &addresses);
        command.args(["run", "-c", config.to_str().unwrap()]);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        Gateway::spawn(command, dir, addresses)
    }

    /// The binary, behind a shell that gives it what is its own. It is exec'd: the child is the gateway itself.
    fn command(&self, dir: &Path, addresses: &Addresses) -> Command {
        let binary = env!("CARGO_BIN_EXE_sluicegate");
        if let Some((program, words)) = self.behind.split_first() {
            let mut command = Command::new(program);
            command.args(words.iter().map(|word| addresses.fill(word, dir))).arg(binary);
            return command;
        }
        if let Some(lines) = &self.hosts {
            std::fs::write(dir.join("hosts"), lines).unwrap();
            let mut command = Command::new("unshare");
            let script = r#"mount --bind "$0" /etc/hosts && exec "$@""#;
            command.args(["--mount", "sh", "-c", script]).arg(dir.join("hosts")).arg(binary);
            return command;
        }
        if let Some(most) = self.open_files {
            let mut command = Command::new("sh");
            command.args(["-c", r#"ulimit -n "$0" && exec "$@""#, &most.to_string(), binary]);
            return command;
        }
        Command::new(binary)
    }

    /// The text of the file, placeholders and all.
    fn text(&self) -> String {
        if let Some(whole) = &self.whole {
            return whole.clone();
        }
        let listeners = or_default(&self.listeners, "  - { address: \"{listen}\" }\n");
        let first = self.pools.first().and_then(|pool| pool.split(':').next()).unwrap_or("none").trim();
        let routes = or_default(&self.routes, &format!("  - {{ match: {{ path: / }}, pool: {first} }}\n"));
        let sections = self.sections.iter().map(|(name, value)| format!("{name}: {value}\n"));
        let pools = if self.pools.is_empty() { String::new() } else { format!("pools:\n{}", self.pools.concat()) };
        format!("listen:\n{listeners}{}{pools}routes:\n{routes}", sections.collect::<String>())
    }
}

fn or_default(lines: &[String], default: &str) -> String {
    if lines.is_empty() { default.to_owned() } else { lines.concat() }
}

/// An address in quotes; a member in braces as it is.
fn quoted(member: &str) -> String {
    if member.starts_with('{') { member.to_owned() } else { format!("\"{member}\"") }
}
