//! Whether an answer may be stored, and for how long it is fresh.
//!
//! The rules themselves are those of the library `http-cache-semantics`. It is given a normal form of the request and
//! the answer, for it reads fields less strictly than RFC 9111 asks; what it does not know (statuses it has not heard
//! of, targeted fields, must-understand, cookies, times that the configuration sets) is decided here.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use http_cache_semantics::{CacheOptions, CachePolicy};

use super::control::{RequestControl, ResponseControl, age};
use super::{dates, vary};
use crate::config::cache::CacheRules;

/// The longest that is guessed from Last-Modified.
const MAX_GUESS: Duration = Duration::from_secs(24 * 3600);
/// What the library takes of the time since Last-Modified (RFC 9111, section 4.2.2).
const HEURISTIC: f32 = 0.1;
/// How long a stale answer serves by default while no member answers at all.
const DISCONNECTED: Duration = Duration::from_secs(60);
/// The statuses that a configured time holds for.
const TIMED: [u16; 6] = [200, 203, 204, 300, 301, 308];
/// The statuses whose meaning this cache knows (RFC 9111, section 3).
const UNDERSTOOD: [u16; 31] = [
    200, 203, 204, 300, 301, 302, 303, 307, 308, 400, 401, 403, 404, 405, 406, 408, 409, 410, 411, 413, 414, 415, 421,
    422, 429, 431, 500, 501, 502, 503, 504,
];

/// An answer before it is stored.
#[derive(Debug, Clone, Copy)]
pub struct Answered<'a> {
    /// Its status.
    pub status: StatusCode,
    /// Its fields, as the member sent them.
    pub headers: &'a HeaderMap,
    /// Whether the member saw credentials that the client brought (RFC 9111, section 3.5).
    pub authorized: bool,
    /// When its header block was complete.
    pub received: SystemTime,
    /// From the request's start to that moment.
    pub delay: Duration,
}

/// How long a stored answer may serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freshness {
    /// How long it is fresh, counted from an age of zero.
    pub lifetime: Duration,
    /// How old it was when it came.
    pub initial_age: Duration,
    /// Whether it may never be served stale.
    pub no_stale: bool,
    /// How long past its freshness it may be served while another one is fetched.
    pub while_revalidate: Duration,
    /// How long past its freshness it may be served when a member answers with an error.
    pub if_error: Duration,
    /// The same when no member answers at all.
    pub if_disconnected: Duration,
    /// Fields that are not stored.
    pub unstored: Vec<HeaderName>,
}

/// What to do with a stored answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It serves.
    Fresh,
    /// It serves, though it is stale.
    Stale {
        /// Whether a new one is to be fetched behind it.
        refresh: bool,
    },
    /// It must be validated first.
    Validate,
}

/// Why an answer is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unstorable {
    /// It says no-store.
    NoStore,
    /// It says private, sets a cookie, or belongs to the credentials of its request.
    Personal,
    /// Its status is not stored without being told so.
    Status,
    /// It varies by more than fields of the request.
    Varies,
    /// It could never be used again: it is not fresh, and nothing validates it.
    Useless,
    /// It is a part.
    Partial,
}

