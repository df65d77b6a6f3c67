//! A writer thread behind a bounded channel that reopens its file on demand.
