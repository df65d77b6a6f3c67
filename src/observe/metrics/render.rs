//! A scrape: everything as text.

use std::sync::Weak;
use std::sync::atomic::Ordering;

use prometheus::core::Collector;
use prometheus::{Encoder, TextEncoder};

use super::family::Families;
use super::{AccountSample, Metrics, PoolSample, SERVICE, lock};

pub(super) fn render(metrics: &Metrics, pools: &[PoolSample], accounts: &[AccountSample]) -> Vec<u8> {
    let mut constant = vec![("application", SERVICE), ("instance_id", metrics.identity.instance_id.as_str())];
    constant.extend(metrics.environment.as_deref().map(|environment| ("environment", environment)));
    let mut out = Families::new(&constant);
    collect_process(metrics, &mut out);
    collect_logs(metrics, &mut out);
    metrics.security.collect(&mut out);
    for listener in lock(&metrics.listeners).values() {
        listener.collect(&mut out);
    }
    for route in lock(&metrics.routes).values() {
        route.collect(&mut out);
    }
    for jwks in lock(&metrics.jwks).values() {
        jwks.collect(&mut out);
    }
    metrics.revoked.collect(&mut out);
    for set in lock(&metrics.sanitize).values() {
        set.collect(&mut out);
    }
    for pool in lock(&metrics.pools).values() {
        pool.collect(&mut out);
    }
    collect_limits(metrics, &mut out);
    metrics.ledger.collect(&mut out);
    metrics.unpriced.collect(&mut out);
    for cache in lock(&metrics.caches).values() {
        cache.collect(&mut out);
    }
    metrics.ai.collect(&mut out);
    for pool in pools {
        pool.collect(&mut out);
    }
    accounts.iter().for_each(|account| account.collect(&mut out));
    metrics.auth_failures.collect(&mut out);
    out.adopt(metrics.process.collect());
    let families = out.finish();
    let mut text = Vec::new();
    // The encoder only fails on a family without a name or a metric; `Families` makes none.
    if let Err(error) = TextEncoder::new().encode(&families, &mut text) {
        log::error!("metrics could not be written: {error}");
    }
    text
}

fn collect_process(metrics: &Metrics, out: &mut Families) {
    let build = [("version", metrics.identity.version.as_str())];
    out.gauge("sluicegate_build_info", "1; the version is in the label.", &build, 1.0);
    let draining = f64::from(u8::from(metrics.draining.load(Ordering::Relaxed)));
    out.gauge("sluicegate_draining", "1 while the process takes no new work.", &[], draining);
    for (result, counter) in [("success", &metrics.reloads_ok), ("failure", &metrics.reloads_failed)] {
        let help = "Loads of the configuration by result, the one at the start included.";
        out.counter("sluicegate_reloads_total", help, &[("result", result)], counter.load(Ordering::Relaxed));
    }
    for (result, counter) in [("success", &metrics.upgrades_ok), ("failure", &metrics.upgrades_failed)] {
        let help = "Tries of this process to hand over to a new one, by result.";
        out.counter("sluicegate_upgrades_total", help, &[("result", result)], counter.load(Ordering::Relaxed));
    }
    for (file, ends) in &*lock(&metrics.certificates) {
        let help = "When a certificate that listeners show, or the first of its chain, ends, seconds since the epoch.";
        let labels = [("certificate", file.as_str())];
        out.gauge("sluicegate_certificate_expiry_timestamp_seconds", help, &labels, *ends as f64);
    }
    for (id, ends) in &*lock(&metrics.api_keys) {
        let help = "When an API key that has an end ends, seconds since the epoch.";
        out.gauge("sluicegate_api_key_expiry_timestamp_seconds", help, &[("key", id)], *ends as f64);
    }
    let reload = *lock(&metrics.reload);
    let ok = f64::from(u8::from(reload.failure.is_none()));
    out.gauge("sluicegate_config_last_reload_success", "1 when the last load of the configuration was good.", &[], ok);
    let help = "When the configuration in use was loaded, seconds since the epoch.";
    out.gauge("sluicegate_config_last_reload_success_timestamp_seconds", help, &[], reload.succeeded_at);
    if let Some(reason) = reload.failure {
        let help = "1; why the last load of the configuration failed. Absent when it was good.";
        out.gauge("sluicegate_config_last_reload_failure", help, &[("reason", reason)], 1.0);
    }
    let counters = [
        ("sluicegate_panics_total", "Panics; each ended one request or task.", &metrics.panics),
        ("sluicegate_malformed_requests_total", "Requests that were not valid HTTP.", &metrics.malformed),
        ("jairouter_log_errors_total", "Lines of level ERROR in the process log.", &metrics.log_errors),
    ];
    for (name, help, counter) in counters {
        out.counter(name, help, &[], counter.load(Ordering::Relaxed));
    }
}

fn collect_limits(metrics: &Metrics, out: &mut Families) {
    for limit in lock(&metrics.limits).values() {
        limit.collect(out);
    }
    for (name, gauges) in
        lock(&metrics.limit_gauges).iter().filter_map(|(name, gauges)| Some((name, gauges.upgrade()?)))
    {
        gauges.collect(name, out);
    }
}

fn collect_logs(metrics: &Metrics, out: &mut Families) {
    for (name, file) in lock(&metrics.logs).iter().filter_map(|(name, file)| Some((name, Weak::upgrade(file)?))) {
        let labels = [("log", *name)];
        let help = "Log lines lost to a full buffer or a failed write.";
        out.counter("sluicegate_log_lines_dropped_total", help, &labels, file.dropped());
        let help = "Writes to a log file that failed.";
        out.counter("sluicegate_log_write_errors_total", help, &labels, file.write_errors());
    }
}
