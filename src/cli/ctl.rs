//! `sluicegate ctl`: steer the running gateway over its admin address.
//!
//! Exit code 0: done; 1: the gateway refused or could not be reached, with the reason on stderr; 64: usage. The token
//! is never an argument: everybody on the machine can read those.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{complain, say};
use crate::admin::status::{Changed, MemberStatus, Purged, ReloadDone, Status, UpgradeDone};
use crate::clock;
use crate::config::ai;
use client::Client;

mod client;
mod key;
mod limits;
mod prices;
mod revoke;
mod table;
mod target;

/// Between two looks of `drain --wait`.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long `drain --wait` waits when no time is given, in seconds.
const DEFAULT_WAIT: &str = "300";

/// The arguments of `ctl`.
#[derive(Debug, Args)]
pub struct Ctl {
    #[command(flatten)]
    target: target::Options,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the process, its pools and their members.
    Status {
        /// As JSON, for programs.
        #[arg(long, conflicts_with = "yaml")]
        json: bool,
        /// The same as YAML.
        #[arg(long)]
        yaml: bool,
    },
    /// Load the configuration again. A file that is refused changes nothing, and all that is wrong with it is printed.
    Reload,
    /// Give a member, or a provider, no new requests; those in flight finish, and its checks go on.
    Drain {
        #[command(flatten)]
        member: Member,
        /// Wait until nothing is in flight, for SECONDS at most.
        #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = DEFAULT_WAIT)]
        wait: Option<u32>,
    },
    /// Give a member, or a provider, requests again, once its checks are good.
    Ready {
        #[command(flatten)]
        member: Member,
    },
    /// Give a member, or a provider, no new requests and no checks.
    Maint {
        #[command(flatten)]
        member: Member,
    },
    /// Take a token back before it expires.
    Revoke {
        #[command(flatten)]
        token: revoke::Token,
    },
    /// Let a new process take over, from the binary and the configuration that are there now. No request is lost: the old
    /// process gives its sockets over and ends with its last request. If the new one cannot serve, the old one serves on.
    Upgrade {
        /// Wait until the new process serves; its reason is printed when it cannot.
        #[arg(long)]
        wait: bool,
    },
    /// Show or forgive what somebody used of a budget of tokens or money.
    Limits {
        #[command(subcommand)]
        what: limits::Limits,
    },
    /// Show what models cost, and where that stands.
    Prices {
        #[command(flatten)]
        which: prices::Which,
    },
    /// Use a provider's key again that was set aside, or that rests.
    Key {
        #[command(subcommand)]
        what: key::Key,
    },
    /// Ask a provider again whose breakers are open.
    Provider {
        #[command(subcommand)]
        what: key::Provider,
    },
    /// Take stored answers out of a cache.
    Purge {
        /// The key under `caches`.
        cache: String,
        #[command(flatten)]
        what: Named,
    },
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Named {
    /// This URL, in all its variants: http://host/path?query, or /path?query on every host.
    #[arg(long)]
    url: Option<String>,
    /// Every URL that begins so.
    #[arg(long, value_name = "URL")]
    prefix: Option<String>,
    /// Every answer that bears this tag.
    #[arg(long)]
    tag: Option<String>,
    /// Everything.
    #[arg(long)]
    all: bool,
}

#[derive(Debug, Args)]
struct Member {
    /// The key under `pools`, or that under `ai.providers`.
    pool: String,
    /// The member's address as it is in the configuration, or its name in `ctl status`; to be left out for a provider.
    member: Option<String>,
}

/// Why a command failed, for the operator.
pub(super) type Failure = String;

impl Ctl {
    /// Runs the command to its end.
    pub(super) fn run(self) -> ExitCode {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let done = match runtime {
            Ok(runtime) => runtime.block_on(self.command.run(&self.target)),
            Err(error) => Err(format!("cannot make a reactor: {error}")),
        };
        match done {
            Ok(text) => {
                say(&text);
                ExitCode::SUCCESS
            }
            Err(reason) => {
                complain(&reason);
                ExitCode::FAILURE
            }
        }
    }
}

impl Command {
    /// What to print when it is done.
    async fn run(&self, target: &target::Options) -> Result<String, Failure> {
        let client = || target.find().map(Client::new);
        match self {
            Self::Status { json: true, .. } => client()?.get("/control/status").await,
            Self::Status { yaml, .. } => {
                let status = client()?.read::<Status>("/control/status").await?;
                if *yaml { as_yaml(&status) } else { Ok(table::show(&status)) }
            }
            Self::Reload => client()?.change::<ReloadDone>("/control/reload").await.map(|done| table::reloaded(&done)),
            Self::Drain { member, wait } => {
                let client = client()?;
                let (changed, member) = member.set(&client, "drain").await?;
                match wait {
                    Some(seconds) => member.wait(&client, Duration::from_secs((*seconds).into())).await,
                    None => Ok(table::changed(&changed)),
                }
            }
            Self::Ready { member } => {
                member.set(&client()?, "ready").await.map(|(changed, _)| table::changed(&changed))
            }
            Self::Maint { member } => {
                member.set(&client()?, "maint").await.map(|(changed, _)| table::changed(&changed))
            }
            Self::Revoke { token } => token.run(&client()?).await,
            Self::Upgrade { wait } => {
                let path = if *wait { "/control/upgrade?wait" } else { "/control/upgrade" };
                client()?.change::<UpgradeDone>(path).await.map(|done| table::upgraded(&done))
            }
            Self::Limits { what } => what.run(&client()?).await,
            Self::Prices { which } => which.run(&client()?).await,
            Self::Key { what } => what.run(&client()?).await,
            Self::Provider { what } => what.run(&client()?).await,
            Self::Purge { cache, what } => {
                let name = utf8_percent_encode(cache, NON_ALPHANUMERIC);
                let path = format!("/control/caches/{name}/purge?{}", what.query());
                let Purged { cache, purged } = client()?.change::<Purged>(&path).await?;
                Ok(format!("{cache}: {purged} {} purged", if purged == 1 { "answer" } else { "answers" }))
            }
        }
    }
}

fn as_yaml(status: &Status) -> Result<String, Failure> {
    serde_yaml::to_string(status).map_err(|error| format!("cannot show the status as YAML: {error}"))
}

impl Named {
    fn query(&self) -> String {
        let named = [("url", &self.url), ("prefix", &self.prefix), ("tag", &self.tag)];
        let given = named.into_iter().find_map(|(key, value)| Some((key, value.as_ref()?)));
        given.map_or_else(
            || "all".to_owned(),
            |(key, value)| format!("{key}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)),
        )
    }
}

impl Member {
    /// What is changed by it, and the member that it is.
    async fn set(&self, client: &Client, state: &str) -> Result<(Changed, OneMember), Failure> {
        let member = match &self.member {
            Some(member) => member.clone(),
            None => self.only(&client.read::<Status>("/control/status").await?)?,
        };
        let [in_pool, name] = [&self.pool, &member].map(|name| utf8_percent_encode(name, NON_ALPHANUMERIC));
        let changed: Changed = client.change(&format!("/control/pools/{in_pool}/members/{name}/{state}")).await?;
        let one = OneMember { pool: changed.pool.clone(), member };
        Ok((changed, one))
    }

