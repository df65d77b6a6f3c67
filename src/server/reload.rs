//! Reload: file -> Config -> Snapshot -> one swap, or the old one stays.
//!
//! **Invariant:** a file that does not resolve changes nothing. What was open, checked or counted for members that
//! remain goes on.

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use log::{error, info, warn};
use sluicegate_wipe::wipe_stack;
use tokio::task::JoinHandle;

use super::listener::{Listener, certified_keys};
use super::state::StateDirectory;
use super::supervisor::Supervisor;
use super::{Options, certificates, ends_of_keys, issuers, open_access, open_audit};
use crate::balance::health::HealthChecks;
use crate::config::Config;
use crate::config::audit::EventKind;
use crate::config::jwt::DEFAULT_MAX_REVOKED;
use crate::observe::access_log::AccessLog;
use crate::observe::audit::{Audit, Auditing, Event};
use crate::observe::logging::Logging;
use crate::snapshot::{Logs, Shared, Snapshot};

/// Loads the configuration again, and keeps what runs beside the requests in line with it.
pub struct Reloader {
    options: Options,
    shared: Arc<Shared>,
    beside: Beside,
    /// One reload at a time. Holds what follows the snapshot.
    followers: tokio::sync::Mutex<Followers>,
    last_refusal: Mutex<Option<String>>,
    waiting: Mutex<Vec<String>>,
}

/// What a reload changes or tells beside the requests.
pub struct Beside {
    /// The process log.
    pub logging: Arc<Logging>,
    /// The audit log's.
    pub auditing: Arc<Auditing>,
    /// Certificates change with a reload.
    pub listeners: Arc<[Arc<Listener>]>,
    /// What only a restart changes is told by it.
    pub started_with: Arc<Config>,
    /// The first budget opens it.
    pub state: Arc<StateDirectory>,
    /// Hears of every reload.
    pub supervisor: Arc<Supervisor>,
}

#[derive(Default)]
struct Followers {
    health: Option<HealthChecks>,
    names: Option<JoinHandle<()>>,
    /// Fetches the keys of issuers.
    issuers: Option<JoinHandle<()>>,
    /// Access logs that a reload replaced. A request may still hold one; its last lines are written when it is dropped,
    /// which is not for a worker to wait for.
    retired: Vec<Arc<AccessLog>>,
    /// Audit logs that a reload replaced, for the same reason.
    retired_audits: Vec<Arc<Audit>>,
}

/// Who asked for a change.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Who, in words.
    pub actor: &'a str,
    /// From where, when it was over the network.
    pub client: Option<IpAddr>,
}

/// What a reload did.
#[derive(Debug, Clone)]
pub struct Reloaded {
    /// The generation in force now.
    pub generation: u64,
    /// Keys whose change only a restart brings about.
    pub restart_needed: Vec<String>,
    /// What is worth a look.
    pub warnings: Vec<String>,
}

impl Reloader {
    /// Knows where the configuration came from.
    pub fn new(options: Options, shared: Arc<Shared>, beside: Beside) -> Self {
        let followers = tokio::sync::Mutex::default();
        let (last_refusal, waiting) = (Mutex::default(), Mutex::default());
        Self { options, shared, beside, followers, last_refusal, waiting }
    }

