//! The values of `ai`: providers, models, and how a request finds its way among them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::secret::Secret;

pub use prices::{
    FoundPrice, LongContext, OwnPrices, Price, PricePlace, PriceTable, Prices, Seller, Tiers, UnknownPrice, Vendor,
    snapshot_of,
};

mod prices;

/// What stands below an `ai` route, and below the address of a provider that speaks like OpenAI or Anthropic.
pub const DOORS: [&str; 14] = [
    "chat/completions",
    "completions",
    "embeddings",
    "rerank",
    "moderations",
    "responses",
    "messages",
    "messages/count_tokens",
    "images/generations",
    "images/edits",
    "images/variations",
    "audio/speech",
    "audio/transcriptions",
    "audio/translations",
];

/// Fields in which a client says how long an answer may be.
pub const BOUNDS: [&str; 3] = ["max_tokens", "max_completion_tokens", "max_output_tokens"];

/// The door that a path ends in, with or without a `/` behind it.
pub fn door_at_end(path: &str) -> Option<&'static str> {
    let path = path.strip_suffix('/').unwrap_or(path);
    DOORS
        .into_iter()
        .find(|door| path.strip_suffix(door).is_some_and(|before| before.is_empty() || before.ends_with('/')))
}

/// The most requests that one request may become.
pub const MAX_ATTEMPTS: u32 = 20;

/// The section `ai`.
#[derive(Debug, Clone)]
pub struct Ai {
    /// In the order of their names. Those that are switched off are among them, so that a model of theirs is told apart
    /// from one that nobody knows.
    pub providers: Vec<Arc<Provider>>,
    /// What clients may ask for, in the order of the file. Empty: every provider's models by name.
    pub models: Vec<Arc<Model>>,
    /// Tries in all for one request, over targets and keys, the first included; 1 to 20. Default 3.
    pub attempts: u32,
    /// Tokens that an answer is assumed to have at most where the request names no bound; 1 to 10 million. Default 4096.
    pub assumed_output: u32,
    /// Bytes of request bodies that are held at once, of all requests; 1 MiB to 1 TiB. Default 512 MiB.
    pub max_buffered: u64,
    /// How long a try may take.
    pub timeouts: AiTimeouts,
    /// When a target that fails is left alone. `None`: never.
    pub breaker: Option<Breaker>,
    /// For how long a key that its provider refused is set aside: for all models (401), or for one (403). Default 60 s.
    pub key_cooldown: Duration,
    /// What is held of a stream before its first content, so that an error in it can still fail over.
    pub hold: Hold,
    /// After how long without a byte a streaming client is sent a comment, and then again. Zero: never. Default 10 s.
    pub keepalive: Duration,
    /// Whether answers say which target gave them, and after how many tries. Default true.
    pub headers: bool,
    /// What models cost.
    pub prices: Prices,
}

impl Ai {
    /// Whether models may be asked for that `models` does not name: then those in the lists of providers have names, too.
    pub fn names_more_than_models(&self) -> bool {
        self.models.is_empty() || self.models.iter().any(|model| wildcard(&model.name).is_some())
    }

    /// The model of `models` that a client gets who asks for `name`: the one of that name, else the longest wildcard.
    pub fn model(&self, name: &str) -> Option<&Arc<Model>> {
        self.models.iter().find(|model| *model.name == *name).or_else(|| self.taken_by(name))
    }

    /// The longest wildcard that takes whatever begins with `start`.
    pub fn taken_by(&self, start: &str) -> Option<&Arc<Model>> {
        let takes = |model: &&Arc<Model>| wildcard(&model.name).is_some_and(|prefix| start.starts_with(prefix));
        self.models.iter().filter(takes).max_by_key(|model| model.name.len())
    }

    /// Whether `model` is what a client of a route with `target` may come to.
    pub fn is_asked(&self, model: &Model, target: &AiTarget) -> bool {
        let is_it = |found: Option<&Arc<Model>>| found.is_some_and(|found| found.name == model.name);
        let leads_to = |name: &Arc<str>| match wildcard(name) {
            Some(start) => model.name.starts_with(start) || is_it(self.taken_by(start)),
            None => is_it(self.model(name)),
        };
        target.models.is_empty() || target.models.iter().any(leads_to)
    }
}

/// What names begin with that are meant by `name`, when that is a wildcard: it ends in `*`.
pub fn wildcard(name: &str) -> Option<&str> {
    name.strip_suffix('*')
}

