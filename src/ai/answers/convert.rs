//! A whole answer as a stream of events, and a stream as a whole answer: so that what was made for one kind of client
//! serves the other.
//!
//! Members that are not known here are kept where they can be. What cannot be turned is not: the request is then made anew.

use crate::ai::door::Operation;

mod events;
mod whole;

pub use events::events;
pub use whole::whole;

/// Whether answers of this door are found by one key whether they were asked for as a stream or not.
pub const fn turns(operation: Operation) -> bool {
    matches!(operation, Operation::Chat | Operation::Messages)
}
