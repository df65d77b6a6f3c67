//! The load programs, wrk and ab: their command lines, and what their output says.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde::Serialize;
use tokio::process::Command;

/// Open connections of every workload.
const CONNECTIONS: u32 = 64;
/// ab counts requests, wrk seconds; this many make runs of about the same length.
const AB_REQUESTS_PER_SECOND: u32 = 20_000;
/// 90 bytes of JSON, as a small API call has.
const BODY: &str = r#"{"model":"qwen2:7b","messages":[{"role":"user","content":"How are you today, eh?"}],"n":1}"#;

/// A kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// wrk, GET without a body.
    Get,
    /// wrk, POST with a body of 90 bytes.
    Post,
    /// ab with keep-alive (T45), GET.
    Ab,
    /// wrk, GET of what the proxy has in its cache.
    Hit,
    /// wrk, GET of an answer that the proxy makes itself: what a hit costs at least.
    Fixed,
}

/// What one run of a load program measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Sample {
    /// Requests completed.
    pub requests: u64,
    /// Requests per second.
    pub per_second: f64,
    /// Median latency, milliseconds (ab counts whole ones).
    pub p50_ms: f64,
    /// 99th percentile, milliseconds.
    pub p99_ms: f64,
    /// Failed connects, reads, writes, timeouts, and answers that are not 2xx or 3xx.
    pub errors: u64,
}

impl Workload {
    /// The name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Post => "post",
            Self::Ab => "ab-get",
            Self::Hit => "cache-hit",
            Self::Fixed => "fixed-answer",
        }
    }

    /// All of them, in the order of the report.
    pub const ALL: [Self; 5] = [Self::Get, Self::Post, Self::Ab, Self::Hit, Self::Fixed];

    /// The path it asks for, where `path` is that of the plan.
    pub fn path(self, path: &str) -> &str {
        match self {
            Self::Get | Self::Post | Self::Ab => path,
            Self::Hit => "/cached",
            Self::Fixed => "/fixed",
        }
    }

    /// The command line that puts this load on `url`; the POST script is in `dir`.
    pub fn argv(self, url: &str, seconds: u32, dir: &Path) -> Vec<String> {
        let requests = seconds * AB_REQUESTS_PER_SECOND;
        let script = dir.join("post.lua");
        let line = match self {
            Self::Get | Self::Hit | Self::Fixed => format!("wrk -t1 -c{CONNECTIONS} -d{seconds}s --latency {url}"),
            Self::Post => format!("wrk -t1 -c{CONNECTIONS} -d{seconds}s --latency -s {} {url}", script.display()),
            Self::Ab => format!("ab -q -k -n {requests} -c {CONNECTIONS} {url}"),
        };
        line.split(' ').map(str::to_owned).collect()
    }

    /// Reads the program's output; `None` when it is not a result.
    pub fn parse(self, text: &str) -> Option<Sample> {
        match self {
            Self::Get | Self::Post | Self::Hit | Self::Fixed => parse_wrk(text),
            Self::Ab => parse_ab(text),
        }
    }
}

/// The workloads whose programs are installed; adds a line for those that are not. Errors without wrk.
pub fn installed(skipped: &mut Vec<String>) -> io::Result<Vec<Workload>> {
    if super::machine::which("wrk").is_none() {
        return Err(io::Error::other("wrk is not installed, and there is no benchmark without it"));
    }
    let mut workloads = vec![Workload::Get, Workload::Post, Workload::Hit, Workload::Fixed];
    match super::machine::which("ab") {
        Some(_) => workloads.push(Workload::Ab),
        None => skipped.push("ab-get: ab is not installed".to_owned()),
    }
    Ok(workloads)
}

/// Writes wrk's script for POST.
pub fn write_script(dir: &Path) -> io::Result<()> {
    let script =
        format!("wrk.method = \"POST\"\nwrk.body = [[{BODY}]]\nwrk.headers[\"Content-Type\"] = \"application/json\"\n");
    std::fs::write(dir.join("post.lua"), script)
}

/// Runs a load program to its end and returns what it printed. Errors after `limit`; the program is ended then.
pub async fn execute(argv: &[String], limit: Duration) -> io::Result<String> {
    let (program, args) = argv.split_first().ok_or_else(|| io::Error::other("no program"))?;
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(limit, command.output()).await;
    let output = output.map_err(|_| io::Error::other(format!("{} took longer than {limit:?}", argv.join(" "))))??;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    match output.status.success() {
        true => Ok(text),
        false => {
            Err(io::Error::other(format!("{}: {}", argv.join(" "), String::from_utf8_lossy(&output.stderr).trim())))
        }
    }
}

