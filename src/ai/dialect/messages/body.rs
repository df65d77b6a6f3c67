//! The body of a request of Messages, field by field. Every field is named; any other is refused.
//!
//! Left out, as without effect on the answer's content: `cache_control` everywhere, `diagnostics`, a tool's
//! `eager_input_streaming`, an image's `transformations`, the `display` of thinking (what is thought is shown by who
//! thinks), `citations` of an earlier answer's text and what Anthropic's SDK has parsed of it (`parsed_output`), and of
//! `context_management` the clearing of thinking, which goes to no other provider anyway. They are the fields whose names
//! begin with `_`, but for the last.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::super::text::{Content, Text};

/// A request's body.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Body<'a> {
    #[serde(default, rename = "model")]
    _model: IgnoredAny,
    pub(super) max_tokens: u64,
    #[serde(borrow)]
    pub(super) messages: Vec<Message<'a>>,
    #[serde(borrow)]
    pub(super) system: Option<Content<'a, Block<'a>>>,
    #[serde(borrow)]
    pub(super) tools: Option<Vec<ToolOf<'a>>>,
    #[serde(borrow)]
    pub(super) tool_choice: Option<ToolChoice<'a>>,
    pub(super) temperature: Option<f64>,
    pub(super) top_p: Option<f64>,
    pub(super) top_k: Option<u64>,
    #[serde(borrow)]
    pub(super) stop_sequences: Option<Vec<Text<'a>>>,
    #[serde(borrow)]
    pub(super) thinking: Option<Thinking<'a>>,
    #[serde(borrow)]
    pub(super) output_config: Option<OutputConfig<'a>>,
    #[serde(borrow)]
    pub(super) output_format: Option<OutputFormat<'a>>,
    #[serde(borrow)]
    pub(super) metadata: Option<Metadata<'a>>,
    #[serde(borrow)]
    pub(super) service_tier: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) speed: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) context_management: Option<ContextManagement<'a>>,
    pub(super) mcp_servers: Option<Vec<IgnoredAny>>,
    pub(super) container: Option<IgnoredAny>,
    pub(super) inference_geo: Option<IgnoredAny>,
    pub(super) stream: Option<bool>,
    #[serde(rename = "cache_control")]
    _cache_control: Option<IgnoredAny>,
    #[serde(rename = "diagnostics")]
    _diagnostics: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Message<'a> {
    #[serde(borrow)]
    pub(super) role: Text<'a>,
    #[serde(borrow)]
    pub(super) content: Content<'a, Block<'a>>,
}

/// A block of any type.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Block<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Text<'a>,
    #[serde(borrow)]
    pub(super) text: Option<Text<'a>>,
    /// Of an image and a document an object, of a search result a string.
    #[serde(borrow)]
    pub(super) source: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) title: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) context: Option<Text<'a>>,
    /// Of a text that comes back a list, of a document and a search result whether they are asked for.
    #[serde(borrow)]
    pub(super) citations: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) thinking: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) signature: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) data: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) id: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) name: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) input: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) caller: Option<Caller<'a>>,
    #[serde(borrow)]
    pub(super) tool_use_id: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) content: Option<Content<'a, Self>>,
    pub(super) is_error: Option<bool>,
    pub(super) toolset_name: Option<IgnoredAny>,
    #[serde(rename = "cache_control")]
    _cache_control: Option<IgnoredAny>,
    #[serde(rename = "transformations")]
    _transformations: Option<IgnoredAny>,
    #[serde(rename = "parsed_output")]
    _parsed_output: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Caller<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Text<'a>,
    #[serde(rename = "tool_id")]
    _tool_id: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SourceOf<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Text<'a>,
    #[serde(borrow)]
    pub(super) media_type: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) data: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) url: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) content: Option<Content<'a, Block<'a>>>,
    #[serde(rename = "file_id")]
    _file_id: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Citations {
    pub(super) enabled: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ToolOf<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) name: Text<'a>,
    #[serde(borrow)]
    pub(super) description: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) input_schema: Option<&'a RawValue>,
    pub(super) strict: Option<bool>,
    #[serde(borrow)]
    pub(super) allowed_callers: Option<Vec<Text<'a>>>,
    pub(super) defer_loading: Option<bool>,
    pub(super) input_examples: Option<Vec<IgnoredAny>>,
    #[serde(rename = "cache_control")]
    _cache_control: Option<IgnoredAny>,
    #[serde(rename = "eager_input_streaming")]
    _eager_input_streaming: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ToolChoice<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Text<'a>,
    #[serde(borrow)]
    pub(super) name: Option<Text<'a>>,
    pub(super) disable_parallel_tool_use: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Thinking<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Text<'a>,
    pub(super) budget_tokens: Option<u64>,
    #[serde(rename = "display")]
    _display: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OutputConfig<'a> {
    #[serde(borrow)]
    pub(super) effort: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) format: Option<OutputFormat<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OutputFormat<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Text<'a>,
    #[serde(borrow)]
    pub(super) schema: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Metadata<'a> {
    #[serde(borrow)]
    pub(super) user_id: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ContextManagement<'a> {
    #[serde(borrow)]
    pub(super) edits: Option<Vec<Edit<'a>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Edit<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Text<'a>,
    #[serde(rename = "keep")]
    _keep: Option<IgnoredAny>,
}
