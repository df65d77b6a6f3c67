//! Where budgets outlive the process: the state directory.
//!
//! It is `server.state_dir`, else the first of `$STATE_DIRECTORY` (which systemd sets), else `/var/lib/sluicegate` when it
//! is there. It is only touched once a limit counts tokens or money. A directory that the configuration names has to
//! work; without one, or when another does not work, budgets are counted in memory, and that is told.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use log::{error, info, warn};

use crate::config::{Config, Environment};
use crate::limit::{Keeper, Limits, Moved, Paused};
use crate::observe::metrics::Metrics;

/// Where packages put state.
const USUAL: &str = "/var/lib/sluicegate";

/// Keeps budgets over restarts.
pub struct StateDirectory {
    place: Option<Place>,
    keeper: Mutex<Option<Keeper>>,
    paused: Mutex<Option<Paused>>,
}

/// A directory, and who says so.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// The configuration.
    Named(PathBuf),
    /// The system.
    Found(PathBuf),
}

impl StateDirectory {
    /// That of a process that is started with `config`.
    pub fn new(config: &Config, environment: &Environment) -> Self {
        Self { place: find(config, environment, Path::new(USUAL)), keeper: Mutex::default(), paused: Mutex::default() }
    }

    /// Begins to keep the budgets of `limits`, when `config` has any and nothing has begun yet. To be called before they
    /// are counted. `follows`: another process still works, and tells what it does. Reads files: not for a worker.
    ///
    /// # Errors
    /// When the directory that the configuration names cannot be used.
    pub fn begin(
        &self,
        config: &Config,
        limits: &Limits,
        follows: bool,
        metrics: &Metrics,
    ) -> Result<(), (PathBuf, io::Error)> {
        if limits.is_decided() || !config.limits.iter().any(|limit| limit.has_budget()) {
            return Ok(());
        }
        let (path, named) = match &self.place {
            Some(Place::Named(path)) => (path, true),
            Some(Place::Found(path)) => (path, false),
            None => {
                warn!(target: "sluicegate::server", "what is used of tokens and money is forgotten at the end: there is no state directory; name one as server.state_dir");
                return Ok(());
            }
        };
        match limits.keep_in(path, follows, metrics) {
            Ok(keeper) => {
                if keeper.writes() {
                    info!(target: "sluicegate::server", "what is used of tokens and money is kept in {}", path.display());
                }
                *lock(&self.keeper) = Some(keeper);
                Ok(())
            }
            Err(error) if named => Err((path.clone(), error)),
            Err(error) => {
                let what = format!("it cannot be kept in {}: {error}", path.display());
                warn!(target: "sluicegate::server", "what is used of tokens and money is forgotten at the end: {what}");
                metrics.ledger().saved(false);
                metrics.ledger().trouble(Some(what));
                Ok(())
            }
        }
    }

    /// Writes everything, and leaves the directory to another process. To be followed by [`Self::resume`] if there is none
    /// after all.
    pub async fn pause(self: &Arc<Self>) {
        let state = Arc::clone(self);
        // It writes files, which is not for this thread.
        let _ = tokio::task::spawn_blocking(move || {
            let keeper = lock(&state.keeper).take();
            *lock(&state.paused) = keeper.and_then(Keeper::hand_over);
        })
        .await;
    }

    /// What was counted since it is another process that keeps it.
    pub fn moves(&self) -> Vec<(u64, u64, Moved)> {
        lock(&self.paused).as_ref().map(Paused::moves).unwrap_or_default()
    }

    /// Goes on keeping what is counted.
    pub async fn resume(self: &Arc<Self>) {
        let state = Arc::clone(self);
        let _ = tokio::task::spawn_blocking(move || {
            let Some(paused) = lock(&state.paused).take() else { return };
            let Some(Place::Named(path) | Place::Found(path)) = &state.place else { return };
            match paused.resume(path) {
                Ok(keeper) => *lock(&state.keeper) = Some(keeper),
                Err(error) => error!(target: "sluicegate::server", "what is used of tokens and money is forgotten at the end: it cannot be kept on: {error}"),
            }
        })
        .await;
    }

    /// Writes everything. To be called when nothing is counted any more.
    pub fn end(&self) {
        if let Some(keeper) = lock(&self.keeper).take() {
            keeper.end();
        }
    }
}

/// Nothing is left half done under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn find(config: &Config, environment: &Environment, usual: &Path) -> Option<Place> {
    if let Some(path) = &config.server.state_dir {
        return Some(Place::Named(path.clone()));
    }
    let first = |text: &str| text.split(':').next().filter(|path| path.starts_with('/')).map(PathBuf::from);
    let of_systemd = environment.variable("STATE_DIRECTORY").and_then(|text| first(&text));
    of_systemd.or_else(|| usual.is_dir().then(|| usual.to_owned())).map(Place::Found)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::{Overrides, parse};
    use crate::observe::Identity;

    fn config(more: &str) -> Config {
        let ai = "ai: { providers: { openai: { kind: openai, keys: [sk-proj-7f2b4936a8e1] } } }\n";
        let text = format!("listen: 127.0.0.1:80\n{ai}{more}");
        parse("sluicegate.yaml", &text, &Overrides::default(), &Environment::of([])).unwrap().config
    }

    fn metrics() -> Metrics {
        Metrics::new(&Identity { instance_id: "gw-1".into(), version: "0.1.0".into() })
    }

    const LIMITED: &str =
        "limits: { a: { key: global, tokens: 5/day } }\nroutes: { match: /v1/, ai: true, limits: a }\n";

    #[test]
    fn the_configuration_goes_over_systemd_and_systemd_over_the_usual_place() {
        let directory = tempfile::tempdir().unwrap();
        let named = config("server: { state_dir: /srv/gateway }\nroutes: { match: /v1/, ai: true }\n");
        let plain = config("routes: { match: /v1/, ai: true }\n");
        let systemd = Environment::of([("STATE_DIRECTORY", "/var/lib/gateway:/var/lib/other")]);
        let bare = Environment::of([]);
        let found = |path: &str| Some(Place::Found(path.into()));
        assert_eq!(find(&named, &systemd, directory.path()), Some(Place::Named("/srv/gateway".into())));
        assert_eq!(find(&plain, &systemd, directory.path()), found("/var/lib/gateway"));
        assert_eq!(find(&plain, &bare, directory.path()), found(directory.path().to_str().unwrap()));
        assert_eq!(find(&plain, &bare, &directory.path().join("absent")), None);
    }

    #[test]
    fn the_directory_is_only_touched_once_there_is_a_budget() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        let state = StateDirectory {
            place: Some(Place::Named(path.clone())),
            keeper: Mutex::default(),
            paused: Mutex::default(),
        };
        let (limits, metrics) = (Limits::default(), metrics());
        state.begin(&config("routes: { match: /v1/, ai: true }\n"), &limits, false, &metrics).unwrap();
        assert!(!path.exists());
        state.begin(&config(LIMITED), &limits, false, &metrics).unwrap();
        assert!(path.join("limits.state").exists());
        state.begin(&config(LIMITED), &limits, false, &metrics).unwrap();
        state.end();
    }

    #[test]
    fn a_directory_that_does_not_work_stops_only_who_named_it() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        let begin = |place| {
            let state = StateDirectory { place: Some(place), keeper: Mutex::default(), paused: Mutex::default() };
            state.begin(&config(LIMITED), &Limits::default(), false, &metrics()).map_err(|(path, _)| path)
        };
        assert_eq!(begin(Place::Named(file.clone())), Err(file.clone()));
        assert_eq!(begin(Place::Found(file)), Ok(()));
    }
}
