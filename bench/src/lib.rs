//! Mock backends and the side-by-side benchmark of Sluicegate.
//!
//! [`mock`] is an HTTP backend that behaves, and misbehaves on order. The integration tests start it in process, the demo and the
//! benchmark start it as the program `sluicegate-mock`. [`compare`] measures the gateway beside other proxies, [`gateways`] beside other
//! AI gateways, and [`streams`] with many event streams at once. Nothing here is part of the gateway.

pub mod compare;
pub mod gateways;
pub mod mock;
pub mod pin;
pub mod streams;
pub mod units;
