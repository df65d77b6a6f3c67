//! Pass 4: the raw mirror is given its meaning: values parsed, names found, defaults filled in, contradictions refused.
//!
//! Nothing stops at an error: a part that is wrong is reported, stands as its default, and the rest goes on. The
//! result is only used when nothing was reported.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::auth::RouteAuth;
use super::environment::{Environment, Overrides};
use super::problem::{ConfigErrors, Finding, KeyPath, Place, Problem};
use super::raw::{OneOrMany, RawConfig, Text};
use super::secret::is_placeholder;
use super::source::Source;
use super::values::{self, Wrong};
use super::{Config, ListenAddress, Listener, Pool, Route, Target, overlap};

mod ai;
mod audit;
mod auth;
mod caches;
mod cors;
mod headers;
mod health;
mod jwt;
mod limits;
mod listen;
mod pool;
mod retry;
mod route;
mod sanitize;
mod server;
mod target;
mod tls;

pub(super) use listen::overridden;

/// The longest duration of any setting.
const MAX_DURATION: Duration = Duration::from_secs(7 * 86_400);
/// What makes a secret.
const OPENSSL: &str = "openssl rand -hex 32";
const MILLISECOND: Duration = Duration::from_millis(1);

/// Gives `raw` its meaning. The configuration is only valid when the resolver has no findings afterwards.
pub(super) fn resolve(raw: &RawConfig, resolver: &mut Resolver<'_>) -> Config {
    let listeners = listen::listeners(raw, resolver);
    let admin = server::admin(raw.admin.as_ref(), &listeners, resolver);
    let server = server::server(raw, resolver);
    let log = server::log(raw.log.as_ref(), resolver);
    let mut pools = pool::pools(raw.pools.as_ref(), resolver);
    let of_file = pools.len();
    let ai = ai::ai(raw, &mut pools, resolver);
    let (auth, cors) = auth::auth(raw, resolver);
    let guards = route::Guards {
        auth,
        cors,
        limits: limits::limits(raw, resolver),
        caches: caches::caches(raw, resolver),
        sanitize: sanitize::sanitize(raw, resolver),
        ai,
    };
    let routes = route::routes(raw, &pools, &server, &guards, resolver);
    let certain = |(path, _): &&(KeyPath, _)| !resolver.doubtful(&path.key("match"));
    let certain: Vec<_> = routes.iter().filter(certain).cloned().collect();
    overlap::check(&certain, &mut resolver.findings);
    warn_of_open_models(&listeners, &routes, resolver);
    let routes: Vec<_> = routes.into_iter().map(|(_, route)| route).collect();
    limits::warn_strangers(&guards.limits, guards.auth.as_deref(), &routes, resolver);
    warn_unused(pools.get(..of_file).unwrap_or_default(), &guards, &routes, resolver);
    if let Some(ai) = &guards.ai {
        ai::warn_unpriced(ai, of_file, &guards.limits, &routes, resolver);
        ai::warn_idle_prices(ai, of_file, resolver);
        ai::warn_unbuffered(ai, &routes, resolver);
        ai::unread_of_pools(ai, pools.get(..of_file).unwrap_or_default(), &routes, resolver);
    }
    let route::Guards { auth, limits, caches, sanitize, ai, .. } = guards;
    Config { listeners, admin, server, log, auth, limits, caches, sanitize, pools, ai, routes }
}

/// Whoever reaches a route to models that asks nobody who they are spends the money behind the providers' keys.
fn warn_of_open_models(listeners: &[Listener], routes: &[(KeyPath, Arc<Route>)], resolver: &mut Resolver<'_>) {
    let beyond = |listener: &&Listener| matches!(listener.address, ListenAddress::Tcp(at) if !at.ip().is_loopback());
    let Some(listener) = listeners.iter().find(beyond) else { return };
    let open = |route: &Route| {
        matches!(route.target, Target::Ai(_)) && route.auth == RouteAuth::None && route.allow.is_empty()
    };
    for (path, _) in routes.iter().filter(|(_, route)| open(route)) {
        let message = format!("everyone who reaches {} may ask models with your keys", listener.address);
        let hint = "`auth: required` asks who they are, `allow: [10.0.0.0/8]` from where";
        resolver.warn(Finding::value(&path.key("ai"), message).hint(hint));
    }
}