impl Freshness {
    /// Judges `answer` by RFC 9111 and `rules`.
    ///
    /// # Errors
    /// Why it is not stored.
    pub fn of(answer: &Answered<'_>, rules: &CacheRules) -> Result<Self, Unstorable> {
        let control = ResponseControl::of(answer.headers);
        refuse(answer, &control, rules)?;
        let (status, headers) = (answer.status.as_u16(), answer.headers);
        let explicit = control.max_age.is_some()
            || control.s_maxage.is_some()
            || (!control.targeted && headers.contains_key(header::EXPIRES));
        let timed = TIMED.contains(&status);
        let policy = policy(answer, &control, explicit, rules);
        let (lifetime, no_stale) = match (rules.override_ttl, rules.ttl) {
            (Some(ttl), _) if timed => (ttl, false),
            (_, Some(ttl)) if timed && !explicit && !control.no_cache && !has_pragma(headers, &control) => {
                (ttl, control.forbids_stale())
            }
            _ if !policy.is_storable() => return Err(Unstorable::Status),
            _ => {
                let lifetime = policy.time_to_live(answer.received);
                (if explicit { lifetime } else { lifetime.min(MAX_GUESS) }, control.forbids_stale())
            }
        };
        let own = |seconds: Option<u64>| seconds.map(Duration::from_secs);
        let while_revalidate = own(control.stale_while_revalidate).unwrap_or(rules.stale_while_revalidate);
        let if_error = own(control.stale_if_error).or(rules.stale_if_error);
        let freshness = Self {
            lifetime,
            initial_age: initial_age(answer),
            no_stale,
            while_revalidate,
            if_error: if_error.unwrap_or_default(),
            if_disconnected: if_error.unwrap_or(DISCONNECTED),
            unstored: control.unstored,
        };
        if freshness.is_useless() && !has_validator(headers) { Err(Unstorable::Useless) } else { Ok(freshness) }
    }

    /// That of an answer which says nothing of it, by `rules` alone; behind a stale one no other is fetched.
    pub fn configured(rules: &CacheRules) -> Self {
        Self {
            lifetime: rules.ttl.unwrap_or_default(),
            initial_age: Duration::ZERO,
            no_stale: false,
            while_revalidate: Duration::ZERO,
            if_error: rules.stale_if_error.unwrap_or_default(),
            if_disconnected: rules.stale_if_error.unwrap_or(DISCONNECTED),
            unstored: Vec::new(),
        }
    }

    /// Whether an answer of this age serves a request that asks so (RFC 9111, section 4).
    pub fn verdict(&self, age: Duration, asked: &RequestControl) -> Verdict {
        let seconds = Duration::from_secs;
        if asked.no_cache || asked.max_age.is_some_and(|most| age > seconds(most)) {
            return Verdict::Validate;
        }
        let lifetime = self.lifetime;
        if lifetime > age {
            let short = asked.min_fresh.is_some_and(|least| lifetime - age < seconds(least));
            return if short { Verdict::Validate } else { Verdict::Fresh };
        }
        if self.no_stale || asked.min_fresh.is_some() {
            return Verdict::Validate;
        }
        let past = age - lifetime;
        if past < self.while_revalidate {
            return Verdict::Stale { refresh: true };
        }
        let allowed = asked.max_stale.is_some_and(|most| most == u64::MAX || past <= seconds(most));
        if allowed { Verdict::Stale { refresh: true } } else { Verdict::Validate }
    }

    /// Whether an answer of this age serves in the place of an error: no answer at all (`disconnected`), or one of a member.
    pub fn serves_on_error(&self, age: Duration, disconnected: bool) -> bool {
        let past = age.saturating_sub(self.lifetime);
        let most = if disconnected { self.if_disconnected } else { self.if_error };
        !self.no_stale && past < most
    }

    fn is_useless(&self) -> bool {
        self.lifetime <= self.initial_age
            && (self.no_stale || (self.while_revalidate.is_zero() && self.if_error.is_zero()))
    }
}

/// What is never stored, whatever its freshness.
fn refuse(answer: &Answered<'_>, control: &ResponseControl, rules: &CacheRules) -> Result<(), Unstorable> {
    let status = answer.status.as_u16();
    let understood = UNDERSTOOD.contains(&status);
    // Not 206: a part is passed on. 304 answers a condition, and is taken in elsewhere.
    if matches!(status, 206 | 304) || answer.status.is_informational() {
        return Err(Unstorable::Partial);
    }
    if control.must_understand && !understood {
        return Err(Unstorable::Status);
    }
    // What is personal comes first: whoever waits for the same must not even see it.
    let cookie = answer.headers.contains_key(header::SET_COOKIE) && !control.unstored.contains(&header::SET_COOKIE);
    let shared = control.public || control.must_revalidate || control.s_maxage.is_some();
    if control.private || (cookie && !rules.store_set_cookie) || (answer.authorized && !shared) {
        return Err(Unstorable::Personal);
    }
    // must-understand comes with a no-store that is for those who do not know it (RFC 9111, section 5.2.2.3).
    if control.no_store && !control.must_understand {
        return Err(Unstorable::NoStore);
    }
    if vary::is_any(answer.headers) { Err(Unstorable::Varies) } else { Ok(()) }
}

