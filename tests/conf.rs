//! Every file under conf/ loads, so that what is shown works; the default one documents every key and runs anywhere.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sluicegate::cli::check;
use sluicegate::config::ai::{AiTimeouts, ModelTarget};
use sluicegate::config::language;
use sluicegate::config::{Environment, Loaded, Overrides, Severity, Target, parse};

/// Credentials of Flow, as people write them.
const SECRETS: &str = "[ // two
  { name: 'blue', clientId: '1c5e', clientSecret: '8d0a7f2b49', tenant: 'acme', },
  { \"name\": \"red\", \"clientId\": \"36a8\", \"clientSecret\": \"e1c7d05b9f\", \"tenant\": \"acme\", \"agent\": \"chat\" },
]\n";

fn conf() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conf")
}

fn read(name: &str) -> String {
    fs::read_to_string(conf().join(name)).unwrap()
}

/// A directory with a certificate and key under every name that conf/ uses, and a credential.
fn scratch() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["jairouter.example.com".to_owned()]).unwrap();
    let (cert, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    for (name, text) in [
        ("jairouter.crt", cert.clone()),
        ("site.crt", cert.clone()),
        ("ca.pem", cert.clone()),
        ("jairouter.key", key.clone()),
        ("site.key", key.clone()),
        ("other.pem", format!("{cert}{key}")),
        ("admin-token", "0f4c2ad9e1b7\n".to_owned()),
        ("jwt-secret", "2f6b1d0c9e8a7f6453b2c1d0e9f8a7b6\n".to_owned()),
        ("revoked.txt", "a-token-of-a-lost-laptop\n".to_owned()),
        ("api-keys.yaml", read("examples/api-keys.yaml")),
        ("secrets.json", SECRETS.to_owned()),
    ] {
        let file = directory.path().join(name);
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
    }
    directory
}

/// `text` with its files in `scratch`, and the environment it needs.
fn in_scratch(text: &str, scratch: &str) -> (String, Environment) {
    let text = text
        .replace("/etc/sluicegate/tls", scratch)
        .replace("/etc/sluicegate/api-keys", &format!("{scratch}/api-keys"))
        .replace("/tmp/sluicegate/api-keys", &format!("{scratch}/api-keys"))
        .replace("/etc/sluicegate/secrets", &format!("{scratch}/secrets"))
        .replace("/etc/sluicegate/revoked", &format!("{scratch}/revoked"));
    let secret = "5c1e8d0a7f2b4936a8e1c7d05b9f3e62";
    let environment = Environment::of([
        ("CREDENTIALS_DIRECTORY", scratch),
        ("PROD_JWT_SECRET", secret),
        ("GATEWAY_API_KEY", "0c7d05b9f3e625c1e8d0a7f2b4936a8e"),
        ("OPENAI_API_KEY", "sk-proj-7f2b4936a8e1"),
        ("OPENAI_API_KEY_2", "sk-proj-c7d05b9f3e62"),
        ("ANTHROPIC_API_KEY", "sk-ant-api03-5c1e8d0a7f2b"),
        ("AZURE_OPENAI_API_KEY", "b9f3e625c1e8d0a7f2b4"),
        ("AZURE_OPENAI_ENDPOINT", "https://example.openai.azure.com/"),
    ]);
    (text, environment)
}

/// Loads `text` with its certificates and credentials in `scratch`.
fn load(name: &str, text: &str, scratch: &Path) -> Loaded {
    let (text, environment) = in_scratch(text, scratch.to_str().unwrap());
    parse(name, &text, &Overrides::default(), &environment).unwrap_or_else(|errors| panic!("{errors}"))
}

/// Every YAML file below `directory`.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            found.push(path);
        }
    }
    found
}

#[test]
fn every_file_loads_without_a_warning() {
    let scratch = scratch();
    let files = files(&conf());
    assert!(files.len() >= 3, "{files:?}");
    // A key file is no configuration; the examples that name it load it.
    for file in files.iter().filter(|file| !file.ends_with("api-keys.yaml")) {
        let name = file.display().to_string();
        let loaded = load(&name, &fs::read_to_string(file).unwrap(), scratch.path());
        let warned: Vec<&str> = loaded.warnings.iter().map(|problem| problem.key.as_str()).collect();
        // What is kept short there: a key that never expires, and a provider that is there to show how it is written.
        let expected: &[&str] =
            if file.ends_with("ai.yaml") { &["auth.api_keys.keys", "ai.providers.flow"] } else { &[] };
        assert_eq!(warned, expected, "{name}: {:?}", loaded.warnings);
    }
}

