//! The side of the new process.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use log::warn;
use rustix::net::sockopt::socket_peercred;
use rustix::process::Pid;
use serde::de::DeserializeOwned;

use super::channel::{self, MAX_LINE};
use super::{Agreed, Carry, DETACH, Hello, Moves, SOCKETS, Word};
use crate::limit::Limits;
use crate::server::listener::Bound;
use crate::snapshot::Shared;

/// For each word of the old process.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a process began.
pub enum Start {
    /// By itself.
    Alone,
    /// In the place of another.
    After(Predecessor),
    /// It was only to start the one that takes over, and has.
    Detached,
}

/// The process that this one takes over from.
pub struct Predecessor {
    channel: BufReader<UnixStream>,
    sockets: Vec<Bound>,
    variables: BTreeMap<String, String>,
}

impl Start {
    /// Finds out. To be called first of all.
    ///
    /// # Errors
    /// When the process before has gone, or the system refuses something.
    pub fn find() -> io::Result<Self> {
        let Some(count) = std::env::var_os(SOCKETS) else { return Ok(Self::Alone) };
        if std::env::var_os(DETACH).is_some() {
            detach()?;
            return Ok(Self::Detached);
        }
        let count = count.to_str().and_then(|count| count.parse().ok());
        let count =
            count.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, format!("{SOCKETS} is no number")))?;
        let channel = UnixStream::from(rustix::stdio::stdin().try_clone_to_owned()?);
        // Nobody else is to find the channel, and its end has to show when this process ends it.
        rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
        channel.set_read_timeout(Some(PATIENCE))?;
        (&channel).write_all(&channel::line(&Word::Begun)?)?;
        let sockets = channel::receive_sockets(&channel, count)?;
        let mut channel = BufReader::new(channel);
        let Hello { variables } = read(&mut channel)?;
        Ok(Self::After(Predecessor { channel, sockets, variables }))
    }
}

impl Predecessor {
    /// What of its environment was out of sight.
    pub fn take_variables(&mut self) -> BTreeMap<String, String> {
        std::mem::take(&mut self.variables)
    }

    /// Its listening sockets.
    pub fn take_sockets(&mut self) -> Vec<Bound> {
        std::mem::take(&mut self.sockets)
    }

    /// Says that we could serve, and waits for what is to go on. From then on it is on us to serve.
    ///
    /// # Errors
    /// When it has changed its mind, or ended.
    pub fn prepared(&mut self) -> io::Result<Carry> {
        self.say(&Word::Prepared)?;
        read(&mut self.channel)
    }

    /// Says that we serve, and `tell`s the service manager once the other has agreed.
    ///
    /// # Errors
    /// When it has given up on us, or ended.
    pub fn serving(&mut self, status: String, tell: impl FnOnce(String)) -> io::Result<()> {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        self.say(&Word::Serving { pid: std::process::id(), version, status: status.clone() })?;
        let Agreed {} = read(&mut self.channel)?;
        tell(status);
        // It leaves in any case now.
        let _ = self.say(&Word::Took);
        Ok(())
    }

    /// Its id, while it is there.
    pub fn pid(&self) -> Option<Pid> {
        socket_peercred(self.channel.get_ref()).ok().map(|peer| peer.pid)
    }

    /// Charges what it still charges, until it has ended.
    pub async fn follow(self, shared: Arc<Shared>) {
        if let Err(error) = self.try_follow(&shared.limits).await {
            warn!("what the process before still charges is not known: {error}");
        }
        shared.limits.follow_no_more();
    }

    async fn try_follow(self, limits: &Limits) -> io::Result<()> {
        let channel = self.channel.into_inner();
        channel.set_nonblocking(true)?;
        let mut channel = tokio::io::BufReader::new(tokio::net::UnixStream::from_std(channel)?);
        let mut line = Vec::new();
        loop {
            line.clear();
            let mut bounded = tokio::io::AsyncReadExt::take(&mut channel, MAX_LINE as u64);
            if tokio::io::AsyncBufReadExt::read_until(&mut bounded, b'\n', &mut line).await? == 0 {
                return Ok(());
            }
            let Moves { moves } = channel::parse(&line)?;
            moves.into_iter().for_each(|(meter, key, moved)| limits.follow(meter, key, moved));
        }
    }

    /// Says why we cannot serve.
    pub fn failed(&mut self, reason: String) {
        // If it does not hear, it sees that we end.
        let _ = self.say(&Word::Failed { reason });
    }

    fn say(&mut self, word: &Word) -> io::Result<()> {
        self.channel.get_mut().write_all(&channel::line(word)?)
    }
}

fn read<T: DeserializeOwned>(channel: &mut BufReader<UnixStream>) -> io::Result<T> {
    let mut line = Vec::new();
    channel.take(MAX_LINE as u64).read_until(b'\n', &mut line)?;
    channel::parse(&line)
}

/// Starts this program again, as a child that will soon have no parent.
fn detach() -> io::Result<()> {
    let mut arguments = std::env::args_os();
    let mut command = Command::new(std::env::current_exe()?);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    command.args(arguments).env_remove(DETACH).spawn().map(drop)
}
