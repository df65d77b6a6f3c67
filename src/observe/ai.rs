//! What is told of a request to the AI gateway, in the access log and in the metrics. The words are stable.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

/// Tries that are told one by one; beyond, they are only counted.
pub const MOST_TRIES: usize = 24;

/// What was asked for: the door that the request came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// OpenAI's `chat/completions`.
    Chat,
    /// OpenAI's `completions`.
    Completions,
    /// OpenAI's `responses`.
    Responses,
    /// Anthropic's `messages`.
    Messages,
    /// Anthropic's `messages/count_tokens`.
    CountTokens,
    /// `embeddings`.
    Embeddings,
    /// `rerank`.
    Rerank,
    /// `images/*`.
    Images,
    /// `audio/*`.
    Audio,
    /// `models`.
    Models,
    /// Any other.
    Other,
}

impl Operation {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 11] = [
        Self::Chat,
        Self::Completions,
        Self::Responses,
        Self::Messages,
        Self::CountTokens,
        Self::Embeddings,
        Self::Rerank,
        Self::Images,
        Self::Audio,
        Self::Models,
        Self::Other,
    ];

    /// The stable word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Completions => "completions",
            Self::Responses => "responses",
            Self::Messages => "messages",
            Self::CountTokens => "count_tokens",
            Self::Embeddings => "embeddings",
            Self::Rerank => "rerank",
            Self::Images => "images",
            Self::Audio => "audio",
            Self::Models => "models",
            Self::Other => "other",
        }
    }

    /// The word of OpenTelemetry's conventions (`gen_ai.operation.name`), where they have one.
    pub const fn gen_ai_name(self) -> &'static str {
        match self {
            Self::Chat | Self::Responses | Self::Messages => "chat",
            Self::Completions => "text_completion",
            _ => self.as_str(),
        }
    }
}

/// How one try at a target ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TryOutcome {
    /// Its answer is the one the client got.
    Answered,
    /// No connection was made.
    ConnectFailure,
    /// The connection broke before an answer.
    Reset,
    /// The whole answer, or its header block, did not come in time.
    Timeout,
    /// A stream had no content in time.
    FirstTokenTimeout,
    /// It answered with a status from 400 to 499 that has no word of its own.
    Status4xx,
    /// It refused the key: 401, 403.
    KeyRefused,
    /// What the key may use is used up: 402, or an error that says so.
    KeySpent,
    /// It wants to be left alone: 429.
    Status429,
    /// It answered with a status of 500 or more.
    Status5xx,
    /// It said that it is overloaded: 529, or an error of that kind.
    Overloaded,
    /// A stream brought an error.
    StreamError,
    /// A stream or an answer ended before its end.
    Truncated,
    /// What came was not to be understood.
    Invalid,
    /// It was not asked: its breaker is open.
    BreakerOpen,
    /// It was not asked: it has no key that may be used.
    KeyOut,
    /// It was not asked: its pool has no member.
    NoMember,
    /// It was not asked: its provider has no words for the request.
    Unsupported,
    /// The client left first.
    Cancelled,
}

impl TryOutcome {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 19] = [
        Self::Answered,
        Self::ConnectFailure,
        Self::Reset,
        Self::Timeout,
        Self::FirstTokenTimeout,
        Self::Status4xx,
        Self::KeyRefused,
        Self::KeySpent,
        Self::Status429,
        Self::Status5xx,
        Self::Overloaded,
        Self::StreamError,
        Self::Truncated,
        Self::Invalid,
        Self::BreakerOpen,
        Self::KeyOut,
        Self::NoMember,
        Self::Unsupported,
        Self::Cancelled,
    ];

    /// The stable word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::ConnectFailure => "connect_failure",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
            Self::FirstTokenTimeout => "first_token_timeout",
            Self::Status4xx => "status_4xx",
            Self::KeyRefused => "key_refused",
            Self::KeySpent => "key_spent",
            Self::Status429 => "status_429",
            Self::Status5xx => "status_5xx",
            Self::Overloaded => "overloaded",
            Self::StreamError => "stream_error",
            Self::Truncated => "truncated",
            Self::Invalid => "invalid",
            Self::BreakerOpen => "breaker_open",
            Self::KeyOut => "key_out",
            Self::NoMember => "no_member",
            Self::Unsupported => "unsupported",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether the target was passed over, and its provider not asked.
    pub const fn is_passed_over(self) -> bool {
        matches!(self, Self::BreakerOpen | Self::KeyOut | Self::NoMember | Self::Unsupported)
    }
}