/// `pools` are those of the file.
fn warn_unused(pools: &[Arc<Pool>], guards: &route::Guards, routes: &[Arc<Route>], resolver: &mut Resolver<'_>) {
    let any = |uses: &dyn Fn(&Route) -> bool| routes.iter().any(|route| uses(route));
    let of_ai = |index| guards.ai.iter().flat_map(|ai| &ai.providers).any(|provider| provider.pool == index);
    resolver.warn_unused("pools", "pool", pools.iter().map(|pool| &*pool.name), |index| {
        of_ai(index) || any(&|route| matches!(&route.target, Target::Pool(target) if target.pool == index))
    });
    if guards.ai.is_some() && !any(&|route| matches!(route.target, Target::Ai(_))) {
        resolver.warn(Finding::key(&KeyPath::default().key("ai"), "no route uses this: none has `ai`"));
    }
    resolver.warn_unused("limits", "limit", guards.limits.iter().map(|limit| &*limit.name), |index| {
        any(&|route| route.limits.contains(&index))
    });
    resolver.warn_unused("caches", "cache", guards.caches.iter().map(|cache| &*cache.name), |index| {
        any(&|route| route.cache.as_ref().is_some_and(|used| used.cache == index))
    });
    resolver.warn_unused("sanitize", "set of rules", guards.sanitize.iter().map(|set| &*set.name), |index| {
        any(&|route| route.sanitize == Some(index))
    });
}

/// What the parts are resolved against, and what was found.
pub(super) struct Resolver<'a> {
    pub(super) source: &'a Source,
    pub(super) environment: &'a Environment,
    pub(super) overrides: &'a Overrides,
    /// Texts that nothing may show.
    pub(super) secrets: &'a [String],
    /// Keys that a misspelt one was probably meant to be: they are reported once, as misspelt.
    pub(super) meant: Vec<KeyPath>,
    pub(super) findings: Vec<Finding>,
    pub(super) warnings: Vec<Finding>,
    /// What was found in other files.
    pub(super) elsewhere: Elsewhere,
}

/// What was found in files that the configuration is continued in, such as that of the keys.
#[derive(Default)]
pub(super) struct Elsewhere {
    pub(super) errors: Option<ConfigErrors>,
    pub(super) warnings: Vec<Problem>,
}

