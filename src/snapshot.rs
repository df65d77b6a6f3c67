//! Snapshot: all a request may read, behind one ArcSwap.
pub mod live;
pub mod reload;
