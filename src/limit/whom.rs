//! Whose requests are counted together: what a limit counts by, as bytes.

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
            LimitKey::ClientIp { ipv6_prefix } => match self.asked.client.to_canonical() {
                IpAddr::V4(address) => to(&address.octets()),
                IpAddr::V6(address) => {
                    let kept = u128::MAX.checked_shl(128 - u32::from(*ipv6_prefix)).unwrap_or_default();
                    to(&(address.to_bits() & kept).to_be_bytes());
                }
            },
            // Without a caller: all such requests count together, so that nobody is free of the limit.
            LimitKey::ApiKey => known(self.asked.caller.map(|caller| &*caller.scope), to),
            LimitKey::Model => known(self.asked.model, to),
            LimitKey::Route => to(self.route.as_bytes()),
            LimitKey::Global => {}
            LimitKey::Header(name) => {
                for value in self.asked.headers.get_all(name) {
                    // With its length, so that two values are not one.
                    to(&(value.len() as u64).to_be_bytes());
                    to(value.as_bytes());
                }
            }
        }
    }
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
