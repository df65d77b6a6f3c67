//! A request of Chat, read into the model.

use serde_json::value::RawValue;

use super::super::ask::{
    Ask, Call, Choice, Format, Kind, Media, Outcome, Part, Role, Seal, Source, Tier, Tool, users_from,
};
use super::super::media;
use super::super::text::{Content, Text};
use super::super::thinking::Thinking;
use super::super::translate::{Untranslatable, object};
use super::body::{Body, ContentPart, JsonSchema, Message, Named, ResponseFormat, ToolCall, ToolOf};
use super::{ExtraContent, ThinkingBlock};

impl<'a> Body<'a> {
    /// # Errors
    ///
    /// What no provider of another dialect can be asked.
    pub(in super::super) fn into_ask(self) -> Result<Ask<'a>, Untranslatable> {
        self.refuse_what_is_chats_alone()?;
        let mut ask = Ask::new();
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
        ask.choice = self.tool_choice.map(choice).transpose()?;
        ask.parallel = self.parallel_tool_calls;
        ask.max_tokens = self.max_completion_tokens.or(self.max_tokens);
        (ask.temperature, ask.top_p, ask.top_k) = (self.temperature, self.top_p, self.top_k);
        ask.presence_penalty = self.presence_penalty.filter(|penalty| *penalty != 0.0);
        ask.frequency_penalty = self.frequency_penalty.filter(|penalty| *penalty != 0.0);
        ask.seed = self.seed;
        ask.stop = match self.stop {
            None => Vec::new(),
            Some(Content::Text(one)) => vec![one],
            Some(Content::Parts(many)) => many,
        };
        let unwanted = self.thinking.map(|_| Thinking::Unwanted);
        ask.thinking = self.reasoning_effort.map(|word| effort(&word)).transpose()?.or(unwanted);
        ask.format = self.response_format.map(ResponseFormat::into_format).transpose()?.flatten();
        ask.user = self.safety_identifier.or(self.user);
        ask.tier = self.service_tier.map(|word| tier(&word)).transpose()?;
        ask.verbosity = self.verbosity.filter(|word| &**word != "medium");
        ask.stream = self.stream.unwrap_or(false);
        ask.include_usage = self.stream_options.and_then(|options| options.include_usage).unwrap_or(false);
        Ok(ask)
    }

    fn refuse_what_is_chats_alone(&self) -> Result<(), Untranslatable> {
        let text_only = |list: &Vec<Text>| list.iter().all(|modality| &**modality == "text");
        let functions = self.functions.as_ref().is_some_and(|list| !list.is_empty());
        let is_word = |call: &RawValue| matches!(call.get(), r#""none""# | r#""auto""#);
        let asked = [
            ("n", self.n.is_some_and(|n| n != 1), "this model gives one choice per request"),
            ("logprobs", self.logprobs == Some(true), NO_LOGPROBS),
            ("top_logprobs", self.top_logprobs.is_some_and(|n| n > 0), NO_LOGPROBS),
            ("logit_bias", self.logit_bias.as_ref().is_some_and(|map| !map.is_empty()), "this model takes no bias"),
            ("modalities", !self.modalities.as_ref().is_none_or(text_only), "this model answers in text alone"),
            ("audio", self.audio.is_some(), "this model answers in text alone"),
            ("functions", functions, "use `tools`"),
            ("function_call", !self.function_call.is_none_or(is_word), "use `tool_choice`"),
            ("thinking", self.thinking.as_ref().is_some_and(|on| &*on.kind != "disabled"), "use `reasoning_effort`"),
            ("web_search_options", self.web_search_options.is_some(), "this model is not asked to search"),
            ("moderation", self.moderation.is_some(), "this model's answers are not moderated on request"),
        ];
        match asked.into_iter().find(|(_, asked, _)| *asked) {
            Some((field, _, why)) => Err(Untranslatable::at(field, why.to_owned())),
            None => Ok(()),
        }
    }
}

const NO_LOGPROBS: &str = "this model gives no log probabilities";

