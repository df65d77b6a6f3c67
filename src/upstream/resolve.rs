//! Host names of members, looked up off the worker threads and followed when they change.
//!
//! The system's resolver is asked, so `/etc/hosts` and `nsswitch.conf` hold. It tells no time to live, so a name is
//! asked again at its pool's interval. A failed look-up keeps the addresses known before; a change asks for a new
//! snapshot.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use log::{info, warn};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::balance::Address;
use crate::config::{Config, Member, MemberAddress};

/// Addresses one name may stand for; more are left out.
const MAX_ADDRESSES: usize = 64;
/// How long one look-up may take at start-up before the member begins without an address.
const START_TIMEOUT: Duration = Duration::from_secs(5);

type Name = (Arc<str>, u16);

/// The addresses of all host names, as last looked up.
#[derive(Debug, Default)]
pub struct Addresses {
    known: Mutex<HashMap<Name, Vec<SocketAddr>>>,
    changed: Notify,
}

impl Addresses {
    /// Where `member` is now. Empty for a name that was never found.
    pub fn of(&self, member: &Member) -> Vec<Address> {
        match &member.address {
            MemberAddress::Host { host, port } => {
                let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
                let found = known.get(&(Arc::clone(host), *port));
                found.map(|list| list.iter().copied().map(Address::Inet).collect()).unwrap_or_default()
            }
            fixed => Address::fixed(fixed).into_iter().collect(),
        }
    }

    /// Resolves once addresses have changed since the last call.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Looks up every name of `config` that is not known yet, all at once, for a few seconds at most.
    pub async fn fill(&self, config: &Config) {
        let mut lookups = JoinSet::new();
        for (name, _) in names(config) {
            if !self.known.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&name) {
                lookups.spawn(async move {
                    let found = tokio::time::timeout(START_TIMEOUT, look_up(&name)).await;
                    (name, found.unwrap_or_else(|_| Err("no answer in time".to_owned())))
                });
            }
        }
        while let Some(done) = lookups.join_next().await {
            if let Ok((name, found)) = done {
                self.store(&name, found);
            }
        }
    }

    /// Asks again for every name of `config`, each at its pool's interval, until dropped.
    pub async fn follow(&self, config: &Config) {
        let follow = names(config).into_iter().map(|(name, interval)| async move {
            loop {
                tokio::time::sleep(interval).await;
                let found = look_up(&name).await;
                if self.store(&name, found) {
                    self.changed.notify_one();
                }
            }
        });
        futures::future::join_all(follow).await;
        // Without a name there is nothing to follow, and nothing to end.
        std::future::pending::<()>().await;
    }

    /// Keeps what was found; whether that is a change.
    fn store(&self, name: &Name, found: Result<Vec<SocketAddr>, String>) -> bool {
        let (host, port) = name;
        match found {
            Ok(addresses) => {
                let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
                let before = known.insert(name.clone(), addresses.clone());
                let changed = before.as_ref() != Some(&addresses);
                if changed && before.is_some() {
                    info!(target: "sluicegate::resolve", "{host}:{port} moved to {addresses:?}");
                }
                changed
            }
            Err(reason) => {
                warn!(target: "sluicegate::resolve", "cannot look up {host}: {reason}; known addresses stay");
                false
            }
        }
    }
}

fn names(config: &Config) -> HashMap<Name, Duration> {
    let mut names: HashMap<Name, Duration> = HashMap::new();
    for pool in &config.pools {
        for member in &pool.members {
            if let MemberAddress::Host { host, port } = &member.address {
                let interval = names.entry((Arc::clone(host), *port)).or_insert(pool.resolve_interval);
                *interval = (*interval).min(pool.resolve_interval);
            }
        }
    }
    names
}

/// Sorted and without doubles, so that a resolver that rotates its answers changes nothing.
async fn look_up((host, port): &Name) -> Result<Vec<SocketAddr>, String> {
    let found = tokio::net::lookup_host((&**host, *port)).await.map_err(|error| error.to_string())?;
    let addresses: BTreeSet<IpAddr> = found.map(|address| address.ip()).collect();
    if addresses.is_empty() {
        return Err("no address".to_owned());
    }
    Ok(addresses.into_iter().take(MAX_ADDRESSES).map(|ip| SocketAddr::new(ip, *port)).collect())
}
