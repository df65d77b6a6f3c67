use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::*;
use crate::observe::{RetryReason, Termination};

pub(super) fn metrics() -> Metrics {
    Metrics::new(&Identity { instance_id: "gw-1".into(), version: "0.1.0".into() })
}

fn observation() -> Observation {
    Observation {
        method: MethodLabel::Get,
        status: 200,
        duration: Duration::from_millis(1_500),
        bytes_in: 10,
        bytes_out: 1_000,
        kind: Kind::Request,
        termination: Termination::Completed,
    }
}

fn member(name: &str) -> MemberSample {
    MemberSample {
        name: name.into(),
        up: true,
        state: "up",
        weight: 1,
        requests: 10,
        successes: 7,
        failures: 2,
        in_flight: 1,
        call_time: TimeSample { count: 7, seconds: 1.5 },
        health_changes: 3,
        ..MemberSample::default()
    }
}

fn pool(members: Vec<MemberSample>) -> PoolSample {
    PoolSample { pool: "backend".into(), strategy: "round_robin", panic: false, members }
}

/// A scrape, read back: series (name and labels as written) to value. Checks the format on the way.
pub(super) struct Scrape(BTreeMap<String, f64>);

impl Scrape {
    pub(super) fn of(metrics: &Metrics, pools: &[PoolSample]) -> Self {
        let text = String::from_utf8(metrics.render(pools, &[])).unwrap();
        let (mut helped, mut types, mut series) = (BTreeSet::new(), BTreeMap::new(), BTreeMap::new());
        let mut family = String::new();
        assert!(text.ends_with('\n'));
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, help) = help.split_once(' ').unwrap();
                assert!(helped.insert(name.to_owned()), "HELP twice: {name}");
                assert!(!help.is_empty());
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap();
                assert!(types.insert(name.to_owned(), kind.to_owned()).is_none(), "TYPE twice: {name}");
                assert!(helped.contains(name), "TYPE before HELP: {name}");
                name.clone_into(&mut family);
            } else {
                let (key, value) = line.rsplit_once(' ').unwrap();
                let name = key.split('{').next().unwrap();
                let suffix = name.strip_prefix(family.as_str()).unwrap_or_else(|| panic!("{name} under {family}"));
                let allowed: &[&str] = match types[&family].as_str() {
                    "counter" | "gauge" => &[""],
                    "histogram" => &["_bucket", "_sum", "_count"],
                    "summary" => &["_sum", "_count"],
                    other => panic!("type {other}"),
                };
                assert!(allowed.contains(&suffix), "{name} of type {}", types[&family]);
                assert!(series.insert(key.to_owned(), value.parse().unwrap()).is_none(), "twice: {key}");
            }
        }
        let scrape = Self(series);
        scrape.check_buckets();
        scrape
    }

    /// The value of the only series of `name` with all of `labels`.
    pub(super) fn get(&self, name: &str, labels: &[&str]) -> f64 {
        let found: Vec<_> = self.all(name).filter(|(key, _)| labels.iter().all(|label| key.contains(label))).collect();
        assert_eq!(found.len(), 1, "{name} {labels:?}: {found:?}");
        found[0].1
    }

    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = (&str, f64)> {
        let with_labels = format!("{name}{{");
        self.0
            .iter()
            .filter(move |(key, _)| **key == with_labels[..with_labels.len() - 1] || key.starts_with(&with_labels))
            .map(|(key, value)| (key.as_str(), *value))
    }

    /// Buckets grow, and the last is the count.
    fn check_buckets(&self) {
        let mut by_series: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
        for (key, value) in self.0.iter().filter(|(key, _)| key.contains("_bucket{")) {
            let (before, le) = key.split_once("le=\"").unwrap();
            let (le, after) = le.split_once('"').unwrap();
            assert_eq!(after, "}", "le is the last label");
            let bound = if le == "+Inf" { f64::INFINITY } else { le.parse().unwrap() };
            let of = format!("{}}}", before.replace("_bucket{", "_count{").trim_end_matches(','));
            by_series.entry(of).or_default().push((bound, *value));
        }
        for (count, mut buckets) in by_series {
            buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
            assert!(buckets.is_sorted_by_key(|bucket| bucket.1), "not cumulative: {count} {buckets:?}");
            assert_eq!(buckets.last(), Some(&(f64::INFINITY, self.0[&count])), "{count}");
        }
    }
}

