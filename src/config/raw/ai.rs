//! The shape of `ai`, and of a route's `ai`.

use std::fmt;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};

use super::forms::SHORT_FORM_OR_TARGETS;
use super::{Named, OneOrMany, Or, RawUpstreamTls, Short, Text};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct RawAi {
    pub(in crate::config) providers: Option<Named<RawProvider>>,
    pub(in crate::config) models: Option<Named<RawModel>>,
    pub(in crate::config) attempts: Text,
    pub(in crate::config) assumed_output: Text,
    pub(in crate::config) max_buffered: Text,
    pub(in crate::config) timeouts: Option<RawAiTimeouts>,
    pub(in crate::config) breaker: Option<Or<RawBreaker>>,
    pub(in crate::config) key_cooldown: Text,
    pub(in crate::config) hold: Option<RawHold>,
    pub(in crate::config) keepalive: Text,
    pub(in crate::config) headers: Text,
    pub(in crate::config) prices: Option<RawPrices>,
}

// Debug is left out of what holds a secret.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct RawProvider {
    pub(in crate::config) kind: Text,
    pub(in crate::config) enabled: Text,
    pub(in crate::config) base_url: Text,
    pub(in crate::config) tls: Option<RawUpstreamTls>,
    pub(in crate::config) pool: Text,
    pub(in crate::config) base_path: Text,
    pub(in crate::config) keys: Option<OneOrMany<Or<RawProviderKey>>>,
    pub(in crate::config) key_header: Text,
    pub(in crate::config) credentials: Text,
    pub(in crate::config) api_version: Text,
    pub(in crate::config) deployments: Option<Named<String>>,
    pub(in crate::config) models: Option<OneOrMany<String>>,
    pub(in crate::config) headers: Option<Named<String>>,
    pub(in crate::config) speaks: Option<OneOrMany<String>>,
    pub(in crate::config) strip_body_fields: Option<OneOrMany<String>>,
}

impl fmt::Debug for RawProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawProvider").field("kind", &self.kind).finish_non_exhaustive()
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct RawProviderKey {
    pub(in crate::config) name: Text,
    pub(in crate::config) secret: Text,
    pub(in crate::config) weight: Text,
}

impl Short for RawProviderKey {
    const EXPECTING: &'static str = "a key such as ${OPENAI_API_KEY:-}, or a map with `secret` and others";
}

/// A model: one target, a list of them, or a map.
#[derive(Debug)]
pub(in crate::config) enum RawModel {
    Target(String),
    Targets(OneOrMany<Or<RawTarget>>),
    Map(RawModelMap),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct RawModelMap {
    pub(in crate::config) targets: Option<OneOrMany<Or<RawTarget>>>,
    pub(in crate::config) assumed_output: Text,
    pub(in crate::config) timeouts: Option<RawAiTimeouts>,
    pub(in crate::config) provider: Text,
    pub(in crate::config) model: Text,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct RawTarget {
    pub(in crate::config) provider: Text,
    pub(in crate::config) model: Text,
    pub(in crate::config) weight: Text,
}

impl Short for RawTarget {
    const EXPECTING: &'static str = "PROVIDER, PROVIDER/MODEL, or a map with `provider` and others";
}

impl<'de> Deserialize<'de> for RawModel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Forms;

        impl<'de> Visitor<'de> for Forms {
            type Value = RawModel;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a target such as PROVIDER or PROVIDER/MODEL, a list of them, or a map with `targets`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(RawModel::Target(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
                de::Deserialize::deserialize(SeqAccessDeserializer::new(items)).map(RawModel::Targets)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                RawModelMap::deserialize(MapAccessDeserializer::new(map)).map(RawModel::Map)
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(self, map: D) -> Result<Self::Value, D::Error> {
                RawModelMap::deserialize(map).map(RawModel::Map)
            }
        }

        deserializer.deserialize_newtype_struct(SHORT_FORM_OR_TARGETS, Forms)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct RawAiTimeouts {
    pub(in crate::config) connect: Text,
    pub(in crate::config) first_token: Text,
    pub(in crate::config) idle: Text,
    pub(in crate::config) total: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct RawBreaker {
    pub(in crate::config) error_threshold: Text,
    pub(in crate::config) window: Text,
    pub(in crate::config) min_requests: Text,
    pub(in crate::config) reset: Text,
}

impl Short for RawBreaker {
    const EXPECTING: &'static str = "off, or a map with `error_threshold` and others";
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct RawHold {
    pub(in crate::config) bytes: Text,
    pub(in crate::config) time: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct RawPrices {
    pub(in crate::config) file: Text,
    pub(in crate::config) unknown: Option<Or<RawPrice>>,
    pub(in crate::config) models: Option<Named<RawPrice>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct RawPrice {
    pub(in crate::config) input: Text,
    pub(in crate::config) cached_input: Text,
    pub(in crate::config) cache_write: Text,
    pub(in crate::config) cache_write_1h: Text,
    pub(in crate::config) output: Text,
    pub(in crate::config) reasoning: Text,
    pub(in crate::config) audio_input: Text,
    pub(in crate::config) audio_output: Text,
    pub(in crate::config) image_input: Text,
    pub(in crate::config) image_output: Text,
    pub(in crate::config) long_context: Option<RawLongContext>,
    pub(in crate::config) tiers: Option<RawTiers>,
}

impl Short for RawPrice {
    const EXPECTING: &'static str = "block, zero, or a map with `input` and `output`";
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct RawLongContext {
    pub(in crate::config) above: Text,
    pub(in crate::config) input: Text,
    pub(in crate::config) cached_input: Text,
    pub(in crate::config) cache_write: Text,
    pub(in crate::config) cache_write_1h: Text,
    pub(in crate::config) output: Text,
    pub(in crate::config) reasoning: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct RawTiers {
    pub(in crate::config) flex: Text,
    pub(in crate::config) flex_cached_input: Text,
    pub(in crate::config) priority: Text,
    pub(in crate::config) ultrafast: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct RawRouteAi {
    pub(in crate::config) models: Option<OneOrMany<String>>,
    pub(in crate::config) strip_body_fields: Option<OneOrMany<String>>,
    pub(in crate::config) cut_over_budget: Text,
    pub(in crate::config) cache_nondeterministic: Text,
}

impl Short for RawRouteAi {
    const EXPECTING: &'static str = "true, or a map with `models` and others";
}
