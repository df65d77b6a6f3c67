//! The proxies compared: how each is configured and started.
//!
//! Every configuration is the shortest that does the job: two workers, keep-alive on both sides, one backend. nginx and HAProxy run
//! twice, without and with an access log to a file; the gateway always writes its access log and metrics and sets forwarding headers.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use super::load::Workload;
use super::machine::{version, which};
use super::{Backend, Plan};

/// What goes through to the backend.
const PROXIED: &[Workload] = &[Workload::Get, Workload::Post, Workload::Ab];
/// What the proxy answers by itself.
const LOCAL: &[Workload] = &[Workload::Hit, Workload::Fixed];

/// Every peer there is; those that end in `-cache` are configured to cache, and measured at nothing else.
pub const KNOWN: [&str; 11] = [
    "sluicegate",
    "haproxy",
    "haproxy-log",
    "nginx",
    "nginx-log",
    "bare-pingora",
    "direct",
    "sluicegate-cache",
    "haproxy-cache",
    "nginx-cache",
    "varnish-cache",
];

/// Worker threads or processes of every proxy.
pub(crate) const WORKERS: u32 = 2;

/// A proxy ready to be started; `direct` has no program.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The name in tables and of `--only`.
    pub name: &'static str,
    /// The first line of its version.
    pub version: String,
    /// The command line; empty for `direct`.
    pub argv: Vec<String>,
    /// Its configuration file's text, where it has one.
    pub config: String,
    /// Where it will listen.
    pub address: SocketAddr,
    /// What it is measured at.
    pub serves: &'static [Workload],
}

/// What the peers need to know.
pub struct Bench<'a> {
    /// What to run.
    pub plan: &'a Plan,
    /// Where configurations and logs go.
    pub dir: &'a Path,
    /// The backend's address.
    pub backend: SocketAddr,
}

/// The program behind the proxies.
pub struct BackendProgram {
    /// The command line.
    pub argv: Vec<String>,
    /// Where it will listen.
    pub address: SocketAddr,
    /// For the report.
    pub about: String,
}

