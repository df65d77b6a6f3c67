//! Where a result comes from: the machine, the commit, the versions.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde::Serialize;

use super::process::ticks;

/// The machine and the state of the source that was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// The processor's name.
    pub cpu: String,
    /// Processors available to this process.
    pub cores: usize,
    /// Main memory, MiB.
    pub memory_mib: u64,
    /// The kernel's release.
    pub kernel: String,
    /// The short commit, with `-dirty` after it when the work tree differs.
    pub commit: String,
    /// When the run began, UTC.
    pub date: String,
    /// Load average over the minute before the run. Well below 1, or other work disturbs the numbers.
    pub load: f64,
}

impl Machine {
    /// Reads the machine, to be called before the run; what cannot be found is called unknown.
    pub fn here() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let loadavg = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            cpu: value_of(&cpuinfo, "model name").unwrap_or("unknown").to_owned(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_mib: memory_mib(&meminfo),
            kernel: kernel.trim().to_owned(),
            commit: commit(),
            date: jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string(),
            load: loadavg.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0),
        }
    }
}

/// Where a program is, by PATH and the places of system programs; a name with a slash is looked at as it is.
pub fn which(program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(PathBuf::from(program)).filter(|path| path.is_file());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from);
    let mut places = std::env::split_paths(&path).chain(system);
    places.find_map(|place| Some(place.join(program)).filter(|path| path.is_file()))
}

/// The first line that a program prints for its version, on either output.
pub fn version(program: &Path, flag: &str) -> String {
    let Ok(output) = Command::new(program).arg(flag).output() else {
        return "unknown".to_owned();
    };
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).lines().next().unwrap_or("unknown").trim().to_owned()
}

/// The time in which a host ran others on this machine's cores, since it was started, summed over the cores. None on a machine that
/// is no guest, or where the host does not tell.
pub fn stolen() -> Duration {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    ticks(stolen_ticks(&stat))
}

/// The eighth number behind `cpu` (proc_stat(5)).
fn stolen_ticks(stat: &str) -> u64 {
    let all = stat.lines().find_map(|line| line.strip_prefix("cpu ")).unwrap_or_default();
    all.split_whitespace().nth(7).and_then(|steal| steal.parse().ok()).unwrap_or(0)
}

fn value_of<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let (_, value) = text.lines().find_map(|line| line.split_once(':').filter(|(name, _)| name.trim() == key))?;
    Some(value.trim())
}

fn memory_mib(meminfo: &str) -> u64 {
    let kib = value_of(meminfo, "MemTotal").and_then(|value| value.strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}

fn commit() -> String {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short", "HEAD"]) else {
        return "unknown".to_owned();
    };
    match git(&["status", "--porcelain", "--untracked-files=no"]) {
        Some(changes) if changes.is_empty() => commit,
        _ => commit + "-dirty",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_their_whole_key() {
        let text = "model\t\t: 85\nmodel name\t: Some CPU @ 2.0GHz\n";
        assert_eq!(value_of(text, "model name"), Some("Some CPU @ 2.0GHz"));
        assert_eq!(memory_mib("MemFree: 1 kB\nMemTotal:        2048000 kB\n"), 2000);
    }

    #[test]
    fn what_a_host_takes_is_read() {
        assert_eq!(stolen_ticks("cpu  218193 477 50686 120212 2204 0 12277 2723 0 0\ncpu0 1 2\n"), 2723);
        assert_eq!(stolen_ticks(""), 0);
    }

    #[test]
    fn programs_are_found_on_the_path() {
        assert!(which("sh").is_some());
        assert_eq!(which("no-such-program"), None);
        assert_eq!(which("/no/such/program"), None);
    }
}
