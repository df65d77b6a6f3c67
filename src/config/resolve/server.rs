//! `admin`, `server`, `log` and `security_headers`.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::tls::file;
use super::{OPENSSL, Resolver, audit};
use crate::config::problem::{Finding, KeyPath, Place};
use crate::config::raw::{Or, RawAccess, RawAdmin, RawConfig, RawLog, RawServer, RawServerTimeouts, Text};
use crate::config::secret::Digested;
use crate::config::values::logging::{LogFilter, log_filter};
use crate::config::values::{self, Wrong, address};
use crate::config::{AccessFormat, AccessLog, Admin, ListenAddress, Listener, Log, LogFormat, Server, ServerTimeouts};

const DEFAULT_MAX_BODY: u64 = 100 << 20;
const DEFAULT_MAX_HEADER: u64 = 64 << 10;

pub(super) fn admin(raw: Option<&Or<RawAdmin>>, listeners: &[Listener], resolver: &mut Resolver<'_>) -> Option<Admin> {
    let path = KeyPath::default().key("admin");
    let short;
    let (raw, address_path) = match raw? {
        Or::Map(raw) => (raw, path.key("address")),
        Or::Text(text) => {
            short = RawAdmin { address: Some(text.clone()), token: None };
            (&short, path.clone())
        }
    };
    if raw.address.is_none() {
        resolver.missing(&path, "address", "an address such as 127.0.0.1:8404 or unix:/run/sluicegate/admin.sock");
    }
    let token = token(&path.key("token"), &raw.token, resolver);
    let address = resolver.get(&address_path, &raw.address, address::listen)?;
    let free_port = matches!(&address, ListenAddress::Tcp(socket) if socket.port() == 0);
    if !free_port && listeners.iter().any(|listener| listener.address == address) {
        let finding = Finding::value(&address_path, "clients are served on this address");
        resolver.report(finding.expected("an address of its own").hint("see `listen`"));
    }
    let local = match &address {
        ListenAddress::Tcp(socket) => values::is_local(socket),
        ListenAddress::Unix(_) => true,
    };
    // A place in a short form leads to the address, which is no token.
    let token_refused = raw.token.is_none() && resolver.source.is_map(&path) && resolver.source.has(&path.key("token"));
    if !local && token.is_none() && !token_refused {
        let finding =
            Finding::value(&address_path, "this address can be reached from elsewhere, and there is no token");
        resolver.report(finding.expected("a loopback address, a unix socket, or `token`"));
    }
    Some(Admin { address, token })
}

fn token(path: &KeyPath, text: &Text, resolver: &mut Resolver<'_>) -> Option<Digested> {
    let text = text.as_ref()?;
    // No message shows the text.
    if text.is_empty() {
        let finding = Finding::value(path, "the token is empty: control calls are let in without one");
        resolver.warn(finding.hint("remove the key to say so on purpose"));
    } else if !resolver.is_placeholder(path, text, "token", OPENSSL)
        && !text.bytes().all(|byte| byte.is_ascii_graphic())
    {
        let finding = Finding::value(path, "the token has spaces, line breaks or characters outside of ASCII");
        resolver.report(finding.expected("visible ASCII characters, for it is sent in a header"));
    }
    Digested::new(text)
}