impl Resolver<'_> {
    fn report(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    fn wrong(&mut self, path: &KeyPath, wrong: Wrong) {
        self.wrong_at(Place::Value(path.clone()), wrong);
    }

    fn wrong_at(&mut self, place: Place, wrong: Wrong) {
        let Wrong { message, expected, hint } = wrong;
        self.report(Finding { place, message, expected, hint, also: None });
    }

    /// The value of `text`, which stands at `path`; `None` when it is absent or wrong.
    fn get<T>(&mut self, path: &KeyPath, text: &Text, parse: impl Fn(&str) -> Result<T, Wrong>) -> Option<T> {
        match parse(text.as_deref()?) {
            Ok(value) => Some(value),
            Err(wrong) => {
                self.wrong(path, wrong);
                None
            }
        }
    }

    fn boolean(&mut self, path: &KeyPath, text: &Text, default: bool) -> bool {
        self.get(path, text, values::boolean).unwrap_or(default)
    }

    fn number<T>(&mut self, path: &KeyPath, text: &Text, default: T, range: RangeInclusive<T>) -> T
    where
        T: std::str::FromStr + PartialOrd + Display + Copy,
    {
        let show = |value: &T| value.to_string();
        let parse = |text: &str| {
            let number = values::number(text).map_err(|wrong| wrong.expected(span(&range, show)))?;
            within(text, number, &range, show)
        };
        self.get(path, text, parse).unwrap_or(default)
    }

    fn percent(&mut self, path: &KeyPath, text: &Text, default: u32, range: RangeInclusive<u32>) -> u32 {
        let parse = |text: &str| within(text, values::percent(text)?, &range, |value| format!("{value}%"));
        self.get(path, text, parse).unwrap_or(default)
    }

    fn size(&mut self, path: &KeyPath, text: &Text, range: RangeInclusive<u64>) -> Option<u64> {
        let parse = |text: &str| within(text, values::size(text)?, &range, |bytes| values::show_size(*bytes));
        self.get(path, text, parse)
    }

    fn duration_within(
        &mut self,
        path: &KeyPath,
        text: &Text,
        default: Duration,
        range: RangeInclusive<Duration>,
    ) -> Duration {
        let show = |value: &Duration| values::show_duration(*value);
        let parse = |text: &str| within(text, values::duration(text)?, &range, show);
        self.get(path, text, parse).unwrap_or(default)
    }

    /// A duration of 1 ms to 7 days.
    fn duration(&mut self, path: &KeyPath, text: &Text, default: Duration) -> Duration {
        self.duration_from(path, text, default, MILLISECOND)
    }

    fn duration_from(&mut self, path: &KeyPath, text: &Text, default: Duration, least: Duration) -> Duration {
        self.duration_within(path, text, default, least..=MAX_DURATION)
    }

    /// A text that is not empty and has no control characters.
    fn line(&mut self, path: &KeyPath, text: &Text, what: &str) -> Option<String> {
        let parse = |text: &str| match text {
            "" => Err(Wrong::new(format!("{what} is empty"))),
            text if text.chars().any(char::is_control) => Err(Wrong::not(text, what).expected("no control characters")),
            text => Ok(text.to_owned()),
        };
        self.get(path, text, parse)
    }

    /// The values of a list. An empty list and a value that stands there twice are reported.
    fn list<T: PartialEq>(
        &mut self,
        path: &KeyPath,
        list: Option<&OneOrMany<String>>,
        parse: impl Fn(&str) -> Result<T, Wrong>,
    ) -> Vec<T> {
        let Some(list) = list else { return Vec::new() };
        if list.0.is_empty() {
            self.report(Finding::value(path, "the list is empty").hint("give it an item, or remove the key"));
        }
        let mut found = Vec::new();
        for (index, text) in list.items() {
            let path = path.index(index);
            match parse(text) {
                Ok(value) if found.contains(&value) => {
                    self.report(Finding::value(&path, format!("{} stands here twice", values::quote(text))));
                }
                Ok(value) => found.push(value),
                Err(wrong) => self.wrong(&path, wrong),
            }
        }
        found
    }

    /// Reports that the map at `path` lacks `key`, unless that was there, or no map was, and is reported already.
    fn missing(&mut self, path: &KeyPath, key: &str, expected: &str) {
        let known = self.source.has(&path.key(key)) || self.meant.contains(&path.key(key));
        if !known && self.source.is_map(path) {
            let finding = Finding::key(path, format!("`{key}` is missing"));
            self.report(finding.expected(expected));
        }
    }

    /// Warns of a file with secrets that everyone may read. `path` names it.
    fn warn_of_readers(&mut self, path: &KeyPath, file: &Path) {
        if std::fs::metadata(file).is_ok_and(|metadata| metadata.permissions().mode() & 0o007 != 0) {
            let shown = file.display();
            let finding = Finding::value(path, format!("everyone on this machine may read or write {shown}"));
            self.warn(finding.hint(format!("chmod o-rwx {shown}")));
        }
    }

    /// Whether something at `path` or below it was found wrong, so that its value is not what was meant.
    fn doubtful(&self, path: &KeyPath) -> bool {
        let found = self.findings.iter().filter_map(|finding| match &finding.place {
            Place::Key(path) | Place::Value(path) => Some(path),
            _ => None,
        });
        let here = self.source.as_written(path);
        found.chain(&self.meant).any(|wrong| self.source.as_written(wrong).0.starts_with(&here.0))
            || self.source.lacks(path)
    }

    /// Reports an entry's name that is none. `what`: `a pool`.
    fn section_name(&mut self, path: &KeyPath, name: &str, what: &str) {
        if !values::is_section_name(name) {
            let finding = Finding::key(path, format!("this is not the name of {what}"));
            self.report(finding.expected(values::NAME));
        }
    }

    /// Warns of the entries of `section` that no route uses, by their places. `what`: `pool`.
    fn warn_unused<'n>(
        &mut self,
        section: &str,
        what: &str,
        names: impl Iterator<Item = &'n str>,
        used: impl Fn(usize) -> bool,
    ) {
        for (_, name) in names.enumerate().filter(|(index, _)| !used(*index)) {
            let path = KeyPath::default().key(section).key(name);
            self.warn(Finding::key(&path, format!("no route uses this {what}")));
        }
    }

    /// Reports a secret that everyone has, and how one of one's own is made. `what`: `token`.
    fn is_placeholder(&mut self, path: &KeyPath, text: &str, what: &str, make: &str) -> bool {
        self.is_known_to_all(path, text, what, &format!("make one with: {make}"))
    }

    /// Reports a secret that everyone has. `what`: `token`.
    fn is_known_to_all(&mut self, path: &KeyPath, text: &str, what: &str, hint: &str) -> bool {
        let known = is_placeholder(text) && !self.overrides.insecure_dev;
        if known {
            let finding = Finding::value(path, format!("the {what} is a well-known placeholder"));
            self.report(finding.expected("a secret of your own").hint(hint));
        }
        known
    }

    fn warn(&mut self, finding: Finding) {
        self.warnings.push(finding);
    }
}

fn within<T: PartialOrd>(
    text: &str,
    value: T,
    range: &RangeInclusive<T>,
    show: impl Fn(&T) -> String,
) -> Result<T, Wrong> {
    if range.contains(&value) {
        return Ok(value);
    }
    Err(Wrong::new(format!("{} is out of range", values::quote(text))).expected(span(range, show)))
}

/// `1 to 1000`.
fn span<T>(range: &RangeInclusive<T>, show: impl Fn(&T) -> String) -> String {
    format!("{} to {}", show(range.start()), show(range.end()))
}
