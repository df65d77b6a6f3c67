//! The routing table: built once per snapshot, most specific match first.