impl<'a> Message<'a> {
    fn say_to(self, ask: &mut Ask<'a>, at: &str) -> Result<(), Untranslatable> {
        for (field, there) in [("audio", self.audio.is_some()), ("function_call", self.function_call.is_some())] {
            if there {
                return Err(Untranslatable::at(&format!("{at}.{field}"), "this model cannot be told of it".to_owned()));
            }
        }
        let content = parts(self.content, &format!("{at}.content"))?;
        match &*self.role {
            "system" | "developer" => {
                ask.system.extend(only_text(content, at)?);
                Ok(())
            }
            "user" => {
                ask.say(Role::User, content);
                Ok(())
            }
            "tool" => {
                let missing = || Untranslatable::at(&format!("{at}.tool_call_id"), "it is missing".to_owned());
                let id = self.tool_call_id.ok_or_else(missing)?;
                let outcome = Outcome { id, name: Text::default(), parts: content, is_error: false };
                ask.say(Role::User, vec![Part::Result(outcome)]);
                Ok(())
            }
            "assistant" => {
                let mut said = thoughts(self.reasoning_content.or(self.reasoning), self.thinking_blocks);
                let seal = self.extra_content.and_then(ExtraContent::signature);
                let texts = content.into_iter().chain(self.refusal.map(|text| Part::Text(text, None)));
                said.extend(texts.filter(|part| !matches!(part, Part::Text(text, _) if text.is_empty())));
                if let Some(Part::Text(_, sealed)) = said.last_mut() {
                    *sealed = seal;
                }
                for (index, call) in self.tool_calls.unwrap_or_default().into_iter().enumerate() {
                    said.push(Part::Call(call.into_call(&format!("{at}.tool_calls[{index}]"))?));
                }
                ask.say(Role::Assistant, said);
                Ok(())
            }
            other => Err(Untranslatable::at(&format!("{at}.role"), format!("`{other}` is no role of this model's"))),
        }
    }
}

/// The blocks say it all where they are there; without a seal, thinking is a note that only Chat takes back.
fn thoughts<'a>(reasoning: Option<Text<'a>>, blocks: Option<Vec<ThinkingBlock<'a>>>) -> Vec<Part<'a>> {
    match (blocks, reasoning) {
        (Some(blocks), _) if !blocks.is_empty() => {
            blocks.into_iter().map(|block| block.into_part(Seal::Anthropic)).collect()
        }
        (_, Some(text)) if !text.is_empty() => vec![Part::Thinking(text, Seal::None)],
        _ => Vec::new(),
    }
}

fn parts<'a>(content: Option<Content<'a, ContentPart<'a>>>, at: &str) -> Result<Vec<Part<'a>>, Untranslatable> {
    match content {
        None => Ok(Vec::new()),
        Some(Content::Text(text)) => Ok(vec![Part::Text(text, None)]),
        Some(Content::Parts(list)) => {
            list.into_iter().enumerate().map(|(index, part)| part.into_part(&format!("{at}[{index}]"))).collect()
        }
    }
}

fn only_text<'a>(parts: Vec<Part<'a>>, at: &str) -> Result<Vec<Text<'a>>, Untranslatable> {
    let text = |part| match part {
        Part::Text(text, _) => Ok(text),
        _ => Err(Untranslatable::at(&format!("{at}.content"), "a system prompt is text alone".to_owned())),
    };
    parts.into_iter().map(text).filter(|text| !text.as_ref().is_ok_and(Text::is_blank)).collect()
}

impl<'a> ContentPart<'a> {
    fn into_part(self, at: &str) -> Result<Part<'a>, Untranslatable> {
        let refused = |why: &str| Untranslatable::at(at, why.to_owned());
        let media = |kind, source, title| Part::Media(Media { at: at.to_owned(), kind, source, title });
        match (&*self.kind, self.text, self.refusal, self.image_url, self.file, self.input_audio) {
            ("text", Some(text), None, None, None, None) | ("refusal", None, Some(text), None, None, None) => {
                Ok(Part::Text(text, None))
            }
            ("image_url", None, None, Some(image), None, None) => {
                let source = media::source(image.url, at)?;
                Ok(media(media::kind_of_image(&source, at)?, source, None))
            }
            ("file", None, None, None, Some(file), None) => match (file.file_data, file.file_id) {
                (Some(data), None) => {
                    let source = media::plain(media::source(data, at)?, at)?;
                    Ok(media(Kind::Document, source, file.filename))
                }
                _ => Err(refused("a file of OpenAI's cannot be read by this model; send its bytes as `file_data`")),
            },
            ("input_audio", None, None, None, None, Some(audio)) => {
                let mime = format!("audio/{}", &*audio.format).into();
                Ok(media(Kind::Audio, Source::Data { mime, data: audio.data }, None))
            }
            _ => Err(refused("this model knows no such part")),
        }
    }
}

