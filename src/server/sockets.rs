//! Every socket of a process: found open, or bound, before anything runs.
//!
//! Sockets come open from a service manager (socket activation, sd_listen_fds(3)) or from the process that this one
//! replaces. Either way they are told apart by the address they are bound to, never by their order.

use std::sync::Arc;

use listenfd::ListenFd;
use log::info;

use super::StartError;
use super::listener::Bound;
use crate::config::{Config, ListenAddress};

/// Sockets that were open before this process began.
#[derive(Default)]
pub struct Offered {
    sockets: Vec<(ListenAddress, Bound)>,
    by_systemd: bool,
}

impl Offered {
    /// Those that the service manager passes. To be called once, while there is one thread: it changes the environment.
    ///
    /// # Errors
    /// When one of them is no listening stream socket.
    pub fn by_systemd() -> Result<Self, StartError> {
        let mut passed = ListenFd::from_env();
        let mut sockets = Vec::with_capacity(passed.len());
        for index in 0..passed.len() {
            let what = format!("cannot use socket {index} of systemd (ListenStream= is the kind for listeners)");
            let tcp = passed.take_tcp_listener(index).map(|tcp| tcp.map(Bound::Tcp));
            let bound = match tcp {
                Ok(bound) => Ok(bound),
                Err(_) => passed.take_unix_listener(index).map(|unix| unix.map(Bound::Unix)),
            };
            if let Some(bound) = bound.map_err(StartError::system(what.clone()))? {
                sockets.push((bound.address().map_err(StartError::system(what))?, bound));
            }
        }
        Ok(Self { sockets, by_systemd: true })
    }

    /// Those of the process before.
    ///
    /// # Errors
    /// When one has no address.
    pub fn by_predecessor(sockets: Vec<Bound>) -> Result<Self, StartError> {
        let named = |bound: Bound| Ok((bound.address()?, bound));
        let sockets: std::io::Result<_> = sockets.into_iter().map(named).collect();
        let sockets = sockets.map_err(StartError::system("cannot use a socket of the process before"))?;
        Ok(Self { sockets, by_systemd: false })
    }

    fn take(&mut self, address: &ListenAddress) -> Option<Bound> {
        let place = self.sockets.iter().position(|(known, _)| known == address)?;
        Some(self.sockets.swap_remove(place).1)
    }

    /// What is left is closed, or was passed in error.
    fn finish(self) -> Result<(), StartError> {
        let Some((first, _)) = self.sockets.first() else { return Ok(()) };
        if self.by_systemd {
            return Err(StartError::UnknownSocket { address: first.to_string() });
        }
        for (address, _) in &self.sockets {
            info!("{address} is no longer configured: closed");
        }
        Ok(())
    }
}

/// Every socket, bound before anything runs.
pub struct Sockets {
    /// Of the listeners, in the order of the configuration.
    pub listeners: Vec<Bound>,
    /// Of the admin listener.
    pub admin: Option<Bound>,
}

impl Sockets {
    /// Takes what is offered, and binds the rest.
    ///
    /// # Errors
    /// When the system refuses an address, or a socket of the service manager is none of the configuration's.
    pub fn bind(config: &Config, mut offered: Offered) -> Result<Self, StartError> {
        let bind = |address: &ListenAddress, offered: &mut Offered| match offered.take(address) {
            Some(bound) => bound.set_nonblocking().map(|()| bound),
            None => Bound::bind(address),
        };
        let mut bind =
            |address| bind(address, &mut offered).map_err(StartError::system(format!("cannot listen on {address}")));
        let listeners = config.listeners.iter().map(|listener| bind(&listener.address)).collect::<Result<_, _>>()?;
        let admin = config.admin.as_ref().map(|admin| bind(&admin.address)).transpose()?;
        offered.finish()?;
        Ok(Self { listeners, admin })
    }

    /// More handles on the same sockets, of all of them.
    ///
    /// # Errors
    /// When the process has no file descriptor left.
    pub fn all(&self) -> Result<Arc<[Bound]>, StartError> {
        let all = self.listeners.iter().chain(&self.admin).map(Bound::try_clone);
        all.collect::<Result<_, _>>().map_err(StartError::system("cannot share a socket"))
    }

    /// More handles on those of the listeners.
    ///
    /// # Errors
    /// When the process has no file descriptor left.
    pub fn clone_listeners(&self) -> Result<Vec<Bound>, StartError> {
        let all = self.listeners.iter().map(Bound::try_clone);
        all.collect::<Result<_, _>>().map_err(StartError::system("cannot share a socket"))
    }
}
