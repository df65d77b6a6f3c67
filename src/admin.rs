//! The admin listener: health, metrics, stats page, control API.

use std::sync::Arc;

use crate::config::Config;
use crate::server::drain::Drain;
use crate::server::listener::Bound;
use crate::snapshot::reload::Reloader;

/// Serves `bound` until dropped.
pub async fn serve(_bound: Bound, _config: Arc<Config>, _reloader: Arc<Reloader>, _drain: Arc<Drain>) {
    std::future::pending::<()>().await;
}