impl<'a> ToolCall<'a> {
    fn into_call(self, at: &str) -> Result<Call<'a>, Untranslatable> {
        let is_function = self.kind.as_deref().is_none_or(|kind| kind == "function") && self.custom.is_none();
        let Some(function) = self.function.filter(|_| is_function) else {
            return Err(Untranslatable::at(at, "this model calls functions alone".to_owned()));
        };
        let arguments = object(function.arguments).ok_or_else(|| {
            Untranslatable::at(&format!("{at}.function.arguments"), "they are no JSON object".to_owned())
        })?;
        let seal = self.extra_content.and_then(ExtraContent::signature);
        Ok(Call { id: self.id, name: function.name, arguments, seal })
    }
}

impl<'a> ToolOf<'a> {
    fn into_tool(self, at: &str) -> Result<Tool<'a>, Untranslatable> {
        match (&*self.kind, self.function, self.custom) {
            ("function", Some(function), None) => Ok(Tool {
                name: function.name,
                description: function.description,
                schema: function.parameters,
                strict: function.strict.unwrap_or(false),
            }),
            _ => Err(Untranslatable::at(at, "this model calls functions alone".to_owned())),
        }
    }
}

impl<'a> ResponseFormat<'a> {
    fn into_format(self) -> Result<Option<Format<'a>>, Untranslatable> {
        match (&*self.kind, self.json_schema) {
            ("text", None) => Ok(None),
            ("json_object", None) => Ok(Some(Format::Json)),
            ("json_schema", Some(JsonSchema { name, description, schema: Some(schema), strict })) => {
                Ok(Some(Format::Schema { name, description, schema, strict: strict.unwrap_or(false) }))
            }
            _ => Err(Untranslatable::at("response_format", "this model knows no such format".to_owned())),
        }
    }
}

fn choice(raw: &RawValue) -> Result<Choice<'_>, Untranslatable> {
    let refused = || Untranslatable::at("tool_choice", "this model knows no such choice".to_owned());
    if let Ok(word) = serde_json::from_str::<Text>(raw.get()) {
        return match &*word {
            "auto" => Ok(Choice::Auto),
            "none" => Ok(Choice::None),
            "required" => Ok(Choice::Required),
            _ => Err(refused()),
        };
    }
    let named: Named = serde_json::from_str(raw.get()).map_err(|_| refused())?;
    match (&*named.kind, named.function, named.allowed_tools) {
        ("function", Some(function), None) => Ok(Choice::Tool(function.name)),
        ("allowed_tools", None, Some(allowed)) => {
            let names: Option<Vec<Text>> = allowed.tools.into_iter().map(|tool| Some(tool.function?.name)).collect();
            let must = match &*allowed.mode {
                "auto" => false,
                "required" => true,
                _ => return Err(refused()),
            };
            Ok(Choice::Allowed { must, names: names.ok_or_else(refused)? })
        }
        _ => Err(refused()),
    }
}

fn effort(word: &str) -> Result<Thinking, Untranslatable> {
    let refused = || Untranslatable::at("reasoning_effort", "this model knows no such effort".to_owned());
    Thinking::of_effort(word).ok_or_else(refused)
}

fn tier(word: &str) -> Result<Tier, Untranslatable> {
    match word {
        "auto" => Ok(Tier::Auto),
        "default" => Ok(Tier::Standard),
        _ => Err(Untranslatable::at("service_tier", "this model has no such tier".to_owned())),
    }
}
