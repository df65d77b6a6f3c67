//! Prometheus metrics: every name and label in one place.
