//! Who asks: headers -> [`Caller`].

use std::sync::Arc;

/// A caller whose credentials were good.
#[derive(Debug)]
pub struct Caller {
    /// The id of its key, or the subject of its token. Never a secret; stands in logs.
    pub id: Arc<str>,
}
