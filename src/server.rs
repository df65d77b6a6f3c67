//! The one place where things are wired.
//!
//! The main thread is the control thread: signals, reload, health checks, name resolution and the admin listener run
//! there, so a busy worker never delays a health check. Requests are served by worker threads (see [`worker`]).

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, UNIX_EPOCH};

use log::{debug, error, info, warn};
use sluicegate_wipe::{wipe_stack, wipe_what_this_thread_frees};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::admin;
use crate::auth::Tokens;
use crate::balance::Pool;
use crate::balance::health::HealthChecks;
use crate::balance::member::{Health, Member};
use crate::clock;
use crate::config::audit::Audit as AuditConfig;
use crate::config::auth::ApiKey;
use crate::config::jwt::Jwt;
use crate::config::{self, AccessLog as AccessConfig, Config, ConfigErrors, Environment, Loaded, Overrides};
use crate::limit::Limits;
use crate::observe::access_log::AccessLog;
use crate::observe::audit::{Audit, Auditing, webhook};
use crate::observe::logging::Logging;
use crate::observe::metrics::Metrics;
use crate::observe::writer::LogFile;
use crate::observe::{Identity, SERVICE};
use crate::snapshot::{Logs, Shared};
use crate::upstream::resolve::Addresses;
use drain::Drain;
use handover::{Carry, Handover, Predecessor};
use lifecycle::{Control, Signals};
use listener::Listener;
use reload::{Beside, Reloader};
use sockets::{Offered, Sockets};
use state::StateDirectory;
use supervisor::Supervisor;
use workers::Workers;

pub mod drain;
pub mod handover;
pub mod lifecycle;
pub mod listener;
pub mod pulse;
pub mod refusal;
pub mod reload;
pub mod secrecy;
pub mod sockets;
pub mod state;
pub mod supervisor;
pub mod tls;
pub mod worker;
pub mod workers;

/// File descriptors for logs, health checks, the admin listener and the like.
const SPARE_DESCRIPTORS: u64 = 128;

/// How often the audit log says how often each caller came.
const USAGE_EVERY: Duration = Duration::from_secs(60);

/// What a run is told by the command line.
#[derive(Clone)]
pub struct Options {
    /// The configuration file.
    pub file: PathBuf,
    /// What flags and the environment override.
    pub overrides: Overrides,
    /// What the configuration is read against.
    pub environment: Environment,
}

impl Options {
    /// Reads the configuration, on a thread of its own: what it frees is wiped, and with the thread goes its stack, and what
    /// that held of secrets.
    ///
    /// # Errors
    /// When there can be no thread, or it panicked. What is wrong with the file is in the result.
    pub fn load(&self) -> io::Result<Result<Loaded, ConfigErrors>> {
        let Self { file, overrides, environment } = self.clone();
        let thread = thread::Builder::new().name("configuration".to_owned());
        let thread = thread.spawn(move || {
            wipe_what_this_thread_frees();
            config::load(&file, &overrides, &environment)
        })?;
        thread.join().map_err(|_| io::Error::other("it panicked"))
    }
}

/// How long a start waits for members that a pool can do without.
const CHECKED_SOON: Duration = Duration::from_millis(100);
/// And for those that it cannot.
const CHECKED_WITHIN: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// Why there is no gateway.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is refused.
    #[error("{0}")]
    Config(ConfigErrors),
    /// The system refuses something.
    #[error("{what}: {source}")]
    System {
        /// What was asked for.
        what: String,
        /// Its answer.
        source: io::Error,
    },
    /// A log file that the configuration names cannot be opened.
    #[error("cannot open the log file {path}: {source}")]
    Log {
        /// Which file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The directory that the configuration names for what outlives the process cannot be used.
    #[error("cannot keep state in {}: {source}", path.display())]
    State {
        /// Which directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A socket of the service manager that is none of ours.
    #[error(
        "systemd passes a socket for {address}, and the configuration has no such listener; make ListenStream= of the \
         socket unit and `listen` (or `admin.address`) the same, or disable the socket unit"
    )]
    UnknownSocket {
        /// Where it is bound.
        address: String,
    },
    /// TLS settings that cannot be used together.
    #[error("listener {address}: {reason}")]
    Tls {
        /// Which listener.
        address: String,
        /// Why.
        reason: String,
    },
}