    /// What requests share.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Why the last reload was refused; `None` when it was not.
    pub fn last_refusal(&self) -> Option<String> {
        self.last_refusal.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keys that were changed and wait for a restart.
    pub fn restart_needed(&self) -> Vec<String> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Starts what follows the snapshot: health checks and look-ups of names.
    pub async fn begin(&self, health: HealthChecks) {
        let mut followers = self.followers.lock().await;
        followers.health = Some(health);
        self.follow(&mut followers, &self.shared.current.load_full());
    }

    /// Loads the file and puts it in force.
    ///
    /// # Errors
    /// The reason for the operator, when the file is refused; then the old configuration serves on.
    pub async fn reload(&self, asked: Asked<'_>) -> Result<Reloaded, String> {
        let mut followers = self.followers.lock().await;
        // A reload that moves or ends the audit log is told in the old one: nobody takes leave unseen.
        let before = Arc::clone(&self.shared.current.load().audit);
        self.beside.supervisor.reloading();
        let result = self.try_reload(&mut followers).await;
        wipe_stack();
        self.beside.supervisor.reloaded(result.is_err());
        let generation = self.shared.current.load().generation.to_string();
        let event = Event {
            actor: Some(asked.actor),
            client: asked.client,
            action: Some("reload"),
            target: result.is_ok().then_some(&generation),
            reason: result.is_err().then_some("refused"),
            ..Event::new(EventKind::ConfigUpdate, result.is_ok())
        };
        let audit = if before.file().is_some() { before } else { Arc::clone(&self.shared.current.load().audit) };
        audit.record(&event);
        let mut last = self.last_refusal.lock().unwrap_or_else(PoisonError::into_inner);
        match &result {
            Ok(done) => {
                *last = None;
                self.waiting.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&done.restart_needed);
                self.shared.metrics.config_loaded();
                info!("reloaded: generation {}", done.generation);
                done.warnings.iter().for_each(|warning| warn!("{warning}"));
                if !done.restart_needed.is_empty() {
                    warn!("reloaded, but only a restart changes: {}", done.restart_needed.join(", "));
                }
            }
            Err(reason) => {
                *last = Some(reason.clone());
                self.shared.metrics.config_refused("invalid");
                error!("reload refused, the old configuration serves on: {reason}");
            }
        }
        result
    }

    async fn try_reload(&self, followers: &mut Followers) -> Result<Reloaded, String> {
        let options = self.options.clone();
        // Files are read off this thread: it also checks health.
        let loaded = tokio::task::spawn_blocking(move || options.load()).await.map_err(|error| error.to_string())?;
        let loaded = loaded.map_err(|error| format!("the configuration cannot be read: {error}"))?;
        let (config, warnings) = loaded.map_err(|errors| errors.to_string())?.without_source();
        let config = Arc::new(config);
        let current = self.shared.current.load_full();
        let access = if current.config.log.access == config.log.access {
            current.access.clone()
        } else {
            open_access(config.log.access.as_ref(), &self.shared.metrics).map_err(|error| error.to_string())?
        };
        let audit = if current.audit.is_of(config.log.audit.as_ref()) {
            Arc::clone(&current.audit)
        } else {
            open_audit(config.log.audit.as_ref(), &self.beside.auditing).map_err(|error| error.to_string())?
        };
        self.keep_state(&config).await?;
        self.beside
            .logging
            .reconfigure(&config.log)
            .map_err(|error| format!("cannot open the process log: {error}"))?;
        let sources = &self.shared.tokens.sources;
        tokio::join!(self.shared.addresses.fill(&config), sources.fill(issuers(&config)));
        self.replace_certificates(&config);
        self.shared.metrics.set_certificates(certificates(&config));
        self.shared.metrics.set_api_keys(ends_of_keys(&config));
        followers.retired.retain(|log| Arc::strong_count(log) > 1);
        if let Some(before) = &current.access
            && !access.as_ref().is_some_and(|access| Arc::ptr_eq(access, before))
        {
            followers.retired.push(Arc::clone(before));
        }
        followers.retired_audits.retain(|log| Arc::strong_count(log) > 1);
        if !Arc::ptr_eq(&audit, &current.audit) {
            followers.retired_audits.push(Arc::clone(&current.audit));
        }
        let restart_needed = restart_needed(&self.beside.started_with, &config);
        let (snapshot, forgotten) = self.shared.publish(config, Logs { access, audit });
        self.shared.tokens.sources.retain();
        self.follow(followers, &snapshot);
        let warnings = warnings.iter().map(ToString::to_string).chain(forgotten).collect();
        Ok(Reloaded { generation: snapshot.generation, restart_needed, warnings })
    }

    /// The first limit on tokens or money brings its state with it. Files are read off this thread.
    async fn keep_state(&self, config: &Arc<Config>) -> Result<(), String> {
        let (config, shared, state) = (Arc::clone(config), Arc::clone(&self.shared), Arc::clone(&self.beside.state));
        let begin = move || state.begin(&config, &shared.limits, false, &shared.metrics);
        let begun = tokio::task::spawn_blocking(begin).await.map_err(|error| error.to_string())?;
        begun.map_err(|(path, error)| format!("cannot keep state in {}: {error}", path.display()))
    }

