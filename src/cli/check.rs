//! What only the machine can tell about a configuration.

use crate::config::{Loaded, Problem};

/// What would stop this configuration from starting here.
pub fn probe(_loaded: &Loaded) -> Vec<Problem> {
    Vec::new()
}
