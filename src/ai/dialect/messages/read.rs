//! A request of Messages, read into the model.

use serde_json::value::RawValue;

use super::super::ask::{Ask, Call, Choice, Format, Kind, Media, Outcome, Part, Role, Source, Tier, Tool, users_from};
use super::super::text::{Content, Text};
use super::super::thinking::{Effort, Thinking};
use super::super::translate::{Untranslatable, object};
use super::body::{self, Block, Body, Citations, Message, OutputFormat, SourceOf, ToolOf};

impl<'a> Body<'a> {
    /// # Errors
    ///
    /// What no provider of another dialect can be asked.
    pub(in super::super) fn into_ask(self) -> Result<Ask<'a>, Untranslatable> {
        self.refuse_what_is_anthropics_alone()?;
        let mut ask = Ask::new();
        if let Some(system) = self.system {
            ask.system = texts(system, "system")?;
        }
        let users_from = users_from(self.messages.iter().map(|message| &*message.role));
        for (index, mut message) in self.messages.into_iter().enumerate() {
            if index >= users_from {
                message.role = "user".into();
            }
            message.say_to(&mut ask, &format!("messages[{index}]"))?;
        }
        ask.pair_results()?;
        for (index, tool) in self.tools.unwrap_or_default().into_iter().enumerate() {
            ask.tools.push(tool.into_tool(&format!("tools[{index}]"))?);
        }
        if let Some(choice) = self.tool_choice {
            ask.parallel = choice.disable_parallel_tool_use.map(|disabled| !disabled);
            ask.choice = Some(choice.into_choice()?);
        }
        ask.max_tokens = Some(self.max_tokens);
        (ask.temperature, ask.top_p, ask.top_k) = (self.temperature, self.top_p, self.top_k);
        ask.stop = self.stop_sequences.unwrap_or_default();
        let (effort, format) = self.output_config.map_or((None, None), |config| (config.effort, config.format));
        ask.thinking = thinking(self.thinking, effort)?;
        ask.format = format.or(self.output_format).map(OutputFormat::into_format).transpose()?;
        ask.user = self.metadata.and_then(|metadata| metadata.user_id);
        ask.tier = self.service_tier.map(|word| tier(&word)).transpose()?;
        ask.stream = self.stream.unwrap_or(false);
        // Its streams always end with usage.
        ask.include_usage = true;
        Ok(ask)
    }

    fn refuse_what_is_anthropics_alone(&self) -> Result<(), Untranslatable> {
        let edits = self.context_management.as_ref().and_then(|management| management.edits.as_deref());
        let edited = edits.unwrap_or_default().iter().any(|edit| !edit.kind.starts_with("clear_thinking"));
        let asked = [
            ("context_management", edited, "this model's provider does not edit the conversation"),
            ("mcp_servers", self.mcp_servers.as_ref().is_some_and(|list| !list.is_empty()), NO_SERVER_TOOLS),
            ("container", self.container.is_some(), NO_SERVER_TOOLS),
            ("inference_geo", self.inference_geo.is_some(), "this model's provider does not choose a region"),
            ("speed", self.speed.as_deref().is_some_and(|speed| speed != "standard"), "this model has one speed"),
        ];
        match asked.into_iter().find(|(_, asked, _)| *asked) {
            Some((field, _, why)) => Err(Untranslatable::at(field, why.to_owned())),
            None => Ok(()),
        }
    }
}

const NO_SERVER_TOOLS: &str = "this model's provider runs no tools itself";

impl<'a> Message<'a> {
    fn say_to(self, ask: &mut Ask<'a>, at: &str) -> Result<(), Untranslatable> {
        let role = match &*self.role {
            "user" => Role::User,
            "assistant" => Role::Assistant,
            "system" => {
                ask.system.extend(texts(self.content, &format!("{at}.content"))?);
                return Ok(());
            }
            other => {
                let message = format!("`{other}` is no role of this model's");
                return Err(Untranslatable::at(&format!("{at}.role"), message));
            }
        };
        ask.say(role, parts(Some(self.content), &format!("{at}.content"))?);
        Ok(())
    }
}

