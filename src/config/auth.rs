//! Who may come in: the values of `auth`, and what a route asks of its callers.

/// The section `auth`. Once it is there, every route needs a caller unless it says `auth: none`.
#[derive(Debug, Clone, Default)]
pub struct Auth {}

/// What a route asks of its callers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum RouteAuth {
    /// Nothing: `auth: none`, or there is no section `auth`.
    #[default]
    None,
    /// A known caller.
    Required,
}
