//! Which cores run what, so that a proxy and its load do not take each other's time.

use std::process::{Command, Stdio};

use serde::Serialize;

/// A split of the cores: the upper half for the proxy, the lower for all else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Pin {
    /// Cores of the proxy in taskset's form; none where nothing is pinned.
    pub proxy: Option<String>,
    /// Cores of the load and the backend.
    pub load: Option<String>,
    /// How many cores the proxy has where it is pinned.
    count: usize,
}

impl Pin {
    /// Halves the cores, and moves this process, and so all that it starts, to the lower half. Errors on one core or without
    /// `taskset`.
    pub fn halves() -> Result<Self, String> {
        let pin = Self::split(std::thread::available_parallelism().map_or(1, usize::from))?;
        let load = pin.load.as_deref().unwrap_or_default();
        let own = std::process::id().to_string();
        let moved = Command::new("taskset").args(["-acp", load, &own]).stdout(Stdio::null()).status();
        match moved.is_ok_and(|status| status.success()) {
            true => Ok(pin),
            false => Err("taskset (util-linux) does not pin this process".to_owned()),
        }
    }

    fn split(cores: usize) -> Result<Self, String> {
        if cores < 2 {
            return Err("there is one core, and nothing to pin apart".to_owned());
        }
        let half = cores / 2;
        let range = |from: usize, to: usize| if from == to { from.to_string() } else { format!("{from}-{to}") };
        Ok(Self { load: Some(range(0, half - 1)), proxy: Some(range(half, cores - 1)), count: cores - half })
    }

    /// How many cores the proxy has.
    pub fn proxy_cores(&self) -> u32 {
        let all = || std::thread::available_parallelism().map_or(1, usize::from);
        u32::try_from(if self.proxy.is_some() { self.count } else { all() }).unwrap_or(1)
    }

    /// The command line that runs a proxy where it belongs.
    pub fn of_proxy(&self, argv: &[String]) -> Vec<String> {
        match &self.proxy {
            None => argv.to_vec(),
            Some(cores) => {
                ["taskset", "-c", cores].into_iter().map(str::to_owned).chain(argv.iter().cloned()).collect()
            }
        }
    }

    /// For reports.
    pub fn about(&self) -> String {
        match (&self.proxy, &self.load) {
            (Some(proxy), Some(load)) => format!("proxy on core {proxy}, load and backend on core {load}"),
            _ => "nothing is pinned to a core".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cores_are_halved() {
        let of = |cores| Pin::split(cores).map(|pin| (pin.load.unwrap(), pin.proxy.unwrap()));
        assert_eq!(of(2), Ok(("0".to_owned(), "1".to_owned())));
        assert_eq!(of(5), Ok(("0-1".to_owned(), "2-4".to_owned())));
        assert_eq!([2, 5].map(|cores| Pin::split(cores).unwrap().proxy_cores()), [1, 3]);
        assert!(of(1).is_err());
    }

    #[test]
    fn only_a_pinned_proxy_runs_under_taskset() {
        let argv = ["gateway".to_owned()];
        assert_eq!(Pin::default().of_proxy(&argv), argv);
        assert_eq!(Pin::split(2).unwrap().of_proxy(&argv), ["taskset", "-c", "1", "gateway"]);
    }
}
