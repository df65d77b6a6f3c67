//! Cache-Control of requests and answers, and the fields that take its place for shared caches.
//!
//! Names of directives have no case, values may be quoted, and what stands inside quotes is no directive (RFC 9111,
//! section 5.2). A value that is no number of seconds makes an answer stale, as section 4.2.1 advises; of two values
//! the smaller counts. CDN-Cache-Control (RFC 9213) is a structured field: one that does not parse does not exist.

use http::{HeaderMap, HeaderName, HeaderValue, header};

mod dictionary;

pub use dictionary::{Member, parse as parse_dictionary};

const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");
const SURROGATE_CONTROL: HeaderName = HeaderName::from_static("surrogate-control");

/// The largest number of seconds that is told apart from others (RFC 9111, section 1.2.2).
const MAX_SECONDS: u64 = 1 << 31;

/// What an answer says about its storing and reuse.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResponseControl {
    /// Whether it came in a field that is meant for shared caches alone, so that Cache-Control and Expires count for
    /// nothing (RFC 9213, section 2.2).
    pub targeted: bool,
    /// `max-age`, in seconds.
    pub max_age: Option<u64>,
    /// `s-maxage`, in seconds.
    pub s_maxage: Option<u64>,
    /// `no-store`.
    pub no_store: bool,
    /// `no-cache` without fields.
    pub no_cache: bool,
    /// `private` without fields.
    pub private: bool,
    /// The fields that `no-cache` and `private` name: they are not stored.
    pub unstored: Vec<HeaderName>,
    /// `must-revalidate`.
    pub must_revalidate: bool,
    /// `proxy-revalidate`.
    pub proxy_revalidate: bool,
    /// `public`.
    pub public: bool,
    /// `must-understand`.
    pub must_understand: bool,
    /// `stale-while-revalidate`, in seconds (RFC 5861).
    pub stale_while_revalidate: Option<u64>,
    /// `stale-if-error`, in seconds (RFC 5861).
    pub stale_if_error: Option<u64>,
}

/// What a request asks of the cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequestControl {
    /// `no-store`.
    pub no_store: bool,
    /// `no-cache`, or Pragma where there is no Cache-Control.
    pub no_cache: bool,
    /// `only-if-cached`.
    pub only_if_cached: bool,
    /// `max-age`, in seconds.
    pub max_age: Option<u64>,
    /// `min-fresh`, in seconds.
    pub min_fresh: Option<u64>,
    /// `max-stale`, in seconds; without a value as many as there can be.
    pub max_stale: Option<u64>,
}

impl ResponseControl {
    /// The directives of an answer: the first there is of CDN-Cache-Control, Surrogate-Control and Cache-Control.
    pub fn of(headers: &HeaderMap) -> Self {
        if headers.contains_key(CDN_CACHE_CONTROL)
            && let Some(members) = parse_dictionary(headers.get_all(CDN_CACHE_CONTROL).iter())
            && !members.is_empty()
        {
            return Self::of_dictionary(&members);
        }
        let targeted = headers.contains_key(SURROGATE_CONTROL);
        let name = if targeted { SURROGATE_CONTROL } else { header::CACHE_CONTROL };
        let mut control = Self { targeted, ..Self::default() };
        for directive in headers.get_all(name).iter().flat_map(|value| Directives::new(value.as_bytes())) {
            control.take(&if targeted { directive.of_surrogate() } else { directive });
        }
        control
    }

    fn of_dictionary(members: &[(String, Member)]) -> Self {
        let mut control = Self { targeted: true, ..Self::default() };
        for (name, member) in members {
            // A value of another type than the directive has is as good as none.
            let value = match member {
                Member::True => None,
                Member::Integer(number) => Some(number.to_string()),
                Member::Other => continue,
            };
            control.take(&Directive { name: name.as_bytes(), value: value.as_deref().map(str::as_bytes) });
        }
        control
    }

    fn take(&mut self, directive: &Directive<'_>) {
        let Directive { name, value } = *directive;
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("max-age") {
            least(&mut self.max_age, seconds(value).unwrap_or(0));
        } else if is("s-maxage") {
            least(&mut self.s_maxage, seconds(value).unwrap_or(0));
        } else if is("no-store") {
            self.no_store = true;
        } else if is("no-cache") {
            self.no_cache |= self.all_but_fields(value);
        } else if is("private") {
            self.private |= self.all_but_fields(value);
        } else if is("must-revalidate") {
            self.must_revalidate = true;
        } else if is("proxy-revalidate") {
            self.proxy_revalidate = true;
        } else if is("public") {
            self.public = true;
        } else if is("must-understand") {
            self.must_understand = true;
        } else if is("stale-while-revalidate") {
            least(&mut self.stale_while_revalidate, seconds(value).unwrap_or(0));
        } else if is("stale-if-error") {
            least(&mut self.stale_if_error, seconds(value).unwrap_or(0));
        }
    }

    /// Takes in the fields that a directive names; `true` when it names none and so means the whole answer.
    fn all_but_fields(&mut self, value: Option<&[u8]>) -> bool {
        let names = value.unwrap_or_default().split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
        let mut names = names.filter(|name| !name.is_empty()).peekable();
        if names.peek().is_none() {
            return true;
        }
        for name in names {
            match HeaderName::from_bytes(name) {
                Ok(name) => self.unstored.push(name),
                Err(_) => return true,
            }
        }
        false
    }

