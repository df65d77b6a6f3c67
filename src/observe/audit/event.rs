//! One event on its way into the audit log.

use std::net::IpAddr;

use crate::config::audit::EventKind;

/// One event. Nothing in it is a secret: ids, addresses, and words of ours.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// Its kind.
    pub kind: EventKind,
    /// Whether what was tried was done.
    pub done: bool,
    /// Who: the id of a caller, or who asked over the control API.
    pub actor: Option<&'a str>,
    /// From where.
    pub client: Option<IpAddr>,
    /// In which request.
    pub request_id: Option<&'a str>,
    /// On which route.
    pub route: Option<&'a str>,
    /// With which method.
    pub method: Option<&'a str>,
    /// For which path. The query is left out: it may hold secrets.
    pub path: Option<&'a str>,
    /// What was done, in a word of ours.
    pub action: Option<&'a str>,
    /// To what.
    pub target: Option<&'a str>,
    /// Why, in a word of ours.
    pub reason: Option<&'a str>,
    /// How many times.
    pub count: Option<u64>,
}

impl Event<'_> {
    /// One of which only this is known.
    pub const fn new(kind: EventKind, done: bool) -> Self {
        Self {
            kind,
            done,
            actor: None,
            client: None,
            request_id: None,
            route: None,
            method: None,
            path: None,
            action: None,
            target: None,
            reason: None,
            count: None,
        }
    }
}