fn parts<'a>(content: Option<Content<'a, Block<'a>>>, at: &str) -> Result<Vec<Part<'a>>, Untranslatable> {
    let blocks = match content {
        None => return Ok(Vec::new()),
        Some(Content::Text(text)) => return Ok(vec![Part::Text(text, None)]),
        Some(Content::Parts(blocks)) => blocks,
    };
    let mut parts = Vec::with_capacity(blocks.len());
    for (index, block) in blocks.into_iter().enumerate() {
        block.add_to(&mut parts, &format!("{at}[{index}]"))?;
    }
    Ok(parts)
}

fn texts<'a>(content: Content<'a, Block<'a>>, at: &str) -> Result<Vec<Text<'a>>, Untranslatable> {
    let text = |part| match part {
        Part::Text(text, _) => Ok(text),
        _ => Err(Untranslatable::at(at, "a system prompt is text alone".to_owned())),
    };
    let parts = parts(Some(content), at)?;
    parts.into_iter().map(text).filter(|text| !text.as_ref().is_ok_and(Text::is_blank)).collect()
}

impl<'a> Block<'a> {
    fn add_to(self, parts: &mut Vec<Part<'a>>, at: &str) -> Result<(), Untranslatable> {
        let refused = |why: &str| Untranslatable::at(at, why.to_owned());
        let missing = |field: &str| Untranslatable::at(&format!("{at}.{field}"), "it is missing".to_owned());
        if self.toolset_name.is_some() || self.caller.as_ref().is_some_and(|caller| &*caller.kind != "direct") {
            return Err(refused(NO_SERVER_TOOLS));
        }
        let cited = self.citations.and_then(|raw| serde_json::from_str::<Citations>(raw.get()).ok());
        if cited.is_some_and(|cited| cited.enabled == Some(true)) {
            return Err(Untranslatable::at(&format!("{at}.citations"), "this model does not cite".to_owned()));
        }
        match &*self.kind {
            "text" => parts.push(Part::Text(self.text.ok_or_else(|| missing("text"))?, None)),
            "image" => {
                let source = source(self.source.ok_or_else(|| missing("source"))?, at)?;
                parts.push(media(at, Kind::Image, source.into_source(at)?, None));
            }
            "document" => {
                if let Some(context) = self.context.filter(|context| !context.is_empty()) {
                    parts.push(Part::Text(context, None));
                }
                let source = source(self.source.ok_or_else(|| missing("source"))?, at)?;
                if &*source.kind == "content" {
                    parts.extend(self::parts(source.content, at)?);
                } else {
                    parts.push(media(at, Kind::Document, source.into_source(at)?, self.title));
                }
            }
            "search_result" => {
                let source: Option<Text> = self.source.and_then(|raw| serde_json::from_str(raw.get()).ok());
                parts.extend(self.title.map(|title| Part::Text(title, None)));
                parts.extend(source.map(|source| Part::Text(source, None)));
                parts.extend(self::parts(self.content, at)?);
            }
            "thinking" => {
                let seal = super::seal(self.signature.unwrap_or_default());
                parts.push(Part::Thinking(self.thinking.unwrap_or_default(), seal));
            }
            "redacted_thinking" => parts.push(Part::Redacted(self.data.ok_or_else(|| missing("data"))?)),
            "tool_use" => {
                let input = self.input.map_or_else(Text::default, |raw| raw.get().into());
                let arguments =
                    object(input).ok_or_else(|| Untranslatable::at(&format!("{at}.input"), "no object".to_owned()))?;
                let id = self.id.ok_or_else(|| missing("id"))?;
                let name = self.name.ok_or_else(|| missing("name"))?;
                parts.push(Part::Call(Call { id, name, arguments, seal: None }));
            }
            "tool_result" => {
                let id = self.tool_use_id.ok_or_else(|| missing("tool_use_id"))?;
                let content = self::parts(self.content, &format!("{at}.content"))?;
                if content.iter().any(|part| !matches!(part, Part::Text(..) | Part::Media(_))) {
                    return Err(refused("a result holds text, images and documents alone"));
                }
                let is_error = self.is_error.unwrap_or(false);
                parts.push(Part::Result(Outcome { id, name: Text::default(), parts: content, is_error }));
            }
            other => return Err(refused(&format!("this model knows no block of the type `{other}`"))),
        }
        Ok(())
    }
}

fn media<'a>(at: &str, kind: Kind, source: Source<'a>, title: Option<Text<'a>>) -> Part<'a> {
    Part::Media(Media { at: at.to_owned(), kind, source, title })
}

