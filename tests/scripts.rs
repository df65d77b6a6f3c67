//! What an operator runs: the scripts in `packaging/ops`, log rotation, and the forwarding of logs.
//!
//! The scripts have their cases in `tests/scripts`, a function of bash each, which run on hosts of their own in a folder,
//! with the program under test. Where they steer a service, `tests/scripts/systemctl` stands in for systemd; what systemd
//! itself does is shown where a real one runs.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking, and says what it leaves out")]

#[path = "support/harness.rs"]
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use support::*;
use tempfile::TempDir;

/// Rotations under load.
const ROTATIONS: usize = 50;

/// The exit code of a check that cannot run here.
const SKIPPED: i32 = 77;

/// What `tests/scripts/in-container` looks at.
const LOOKED_AT: usize = 11;

/// The source tree.
fn tree() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A program of the system, also where daemons are kept; `None` where it is not installed.
fn tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    folders.find_map(|folder| Some(folder.join(name)).filter(|file| file.is_file()))
}

/// A tool that a test cannot do without: a line, and `None`, where it is not there.
fn needed(name: &str) -> Option<PathBuf> {
    let found = tool(name);
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "{name} is not installed: run `make deps`");
        eprintln!("SKIPPED: {name} is not installed: run `make deps`");
    }
    found
}

/// Runs one case of one file; the test fails with all that it said.
fn case(file: &str, name: &str) {
    if needed("bash").is_none() || needed("python3").is_none() || needed("curl").is_none() {
        return;
    }
    let mut command = Command::new("bash");
    command.arg(tree().join(format!("tests/scripts/{file}.sh"))).arg(name);
    command.env("TREE", tree()).env("SLUICEGATE", env!("CARGO_BIN_EXE_sluicegate"));
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{file}.sh {name}: {status}\n{said}");
    if let Some(why) = said.lines().find(|line| line.starts_with("skipped: ")) {
        eprintln!("SKIPPED: {name}: {why}");
    }
}

