//! What others can learn of the gateway's secrets: nothing from the kernel, and nothing from what it writes.

#![expect(clippy::unwrap_used, reason = "a helper of tests that cannot read its input has to stop")]

#[path = "support/harness.rs"]
mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::{Command, Stdio};
use std::time::Duration;

use support::*;

const TOKEN: &str = "a-token-of-the-environment-4711";

async fn guarded() -> Gateway {
    gateway()
        .env("THE_ADMIN_TOKEN", TOKEN)
        .section("admin", "{ address: \"{admin}\", token: \"${THE_ADMIN_TOKEN}\" }")
        .route("match: { path: / }, respond: 200")
        .start()
        .await
}

fn of_proc(gateway: &Gateway, name: &str) -> String {
    let bytes = fs::read(format!("/proc/{}/{name}", gateway.pid())).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn a_secret_of_the_environment_is_not_shown_by_the_kernel() {
    let gateway = guarded().await;
    for name in ["environ", "cmdline", "comm", "status"] {
        assert!(!of_proc(&gateway, name).contains(TOKEN), "{name}");
    }
    assert!(of_proc(&gateway, "environ").contains("PATH="), "other variables stay");
    assert_eq!(of_proc(&gateway, "comm").trim(), "sluicegate");
}

#[tokio::test]
async fn a_reload_still_knows_the_secret() {
    let gateway = guarded().await;
    let asked = gateway.admin().ask("POST", "/control/reload").header("authorization", &format!("Bearer {TOKEN}"));
    assert_eq!(asked.send().await.status, 200);
    let asked = gateway.admin().ask("GET", "/control/status").header("authorization", &format!("Bearer {TOKEN}"));
    assert_eq!(asked.send().await.status, 200, "the token is still the same");
    assert_eq!(gateway.admin().get("/control/status").await.status, 401, "and is still asked for");
}

#[tokio::test]
async fn the_process_is_closed_to_others_of_its_user() {
    // The kernel gives what it shows of such a process to root, whoever runs it; only a process of another user can tell.
    let dir = tempfile::TempDir::new().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let (config, binary) = (dir.path().join("sluicegate.yaml"), dir.path().join("sluicegate"));
    fs::copy(env!("CARGO_BIN_EXE_sluicegate"), &binary).unwrap();
    fs::write(&config, "listen: 127.0.0.1:0\nroutes: { respond: 200 }\n").unwrap();
    let mut command = match rustix::process::getuid().is_root() {
        true => {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&binary);
            command
        }
        false => Command::new(&binary),
    };
    let mut child = command.arg("run").arg("-c").arg(&config).stderr(Stdio::null()).spawn().unwrap();
    let environ = format!("/proc/{}/environ", child.id());
    let owner = || fs::metadata(&environ).is_ok_and(|metadata| metadata.uid() == 0);
    let serves =
        || fs::read_to_string(format!("/proc/{}/comm", child.id())).is_ok_and(|comm| comm.trim() == "sluicegate");
    eventually(Duration::from_secs(10), "the kernel closes it", async || serves() && owner()).await;
    child.kill().unwrap();
    child.wait().unwrap();
}
