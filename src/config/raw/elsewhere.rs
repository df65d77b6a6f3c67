//! What keys are called in other products, and here.

/// What is here for a name of elsewhere.
enum Here {
    /// The key is called so here.
    Key(&'static str),
    /// It stands elsewhere, or is not there: what to do.
    Hint(&'static str),
}

/// A key that only maps of the kind in question have, the names of other products there, and what is here.
const NAMES: [(&str, &[&str], Here); 27] = [
    (PROVIDER, &["api_key", "apikey", "apiKey", "api_keys"], Here::Key("keys")),
    (
        PROVIDER,
        &["api_base", "apiBase", "base", "baseURL", "baseUrl", "endpoint", "azure_endpoint", "url"],
        Here::Key("base_url"),
    ),
    (
        PROVIDER,
        &["num_retries", "max_retries", "retries", "retry"],
        Here::Hint("how often targets are tried is `ai.attempts`"),
    ),
    (PROVIDER, &["drop_params", "additional_drop_params"], Here::Key("strip_body_fields")),
    (PROVIDER, &["fallbacks", "fallback"], FALLBACKS),
    (
        PROVIDER,
        &["rpm", "tpm", "rate_limit", "max_parallel_requests"],
        Here::Hint(
            "a provider has no such bound; `limits` bound what callers ask, with `key: model` all of them for a model",
        ),
    ),
    (
        PROVIDER,
        &["timeout", "timeouts", "request_timeout", "stream_timeout"],
        Here::Hint("timeouts stand in `ai.timeouts`, and with a model under `ai.models`"),
    ),
    (AI, &["num_retries", "max_retries", "retries", "retry"], Here::Key("attempts")),
    (AI, &["model_list", "deployments"], Here::Key("models")),
    (AI, &["fallbacks", "fallback"], FALLBACKS),
    (
        ROUTE,
        &["strip_prefix", "strip_path", "stripPrefix", "uri_strip_prefix"],
        Here::Hint("what stands before the rest of the path is changed by `rewrite: { prefix: / }`"),
    ),
    (ROUTE, &["proxy_pass", "reverse_proxy", "use_backend", "backend", "upstream", "service"], Here::Key("pool")),
    (ROUTE, &["rate_limit", "limit_req"], Here::Key("limits")),
    (
        FILE,
        &["model_list"],
        Here::Hint("models and their targets stand under `ai.models`, their providers under `ai.providers`"),
    ),
    (
        FILE,
        &["litellm_settings", "router_settings", "general_settings"],
        Here::Hint("such settings stand in `ai`, `limits`, `caches` and `auth`"),
    ),
    (FILE, &["upstreams", "backends", "backend", "upstream"], Here::Key("pools")),
    (
        FILE,
        &["frontend", "frontends", "http"],
        Here::Hint("`listen` says where clients come in, `routes` what of them goes where"),
    ),
    (POOL, &["servers", "server", "targets", "backends", "upstreams", "endpoints", "nodes"], Here::Key("members")),
    (POOL, &["lb_policy", "policy", "strategy", "algorithm"], Here::Key("balance")),
    (POOL, &["healthcheck", "health_checks", "check", "option_httpchk"], Here::Key("health_check")),
    (ROUTE, &["header", "set_header", "add_header"], Here::Key("headers")),
    (ROUTE, &["path_beg", "location", "handle", "prefix"], Here::Key("match")),
    (POOL, &["maxconn", "max_conns"], Here::Key("max_requests_per_member")),
    (
        LIMIT,
        &["rpm", "tpm", "max_budget", "budget_duration"],
        Here::Hint("requests are `rate: 100/m`, tokens `tokens: 10000/1m`, money `cost: 20.00/month`"),
    ),
    (
        PRICE,
        &["input_cost_per_token", "output_cost_per_token"],
        Here::Hint("prices are `input` and `output`, in dollars for a million tokens"),
    ),
    (CHECK, &["inter"], Here::Key("interval")),
    (CHECK, &["uri", "url", "endpoint"], Here::Key("path")),
];

const PROVIDER: &str = "key_header";
const AI: &str = "assumed_output";
const ROUTE: &str = "retry_non_idempotent";
const POOL: &str = "max_requests_per_member";
const FILE: &str = "security_headers";
const LIMIT: &str = "ipv6_prefix";
const PRICE: &str = "cache_write_1h";
const CHECK: &str = "expect_status";
const FALLBACKS: Here =
    Here::Hint("what is tried next stands in order under `ai.models`: { chat: [openai/gpt-5.4, azure/gpt-5.4] }");

/// What is said of `key` in a map with the keys `known`: what to do, and the key that was meant, when there is one.
pub(super) fn hint(key: &str, known: &[&str]) -> Option<(String, Option<&'static str>)> {
    let is_it = |(of, names, _): &&(&str, &[&str], Here)| known.contains(of) && names.contains(&key);
    let (.., here) = NAMES.iter().find(is_it)?;
    Some(match here {
        Here::Key(name) => (format!("this is called `{name}` here"), Some(name)),
        Here::Hint(hint) => ((*hint).to_owned(), None),
    })
}
