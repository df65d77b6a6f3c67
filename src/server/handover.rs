//! Hand-over: another process takes this one's place, and no client notices.
//!
//! The old process starts the program at its own path anew, and gives it its listening sockets over a channel. Both speak
//! in turn, and until the last word each of them may still say no:
//!
//! 1. old → new: the sockets, and what of the environment is out of sight ([`Hello`]).
//! 2. new → old: [`Word::Prepared`]: the configuration is good, everything is open. Nothing is served yet.
//! 3. old → new: [`Carry`]: what is to go on. From here on the old one writes no state any more.
//! 4. new → old: [`Word::Serving`]: both serve now.
//! 5. old → new: [`Agreed`]. Until here the old one may have given up on the new one, which ends then.
//! 6. new → old: [`Word::Took`]: the service manager knows whom to watch. Had the old one ended before that, the service
//!    would be taken for ended.
//! 7. The old one closes its sockets and drains, and tells what it still charges to whom ([`Moves`]). The channel stays open until
//!    it ends: so the new one knows.
//!
//! When the new one fails, is too slow or ends, the old one goes on as if nothing had been, and says why.
//!
//! The new process is a child of a child that has ended, so the service manager is its parent: of another process's child
//! it would not notice the end.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::limit::Moved;

pub mod carry;
pub mod channel;
pub mod predecessor;
pub mod successor;

pub use carry::Carry;
pub use predecessor::{Predecessor, Start};
pub use successor::{Handover, Successor};

/// How many sockets come over the channel that is the standard input.
const SOCKETS: &str = "SLUICEGATE_HANDOVER";
/// This process is to start the one that takes over, and to end.
const DETACH: &str = "SLUICEGATE_DETACH";

/// The first that the new process hears.
#[derive(Serialize, Deserialize)]
pub struct Hello {
    /// Variables of the environment that are in no block of memory that others can see. Secrets: no Debug.
    variables: BTreeMap<String, String>,
}

/// The old process has heard that the new one serves, and will leave.
#[derive(Serialize, Deserialize)]
pub struct Agreed {}

/// What the old process still does in accounts of tokens and money, by meter and key.
#[derive(Serialize, Deserialize)]
pub struct Moves {
    moves: Vec<(u64, u64, Moved)>,
}

/// What the new process says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "word", rename_all = "snake_case")]
pub enum Word {
    /// It is there, and takes the sockets. A program that does not come to this has none of them.
    Begun,
    /// It could serve.
    Prepared,
    /// It serves.
    Serving {
        /// Its process id.
        pid: u32,
        /// Its version.
        version: String,
        /// What it tells the service manager.
        status: String,
    },
    /// The service manager knows it.
    Took,
    /// It cannot.
    Failed {
        /// Why, for the operator.
        reason: String,
    },
}