impl StartError {
    fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        |source| Self::System { what, source }
    }
}

/// Runs the gateway until it is told to end. `predecessor` is the process whose place it takes, until it has ended.
///
/// # Errors
/// When it cannot start: the configuration, an address, a file; or the process before has changed its mind.
pub fn run(options: Options, predecessor: &mut Option<Predecessor>) -> Result<(), StartError> {
    let begun = clock::now();
    let prepared = Prepared::new(options, predecessor.as_mut())?;
    wipe_stack();
    let carry = match predecessor {
        Some(predecessor) => predecessor.prepared().map_err(StartError::system("the process before serves on"))?,
        None => Carry::default(),
    };
    prepared.serve(begun, &carry, predecessor)
}

/// All that can be made ready while another process still serves.
struct Prepared {
    options: Options,
    config: Arc<Config>,
    identity: Identity,
    metrics: Arc<Metrics>,
    logging: Arc<Logging>,
    auditing: Arc<Auditing>,
    alarms: mpsc::Receiver<webhook::Message>,
    sockets: Sockets,
    listeners: Arc<[Arc<Listener>]>,
    logs: Logs,
    runtime: tokio::runtime::Runtime,
    addresses: Arc<Addresses>,
    tokens: Arc<Tokens>,
}

impl Prepared {
    fn new(options: Options, predecessor: Option<&mut Predecessor>) -> Result<Self, StartError> {
        let loaded = options.load().map_err(StartError::system("cannot read the configuration"))?;
        let (config, warnings) = loaded.map_err(StartError::Config)?.without_source();
        if !config.server.core_dumps {
            secrecy::forbid_core();
        }
        let offered = match predecessor {
            // What it had set aside came over the channel, and never was in sight.
            Some(predecessor) => Offered::by_predecessor(predecessor.take_sockets())?,
            None => {
                secrecy::set_aside(&options.environment)
                    .map_err(StartError::system("cannot execute itself without its secrets"))?;
                Offered::by_systemd()?
            }
        };
        let config = Arc::new(config);
        let identity =
            Identity { instance_id: config.server.instance_id.clone(), version: env!("CARGO_PKG_VERSION").to_owned() };
        let metrics = Metrics::new(&identity).in_environment(config.server.environment.clone());
        let metrics = Arc::new(metrics);
        let logging = Logging::install(&config.log, &identity, Arc::clone(&metrics))
            .map_err(|source| StartError::Log { path: process_log(&config), source })?;
        for warning in warnings {
            warn!("{warning}");
        }
        raise_descriptors(config.server.max_connections);
        let sockets = Sockets::bind(&config, offered)?;
        let access = open_access(config.log.access.as_ref(), &metrics)?;
        let (auditing, alarms) = Auditing::new(identity.clone(), Arc::clone(&metrics));
        let logs = Logs { access, audit: open_audit(config.log.audit.as_ref(), &auditing)? };
        let listeners = listeners(&config, &metrics)?;
        metrics.set_certificates(certificates(&config));
        metrics.set_api_keys(ends_of_keys(&config));
        let runtime = reactor()?;
        let addresses = Arc::new(Addresses::default());
        let tokens = Arc::new(Tokens::new(issuers(&config), &metrics));
        runtime.block_on(async { tokio::join!(addresses.fill(&config), tokens.sources.fill(issuers(&config))) });
        let logging = Arc::new(logging);
        Ok(Self {
            options,
            config,
            identity,
            metrics,
            logging,
            auditing,
            alarms,
            sockets,
            listeners,
            logs,
            runtime,
            addresses,
            tokens,
        })
    }