    /// Whether a stale answer may not be served, whoever would (RFC 9111, sections 5.2.2.2, 5.2.2.8 and 5.2.2.10).
    pub fn forbids_stale(&self) -> bool {
        self.must_revalidate || self.proxy_revalidate || self.no_cache || self.s_maxage.is_some()
    }
}

impl RequestControl {
    /// The directives of a request.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut control = Self::default();
        if !headers.contains_key(header::CACHE_CONTROL) {
            let pragma = headers.get_all(header::PRAGMA).iter().flat_map(|value| Directives::new(value.as_bytes()));
            control.no_cache = pragma.into_iter().any(|pragma| pragma.name.eq_ignore_ascii_case(b"no-cache"));
            return control;
        }
        let values = headers.get_all(header::CACHE_CONTROL).iter();
        for Directive { name, value } in values.flat_map(|value| Directives::new(value.as_bytes())) {
            let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
            if is("no-store") {
                control.no_store = true;
            } else if is("no-cache") {
                control.no_cache = true;
            } else if is("only-if-cached") {
                control.only_if_cached = true;
            } else if is("max-age") {
                control.max_age = seconds(value).or(control.max_age);
            } else if is("min-fresh") {
                control.min_fresh = seconds(value).or(control.min_fresh);
            } else if is("max-stale") {
                control.max_stale = if value.is_none() { Some(u64::MAX) } else { seconds(value).or(control.max_stale) };
            }
        }
        control
    }
}

fn least(slot: &mut Option<u64>, seconds: u64) {
    *slot = Some(slot.map_or(seconds, |known| known.min(seconds)));
}

/// Whole seconds, cut to what is told apart; `None` for anything else.
fn seconds(value: Option<&[u8]>) -> Option<u64> {
    let value = value.filter(|value| !value.is_empty() && value.iter().all(u8::is_ascii_digit))?;
    let number = std::str::from_utf8(value).ok()?.parse::<u64>().unwrap_or(u64::MAX);
    Some(number.min(MAX_SECONDS))
}

/// The Age of an answer, in seconds: the first member of the field, when it is a number (RFC 9111, section 5.1).
pub fn age(headers: &HeaderMap) -> u64 {
    let first = headers.get(header::AGE).map(HeaderValue::as_bytes).unwrap_or_default();
    let first = first.split(|&byte| byte == b',').next().unwrap_or_default().trim_ascii();
    seconds(Some(first)).unwrap_or(0)
}

/// One directive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Directive<'a> {
    /// As it was written, in any case.
    pub name: &'a [u8],
    /// What follows `=`, without quotes.
    pub value: Option<&'a [u8]>,
}

impl<'a> Directive<'a> {
    /// A directive of Surrogate-Control: `max-age=600+60;target`. One that is meant for another surrogate is none; what
    /// follows the plus is another way to say how long a stale answer serves, and is not read.
    fn of_surrogate(self) -> Self {
        let whole = self.value.unwrap_or(self.name);
        let mut parts = whole.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        let first = parts.next().unwrap_or_default();
        if parts.next().is_some_and(|target| !target.eq_ignore_ascii_case(b"sluicegate")) {
            return Self { name: b"", value: None };
        }
        match self.value {
            Some(_) => Self { name: self.name, value: first.split(|&byte| byte == b'+').next() },
            None => Self { name: first, value: None },
        }
    }
}

/// The directives of one field line.
pub struct Directives<'a> {
    rest: &'a [u8],
}

impl<'a> Directives<'a> {
    /// Of any bytes.
    pub fn new(value: &'a [u8]) -> Self {
        Self { rest: value }
    }

    /// Takes everything before the first of `ends`, and leaves it and what follows.
    fn until(&mut self, ends: &[u8]) -> &'a [u8] {
        let at = self.rest.iter().position(|byte| ends.contains(byte)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(at);
        self.rest = rest;
        taken
    }

    /// Takes a quoted text, whose first quote is gone; its quotes are left out, its escapes are not undone. `None`: it has no
    /// end.
    fn quoted(&mut self) -> Option<&'a [u8]> {
        let mut escaped = false;
        let end = self.rest.iter().position(|&byte| {
            let ends = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            ends
        });
        let (text, rest) = self.rest.split_at_checked(end?)?;
        self.rest = rest.get(1..).unwrap_or_default();
        Some(text)
    }
}

impl<'a> Iterator for Directives<'a> {
    type Item = Directive<'a>;

    fn next(&mut self) -> Option<Directive<'a>> {
        loop {
            while let Some((b',' | b' ' | b'\t', rest)) = self.rest.split_first() {
                self.rest = rest;
            }
            if self.rest.is_empty() {
                return None;
            }
            let name = self.until(b"=,");
            let value = match self.rest.split_first() {
                Some((b'=', rest)) => {
                    self.rest = rest;
                    Some(match self.rest.split_first() {
                        Some((b'"', rest)) => {
                            self.rest = rest;
                            let Some(text) = self.quoted() else {
                                // Nobody knows which directives it hides, so the most careful one is taken to be there.
                                self.rest = &[];
                                return Some(Directive { name: b"no-store", value: None });
                            };
                            // What stands between the quote and the comma belongs to nothing.
                            if self.until(b",").trim_ascii().is_empty() { text } else { b"" }
                        }
                        _ => self.until(b",").trim_ascii_end(),
                    })
                }
                _ => None,
            };
            // A blank before the sign makes the value no value.
            let value = if name.len() == name.trim_ascii().len() { value } else { value.map(|_| &b""[..]) };
            let name = name.trim_ascii();
            if !name.is_empty() {
                return Some(Directive { name, value });
            }
        }
    }
}

#[cfg(test)]
mod tests;
