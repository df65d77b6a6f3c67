//! The AI gateways compared: where each is installed, how it is configured and started, and how it is asked.
//!
//! Each has what its makers advise for production and no more. The gateway has everything on that an operator would: key, token
//! limit, usage, metrics, access log. What the others lack of it is not held against them; `bench/README.md` has the list.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::load::Load;
use crate::compare::machine::{version, which};
use crate::compare::peers::{argv, free_address};
use crate::streams::prompts::MODEL;

/// What clients show every peer; the mock takes any key.
const KEY: &str = "sk-bench-3f9c2a71d08e4b56a1c7e2f4";
/// The script that installs the peers which no system package has.
const INSTALLER: &str = "packaging/scripts/ai-peers";

/// Every AI gateway there is, and the backend without one.
pub const KNOWN: [&str; 6] = ["direct", "sluicegate", "litellm", "portkey", "sglang-router", "vllm-router"];

/// Who carries thousands of streams: of the AI gateways the cheapest, and HAProxy, which passes bytes on and knows of no events.
/// Those that end in `-busy` look for events without sleeping.
pub const OF_STREAMS: [&str; 6] = ["direct", "sluicegate", "sluicegate-busy", "haproxy", "haproxy-busy", "vllm-router"];

/// The end of the name of a peer that has busy polling on.
const BUSY: &str = "-busy";

/// An AI gateway ready to be started; `direct` has no program.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The name in tables and of `--only`.
    pub name: &'static str,
    /// Its version.
    pub version: String,
    /// The command line; empty for `direct`.
    pub argv: Vec<String>,
    /// Its configuration file's text, where it has one.
    pub config: String,
    /// Where it will listen.
    pub address: SocketAddr,
    /// The provider's address.
    backend: SocketAddr,
}

/// Where everything is.
pub struct Places<'a> {
    /// The gateway's binary.
    pub gateway: &'a Path,
    /// The folder of the installed peers.
    pub peers: &'a Path,
    /// Where configurations and logs go.
    pub dir: &'a Path,
    /// The mock's address.
    pub backend: SocketAddr,
    /// The provider of large prompts, where the gateway has one.
    pub sink: Option<SocketAddr>,
    /// Worker threads, or processes, of a gateway: as many as it has cores.
    pub threads: u32,
}

