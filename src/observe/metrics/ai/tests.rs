use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::config::ai::{Ai, AiTimeouts, Hold, KeyPlace, Model, ModelTarget, Prices, Provider, ProviderKind};
use crate::observe::CacheStatus;
use crate::observe::ai::{Operation, Outcome, Phase, Tokens, TryOutcome};
use crate::observe::metrics::tests::{Scrape, metrics};

fn provider(name: &str, kind: ProviderKind) -> Provider {
    Provider {
        name: name.into(),
        kind,
        pool: 0,
        host: None,
        base_path: "/v1".to_owned(),
        keys: Vec::new(),
        key_place: KeyPlace::Bearer,
        models: Vec::new(),
        headers: Vec::new(),
        speaks: Vec::new(),
        strip_body_fields: Vec::new(),
        enabled: true,
        lacks: None,
    }
}

fn observation() -> AiObservation {
    AiObservation {
        operation: Operation::Chat,
        status: 200,
        outcome: Outcome::Answered,
        duration: Duration::from_millis(2_560),
        first_token: Some(Duration::from_millis(300)),
        generation: Some(Duration::from_secs(2)),
        tokens: Some(Tokens { input: 1_024, output: 101, cache_read: 1_000, cache_write: 8, reasoning: 50 }),
        estimated: false,
        cost: 2_500_000,
    }
}