pub(crate) fn parse_wrk(text: &str) -> Option<Sample> {
    let mut sample = Sample::default();
    for line in text.lines().map(str::trim) {
        if let Some((requests, _)) = line.split_once(" requests in ") {
            sample.requests = requests.parse().ok()?;
        } else if let Some(rate) = line.strip_prefix("Requests/sec:") {
            sample.per_second = rate.trim().parse().ok()?;
        } else if let Some(p50) = line.strip_prefix("50%") {
            sample.p50_ms = millis(p50.trim())?;
        } else if let Some(p99) = line.strip_prefix("99%") {
            sample.p99_ms = millis(p99.trim())?;
        } else if let Some(counts) = line.strip_prefix("Socket errors:") {
            let counts = counts.split(',').filter_map(|count| count.split_whitespace().last()?.parse::<u64>().ok());
            sample.errors += counts.sum::<u64>();
        } else if let Some(count) = line.strip_prefix("Non-2xx or 3xx responses:") {
            sample.errors += count.trim().parse::<u64>().ok()?;
        }
    }
    (sample.per_second > 0.0 || sample.errors > 0).then_some(sample)
}

pub(crate) fn parse_ab(text: &str) -> Option<Sample> {
    let number = |key: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(key))?;
        line.split_whitespace().next()?.parse::<f64>().ok()
    };
    let errors = number("Failed requests:")? + number("Non-2xx responses:").unwrap_or(0.0);
    Some(Sample {
        requests: number("Complete requests:")? as u64,
        per_second: number("Requests per second:")?,
        p50_ms: number("50%")?,
        p99_ms: number("99%")?,
        errors: errors as u64,
    })
}

/// wrk's latencies: `812.00us`, `1.20ms`, `2.01s`.
fn millis(text: &str) -> Option<f64> {
    let duration = crate::units::duration(text)?;
    Some(duration.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRK: &str = "Running 5s test @ http://127.0.0.1:8080/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.27ms  633.04us  17.66ms   92.53%
    Req/Sec    51.02k     4.12k   56.70k    74.00%
  Latency Distribution
     50%  812.00us
     75%    1.32ms
     90%    1.75ms
     99%    3.47ms
  253797 requests in 5.00s, 37.27MB read
  Socket errors: connect 1, read 2, write 3, timeout 4
  Non-2xx or 3xx responses: 5
Requests/sec:  50755.42
Transfer/sec:      7.45MB
";

    const AB: &str = "Concurrency Level:      64
Time taken for tests:   2.337 seconds
Complete requests:      100000
Failed requests:        3
   (Connect: 0, Receive: 0, Length: 3, Exceptions: 0)
Non-2xx responses:      2
Keep-Alive requests:    100000
Requests per second:    42785.19 [#/sec] (mean)
Time per request:       1.496 [ms] (mean)
Percentage of the requests served within a certain time (ms)
  50%      1
  66%      2
  99%      4
 100%     11 (longest request)
";

    #[test]
    fn wrk_output_is_read() {
        let sample = parse_wrk(WRK).unwrap();
        let expected = Sample { requests: 253_797, per_second: 50_755.42, p50_ms: 0.812, p99_ms: 3.47, errors: 15 };
        assert_eq!(sample, expected);
        let clean: String =
            WRK.lines().filter(|line| !line.contains("rrors") && !line.contains("Non-")).collect::<Vec<_>>().join("\n");
        assert_eq!(parse_wrk(&clean).unwrap().errors, 0);
        assert_eq!(parse_wrk("unable to connect to 127.0.0.1:1 Connection refused"), None);
    }

    #[test]
    fn ab_output_is_read() {
        let sample = parse_ab(AB).unwrap();
        assert_eq!(sample, Sample { requests: 100_000, per_second: 42_785.19, p50_ms: 1.0, p99_ms: 4.0, errors: 5 });
        assert_eq!(parse_ab("apr_socket_recv: Connection refused (111)"), None);
    }

    #[test]
    fn the_posted_body_has_ninety_bytes() {
        assert_eq!(BODY.len(), 90);
    }
}