#[test]
fn one_request_is_counted_under_every_name() {
    let metrics = metrics();
    metrics.route("chat").record(&observation());
    let scrape = Scrape::of(&metrics, &[]);
    for (total, route) in [
        ("http_server_requests_total", r#"uri="chat""#),
        ("http_requests_total", r#"path="chat""#),
        ("jairouter_requests_total", r#"service="chat""#),
    ] {
        assert_eq!(scrape.get(total, &[route, r#"method="GET""#, r#"status="200""#]), 1.0);
    }
    for seconds in
        ["http_server_requests_seconds", "http_request_duration_seconds", "jairouter_request_duration_seconds"]
    {
        let bucket = format!("{seconds}_bucket");
        assert_eq!(scrape.get(&bucket, &[r#"le="1""#]), 0.0);
        assert_eq!(scrape.get(&bucket, &[r#"le="2""#]), 1.0);
        for bound in ["0.5", "5", "+Inf"] {
            scrape.get(&bucket, &[&format!(r#"le="{bound}""#)]);
        }
        assert_eq!(scrape.get(&format!("{seconds}_sum"), &[]), 1.5);
    }
    assert_eq!(scrape.get("jairouter_response_size_bytes_sum", &[]), 1_000.0);
    assert_eq!(scrape.get("jairouter_request_size_bytes_count", &[]), 1.0);
}

#[test]
fn every_status_is_a_number_of_its_own() {
    let metrics = metrics();
    let route = metrics.route("chat");
    let statuses = [0, 100, 200, 204, 499, 503, 599, 999];
    for status in statuses {
        route.record(&Observation { status, ..observation() });
    }
    route.record(&Observation { status: u16::MAX, ..observation() });
    let scrape = Scrape::of(&metrics, &[]);
    for status in statuses {
        let expected = if status == 999 { 2.0 } else { 1.0 };
        assert_eq!(scrape.get("http_requests_total", &[&format!(r#"status="{status}""#)]), expected);
    }
    assert_eq!(scrape.all("http_requests_total").count(), statuses.len());
}

#[test]
fn a_client_cannot_make_series_by_inventing_methods() {
    let metrics = metrics();
    for n in 0..100 {
        let method = http::Method::from_bytes(format!("M{n}").as_bytes()).unwrap();
        metrics.route(NO_ROUTE).record(&Observation { method: (&method).into(), ..observation() });
    }
    let scrape = Scrape::of(&metrics, &[]);
    assert_eq!(scrape.get("http_requests_total", &[r#"method="OTHER""#, r#"path="none""#]), 100.0);
}

#[test]
fn a_duration_on_a_bound_belongs_to_its_bucket() {
    let metrics = metrics();
    metrics.route("chat").record(&Observation { duration: Duration::from_secs(2), ..observation() });
    metrics.route("chat").record(&Observation { duration: Duration::from_secs(301), ..observation() });
    let scrape = Scrape::of(&metrics, &[]);
    assert_eq!(scrape.get("http_server_requests_seconds_bucket", &[r#"le="2""#]), 1.0);
    assert_eq!(scrape.get("http_server_requests_seconds_bucket", &[r#"le="300""#]), 1.0);
    assert_eq!(scrape.get("http_server_requests_seconds_bucket", &[r#"le="+Inf""#]), 2.0);
}

#[test]
fn the_lifetime_of_a_websocket_is_no_response_time() {
    let metrics = metrics();
    metrics.route("ws").record(&Observation { kind: Kind::Upgraded, status: 101, ..observation() });
    let scrape = Scrape::of(&metrics, &[]);
    assert_eq!(scrape.get("http_requests_total", &[r#"status="101""#]), 1.0);
    assert_eq!(scrape.get("http_request_duration_seconds_count", &[]), 0.0);
}

#[test]
fn gauges_return_to_zero() {
    let metrics = metrics();
    let (route, listener) = (metrics.route("chat"), metrics.listener("0.0.0.0:80"));
    let (request, connection) = (route.enter(), listener.accepted());
    let scrape = Scrape::of(&metrics, &[]);
    assert_eq!(scrape.get("sluicegate_requests_in_flight", &[r#"route="chat""#]), 1.0);
    assert_eq!(scrape.get("sluicegate_connections", &[r#"listener="0.0.0.0:80""#]), 1.0);
    // On another thread, and so perhaps in another shard.
    std::thread::spawn(move || drop((request, connection))).join().unwrap();
    let scrape = Scrape::of(&metrics, &[]);
    assert_eq!(scrape.get("sluicegate_requests_in_flight", &[]), 0.0);
    assert_eq!(scrape.get("sluicegate_connections", &[]), 0.0);
    assert_eq!(scrape.get("sluicegate_connections_accepted_total", &[]), 1.0);
}

#[test]
fn many_threads_lose_no_request() {
    let metrics = metrics();
    let route = metrics.route("chat");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for n in 0..5_000 {
                    let _guard = route.enter();
                    route.record(&Observation { status: 200 + n % 7, ..observation() });
                }
            });
        }
        for _ in 0..20 {
            Scrape::of(&metrics, &[]);
        }
    });
    let scrape = Scrape::of(&metrics, &[]);
    assert_eq!(scrape.all("http_requests_total").map(|series| series.1).sum::<f64>(), 40_000.0);
    assert_eq!(scrape.get("http_request_duration_seconds_count", &[]), 40_000.0);
    assert_eq!(scrape.get("sluicegate_terminations_total", &[r#"reason="completed""#]), 40_000.0);
    assert_eq!(route.in_flight(), 0);
}

#[test]
fn our_series_say_who_they_are_and_never_use_instance_but_for_backends() {
    let metrics = metrics();
    metrics.route("chat").record(&observation());
    metrics.pool("backend").retry(RetryReason::Reset);
    metrics.config_refused("config");
    let scrape = Scrape::of(&metrics, &[pool(vec![member("10.0.0.11:8080")])]);
    for key in scrape.0.keys() {
        assert!(key.contains(r#"application="sluicegate""#) && key.contains(r#"instance_id="gw-1""#), "{key}");
        let backend = ["jairouter_backend_", "jairouter_loadbalancer_", "jairouter_health_check_"];
        assert_eq!(key.contains("instance=\""), backend.iter().any(|prefix| key.starts_with(prefix)), "{key}");
    }
    assert!(scrape.get("process_resident_memory_bytes", &[]) > 0.0);
}

#[test]
fn a_member_is_shown_under_both_sets_of_names() {
    let scrape = Scrape::of(&metrics(), &[pool(vec![member("10.0.0.11:8080")])]);
    assert_eq!(scrape.get("sluicegate_member_up", &[r#"pool="backend""#, r#"upstream="10.0.0.11:8080""#]), 1.0);
    assert_eq!(scrape.get("jairouter_backend_health", &[r#"adapter="backend""#, r#"instance="10.0.0.11:8080""#]), 1.0);
    assert_eq!(scrape.get("jairouter_backend_calls_total", &[r#"status="success""#]), 7.0);
    assert_eq!(scrape.get("jairouter_backend_calls_total", &[r#"status="failure""#]), 2.0);
    assert_eq!(scrape.get("jairouter_loadbalancer_selections_total", &[r#"strategy="round_robin""#]), 10.0);
    assert_eq!(scrape.get("jairouter_backend_call_duration_seconds_sum", &[]), 1.5);
    assert_eq!(scrape.get("sluicegate_member_state", &[r#"state="up""#]), 1.0);
    assert_eq!(scrape.get("sluicegate_member_health_changes_total", &[r#"upstream="10.0.0.11:8080""#]), 3.0);
}

#[test]
fn addresses_of_one_host_name_are_one_series() {
    let down = MemberSample { up: false, state: "down", ..member("vllm.local:8000") };
    let scrape = Scrape::of(&metrics(), &[pool(vec![down, member("vllm.local:8000")])]);
    assert_eq!(scrape.get("sluicegate_member_requests_total", &[]), 20.0);
    assert_eq!(scrape.get("sluicegate_member_health_changes_total", &[]), 6.0);
    assert_eq!(scrape.get("sluicegate_member_up", &[]), 1.0);
    assert_eq!(scrape.get("sluicegate_pool_members", &[]), 1.0);
}

#[test]
fn outstanding_tokens_are_told_only_where_they_count() {
    let counting = |tokens| MemberSample { outstanding_tokens: Some(tokens), ..member("vllm.local:8000") };
    let scrape = Scrape::of(&metrics(), &[pool(vec![counting(700), counting(0)])]);
    assert_eq!(scrape.get("sluicegate_member_outstanding_tokens", &[r#"upstream="vllm.local:8000""#]), 700.0);
    let scrape = Scrape::of(&metrics(), &[pool(vec![member("10.0.0.11:8080")])]);
    assert!(!scrape.0.keys().any(|series| series.contains("outstanding_tokens")));
}

#[test]
fn hostile_names_stay_inside_their_quotes() {
    let metrics = metrics();
    metrics.route("a\"} 1\nb").record(&observation());
    let scrape = Scrape::of(&metrics, &[]);
    assert_eq!(scrape.get("http_requests_total", &[r#"path="a\"} 1\nb""#]), 1.0);
}

#[test]
fn a_route_keeps_its_numbers_over_a_reload() {
    let metrics = metrics();
    metrics.route("chat").record(&observation());
    metrics.route("chat").record(&observation());
    assert_eq!(Scrape::of(&metrics, &[]).get("http_requests_total", &[]), 2.0);
}

#[test]
fn names_that_no_snapshot_uses_do_not_pile_up() {
    let metrics = metrics();
    let kept = metrics.route("kept");
    kept.record(&observation());
    for n in 0..MOST_NAMES * 2 {
        metrics.pool(&format!("pool-{n}"));
    }
    assert!(lock(&metrics.pools).len() <= MOST_NAMES);
    assert_eq!(metrics.route("kept").name(), kept.name());
}

#[test]
fn the_state_of_the_process_is_shown() {
    let metrics = metrics();
    metrics.config_loaded();
    metrics.config_refused("certificate");
    metrics.set_draining(true);
    metrics.panicked();
    metrics.log_error();
    metrics.malformed_request();
    metrics.listener("a").waited();
    metrics.listener("a").handshake_failed();
    metrics.pool("p").attempt(AttemptOutcome::Timeout);
    metrics.pool("p").retry(RetryReason::Timeout);
    metrics.pool("p").retry_budget_exhausted();
    let scrape = Scrape::of(&metrics, &[]);
    for (name, labels) in [
        ("sluicegate_build_info", r#"version="0.1.0""#),
        ("sluicegate_reloads_total", r#"result="success""#),
        ("sluicegate_reloads_total", r#"result="failure""#),
        ("sluicegate_config_last_reload_failure", r#"reason="certificate""#),
        ("sluicegate_draining", ""),
        ("sluicegate_panics_total", ""),
        ("sluicegate_malformed_requests_total", ""),
        ("jairouter_log_errors_total", ""),
        ("sluicegate_connections_waited_total", r#"listener="a""#),
        ("sluicegate_tls_handshake_failures_total", r#"listener="a""#),
        ("sluicegate_upstream_attempts_total", r#"outcome="timeout""#),
        ("sluicegate_retries_total", r#"reason="timeout""#),
        ("sluicegate_retry_budget_exhausted_total", r#"pool="p""#),
    ] {
        assert_eq!(scrape.get(name, &[labels]), 1.0, "{name}");
    }
    assert_eq!(scrape.get("sluicegate_config_last_reload_success", &[]), 0.0);
    assert!(scrape.get("sluicegate_config_last_reload_success_timestamp_seconds", &[]) > 1e9);
    metrics.config_loaded();
    let scrape = Scrape::of(&metrics, &[]);
    assert_eq!(scrape.get("sluicegate_config_last_reload_success", &[]), 1.0);
    assert_eq!(scrape.all("sluicegate_config_last_reload_failure").count(), 0);
}

#[test]
fn lost_log_lines_are_shown_while_the_log_is_open() {
    let metrics = metrics();
    let log = LogFile::open("/dev/full").unwrap();
    metrics.watch_log("access", &log);
    log.append(|buf| buf.extend_from_slice(b"lost\n"));
    log.flush().unwrap();
    assert_eq!(Scrape::of(&metrics, &[]).get("sluicegate_log_lines_dropped_total", &[r#"log="access""#]), 1.0);
    drop(log);
    assert_eq!(Scrape::of(&metrics, &[]).all("sluicegate_log_lines_dropped_total").count(), 0);
}
