//! Active health checks: one task per member, which asks the member and writes the answer into its state.
//!
//! Invariant: every task belongs to [`HealthChecks`] and ends with it; a member has at most one.
//!
//! What a check is, is said by the trait of pingora-load-balancing, so any check written for that crate can stand in
//! here; its `Backend` carries all that is needed, unix sockets too. The probing is ours: the crate's own checks match
//! no body, and each makes a connector with all the system's certificates. Ours share one, of the same kind as those
//! that carry the traffic. The schedule is ours as well: the crate checks the backends of a pool in passes, without a
//! timeout of the whole check, jitter, or a member that is paused.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use pingora_load_balancing::Backend;
use pingora_load_balancing::health_check::HealthCheck;
use tokio::runtime::Handle;
use tokio::task::{AbortHandle, JoinSet};

use super::Pool;
use super::member::{Address, AdminState, CheckResult, Health, Member, MemberState};
use crate::{clock, config};

mod probe;

use probe::{Connector, Probe};

/// First checks start at once up to this many; more are spread, this far apart on average.
const AT_ONCE: usize = 16;
const SPREAD: Duration = Duration::from_millis(2);

/// All active checks of the process. Dropping it ends them.
pub struct HealthChecks {
    runtime: Handle,
    tasks: JoinSet<()>,
    running: HashMap<Key, Running>,
    /// Made with the first check, for it reads the system's certificates.
    connector: Option<Arc<Connector>>,
}

/// What tells one checked member from another.
type Key = (Arc<str>, Arc<str>, Address);

#[derive(Debug)]
struct Running {
    state: Arc<MemberState>,
    settings: Settings,
    task: AbortHandle,
}

/// All that a check depends on; when it changes, the check begins anew.
#[derive(Debug, Clone, PartialEq)]
struct Settings {
    check: config::HealthCheck,
    tls: Option<config::UpstreamTls>,
    http2: bool,
}

impl HealthChecks {
    /// No checks yet; they will run on `runtime`, which must have I/O and time.
    pub fn new(runtime: Handle) -> Self {
        Self { runtime, tasks: JoinSet::new(), running: HashMap::new(), connector: None }
    }

    /// Brings the checks in line with a new snapshot: starts those of new members, ends those of members gone, and
    /// leaves alone those whose settings are the same. A member whose check is gone counts as unchecked again.
    /// Reads CA files, so it is not for a worker thread. To be called after the swap.
    pub fn reconcile(&mut self, pools: &[Arc<Pool>]) {
        let mut before = std::mem::take(&mut self.running);
        let mut starting = Vec::new();
        for pool in pools {
            let Some(settings) = Settings::of(pool.config()) else {
                pool.members().iter().for_each(|member| member.state.reset_checks());
                continue;
            };
            for member in pool.members() {
                let key = (member.pool.clone(), member.configured.clone(), member.address.clone());
                match before.remove(&key) {
                    Some(running) if running.is_for(member, &settings) => {
                        self.running.insert(key, running);
                    }
                    Some(outdated) => {
                        outdated.task.abort();
                        starting.push((key, member.clone(), settings.clone()));
                    }
                    None => starting.push((key, member.clone(), settings.clone())),
                }
            }
        }
        before.values().for_each(|gone| gone.task.abort());
        while self.tasks.try_join_next().is_some() {} // Forget what has ended.
        self.start(starting);
    }

    fn start(&mut self, starting: Vec<(Key, Arc<Member>, Settings)>) {
        let count = starting.len();
        for (key, member, settings) in starting {
            let delay = first_delay(count, settings.check.interval);
            let connector = self.connector.get_or_insert_with(|| Arc::new(Connector::new(None))).clone();
            let state = member.state.clone();
            let task = self.tasks.spawn_on(watch(member, settings.clone(), connector, delay), &self.runtime);
            self.running.insert(key, Running { state, settings, task });
        }
    }
}

impl Running {
    fn is_for(&self, member: &Member, settings: &Settings) -> bool {
        !self.task.is_finished() && Arc::ptr_eq(&self.state, &member.state) && self.settings == *settings
    }
}

impl Settings {
    fn of(pool: &config::Pool) -> Option<Self> {
        let check = pool.health_check.clone()?;
        Some(Self { check, tls: pool.tls.clone(), http2: pool.http2 })
    }
}

/// A check and whom it is for.
struct Prepared {
    check: Box<dyn HealthCheck + Send + Sync>,
    backend: Backend,
}

impl Prepared {
    /// The error is for the operator: it is the reason why the member is down.
    fn new(member: &Member, settings: &Settings, connector: Arc<Connector>) -> Result<Self, String> {
        let check = Box::new(Probe::new(member, settings, connector)?);
        Ok(Self { check, backend: probe::backend(member, &settings.check)? })
    }

    /// Runs the check once, within `limit` from the first packet to the last. `Err`: why it failed.
    async fn run(&self, limit: Duration) -> Result<(), String> {
        match tokio::time::timeout(limit, self.check.check(&self.backend)).await {
            Ok(result) => result.map_err(|error| probe::describe(&error)),
            Err(_) => Err(format!("no result within {limit:?}")),
        }
    }

    /// How many good (failed) checks in a row bring the member up (down).
    fn threshold(&self, good: bool) -> u32 {
        u32::try_from(self.check.health_threshold(good)).unwrap_or(u32::MAX)
    }
}

/// Checks one member until it is aborted.
async fn watch(member: Arc<Member>, settings: Settings, connector: Arc<Connector>, delay: Duration) {
    let prepared = Prepared::new(&member, &settings, connector);
    let check = &settings.check;
    let (rise, fall) = match &prepared {
        Ok(prepared) => (prepared.threshold(true), prepared.threshold(false)),
        Err(_) => (check.rise, check.fall),
    };
    tokio::time::sleep(delay).await;
    loop {
        if member.state.admin() != AdminState::Maint {
            let started = clock::now();
            let error = match &prepared {
                Ok(prepared) => prepared.run(check.timeout).await.err(),
                Err(error) => Some(error.clone()),
            };
            let at = clock::now();
            record(&member, rise, fall, CheckResult { at, duration: at.duration_since(started), error });
        }
        let percent = 100 + fastrand::u32(..=check.jitter_percent.min(100));
        tokio::time::sleep(check.interval.saturating_mul(percent) / 100).await;
    }
}

/// Takes in a result, and logs it when it changes anything.
fn record(member: &Member, rise: u32, fall: u32, result: CheckResult) {
    // An answer that was on its way when the operator took the member out is of no use (see `set_admin`).
    if member.state.admin() == AdminState::Maint {
        return;
    }
    let (error, duration) = (result.error.clone(), result.duration);
    let Member { pool, name, .. } = member;
    match member.state.record_check(result, rise, fall) {
        Some(Health::Up) => {
            log::info!(target: "balance", "pool {pool} member {name} is up: its check is good, in {duration:?}");
        }
        Some(Health::Down) => {
            let reason = error.unwrap_or_default();
            log::warn!(target: "balance", "pool {pool} member {name} is down: {reason}, {fall} times in a row");
        }
        _ => {
            if let Some(reason) = error {
                log::debug!(target: "balance", "pool {pool} member {name} failed a check: {reason}");
            }
        }
    }
}

/// When the first check of one of `count` new members starts: at once, or by chance within a time that grows with
/// their number, so that a large fleet is not asked all at once.
fn first_delay(count: usize, interval: Duration) -> Duration {
    if count <= AT_ONCE {
        return Duration::ZERO;
    }
    let within = SPREAD.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX)).min(interval);
    within.mul_f64(fastrand::f64())
}

#[cfg(test)]
mod tests;