fn source<'a>(raw: &'a RawValue, at: &str) -> Result<SourceOf<'a>, Untranslatable> {
    serde_json::from_str(raw.get())
        .map_err(|_| Untranslatable::at(&format!("{at}.source"), "this model knows no such source".to_owned()))
}

impl<'a> SourceOf<'a> {
    fn into_source(self, at: &str) -> Result<Source<'a>, Untranslatable> {
        match (&*self.kind, self.media_type, self.data, self.url) {
            ("base64", Some(mime), Some(data), None) => Ok(Source::Data { mime, data }),
            ("text", _, Some(text), None) => Ok(Source::Plain(text)),
            ("url", None, None, Some(url)) => Ok(Source::Url(url)),
            ("file", ..) => Err(Untranslatable::at(
                &format!("{at}.source"),
                "a file of Anthropic's cannot be read by this model; send its bytes as base64".to_owned(),
            )),
            _ => Err(Untranslatable::at(&format!("{at}.source"), "this model knows no such source".to_owned())),
        }
    }
}

impl<'a> ToolOf<'a> {
    fn into_tool(self, at: &str) -> Result<Tool<'a>, Untranslatable> {
        let refused = |field: &str, why: &str| Err(Untranslatable::at(&format!("{at}.{field}"), why.to_owned()));
        if self.kind.as_deref().is_some_and(|kind| kind != "custom") {
            return refused("type", NO_SERVER_TOOLS);
        }
        if self.allowed_callers.is_some_and(|list| list.iter().any(|caller| &**caller != "direct")) {
            return refused("allowed_callers", NO_SERVER_TOOLS);
        }
        if self.defer_loading == Some(true) {
            return refused("defer_loading", "this model is told of all tools at once");
        }
        if self.input_examples.is_some_and(|list| !list.is_empty()) {
            return refused("input_examples", "this model takes none; put them into the description");
        }
        Ok(Tool {
            name: self.name,
            description: self.description,
            schema: self.input_schema,
            strict: self.strict.unwrap_or(false),
        })
    }
}

impl<'a> body::ToolChoice<'a> {
    fn into_choice(self) -> Result<Choice<'a>, Untranslatable> {
        match (&*self.kind, self.name) {
            ("auto", None) => Ok(Choice::Auto),
            ("any", None) => Ok(Choice::Required),
            ("none", None) => Ok(Choice::None),
            ("tool", Some(name)) => Ok(Choice::Tool(name)),
            _ => Err(Untranslatable::at("tool_choice", "this model knows no such choice".to_owned())),
        }
    }
}

impl<'a> OutputFormat<'a> {
    fn into_format(self) -> Result<Format<'a>, Untranslatable> {
        match (&*self.kind, self.schema) {
            ("json_schema", Some(schema)) => Ok(Format::Schema { name: None, description: None, schema, strict: true }),
            _ => Err(Untranslatable::at("output_config.format", "this model knows no such format".to_owned())),
        }
    }
}

fn thinking(
    thinking: Option<body::Thinking<'_>>,
    effort: Option<Text<'_>>,
) -> Result<Option<Thinking>, Untranslatable> {
    let refused = |field: &str| Untranslatable::at(field, "this model does not think so".to_owned());
    let effort = match effort {
        None => None,
        Some(word) => Some(Effort::parse(&word).ok_or_else(|| refused("output_config.effort"))?),
    };
    let kind = thinking.as_ref().map(|thinking| &*thinking.kind);
    match (kind, thinking.as_ref().and_then(|thinking| thinking.budget_tokens), effort) {
        (None, _, effort) => Ok(effort.map(Thinking::Effort)),
        (Some("disabled"), None, _) => Ok(Some(Thinking::Unwanted)),
        (Some("enabled"), Some(budget), _) => Ok(Some(Thinking::Budget(budget))),
        (Some("adaptive"), None, effort) => Ok(Some(effort.map_or(Thinking::Adaptive, Thinking::Effort))),
        _ => Err(refused("thinking")),
    }
}

fn tier(word: &str) -> Result<Tier, Untranslatable> {
    match word {
        "auto" => Ok(Tier::Auto),
        "standard_only" => Ok(Tier::Standard),
        _ => Err(Untranslatable::at("service_tier", "this model has no such tier".to_owned())),
    }
}
