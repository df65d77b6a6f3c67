//! What one request asks of the mock: `x-mock-*` headers, or query keys of the same names, over the orders that stand for all.

use std::str::FromStr;
use std::time::Duration;

use http::{HeaderMap, StatusCode};

use super::{Fault, Framing, unknown};
use crate::mock::sse::Cadence;
use crate::units;

/// The error bodies that JAiRouter is known to send (F07, F08).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::mock) enum ErrorShape {
    /// (a) `RouterResponse` with `success: false`.
    Router,
    /// (b) 401 `AUTH_MISSING` without a content type.
    Auth,
    /// (c) The documented `{"error": {...}}`.
    Documented,
    /// (d) 503 with a bare string labelled as JSON.
    Fallback,
    /// F08: 200 with `success: false`.
    OkFalse,
    /// A page, as balancers before a provider send it.
    Html,
}

/// Whose manner the doors in OpenAI's shape have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::mock) enum Flavour {
    #[default]
    OpenAi,
    /// vLLM and its like; with Anthropic's messages as a door of its own, or without.
    Vllm {
        messages: bool,
    },
    JaiRouter,
}

/// What is said about tokens in place of what was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::mock) struct UsageOrder {
    pub(in crate::mock) input: Option<u64>,
    pub(in crate::mock) output: Option<u64>,
    pub(in crate::mock) cached: u64,
    pub(in crate::mock) written: u64,
    pub(in crate::mock) reasoning: Option<u64>,
}

/// Thinking that was ordered rather than asked for in the dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::mock) enum Think {
    Shown,
    /// Encrypted, as Anthropic's `redacted_thinking`.
    Redacted,
}

/// Why an answer ends, where the reason is ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::mock) enum Ended {
    /// The provider's filter stepped in.
    Filter,
    /// Anthropic's `pause_turn`.
    Pause,
    /// As if the longest output was reached.
    Length,
}

/// What one request asks of the mock.
#[derive(Clone, Default)]
pub(in crate::mock) struct Orders {
    pub(in crate::mock) delay: Duration,
    pub(in crate::mock) fault: Option<Fault>,
    pub(in crate::mock) status: Option<StatusCode>,
    pub(in crate::mock) body_size: Option<u64>,
    pub(in crate::mock) chunked: bool,
    pub(in crate::mock) sse: Option<Cadence>,
    pub(in crate::mock) error: Option<ErrorShape>,
    pub(in crate::mock) usage: UsageOrder,
    pub(in crate::mock) framing: Framing,
    pub(in crate::mock) think: Option<Think>,
    pub(in crate::mock) ended: Option<Ended>,
    pub(in crate::mock) flavour: Flavour,
    /// Fields that the provider does not know are refused.
    pub(in crate::mock) strict: bool,
    /// The answer carries the key it was asked with, and a cookie.
    pub(in crate::mock) leak: bool,
}

impl Orders {
    /// Reads the headers and the query over what stands. Errors name the order that makes no sense.
    pub(in crate::mock) fn parse(standing: Self, headers: &HeaderMap, query: &str) -> Result<Self, String> {
        let mut orders = standing;
        for (name, value) in headers {
            if let Some(name) = name.as_str().strip_prefix("x-mock-") {
                orders.read(name, value.to_str().unwrap_or_default())?;
            }
        }
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if let Some(name) = name.strip_prefix("x-mock-") {
                orders.read(name, value)?;
            }
        }
        Ok(orders)
    }

    /// Whether a request carries any order, at the price of a look at each header's name.
    pub(in crate::mock) fn given(headers: &HeaderMap) -> bool {
        headers.keys().any(|name| name.as_str().starts_with("x-mock-"))
    }

    /// Takes one order in.
    pub(in crate::mock) fn read(&mut self, name: &str, value: &str) -> Result<(), String> {
        let bad = || unknown(name, value);
        let on = matches!(value, "" | "1" | "true");
        match name {
            "status" => self.status = Some(StatusCode::from_str(value).map_err(|_| bad())?),
            "delay" => self.delay = units::duration(value).ok_or_else(bad)?,
            "fault" => self.fault = Some(value.parse()?),
            "body-size" => self.body_size = Some(units::size(value).ok_or_else(bad)?),
            "chunked" => self.chunked = on,
            "sse" => self.sse = Some(Cadence::parse(value.split(',')).ok_or_else(bad)?),
            "error" => self.error = Some(shape(value).ok_or_else(bad)?),
            "usage" => self.usage = UsageOrder::parse(value).ok_or_else(bad)?,
            "framing" => self.framing = Framing::parse(value).ok_or_else(bad)?,
            "think" => self.think = Some(if value == "redacted" { Think::Redacted } else { Think::Shown }),
            "finish" => self.ended = Some(ended(value).ok_or_else(bad)?),
            "flavour" => self.flavour = flavour(value).ok_or_else(bad)?,
            "strict" => self.strict = on,
            "leak" => self.leak = on,
            _ => return Err(format!("there is no order x-mock-{name}")),
        }
        Ok(())
    }
}

