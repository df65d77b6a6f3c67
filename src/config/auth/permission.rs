//! Permissions: what a caller was given, and what a route asks for.
//!
//! Given is one of (rows A3.02, A5.05):
//! - `*` or `admin`: everything;
//! - `read`, `write`, `delete`: this verb of every service, and where a route names no permission the methods GET, HEAD
//!   and OPTIONS; POST, PUT and PATCH; DELETE;
//! - `service:verb`, `service:*`, `*:verb`: where a route names a permission.
//!
//! A route asks for one `service:verb`, for `read`, `write` or `delete`, for `admin`, or for nothing. Where it asks for nothing,
//! the method decides for a caller that has one of the flat words; one that has only `service:verb`, or of whom nobody
//! says anything, is let in: what it may do is then the member's to say. Who was given an empty list, or nothing that is
//! known here, may do nothing.
//!
//! Case counts. No word is longer than 64 bytes a part.

use std::borrow::Cow;
use std::fmt;

use http::Method;

/// The services of the doors of `ai` routes (row F03). Routes and members may have others.
pub const SERVICES: [&str; 8] = ["chat", "embedding", "rerank", "moderation", "imgGen", "imgEdit", "tts", "stt"];

/// The longest service or verb, in bytes.
const MOST_PART: usize = 64;

/// What a caller may do. The default may do nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Permissions {
    all: bool,
    /// Nobody said what it may do: it is let in where a route names no permission.
    unstated: bool,
    /// Bits of [`Flat`].
    flat: u8,
    named: Vec<Named>,
}

/// What a route asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Permission {
    /// `admin`: everything.
    Admin,
    /// `read`, `write` or `delete` of anything.
    Flat(Flat),
    /// `chat:write`.
    Named {
        /// Before the colon.
        service: Box<str>,
        /// After it.
        verb: Box<str>,
    },
}

/// A permission without a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flat {
    /// `read`.
    Read,
    /// `write`.
    Write,
    /// `delete`.
    Delete,
}

/// A given `service:verb`; `None` is `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Named {
    service: Option<Box<str>>,
    verb: Option<Box<str>>,
}

/// A text that is no permission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotAPermission;

impl fmt::Display for NotAPermission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a permission")
    }
}

impl std::error::Error for NotAPermission {}

impl Permissions {
    /// All of `words` together.
    ///
    /// # Errors
    /// When one of them is no permission.
    pub fn parse<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self, NotAPermission> {
        let mut permissions = Self::default();
        for word in words {
            permissions.add(word)?;
        }
        Ok(permissions)
    }

    /// Those of a caller of whom nobody says what it may do: a token without such a claim.
    pub fn unstated() -> Self {
        Self { unstated: true, ..Self::default() }
    }

    /// Adds what `word` gives.
    ///
    /// # Errors
    /// When it is no permission; nothing is added then.
    pub fn add(&mut self, word: &str) -> Result<(), NotAPermission> {
        match word {
            "*" | "*:*" | "admin" => self.all = true,
            _ => match Flat::parse(word) {
                Some(flat) => self.flat |= flat.bit(),
                None => {
                    let (service, verb) = word.split_once(':').ok_or(NotAPermission)?;
                    self.named.push(Named { service: pattern(service)?, verb: pattern(verb)? });
                }
            },
        }
        Ok(())
    }

    /// Whether `needed` is among them.
    pub fn allows(&self, needed: &Permission) -> bool {
        let named = |service: Option<&str>, verb: &str| self.named.iter().any(|named| named.gives(service, verb));
        self.all
            || match needed {
                Permission::Admin => false,
                Permission::Flat(flat) => self.has(*flat) || named(None, flat.as_str()),
                Permission::Named { service, verb } => {
                    Flat::parse(verb).is_some_and(|flat| self.has(flat)) || named(Some(service), verb)
                }
            }
    }

    /// Whether `method` may be used where a route names no permission.
    pub fn allows_method(&self, method: &Method) -> bool {
        let services_only = self.flat == 0 && !self.named.is_empty();
        self.all || self.unstated || services_only || Flat::of(method).is_some_and(|flat| self.has(flat))
    }

    /// Whether the door of a service may be used by `method`, where a route names no permission: `read` of a service is
    /// to use it (row A5.05), and so is any other verb of it but `delete`.
    pub fn allows_service(&self, service: &str, method: &Method) -> bool {
        let named = |named: &Named| named.is_of(service) && named.verb.as_deref() != Some("delete");
        let flat = Flat::of(method).is_some_and(|flat| self.has(flat));
        self.all || self.unstated || flat || self.named.iter().any(named)
    }

    const fn has(&self, flat: Flat) -> bool {
        self.flat & flat.bit() != 0
    }
}

impl Permission {
    /// What a route asks for.
    ///
    /// # Errors
    /// When `word` is no permission, or leaves open which (`*`).
    pub fn parse(word: &str) -> Result<Self, NotAPermission> {
        if word == "admin" {
            return Ok(Self::Admin);
        }
        if let Some(flat) = Flat::parse(word) {
            return Ok(Self::Flat(flat));
        }
        let (service, verb) = word.split_once(':').ok_or(NotAPermission)?;
        let part = |text| pattern(text)?.ok_or(NotAPermission);
        Ok(Self::Named { service: part(service)?, verb: part(verb)? })
    }

    /// As it is written.
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Admin => "admin".into(),
            Self::Flat(flat) => flat.as_str().into(),
            Self::Named { service, verb } => format!("{service}:{verb}").into(),
        }
    }

    /// A text that lets `method` be used at the door of `service`, or wherever a route names none; see
    /// [`Permissions::allows_service`] and [`Permissions::allows_method`].
    pub fn text_of(method: &Method, service: Option<&str>) -> Cow<'static, str> {
        match service {
            Some(service) => format!("{service}:*").into(),
            None => Flat::of(method).map_or("*", Flat::as_str).into(),
        }
    }
}

impl Flat {
    fn parse(word: &str) -> Option<Self> {
        [Self::Read, Self::Write, Self::Delete].into_iter().find(|flat| flat.as_str() == word)
    }

    /// What `method` needs; `None`: no word gives it.
    fn of(method: &Method) -> Option<Self> {
        match *method {
            Method::GET | Method::HEAD | Method::OPTIONS => Some(Self::Read),
            Method::POST | Method::PUT | Method::PATCH => Some(Self::Write),
            Method::DELETE => Some(Self::Delete),
            _ => None,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Delete => "delete",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl Named {
    fn is_of(&self, service: &str) -> bool {
        self.service.as_deref().is_none_or(|given| given == service)
    }

    /// `service` is `None` where any one is asked for: only a grant over all of them is enough.
    fn gives(&self, service: Option<&str>, verb: &str) -> bool {
        let right_verb = self.verb.as_deref().is_none_or(|given| given == verb);
        right_verb && self.service.as_deref().is_none_or(|given| Some(given) == service)
    }
}

/// A service or a verb; `None` for `*`.
fn pattern(text: &str) -> Result<Option<Box<str>>, NotAPermission> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    match text {
        "*" => Ok(None),
        _ if (1..=MOST_PART).contains(&text.len()) && text.chars().all(fits) => Ok(Some(text.into())),
        _ => Err(NotAPermission),
    }
}

#[cfg(test)]
mod tests;