#[test]
fn the_example_of_models_does_what_it_says() {
    let scratch = scratch();
    let config = load("ai.yaml", &read("examples/ai.yaml"), scratch.path()).config;
    let pools: Vec<&str> = config.pools.iter().map(|pool| &*pool.name).collect();
    assert_eq!(pools, ["vllm", "ai:anthropic", "ai:azure", "ai:flow", "ai:openai"]);
    let ai = config.ai.as_ref().unwrap();
    let name = |index: usize| &*ai.providers[index].name;
    let target = |target: &ModelTarget| {
        let model = target.model.as_ref().map(ToString::to_string);
        (name(target.provider), model, target.weight)
    };
    let models = ai.models.iter().map(|model| {
        let rank = |rank: &Vec<ModelTarget>| rank.iter().map(target).collect::<Vec<_>>();
        (&*model.name, model.ranks.iter().map(rank).collect::<Vec<_>>())
    });
    let models: Vec<_> = models.collect();
    assert_eq!(
        models,
        [
            ("gpt-6-luna", vec![vec![("openai", None, 9), ("azure", None, 1)]]),
            (
                "gpt-6-sol",
                vec![vec![("openai", None, 1)], vec![("anthropic", Some("claude-sonnet-5-5".to_owned()), 1)]]
            ),
            ("llama-3", vec![vec![("gpus", Some("meta-llama/Llama-3-70b".to_owned()), 1)]]),
        ]
    );
    let flow = ai.providers.iter().find(|provider| &*provider.name == "flow").unwrap();
    assert_eq!((flow.keys.len(), flow.base_path.as_str()), (2, "/flow-llm-proxy"));
    assert!(ai.providers.iter().all(|provider| provider.enabled));
    for route in &config.routes {
        assert!(matches!(route.target, Target::Ai(_)) && route.limits.len() == 4 && route.cache.is_some());
    }
}

#[test]
fn the_example_of_models_starts_with_one_key_alone() {
    let scratch = scratch();
    let (text, _) = in_scratch(&read("examples/ai.yaml"), scratch.path().to_str().unwrap());
    let environment =
        Environment::of([("GATEWAY_API_KEY", "0c7d05b9f3e625c1e8d0a7f2b4936a8e"), ("OPENAI_API_KEY", "sk-1234")]);
    let loaded =
        parse("ai.yaml", &text, &Overrides::default(), &environment).unwrap_or_else(|errors| panic!("{errors}"));
    let ai = loaded.config.ai.unwrap();
    let on: Vec<&str> =
        ai.providers.iter().filter(|provider| provider.enabled).map(|provider| &*provider.name).collect();
    assert_eq!(on, ["flow", "gpus", "openai"]);
    let told = loaded.warnings.iter().filter(|problem| problem.message.ends_with("this provider is switched off"));
    assert_eq!(told.count(), 2, "{:?}", loaded.warnings);
}

#[test]
fn what_the_default_file_shows_commented_out_loads_too() {
    let loaded = load("sluicegate.yaml", &language::everything(), scratch().path());
    assert_eq!(loaded.warnings, []);
    let pools: Vec<&str> = loaded.config.pools.iter().map(|pool| &*pool.name).collect();
    assert_eq!(pools, ["app", "ai:azure", "ai:claude", "ai:flow", "ai:openai"]);
    assert_eq!(loaded.config.routes.len(), 5);
    assert_eq!(loaded.config.listeners.len(), 2);
    assert!(loaded.config.log.access.is_some());
}

