//! A scrape of the metrics, and questions to it.

/// One scrape, in the text format of Prometheus.
#[derive(Debug, Clone)]
pub struct Metrics {
    text: String,
}

impl Metrics {
    /// Takes the text of a scrape.
    pub fn new(text: String) -> Self {
        Self { text }
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether there is a series of exactly this name.
    pub fn has(&self, name: &str) -> bool {
        self.samples().any(|(sample, ..)| sample == name)
    }

    /// The sum over all series that `selector` takes: `name` or `name{label="value",...}`, where labels that are
    /// not named may have any value. Zero when there is none.
    pub fn sum(&self, selector: &str) -> f64 {
        let (name, wanted) = selector.split_once('{').unwrap_or((selector, ""));
        let wanted: Vec<&str> = wanted.trim_end_matches('}').split(',').filter(|label| !label.is_empty()).collect();
        let samples = self.samples().filter(|(sample, ..)| *sample == name);
        samples.filter(|(_, labels, _)| wanted.iter().all(|label| holds(labels, label))).map(|(.., value)| value).sum()
    }

    /// Every value of `label` among the series called `name`.
    pub fn values(&self, name: &str, label: &str) -> Vec<String> {
        let samples = self.samples().filter(|(sample, ..)| *sample == name);
        let values = samples.filter_map(|(_, labels, _)| {
            let after = labels.split(&format!("{label}=\"")).nth(1)?;
            after.split('"').next().map(str::to_owned)
        });
        values.collect()
    }

    /// Name, labels and value of every sample.
    pub fn samples(&self) -> impl Iterator<Item = (&str, &str, f64)> {
        let lines = self.text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
        lines.map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("not a sample: {line}"));
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let value = value.parse().unwrap_or_else(|_| panic!("not a number: {line}"));
            (name, labels.trim_end_matches('}'), value)
        })
    }
}

/// Whether `labels` holds `label` (`name="value"`) as one whole label.
fn holds(labels: &str, label: &str) -> bool {
    labels == label
        || labels.starts_with(&format!("{label},"))
        || labels.ends_with(&format!(",{label}"))
        || labels.contains(&format!(",{label},"))
}