impl Bench<'_> {
    /// The backend's command. Errors when its program is missing.
    pub fn backend(plan: &Plan, dir: &Path) -> io::Result<BackendProgram> {
        let address = free_address()?;
        match plan.backend {
            Backend::Mock => {
                let program = plan.tools.join("sluicegate-mock");
                if !program.is_file() {
                    return Err(io::Error::other(format!("{} is not built", program.display())));
                }
                let argv = argv(&program, &["--threads", "1", "--listen", &address.to_string()]);
                Ok(BackendProgram { argv, address, about: "sluicegate-mock, 1 thread".to_owned() })
            }
            Backend::Nginx => {
                let program = which("nginx").ok_or_else(|| io::Error::other("nginx is not installed"))?;
                let config = format!(
                    "{}  access_log off;\n  server {{\n    listen {address};\n    \
                     location / {{ return 200 \"hello\\n\"; }}\n    location = /cached {{ add_header Cache-Control max-age=3600; \
                     return 200 \"hello\\n\"; }}\n  }}\n}}\n",
                    nginx_head(1, dir, "backend")
                );
                let path = dir.join("backend.conf");
                fs::write(&path, config)?;
                let argv = nginx_argv(&program, &path, dir);
                let about = format!("{}, 1 worker, `return 200`", version(&program, "-v"));
                Ok(BackendProgram { argv, address, about })
            }
        }
    }

    /// The peers to run, and a line for each that is asked for and missing. Errors when a configuration cannot be written.
    pub fn peers(&self) -> io::Result<(Vec<Peer>, Vec<String>)> {
        let mut peers = Vec::new();
        let mut skipped = Vec::new();
        for name in KNOWN {
            if !self.plan.only.is_empty() && !self.plan.only.iter().any(|only| only == name) {
                continue;
            }
            match self.peer(name)? {
                Ok(peer) => peers.push(peer),
                Err(program) => skipped.push(format!("{name}: {program} is not there")),
            }
        }
        Ok((peers, skipped))
    }

    /// One peer, or the program that it lacks.
    fn peer(&self, name: &'static str) -> io::Result<Result<Peer, String>> {
        let program = match name {
            "sluicegate" | "sluicegate-cache" => self.plan.gateway.clone(),
            "bare-pingora" => self.plan.tools.join("bare-pingora"),
            "direct" => {
                let (version, config) = ("no proxy".to_owned(), String::new());
                return Ok(Ok(Peer {
                    name,
                    version,
                    argv: Vec::new(),
                    config,
                    address: self.backend,
                    serves: PROXIED,
                }));
            }
            "varnish-cache" => PathBuf::from("varnishd"),
            _ => PathBuf::from(name.trim_end_matches("-log").trim_end_matches("-cache")),
        };
        let Some(program) = which(&program.to_string_lossy()) else {
            return Ok(Err(program.display().to_string()));
        };
        let address = free_address()?;
        let path = self.dir.join(format!("{name}.conf"));
        let (config, argv, flag) = match name {
            "sluicegate" => {
                (self.gateway_config(address)?, argv(&program, &["run", "-c", &path.to_string_lossy()]), "--version")
            }
            "sluicegate-cache" => (
                self.gateway_cache_config(address)?,
                argv(&program, &["run", "-c", &path.to_string_lossy()]),
                "--version",
            ),
            "varnish-cache" => (self.varnish_config(), self.varnish_argv(&program, &path, address), "-V"),
            "bare-pingora" => (String::new(), self.bare_argv(&program, address), "--version"),
            "nginx" | "nginx-log" | "nginx-cache" => {
                (self.nginx_config(name, address), nginx_argv(&program, &path, self.dir), "-v")
            }
            _ => (self.haproxy_config(name, address), argv(&program, &["-f", &path.to_string_lossy()]), "-v"),
        };
        fs::write(&path, &config)?;
        let serves = match name {
            "varnish-cache" => &[Workload::Hit],
            _ if name.ends_with("-cache") => LOCAL,
            _ => PROXIED,
        };
        Ok(Ok(Peer { name, version: version(&program, flag), argv, config, address, serves }))
    }

    fn bare_argv(&self, program: &Path, address: SocketAddr) -> Vec<String> {
        let (listen, backend, threads) = (address.to_string(), self.backend.to_string(), WORKERS.to_string());
        argv(program, &["--listen", &listen, "--upstream", &backend, "--threads", &threads])
    }

    fn gateway_config(&self, address: SocketAddr) -> io::Result<String> {
        let (admin, backend, dir) = (free_address()?, self.backend, self.dir.display());
        Ok(format!(
            "listen: [{{ address: \"{address}\" }}]\nadmin: {{ address: \"{admin}\" }}\nserver: {{ threads: {WORKERS} }}\n\
             log: {{ level: warn, access: {{ file: \"{dir}/access.log\", format: json }} }}\n\
             pools: {{ app: {{ members: [\"{backend}\"] }} }}\nroutes: [{{ match: {{ path: / }}, pool: app }}]\n"
        ))
    }

    fn gateway_cache_config(&self, address: SocketAddr) -> io::Result<String> {
        let config = self.gateway_config(address)?;
        let routes = "routes:\n  - { match: { path: /fixed }, respond: { body: \"hello\\n\" } }\n  \
                      - { match: { path: / }, pool: app, cache: web }\n";
        let head = config.split("routes:").next().unwrap_or_default();
        Ok(format!("{head}caches: {{ web: {{ max_bytes: 64MiB }} }}\n{routes}"))
    }

    fn varnish_config(&self) -> String {
        let backend = self.backend;
        let (host, port) = (backend.ip(), backend.port());
        format!("vcl 4.1;\nbackend app {{ .host = \"{host}\"; .port = \"{port}\"; }}\n")
    }

    fn varnish_argv(&self, program: &Path, config: &Path, address: SocketAddr) -> Vec<String> {
        let (listen, dir) = (address.to_string(), self.dir.join("varnish"));
        let (config, dir) = (config.to_string_lossy(), dir.to_string_lossy());
        // Without its jail it needs no user of its own; without a management port nothing else is bound.
        argv(program, &["-j", "none", "-F", "-a", &listen, "-f", &config, "-n", &dir, "-s", "malloc,64m", "-T", "none"])
    }

    fn nginx_config(&self, name: &str, address: SocketAddr) -> String {
        let (backend, dir) = (self.backend, self.dir.display());
        let log = if name.ends_with("-log") { format!("{dir}/{name}-access.log") } else { "off".to_owned() };
        let (zone, local) = match name.ends_with("-cache") {
            true => (
                format!("  proxy_cache_path {dir}/{name} keys_zone=hits:10m;\n"),
                "    location = /fixed { return 200 \"hello\\n\"; }\n",
            ),
            false => (String::new(), ""),
        };
        let cache = if zone.is_empty() { "" } else { "      proxy_cache hits;\n" };
        format!(
            "{}{zone}  access_log {log};\n  upstream app {{\n    server {backend};\n    \
             keepalive 512;\n    keepalive_requests 100000000;\n  }}\n  server {{\n    listen {address};\n{local}    \
             location / {{\n{cache}      proxy_pass http://app;\n      proxy_http_version 1.1;\n      proxy_set_header Connection \"\";\n    }}\n  }}\n}}\n",
            nginx_head(WORKERS, self.dir, name)
        )
    }

    fn haproxy_config(&self, name: &str, address: SocketAddr) -> String {
        let backend = self.backend;
        // To stdout, which goes to a file here.
        let (log, option) = match name.ends_with("-log") {
            true => ("  log stdout format raw local0 info\n", "  log global\n  option httplog\n"),
            false => ("", ""),
        };
        let (frontend, backend_rules, cache) = match name.ends_with("-cache") {
            true => (
                "  http-request return status 200 content-type text/plain string hello if { path /fixed }\n",
                "  http-request cache-use hits\n  http-response cache-store hits\n",
                "cache hits\n  total-max-size 64\n  max-age 3600\n",
            ),
            false => ("", "", ""),
        };
        format!(
            "global\n  nbthread {WORKERS}\n  maxconn 4096\n{log}defaults\n  mode http\n{option}  timeout connect 5s\n  \
             timeout client 60s\n  timeout server 60s\n  http-reuse always\nfrontend web\n  bind {address}\n\
             {frontend}  default_backend app\nbackend app\n{backend_rules}  server a {backend}\n{cache}"
        )
    }
}

pub(crate) fn argv(program: &Path, args: &[&str]) -> Vec<String> {
    let program = program.to_string_lossy();
    std::iter::once(program.as_ref()).chain(args.iter().copied()).map(str::to_owned).collect()
}

fn nginx_argv(program: &Path, config: &Path, dir: &Path) -> Vec<String> {
    argv(program, &["-p", &dir.to_string_lossy(), "-c", &config.to_string_lossy()])
}

/// The beginning of an nginx configuration, up to the open `http {`. Its temporary files stay in `dir`, so that anyone may run it.
fn nginx_head(workers: u32, dir: &Path, name: &str) -> String {
    let dir = dir.display();
    let temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("  {kind}_temp_path {dir}/{name}-{kind};\n"));
    format!(
        "worker_processes {workers};\ndaemon off;\npid {dir}/{name}.pid;\nerror_log {dir}/{name}-error.log;\n\
         events {{ worker_connections 4096; }}\nhttp {{\n{}  keepalive_requests 100000000;\n",
        temp.concat()
    )
}

/// A free port of the loopback interface, found by binding it for a moment.
pub(crate) fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind(("127.0.0.1", 0))?.local_addr()
}
