//! Reload: file -> Config -> Snapshot -> one swap, or the old one stays.
