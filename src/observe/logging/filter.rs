//! Which records are written: levels per target (A5.00).

use log::{Level, LevelFilter};

/// Libraries that say at INFO what only their authors want to know.
const QUIET: [&str; 9] = ["pingora", "h2", "hyper", "hyper_util", "rustls", "tokio", "mio", "reqwest", "want"];
/// Parts of Pingora that call the faults of clients errors: those are counted, and stand in the access log.
const SILENT: [&str; 3] = ["pingora_proxy", "pingora_core::apps", "pingora_core::protocols"];
/// What the targets of our own modules begin with.
const OWN: &str = "sluicegate::";

/// Levels per target. The longest target that fits decides.
pub(super) struct Filter {
    level: LevelFilter,
    /// Longest first; of two equal ones the configured one first.
    targets: Vec<(String, LevelFilter)>,
}

impl Filter {
    /// `level` for all, but WARN at most for noisy libraries, nothing of the silent ones, and `targets` as they say.
    pub(super) fn new(level: LevelFilter, targets: &[(String, LevelFilter)]) -> Self {
        let quiet = QUIET.iter().map(|name| ((*name).to_owned(), level.min(LevelFilter::Warn)));
        let silent = SILENT.iter().map(|name| ((*name).to_owned(), LevelFilter::Off));
        let configured = targets.iter().map(|(name, level)| (short(name).to_owned(), *level));
        let mut targets: Vec<_> = configured.chain(silent).chain(quiet).collect();
        targets.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        Self { level, targets }
    }

    /// Whether a record of `target` and `level` is written.
    pub(super) fn enabled(&self, target: &str, level: Level) -> bool {
        let target = short(target);
        let found = self.targets.iter().find(|(name, _)| fits(name, target));
        level <= found.map_or(self.level, |(_, level)| *level)
    }

    /// The most that any target may write.
    pub(super) fn most(&self) -> LevelFilter {
        self.targets.iter().map(|(_, level)| *level).fold(self.level, Ord::max)
    }
}

/// A target without the name of our crate: `balance::health` for `sluicegate::balance::health`.
pub(super) fn short(target: &str) -> &str {
    target.strip_prefix(OWN).unwrap_or(target)
}

/// Whether `target` is `name` or below it: `pingora` takes `pingora_core::server`, `balance` takes `balance::health`,
/// and `log` does not take `logging`.
fn fits(name: &str, target: &str) -> bool {
    target.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with("::") || rest.starts_with('_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(level: LevelFilter, targets: &[(&str, LevelFilter)]) -> Filter {
        let targets: Vec<_> = targets.iter().map(|(name, level)| ((*name).to_owned(), *level)).collect();
        Filter::new(level, &targets)
    }

    #[test]
    fn debug_for_one_target_shows_only_that_target() {
        let filter = filter(LevelFilter::Info, &[("balance", LevelFilter::Debug)]);
        assert!(filter.enabled("sluicegate::balance", Level::Debug));
        assert!(filter.enabled("sluicegate::balance::health", Level::Debug));
        assert!(!filter.enabled("sluicegate::balance", Level::Trace));
        assert!(!filter.enabled("sluicegate::balancer", Level::Debug));
        assert!(!filter.enabled("sluicegate::proxy", Level::Debug));
        assert!(filter.enabled("sluicegate::proxy", Level::Info));
        assert_eq!(filter.most(), LevelFilter::Debug);
    }

    #[test]
    fn the_full_name_of_a_module_works_too() {
        let filter = filter(LevelFilter::Info, &[("sluicegate::balance", LevelFilter::Debug)]);
        assert!(filter.enabled("sluicegate::balance::health", Level::Debug));
    }

    #[test]
    fn libraries_are_quiet_unless_asked() {
        let quiet = filter(LevelFilter::Debug, &[]);
        assert!(!quiet.enabled("pingora_core::server", Level::Info));
        assert!(quiet.enabled("pingora_core::server", Level::Warn));
        assert!(!quiet.enabled("h2::codec", Level::Debug));
        let asked = filter(LevelFilter::Info, &[("pingora_core", LevelFilter::Debug), ("h2", LevelFilter::Info)]);
        assert!(asked.enabled("pingora_core::server", Level::Debug));
        assert!(!asked.enabled("pingora_proxy", Level::Info));
        assert!(asked.enabled("h2", Level::Info));
    }

    #[test]
    fn a_stricter_level_for_all_holds_for_libraries() {
        assert!(!filter(LevelFilter::Error, &[]).enabled("pingora_core", Level::Warn));
        assert!(!filter(LevelFilter::Off, &[]).enabled("sluicegate", Level::Error));
    }

    #[test]
    fn the_longest_target_decides() {
        let filter =
            filter(LevelFilter::Info, &[("balance", LevelFilter::Error), ("balance::health", LevelFilter::Trace)]);
        assert!(filter.enabled("sluicegate::balance::health", Level::Trace));
        assert!(!filter.enabled("sluicegate::balance::policy", Level::Warn));
    }
}
