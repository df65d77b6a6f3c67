//! Mock backends and the side-by-side benchmark of Sluicegate.
//!
//! [`mock`] is an HTTP backend that behaves, and misbehaves on order. The integration tests start it in process, the demo and the
//! benchmark start it as the program `sluicegate-mock`. [`compare`] measures the gateway beside its peers. Nothing here is part of the gateway.

pub mod compare;
pub mod mock;
pub mod units;
