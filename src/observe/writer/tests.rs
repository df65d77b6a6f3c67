use std::collections::HashMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::Barrier;

use super::*;

fn log_in(dir: &tempfile::TempDir) -> (PathBuf, Arc<LogFile>) {
    let path = dir.path().join("access.log");
    let log = LogFile::open(&path).unwrap();
    (path, log)
}

fn line(log: &LogFile, text: &str) -> bool {
    log.append(|buf| buf.extend_from_slice(format!("{text}\n").as_bytes()))
}

#[test]
fn a_flushed_line_is_in_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let (path, log) = log_in(&dir);
    line(&log, "one");
    log.flush().unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\n");
}

#[test]
fn a_dropped_log_has_written_everything() {
    let dir = tempfile::tempdir().unwrap();
    let (path, log) = log_in(&dir);
    for n in 0..10_000 {
        line(&log, &n.to_string());
    }
    drop(log);
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 10_000);
}

#[test]
fn an_existing_file_is_appended_to_and_a_new_one_is_not_for_everybody() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.log");
    std::fs::write(&path, "before\n").unwrap();
    let log = LogFile::open(&path).unwrap();
    line(&log, "after");
    log.flush().unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "before\nafter\n");

    let fresh = dir.path().join("fresh.log");
    let _fresh = LogFile::open(&fresh).unwrap();
    // The umask may take more away.
    assert_eq!(std::fs::metadata(&fresh).unwrap().permissions().mode() & 0o777 & !0o640, 0);
}

#[test]
fn a_path_that_cannot_be_opened_is_an_error() {
    assert!(LogFile::open("/nowhere/at/all.log").is_err());
}

#[test]
fn a_reopen_splits_the_lines_between_the_files() {
    let dir = tempfile::tempdir().unwrap();
    let (path, log) = log_in(&dir);
    line(&log, "before");
    let old = dir.path().join("access.log.1");
    std::fs::rename(&path, &old).unwrap();
    log.reopen().unwrap();
    line(&log, "after");
    log.flush().unwrap();
    assert_eq!(std::fs::read_to_string(&old).unwrap(), "before\n");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "after\n");
}

#[test]
fn a_reopen_that_fails_keeps_the_old_file() {
    let dir = tempfile::tempdir().unwrap();
    let inner = dir.path().join("log");
    std::fs::create_dir(&inner).unwrap();
    let log = LogFile::open(inner.join("access.log")).unwrap();
    let moved = dir.path().join("moved");
    std::fs::rename(&inner, &moved).unwrap();
    assert!(log.reopen().is_err());
    line(&log, "still here");
    log.flush().unwrap();
    assert_eq!(std::fs::read_to_string(moved.join("access.log")).unwrap(), "still here\n");
}

/// Eight threads write while the file is renamed and reopened fifty times.
#[test]
fn rotation_under_load_loses_doubles_and_tears_nothing() {
    const THREADS: usize = 8;
    const LINES: usize = 20_000;
    const ROTATIONS: usize = 50;
    let dir = tempfile::tempdir().unwrap();
    let (path, log) = log_in(&dir);
    let start = Barrier::new(THREADS + 1);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (log, start) = (&log, &start);
            scope.spawn(move || {
                start.wait();
                for n in 0..LINES {
                    line(log, &format!("{thread} {n} {}", "x".repeat(n % 120)));
                    if n % 1000 == 0 {
                        std::thread::yield_now();
                    }
                }
            });
        }
        start.wait();
        for rotation in 0..ROTATIONS {
            std::fs::rename(&path, dir.path().join(format!("old.{rotation}"))).unwrap();
            log.reopen().unwrap();
        }
    });
    drop(log);

    let mut seen: HashMap<(usize, usize), usize> = HashMap::new();
    for file in std::fs::read_dir(dir.path()).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'));
        for line in text.lines() {
            let mut words = line.split(' ');
            let thread = words.next().unwrap().parse().unwrap();
            let n = words.next().unwrap().parse().unwrap();
            assert_eq!(words.next(), Some("x".repeat(n % 120).as_str()), "a torn line");
            *seen.entry((thread, n)).or_default() += 1;
        }
    }
    assert_eq!(seen.len(), THREADS * LINES);
    assert!(seen.values().all(|times| *times == 1));
}

#[test]
fn a_full_disk_is_counted_and_stops_nobody() {
    // The kernel's own full disk.
    let log = LogFile::open("/dev/full").unwrap();
    for _ in 0..10 {
        assert!(line(&log, "lost"));
    }
    log.flush().unwrap();
    assert_eq!(log.dropped(), 10);
    assert!(log.write_errors() >= 1);
}

/// A reader that does not read: the writer is stuck, a worker is not, and what does not fit is counted.
#[test]
fn a_stuck_writer_makes_lines_drop_not_wait() {
    let (reader, pipe) = io::pipe().unwrap();
    let file = File::from(std::os::fd::OwnedFd::from(pipe));
    let log = LogFile::start(Sink::File { file, path: PathBuf::from("/dev/null") }).unwrap();
    let text = "x".repeat(100_000);
    let kept = (0..200).filter(|_| line(&log, &text)).count();
    assert!((40..200).contains(&kept), "{kept} lines of 100 kB were kept");
    assert_eq!(log.dropped(), 200 - u64::try_from(kept).unwrap());
    // Every write fails from here on, so that the writer comes to its end.
    drop(reader);
}

#[test]
fn half_a_line_left_by_a_full_disk_is_ended_before_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.log");
    let sink = Sink::File { file: open(&path).unwrap(), path: path.clone() };
    let shared = Arc::new(Shared {
        shards: Box::new([Shard::default()]),
        dropped: AtomicU64::new(0),
        write_errors: AtomicU64::new(0),
        woken: AtomicBool::new(false),
    });
    let mut writer = Writer { shared, sink, spare: Vec::new(), mid_line: false, reported: None };
    writer.write(b"half");
    writer.write(b"next\n");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "half\nnext\n");
}

#[test]
fn a_reopen_after_a_rename_makes_a_new_file() {
    let dir = tempfile::tempdir().unwrap();
    let (path, log) = log_in(&dir);
    let old = dir.path().join("old");
    std::fs::rename(&path, &old).unwrap();
    log.reopen().unwrap();
    assert_ne!(std::fs::metadata(&path).unwrap().ino(), std::fs::metadata(&old).unwrap().ino());
}