/// A provider of models.
#[derive(Debug, Clone)]
pub struct Provider {
    /// The key under `ai.providers`.
    pub name: Arc<str>,
    /// What it speaks, and how it is asked.
    pub kind: ProviderKind,
    /// Index into [`Config::pools`](super::Config::pools): a pool of the file, or one made of `base_url`. One that is
    /// switched off may have none, and then the index leads to none.
    pub pool: usize,
    /// The Host field; `None`: that of the member.
    pub host: Option<HeaderValue>,
    /// The path that its own paths are below, without a `/` at its end: `/v1`. May be empty.
    pub base_path: String,
    /// The credentials it is asked with. Empty where it asks for none.
    pub keys: Vec<ProviderKey>,
    /// Where the key goes.
    pub key_place: KeyPlace,
    /// Names of models that it is known to have: for `/models`, and to find it by a model's name where [`Ai::models`] names none.
    pub models: Vec<Arc<str>>,
    /// Fields that every request to it gets.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Dialects that it speaks beside that of its kind, such as `messages` of vLLM.
    pub speaks: Vec<Speech>,
    /// Fields of the request's top level that it does not get.
    pub strip_body_fields: Vec<String>,
    /// `false`: none of its keys is there, or it is switched off.
    pub enabled: bool,
    /// What of it is not there, for people, where that is why it is off.
    pub lacks: Option<&'static str>,
}

/// What a provider is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProviderKind {
    /// OpenAI.
    OpenAi,
    /// Anthropic. The version is sent where the client sends none. Default `2023-06-01`.
    Anthropic {
        /// `anthropic-version`.
        version: HeaderValue,
    },
    /// Azure OpenAI: the deployment stands in the path.
    AzureOpenAi {
        /// `api-version` of the query.
        api_version: String,
        /// From model to deployment; a model that is not here is its own deployment.
        deployments: Vec<(String, String)>,
    },
    /// Google Gemini.
    Gemini,
    /// Anything that speaks like OpenAI: vLLM, SGLang, Ollama, llama.cpp, GPUStack, Xinference, LocalAI, JAiRouter.
    OpenAiCompatible,
    /// Flow: signed tokens made of client credentials (rows C10 to C12); the client's own path is kept.
    Flow,
}

impl ProviderKind {
    /// Its word in the configuration.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic { .. } => "anthropic",
            Self::AzureOpenAi { .. } => "azure_openai",
            Self::Gemini => "gemini",
            Self::OpenAiCompatible => "openai_compatible",
            Self::Flow => "flow",
        }
    }
}

/// A way to speak that a provider may know beside its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speech {
    /// Anthropic's `/v1/messages`.
    Messages,
    /// OpenAI's `/v1/responses`.
    Responses,
}

/// A credential of a provider.
#[derive(Clone, PartialEq, Eq)]
pub struct ProviderKey {
    /// Its name in logs and metrics; never a part of the secret. Default `key-N`.
    pub name: Arc<str>,
    /// Its share of requests beside the others, 1 to 1000. Default 1.
    pub weight: u32,
    /// What is sent.
    pub secret: KeySecret,
}

impl fmt::Debug for ProviderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProviderKey").field("name", &self.name).field("weight", &self.weight).finish_non_exhaustive()
    }
}

/// What a key is made of.
#[derive(Clone, PartialEq, Eq)]
pub enum KeySecret {
    /// The key itself.
    Plain(Secret),
    /// Client credentials of Flow (rows C10 and C11): a token is made of them.
    Flow {
        /// `clientId`.
        client_id: String,
        /// `clientSecret`.
        client_secret: Secret,
        /// `tenant`.
        tenant: String,
    },
}

/// Where a key goes in a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyPlace {
    /// `Authorization: Bearer`.
    Bearer,
    /// A field of its own: `x-api-key` (Anthropic), `api-key` (Azure), `x-goog-api-key` (Gemini).
    Header(HeaderName),
}

/// A model as clients ask for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// The name that clients use; one that is a [`wildcard`] takes every other that begins like it.
    pub name: Arc<str>,
    /// Ranks in the order in which they are tried; targets of one rank share by weight, and are each other's
    /// fallback. No rank is empty.
    pub ranks: Vec<Vec<ModelTarget>>,
    /// What [`Ai::assumed_output`] is for this model.
    pub assumed_output: u32,
    /// Timeouts for this model.
    pub timeouts: AiTimeouts,
}

impl Model {
    /// What the provider of `target` calls what a client calls `asked`; `None`: nothing is left of the name.
    pub fn served(&self, target: &ModelTarget, asked: &str) -> Option<Arc<str>> {
        let Some(own) = &target.model else { return Some(asked.into()) };
        let (Some(start), Some(own_start)) = (wildcard(&self.name), wildcard(own)) else {
            return Some(Arc::clone(own));
        };
        let served = [own_start, asked.strip_prefix(start)?].concat();
        (!served.is_empty()).then(|| served.into())
    }