pub(super) fn server(raw: &RawConfig, resolver: &mut Resolver<'_>) -> Server {
    let path = KeyPath::default().key("server");
    let absent = RawServer::default();
    let security_headers = security_headers(&raw.security_headers, resolver);
    let raw = raw.server.as_ref().unwrap_or(&absent);
    let max_header = resolver.size(&path.key("max_header"), &raw.max_header, 1024..=1 << 20);
    let keepalive = resolver.number(&path.key("keepalive_requests"), &raw.keepalive_requests, 0, 1..=u32::MAX);
    let trusted_proxies = trusted_proxies(&path.key("trusted_proxies"), raw, resolver);
    Server {
        instance_id: instance_id(&path.key("instance_id"), &raw.instance_id, resolver),
        environment: name(&path.key("environment"), &raw.environment, "the environment's name", resolver),
        threads: resolver.number(&path.key("threads"), &raw.threads, default_threads(), 1..=1024),
        max_connections: resolver.number(&path.key("max_connections"), &raw.max_connections, 4096, 1..=10_000_000),
        trusted_proxies,
        max_body: max_body(&path.key("max_body"), &raw.max_body, resolver).unwrap_or(DEFAULT_MAX_BODY),
        max_header: usize::try_from(max_header.unwrap_or(DEFAULT_MAX_HEADER)).unwrap_or(usize::MAX),
        keepalive_requests: (keepalive > 0).then_some(keepalive),
        upstream_keepalive: resolver.number(&path.key("upstream_keepalive"), &raw.upstream_keepalive, 512, 1..=100_000),
        busy_polling: resolver.duration_within(
            &path.key("busy_polling"),
            &raw.busy_polling,
            Duration::ZERO,
            Duration::ZERO..=Duration::from_secs(1),
        ),
        timeouts: timeouts(&path.key("timeouts"), raw.timeouts.as_ref(), resolver),
        core_dumps: resolver.boolean(&path.key("core_dumps"), &raw.core_dumps, false),
        state_dir: state_dir(&path.key("state_dir"), &raw.state_dir, resolver),
        security_headers,
    }
}

fn trusted_proxies(path: &KeyPath, raw: &RawServer, resolver: &mut Resolver<'_>) -> Vec<IpNet> {
    let trusted = resolver.list(path, raw.trusted_proxies.as_ref(), values::network);
    if trusted.iter().any(|net| net.prefix_len() == 0) {
        let finding = Finding::value(path, "every client may say which address it comes from");
        resolver.warn(finding.hint("name only the proxies in front of this one"));
    }
    trusted
}

/// A body limit; `unlimited` is as many bytes as can be counted.
pub(super) fn max_body(path: &KeyPath, text: &Text, resolver: &mut Resolver<'_>) -> Option<u64> {
    if text.as_deref() == Some("unlimited") {
        return Some(u64::MAX);
    }
    let parse = |text: &str| match values::size(text) {
        Ok(0) => Err(Wrong::new("no body would be let through").expected("at least 1B, or `unlimited`")),
        Ok(bytes) => Ok(bytes),
        Err(wrong) => Err(wrong.expected("a size such as 100MiB, or `unlimited`")),
    };
    resolver.get(path, text, parse)
}

/// An absolute path; it need not be there yet.
fn state_dir(path: &KeyPath, text: &Text, resolver: &mut Resolver<'_>) -> Option<PathBuf> {
    resolver.get(path, text, |text| {
        let wrong = || Wrong::not(text, "the absolute path of a directory").expected("one such as /var/lib/sluicegate");
        let is_path = text.starts_with('/') && text.len() > 1 && !text.contains('\0');
        if is_path { Ok(PathBuf::from(text)) } else { Err(wrong()) }
    })
}

fn security_headers(text: &Text, resolver: &mut Resolver<'_>) -> bool {
    let words = [("default", true), ("off", false)];
    let parse = |text: &str| values::one_of(text, "a set of security headers", &words);
    resolver.get(&KeyPath::default().key("security_headers"), text, parse).unwrap_or(true)
}

/// A name for logs and metrics.
fn name(path: &KeyPath, text: &Text, what: &str, resolver: &mut Resolver<'_>) -> Option<String> {
    let found = resolver.line(path, text, what);
    if let Some(name) = &found
        && (name.len() > 128 || name.parse::<http::HeaderValue>().is_err())
    {
        let finding = Finding::value(path, format!("{what} is too long or not ASCII"));
        resolver.report(finding.expected("at most 128 characters"));
    }
    found
}

fn instance_id(path: &KeyPath, text: &Text, resolver: &mut Resolver<'_>) -> String {
    let found = name(path, text, "the instance's name", resolver);
    let host = || resolver.environment.host_name();
    found.or_else(host).unwrap_or_else(|| "sluicegate".to_owned())
}

fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn timeouts(path: &KeyPath, raw: Option<&RawServerTimeouts>, resolver: &mut Resolver<'_>) -> ServerTimeouts {
    let absent = RawServerTimeouts::default();
    let raw = raw.unwrap_or(&absent);
    let seconds = Duration::from_secs;
    ServerTimeouts {
        header: resolver.duration(&path.key("header"), &raw.header, seconds(10)),
        keepalive: resolver.duration(&path.key("keepalive"), &raw.keepalive, seconds(60)),
        client_idle: resolver.duration(&path.key("client_idle"), &raw.client_idle, seconds(50)),
        handshake: resolver.duration(&path.key("handshake"), &raw.handshake, seconds(10)),
        drain: resolver.duration_from(&path.key("drain"), &raw.drain, seconds(30), Duration::ZERO),
        handover: resolver.duration_from(&path.key("handover"), &raw.handover, seconds(600), Duration::ZERO),
    }
}

pub(super) fn log(raw: Option<&RawLog>, resolver: &mut Resolver<'_>) -> Log {
    let path = KeyPath::default().key("log");
    let absent = RawLog::default();
    let raw = raw.unwrap_or(&absent);
    let (level, targets) = level(&path.key("level"), &raw.level, resolver);
    let formats = [("json", LogFormat::Json), ("text", LogFormat::Text)];
    let format = |text: &str| values::one_of(text, "a log format", &formats);
    let log = Log {
        level,
        targets,
        format: resolver.get(&path.key("format"), &raw.format, format).unwrap_or(LogFormat::Text),
        file: file(&path.key("file"), raw.file.as_ref(), resolver),
        access: raw.access.as_ref().and_then(|raw| access(&path.key("access"), raw, resolver)),
        audit: audit::audit(&path, raw, resolver),
    };
    let access = log.access.as_ref().map(|access| ("access", &access.file));
    let audit = log.audit.as_ref().map(|audit| ("audit", &audit.file));
    for (name, file) in [access, audit].into_iter().flatten() {
        if log.file.as_ref() == Some(file) {
            let finding = Finding::value(&path.key("file"), format!("the {name} log goes to the same file"));
            resolver.report(finding.expected("two files"));
        }
    }
    if let (Some((_, access)), Some((_, audit))) = (access, audit)
        && access == audit
    {
        let finding = Finding::value(&path.key("audit"), "the access log goes to the same file");
        resolver.report(finding.expected("two files"));
    }
    log
}

/// The level of the flag, else of the environment, else of the file.
fn level(path: &KeyPath, text: &Text, resolver: &mut Resolver<'_>) -> LogFilter {
    let default = || (log::LevelFilter::Info, Vec::new());
    // Parsed even when overridden: what is wrong in the file stays wrong.
    let of_file = resolver.get(path, text, log_filter);
    let variable = "SLUICEGATE_LOG_LEVEL";
    let (name, text) = match (&resolver.overrides.log_level, resolver.environment.variable(variable)) {
        (Some(text), _) => ("--log-level", text.clone()),
        (None, Some(text)) => (variable, text),
        (None, None) => return of_file.unwrap_or_else(default),
    };
    log_filter(&text).unwrap_or_else(|wrong| {
        resolver.wrong_at(Place::Override(name.to_owned()), wrong);
        default()
    })
}

fn access(path: &KeyPath, raw: &Or<RawAccess>, resolver: &mut Resolver<'_>) -> Option<AccessLog> {
    let raw = match raw {
        Or::Text(text) if text == "off" => return None,
        Or::Text(text) => {
            let file = file(path, Some(text), resolver)?;
            return Some(AccessLog { file, format: AccessFormat::Json });
        }
        Or::Map(raw) => raw,
    };
    if raw.file.is_none() {
        resolver.missing(path, "file", "the path of a file, or `access: off`");
    }
    let formats = [("json", AccessFormat::Json), ("combined", AccessFormat::Combined)];
    let parse = |text: &str| values::one_of(text, "an access-log format", &formats);
    let format = resolver.get(&path.key("format"), &raw.format, parse).unwrap_or(AccessFormat::Json);
    let file = file(&path.key("file"), raw.file.as_ref(), resolver)?;
    Some(AccessLog { file, format })
}