impl UsageOrder {
    /// Reads `in=1000,out=500,cached=200,written=100,reasoning=50`, any of them.
    fn parse(text: &str) -> Option<Self> {
        let mut usage = Self::default();
        for word in text.split(',') {
            let (name, value) = word.trim().split_once('=')?;
            let value = value.parse().ok()?;
            match name {
                "in" => usage.input = Some(value),
                "out" => usage.output = Some(value),
                "cached" => usage.cached = value,
                "written" => usage.written = value,
                "reasoning" => usage.reasoning = Some(value),
                _ => return None,
            }
        }
        Some(usage)
    }
}

fn shape(name: &str) -> Option<ErrorShape> {
    Some(match name {
        "router" | "a" => ErrorShape::Router,
        "auth" | "b" => ErrorShape::Auth,
        "documented" | "c" => ErrorShape::Documented,
        "fallback" | "d" => ErrorShape::Fallback,
        "ok-false" => ErrorShape::OkFalse,
        "html" => ErrorShape::Html,
        _ => return None,
    })
}

fn ended(name: &str) -> Option<Ended> {
    Some(match name {
        "filter" => Ended::Filter,
        "pause" => Ended::Pause,
        "length" => Ended::Length,
        _ => return None,
    })
}

fn flavour(name: &str) -> Option<Flavour> {
    Some(match name {
        "openai" => Flavour::OpenAi,
        "vllm" => Flavour::Vllm { messages: false },
        "vllm-messages" => Flavour::Vllm { messages: true },
        "jairouter" => Flavour::JaiRouter,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Refusal, Stage, Twist};
    use super::*;

    #[test]
    fn a_request_overrides_what_stands_for_all() {
        let mut standing = Orders::default();
        standing.read("usage", "in=5,out=6").unwrap();
        standing.read("sse", "events=3").unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("x-mock-usage", "cached=2".parse().unwrap());
        let orders = Orders::parse(standing, &headers, "a=b").unwrap();
        assert_eq!(orders.usage, UsageOrder { cached: 2, ..UsageOrder::default() });
        assert_eq!(orders.sse.unwrap().events, Some(3));
    }

    #[test]
    fn faults_are_read_as_they_are_written() {
        let read = |text: &str| text.parse::<Fault>();
        assert_eq!(read("error:529@start"), Ok(Fault::At(Stage::Start, Twist::Error(529))));
        assert_eq!(read("close@3"), Ok(Fault::At(Stage::After(3), Twist::Close)));
        assert_eq!(read("finish@end"), Ok(Fault::At(Stage::End, Twist::Finish)));
        assert_eq!(read("huge:1MiB@headers"), Ok(Fault::At(Stage::Headers, Twist::Huge(1 << 20))));
        assert_eq!(read("rate-limit:6m"), Ok(Fault::RateLimit(Duration::from_secs(360))));
        assert_eq!(read("refuse:quota"), Ok(Fault::Refusal(Refusal::Quota)));
        for nonsense in ["error@", "@start", "error:9@start", "slow:", "refuse:all", "ping:0ms@start"] {
            assert!(read(nonsense).is_err(), "{nonsense}");
        }
    }
}
