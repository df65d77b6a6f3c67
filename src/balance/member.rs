//! One member of a pool: where it is, and its state, which outlives a reload.
//!
//! A [`Member`] belongs to one generation of the configuration; its [`MemberState`] is shared by all generations
//! that have the same member (see [`super::live`]).

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Weak};

use crate::balance::Pool;
use crate::config;

pub mod state;

pub use state::{AdminState, CheckResult, Health, MemberState};

/// Where a member is, after name resolution.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// An IP address and port.
    Inet(SocketAddr),
    /// A unix socket.
    Unix(Arc<Path>),
}

impl Address {
    /// The address of a member that needs no name resolution; `None` for a host name.
    pub fn fixed(address: &config::MemberAddress) -> Option<Self> {
        match address {
            config::MemberAddress::Socket(address) => Some(Self::Inet(*address)),
            config::MemberAddress::Unix(path) => Some(Self::Unix(Arc::from(path.as_path()))),
            config::MemberAddress::Host { .. } => None,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// One member of one generation of a pool.
#[derive(Debug)]
pub struct Member {
    /// Its name in logs and metrics: [`Self::configured`], or `host:port@ip` when a host name has several addresses.
    pub name: Arc<str>,
    /// Its name in the configuration.
    pub configured: Arc<str>,
    /// The name of its pool.
    pub pool: Arc<str>,
    /// Where it is.
    pub address: Address,
    /// The host name, when it was configured by one: the default SNI and the Host of checks.
    pub host: Option<Arc<str>>,
    /// Its share beside the others, 0 to 1000; 0 takes no traffic.
    pub weight: u32,
    /// Only used when no other member is.
    pub backup: bool,
    /// Its place in [`super::Pool::members`].
    pub index: usize,
    /// What outlives a reload.
    pub state: Arc<MemberState>,
    /// The generation it belongs to, for the reports of its picks.
    pub(crate) owner: Weak<Pool>,
}
