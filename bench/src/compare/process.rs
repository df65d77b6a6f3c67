//! A proxy's processes: started here, measured from /proc, and ended by their ids when dropped.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// A running program with its descendants (nginx serves in child processes).
pub struct Running {
    child: Child,
}

/// What a program and its descendants have used so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// User and system time.
    pub cpu: Duration,
    /// Resident memory, KiB.
    pub rss_kib: u64,
    /// Highest resident memory, KiB.
    pub peak_kib: u64,
    /// Resident memory with each shared page split among those who share it, KiB; 0 where the kernel does not tell.
    pub pss_kib: u64,
}

impl Running {
    /// Starts a program with both outputs going to `log`. Errors when it cannot be started.
    pub fn spawn(argv: &[String], log: &Path) -> io::Result<Self> {
        let (program, args) = argv.split_first().ok_or_else(|| io::Error::other("no program"))?;
        let out = File::create(log)?;
        let child =
            Command::new(program).args(args).stdin(Stdio::null()).stderr(out.try_clone()?).stdout(out).spawn()?;
        Ok(Self { child })
    }

    /// Whether the program has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Time and memory of the program and its descendants. Errors when it has gone.
    pub fn usage(&self) -> io::Result<Usage> {
        let mut sum = Usage::default();
        for pid in family(self.child.id()) {
            let gone = || io::Error::other(format!("process {pid} has gone"));
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).map_err(|_| gone())?;
            let status = fs::read_to_string(format!("/proc/{pid}/status")).map_err(|_| gone())?;
            sum.cpu += ticks(parse_stat(&stat).ok_or_else(gone)?.ticks);
            sum.rss_kib += status_kib(&status, "VmRSS").unwrap_or(0);
            sum.peak_kib += status_kib(&status, "VmHWM").unwrap_or(0);
            let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
            sum.pss_kib += status_kib(&rollup, "Pss").unwrap_or(0);
        }
        Ok(sum)
    }

    /// Counts the highest resident memory from here on. Errors when the kernel refuses.
    pub fn forget_peak(&self) -> io::Result<()> {
        // "5" resets VmHWM (proc(5), clear_refs).
        family(self.child.id()).iter().try_for_each(|pid| fs::write(format!("/proc/{pid}/clear_refs"), "5"))
    }
}

impl Drop for Running {
    /// Asks the program to stop at once (SIGINT means that to every peer; nginx then reaps its workers), and ends what is left.
    fn drop(&mut self) {
        let family: Vec<(u32, Stat)> =
            family(self.child.id()).into_iter().filter_map(|pid| Some((pid, stat_of(pid)?))).collect();
        if !self.has_ended() {
            send(self.child.id(), Signal::INT);
        }
        for _ in 0..200 {
            if self.has_ended() {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        for (pid, stat) in family {
            // A process id may have passed on to a stranger; the start time has not.
            if stat_of(pid).is_some_and(|now| now.started == stat.started) {
                send(pid, Signal::KILL);
            }
        }
        let _ = self.child.wait();
    }
}

/// The time of this process alone, without its children.
pub fn own_cpu() -> Duration {
    ticks(stat_of(std::process::id()).map_or(0, |stat| stat.ticks))
}

/// So many clock ticks, in which the kernel counts CPU time.
pub fn ticks(count: u64) -> Duration {
    Duration::from_secs_f64(count as f64 / rustix::param::clock_ticks_per_second() as f64)
}

fn send(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// A process and its descendants, the process itself first.
fn family(root: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = all_processes();
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    found
}

/// Each process with its parent.
fn all_processes() -> Vec<(u32, u32)> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| Some((pid, stat_of(pid)?.parent))).collect()
}

#[derive(Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    /// User and system time in clock ticks.
    ticks: u64,
    /// When it started, in ticks since boot.
    started: u64,
}

fn stat_of(pid: u32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Reads `/proc/PID/stat` (proc(5)). The command may itself contain spaces and parentheses.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    // Counted from 1 in proc(5): state is 3, ppid 4, utime 14, stime 15, starttime 22.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(Stat { parent: u32::try_from(field(4)?).ok()?, ticks: field(14)? + field(15)?, started: field(22)? })
}

/// A size in `/proc/PID/status`, KiB.
fn status_kib(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_past_a_command_with_spaces_and_parentheses() {
        let text = "4242 (a (b) c) S 17 4242 4242 0 -1 4194304 100 0 0 0 250 50 9 9 20 0 3 0 77 2 3";
        assert_eq!(parse_stat(text), Some(Stat { parent: 17, ticks: 300, started: 77 }));
        assert_eq!(parse_stat("4242 (cut) S 17"), None);
    }

    #[test]
    fn sizes_of_status_are_found_by_their_key() {
        let text = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(status_kib(text, "VmRSS"), Some(1024));
        assert_eq!(status_kib(text, "VmHWM"), Some(2048));
        assert_eq!(status_kib(text, "VmSwap"), None);
    }

    #[test]
    fn a_program_is_measured_with_its_children_and_ended_with_them() {
        let log = std::env::temp_dir().join(format!("sluicegate-process-test-{}", std::process::id()));
        let script = "sleep 300 & echo started; wait".to_owned();
        let running = Running::spawn(&["sh".to_owned(), "-c".to_owned(), script], &log).unwrap();
        while fs::read_to_string(&log).unwrap() != "started\n" {
            std::thread::yield_now();
        }
        let pids = family(running.child.id());
        assert_eq!(pids.len(), 2);
        let usage = running.usage().unwrap();
        assert!(usage.pss_kib > 0 && usage.pss_kib <= usage.rss_kib && usage.rss_kib <= usage.peak_kib, "{usage:?}");
        drop(running);
        // The orphan is reaped by whoever adopts it: a moment later, or left as a zombie.
        let alive =
            |pid: &u32| fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
        for _ in 0..1000 {
            if !pids.iter().any(alive) {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(!pids.iter().any(alive), "{pids:?} survive");
        fs::remove_file(log).unwrap();
    }
}
