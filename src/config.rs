//! The configuration: text -> raw -> [`Config`], which is only ever valid.
//!
//! [`load`] reads one YAML file in four passes: parse the text with positions (`document`), replace `${...}` (`interpolate`),
//! read the shape (`raw`, a serde mirror of the file without meaning), give it meaning (`resolve`: names found,
//! defaults filled, contradictions refused). Every pass collects errors, and all are reported together, each with
//! file:line:column, the key, what was expected and the nearest valid name.

use std::sync::Arc;

use ai::Ai;
use auth::Auth;
use cache::Cache;
use limit::Limit;
use sanitize::Sanitize;

pub mod ai;
pub mod audit;
pub mod auth;
pub mod cache;
pub mod cors;
mod document;
mod environment;
mod interpolate;
pub mod jwt;
pub mod language;
pub mod limit;
mod listen;
mod load;
pub mod overlap;
mod peek;
mod pool;
mod problem;
mod raw;
mod resolve;
mod route;
pub mod sanitize;
pub mod secret;
mod server;
mod source;
mod values;

#[cfg(test)]
mod tests;

pub use document::Position;
pub use environment::{Environment, Overrides};
pub use listen::{CertificateFiles, ListenAddress, Listener, RedirectHttps, Tls, TlsVersion};
pub use load::{Loaded, load, parse};
pub use peek::{AdminPeek, peek_admin};
pub use pool::{
    Balance, CheckKind, HashKey, HealthCheck, Member, MemberAddress, Outlier, Pool, Retry, RetryOn, StatusRange,
    UpstreamTimeouts, UpstreamTls,
};
pub use problem::{ConfigErrors, Excerpt, KeyPath, MAX_PROBLEMS, Problem, Severity};
pub use route::{
    HeaderMatch, HeaderRules, HostPattern, Match, PathPattern, PoolTarget, Redirect, Respond, Rewrite, Route, Target,
    contains,
};
pub use server::{AccessFormat, AccessLog, Admin, Log, LogFormat, Server, ServerTimeouts};
pub use source::Source;
pub use values::time::parse_expiry;

/// A whole, valid configuration. Everything a default exists for is filled in.
#[derive(Debug)]
pub struct Config {
    /// Where clients connect.
    pub listeners: Vec<Listener>,
    /// The admin listener, when there is one.
    pub admin: Option<Admin>,
    /// Process-wide settings.
    pub server: Server,
    /// Process and access logs.
    pub log: Log,
    /// Who may come in. `None`: everyone.
    pub auth: Option<Arc<Auth>>,
    /// Named limits, in the order of their names.
    pub limits: Vec<Arc<Limit>>,
    /// Named caches, in the order of their names.
    pub caches: Vec<Arc<Cache>>,
    /// Named sets of masking rules, in the order of their names.
    pub sanitize: Vec<Arc<Sanitize>>,
    /// Pools of members, in the order of their names; behind them those that stand for the URLs of providers, `ai:NAME`.
    pub pools: Vec<Arc<Pool>>,
    /// Providers of models. `None`: no section `ai`.
    pub ai: Option<Arc<Ai>>,
    /// Routes, in the order of the file. Order has no meaning: the most specific match wins.
    pub routes: Vec<Arc<Route>>,
}
