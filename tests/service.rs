//! What a service manager hears and gives: readiness, reloads, the way out, signs of life, sockets.

#![expect(clippy::unwrap_used, reason = "a helper of tests that cannot read its input has to stop")]

#[path = "support/harness.rs"]
mod support;

use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use support::*;
use tempfile::TempDir;

/// A service manager that writes down what it hears.
struct Manager {
    dir: TempDir,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Manager {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let socket = UnixDatagram::bind(dir.path().join("notify")).unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&heard);
        std::thread::spawn(move || {
            let mut message = [0; 4096];
            while let Ok(length) = socket.recv(&mut message) {
                sink.lock().unwrap().push(String::from_utf8_lossy(&message[..length]).into_owned());
            }
        });
        Self { dir, heard }
    }

    fn of(&self, builder: Builder) -> Builder {
        builder.env("NOTIFY_SOCKET", self.dir.path().join("notify").to_str().unwrap())
    }

    /// Every line so far, of all messages.
    fn lines(&self) -> Vec<String> {
        self.heard.lock().unwrap().iter().flat_map(|message| message.lines().map(str::to_owned)).collect()
    }

    fn count(&self, line: &str) -> usize {
        self.lines().iter().filter(|heard| *heard == line).count()
    }

    /// Waits until it has heard a line that begins so.
    async fn hears(&self, line: &str) {
        let what = format!("{line} among what the service manager hears");
        eventually(s(20), &what, async || self.lines().iter().any(|heard| heard.starts_with(line))).await;
    }

    fn forget(&self) {
        self.heard.lock().unwrap().clear();
    }
}

#[tokio::test]
async fn it_is_ready_once_it_answers_and_says_who_it_is_and_what_it_does() {
    let (a, manager) = (upstream("a").await, Manager::new());
    let gate = manager.of(gateway().pool("app", &[&a])).start().await;
    manager.hears("READY=1").await;
    let lines = manager.lines();
    assert!(lines.contains(&format!("MAINPID={}", gate.pid())), "{lines:?}");
    assert!(lines.contains(&format!("STATUS=serving on {}", gate.address())), "{lines:?}");
    assert_eq!(manager.count("WATCHDOG=1"), 0, "nobody asked for signs of life");
}

#[tokio::test]
async fn one_that_cannot_start_is_never_ready() {
    let manager = Manager::new();
    let exit = manager.of(gateway().route("match: { path: / }, pool: absent")).start_in_vain().await;
    assert_eq!((exit.code, manager.lines()), (Some(78), Vec::new()));
}

#[tokio::test]
async fn a_reload_is_told_from_its_beginning_to_its_end_refused_or_not() {
    let (a, manager) = (upstream("a").await, Manager::new());
    let gate = manager.of(gateway().pool("app", &[&a])).start().await;
    manager.hears("READY=1").await;
    manager.forget();
    assert_eq!(gate.reload().await.status, 200);
    manager.hears("READY=1").await;
    let lines = manager.lines();
    assert_eq!(lines[0], "RELOADING=1");
    assert!(lines[1].strip_prefix("MONOTONIC_USEC=").is_some_and(|time| time.parse::<u64>().is_ok()), "{lines:?}");
    manager.forget();
    gate.rewrite_config(|text| text.replace("pool: app", "pool: ap"));
    gate.signal(Signal::HUP);
    manager.hears("READY=1").await;
    let lines = manager.lines();
    assert!(lines.last().unwrap().ends_with("the last reload was refused"), "{lines:?}");
}

#[tokio::test]
async fn the_way_out_is_told_with_the_time_it_takes_and_what_holds_it() {
    let (a, manager) = (upstream("a").await, Manager::new());
    let server = "{ timeouts: { drain: 90s } }";
    let mut gate = manager.of(gateway().section("server", server).pool("app", &[&a])).start().await;
    let mut stream = gate.ask("GET", "/sse?events=30&interval=100ms").stream().await;
    stream.piece().await;
    gate.signal(Signal::TERM);
    manager.hears("STOPPING=1").await;
    manager.hears("EXTEND_TIMEOUT_USEC=90000000").await;
    manager.hears("STATUS=draining 1 connection").await;
    while stream.piece().await.is_some() {}
    assert_eq!(gate.wait_exit(s(10)).await.code, Some(0));
}

#[tokio::test]
async fn after_an_upgrade_the_new_process_is_the_one_to_watch_and_the_old_never_says_that_it_stops() {
    let (a, manager) = (upstream("a").await, Manager::new());
    let mut gate = manager
        .of(gateway()
            .section("server", "{ timeouts: { keepalive: 1s } }")
            .pool("app", &[&a])
            .env("WATCHDOG_USEC", "2000000")
            .env("WATCHDOG_PID", "1"))
        .start()
        .await;
    let mut stream = gate.ask("GET", "/sse?events=30&interval=100ms").stream().await;
    stream.piece().await;
    manager.forget();
    let new = gate.upgrade().await;
    let lines = manager.lines();
    let main = format!("MAINPID={new}");
    let told = lines.iter().position(|line| *line == main);
    assert!(told.is_some_and(|at| lines[at + 1] == "READY=1"), "{lines:?}");
    // A service manager may listen to the old one alone, until it has heard who the new one is.
    eventually(s(5), "both say whom to watch", async || manager.count(&main) == 2).await;
    manager.hears(&format!("STATUS=serving on {}; process {} drains 1 connection", gate.address(), gate.pid())).await;
    while stream.piece().await.is_some() {}
    assert_eq!(gate.wait_exit(s(10)).await.code, Some(0));
    assert_eq!(manager.count("STOPPING=1"), 0, "{:?}", manager.lines());
    assert_eq!(manager.lines().last().unwrap(), &format!("STATUS=serving on {}", gate.address()));
    // The one before was not the process that the variable names; this one is not either, and gives them all the same.
    manager.forget();
    manager.hears("WATCHDOG=1").await;
}

