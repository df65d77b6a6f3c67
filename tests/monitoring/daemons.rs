//! The real programs: Prometheus, Alertmanager and the exporters, each a child process on a free port of loopback with files
//! of its own. They get what is shipped, with addresses of this machine and with less patience.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::shipped::{directory, yaml};
use super::support::*;

/// How many times faster everything waits here: what takes a minute at home takes two seconds.
const HASTE: u64 = 30;
/// Tries with another port when somebody else took the first.
const TRIES: usize = 5;
/// From start to an answer, on a machine that is busy with other tests.
const STARTS_WITHIN: u64 = 60;

/// Runs a program to its end; the test fails with all that it said when it fails. Gives what it wrote.
pub fn tool(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}; `make deps` installs it"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}\n{said}{complaint}");
    said
}

/// The first of these programs that there is. Where there is none the test says so and is left out; it fails where `CI` is set.
fn program(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/usr/local/sbin";
    let found = names.iter().flat_map(|name| path.split(':').map(move |folder| Path::new(folder).join(name)));
    let found = found.into_iter().find(|file| file.is_file());
    if found.is_none() {
        let said = format!("{} is not installed: run `make deps`", names.join(" or "));
        assert!(std::env::var_os("CI").is_none_or(|ci| ci.is_empty() || ci == "false"), "{said}");
        eprintln!("SKIPPED: {said}");
    }
    found
}

/// A child process that answers HTTP. It ends with this.
struct Daemon {
    child: Child,
    address: SocketAddr,
    client: Client,
    dir: TempDir,
}

impl Daemon {
    /// Starts `program` in a directory of its own, with the arguments and files that `prepare` makes for an address, and waits
    /// until `/path` answers 200.
    async fn start(program: &Path, path: &str, prepare: impl Fn(SocketAddr, &Path) -> Vec<String>) -> Self {
        let mut said = String::new();
        for _ in 0..TRIES {
            let (address, dir) = (free_address(), TempDir::new().unwrap());
            let log = std::fs::File::create(dir.path().join("log")).unwrap();
            let child = Command::new(program)
                .args(prepare(address, dir.path()))
                .current_dir(dir.path())
                .stdin(Stdio::null())
                .stdout(log.try_clone().unwrap())
                .stderr(log)
                .spawn()
                .unwrap();
            let mut daemon = Self { child, address, client: Client::http(address), dir };
            if daemon.answers(path).await {
                return daemon;
            }
            said = daemon.log();
        }
        panic!("{} does not run:\n{said}", program.display());
    }

    /// False: it has ended.
    async fn answers(&mut self, path: &str) -> bool {
        let mut runs = true;
        eventually(s(STARTS_WITHIN), &format!("an answer at {path}"), async || {
            runs = self.child.try_wait().unwrap().is_none();
            !runs || self.client.ask("GET", path).try_send().await.is_ok_and(|answer| answer.status == 200)
        })
        .await;
        runs
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    async fn get(&self, path: &str) -> Answer {
        self.client.get(path).await
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Both may fail when it has ended already, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the process at {}\n{}---", self.address, self.log());
        }
    }
}

/// Whom a Prometheus scrapes.
#[derive(Default)]
pub struct Targets {
    pub sluicegate: Vec<SocketAddr>,
    pub jairouter: Vec<SocketAddr>,
    pub node: Vec<SocketAddr>,
    /// URLs.
    pub probe: Vec<String>,
    /// Who probes.
    pub prober: Option<SocketAddr>,
}

/// Prometheus with the configuration and the rules that are shipped.
pub struct Prometheus(Daemon);

impl Prometheus {
    /// `None`: it is not installed.
    pub async fn start(targets: &Targets, alertmanager: Option<&Alertmanager>) -> Option<Self> {
        let program = program(&["prometheus"])?;
        let alerts_to: Vec<String> = alertmanager.map(|one| one.0.address.to_string()).into_iter().collect();
        let prepare = |address: SocketAddr, dir: &Path| {
            write_rules(dir);
            write_targets(dir, targets);
            let prober = targets.prober.map(|prober| prober.to_string());
            std::fs::write(dir.join("prometheus.yml"), configuration(&alerts_to, prober.as_deref())).unwrap();
            let own = [("config.file", "prometheus.yml"), ("storage.tsdb.path", "data"), ("log.level", "warn")];
            let own = own.map(|(name, value)| format!("--{name}={value}"));
            own.into_iter().chain([format!("--web.listen-address={address}")]).collect()
        };
        Some(Self(Daemon::start(&program, "/-/ready", prepare).await))
    }

    /// How many series an expression has now, or what is wrong with it.
    pub async fn ask(&self, expression: &str) -> Result<usize, String> {
        let coded: String = expression.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let answer = self.0.get(&format!("/api/v1/query?query={coded}")).await.json();
        match answer["status"].as_str() {
            Some("success") => Ok(answer["data"]["result"].as_array().map_or(0, Vec::len)),
            _ => Err(answer["error"].to_string()),
        }
    }

    /// Waits until an expression has a series.
    pub async fn has(&self, expression: &str) {
        eventually(s(60), expression, async || self.ask(expression).await.unwrap() > 0).await;
    }
}

/// The shipped rules, with shorter patience.
fn write_rules(dir: &Path) {
    std::fs::create_dir(dir.join("rules")).unwrap();
    for entry in std::fs::read_dir(directory().join("rules")).unwrap() {
        let file = entry.unwrap().path();
        let mut rules = yaml(&std::fs::read_to_string(&file).unwrap());
        for group in rules["groups"].as_array_mut().unwrap() {
            for rule in group["rules"].as_array_mut().unwrap() {
                if let Some(patience) = rule["for"].as_str() {
                    rule["for"] = format!("{}s", seconds(patience).div_ceil(HASTE)).into();
                }
            }
        }
        write_yaml(&dir.join("rules").join(file.file_name().unwrap()), &rules);
    }
}