#[test]
fn one_request_is_counted_under_every_name() {
    let metrics = metrics();
    metrics.ai_model(Some(&provider("openai", ProviderKind::OpenAi)), "gpt-4").record(&observation());
    let scrape = Scrape::of(&metrics, &[]);
    let target = [r#"provider="openai""#, r#"model="gpt-4""#];
    let with = |more: &'static str| [target[0], target[1], more];
    assert_eq!(scrape.get("ai_gateway_requests_total", &with(r#"status="200""#)), 1.0);
    assert_eq!(scrape.get("sluicegate_ai_requests_total", &with(r#"status="2xx",outcome="answered""#)), 1.0);
    for (kind, count) in
        [("input", 1_024.0), ("output", 101.0), ("cache_read", 1_000.0), ("cache_write", 8.0), ("reasoning", 50.0)]
    {
        assert_eq!(scrape.get("sluicegate_ai_tokens_total", &[&format!(r#"type="{kind}""#)]), count);
    }
    assert_eq!(scrape.get("sluicegate_ai_cost_dollars_total", &target), 2.5);
    assert_eq!(scrape.get("sluicegate_ai_usage_total", &[r#"source="provider""#]), 1.0);
    assert_eq!(scrape.all("sluicegate_ai_broken_streams_total").count(), 0);
    for (name, le, sum) in [
        ("gen_ai_server_request_duration_seconds", "2.56", 2.56),
        ("gen_ai_server_time_to_first_token_seconds", "0.5", 0.3),
        ("gen_ai_server_time_per_output_token_seconds", "0.025", 0.02),
    ] {
        let labels =
            [r#"gen_ai_operation_name="chat""#, r#"gen_ai_provider_name="openai""#, r#"gen_ai_request_model="gpt-4""#];
        assert_eq!(scrape.get(&format!("{name}_sum"), &labels), sum, "{name}");
        assert_eq!(scrape.get(&format!("{name}_bucket"), &[&format!(r#"le="{le}""#)]), 1.0, "{name}");
    }
    let tokens = [r#"gen_ai_token_type="input""#, r#"le="1024""#];
    assert_eq!(scrape.get("gen_ai_client_token_usage_bucket", &tokens), 1.0);
    assert_eq!(scrape.get("gen_ai_client_token_usage_sum", &[r#"gen_ai_token_type="output""#]), 101.0);
}

#[test]
fn every_way_to_end_is_told_from_the_others() {
    let metrics = metrics();
    let model = metrics.ai_model(Some(&provider("openai", ProviderKind::OpenAi)), "gpt-4");
    for outcome in Outcome::ALL {
        for status in [0, 200, 429, 503, 999] {
            model.record(&AiObservation { status, outcome, ..observation() });
        }
    }
    for outcome in TryOutcome::ALL {
        model.tried(outcome);
    }
    let scrape = Scrape::of(&metrics, &[]);
    assert_eq!(scrape.all("sluicegate_ai_requests_total").map(|series| series.1).sum::<f64>(), 30.0);
    assert_eq!(scrape.get("sluicegate_ai_requests_total", &[r#"status="5xx",outcome="failed""#]), 2.0);
    assert_eq!(scrape.get("sluicegate_ai_requests_total", &[r#"status="none",outcome="cancelled""#]), 1.0);
    assert_eq!(scrape.get("sluicegate_ai_broken_streams_total", &[]), 5.0);
    assert_eq!(scrape.get("ai_gateway_requests_total", &[r#"status="0""#]), 6.0);
    for outcome in TryOutcome::ALL {
        let label = format!(r#"outcome="{}""#, outcome.as_str());
        assert_eq!(scrape.get("sluicegate_ai_attempts_total", &[&label]), 1.0);
    }
}

#[test]
fn a_stream_of_one_token_has_no_time_between_tokens() {
    let metrics = metrics();
    let model = metrics.ai_model(None, OTHER_MODEL);
    for output in [0, 1] {
        let tokens = Some(Tokens { input: 1, output, ..Tokens::default() });
        model.record(&AiObservation { tokens, estimated: true, cost: 0, ..observation() });
    }
    let scrape = Scrape::of(&metrics, &[]);
    assert_eq!(scrape.all("gen_ai_server_time_per_output_token_seconds_count").count(), 0);
    assert_eq!(scrape.get("sluicegate_ai_usage_total", &[r#"provider="none""#, r#"source="estimate""#]), 2.0);
    assert_eq!(scrape.get("sluicegate_ai_cost_dollars_total", &[]), 0.0);
}

#[test]
fn after_a_miss_and_a_hit_half_of_the_requests_were_answered_by_the_cache() {
    let metrics = metrics();
    metrics.ai_model(None, OTHER_MODEL);
    let ratio = || Scrape::of(&metrics, &[]).get("ai_gateway_cache_hit_ratio", &[]);
    assert_eq!(ratio(), 0.0);
    let gateway = metrics.ai_gateway();
    gateway.cached(CacheStatus::Miss);
    gateway.cached(CacheStatus::Bypass);
    gateway.cached(CacheStatus::Hit);
    assert_eq!(ratio(), 0.5);
    gateway.cached(CacheStatus::Coalesced);
    gateway.cached(CacheStatus::Stale);
    assert_eq!(ratio(), 0.75);
}

#[test]
fn the_time_of_each_phase_is_shown() {
    let metrics = metrics();
    metrics.ai_model(None, OTHER_MODEL);
    for phase in Phase::ALL {
        metrics.ai_gateway().phase(phase, Duration::from_micros(50));
    }
    let scrape = Scrape::of(&metrics, &[]);
    for phase in Phase::ALL {
        let label = format!(r#"phase="{}""#, phase.as_str());
        let bucket = |le: &str| scrape.get("sluicegate_ai_phase_seconds_bucket", &[&label, &format!(r#"le="{le}""#)]);
        assert_eq!((bucket("0.000025"), bucket("0.00005")), (0.0, 1.0));
    }
}

/// Asks openai for gpt-4, and for gpt-4o under another name; for anything else, too.
fn ai() -> Ai {
    let target = |model: Option<&str>| ModelTarget { provider: 0, model: model.map(Into::into), weight: 1 };
    let model = |name: &str, target| {
        Arc::new(Model {
            name: name.into(),
            ranks: vec![vec![target]],
            assumed_output: 4096,
            timeouts: AiTimeouts::default(),
        })
    };
    Ai {
        providers: vec![Arc::new(provider("openai", ProviderKind::OpenAi))],
        models: vec![model("gpt-4", target(None)), model("best", target(Some("gpt-4o"))), model("*", target(None))],
        attempts: 3,
        assumed_output: 4096,
        max_buffered: 1 << 30,
        timeouts: AiTimeouts::default(),
        breaker: None,
        key_cooldown: Duration::from_secs(60),
        hold: Hold::default(),
        keepalive: Duration::from_secs(10),
        headers: true,
        prices: Prices::default(),
    }
}

fn breaker(key: &str, model: &str, state: BreakerState) -> BreakerSample {
    BreakerSample { provider: "openai".into(), key: key.into(), model: model.into(), state }
}

#[test]
fn the_state_of_breakers_is_told_under_three_names() {
    let metrics = metrics();
    let (openai, _azure) = (metrics.ai_provider("openai"), metrics.ai_provider("azure"));
    metrics.ai_provider("gone");
    metrics.ai_targets(&ai());
    openai.breaker(BreakerState::Open);
    let sampler: Arc<Sampler<BreakerSample>> = Arc::new(|_| {
        vec![
            breaker("key-1", "gpt-4", BreakerState::Open),
            breaker("key-2", "gpt-4", BreakerState::HalfOpen),
            breaker("key-2", "gpt-4o", BreakerState::Open),
            breaker("key-1", "invented-1", BreakerState::Closed),
            breaker("key-1", "invented-2", BreakerState::HalfOpen),
        ]
    });
    metrics.watch_breakers(&sampler);
    let scrape = Scrape::of(&metrics, &[]);
    for name in ["jairouter_circuitbreaker_state", "jairouter_circuit_breaker_state"] {
        let state = |key: &str, model: &str| {
            let (key, model) = (format!(r#"upstream="{key}""#), format!(r#"model="{model}""#));
            scrape.get(name, &[r#"service="openai""#, &key, &model])
        };
        assert_eq!([state("key-1", "gpt-4"), state("key-2", "gpt-4"), state("key-2", "gpt-4o")], [1.0, 2.0, 1.0]);
        assert_eq!(state("key-1", "other"), 2.0);
        assert_eq!(scrape.all(name).count(), 4, "a client cannot make series by inventing models");
    }
    let one_hot = |provider: &str| {
        let provider = format!(r#"provider="{provider}""#);
        let state = |state: &str| scrape.get("ai_circuit_breaker_state", &[&provider, &format!(r#"state="{state}""#)]);
        [state("closed"), state("half_open"), state("open")]
    };
    assert_eq!((one_hot("openai"), one_hot("azure")), ([0.0, 0.0, 1.0], [1.0, 0.0, 0.0]));
    assert_eq!(scrape.all("ai_circuit_breaker_state").count(), 6, "a provider that no snapshot holds has no state");
    let opened = [r#"service="openai""#, r#"event="open""#];
    assert_eq!(scrape.get("jairouter_circuit_breaker_events_total", &opened), 1.0);
    drop(sampler);
    assert_eq!(Scrape::of(&metrics, &[]).all("jairouter_circuitbreaker_state").count(), 0);
}

#[test]
fn keys_of_one_name_are_one_series() {
    let metrics = metrics();
    let key = |name: &str, state| KeySample { provider: "openai".into(), name: name.into(), state };
    let sampler: Arc<Sampler<KeySample>> =
        Arc::new(move |_| vec![key("a", KeyState::Failed), key("a", KeyState::Ready), key("b", KeyState::Resting)]);
    metrics.watch_keys(&sampler);
    let scrape = Scrape::of(&metrics, &[]);
    assert_eq!(scrape.get("sluicegate_ai_key_state", &[r#"key="a",state="ready""#]), 1.0);
    assert_eq!(scrape.get("sluicegate_ai_key_state", &[r#"key="b",state="resting""#]), 1.0);
    assert_eq!(scrape.all("sluicegate_ai_key_state").count(), 2);
}

#[test]
fn failovers_say_from_where_and_why() {
    let metrics = metrics();
    metrics.ai_provider("openai").failover(TryOutcome::Status429);
    metrics.ai_provider("openai").failover(TryOutcome::FirstTokenTimeout);
    let scrape = Scrape::of(&metrics, &[]);
    assert_eq!(scrape.get("sluicegate_ai_failovers_total", &[r#"provider="openai",reason="status_429""#]), 1.0);
    assert_eq!(scrape.all("sluicegate_ai_failovers_total").count(), 2);
}

#[test]
fn a_provider_that_becomes_another_kind_is_not_shown_twice() {
    let metrics = metrics();
    metrics.ai_model(Some(&provider("main", ProviderKind::OpenAi)), "gpt-4").record(&observation());
    metrics.ai_model(Some(&provider("main", ProviderKind::Gemini)), "gpt-4").record(&observation());
    let scrape = Scrape::of(&metrics, &[]);
    assert_eq!(scrape.get("ai_gateway_requests_total", &[]), 2.0);
    assert_eq!(
        scrape.get("gen_ai_server_request_duration_seconds_count", &[r#"gen_ai_provider_name="gcp.gemini""#]),
        2.0
    );
}

#[test]
fn credentials_are_counted_by_their_names() {
    let metrics = metrics();
    let credential = metrics.credential(&"flow".into(), &"team/a".into());
    credential.used();
    credential.used();
    assert_eq!(credential.requests(), 2);
    let scrape = Scrape::of(&metrics, &[]);
    assert_eq!(scrape.get("gw_credential_requests_total", &[r#"name="team/a",provider="flow""#]), 2.0);
}

#[test]
fn a_gateway_without_models_shows_nothing_of_them() {
    let metrics = metrics();
    let scrape = Scrape::of(&metrics, &[]);
    let names = ["ai_gateway_cache_hit_ratio", "ai_circuit_breaker_state", "sluicegate_ai_phase_seconds_count"];
    assert!(names.iter().all(|name| scrape.all(name).count() == 0));
}

#[test]
fn promtool_finds_nothing_wrong_with_the_metrics() {
    let metrics = metrics();
    let model = metrics.ai_model(Some(&provider("openai", ProviderKind::OpenAi)), "gpt-4");
    model.record(&observation());
    model.tried(TryOutcome::Answered);
    let provider = metrics.ai_provider("openai");
    provider.failover(TryOutcome::Timeout);
    metrics.ai_gateway().phase(Phase::Choose, Duration::from_micros(3));
    metrics.credential(&"openai".into(), &"key-1".into()).used();
    let breakers: Arc<Sampler<BreakerSample>> = Arc::new(|_| vec![breaker("key-1", "gpt-4", BreakerState::Open)]);
    let keys: Arc<Sampler<KeySample>> =
        Arc::new(|_| vec![KeySample { provider: "openai".into(), name: "key-1".into(), state: KeyState::Ready }]);
    metrics.watch_breakers(&breakers);
    metrics.watch_keys(&keys);
    let mut text = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut text, &metrics.render(&[], &[])).unwrap();
    std::io::Seek::rewind(&mut text).unwrap();
    let promtool = std::process::Command::new("promtool").args(["check", "metrics"]).stdin(text).output();
    let Ok(output) = promtool else { return }; // Not on this machine.
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("error") && !said.contains("_ai_") && !said.contains("gen_ai"), "{said}");
}
