//! Errors of providers, in every shape that is known, understood.

use std::borrow::Cow;

use http::StatusCode;

use super::redact::redact;
use super::{Class, ProviderError};
use crate::ai::dialect::Dialect;
use crate::ai::json::{Fault, Kind, Reader, Text, whole};

/// What stands where in the error of a provider. The shapes differ, their words hardly do.
#[derive(Debug, Default)]
struct Found<'a> {
    /// There is a member by which errors are known.
    is_error: bool,
    code: Option<Cow<'a, str>>,
    kind: Option<Cow<'a, str>>,
    /// Gemini's `status` and the `reason` in its details; Azure's code within the code.
    status: Option<Cow<'a, str>>,
    reason: Option<Cow<'a, str>>,
    message: Option<Cow<'a, str>>,
}

/// Understands an error: an answer whose status says that it is one, or, with a status of success, what came inside one.
///
/// The provider's dialect does not matter: many a provider of one dialect has errors like another's, and so has what
/// stands before it.
pub fn read(_dialect: Dialect, status: StatusCode, body: &[u8]) -> ProviderError {
    let found = Found::anywhere(body).unwrap_or_default();
    understand(status, &found)
}

impl<'a> Found<'a> {
    /// What a whole body says, in whatever shape: `{"error":{...}}`, `{"error":"..."}`, `{"type":"error","error":{...}}`,
    /// `{"message":...}`, `{"detail":...}`, or a list with one of these.
    fn anywhere(body: &'a [u8]) -> Result<Self, Fault> {
        let mut reader = Reader::new(body);
        if reader.kind()? == Kind::Array {
            reader.array()?;
            if !reader.element()? {
                return Ok(Self::default());
            }
        }
        let mut found = Self::default();
        found.value(&mut reader)?;
        Ok(found)
    }

    /// Whether it is an error as a provider writes one. A page, or a message alone, comes from what stands before it.
    fn is_of_provider(&self) -> bool {
        let words = [&self.code, &self.kind, &self.status, &self.reason];
        self.is_error || words.into_iter().any(Option::is_some)
    }

    /// Takes in an error, which may be an object or a string, from where the reader stands.
    fn value(&mut self, reader: &mut Reader<'a>) -> Result<(), Fault> {
        match reader.kind()? {
            Kind::String => {
                let text = reader.string()?;
                self.message = text.str();
                Ok(())
            }
            Kind::Object => {
                reader.object()?;
                while let Some(key) = reader.key()? {
                    self.member(&key, reader)?;
                }
                Ok(())
            }
            _ => reader.skip(),
        }
    }

    /// Takes in one member of an error.
    fn member(&mut self, key: &Text<'_>, reader: &mut Reader<'a>) -> Result<(), Fault> {
        match &*key.bytes() {
            // What is deeper says it better than what is around it. `response` is that of `response.failed`.
            b"error" | b"response" => {
                self.is_error |= key.is(b"error") && reader.kind()? != Kind::Null;
                if reader.kind()? == Kind::Object || key.is(b"error") {
                    let mut inner = Self::default();
                    inner.value(reader)?;
                    self.prefer(inner);
                    return Ok(());
                }
                reader.skip()
            }
            b"errors" => {
                self.is_error = true;
                reader.skip()
            }
            // OpenRouter's, of a prompt that the model's moderation does not let in: the key is as good as before.
            b"metadata" if reader.kind()? == Kind::Object => {
                reader.object()?;
                while let Some(key) = reader.key()? {
                    if key.is(b"flagged_input") {
                        keep(&mut self.reason, Some("moderation_blocked".into()));
                    }
                    reader.skip()?;
                }
                Ok(())
            }
            b"innererror" => {
                let mut inner = Self::default();
                inner.value(reader)?;
                self.reason = self.reason.take().or(inner.code);
                Ok(())
            }
            b"code" | b"errorCode" | b"statusCode" => word(reader).map(|word| keep(&mut self.code, word)),
            b"type" => word(reader).map(|word| keep(&mut self.kind, word.filter(|word| word != "error"))),
            b"status" => word(reader).map(|word| keep(&mut self.status, word)),
            b"reason" => word(reader).map(|word| keep(&mut self.reason, word)),
            b"message" | b"detail" | b"msg" => match reader.kind()? {
                Kind::String => word(reader).map(|word| keep(&mut self.message, word)),
                // The lists of a validator: the first one is enough.
                Kind::Array => self.list(reader),
                _ => reader.skip(),
            },
            b"details" if reader.kind()? == Kind::Array => self.list(reader),
            _ => reader.skip(),
        }
    }

