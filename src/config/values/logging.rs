//! Log levels, and the targets that can have one of their own.

use super::{Wrong, one_of, quote};
use crate::config::problem::{list, nearest};

/// The targets of the process log, without `sluicegate::` in front. A level for `server` goes for `server::reload` too.
const TARGETS: [&str; 23] = [
    "admin",
    "admin::control",
    "admin::tokens",
    "ai",
    "audit",
    "auth",
    "balance",
    "limit",
    "observe::metrics::render",
    "panic",
    "resolve",
    "server",
    "server::handover::predecessor",
    "server::handover::successor",
    "server::lifecycle",
    "server::refusal",
    "server::reload",
    "server::secrecy",
    "server::sockets",
    "server::supervisor",
    "server::worker",
    "server::workers",
    "upstream",
];

/// Libraries that write to the process log. Their modules are not known here.
const LIBRARIES: [&str; 9] = [
    "pingora",
    "pingora_cache",
    "pingora_core",
    "pingora_load_balancing",
    "pingora_lru",
    "pingora_pool",
    "pingora_proxy",
    "pingora_runtime",
    "rustls",
];

/// A level, and levels of single targets.
pub(in crate::config) type LogFilter = (log::LevelFilter, Vec<(String, log::LevelFilter)>);

/// `info`, or `info,balance=debug`. Without a level for all, that is `info`.
pub(in crate::config) fn log_filter(text: &str) -> Result<LogFilter, Wrong> {
    use log::LevelFilter::{Debug, Error, Info, Off, Trace, Warn};
    let levels = [("off", Off), ("error", Error), ("warn", Warn), ("info", Info), ("debug", Debug), ("trace", Trace)];
    let level = |text: &str| one_of(text.trim(), "a log level", &levels);
    let (mut general, mut targets) = (None, Vec::<(String, log::LevelFilter)>::new());
    for part in text.split(',') {
        if let Some((target, part)) = part.split_once('=') {
            let (target, level) = (target.trim(), level(part)?);
            if target.is_empty() {
                return Err(Wrong::not(text, "a log filter").expected("levels such as info or info,balance=debug"));
            }
            known_target(target)?;
            if targets.iter().any(|(known, _)| known == target) {
                return Err(Wrong::new(format!("the target {} has two levels", quote(target))));
            }
            targets.push((target.to_owned(), level));
        } else if general.replace(level(part)?).is_some() {
            return Err(Wrong::new(format!("{} has two levels for all targets", quote(text))));
        }
    }
    Ok((general.unwrap_or(Info), targets))
}

/// Refuses a target that nothing writes to: its level would be ignored.
fn known_target(name: &str) -> Result<(), Wrong> {
    let short = name.strip_prefix("sluicegate::").unwrap_or(name);
    let library = short.split("::").next().unwrap_or(short);
    let takes = |target: &str| target.strip_prefix(short).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
    if LIBRARIES.contains(&library) || TARGETS.iter().any(|target| takes(target)) {
        return Ok(());
    }
    let wrong = Wrong::new(format!("nothing logs as {}", quote(name)));
    let offered: Vec<&str> = TARGETS.into_iter().filter(|target| !target.contains("::")).chain(LIBRARIES).collect();
    Err(match nearest(short, TARGETS.into_iter().chain(LIBRARIES)) {
        Some(near) => wrong.hint(format!("did you mean `{near}`?")),
        None => wrong.expected(list(&offered)),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn log_filters() {
        use log::LevelFilter::{Debug, Info, Off, Warn};
        assert_eq!(log_filter("warn"), Ok((Warn, vec![])));
        assert_eq!(log_filter("info,balance=debug"), Ok((Info, vec![("balance".into(), Debug)])));
        assert_eq!(log_filter("balance = off"), Ok((Info, vec![("balance".into(), Off)])));
        for text in ["", "loud", "info,warn", "=debug", "balance=", "balance=info,balance=warn", "info,", "INFO"] {
            assert!(log_filter(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_level_of_what_never_logs_is_refused() {
        for name in ["server", "server::reload", "sluicegate::server", "observe", "pingora", "pingora_core::server"] {
            assert_eq!(known_target(name), Ok(()), "{name}");
        }
        for name in ["serv", "server::", "server::relod", "sluicegate", "nginx", "x=y", "pingora_cores"] {
            assert!(known_target(name).is_err(), "{name}");
        }
        assert_eq!(known_target("balanse").unwrap_err().hint.as_deref(), Some("did you mean `balance`?"));
        assert!(known_target("nginx").unwrap_err().expected.unwrap().contains("balance"));
    }

    /// The macro on `line`, when there is one: what stands after its bracket.
    fn logged(line: &str) -> Option<&str> {
        let macros = ["trace!(", "debug!(", "info!(", "warn!(", "error!("];
        let found = macros.iter().find_map(|name| line.split_once(name)).filter(|_| !line.trim().starts_with("//"));
        found.filter(|(before, _)| !before.ends_with(|c: char| c.is_alphanumeric() || c == '_')).map(|(_, after)| after)
    }

    /// The targets of the log lines in `file`, whose module is `module`.
    fn targets_of(file: &Path, module: &str, found: &mut BTreeSet<String>) {
        let text = fs::read_to_string(file).unwrap();
        let mut lines = text.lines().take_while(|line| !line.starts_with("mod tests")).peekable();
        while let Some(line) = lines.next() {
            let Some(after) = logged(line) else { continue };
            let first = if after.trim().is_empty() { lines.peek().map_or("", |line| line.trim()) } else { after };
            let target = first.strip_prefix("target: \"").and_then(|rest| rest.split('"').next());
            let target = target.map_or(module, |target| target.strip_prefix("sluicegate::").unwrap_or(target));
            found.insert(target.to_owned());
        }
    }

    fn walk(directory: &Path, module: &str, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap();
            let module = if module.is_empty() { name.to_owned() } else { format!("{module}::{name}") };
            if name == "tests" {
                continue;
            } else if path.is_dir() {
                walk(&path, &module, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                targets_of(&path, &module, found);
            }
        }
    }

    #[test]
    fn the_targets_are_those_of_the_code() {
        let mut found = BTreeSet::new();
        walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut found);
        assert_eq!(found, TARGETS.into_iter().map(str::to_owned).collect());
    }
}