#[tokio::test]
async fn signs_of_life_come_while_every_worker_lives_and_end_when_one_hangs() {
    let (a, manager) = (upstream("a").await, Manager::new());
    let builder = gateway().section("server", "{ threads: 2 }").pool("app", &[&a]).env("WATCHDOG_USEC", "800000");
    let gate = manager.of(builder).start().await;
    manager.hears("WATCHDOG=1").await;
    manager.forget();
    manager.hears("WATCHDOG=1").await;
    let hung = hang(thread_of(gate.pid(), "worker-1"));
    manager.forget();
    // One look may have been under way.
    holds_for(s(2), "no signs of life", async || manager.count("WATCHDOG=1") <= 1).await;
    assert_eq!(gate.admin().get("/health/live").await.status, 200, "the rest lives");
    drop(hung);
    manager.forget();
    manager.hears("WATCHDOG=1").await;
}

/// The id of a thread.
fn thread_of(pid: u32, name: &str) -> u32 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let is_it = |task: &std::fs::DirEntry| {
        std::fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.trim() == name)
    };
    let found = tasks.into_iter().find(is_it).unwrap();
    found.file_name().to_str().unwrap().parse().unwrap()
}

/// Stops one thread for as long as what is given back lives. A signal would stop the whole process; ptrace(2) does not.
fn hang(thread: u32) -> Hung {
    let script = "import ctypes, sys\n\
        libc = ctypes.CDLL(None, use_errno=True)\n\
        libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]\n\
        PTRACE_SEIZE, PTRACE_INTERRUPT = 0x4206, 0x4207\n\
        for request in (PTRACE_SEIZE, PTRACE_INTERRUPT):\n\
        \x20   if libc.ptrace(request, int(sys.argv[1]), 0, 0) != 0:\n\
        \x20       sys.exit('ptrace: ' + str(ctypes.get_errno()))\n\
        print('hung', flush=True)\n\
        sys.stdin.read()\n";
    let mut tracer = Command::new("python3");
    tracer.args(["-c", script, &thread.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut tracer = tracer.spawn().unwrap();
    let mut said = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(tracer.stdout.take().unwrap()), &mut said).unwrap();
    assert_eq!(said, "hung\n");
    Hung(tracer)
}

/// A thread that hangs. It goes on when its tracer ends.
struct Hung(Child);

impl Drop for Hung {
    fn drop(&mut self) {
        self.0.stdin.take();
        let _ = self.0.wait();
    }
}

/// Binds the addresses that are its arguments, up to `--`, and executes the rest as systemd does with sockets.
const ACTIVATION: &str = "import os, socket, sys\n\
    end = sys.argv.index('--')\n\
    sockets = []\n\
    for address in sys.argv[1:end]:\n\
    \x20   if address.startswith('/'):\n\
    \x20       one = socket.socket(socket.AF_UNIX)\n\
    \x20       one.bind(address)\n\
    \x20   else:\n\
    \x20       one = socket.socket()\n\
    \x20       one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n\
    \x20       host, port = address.rsplit(':', 1)\n\
    \x20       one.bind((host, int(port)))\n\
    \x20   one.listen(64)\n\
    \x20   sockets.append(one)\n\
    kept = [os.dup2(os.dup(one.fileno()), 100 + place) for place, one in enumerate(sockets)]\n\
    for place, one in enumerate(kept):\n\
    \x20   os.dup2(one, 3 + place, inheritable=True)\n\
    os.environ.update(LISTEN_FDS=str(len(sockets)), LISTEN_PID=str(os.getpid()))\n\
    os.execv(sys.argv[end + 1], sys.argv[end + 1:])\n";

fn activated(sockets: &[&str]) -> Builder {
    let words: Vec<&str> =
        ["python3", "-c", ACTIVATION].into_iter().chain(sockets.iter().copied()).chain(["--"]).collect();
    gateway().behind(&words)
}

#[tokio::test]
async fn sockets_of_systemd_are_taken_by_their_address_in_whatever_order() {
    let a = upstream("a").await;
    let builder = activated(&["{admin}", "{dir}/web.sock", "{listen}"]).pool("app", &[&a]);
    let gate = builder.listener("address: \"{listen}\"").listener("address: \"unix:{dir}/web.sock\"").start().await;
    assert_eq!(gate.get("/").await.status, 200);
    // They were open before: nobody bound them again.
    let opened = std::fs::read_to_string(format!("/proc/{}/environ", gate.pid())).unwrap();
    assert!(opened.contains("LISTEN_FDS=3"), "{opened}");
    assert!(tokio::net::UnixStream::connect(gate.dir().join("web.sock")).await.is_ok());
    gate.upgrade().await;
    assert_eq!(gate.get("/").await.status, 200);
}

#[tokio::test]
async fn a_socket_that_is_none_of_the_configurations_stops_the_start_and_is_named() {
    let a = upstream("a").await;
    let builder = activated(&["{listen2}", "{listen}"]).pool("app", &[&a]);
    let exit = builder.start_in_vain().await;
    assert_eq!(exit.code, Some(78));
    assert!(exit.stderr.contains("systemd passes a socket for 127.0.0.1:"), "{}", exit.stderr);
    assert!(exit.stderr.contains("ListenStream="), "{}", exit.stderr);
}

#[tokio::test]
async fn sockets_for_another_process_are_left_alone() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).env("LISTEN_FDS", "2").env("LISTEN_PID", "1").start().await;
    assert_eq!(gate.get("/").await.status, 200);
}
