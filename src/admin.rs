//! The admin listener: health, metrics, stats page, control API.