    fn serve(self, begun: Instant, carry: &Carry, predecessor: &mut Option<Predecessor>) -> Result<(), StartError> {
        let Self { options, config, metrics, logging, listeners, sockets, runtime, .. } = self;
        let (limits, state) = open_limits(&config, &options, predecessor.is_some(), &metrics)?;
        let (config_of_all, metrics_of_all) = (Arc::clone(&config), Arc::clone(&metrics));
        let shared = Shared::new(config_of_all, self.logs, self.addresses, metrics_of_all, self.tokens, limits);
        let shared = Arc::new(shared);
        carry.apply(&shared);
        let (drain, supervisor) = (Drain::new(), Arc::new(Supervisor::default()));
        let environment = options.environment.clone();
        let beside = Beside {
            logging: Arc::clone(&logging),
            auditing: self.auditing,
            listeners: Arc::clone(&listeners),
            started_with: Arc::clone(&config),
            state: Arc::clone(&state),
            supervisor: Arc::clone(&supervisor),
        };
        let reloader = Arc::new(Reloader::new(options, Arc::clone(&shared), beside));
        let handover = Handover::new(
            environment,
            sockets.all()?,
            Arc::clone(&reloader),
            Arc::clone(&state),
            Arc::clone(&supervisor),
        );
        let handover = Arc::new(handover?);
        let signals = runtime.block_on(async { Signals::new() }).map_err(StartError::system("cannot take signals"))?;
        runtime.block_on(async {
            reloader.begin(HealthChecks::new(Handle::current())).await;
            first_checks(&shared.current.load().pools).await;
        });
        let workers = Workers::start(&config, &shared, &drain, &listeners, &sockets)?;
        metrics.config_loaded();
        debug!("process log to stderr{}", config.log.file.as_ref().map_or("", |_| " and a file"));
        let status = format!("serving on {}", addresses_of(&config));
        match predecessor {
            Some(predecessor) => predecessor
                .serving(status, |status| supervisor.ready(status))
                .map_err(StartError::system("the process before serves on"))?,
            None => supervisor.ready(status),
        }
        tell_of_start(&config, &self.identity, begun);
        wipe_stack();
        // The workers and the hand-over have handles of their own; these would keep the sockets open through a drain.
        let Sockets { admin, listeners } = sockets;
        drop(listeners);
        let control = Control { reloader, drain, handover: Arc::clone(&handover), supervisor: Arc::clone(&supervisor) };
        runtime.block_on(async {
            let admin = admin.map(|bound| tokio::spawn(admin::serve(bound, Arc::clone(&config), control.clone())));
            let watch = tokio::spawn(Arc::clone(&supervisor).watch(workers.pulses()));
            tokio::select! {
                () = control.run(signals, predecessor.take()) => {}
                () = follow_audit(&shared, self.alarms) => {}
            }
            watch.abort();
            if let Some(admin) = admin {
                admin.abort();
            }
        });
        workers.stop();
        runtime.block_on(handover.finish());
        state.end();
        write_last_lines(&shared);
        info!("{SERVICE} has ended");
        logging.flush();
        supervisor.ended();
        runtime.shutdown_background();
        Ok(())
    }
}

/// What the control thread runs on.
fn reactor() -> Result<tokio::runtime::Runtime, StartError> {
    let reactor = tokio::runtime::Builder::new_current_thread().enable_all().build();
    reactor.map_err(StartError::system("cannot make a reactor"))
}