    /// The same where only one name can be meant, whatever clients ask for.
    pub fn only_served<'a>(&'a self, target: &'a ModelTarget) -> Option<&'a Arc<str>> {
        let name = target.model.as_ref().unwrap_or(&self.name);
        wildcard(name).is_none().then_some(name)
    }

    /// What a client has to ask for so that the provider of `target` is asked for `served`; `None`: nothing leads there.
    pub fn asked(&self, target: &ModelTarget, served: &str) -> Option<Arc<str>> {
        let name = target.model.as_ref().unwrap_or(&self.name);
        match (wildcard(&self.name), wildcard(name)) {
            (Some(start), Some(own_start)) => Some([start, served.strip_prefix(own_start)?].concat().into()),
            _ => (**name == *served).then(|| Arc::clone(&self.name)),
        }
    }
}

/// One way to serve a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelTarget {
    /// Index into [`Ai::providers`].
    pub provider: usize,
    /// What the provider calls it; `None`: what the client asked for. A `*` at its end stands for what the wildcard before it
    /// has matched.
    pub model: Option<Arc<str>>,
    /// Its share in its rank, 1 to 1000.
    pub weight: u32,
}

/// How long a try may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AiTimeouts {
    /// For the connection, TLS included. Default 5 s.
    pub connect: Duration,
    /// From the request's end to the first content of a stream (row B10). Default 30 s.
    pub first_token: Duration,
    /// Whether `first_token` holds where nobody else could take over. Only where it is written: giving up would help nobody, and
    /// a model that thinks may be silent for minutes.
    pub first_token_always: bool,
    /// Between two reads of the answer, and from the request's end to a whole answer's header block: a model writes all of
    /// it before that. Default [`Self::IDLE`] times `first_token` (row T07).
    pub idle: Duration,
    /// For all tries and the whole answer. Default 600 s.
    pub total: Duration,
    /// Whether `total` holds for a stream after its first content. Only where it is written: how long a stream goes on is up to
    /// the model (row T07).
    pub bounds_streams: bool,
}

impl AiTimeouts {
    /// How many times as long as the first content takes a pause may be, or a whole answer until it begins.
    pub const IDLE: u32 = 10;
}

impl Default for AiTimeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            first_token: Duration::from_secs(30),
            first_token_always: false,
            idle: Duration::from_secs(300),
            total: Duration::from_secs(600),
            bounds_streams: false,
        }
    }
}

/// When a target that fails is left alone (row B12).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Breaker {
    /// The share of failures that opens it, percent, 1 to 100. Default 50.
    pub error_percent: u32,
    /// Over which time. Default 10 s.
    pub window: Duration,
    /// Requests in the window below which it does not open. Default 10.
    pub min_requests: u32,
    /// For how long it stays open before one request may try. Default 30 s.
    pub reset: Duration,
}

/// What is held of a stream before its first content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold {
    /// Bytes. Default 64 KiB.
    pub bytes: usize,
    /// From its header block; then what is held goes out, and no other target can take over. Default: as long as the first
    /// content may take (`first_token`).
    pub time: Duration,
}

impl Default for Hold {
    fn default() -> Self {
        Self { bytes: 64 << 10, time: AiTimeouts::default().first_token }
    }
}

/// What the names of pools begin with that are made of a provider's `base_url`. No pool of the file can have such a name.
pub const MADE_POOL: &str = "ai:";

/// The name of the pool that the provider `name` brings.
pub fn made_pool(name: &str) -> String {
    format!("{MADE_POOL}{name}")
}

/// What an `ai` route does differently from others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AiTarget {
    /// Models that may be asked for here, wildcards among them; empty: all.
    pub models: Vec<Arc<str>>,
    /// Fields of the request's JSON that are taken out at its top level (row C23).
    pub strip_body_fields: Vec<String>,
    /// Whether a stream that runs over its budget is cut, with a proper last event. Default false.
    pub cut_over_budget: bool,
    /// Whether its cache keeps answers too that may differ each time: to requests with a temperature above 0 or with
    /// tools (T37). Default false.
    pub cache_nondeterministic: bool,
}

impl AiTarget {
    /// Whether clients may ask for this model here.
    pub fn allows(&self, model: &str) -> bool {
        let takes = |name: &Arc<str>| match wildcard(name) {
            Some(start) => model.starts_with(start),
            None => **name == *model,
        };
        self.models.is_empty() || self.models.iter().any(takes)
    }
}