    /// Waits until addresses of members change, and publishes them.
    pub async fn addresses_changed(&self) {
        self.shared.addresses.changed().await;
        let mut followers = self.followers.lock().await;
        let snapshot = self.shared.republish();
        if let Some(health) = &mut followers.health {
            health.reconcile(&snapshot.pools);
        }
    }

    /// Opens every log file again, after a rotation.
    ///
    /// # Errors
    /// When a file cannot be opened; the old one stays in use.
    pub fn reopen_logs(&self) -> io::Result<()> {
        let snapshot = self.shared.current.load_full();
        // Each is tried, whatever became of the others.
        let process = self.beside.logging.reopen();
        let access = snapshot.access.as_ref().map_or(Ok(()), |access| access.file().reopen());
        let audit = snapshot.audit.file().map_or(Ok(()), |audit| audit.reopen());
        process.and(access).and(audit)
    }

    fn follow(&self, followers: &mut Followers, snapshot: &Snapshot) {
        if let Some(health) = &mut followers.health {
            health.reconcile(&snapshot.pools);
        }
        if let Some(before) = followers.names.take() {
            before.abort();
        }
        let (addresses, config) = (Arc::clone(&self.shared.addresses), Arc::clone(&snapshot.config));
        followers.names = Some(tokio::spawn(async move { addresses.follow(&config).await }));
        if let Some(before) = followers.issuers.take() {
            before.abort();
        }
        let (tokens, config) = (Arc::clone(&self.shared.tokens), Arc::clone(&snapshot.config));
        followers.issuers = Some(tokio::spawn(async move { tokens.sources.follow(issuers(&config)).await }));
    }

    fn replace_certificates(&self, config: &Config) {
        for listener in self.beside.listeners.iter() {
            let configured = config.listeners.iter().find(|other| other.address.to_string() == *listener.address);
            if let (Some(running), Some(tls)) = (&listener.tls, configured.and_then(|other| other.tls.as_ref())) {
                running.certificates.replace(certified_keys(tls));
            }
        }
    }
}

impl Drop for Reloader {
    fn drop(&mut self) {
        let followers = self.followers.get_mut();
        for task in [followers.names.take(), followers.issuers.take()].into_iter().flatten() {
            task.abort();
        }
    }
}

/// Keys that differ from what the process was started with, and that only a restart changes.
fn restart_needed(started: &Config, now: &Config) -> Vec<String> {
    let mut keys = Vec::new();
    let mut differ = |key: &str, differs: bool| {
        if differs {
            keys.push(key.to_owned());
        }
    };
    let fixed = |config: &Config| {
        let listeners = config.listeners.iter();
        let mut fixed: Vec<_> = listeners
            .map(|listener| {
                let tls = listener.tls.as_ref().map(|tls| tls.min_version);
                (listener.address.to_string(), listener.http2, listener.redirect_https.map(|to| to.port), tls)
            })
            .collect();
        fixed.sort_unstable();
        fixed
    };
    differ("listen", fixed(started) != fixed(now));
    let admin = |config: &Config| config.admin.as_ref().map(|admin| admin.address.clone());
    differ("admin.address", admin(started) != admin(now));
    let (before, after) = (&started.server, &now.server);
    differ("server.threads", before.threads != after.threads);
    differ("server.max_connections", before.max_connections != after.max_connections);
    differ("server.instance_id", before.instance_id != after.instance_id);
    differ("server.environment", before.environment != after.environment);
    differ("server.keepalive_requests", before.keepalive_requests != after.keepalive_requests);
    differ("server.core_dumps", before.core_dumps != after.core_dumps);
    differ("server.state_dir", before.state_dir != after.state_dir);
    let revoked = |config: &Config| issuers(config).map_or(DEFAULT_MAX_REVOKED, |jwt| jwt.revoked.max_entries);
    differ("auth.jwt.revoked.max_entries", revoked(started) != revoked(now));
    differ("server.upstream_keepalive", before.upstream_keepalive != after.upstream_keepalive);
    differ("server.busy_polling", before.busy_polling != after.busy_polling);
    keys
}