/// Waits for the first check of every member, for otherwise the first requests after a start would be refused. Those that
/// come meanwhile wait in the sockets. A member that does not answer at once holds up only a pool that has no other, and
/// that not for long.
async fn first_checks(pools: &[Arc<Pool>]) {
    let begun = clock::now();
    let looked_at =
        |member: &Arc<Member>| member.state.health() != Health::Checking || member.state.last_check().is_some();
    let is_known = |pool: &Arc<Pool>| pool.members().iter().all(looked_at);
    loop {
        let waited = clock::now() - begun;
        let known = if waited < CHECKED_SOON {
            pools.iter().all(is_known)
        } else {
            pools.iter().all(|pool| pool.has_usable_member() || is_known(pool))
        };
        if known || waited >= CHECKED_WITHIN {
            return;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// What limits remember, and where that outlives the process.
fn open_limits(
    config: &Config,
    options: &Options,
    follows: bool,
    metrics: &Metrics,
) -> Result<(Limits, Arc<StateDirectory>), StartError> {
    let limits = Limits::default();
    let state = StateDirectory::new(config, &options.environment);
    state.begin(config, &limits, follows, metrics).map_err(|(path, source)| StartError::State { path, source })?;
    Ok((limits, Arc::new(state)))
}

fn tell_of_start(config: &Config, identity: &Identity, begun: Instant) {
    info!(
        "{SERVICE} {} serves on {} after {:?}; {} workers, {} routes, {} pools",
        identity.version,
        addresses_of(config),
        clock::now().saturating_duration_since(begun),
        config.server.threads,
        config.routes.len(),
        config.pools.len(),
    );
}

/// Writes what the logs of requests still hold.
fn write_last_lines(shared: &Shared) {
    let last = shared.current.load();
    last.audit.write_usage();
    let files = [("access", last.access.as_ref().map(|access| access.file())), ("audit", last.audit.file())];
    for (name, file) in files {
        if let Some(Err(error)) = file.map(|file| file.flush()) {
            error!("cannot write the last lines of the {name} log: {error}");
        }
    }
}

/// Takes as many file descriptors as the system gives: a connection needs one, and another towards its member.
fn raise_descriptors(max_connections: usize) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // A failure leaves the limit as it was, which is then told below.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let have = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let need = 2 * max_connections as u64 + SPARE_DESCRIPTORS;
    if have < need {
        warn!(
            "{have} file descriptors are too few for max_connections: {max_connections}; raise LimitNOFILE to {need}"
        );
    }
}

/// Whose tokens are taken.
fn issuers(config: &Config) -> Option<&Jwt> {
    config.auth.as_ref()?.jwt.as_deref()
}

/// The certificates that listeners show: where each is, and when it ends.
fn certificates(config: &Config) -> impl Iterator<Item = (String, u64)> {
    let shown = config.listeners.iter().filter_map(|listener| listener.tls.as_ref()).flat_map(|tls| &tls.certificates);
    shown.map(|files| (files.cert.display().to_string(), files.expires))
}

/// The API keys that come in now and end one day: their ids, and when.
fn ends_of_keys(config: &Config) -> impl Iterator<Item = (Arc<str>, u64)> {
    let now = clock::wall();
    let ends =
        move |key: &ApiKey| key.expires_at.filter(|at| key.enabled && *at > now)?.duration_since(UNIX_EPOCH).ok();
    let keys = config.auth.iter().flat_map(|auth| auth.keys());
    keys.filter_map(move |key| Some((Arc::clone(&key.id), ends(key)?.as_secs())))
}

fn process_log(config: &Config) -> String {
    config.log.file.as_ref().map_or_else(|| "stderr".to_owned(), |file| file.display().to_string())
}

fn addresses_of(config: &Config) -> String {
    let addresses: Vec<String> = config.listeners.iter().map(|listener| listener.address.to_string()).collect();
    addresses.join(", ")
}

/// Opens the access log.
///
/// # Errors
/// When its file cannot be opened.
pub fn open_access(configured: Option<&AccessConfig>, metrics: &Metrics) -> Result<Option<Arc<AccessLog>>, StartError> {
    let Some(configured) = configured else { return Ok(None) };
    let path = configured.file.display().to_string();
    let file = LogFile::open(&configured.file).map_err(|source| StartError::Log { path, source })?;
    metrics.watch_log("access", &file);
    Ok(Some(Arc::new(AccessLog::new(file, configured.format))))
}

/// Opens the audit log.
///
/// # Errors
/// When its file cannot be opened.
pub fn open_audit(configured: Option<&AuditConfig>, auditing: &Arc<Auditing>) -> Result<Arc<Audit>, StartError> {
    let path = || configured.map_or_else(String::new, |audit| audit.file.display().to_string());
    Audit::open(configured, auditing).map(Arc::new).map_err(|source| StartError::Log { path: path(), source })
}

/// Posts alarms and writes how often callers came, until dropped.
async fn follow_audit(shared: &Arc<Shared>, alarms: mpsc::Receiver<webhook::Message>) {
    let target = || shared.current.load().audit.webhook().cloned();
    let usage = async {
        loop {
            tokio::time::sleep(USAGE_EVERY).await;
            shared.current.load_full().audit.write_usage();
        }
    };
    tokio::join!(webhook::post_all(alarms, target, &shared.metrics), usage);
}

fn listeners(config: &Config, metrics: &Metrics) -> Result<Arc<[Arc<Listener>]>, StartError> {
    let made = config.listeners.iter().map(|configured| {
        Listener::new(configured, metrics)
            .map(Arc::new)
            .map_err(|reason| StartError::Tls { address: configured.address.to_string(), reason })
    });
    made.collect()
}