impl Places<'_> {
    /// One peer, or why there is none. Errors when its configuration cannot be written.
    pub fn peer(&self, name: &'static str) -> io::Result<Result<Peer, String>> {
        let address = if name == "direct" { self.backend } else { free_address()? };
        let mut peer = Peer {
            name,
            version: "no gateway".to_owned(),
            argv: Vec::new(),
            config: String::new(),
            address,
            backend: self.backend,
        };
        if name == "direct" {
            return Ok(Ok(peer));
        }
        let program = self.program(name);
        if which(&program.to_string_lossy()).is_none() {
            return Ok(Err(self.missing(name, &program)));
        }
        peer.version = self.version(name, &program);
        let path = self.dir.join(format!("{name}.yaml"));
        peer.config = match name {
            "sluicegate" | "sluicegate-busy" => self.gateway_config(name, address)?,
            "litellm" => self.litellm_config(),
            "haproxy" | "haproxy-busy" => self.haproxy_config(name, address),
            _ => String::new(),
        };
        fs::write(&path, &peer.config)?;
        peer.argv = self.argv(name, &program, &path, address)?;
        Ok(Ok(peer))
    }

    fn program(&self, name: &str) -> PathBuf {
        match name.trim_end_matches(BUSY) {
            "sluicegate" => self.gateway.to_path_buf(),
            "haproxy" => PathBuf::from("haproxy"),
            "portkey" => self.peers.join("portkey/node_modules/@portkey-ai/gateway/build/start-server.js"),
            _ => self.peers.join(name).join("bin").join(name),
        }
    }

    /// Why a peer is not there: what the installer wrote down, or that it has not run.
    fn missing(&self, name: &str, program: &Path) -> String {
        let told = fs::read_to_string(self.peers.join(format!("{name}.failed"))).unwrap_or_default();
        match told.trim() {
            "" => format!("{} is not there; {INSTALLER} installs it", program.display()),
            why => why.to_owned(),
        }
    }

    fn version(&self, name: &str, program: &Path) -> String {
        match name.trim_end_matches(BUSY) {
            "sluicegate" => version(program, "--version"),
            "haproxy" => version(program, "-v"),
            _ => fs::read_to_string(self.peers.join(format!("{name}.version"))).unwrap_or_default().trim().to_owned(),
        }
    }

    fn argv(&self, name: &str, program: &Path, config: &Path, address: SocketAddr) -> io::Result<Vec<String>> {
        let (host, port) = (address.ip().to_string(), address.port().to_string());
        let metrics = free_address()?.port().to_string();
        let (config, program) = (config.to_string_lossy(), program.to_string_lossy());
        let worker = format!("http://{}", self.backend);
        let workers = self.threads.to_string();
        let env = |words: &[&str]| argv(Path::new("env"), words);
        Ok(match name.trim_end_matches(BUSY) {
            "sluicegate" => argv(Path::new(&*program), &["run", "-c", &config]),
            "haproxy" => argv(Path::new(&*program), &["-f", &config]),
            // The settings of its page on production; without the local map it would fetch prices when it starts.
            "litellm" => env(&[
                "LITELLM_MODE=PRODUCTION",
                "LITELLM_LOG=ERROR",
                "LITELLM_LOCAL_MODEL_COST_MAP=True",
                &program,
                "--config",
                &config,
                "--host",
                &host,
                "--port",
                &port,
                "--num_workers",
                &workers,
                // Else a worker that imports for longer than five seconds is taken for dead, and begins anew.
                "--timeout_worker_healthcheck",
                "120",
                "--telemetry",
                "False",
            ]),
            "portkey" => env(&["NODE_ENV=production", "node", &program, "--headless", &format!("--port={port}")]),
            "sglang-router" => argv(
                Path::new(&*program),
                &[
                    "launch",
                    "--host",
                    &host,
                    "--port",
                    &port,
                    "--worker-urls",
                    &worker,
                    "--policy",
                    "round_robin",
                    "--api-key",
                    KEY,
                    "--log-level",
                    "warn",
                    "--prometheus-host",
                    &host,
                    "--prometheus-port",
                    &metrics,
                ],
            ),
            _ => argv(
                Path::new(&*program),
                &[
                    "--host",
                    &host,
                    "--port",
                    &port,
                    "--worker-urls",
                    &worker,
                    "--policy",
                    "round_robin",
                    "--log-level",
                    "warning",
                    "--prometheus-host",
                    &host,
                    "--prometheus-port",
                    &metrics,
                ],
            ),
        })
    }

    /// The gateway with everything on that guards and counts: a key, a budget of tokens that outlives it, metrics, the access log.
    pub fn gateway_config(&self, name: &str, address: SocketAddr) -> io::Result<String> {
        let busy = if name.ends_with(BUSY) { ", busy_polling: 1ms" } else { "" };
        let (admin, backend, dir, threads) = (free_address()?, self.backend, self.dir.display(), self.threads);
        fs::create_dir_all(self.dir.join("state"))?;
        let (provider, model) = self.sink.map_or_else(Default::default, |sink| {
            let provider = format!("    sink: {{ kind: openai, base_url: \"http://{sink}\", keys: [sk-mock] }}\n");
            (provider, format!(", {MODEL}: [sink]"))
        });
        Ok(format!(
            "listen: [{{ address: \"{address}\" }}]\nadmin: {{ address: \"{admin}\" }}\n\
             server: {{ threads: {threads}, max_connections: 9000, max_body: 32MiB, state_dir: \"{dir}/state\"{busy} }}\n\
             log: {{ level: warn, access: {{ file: \"{dir}/access.log\", format: json }} }}\n\
             auth: {{ api_keys: {{ default_expiry: never, keys: [{{ id: bench, secret: {KEY}, permissions: [\"*\"] }}] }} }}\n\
             limits: {{ tokens: {{ key: api_key, tokens: 100000000000/day }} }}\n\
             ai:\n  providers:\n    openai: {{ kind: openai, base_url: \"http://{backend}\", keys: [sk-mock] }}\n    \
             anthropic: {{ kind: anthropic, base_url: \"http://{backend}\", keys: [sk-mock] }}\n\
             {provider}  models: {{ m: [openai], c: [anthropic]{model} }}\n\
             routes: [{{ name: ai, match: {{ path: /v1/ }}, ai: {{}}, limits: [tokens] }}]\n"
        ))
    }

    fn haproxy_config(&self, name: &str, address: SocketAddr) -> String {
        let busy = if name.ends_with(BUSY) { "  busy-polling\n" } else { "" };
        let (backend, threads) = (self.backend, self.threads);
        format!(
            "global\n  nbthread {threads}\n  maxconn 9000\n{busy}defaults\n  mode http\n  timeout connect 5s\n  \
             timeout client 60s\n  timeout server 60s\n  \
             option http-no-delay\nfrontend web\n  bind {address}\n  \
             default_backend app\nbackend app\n  server a {backend}\n"
        )
    }

    fn litellm_config(&self) -> String {
        let backend = self.backend;
        format!(
            "model_list:\n  - model_name: m\n    \
             litellm_params: {{ model: openai/m, api_base: \"http://{backend}/v1\", api_key: sk-mock }}\n  \
             - model_name: c\n    \
             litellm_params: {{ model: anthropic/c, api_base: \"http://{backend}\", api_key: sk-mock }}\n\
             general_settings: {{ master_key: {KEY} }}\n\
             litellm_settings: {{ set_verbose: false, request_timeout: 600, json_logs: true }}\n"
        )
    }
}

impl Peer {
    /// Whether it is measured at this load: the routers do not translate. Without a gateway the mock speaks what the client does.
    pub fn serves(&self, load: Load) -> bool {
        !load.is_translated() || !self.name.ends_with("-router")
    }

    /// The header fields that a client of this peer sends.
    pub fn fields(&self, load: Load) -> Vec<(String, String)> {
        let mut fields = vec![("Authorization", format!("Bearer {KEY}"))];
        if self.name == "portkey" {
            // It has no configuration of its own: every request says who is to be asked, and where.
            let provider = if load.is_translated() { "anthropic" } else { "openai" };
            fields.push(("x-portkey-provider", provider.to_owned()));
            fields.push(("x-portkey-custom-host", format!("http://{}/v1", self.backend)));
        }
        fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// The model to ask for.
    pub fn model(&self, load: Load) -> &'static str {
        if load.is_translated() { "c" } else { "m" }
    }
}
