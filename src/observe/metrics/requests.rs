//! Requests, per route.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::Method;

use super::counters::{Counters, MOST_SHARDS};
use super::family::{Families, Histogram};
use super::statuses::Statuses;
use crate::observe::{Termination, shard};

/// Upper bounds of the duration buckets, in milliseconds. Alert rules need 0.5, 1, 2 and 5 seconds (A4.04).
const BOUNDS_MS: [u64; 16] = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 300_000];
/// The buckets, the one without a bound included.
const BUCKETS: usize = BOUNDS_MS.len() + 1;
const STARTED: usize = 0;
const ENDED: usize = 1;
const TERMINATIONS: usize = 2;

/// The method label: a fixed set, so that a client cannot make series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MethodLabel {
    /// GET.
    Get,
    /// HEAD.
    Head,
    /// POST.
    Post,
    /// PUT.
    Put,
    /// PATCH.
    Patch,
    /// DELETE.
    Delete,
    /// OPTIONS.
    Options,
    /// CONNECT.
    Connect,
    /// TRACE.
    Trace,
    /// Every other one.
    Other,
}

impl MethodLabel {
    const ALL: [Self; 10] = [
        Self::Get,
        Self::Head,
        Self::Post,
        Self::Put,
        Self::Patch,
        Self::Delete,
        Self::Options,
        Self::Connect,
        Self::Trace,
        Self::Other,
    ];

    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
            Self::Connect => "CONNECT",
            Self::Trace => "TRACE",
            Self::Other => "OTHER",
        }
    }
}

impl From<&Method> for MethodLabel {
    fn from(method: &Method) -> Self {
        match *method {
            Method::GET => Self::Get,
            Method::HEAD => Self::Head,
            Method::POST => Self::Post,
            Method::PUT => Self::Put,
            Method::PATCH => Self::Patch,
            Method::DELETE => Self::Delete,
            Method::OPTIONS => Self::Options,
            Method::CONNECT => Self::Connect,
            Method::TRACE => Self::Trace,
            _ => Self::Other,
        }
    }
}

/// What sort of exchange it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A request and its answer.
    Request,
    /// A connection that was upgraded, such as a WebSocket: counted, but its lifetime is no response time and stays
    /// out of the duration histogram.
    Upgraded,
}

/// What is recorded of one request, once, at its end.
#[derive(Debug, Clone, Copy)]
pub struct Observation {
    /// The method.
    pub method: MethodLabel,
    /// The status sent to the client; 0 when none was. Beyond 999 counts as 999.
    pub status: u16,
    /// From the request's first byte to the answer's last.
    pub duration: Duration,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the answer's body.
    pub bytes_out: u64,
    /// What sort of exchange it was.
    pub kind: Kind,
    /// How it ended.
    pub termination: Termination,
}

/// The requests of one route.
pub struct RouteMetrics {
    name: Arc<str>,
    counters: Counters<{ TERMINATIONS + Termination::ALL.len() }>,
    /// Per thread shard (a power of two of them) and method, made when first used.
    series: Box<[[OnceLock<Box<Series>>; MethodLabel::ALL.len()]]>,
}

impl RouteMetrics {
    pub(super) fn new(name: Arc<str>) -> Self {
        let series = (0..shard::count(MOST_SHARDS)).map(|_| std::array::from_fn(|_| OnceLock::new())).collect();
        Self { name, counters: Counters::new(), series }
    }

    /// The route's name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Counts a request as in flight until the guard is dropped.
    pub fn enter(self: &Arc<Self>) -> InFlight {
        self.counters.add(STARTED, 1);
        InFlight { route: self.clone() }
    }

    /// Requests in flight now.
    pub fn in_flight(&self) -> u64 {
        self.counters.open(STARTED, ENDED)
    }

    /// Records a request that has ended. Some relaxed additions to memory of this thread's shard.
    pub fn record(&self, observation: &Observation) {
        self.counters.add(TERMINATIONS + observation.termination as usize, 1);
        let shard = &self.series[shard::number() & (self.series.len() - 1)];
        if let Some(series) = shard.get(observation.method as usize) {
            series.get_or_init(Box::default).record(observation);
        }
    }

