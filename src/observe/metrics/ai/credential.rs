//! How often each credential of a provider is used (row C14).

use std::sync::Arc;

use crate::observe::metrics::counters::Counters;
use crate::observe::metrics::family::Families;

/// One credential of one provider.
pub struct CredentialMetrics {
    provider: Arc<str>,
    name: Arc<str>,
    requests: Counters<1>,
}

impl CredentialMetrics {
    pub(in crate::observe::metrics) fn new(provider: Arc<str>, name: Arc<str>) -> Self {
        Self { provider, name, requests: Counters::new() }
    }

    /// Counts a request that it was chosen for.
    pub fn used(&self) {
        self.requests.add(0, 1);
    }

    /// Requests that it was chosen for.
    pub fn requests(&self) -> u64 {
        self.requests.sum(0)
    }

    pub(in crate::observe::metrics) fn collect(&self, out: &mut Families) {
        let labels = [("name", &*self.name), ("provider", &*self.provider)];
        let help = "Requests to providers by the credential they were sent with.";
        out.counter("gw_credential_requests_total", help, &labels, self.requests());
    }
}
