//! `auth`, and what a route asks of its callers.

use std::sync::Arc;

use super::{Resolver, cors, jwt};
use crate::config::auth::{Accepts, Auth, Permission, Requirement, RouteAuth, SERVICES};
use crate::config::cors::Cors;
use crate::config::problem::{Finding, KeyPath};
use crate::config::raw::{RawConfig, RawRoute};
use crate::config::values::{self, Wrong};

mod api_keys;
mod entry;

/// What a permission looks like, for a reader.
const PERMISSIONS: &str = "read, write, delete, admin, or a service and a verb such as `chat:write`";

/// The section, and the CORS rules for all routes.
pub(super) fn auth(raw: &RawConfig, resolver: &mut Resolver<'_>) -> (Option<Arc<Auth>>, Option<Arc<Cors>>) {
    let path = KeyPath::default().key("auth");
    let services = services(raw);
    let Some(raw) = &raw.auth else { return (None, None) };
    let api_keys = raw.api_keys.as_ref().map(|raw| api_keys::api_keys(&path.key("api_keys"), raw, services, resolver));
    let jwt = jwt::jwt(&path, raw, resolver);
    let cors = cors::cors(&path, raw, resolver);
    let forward_credentials = resolver.boolean(&path.key("forward_credentials"), &raw.forward_credentials, false);
    // What was written and is wrong counts as there: routes that want it are not wrong as well.
    let somebody = raw.api_keys.is_some() || raw.jwt.is_some();
    if !somebody && raw.forward_credentials.is_some() {
        let finding = Finding::key(&path.key("forward_credentials"), "there are no credentials to forward");
        resolver.report(finding.expected("`api_keys` or `jwt` beside it"));
    }
    let auth = somebody.then(|| Arc::new(Auth { api_keys, jwt, forward_credentials }));
    (auth, cors)
}

/// What services are asked for by doors and by routes; none where there are no doors, for then they are the members' own.
fn services(raw: &RawConfig) -> Vec<String> {
    if raw.ai.is_none() {
        return Vec::new();
    }
    let routes = raw.routes.iter().flat_map(|routes| routes.items());
    let of_routes = routes.filter_map(|(_, route)| Some(route.permission.as_deref()?.split_once(':')?.0));
    SERVICES.into_iter().chain(of_routes).map(str::to_owned).collect()
}

/// What a route asks of its callers: that there is one, once there is anybody to come in.
pub(super) fn of_route(path: &KeyPath, raw: &RawRoute, auth: Option<&Auth>, resolver: &mut Resolver<'_>) -> RouteAuth {
    let permission = resolver.get(&path.key("permission"), &raw.permission, |text| {
        Permission::parse(text)
            .map_err(|_| Wrong::not(text, "a permission that a route can ask for").expected(PERMISSIONS))
    });
    let accepts = accepts(path, raw, auth, resolver);
    if accepts.is_none() && raw.permission.is_some() && !resolver.doubtful(&path.key("auth")) {
        let finding = Finding::key(&path.key("permission"), "nobody has permissions here: the route needs no caller");
        let hint = if auth.is_some() { "remove `auth: none`, or the permission" } else { "add a section `auth`" };
        resolver.report(finding.hint(hint));
    }
    accepts.map_or(RouteAuth::None, |accepts| RouteAuth::Required(Requirement { accepts, permission }))
}

/// Whether the members of a route get the credentials.
pub(super) fn forwards(path: &KeyPath, raw: &RawRoute, auth: Option<&Auth>, resolver: &mut Resolver<'_>) -> bool {
    if auth.is_none() && raw.forward_credentials.is_some() {
        let finding = Finding::key(&path.key("forward_credentials"), "there is no section `auth`");
        resolver.report(finding.hint("without it, every header is forwarded as it came"));
    }
    let default = auth.is_some_and(|auth| auth.forward_credentials);
    resolver.boolean(&path.key("forward_credentials"), &raw.forward_credentials, default)
}

/// The kinds of credentials that the route takes; `None`: it asks for none.
fn accepts(path: &KeyPath, raw: &RawRoute, auth: Option<&Auth>, resolver: &mut Resolver<'_>) -> Option<Accepts> {
    let path = path.key("auth");
    let word = |text: &str| {
        let names = [("none", Word::None), ("required", Word::Any), ("api_keys", Word::Keys), ("jwt", Word::Jwt)];
        values::one_of(text, "what a route can ask for", &names)
    };
    let words = resolver.list(&path, raw.auth.as_ref(), word);
    match words.as_slice() {
        [] => return auth.map(|_| Accepts::ALL),
        [Word::None] => return None,
        [Word::Any] if auth.is_some() => return Some(Accepts::ALL),
        [Word::Any] => {
            let finding = Finding::value(&path, "there is no section `auth`: nobody can come in");
            resolver.report(finding.expected("a section `auth` with `api_keys` or `jwt`"));
            return None;
        }
        words if words.contains(&Word::None) || words.contains(&Word::Any) => {
            resolver.report(Finding::value(&path, "`none` and `required` stand alone").expected("api_keys or jwt"));
        }
        _ => {}
    }
    let accepts = Accepts { api_keys: words.contains(&Word::Keys), jwt: words.contains(&Word::Jwt) };
    let there = Accepts {
        api_keys: auth.is_some_and(|auth| auth.api_keys.is_some()),
        jwt: auth.is_some_and(|auth| auth.jwt.is_some())
            || resolver.doubtful(&KeyPath::default().key("auth").key("jwt")),
    };
    for (key, asked, there) in [("api_keys", accepts.api_keys, there.api_keys), ("jwt", accepts.jwt, there.jwt)] {
        if asked && !there {
            resolver.report(Finding::value(&path, format!("there is no `auth.{key}`: nobody can come in by it")));
        }
    }
    Some(accepts)
}

/// What a route may say under `auth`.
#[derive(Clone, Copy, PartialEq)]
enum Word {
    None,
    Any,
    Keys,
    Jwt,
}
