//! `POST /control/caches/NAME/purge?all`, `?url=`, `?prefix=` or `?tag=`: takes stored answers away.

use std::sync::Arc;

use http::StatusCode;
use http::request::Parts;
use percent_encoding::percent_decode_str;

use super::answer::Answer;
use super::control::unknown;
use super::status::Purged;
use crate::cache::Purge;
use crate::snapshot::{RouteState, Snapshot};

const EXPECTED: &str = "one of ?all, ?url=http://host/path, ?prefix=http://host/path/ and ?tag=name is needed";

/// Purges what the query of `head` names from the cache `name`.
///
/// # Errors
/// The answer for the client when there is no such cache, or the query names nothing.
pub(super) async fn run(snapshot: &Snapshot, name: &str, head: &Parts) -> Result<Purged, Answer> {
    let found = snapshot.caches.iter().find(|store| &*store.config().name == name);
    let store = found.ok_or_else(|| {
        let names = snapshot.caches.iter().map(|store| &*store.config().name);
        unknown(format!("there is no cache {name:?}"), "caches", names)
    })?;
    let purge = purge(head.uri.query().unwrap_or_default()).ok_or_else(|| Answer::bad_request(EXPECTED))?;
    // Answers of models have no URL and no tag of their own.
    let answers = snapshot.answers(name).filter(|_| purge == Purge::All).cloned();
    let of_members = |route: &RouteState| route.cache.as_ref().is_some_and(|cache| Arc::ptr_eq(&cache.store, store));
    let of_models = snapshot.answers(name).is_some() && !snapshot.routes.iter().any(|route| of_members(route));
    if of_models && purge != Purge::All {
        return Err(Answer::bad_request(&format!(
            "the cache {name} holds answers of models, which have no URL and no tag: purge all of it, with ?all \
             (sluicegate ctl purge {name} --all)"
        )));
    }
    // It walks every entry of a cache, and this thread has checks to send and certificates to reload meanwhile.
    let store = Arc::clone(store);
    let purge_all = move || store.purge(&purge) + answers.map_or(0, |answers| answers.purge());
    let purged = tokio::task::spawn_blocking(purge_all).await;
    let failed = |_| Answer::error(StatusCode::INTERNAL_SERVER_ERROR, "purge", "the purge did not come to its end");
    Ok(Purged { cache: name.to_owned(), purged: purged.map_err(failed)? })
}

/// What a query asks for; `None` when it is not exactly one thing.
fn purge(query: &str) -> Option<Purge> {
    let mut pairs = query.split('&').filter(|pair| !pair.is_empty());
    let (pair, None) = (pairs.next()?, pairs.next()) else { return None };
    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
    let value = percent_decode_str(value).decode_utf8().ok()?;
    match (key, &*value) {
        ("all", "" | "true") => Some(Purge::All),
        ("url", url) => Purge::url(url),
        ("prefix", url) => Purge::prefix(url),
        ("tag", tag) if !tag.is_empty() => Some(Purge::Tag(tag.to_owned())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_names_exactly_one_thing() {
        assert_eq!(purge("all"), Some(Purge::All));
        assert_eq!(purge("all=true"), Some(Purge::All));
        assert_eq!(purge("tag=a%20b"), Some(Purge::Tag("a b".to_owned())));
        assert_eq!(purge("url=http%3A%2F%2FH%3A80%2Fa%3Fb"), Purge::url("//h/a?b"));
        for query in ["", "all=no", "tag=", "url=", "url=nonsense", "prefix=", "all&tag=a", "what=1", "tag=%ff"] {
            assert_eq!(purge(query), None, "{query}");
        }
    }
}