    fn list(&mut self, reader: &mut Reader<'a>) -> Result<(), Fault> {
        reader.array()?;
        while reader.element()? {
            let mut inner = Self::default();
            if reader.kind()? == Kind::Object {
                inner.value(reader)?;
            } else {
                reader.skip()?;
            }
            keep(&mut self.reason, inner.reason);
            keep(&mut self.message, inner.message);
        }
        Ok(())
    }

    fn prefer(&mut self, inner: Self) {
        for (outer, inner) in [
            (&mut self.code, inner.code),
            (&mut self.kind, inner.kind),
            (&mut self.status, inner.status),
            (&mut self.reason, inner.reason),
            (&mut self.message, inner.message),
        ] {
            if inner.is_some() {
                *outer = inner;
            }
        }
    }
}

/// The first one counts.
fn keep<'a>(place: &mut Option<Cow<'a, str>>, word: Option<Cow<'a, str>>) {
    if place.is_none() {
        *place = word;
    }
}

/// A string or a number.
fn word<'a>(reader: &mut Reader<'a>) -> Result<Option<Cow<'a, str>>, Fault> {
    match reader.kind()? {
        Kind::String => Ok(reader.string()?.str()),
        Kind::Number => Ok(std::str::from_utf8(reader.number()?).ok().map(Cow::Borrowed)),
        _ => reader.skip().map(|()| None),
    }
}

/// What it means.
fn understand(status: StatusCode, found: &Found<'_>) -> ProviderError {
    let words = [&found.reason, &found.code, &found.kind, &found.status];
    let mut named = words.into_iter().flatten().filter_map(|word| name(word));
    let specific = named.clone().find(|(class, _)| !is_vague(*class));
    // A number in the place of a code is a status.
    let number =
        words.into_iter().flatten().filter_map(|word| whole(word.as_bytes())).find(|code| (400..600).contains(code));
    let number = number.and_then(|code| u16::try_from(code).ok());
    let status = Some(status.as_u16()).filter(|status| *status >= 400).or(number);
    let by_status = status.map_or(Class::Unknown, class_of);
    let by_words = specific.or_else(|| named.next());
    let (mut class, mut code) = match by_words {
        Some((class, code)) if !is_vague(class) || is_vague(by_status) => (class, Some(code)),
        _ => (by_status, None),
    };
    if class == Class::Forbidden && !found.is_of_provider() {
        (class, code) = (Class::Blocked, None);
    }
    let message = found.message.as_deref().unwrap_or_default();
    if let Some((said, of)) = said(class, message) {
        (class, code) = (said, Some(of));
    }
    let code = code.filter(|code| !code.is_empty()).unwrap_or_else(|| default_code(class));
    let is_shown = class.is_callers() || matches!(class, Class::OverLimit | Class::Unsupported);
    let said = redact(message);
    ProviderError { class, message: said.clone().filter(|_| is_shown), said, code }
}

/// What a message says that has no word for it, and the code that a client gets, empty where the class has one. By its
/// beginning: further on, a message may repeat what the client wrote.
fn said(class: Class, message: &str) -> Option<(Class, &'static str)> {
    let begins = |words: &[&str]| words.iter().any(|words| message.starts_with(words));
    match class {
        // Anthropic's.
        Class::BadRequest if begins(&["Your credit balance is too low"]) => Some((Class::QuotaExhausted, "")),
        Class::BadRequest if begins(&["Output blocked by content filtering"]) => Some((Class::ContentFilter, "")),
        Class::BadRequest if begins(&TOO_LONG) => Some((class, "context_length_exceeded")),
        Class::NotFound if begins(&NO_MODEL) => Some((class, "model_not_found")),
        // OpenAI's, of a key that was made for some doors only; without `model.request` it may ask no model at any.
        Class::Auth | Class::Forbidden
            if begins(&["You have insufficient permissions for this operation. Missing scopes: "])
                && !message.contains("model.request") =>
        {
            Some((Class::OutOfScope, ""))
        }
        Class::Server if begins(&UNSUPPORTED) => Some((Class::Unsupported, "")),
        Class::RateLimited if never_fits(message) => Some((Class::OverLimit, "")),
        // OpenRouter's: what is left is enough for a shorter answer.
        Class::QuotaExhausted if affords(message).is_some_and(|tokens| tokens > 0) => Some((Class::OverLimit, "")),
        _ => None,
    }
}