#[test]
fn what_the_default_file_calls_a_default_is_one() {
    // With every pool key written out, the pool is what it is with none of them but the members and what has no default.
    let scratch = scratch();
    let written = load("sluicegate.yaml", &language::everything(), scratch.path()).config;
    let bare = "listen: 127.0.0.1:1\nroutes: { pool: app }\npools: { app: { members: 10.0.0.1:1, health_check: tcp, outlier: {} } }\n";
    let bare = load("bare", bare, scratch.path()).config;
    let (written_pool, bare_pool) = (&written.pools[0], &bare.pools[0]);
    assert_eq!(written_pool.balance, bare_pool.balance);
    assert_eq!(written_pool.timeouts, bare_pool.timeouts);
    assert_eq!(written_pool.retry, bare_pool.retry);
    assert_eq!(written_pool.outlier, bare_pool.outlier);
    assert_eq!(written_pool.slow_start, bare_pool.slow_start);
    assert_eq!(written_pool.tls, bare_pool.tls);
    assert_eq!(written_pool.http2, bare_pool.http2);
    assert_eq!(written_pool.resolve_interval, bare_pool.resolve_interval);
    let (written_check, bare_check) =
        (written_pool.health_check.clone().unwrap(), bare_pool.health_check.clone().unwrap());
    assert_eq!((written_check.interval, written_check.timeout), (bare_check.interval, bare_check.timeout));
    assert_eq!((written_check.fall, written_check.rise), (bare_check.fall, bare_check.rise));
    assert_eq!(written_check.jitter_percent, bare_check.jitter_percent);
    assert_eq!(written.server.timeouts, bare.server.timeouts);
    assert_eq!(written.server.max_body, bare.server.max_body);
    assert_eq!(written.server.max_header, bare.server.max_header);
    assert_eq!(written.server.max_connections, bare.server.max_connections);
    assert_eq!(written.server.upstream_keepalive, bare.server.upstream_keepalive);
    assert_eq!(written.server.busy_polling, bare.server.busy_polling);
    assert_eq!(written.server.security_headers, bare.server.security_headers);
    assert_eq!(written.log.level, bare.log.level);
    assert_eq!(written.log.format, bare.log.format);
}

#[test]
fn what_the_default_file_calls_a_default_of_ai_is_one() {
    let scratch = scratch();
    let written = load("sluicegate.yaml", &language::everything(), scratch.path()).config.ai.unwrap();
    let bare = "\
listen: 127.0.0.1:1
ai: { providers: { claude: { kind: anthropic, keys: x1y2z3 }, openai: { kind: openai, keys: x1y2z3 } } }
";
    let bare = load("bare", bare, scratch.path()).config.ai.unwrap();
    assert_eq!(written.attempts, bare.attempts);
    assert_eq!(written.assumed_output, bare.assumed_output);
    // What is written holds for all streams.
    assert_eq!(written.timeouts, AiTimeouts { first_token_always: true, bounds_streams: true, ..bare.timeouts });
    assert_eq!(written.breaker, bare.breaker);
    assert_eq!(written.key_cooldown, bare.key_cooldown);
    assert_eq!(written.hold, bare.hold);
    assert_eq!(written.keepalive, bare.keepalive);
    assert_eq!(written.headers, bare.headers);
    assert_eq!(written.prices.unknown, bare.prices.unknown);
    let provider = |ai: &sluicegate::config::ai::Ai, name: &str| {
        let found = ai.providers.iter().find(|provider| &*provider.name == name).unwrap();
        (found.kind.clone(), found.host.clone(), found.base_path.clone(), found.key_place.clone(), found.enabled)
    };
    for name in ["claude", "openai"] {
        assert_eq!(provider(&written, name), provider(&bare, name));
    }
}

#[test]
fn the_default_file_names_every_key_of_the_language() {
    let text = language::everything();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config");
    let parts = fs::read_dir(source.join("raw")).unwrap().map(|entry| entry.unwrap().path());
    let raw = parts.chain([source.join("raw.rs")]).map(|path| fs::read_to_string(path).unwrap());
    let raw = raw.collect::<Vec<_>>().join("\n");
    let fields = raw.lines().filter_map(|line| {
        let line = line.trim();
        line.strip_prefix("pub(super) ").or_else(|| line.strip_prefix("pub(in crate::config) "))?.split_once(": ")
    });
    let keys: Vec<&str> = fields
        .map(|(key, _)| key.trim_start_matches("r#"))
        .filter(|key| key.chars().all(|c| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit()))
        .collect();
    assert!(keys.len() > 60, "{keys:?}");
    let missing: Vec<_> = keys.iter().filter(|key| !text.contains(&format!("{key}:"))).collect();
    assert!(missing.is_empty(), "not in conf/sluicegate.yaml: {missing:?}");
}

#[test]
fn the_default_file_passes_the_check_on_any_machine() {
    // On ports of this test's own: those of the file may be taken where the test runs.
    let text = read("sluicegate.yaml").replace(":8080 ", ":0 ").replace(":8404", ":0");
    let loaded = load("sluicegate.yaml", &text, Path::new("/nonexistent"));
    let problems = check::probe(&loaded);
    assert!(problems.iter().all(|problem| problem.severity == Severity::Note), "{problems:?}");
    assert!(loaded.config.routes.iter().any(|route| &*route.name == "welcome"));
}