    pub(super) fn collect(&self, out: &mut Families) {
        let route = [("route", &*self.name)];
        out.gauge("sluicegate_requests_in_flight", "Requests in flight.", &route, self.in_flight() as f64);
        for termination in Termination::ALL {
            let ended = self.counters.sum(TERMINATIONS + termination as usize);
            if ended > 0 {
                let labels = [("route", &*self.name), ("reason", termination.as_str())];
                out.counter("sluicegate_terminations_total", "Requests by how they ended.", &labels, ended);
            }
        }
        let (mut bytes_in, mut bytes_out, mut requests) = (0, 0, 0);
        for method in MethodLabel::ALL {
            let total = self.total(method);
            if total.requests() > 0 {
                collect_method(out, &self.name, method.as_str(), &total);
            }
            bytes_in += total.bytes_in;
            bytes_out += total.bytes_out;
            requests += total.requests();
        }
        let service = [("service", &*self.name)];
        let help = "Bytes of request bodies.";
        out.summary("jairouter_request_size_bytes", help, &service, requests, bytes_in as f64);
        let help = "Bytes of response bodies.";
        out.summary("jairouter_response_size_bytes", help, &service, requests, bytes_out as f64);
    }

    fn total(&self, method: MethodLabel) -> Total {
        let mut total = Total::default();
        for shard in &self.series {
            if let Some(series) = shard.get(method as usize).and_then(OnceLock::get) {
                series.add_to(&mut total);
            }
        }
        total
    }
}

/// A request in flight.
#[must_use = "the request counts as in flight until this is dropped"]
pub struct InFlight {
    route: Arc<RouteMetrics>,
}

impl InFlight {
    /// The route that the request is counted on.
    pub fn route(&self) -> &RouteMetrics {
        &self.route
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.route.counters.add(ENDED, 1);
    }
}

/// One route, one method, one thread shard.
#[derive(Default)]
#[repr(align(128))]
struct Series {
    durations: [AtomicU64; BUCKETS],
    duration_nanos: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    statuses: Statuses,
}

impl Series {
    fn record(&self, observation: &Observation) {
        self.statuses.add(observation.status);
        self.bytes_in.fetch_add(observation.bytes_in, Ordering::Relaxed);
        self.bytes_out.fetch_add(observation.bytes_out, Ordering::Relaxed);
        if observation.kind == Kind::Request {
            let nanos = u64::try_from(observation.duration.as_nanos()).unwrap_or(u64::MAX);
            let bucket = BOUNDS_MS.iter().position(|bound| nanos <= bound * 1_000_000).unwrap_or(BUCKETS - 1);
            if let Some(counter) = self.durations.get(bucket) {
                counter.fetch_add(1, Ordering::Relaxed);
            }
            // Wraps after 584 years of waiting.
            self.duration_nanos.fetch_add(nanos, Ordering::Relaxed);
        }
    }

    fn add_to(&self, total: &mut Total) {
        for (sum, counter) in total.durations.iter_mut().zip(&self.durations) {
            *sum += counter.load(Ordering::Relaxed);
        }
        total.duration_nanos += self.duration_nanos.load(Ordering::Relaxed);
        total.bytes_in += self.bytes_in.load(Ordering::Relaxed);
        total.bytes_out += self.bytes_out.load(Ordering::Relaxed);
        for (status, count) in self.statuses.counts() {
            *total.statuses.entry(status).or_default() += count;
        }
    }
}

/// One route, one method, over all shards.
#[derive(Default)]
struct Total {
    durations: [u64; BUCKETS],
    duration_nanos: u64,
    bytes_in: u64,
    bytes_out: u64,
    statuses: std::collections::BTreeMap<u16, u64>,
}

impl Total {
    fn requests(&self) -> u64 {
        self.statuses.values().sum()
    }
}

/// One set of numbers under the names of three families of dashboards (F17, F18, F19).
fn collect_method(out: &mut Families, route: &str, method: &str, total: &Total) {
    const NAMES: [(&str, &str, &str); 3] = [
        ("http_server_requests_total", "http_server_requests_seconds", "uri"),
        ("http_requests_total", "http_request_duration_seconds", "path"),
        ("jairouter_requests_total", "jairouter_request_duration_seconds", "service"),
    ];
    let bounds = BOUNDS_MS.map(|ms| Duration::from_millis(ms).as_secs_f64());
    let sum = Duration::from_nanos(total.duration_nanos).as_secs_f64();
    let histogram = Histogram { bounds: &bounds, counts: &total.durations, sum };
    for (requests, seconds, route_label) in NAMES {
        for (status, count) in &total.statuses {
            let status = status.to_string();
            let labels = [("method", method), (route_label, route), ("status", &status)];
            out.counter(requests, "Requests by route, method and status; status 0: none was sent.", &labels, *count);
        }
        let labels = [("method", method), (route_label, route)];
        out.histogram(seconds, "Time from a request's first byte to its answer's last.", &labels, &histogram);
    }
}
