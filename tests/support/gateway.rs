//! The gateway under test: a child process with ports, files and logs of its own.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::client::{Answer, Client};
use super::metrics::Metrics;
use super::raw::{RawConnection, connect};
use super::{eventually, free_address, pause};

pub use rustix::process::Signal;

/// From exec to an answering gateway. Generous: the test machine is busy with other tests.
const STARTS_WITHIN: Duration = Duration::from_secs(20);

/// A running gateway. Dropping it kills it.
pub struct Gateway {
    child: Child,
    dir: TempDir,
    addresses: Addresses,
    stderr: Arc<Mutex<String>>,
    collector: Option<JoinHandle<()>>,
    client: Client,
}

/// A process that has ended.
#[derive(Debug)]
pub struct Exit {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to stdout.
    pub stdout: String,
    /// What it wrote to stderr.
    pub stderr: String,
}

/// The addresses reserved for one gateway.
#[derive(Clone, Copy)]
pub(super) struct Addresses {
    listen: SocketAddr,
    listen2: SocketAddr,
    admin: SocketAddr,
}

/// Runs the binary to its end.
pub fn sluicegate(arguments: &[&str]) -> Exit {
    let output = Command::new(env!("CARGO_BIN_EXE_sluicegate")).args(arguments).output().unwrap();
    Exit {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// `sluicegate check` of this text.
pub fn check(config: &str) -> Exit {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("sluicegate.yaml");
    std::fs::write(&file, config).unwrap();
    sluicegate(&["check", "-c", file.to_str().unwrap()])
}

impl Addresses {
    /// Three free ports. Another process may take one before the gateway does.
    pub(super) fn reserve() -> Self {
        Self { listen: free_address(), listen2: free_address(), admin: free_address() }
    }

    /// Puts the addresses and the directory in the places of their names.
    pub(super) fn fill(&self, text: &str, dir: &Path) -> String {
        text.replace("{listen}", &self.listen.to_string())
            .replace("{listen2}", &self.listen2.to_string())
            .replace("{listen2_port}", &self.listen2.port().to_string())
            .replace("{admin}", &self.admin.to_string())
            .replace("{dir}", dir.to_str().unwrap())
    }
}

impl Gateway {
    /// Starts `command` and collects what it says.
    pub(super) fn spawn(mut command: Command, dir: TempDir, addresses: Addresses) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (stderr, collector) = collect(child.stderr.take().unwrap());
        Self { child, dir, addresses, stderr, collector: Some(collector), client: Client::http(addresses.listen) }
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.addresses.listen
    }

    /// The second listener's address, when the file has one.
    pub fn second_address(&self) -> SocketAddr {
        self.addresses.listen2
    }

    /// Where operators connect.
    pub fn admin_address(&self) -> SocketAddr {
        self.addresses.admin
    }

    /// A path as a whole URL.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addresses.listen)
    }

    /// The gateway's directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Lets a new process take over, and gives its id; the test fails when it does not.
    pub async fn upgrade(&self) -> u32 {
        let exit = self.ctl(&["upgrade", "--wait"]).await;
        assert_eq!(exit.code, Some(0), "{}", exit.stderr);
        self.serving_pid().await
    }

    /// The process that answers at the admin address.
    pub async fn serving_pid(&self) -> u32 {
        let status: Value = serde_json::from_str(self.control("GET", "/control/status").await.text()).unwrap();
        status["pid"].as_u64().and_then(|pid| pid.try_into().ok()).unwrap()
    }

    /// Sends a signal to one of the processes that took over.
    pub fn signal_to(&self, pid: u32, signal: Signal) {
        assert!(self.processes().contains(&pid), "{pid} is none of this gateway's");
        kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), signal).unwrap();
    }

    /// Every process that runs with its configuration file.
    pub fn processes(&self) -> Vec<u32> {
        let file = self.config_file();
        let ids =
            std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let is_ours = |pid: &u32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.split(|byte| *byte == 0).any(|word| word == file.as_os_str().as_encoded_bytes())
        };
        ids.filter(is_ours).collect()
    }

    /// A plain HTTP/1.1 client of it.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// A client of the admin address.
    pub fn admin(&self) -> Client {
        Client::http(self.addresses.admin)
    }

    /// GET by a plain client.
    pub async fn get(&self, path: &str) -> Answer {
        self.client.get(path).await
    }

    /// POST by a plain client.
    pub async fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> Answer {
        self.client.post(path, body).await
    }

    /// A request by a plain client.
    pub fn ask(&self, method: &str, path: &str) -> super::client::Ask {
        self.client.ask(method, path)
    }

    /// A TCP connection to it.
    pub async fn connect(&self) -> RawConnection {
        connect(self.addresses.listen).await
    }

    /// Waits until every pool that a route needs has a member: `/ready` is 200.
    pub async fn ready(self) -> Self {
        let admin = self.admin();
        eventually(Duration::from_secs(10), "the gateway is ready", async || admin.get("/ready").await.status == 200)
            .await;
        self
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
    }

    /// The text of its configuration file.
    pub fn config(&self) -> String {
        std::fs::read_to_string(self.config_file()).unwrap()
    }

    /// Its configuration file.
    pub fn config_file(&self) -> PathBuf {
        self.dir.path().join("sluicegate.yaml")
    }

    /// Changes its configuration file; it only counts after a reload.
    pub fn rewrite_config(&self, change: impl FnOnce(&str) -> String) {
        let text = self.addresses.fill(&change(&self.config()), self.dir.path());
        std::fs::write(self.config_file(), text).unwrap();
    }

    /// Replaces `from` by `to` in the configuration file and reloads; the test fails when the reload is refused.
    pub async fn reload_with(&self, from: &str, to: &str) {
        self.rewrite_config(|text| {
            assert!(text.contains(from), "nothing to replace: {from:?} is not in\n{text}");
            text.replace(from, to)
        });
        let answer = self.reload().await;
        assert_eq!(answer.status, 200, "the reload was refused: {}", answer.text());
    }

    /// Changes the hosts file that [`Builder::hosts`] made.
    pub fn set_hosts(&self, lines: &str) {
        std::fs::write(self.dir.path().join("hosts"), lines).unwrap();
    }

    /// Reloads over the control API.
    pub async fn reload(&self) -> Answer {
        self.control("POST", "/control/reload").await
    }

    /// Calls the control API without a token.
    pub async fn control(&self, method: &str, path: &str) -> Answer {
        self.admin().ask(method, path).send().await
    }

    /// `sluicegate ctl` with these arguments.
    pub async fn ctl(&self, arguments: &[&str]) -> Exit {
        let file = self.config_file().to_str().unwrap().to_owned();
        let mut all = vec!["ctl".to_owned(), "-c".to_owned(), file];
        all.extend(arguments.iter().map(ToString::to_string));
        let run = move || sluicegate(&all.iter().map(String::as_str).collect::<Vec<_>>());
        tokio::task::spawn_blocking(run).await.unwrap()
    }

    /// A scrape of the metrics.
    pub async fn metrics(&self) -> Metrics {
        let answer = self.admin().get("/metrics").await;
        assert_eq!(answer.status, 200, "the metrics are there");
        Metrics::new(answer.text().to_owned())
    }

    /// The sum over the series that `selector` takes; see [`Metrics::sum`].
    pub async fn metric(&self, selector: &str) -> f64 {
        self.metrics().await.sum(selector)
    }

    /// Waits until the access log has at least `count` lines, and gives all it has.
    pub async fn access_lines(&self, count: usize) -> Vec<String> {
        let file = self.dir.path().join("access.log");
        let mut lines: Vec<String> = Vec::new();
        eventually(Duration::from_secs(5), &format!("{count} lines in the access log"), async || {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            lines = text.lines().map(str::to_owned).collect();
            lines.len() >= count && (text.is_empty() || text.ends_with('\n'))
        })
        .await;
        lines
    }

    /// The same, each line read as JSON.
    pub async fn access_log(&self, count: usize) -> Vec<Value> {
        let lines = self.access_lines(count).await;
        let parse = |line: &String| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        lines.iter().map(parse).collect()
    }

    /// Waits until the audit log, `{dir}/audit.log`, has at least `count` lines, and gives all it has.
    pub async fn audit_log(&self, count: usize) -> Vec<Value> {
        let file = self.dir.path().join("audit.log");
        let mut text = String::new();
        eventually(Duration::from_secs(5), &format!("{count} lines in the audit log"), async || {
            text = std::fs::read_to_string(&file).unwrap_or_default();
            text.lines().count() >= count && (text.is_empty() || text.ends_with('\n'))
        })
        .await;
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
    }

    /// What it wrote to stderr so far.
    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// Waits until it has written `text` to stderr.
    pub async fn says(&self, text: &str) {
        eventually(Duration::from_secs(5), &format!("{text:?} on stderr"), async || self.stderr().contains(text)).await;
    }

    /// Its resident memory in bytes.
    pub fn memory(&self) -> u64 {
        self.memory_line("VmRSS:")
    }

    /// Its own memory in bytes: without the pages of the program, which are several times as many in a debug build.
    pub fn own_memory(&self) -> u64 {
        self.memory_line("RssAnon:")
    }

    /// The most resident memory it ever had, in bytes.
    pub fn peak_memory(&self) -> u64 {
        self.memory_line("VmHWM:")
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until it has ended; the test fails when it has not within `deadline`.
    pub async fn wait_exit(&mut self, deadline: Duration) -> Exit {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                // A process that took over writes to the same pipe.
                if let Some(collector) = self.collector.take().filter(|_| self.processes().is_empty()) {
                    collector.join().unwrap();
                }
                return Exit { code: status.code(), stdout: String::new(), stderr: self.stderr() };
            }
            assert!(started.elapsed() < deadline, "still running after {deadline:?}");
            pause(Duration::from_millis(2)).await;
        }
    }

    fn memory_line(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    /// Ends it with `signal`, and starts it again with the same files and addresses, and without an environment of its own.
    pub async fn restart(&mut self, signal: Signal) {
        self.restart_after(signal, || ()).await;
    }

    /// The same, with something done to its files meanwhile.
    pub async fn restart_after(&mut self, signal: Signal, meanwhile: impl FnOnce()) {
        self.signal(signal);
        self.wait_exit(Duration::from_secs(40)).await;
        meanwhile();
        let mut command = Command::new(env!("CARGO_BIN_EXE_sluicegate"));
        command.args(["run", "-c", self.config_file().to_str().unwrap()]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        self.child = command.spawn().unwrap();
        let (stderr, collector) = collect(self.child.stderr.take().unwrap());
        (self.stderr, self.collector) = (stderr, Some(collector));
        if let Err(exit) = self.comes_up().await {
            panic!("the gateway ended with {:?} instead of starting again:\n{}", exit.code, exit.stderr);
        }
    }

    /// Waits until it answers; the exit when it ends instead.
    pub(super) async fn came_up(mut self) -> Result<Self, Exit> {
        self.comes_up().await.map(|()| self)
    }

    async fn comes_up(&mut self) -> Result<(), Exit> {
        let started = Instant::now();
        let with_admin = self.config().contains(&self.addresses.admin.to_string());
        let door = if with_admin { self.addresses.admin } else { self.addresses.listen };
        let probe = Client::build(format!("http://{door}"), |builder| builder.timeout(Duration::from_secs(1)));
        loop {
            if !self.runs() {
                return Err(self.wait_exit(Duration::ZERO).await);
            }
            let healthy = probe.ask("GET", "/health").try_send().await.is_ok_and(|answer| answer.status == 200);
            if healthy && tokio::net::TcpStream::connect(self.addresses.listen).await.is_ok() {
                return Ok(());
            }
            assert!(started.elapsed() < STARTS_WITHIN, "does not answer after {STARTS_WITHIN:?}");
            pause(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // Both may fail when it has ended already, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
        for pid in self.processes() {
            let _ = kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), Signal::KILL);
        }
        if std::thread::panicking() {
            let said = self.stderr();
            let tail: Vec<&str> = said.lines().rev().take(60).collect();
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            let report =
                format!("--- configuration\n{}--- the gateway's stderr\n{}\n---\n", self.config(), tail.join("\n"));
            let _ = std::io::stderr().write_all(report.as_bytes());
        }
    }
}

/// Reads a pipe to its end in a thread of its own.
fn collect(mut pipe: impl Read + Send + 'static) -> (Arc<Mutex<String>>, JoinHandle<()>) {
    let text = Arc::new(Mutex::new(String::new()));
    let sink = Arc::clone(&text);
    let collector = std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = pipe.read(&mut buffer) {
            let piece = String::from_utf8_lossy(buffer.get(..count).unwrap_or_default());
            sink.lock().unwrap().push_str(&piece);
        }
    });
    (text, collector)
}
