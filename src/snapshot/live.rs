//! Live: state that outlives a reload.
