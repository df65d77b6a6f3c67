//! Lists of models that providers gave, kept for a while.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a provider's list is kept.
const KEPT: Duration = Duration::from_secs(60);

/// Names of models.
pub type Names = Arc<[Box<str>]>;

/// Lists by provider. They outlive a reload.
#[derive(Default)]
pub struct Listed {
    lists: Mutex<HashMap<Arc<str>, (Instant, Names)>>,
}

impl Listed {
    /// The list of `provider`, when it is not too old.
    pub fn known(&self, provider: &str, now: Instant) -> Option<Names> {
        let lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, names) = lists.get(provider)?;
        (now.saturating_duration_since(*at) < KEPT).then(|| Arc::clone(names))
    }

    /// Keeps the list of `provider`; an empty one says that it gave none.
    pub fn keep(&self, provider: &Arc<str>, names: &Names, now: Instant) {
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        lists.insert(Arc::clone(provider), (now, Arc::clone(names)));
    }

    /// Forgets all but the lists of the providers that are there.
    pub fn retain(&self, is_there: impl Fn(&str) -> bool) {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner).retain(|name, _| is_there(name));
    }
}
