//! Every rule, shown a small input that breaks it.

use super::*;

fn lines(findings: &[Finding]) -> Vec<usize> {
    findings.iter().map(|found| found.line).collect()
}

#[test]
fn on_a_file_of_801_lines() {
    assert_eq!(too_long("src/a.rs", &"\n".repeat(800)), None);
    assert_eq!(too_long("src/a.rs", &"\n".repeat(801)).map(|found| found.line), Some(801));
}

#[test]
fn on_pingora_in_a_stage_but_not_in_its_comments_or_strings() {
    let text = "// pingora is not named here\nlet target = \"pingora_core\";\nuse pingora_core::X;\n";
    assert_eq!(lines(&pingora_inside("src/route.rs", text)), [3]);
    assert_eq!(lines(&pingora_inside("src/balance/member.rs", text)), [3]);
    assert_eq!(lines(&pingora_inside("src/proxy_extra.rs", text)), [3]);
    for edge in ["src/proxy.rs", "src/server/tls.rs", "src/balance/health.rs", "src/balance/health/probe.rs"] {
        assert_eq!(pingora_inside(edge, text), []);
    }
}

#[test]
fn on_a_module_that_imports_its_caller() {
    let text = "use crate::{\n    config::Pool,\n    proxy::context::RequestContext,\n};\n";
    assert_eq!(lines(&upward_imports("src/limit/bucket.rs", text)), [3]);
    assert_eq!(upward_imports("src/server.rs", text), []);
    assert_eq!(lines(&upward_imports("src/route.rs", "fn f() { crate::server::run() }")), [1]);
    assert_eq!(lines(&upward_imports("src/balance/live.rs", "use crate::snapshot::Snapshot;")), [1]);
    assert_eq!(
        lines(&upward_imports("src/snapshot.rs", "use crate::balance::Pool;\nuse crate::server::Options;")),
        [2]
    );
}

#[test]
fn on_a_stage_that_reaches_into_another() {
    let modules = inner_modules(["src/balance.rs", "src/balance/member.rs", "src/config/secret.rs"].into_iter());
    let check = |file, text| lines(&sideways_imports(file, text, &modules));
    assert_eq!(check("src/upstream/peer.rs", "use crate::balance::member::Member;"), [1]);
    assert_eq!(check("src/upstream.rs", "use crate::{clock, balance::{Pick as P, member::{self, Member}}};"), [1, 1]);
    assert_eq!(check("src/upstream/peer.rs", "use crate::balance::Pick;\nuse crate::config::secret::Secret;"), []);
    assert_eq!(check("src/balance.rs", "use crate::balance::member::Member;"), []);
    assert_eq!(check("src/proxy.rs", "use crate::balance::member::Member;"), []);
}

#[test]
fn on_mod_rs_and_on_a_folder_without_its_file() {
    assert!(mod_rs("tests/support/mod.rs").is_some());
    assert!(mod_rs("src/model.rs").is_none());
    let files = ["src/main.rs", "src/route.rs", "src/route/table.rs", "src/cache/key.rs", "bench/src/bin/x.rs"];
    let found = orphan_folders(&files.map(str::to_owned));
    assert_eq!(found.iter().map(|found| found.file.as_str()).collect::<Vec<_>>(), ["src/cache"]);
}

#[test]
fn on_unfinished_work() {
    let text = "a todo list\nit waits for now\n  todo!(\"later\")\n// FIXME: slow\nmktemp XXXXXX\nXXX\n";
    let mut found = lines(&leftovers("src/a.rs", text));
    found.sort_unstable();
    assert_eq!(found, [2, 3, 4, 6]);
}

#[test]
fn on_a_path_of_the_machine() {
    let text = "https://example.com/work/x\n/workers\nsee /work/main\ncd '/tmp/wt'\n$HOME/work\n/root/.cargo\n";
    let mut found = lines(&machine_paths("README.md", text));
    found.sort_unstable();
    assert_eq!(found, [3, 4, 6]);
}

#[test]
fn on_a_file_that_is_not_text() {
    assert_eq!(not_text("a.md", "é".as_bytes()), None);
    assert_eq!(lines(&not_text("a.whl", b"PK\x03\x04\xff").into_iter().collect::<Vec<_>>()), [1]);
}

#[test]
fn on_a_script_that_does_not_parse() {
    assert!(is_shell_script("a/run", "#!/usr/bin/env bash\n"));
    assert!(is_shell_script("a/postinst", "#!/bin/sh -e\n"));
    assert!(!is_shell_script("a/tool", "#!/usr/bin/env python3\n"));
    assert_eq!(shell_error("a.sh", "if true; then\n  echo\nfi\n"), None);
    assert_eq!(shell_error("a.sh", "echo\nfi\n").map(|found| found.line), Some(2));
}

#[test]
fn and_a_finding_names_file_and_line() {
    assert_eq!(finding("src/a.rs", 7, "is wrong".to_owned()).to_string(), "src/a.rs:7: is wrong");
}

#[test]
fn and_code_is_told_from_comments_and_strings() {
    let text = "a /* b\nb */ c 'd' '\\'' \"e\\\"e\" r#\"f\"f\"# g<'h> // i\nj";
    let code: Vec<String> = code_only(text).lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(code, ["a", "cg<'h>", "j"]);
}