/// Of a prompt that is longer than the model's context: Anthropic's, Gemini's, and that of those who speak like OpenAI.
const TOO_LONG: [&str; 5] = [
    "prompt is too long",
    "input length and `max_tokens` exceed context limit",
    "The input token count",
    "Unable to submit request because the input token count",
    "This model's maximum context length is",
];

/// Of a model that there is not: Anthropic's and Ollama's, Gemini's, Vertex', that of those who speak like OpenAI.
const NO_MODEL: [&str; 5] = ["model: ", "model '", "models/", "Publisher Model", "The model `"];

/// llama.cpp's, with status 500, of what its model or its options do not have.
const UNSUPPORTED: [&str; 4] = [
    "image input is not supported",
    "audio input is not supported",
    "tools param requires --jinja flag",
    "input is too large to process",
];

/// Whether a request by itself is more than a minute of the limit: `Request too large for gpt-4o ... on tokens per min (TPM):
/// Limit 30000, Requested 50000`, of OpenAI and Groq.
fn never_fits(message: &str) -> bool {
    let number = |text: &str| {
        let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
        text.get(..end).and_then(|digits| digits.parse::<u64>().ok())
    };
    let after = |word: &str| message.rsplit_once(word).and_then(|(_, rest)| number(rest));
    message.starts_with("Request too large")
        || after(": Limit ").zip(after(", Requested ")).is_some_and(|(limit, requested)| requested > limit)
}

/// How many tokens `... You requested up to 65536 tokens, but can only afford 1234` says there are.
fn affords(message: &str) -> Option<u64> {
    let (_, rest) = message.split_once("You requested up to ")?.1.split_once("can only afford ")?;
    let end = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
    rest.get(..end)?.parse().ok()
}

/// Said of all kinds of errors, so that a status may say more.
const fn is_vague(class: Class) -> bool {
    matches!(class, Class::BadRequest | Class::Server | Class::Unknown)
}

const fn class_of(status: u16) -> Class {
    match status {
        401 => Class::Auth,
        403 => Class::Forbidden,
        402 => Class::QuotaExhausted,
        404 | 410 => Class::NotFound,
        408 | 504 => Class::Timeout,
        413 => Class::TooLarge,
        429 => Class::RateLimited,
        503 | 529 => Class::Overloaded,
        400..=499 => Class::BadRequest,
        500..=599 => Class::Server,
        _ => Class::Unknown,
    }
}

const fn default_code(class: Class) -> &'static str {
    match class {
        Class::Auth | Class::Forbidden | Class::OutOfScope => "provider_auth",
        Class::RateLimited | Class::OverLimit => "rate_limit_exceeded",
        Class::QuotaExhausted => "insufficient_quota",
        Class::Overloaded => "overloaded",
        Class::Timeout => "timeout",
        Class::BadRequest | Class::Unsupported => "invalid_request",
        Class::NotFound => "not_found",
        Class::TooLarge => "request_too_large",
        Class::ContentFilter => "content_policy_violation",
        Class::Server => "server_error",
        Class::Blocked | Class::Unknown => "provider_error",
    }
}

