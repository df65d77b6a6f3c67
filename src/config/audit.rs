//! The values of `log.audit`.

/// The audit log, its alarms and who is told of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Audit {}