/// The library's verdict on the normal form.
fn policy(answer: &Answered<'_>, control: &ResponseControl, explicit: bool, rules: &CacheRules) -> CachePolicy {
    let mut headers = HeaderMap::with_capacity(4);
    let mut directives = String::new();
    let mut say = |directive: &str| {
        if !directives.is_empty() {
            directives.push_str(", ");
        }
        directives.push_str(directive);
    };
    if control.no_cache || has_pragma(answer.headers, control) {
        say("no-cache");
    }
    if control.public {
        say("public");
    }
    if control.must_revalidate {
        say("must-revalidate");
    }
    if let Some(seconds) = control.max_age {
        say(&format!("max-age={seconds}"));
    }
    if let Some(seconds) = control.s_maxage {
        say(&format!("s-maxage={seconds}"));
    }
    if let Ok(value) = HeaderValue::from_str(&directives) {
        headers.insert(header::CACHE_CONTROL, value);
    }
    let mut dates = vec![(header::DATE, None)];
    if !control.targeted {
        // Any text that is no date, and any second field, is in the past (RFC 9111, section 5.3).
        dates.push((header::EXPIRES, Some(HeaderValue::from_static("0"))));
    }
    if rules.heuristic {
        dates.push((header::LAST_MODIFIED, None));
    }
    for (name, otherwise) in dates {
        if !answer.headers.contains_key(&name) {
            continue;
        }
        let date = date(answer.headers, &name).map(httpdate::fmt_http_date);
        if let Some(value) = date.and_then(|date| HeaderValue::from_str(&date).ok()).or(otherwise) {
            headers.insert(name, value);
        }
    }
    // The library only stores what it has heard of; any final status may be stored when told so (RFC 9111, section 3).
    let status = if explicit || control.public { StatusCode::OK } else { answer.status };
    let mut response = http::Response::new(());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    let options = CacheOptions {
        shared: true,
        cache_heuristic: HEURISTIC,
        immutable_min_time_to_live: Duration::ZERO,
        ignore_cargo_cult: false,
    };
    CachePolicy::new_options(&http::Request::new(()), &response, answer.received, options)
}

/// Pragma in an answer has no meaning in RFC 9111, but those who send it mean it: it counts where nothing else is said.
fn has_pragma(headers: &HeaderMap, control: &ResponseControl) -> bool {
    let says = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"no-cache");
    !control.targeted && !headers.contains_key(header::CACHE_CONTROL) && headers.get(header::PRAGMA).is_some_and(says)
}

/// Whether it can be asked for by a condition.
pub fn has_validator(headers: &HeaderMap) -> bool {
    headers.contains_key(header::ETAG) || headers.contains_key(header::LAST_MODIFIED)
}

/// `corrected_initial_age` of RFC 9111, section 4.2.3.
fn initial_age(answer: &Answered<'_>) -> Duration {
    let apparent = date(answer.headers, &header::DATE).and_then(|date| answer.received.duration_since(date).ok());
    // Date has whole seconds: less than one of age may be its rounding.
    let apparent = apparent.map_or(Duration::ZERO, |age| Duration::from_secs(age.as_secs()));
    apparent.max(Duration::from_secs(age(answer.headers)) + answer.delay)
}

/// The date in `name`, when it is one and the only one.
pub(super) fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    if values.next().is_some() {
        return None;
    }
    dates::parse(value)
}

#[cfg(test)]
mod tests;
