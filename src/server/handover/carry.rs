//! What of the state of the old process goes on in the new one: what operators wanted, and what checks found.

use serde::{Deserialize, Serialize};

use crate::balance::Pool;
use crate::balance::member::{AdminState, Health, Member};
use crate::clock;
use crate::snapshot::Shared;

/// What goes on.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Carry {
    /// Members that are not as new ones are.
    #[serde(default)]
    members: Vec<CarriedMember>,
    /// Tokens that were taken back, each until then, in seconds since the epoch.
    #[serde(default)]
    revoked: Vec<(String, u64)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct CarriedMember {
    pool: String,
    configured: String,
    address: String,
    admin: String,
    health: String,
}

impl Carry {
    /// What is worth to be known of this process.
    pub fn of(shared: &Shared) -> Self {
        let snapshot = shared.current.load();
        let members = snapshot.pools.iter().flat_map(|pool| pool.members()).map(|member| CarriedMember {
            pool: member.pool.to_string(),
            configured: member.configured.to_string(),
            address: member.address.to_string(),
            admin: member.state.admin().as_str().to_owned(),
            health: member.state.health().as_str().to_owned(),
        });
        let revoked = shared.tokens.revocations.all().into_iter().map(|(jti, until)| (jti.to_string(), until));
        Self { members: members.collect(), revoked: revoked.collect() }
    }

    /// Puts it in force: members that are configured still are what they were.
    pub fn apply(&self, shared: &Shared) {
        let snapshot = shared.current.load();
        for carried in &self.members {
            let pool = snapshot.pools.iter().find(|pool| **pool.name() == *carried.pool);
            if let Some(member) = pool.and_then(|pool| carried.find(pool)) {
                carried.apply(member);
            }
        }
        for (jti, until) in &self.revoked {
            shared.tokens.revocations.revoke(jti, *until);
        }
    }
}

impl CarriedMember {
    fn find<'a>(&self, pool: &'a Pool) -> Option<&'a Member> {
        let is_it = |member: &&std::sync::Arc<Member>| {
            *member.configured == *self.configured && member.address.to_string() == self.address
        };
        pool.members().iter().find(is_it).map(|member| &**member)
    }

    fn apply(&self, member: &Member) {
        if let Some(admin) = AdminState::ALL.into_iter().find(|state| state.as_str() == self.admin) {
            member.state.set_admin(admin, clock::now());
        }
        // The next check finds out whether it still is.
        for health in [Health::Up, Health::Down] {
            if health.as_str() == self.health {
                member.state.presume(health);
            }
        }
    }
}
