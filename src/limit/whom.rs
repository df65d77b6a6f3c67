//! Whose requests are counted together: what a limit counts by, as bytes.

use std::borrow::Cow;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;

use super::Asked;
use crate::config::limit::LimitKey;

/// One request under one limit.
pub(super) struct Whom<'a> {
    pub(super) key: &'a LimitKey,
    pub(super) route: &'a str,
    pub(super) asked: &'a Asked<'a>,
}

impl Whom<'_> {
    /// The bytes that are the same for those who are counted together, and for nobody else. They are kept over restarts,
    /// by their digest: a change makes everybody a stranger.
    pub(super) fn feed(&self, mut to: impl FnMut(&[u8])) {
        match self.key {
            LimitKey::ClientIp { ipv6_prefix } => address(self.asked.client, *ipv6_prefix, to),
            // Without a caller: all such requests count together, so that nobody is free of the limit.
            LimitKey::ApiKey => known(self.asked.caller.map(|caller| &*caller.scope), to),
            LimitKey::Metadata(name) => known(self.asked.caller.and_then(|caller| caller.said_of(name)), to),
            LimitKey::Model => known(self.asked.model, to),
            LimitKey::Route => to(self.route.as_bytes()),
            LimitKey::Global => {}
            LimitKey::Header(name) => {
                for value in self.asked.headers.get_all(name) {
                    field(value.as_bytes(), &mut to);
                }
            }
        }
    }
}

/// Somebody whom a limit counts, by the name that an operator has for them.
pub(super) struct Named<'a> {
    who: Who<'a>,
}

enum Who<'a> {
    Address(IpAddr, u8),
    Known(Cow<'a, str>),
    /// Those of whom nothing is known.
    Unknown,
    Route(&'a str),
    Everybody,
    Field(&'a str),
}

impl<'a> Named<'a> {
    /// `who` under a limit by `key`; empty: all who count together because they have no such thing. `None`: it is none of those
    /// that such a limit tells apart.
    pub(super) fn new(key: &LimitKey, who: &'a str) -> Option<Self> {
        let who = match key {
            LimitKey::Global | LimitKey::Header(_) if who.is_empty() => Who::Everybody,
            LimitKey::ApiKey | LimitKey::Metadata(_) | LimitKey::Model if who.is_empty() => Who::Unknown,
            _ if who.is_empty() => return None,
            LimitKey::Global => return None,
            LimitKey::ClientIp { ipv6_prefix } => Who::Address(who.parse().ok()?, *ipv6_prefix),
            // As callers are kept apart: a key and a token may have the same id.
            LimitKey::ApiKey if who.starts_with("token:") || who.starts_with("key:") => Who::Known(who.into()),
            LimitKey::ApiKey => Who::Known(format!("key:{who}").into()),
            LimitKey::Model | LimitKey::Metadata(_) => Who::Known(who.into()),
            LimitKey::Route => Who::Route(who),
            LimitKey::Header(_) => Who::Field(who),
        };
        Some(Self { who })
    }

    /// The same bytes as those of their requests.
    pub(super) fn feed(&self, mut to: impl FnMut(&[u8])) {
        match &self.who {
            Who::Address(client, ipv6_prefix) => address(*client, *ipv6_prefix, to),
            Who::Known(text) => known(Some(text), to),
            Who::Unknown => known(None, to),
            Who::Route(route) => to(route.as_bytes()),
            Who::Everybody => {}
            Who::Field(value) => field(value.as_bytes(), &mut to),
        }
    }
}

fn address(client: IpAddr, ipv6_prefix: u8, mut to: impl FnMut(&[u8])) {
    match client.to_canonical() {
        IpAddr::V4(address) => to(&address.octets()),
        IpAddr::V6(address) => {
            let kept = u128::MAX.checked_shl(128 - u32::from(ipv6_prefix)).unwrap_or_default();
            to(&(address.to_bits() & kept).to_be_bytes());
        }
    }
}

/// With its length, so that two values are not one.
fn field(value: &[u8], to: &mut impl FnMut(&[u8])) {
    to(&(value.len() as u64).to_be_bytes());
    to(value);
}

/// What is not known is not what is empty.
fn known(text: Option<&str>, mut to: impl FnMut(&[u8])) {
    to(&[u8::from(text.is_some())]);
    to(text.unwrap_or_default().as_bytes());
}

impl Hash for Whom<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.feed(|bytes| state.write(bytes));
    }
}

impl Hash for Named<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.feed(|bytes| state.write(bytes));
    }
}
