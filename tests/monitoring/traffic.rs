//! A gateway that has met a bit of everything that is measured.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::daemons::{Exporter, Prometheus, Targets};
use super::support::ai::*;
use super::support::*;

/// Such a gateway, with what stands behind it.
pub struct Busy {
    gate: Gateway,
    app: Mock,
    first: Mock,
    jairouter: Origin,
    ca: PathBuf,
    _others: (Vec<Mock>, KeyServer),
    signer: Signer,
}

/// What JAiRouter shows of its heap: of the pools only one has a maximum.
const HEAP: &str = "# TYPE jvm_memory_used_bytes gauge
jvm_memory_used_bytes{area=\"heap\",id=\"G1 Eden Space\"} 1.2e+07
jvm_memory_used_bytes{area=\"heap\",id=\"G1 Old Gen\"} 4.5e+08
jvm_memory_used_bytes{area=\"nonheap\",id=\"Metaspace\"} 9.1e+07
# TYPE jvm_memory_max_bytes gauge
jvm_memory_max_bytes{area=\"heap\",id=\"G1 Eden Space\"} -1.0
jvm_memory_max_bytes{area=\"heap\",id=\"G1 Old Gen\"} 1.073741824e+09
jvm_memory_max_bytes{area=\"nonheap\",id=\"Metaspace\"} -1.0
";

const CHECK: &str =
    "health_check: { path: /health, interval: 1s, timeout: 1s, fall: 1, rise: 1 }, outlier: { max_fails: 50 }";
const LOG: &str = r#"{ level: info, access: "{dir}/access.log", audit: { file: "{dir}/audit.log", alerts: { auth_failures: 1 }, webhook: "http://HOOK/alarms" } }"#;

/// Starts it and sends the first traffic of every kind.
pub async fn busy() -> Busy {
    let [app, first, second, hook] = upstreams(["app", "first", "second", "hook"]).await;
    let signer = Signer::p256();
    let keys = key_server(Answers::Keys(vec![signer.jwk("one")])).await;
    let jairouter = origin(async |_| given(&[("content-type", "text/plain; version=0.0.4")], HEAP)).await;
    let authority = Authority::new();
    let own = authority.issue(&["localhost"]);
    let gate = builder(&app, [&first, &second])
        .section("auth", &auth(&keys))
        .section("log", &LOG.replace("HOOK", &hook.address().to_string()))
        .file("own.pem", &own.bundle())
        .file("ca.pem", &authority.pem())
        .start()
        .await;
    let ca = gate.dir().join("ca.pem");
    let busy = Busy { gate, app, first, jairouter, ca, _others: (vec![second, hook], keys), signer };
    busy.round().await;
    busy
}

/// Callers with keys, and those with tokens whose keys are fetched.
fn auth(keys: &KeyServer) -> String {
    let with_keys = callers();
    let inner = with_keys.trim().strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap();
    format!("{{ {inner}, jwt: {{ issuer: \"https://id.test\", jwks_url: \"{}\" }} }}", keys.url())
}

fn builder(app: &Mock, [first, second]: [&Mock; 2]) -> Builder {
    let two = "keys: [{ name: good, secret: sk-good-4711 }, { name: bad, secret: sk-bad-4711 }]";
    ai().provider_with("first", "openai", first, two)
        .anthropic("second", second)
        .model("gpt-4o", &["first", "second"])
        .model("claude-sonnet-4-5", &["second"])
        .model("nameless", &["first"])
        .set("prices: { models: { gpt-4o: { input: 1.00, output: 2.00 }, claude-sonnet-4-5: { input: 3, output: 15 } } }")
        .set("breaker: { window: 60s }")
        .on_route("auth: none, limits: [money, words]")
        .build()
        .section("server", "{ state_dir: \"{dir}/state\", environment: test }")
        .section(
            "limits",
            "{ per-client: { key: client_ip, rate: 10000/s }, few: { key: client_ip, rate: 1/h }, \
             money: { key: global, cost: 1000.00/day }, words: { key: global, tokens: 1000000/1h } }",
        )
        .section("caches", "{ pages: {}, answers: { ttl: 60s } }")
        .section("sanitize", "{ pii: { rules: [email, phone], on_unreadable: pass } }")
        .listener("address: \"{listen}\"")
        .listener("address: \"{listen2}\", tls: { certificates: [{ bundle: \"{dir}/own.pem\" }] }")
        .pool_with("app", &[app], CHECK)
        .members("gone", &[free_address()], "health_check: tcp, retry: { attempts: 2 }")
        .members("lost", &["no-such-machine.invalid:80"], "")
        .route("name: site, match: /, pool: app, auth: none, limits: [per-client]")
        .route("name: pages, match: /cached, pool: app, auth: none, cache: pages")
        .route("name: masked, match: /masked/, pool: app, auth: none, sanitize: pii")
        .route("name: few, match: /few/, pool: app, auth: none, limits: [few]")
        .route("name: api, match: /api/, pool: app")
        .route("name: gone, match: /gone/, pool: gone, auth: none")
        .route("name: lost, match: /lost/, pool: lost, auth: none")
        .route("name: questions, match: /questions/, ai: true, auth: none, cache: answers")
}

impl Busy {
    /// A bit of everything.
    async fn round(&self) {
        self.pages().await;
        self.callers().await;
        self.models().await;
    }

    async fn pages(&self) {
        let gate = &self.gate;
        for path in
            ["/echo", "/cached", "/cached", "/status/404", "/status/500", "/few/a", "/few/b", "/gone/x", "/lost/x"]
        {
            gate.get(path).await;
        }
        let mail = r#"{"mail":"someone@example.com"}"#;
        gate.ask("POST", "/masked/x").header("content-type", "application/json").body(mail).send().await;
        let authority = std::fs::read_to_string(&self.ca).unwrap();
        Client::https("localhost", gate.second_address(), &authority).get("/echo").await;
        let mut leaving = connect(gate.address()).await;
        leaving.send("GET /sse?events=100&interval=100ms HTTP/1.1\r\nHost: x\r\n\r\n").await;
        leaving.head().await;
        leaving.reset();
        // Plain bytes where a handshake is due, and bytes that are no request.
        for address in [gate.second_address(), gate.address()] {
            let mut connection = connect(address).await;
            connection.send(b"GET\r\n\r\n").await;
            connection.closed_within(s(5)).await;
        }
    }

    async fn callers(&self) {
        let gate = &self.gate;
        let token = self.signer.token_with(json!({ "kid": "one" }), &claims(json!({ "permissions": "*" })));
        let bearer = format!("Bearer {token}");
        for (name, value) in
            [("x-api-key", &*secret_of("team-a")), ("x-api-key", "sk-of-nobody"), ("authorization", &bearer)]
        {
            gate.ask("GET", "/api/echo").header(name, value).send().await;
        }
        gate.get("/api/echo").await;
    }

    async fn models(&self) {
        let gate = &self.gate;
        let hello = chat("gpt-4o", "hello");
        ask(gate, "chat/completions", &hello).await;
        ask(gate, "messages", &messages("claude-sonnet-4-5", "hello")).await;
        stream(gate, "chat/completions", &streamed(hello.clone())).await.rest().await;
        ask(gate, "chat/completions", &chat("nameless", "hello")).await;
        let mut same = gate.ask("POST", "/questions/chat/completions").header("content-type", "application/json");
        same = same.body(hello.to_string());
        same.send().await;
        for fault in [Fault::Status(500), Fault::RateLimit(ms(200)), Fault::NoUsage] {
            self.first.fail_next(1, fault);
            ask(gate, "chat/completions", &hello).await;
        }
        self.first.fail_next(1, Fault::At(Stage::After(2), Twist::Close));
        stream(gate, "chat/completions", &streamed(hello.clone())).await.rest().await;
        self.first.set_key("sk-bad-4711", Some(KeyState::Refused));
        for _ in 0..4 {
            ask(gate, "chat/completions", &hello).await;
        }
    }

    /// What Prometheus would read: the gateway's metrics, when all is counted and after a reload that was refused; those of
    /// JAiRouter; and of the exporters that are installed.
    pub async fn scrapes(&self, exporters: &[Exporter]) -> Vec<Metrics> {
        self.gate.rewrite_config(|text| format!("{text}\nnonsense: true\n"));
        assert_eq!(self.gate.reload().await.status, 422, "the file is wrong on purpose");
        let mut metrics = self.gate.metrics().await;
        eventually(s(20), "what is used is written down, and the name is not found", async || {
            metrics = self.gate.metrics().await;
            metrics.has("sluicegate_limit_state_saves_total") && metrics.text().contains("state=\"unresolved\"")
        })
        .await;
        let mut all = vec![metrics, Metrics::new(HEAP.to_owned())];
        for exporter in exporters {
            all.push(exporter.scrape(&self.probed()).await);
        }
        all
    }

    /// What is probed from outside.
    fn probed(&self) -> String {
        format!("https://localhost:{}/health", self.gate.second_address().port())
    }

    /// The authority of its certificate.
    pub fn ca(&self) -> &Path {
        &self.ca
    }

    /// What a Prometheus is to scrape.
    pub fn targets(&self, node: &Exporter, probe: &Exporter) -> Targets {
        Targets {
            sluicegate: vec![self.gate.admin_address()],
            jairouter: vec![self.jairouter.address()],
            node: vec![node.address()],
            probe: vec![self.probed()],
            prober: Some(probe.address()),
        }
    }

    /// More traffic, so that what begins to exist with its first count has a rate.
    pub async fn go_on(&self, prometheus: &Prometheus) {
        for scrapes in [3, 7] {
            prometheus.has(&format!("count_over_time(up{{job=\"sluicegate\"}}[5m]) > {scrapes}")).await;
            self.round().await;
        }
        prometheus.has("count_over_time(up{job=\"sluicegate\"}[5m]) > 11").await;
        prometheus.has("probe_success == 1").await;
        assert!(self.app.hits() > 0, "traffic passed");
    }
}