    /// The one member that the provider's pool has. Of other pools it has to be named: nobody takes one out by half a line.
    fn only(&self, status: &Status) -> Result<String, Failure> {
        let named = |name: &str| status.pools.iter().find(|pool| pool.name == name);
        let asked = || status.providers.iter().find(|provider| provider.name == self.pool);
        let Some(pool) = named(&self.pool).or_else(|| named(&asked()?.pool)) else {
            let names: Vec<&str> = status.pools.iter().map(|pool| &*pool.name).collect();
            return Err(format!(
                "there is no pool {:?}, and no provider with one; pools: {}",
                self.pool,
                names.join(", ")
            ));
        };
        let mut members: Vec<&str> = pool.members.iter().map(|member| &*member.configured).collect();
        members.dedup();
        match members[..] {
            [only] if pool.name.starts_with(ai::MADE_POOL) => Ok(only.to_owned()),
            _ => Err(format!("which member of pool {}? {}", pool.name, members.join(", "))),
        }
    }
}

/// A member that was found.
struct OneMember {
    pool: String,
    member: String,
}

impl OneMember {
    /// Waits until nothing is in flight.
    async fn wait(&self, client: &Client, limit: Duration) -> Result<String, Failure> {
        let begun = clock::now();
        loop {
            let status = client.read::<Status>("/control/status").await?;
            match Progress::of(&self.mine(&status)) {
                Progress::Drained => return Ok(format!("{} in {}: drained", self.member, self.pool)),
                Progress::Gone => return Ok(format!("{} in {}: no longer configured", self.member, self.pool)),
                Progress::Back => {
                    return Err(format!("{} in {}: somebody made it ready again", self.member, self.pool));
                }
                Progress::Busy(in_flight) if clock::now().saturating_duration_since(begun) >= limit => {
                    let (member, pool) = (&self.member, &self.pool);
                    return Err(format!(
                        "{member} in {pool}: still {in_flight} in flight after {limit:?}; it drains on"
                    ));
                }
                Progress::Busy(_) => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
    }

    fn mine<'a>(&self, status: &'a Status) -> Vec<&'a MemberStatus> {
        let pool = status.pools.iter().filter(|pool| pool.name == self.pool);
        let mine = |member: &&MemberStatus| member.name == self.member || member.configured == self.member;
        pool.flat_map(|pool| &pool.members).filter(mine).collect()
    }
}

/// How far a drain is.
#[derive(Debug, PartialEq, Eq)]
enum Progress {
    Drained,
    Busy(u32),
    /// A reload took the member out.
    Gone,
    /// It takes requests again.
    Back,
}

impl Progress {
    fn of(members: &[&MemberStatus]) -> Self {
        if members.is_empty() {
            return Self::Gone;
        }
        if members.iter().any(|member| member.state == "ready" && member.health != "unresolved") {
            return Self::Back;
        }
        match members.iter().map(|member| member.in_flight).sum() {
            0 => Self::Drained,
            in_flight => Self::Busy(in_flight),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(state: &str, in_flight: u32) -> MemberStatus {
        MemberStatus { state: state.to_owned(), in_flight, ..MemberStatus::default() }
    }

    #[test]
    fn a_drain_is_over_when_every_address_of_the_member_is_idle() {
        let (idle, busy) = (member("drain", 0), member("drain", 2));
        assert_eq!(Progress::of(&[&idle, &busy]), Progress::Busy(2));
        assert_eq!(Progress::of(&[&idle, &idle]), Progress::Drained);
        assert_eq!(Progress::of(&[&member("maint", 0)]), Progress::Drained);
        assert_eq!(Progress::of(&[]), Progress::Gone);
        assert_eq!(Progress::of(&[&idle, &member("ready", 0)]), Progress::Back);
    }
}