/// `12h` in seconds.
fn seconds(text: &str) -> u64 {
    let (number, unit) = text.split_at(text.len() - 1);
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        other => panic!("{text} is in {other}"),
    };
    number.parse::<u64>().unwrap() * unit
}

fn write_targets(dir: &Path, targets: &Targets) {
    std::fs::create_dir(dir.join("targets")).unwrap();
    let text = |addresses: &[SocketAddr]| addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>();
    for (name, list) in [
        ("sluicegate", text(&targets.sluicegate)),
        ("jairouter", text(&targets.jairouter)),
        ("node", text(&targets.node)),
        ("probe", targets.probe.clone()),
    ] {
        write_yaml(&dir.join(format!("targets/{name}.yml")), &json!([{ "targets": list }]));
    }
}

/// The shipped configuration: each second, with these in the places of the addresses that stand in it.
fn configuration(alerts_to: &[String], prober: Option<&str>) -> String {
    let text = std::fs::read_to_string(directory().join("prometheus.yml")).unwrap();
    let (prober_there, alertmanager_there) = ("127.0.0.1:9115", "127.0.0.1:9093");
    assert!(text.contains(prober_there) && text.contains(alertmanager_there));
    let mut config = yaml(&text.replace(prober_there, prober.unwrap_or(prober_there)));
    config["global"] = json!({ "scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s" });
    config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = json!(alerts_to);
    for job in config["scrape_configs"].as_array_mut().unwrap() {
        let job = job.as_object_mut().unwrap();
        job.remove("scrape_interval");
        job.remove("scrape_timeout");
    }
    serde_yaml::to_string(&config).unwrap()
}

fn write_yaml(file: &Path, value: &Value) {
    std::fs::write(file, serde_yaml::to_string(value).unwrap()).unwrap();
}

/// Alertmanager with the configuration that is shipped, telling another receiver.
pub struct Alertmanager(Daemon);

impl Alertmanager {
    /// `None`: it is not installed.
    pub async fn start(receiver: SocketAddr) -> Option<Self> {
        let program = program(&["prometheus-alertmanager", "alertmanager"])?;
        let text = std::fs::read_to_string(directory().join("alertmanager.yml")).unwrap();
        assert_eq!(text.matches("127.0.0.1:5001").count(), 3, "every receiver is on this machine");
        let mut config = yaml(&text.replace("127.0.0.1:5001", &receiver.to_string()));
        config["route"]["group_wait"] = "1s".into();
        config["route"]["group_interval"] = "1s".into();
        let prepare = |address: SocketAddr, dir: &Path| {
            write_yaml(&dir.join("alertmanager.yml"), &config);
            let own = [("config.file", "alertmanager.yml"), ("storage.path", "data"), ("cluster.listen-address", "")];
            let own = own.map(|(name, value)| format!("--{name}={value}"));
            own.into_iter().chain([format!("--web.listen-address={address}")]).collect()
        };
        Some(Self(Daemon::start(&program, "/-/ready", prepare).await))
    }

    /// Waits until it has an alert of this name, and does not tell it because of another.
    pub async fn holds_back(&self, name: &str) {
        eventually(s(60), &format!("{name} is inhibited"), async || {
            let all = self.0.get("/api/v2/alerts").await.json();
            let mut of_name = all.as_array().unwrap().iter().filter(|alert| alert["labels"]["alertname"] == name);
            of_name.any(|alert| alert["status"]["inhibitedBy"].as_array().is_some_and(|by| !by.is_empty()))
        })
        .await;
    }
}

/// An exporter beside the gateway.
pub struct Exporter {
    daemon: Daemon,
    probes: bool,
}

impl Exporter {
    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.daemon.address
    }

    /// What it shows; of one that probes, about this URL.
    pub async fn scrape(&self, probed: &str) -> Metrics {
        let path =
            if self.probes { format!("/probe?module=sluicegate&target={probed}") } else { "/metrics".to_owned() };
        let text = self.daemon.get(&path).await.text().to_owned();
        // Only names and labels are asked for; histograms of Go bear exponents of their own.
        Metrics::new(text)
    }
}

/// The exporter for machines. `None`: it is not installed.
pub async fn node_exporter() -> Option<Exporter> {
    let program = program(&["prometheus-node-exporter", "node_exporter"])?;
    let prepare = |address: SocketAddr, _: &Path| vec![format!("--web.listen-address={address}")];
    Some(Exporter { daemon: Daemon::start(&program, "/metrics", prepare).await, probes: false })
}

/// The exporter that probes, with the module that is shipped and one more authority. `None`: it is not installed.
pub async fn blackbox(ca: &Path) -> Option<Exporter> {
    let program = program(&["prometheus-blackbox-exporter", "blackbox_exporter"])?;
    let mut config = yaml(&std::fs::read_to_string(directory().join("blackbox.yml")).unwrap());
    config["modules"]["sluicegate"]["http"]["tls_config"] = json!({ "ca_file": ca });
    let prepare = |address: SocketAddr, dir: &Path| {
        write_yaml(&dir.join("blackbox.yml"), &config);
        vec!["--config.file=blackbox.yml".to_owned(), format!("--web.listen-address={address}")]
    };
    Some(Exporter { daemon: Daemon::start(&program, "/-/healthy", prepare).await, probes: true })
}
