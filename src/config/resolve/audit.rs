//! `log.audit`.

use super::Resolver;
use crate::config::audit::Audit;
use crate::config::problem::KeyPath;
use crate::config::raw::RawLog;

/// The audit log. `path` is that of `log`.
pub(super) fn audit(path: &KeyPath, raw: &RawLog, resolver: &mut Resolver<'_>) -> Option<Audit> {
    resolver.later(path, &raw.audit, "audit");
    None
}
