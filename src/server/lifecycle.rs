//! Signals, drain, exit.
