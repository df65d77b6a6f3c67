//! Route: request -> Route.
pub mod table;