/// Defines the tests of a file, each named as its case.
macro_rules! cases {
    ($file:ident: $($name:ident),+ $(,)?) => {
        mod $file {
            pub(super) const CASES: &[&str] = &[$(stringify!($name)),+];
            $(#[test] fn $name() { super::case(stringify!($file), stringify!($name)); })+
        }
    };
}

cases! { backup:
    what_is_restored_is_what_was_backed_up,
    a_running_gateway_takes_what_is_restored,
    a_full_backup_brings_the_state_back,
    a_credential_of_a_service_that_is_stopped_is_found,
    a_configuration_that_is_refused_is_not_restored,
    instances_take_what_is_restored,
    an_instance_that_refuses_its_file_takes_everything_back,
    an_instance_that_the_backup_knows_nothing_of_is_told,
    a_state_is_brought_back_to_every_instance_or_to_none,
    a_damaged_backup_is_refused_before_anything_is_touched,
    a_hostile_backup_is_refused_before_anything_is_touched,
    old_backups_go_but_never_the_last_one,
    a_full_disk_leaves_the_earlier_backups_and_no_half_one,
    a_restore_that_is_killed_is_undone_by_the_next,
    a_restore_that_is_killed_when_it_is_done_is_never_undone,
    links_in_folders_of_the_service_are_not_followed,
    a_name_that_is_made_up_is_refused,
    a_full_folder_for_scratch_is_not_called_damage,
    what_a_killed_run_left_is_removed_by_the_next,
    a_restore_that_is_interrupted_puts_everything_back,
    what_is_no_file_is_left_out_and_told,
    a_wrong_command_line_changes_nothing,
}

cases! { release:
    a_release_is_installed_from_the_tree_and_serves,
    an_installation_of_a_release_has_what_a_package_has,
    an_installation_that_does_not_serve_leaves_nothing,
    an_upgrade_loses_no_request_and_a_rollback_neither,
    an_upgrade_by_restart_works_without_hand_over,
    a_program_that_does_not_run_is_refused,
    a_program_that_refuses_the_configuration_is_refused,
    without_a_backup_there_is_no_upgrade,
    a_version_that_does_not_start_is_taken_back,
    a_version_that_is_not_what_it_says_is_taken_back,
    a_backend_that_was_dead_before_does_not_stop_an_upgrade,
    a_version_that_loses_its_backends_is_taken_back,
    an_upgrade_that_is_interrupted_goes_back,
    a_service_that_is_stopped_stays_stopped,
    packages_are_upgraded_and_taken_back,
    three_instances_are_deployed_and_a_bad_template_stops_at_the_first,
    a_link_in_the_place_of_a_log_folder_changes_no_owner,
    an_instance_that_does_not_start_is_taken_away,
}

cases! { keys:
    both_secrets_work_until_the_overlap_ends,
    the_overlap_can_be_ended_at_once,
    a_reload_that_is_refused_takes_everything_back,
    a_new_secret_that_is_not_let_in_is_taken_back,
    a_full_disk_leaves_the_keys_as_they_are,
    a_secret_that_nobody_gets_changes_no_key,
    what_cannot_be_changed_is_told,
}

cases! { watching:
    one_of_three_that_is_down_is_counted,
    the_gateways_of_the_host_are_asked_without_being_named,
    an_admin_token_is_in_no_argument,
    each_event_alerts_exactly_once,
    a_log_with_binary_lines_and_a_broken_state_are_read,
    half_a_line_is_read_when_it_is_whole,
    a_log_is_followed_through_its_rotations,
    an_alert_that_could_not_be_sent_is_sent_by_the_next_run,
    a_full_disk_alerts_nobody_twice,
    a_log_that_grows_too_large_alerts_until_it_is_smaller,
    an_empty_log_has_no_rates_and_a_full_one_has,
    a_log_without_requests_gives_way_to_the_metrics,
    the_state_of_a_host_shows_service_resources_and_errors,
    preflight_says_what_a_bare_host_lacks,
    preflight_passes_on_a_host_that_is_ready,
    the_source_tree_is_in_order,
    what_is_wrong_with_an_installation_is_told,
    each_kind_of_broken_file_is_found,
    every_script_has_a_help_and_is_listed,
}

#[test]
fn every_case_has_a_test() {
    let files =
        [("backup", backup::CASES), ("release", release::CASES), ("keys", keys::CASES), ("watching", watching::CASES)];
    for (file, tested) in files {
        let text = fs::read_to_string(tree().join(format!("tests/scripts/{file}.sh"))).unwrap();
        let (_, cases) = text.split_once("\n# === Cases ===\n").unwrap_or_else(|| panic!("{file}.sh has no cases"));
        let defined: BTreeSet<&str> = cases.lines().filter_map(|line| line.strip_suffix("() {")).collect();
        assert_eq!(defined, tested.iter().copied().collect(), "the cases of {file}.sh");
    }
}

#[test]
fn the_scripts_do_their_work_under_a_real_systemd() {
    let mut command = Command::new(tree().join("tests/scripts/container"));
    let Output { status, stdout, stderr } =
        command.args(["bookworm", env!("CARGO_BIN_EXE_sluicegate")]).stdin(Stdio::null()).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    if status.code() == Some(SKIPPED) {
        eprintln!("{said}");
        return;
    }
    assert!(status.success(), "{said}");
    assert_eq!(said.lines().filter(|line| line.starts_with("ok ")).count(), LOOKED_AT, "{said}");
}

/// The shipped rules for the files of this folder and the user of this test, and a state of their own.
struct Rotation {
    logrotate: PathBuf,
    folder: PathBuf,
}

impl Rotation {
    /// The rules, where logrotate is installed.
    fn of(folder: &Path) -> Option<Self> {
        Self::changed(folder, &[])
    }

    /// The same with these words in the place of others.
    fn changed(folder: &Path, changes: &[(&str, &str)]) -> Option<Self> {
        let logrotate = needed("logrotate")?;
        let shipped = fs::read_to_string(tree().join("packaging/logrotate/sluicegate")).unwrap();
        let (user, group) = (name_of("-un"), name_of("-gn"));
        let mut text = shipped
            .replace("/var/log/sluicegate", folder.to_str().unwrap())
            .replace("sluicegate sluicegate\n", &format!("{user} {group}\n"));
        for (from, to) in changes {
            assert!(text.contains(from), "{from:?} is not in the rules");
            text = text.replace(from, to);
        }
        let rules = folder.join("rules");
        fs::write(&rules, text).unwrap();
        fs::set_permissions(&rules, fs::Permissions::from_mode(0o644)).unwrap();
        // Others may not put files into a folder whose files are rotated.
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
        let rotation = Self { logrotate, folder: folder.to_owned() };
        fs::create_dir(folder.join("bin")).unwrap();
        rotation.systemctl("exit 0");
        Some(rotation)
    }

    /// Leaves the rules out that come after this line.
    fn only_up_to(&self, line: &str) {
        let file = self.folder.join("rules");
        let rules = fs::read_to_string(&file).unwrap();
        fs::write(file, rules.split_once(line).unwrap().0).unwrap();
    }

    /// Runs it. In the place of systemctl there is one that knows this one process of the service.
    fn run(&self, option: &str) -> String {
        let path = std::env::join_paths([self.folder.join("bin"), "/usr/bin".into(), "/bin".into()]).unwrap();
        let mut command = Command::new(&self.logrotate);
        command.args([option, "--state"]).arg(self.folder.join("state")).arg(self.folder.join("rules"));
        let output = command.env("PATH", path).output().unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "logrotate {option}: {said}");
        said
    }

    /// Has that systemctl tell of a service with this process, where it otherwise tells of none.
    fn service(&self, pid: u32) {
        self.systemctl(&format!(
            "case $* in\n\
             list-units*--state=active,reloading*) echo sluicegate.service loaded active running ;;\n\
             'kill --kill-who=main --signal=USR1 sluicegate.service') kill -USR1 {pid} ;;\n\
             *) exit 1 ;;\nesac"
        ));
    }

    fn systemctl(&self, text: &str) {
        let file = self.folder.join("bin/systemctl");
        fs::write(&file, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// The lines of a log and of all that it was rotated to.
    fn lines(&self, log: &str) -> usize {
        let files = fs::read_dir(&self.folder).unwrap().map(|file| file.unwrap().path());
        let mine = files.filter(|file| file.file_name().unwrap().to_str().unwrap().starts_with(log));
        let count = |file: PathBuf| {
            let output = Command::new("gzip").args(["-dcf", "--"]).arg(file).output().unwrap();
            output.stdout.split(|&byte| byte == b'\n').count() - 1
        };
        mine.map(count).sum()
    }
}

/// What `id` says.
fn name_of(option: &str) -> String {
    let output = Command::new("id").arg(option).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Whether the process has the file open that has this name now.
fn has_open(pid: u32, file: &Path) -> bool {
    let Ok(wanted) = fs::metadata(file) else { return false };
    let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let mut files = open.filter_map(|entry| fs::metadata(entry.ok()?.path()).ok());
    files.any(|file| (file.dev(), file.ino()) == (wanted.dev(), wanted.ino()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_rotations_under_load_lose_no_line() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    // Nothing is thrown away, so that it can be counted.
    let Some(rotation) = Rotation::changed(gate.dir(), &[("rotate 14\n", "rotate 1000\n")]) else { return };
    rotation.only_up_to("# What the process has to say.");
    rotation.service(gate.pid());
    let log = gate.dir().join("access.log");
    let load = load(gate.address(), "/", 2);
    for _ in 0..ROTATIONS {
        load.answers(20).await;
        rotation.run("--force");
        eventually(s(10), "the log is opened again", async || has_open(gate.pid(), &log)).await;
    }
    let tally = load.stop().await;
    tally.assert_all_ok();
    eventually(s(10), "a line for every request", async || rotation.lines("access.log") >= tally.total()).await;
    assert_eq!(rotation.lines("access.log"), tally.total());
    assert_eq!(fs::metadata(log).unwrap().permissions().mode() & 0o777, 0o640);
}

#[test]
fn the_rules_of_rotation_take_every_log_once_and_the_audit_log_for_a_year() {
    let folder = TempDir::new().unwrap();
    let Some(rotation) = Rotation::of(folder.path()) else { return };
    for file in ["access.log", "sluicegate.log", "audit.log"] {
        fs::create_dir_all(folder.path().join("8080")).unwrap();
        for log in [folder.path().join(file), folder.path().join("8080").join(file)] {
            fs::write(log, "line\n").unwrap();
        }
    }
    let said = rotation.run("--debug");
    for wrong in ["error", "duplicate", "unknown option", "bad rotation"] {
        assert!(!said.to_lowercase().contains(wrong), "{said}");
    }
    for log in ["access.log", "8080/access.log", "sluicegate.log", "8080/audit.log", "audit.log"] {
        let considered = format!("considering log {}", folder.path().join(log).display());
        assert_eq!(said.matches(&considered).count(), 1, "{log}: {said}");
    }
    let old = |days: u64| {
        let file = folder.path().join(format!("audit.log-20200101-1577836{days}.gz"));
        fs::write(&file, "").unwrap();
        let touched = Command::new("touch").args(["-d", &format!("{days} days ago")]).arg(&file).status().unwrap();
        assert!(touched.success());
        file
    };
    let (kept, gone) = (old(364), old(366));
    rotation.run("--force");
    assert!(kept.exists() && !gone.exists(), "the audit log is kept for 365 days");
}

/// An rsyslogd with a socket of its own and the shipped rule, which ends with the test.
struct Rsyslog {
    daemon: Child,
    socket: PathBuf,
    _folder: TempDir,
}

impl Rsyslog {
    /// Starts one that forwards to this port, without a certificate: a test has none.
    fn forwarding_to(port: u16, rsyslogd: &Path) -> Self {
        let folder = TempDir::new().unwrap();
        let socket = folder.path().join("log");
        let (work, input) = (folder.path().display(), socket.display());
        let mut config = format!(
            "global(workDirectory=\"{work}\")\nmodule(load=\"imuxsock\" SysSock.Use=\"off\")\ninput(type=\"imuxsock\" Socket=\"{input}\")\n"
        );
        let shipped = fs::read_to_string(tree().join("packaging/rsyslog/sluicegate.conf")).unwrap();
        let shipped = shipped
            .replace("log-server.example.com", "127.0.0.1")
            .replace("port=\"6514\"", &format!("port=\"{port}\""));
        let lines = shipped.lines().filter(|line| !line.trim_start().starts_with("StreamDriver"));
        config.extend(lines.flat_map(|line| [line, "\n"]));
        let file = folder.path().join("rsyslog.conf");
        fs::write(&file, config).unwrap();
        let mut command = Command::new(rsyslogd);
        command.arg("-n").arg("-f").arg(&file).arg("-i").arg(folder.path().join("pid"));
        let daemon = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Self { daemon, socket, _folder: folder }
    }

    /// Logs a message under this name.
    fn log(&self, name: &str, message: &str) {
        let mut command = Command::new("logger");
        assert!(command.arg("-u").arg(&self.socket).args(["-t", name, message]).status().unwrap().success());
    }
}

impl Drop for Rsyslog {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

#[tokio::test]
async fn rsyslog_forwards_our_messages_and_no_others() {
    let (Some(rsyslogd), Some(_)) = (needed("rsyslogd"), needed("logger")) else { return };
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let rsyslog = Rsyslog::forwarding_to(server.local_addr().unwrap().port(), &rsyslogd);
    eventually(s(20), "rsyslogd listens", async || rsyslog.socket.exists()).await;
    rsyslog.log("other", "a secret of others");
    rsyslog.log("sluicegate", "first");
    rsyslog.log("sluicegatex", "of somebody with a similar name");
    rsyslog.log("sluicegate", "last");
    let (stream, _) = server.accept().unwrap();
    stream.set_read_timeout(Some(s(20))).unwrap();
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    let (first, second) = (lines.next().unwrap(), lines.next().unwrap());
    assert!(first.contains(" sluicegate ") && first.ends_with("first"), "{first}");
    assert!(second.contains(" sluicegate ") && second.ends_with("last"), "{second}");
}