/// How a request ended, for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// A provider's whole answer was passed on, whatever its status.
    Answered,
    /// It was answered without asking a provider: from a cache, or of what is configured.
    Local,
    /// It was refused before a target was looked for.
    Refused,
    /// No target gave an answer.
    Failed,
    /// A stream broke after a part of it had gone out.
    Broken,
    /// The client left first.
    Cancelled,
}

impl Outcome {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 6] =
        [Self::Answered, Self::Local, Self::Refused, Self::Failed, Self::Broken, Self::Cancelled];

    /// The stable word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Local => "local",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Broken => "broken",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A part of what the gateway itself does for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Its body is read.
    Read,
    /// It is understood.
    Parse,
    /// Its limits are asked.
    Limit,
    /// A target is chosen.
    Choose,
    /// A connection is made.
    Connect,
    /// One dialect becomes another.
    Translate,
}

impl Phase {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 6] = [Self::Read, Self::Parse, Self::Limit, Self::Choose, Self::Connect, Self::Translate];

    /// The stable word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Parse => "parse",
            Self::Limit => "limit",
            Self::Choose => "choose",
            Self::Connect => "connect",
            Self::Translate => "translate",
        }
    }
}

/// Tokens of one answer. Those of the provider's cache are within `input`, those of thinking within `output`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tokens {
    /// All tokens of the prompt.
    pub input: u64,
    /// All tokens of the answer.
    pub output: u64,
    /// Of the prompt, read from the provider's cache.
    pub cache_read: u64,
    /// Of the prompt, written to the provider's cache.
    pub cache_write: u64,
    /// Of the answer, for thinking.
    pub reasoning: u64,
}

impl Tokens {
    /// The words of the kinds, in the order of [`Self::counts`].
    pub const KINDS: [&'static str; 5] = ["input", "output", "cache_read", "cache_write", "reasoning"];

    /// How many of each kind.
    pub const fn counts(&self) -> [u64; 5] {
        [self.input, self.output, self.cache_read, self.cache_write, self.reasoning]
    }
}

/// One try at a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Try {
    /// The provider's name.
    pub provider: Arc<str>,
    /// The name of the key, where one was used.
    pub key: Option<Arc<str>>,
    /// How it ended.
    pub outcome: TryOutcome,
    /// What the provider calls the request, where it says so: its support asks for it.
    pub request_id: Option<HeaderValue>,
}

/// What the access log says of one request to the AI gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AiRecord {
    /// The door.
    pub operation: Operation,
    /// The model that the client asked for; empty when it named none.
    pub model: String,
    /// What the provider calls the model that it was asked for.
    pub served: Option<Arc<str>>,
    /// The provider that answered, or was asked last.
    pub provider: Option<Arc<str>>,
    /// The name of its key.
    pub key: Option<Arc<str>>,
    /// Whether the client asked for a stream.
    pub stream: bool,
    /// The tokens used.
    pub tokens: Option<Tokens>,
    /// Whether they were counted here, because the provider did not say.
    pub estimated: bool,
    /// What they cost, in millionths of a dollar.
    pub cost: Option<u64>,
    /// From the request's header block to the first content that came from the provider.
    pub first_token: Option<Duration>,
    /// Whether a stream broke after a part of it had gone out.
    pub broken: bool,
    tries: Vec<Try>,
    untold: u32,
}

impl AiRecord {
    /// A request that came to a door, and nothing more yet.
    pub fn new(operation: Operation) -> Self {
        Self {
            operation,
            model: String::new(),
            served: None,
            provider: None,
            key: None,
            stream: false,
            tokens: None,
            estimated: false,
            cost: None,
            first_token: None,
            broken: false,
            tries: Vec::new(),
            untold: 0,
        }
    }

    /// Adds a try. Beyond [`MOST_TRIES`] it is only counted.
    pub fn tried(&mut self, one: Try) {
        if self.tries.len() < MOST_TRIES {
            self.tries.push(one);
        } else {
            self.untold = self.untold.saturating_add(1);
        }
    }

    /// The tries, in their order.
    pub fn tries(&self) -> &[Try] {
        &self.tries
    }

    /// Tries beyond these.
    pub fn untold(&self) -> u32 {
        self.untold
    }
}