/// What a word of a provider means, whatever its case and its `_`; and the code that a client gets, empty where the class
/// has one.
fn name(word: &str) -> Option<(Class, &'static str)> {
    let mut plain = [0; 40];
    let mut len = 0;
    for byte in word.bytes().filter(u8::is_ascii_alphanumeric) {
        *plain.get_mut(len)? = byte.to_ascii_lowercase();
        len += 1;
    }
    Some(match plain.get(..len)? {
        b"contextlengthexceeded" | b"exceedcontextsizeerror" => (Class::BadRequest, "context_length_exceeded"),
        b"modelnotfound" | b"deploymentnotfound" => (Class::NotFound, "model_not_found"),
        b"authenticationerror" | b"invalidapikey" | b"apikeyinvalid" | b"unauthenticated" | b"unauthorized" => {
            (Class::Auth, "")
        }
        b"permissionerror" | b"permissiondenied" | b"permissiondeniederror" | b"forbidden" | b"accessdenied" => {
            (Class::Forbidden, "")
        }
        b"accountdeactivated" | b"invalidauthentication" | b"authmissing" | b"apikeyexpired" => (Class::Auth, ""),
        b"insufficientquota" | b"billingerror" | b"billinghardlimitreached" | b"billingnotactive" => {
            (Class::QuotaExhausted, "")
        }
        b"quotaexceeded" | b"insufficientcredits" | b"paymentrequired" | b"creditbalanceexhausted" => {
            (Class::QuotaExhausted, "")
        }
        b"ratelimiterror" | b"ratelimitexceeded" | b"ratelimited" | b"toomanyrequests" => (Class::RateLimited, ""),
        b"requests" | b"tokens" | b"resourceexhausted" | b"throttling" | b"ratelimit" => (Class::RateLimited, ""),
        b"overloadederror" | b"overloaded" | b"serviceunavailable" | b"serviceunavailableerror" => {
            (Class::Overloaded, "")
        }
        b"unavailable" | b"engineoverloaded" | b"serveroverloaded" | b"circuitbreakeropen" => (Class::Overloaded, ""),
        b"noavailableproviders" | b"slowdown" | b"nocapacity" => (Class::Overloaded, ""),
        b"timeouterror" | b"timeout" | b"deadlineexceeded" | b"requesttimeout" => (Class::Timeout, ""),
        b"notfounderror" | b"notfound" => (Class::NotFound, ""),
        b"requesttoolarge" | b"payloadtoolarge" | b"requestentitytoolarge" => (Class::TooLarge, ""),
        // Azure's clients know its own word.
        b"contentfilter" | b"responsibleaipolicyviolation" => (Class::ContentFilter, "content_filter"),
        b"contentpolicyviolation" => (Class::ContentFilter, ""),
        b"imagecontentpolicyviolation" => (Class::ContentFilter, "image_content_policy_violation"),
        b"biopolicy" => (Class::ContentFilter, "bio_policy"),
        // Of pictures that OpenAI cannot take or fetch.
        b"invalidimage" => (Class::BadRequest, "invalid_image"),
        b"invalidimageformat" => (Class::BadRequest, "invalid_image_format"),
        b"invalidimagemode" => (Class::BadRequest, "invalid_image_mode"),
        b"invalidimageurl" => (Class::BadRequest, "invalid_image_url"),
        b"invalidbase64image" => (Class::BadRequest, "invalid_base64_image"),
        b"imagetoolarge" => (Class::BadRequest, "image_too_large"),
        b"imagetoosmall" => (Class::BadRequest, "image_too_small"),
        b"imageparseerror" => (Class::BadRequest, "image_parse_error"),
        b"imagefiletoolarge" => (Class::BadRequest, "image_file_too_large"),
        b"imagefilenotfound" => (Class::BadRequest, "image_file_not_found"),
        b"emptyimagefile" => (Class::BadRequest, "empty_image_file"),
        b"unsupportedimagemediatype" => (Class::BadRequest, "unsupported_image_media_type"),
        b"failedtodownloadimage" => (Class::BadRequest, "failed_to_download_image"),
        b"moderationblocked" | b"safety" | b"prohibitedcontent" => (Class::ContentFilter, ""),
        b"invalidrequesterror" | b"invalidrequest" | b"badrequest" | b"badrequesterror" => (Class::BadRequest, ""),
        b"invalidargument" | b"failedprecondition" | b"outofrange" | b"validationerror" => (Class::BadRequest, ""),
        // llama.cpp's, of a door that it was started without.
        b"notsupportederror" | b"notimplemented" | b"notimplementederror" => (Class::BadRequest, ""),
        b"invalidprompt" | b"invalidvalue" | b"unsupportedparameter" | b"unsupportedvalue" => (Class::BadRequest, ""),
        b"servererror" | b"apierror" | b"internalservererror" | b"internalerror" | b"internal" => (Class::Server, ""),
        b"vectorstoretimeout" | b"aborted" | b"upstreamerror" => (Class::Server, ""),
        _ => return None,
    })
}
