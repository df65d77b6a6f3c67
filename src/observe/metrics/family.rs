//! Metric families under construction.

use std::collections::BTreeMap;

use prometheus::proto::{self, LabelPair, Metric, MetricFamily, MetricType};

/// Families by name: each has one type and one help text however many places add to it.
pub(super) struct Families {
    constant: Vec<LabelPair>,
    families: BTreeMap<&'static str, MetricFamily>,
    adopted: Vec<MetricFamily>,
}

/// A histogram that is not cumulative yet.
pub(super) struct Histogram<'a> {
    /// Upper bounds in seconds, ascending.
    pub(super) bounds: &'a [f64],
    /// One more than bounds: the last has none.
    pub(super) counts: &'a [u64],
    pub(super) sum: f64,
}

type Labels<'a> = [(&'a str, &'a str)];

impl Families {
    /// Nothing yet; `constant` labels will stand on every series.
    pub(super) fn new(constant: &Labels<'_>) -> Self {
        Self {
            constant: constant.iter().map(|label| pair(*label)).collect(),
            families: BTreeMap::new(),
            adopted: Vec::new(),
        }
    }

    pub(super) fn counter(&mut self, name: &'static str, help: &str, labels: &Labels<'_>, value: u64) {
        self.amount(name, help, labels, value as f64);
    }

    /// A counter of what is not counted in whole numbers.
    pub(super) fn amount(&mut self, name: &'static str, help: &str, labels: &Labels<'_>, value: f64) {
        let mut counter = proto::Counter::default();
        counter.set_value(value);
        let mut metric = self.metric(labels);
        metric.set_counter(counter);
        self.push(name, help, MetricType::COUNTER, metric);
    }

    pub(super) fn gauge(&mut self, name: &'static str, help: &str, labels: &Labels<'_>, value: f64) {
        let mut gauge = proto::Gauge::default();
        gauge.set_value(value);
        let mut metric = self.metric(labels);
        metric.set_gauge(gauge);
        self.push(name, help, MetricType::GAUGE, metric);
    }

    pub(super) fn histogram(&mut self, name: &'static str, help: &str, labels: &Labels<'_>, value: &Histogram<'_>) {
        let mut cumulative = 0;
        let buckets = value.bounds.iter().zip(value.counts).map(|(bound, count)| {
            cumulative += count;
            let mut bucket = proto::Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(cumulative);
            bucket
        });
        let mut histogram = proto::Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(value.counts.iter().sum());
        histogram.set_sample_sum(value.sum);
        let mut metric = self.metric(labels);
        metric.set_histogram(histogram);
        self.push(name, help, MetricType::HISTOGRAM, metric);
    }

    /// A sum and a count, without quantiles.
    pub(super) fn summary(&mut self, name: &'static str, help: &str, labels: &Labels<'_>, count: u64, sum: f64) {
        let mut summary = proto::Summary::default();
        summary.set_sample_count(count);
        summary.set_sample_sum(sum);
        let mut metric = self.metric(labels);
        metric.set_summary(summary);
        self.push(name, help, MetricType::SUMMARY, metric);
    }

    /// Adds families of another collector, none of which bears a name of ours, and gives them the constant labels.
    pub(super) fn adopt(&mut self, mut families: Vec<MetricFamily>) {
        for metric in families.iter_mut().flat_map(MetricFamily::mut_metric) {
            let labels = metric.take_label().into_iter().chain(self.constant.iter().cloned());
            metric.set_label(labels.collect());
        }
        self.adopted.extend(families);
    }

    /// All families: ours in the order of their names, then those adopted.
    pub(super) fn finish(self) -> Vec<MetricFamily> {
        self.families.into_values().chain(self.adopted).collect()
    }

    fn metric(&self, labels: &Labels<'_>) -> Metric {
        Metric::from_label(labels.iter().map(|label| pair(*label)).chain(self.constant.iter().cloned()).collect())
    }

    fn push(&mut self, name: &'static str, help: &str, kind: MetricType, metric: Metric) {
        let family = self.families.entry(name).or_insert_with(|| {
            let mut family = MetricFamily::default();
            family.set_name(name.to_owned());
            family.set_help(help.to_owned());
            family.set_field_type(kind);
            family
        });
        debug_assert!(family.get_field_type() == kind, "{name} has two types");
        family.mut_metric().push(metric);
    }
}

fn pair((name, value): (&str, &str)) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.to_owned());
    pair
}
