//! The model, written as a request of Messages.
//!
//! | the model | Messages |
//! |---|---|
//! | no bound of tokens | 4096, and what thinking gets comes on top: Messages asks for a bound |
//! | a temperature above 1 | refused |
//! | a JSON Schema for the answer | `output_config.format`, which Claude knows from 4.5 on; see [`schema`] |
//! | thinking, with a tool that must be called, or behind a call without what was thought before it | none, unless it always thinks |
//! | a temperature, `top_k`, and `top_p` below 0.95, with thinking | nothing: Messages refuses them |
//! | the same, and a temperature with `top_p`, for a [`Claude`] that does not take it | nothing; the temperature alone |
//! | a tool that must be called, for one that chooses itself | refused |
//! | a strict tool whose schema would mean something else then | the schema, not strict |
//! | JSON of any shape, penalties, a seed, verbosity, sound, a choice among some tools | refused |
//! | text of blanks alone | nothing: Messages refuses it, and it says nothing |
//! | thinking without a seal of Anthropic's | nothing: Messages refuses it |
//! | a tool without parameters | a schema of an empty object |
//! | calls of earlier turns, and no tools | tools of these names, none of which is called: Messages wants them |
//! | ids of calls that are more than letters, digits, `_` and `-` | their digest |

use std::borrow::Cow;
use std::collections::HashSet;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::super::Dialect;
use super::super::ask::{Ask, Choice, Format, Kind, Media, Outcome, Part, Role, Seal, Source, Tier, Tool};
use super::super::claude::{Claude, Sampling};
use super::super::json::{List, Object, object};
use super::super::members::described;
use super::super::names::{Names, call_id, digest};
use super::super::thinking::{ForMessages, ThinkingConfig};
use super::super::translate::Untranslatable;
use super::schema;

/// Bytes of a `user_id`.
const MOST_USER_ID: usize = 256;

/// Below it, `top_p` is refused with thinking.
const LEAST_TOP_P: f64 = 0.95;

/// # Errors
///
/// What Messages has no field for.
pub(in super::super) fn write(
    ask: &Ask<'_>,
    model: &str,
    names: &mut Names,
    out: &mut Vec<u8>,
) -> Result<(), Untranslatable> {
    let claude = Claude::of(model);
    refuse(ask, claude)?;
    let thinking = if may_think(ask, claude) {
        ForMessages::new(ask.thinking, ask.max_tokens, claude)?
    } else {
        ForMessages::without_thinking(ask.thinking, ask.max_tokens, claude)
    };
    object(out, |body| {
        body.text("model", model);
        body.number("max_tokens", thinking.max_tokens);
        system(ask, body);
        body.list("messages", |list| messages(ask, names, list))?;
        tools(ask, names, body);
        sampling(ask, thinking.thinks(), claude.sampling, body);
        think(ask, thinking, body);
        if let Some(user) = &ask.user {
            let id = if user.len() <= MOST_USER_ID { user.0.clone() } else { digest(&[user.as_bytes()], 32).into() };
            body.object("metadata", |o| o.text("user_id", &id));
        }
        match ask.tier {
            None => {}
            Some(Tier::Auto) => body.text("service_tier", "auto"),
            Some(Tier::Standard) => body.text("service_tier", "standard_only"),
        }
        if ask.stream {
            body.flag("stream", true);
        }
        Ok(())
    })
}

fn refuse(ask: &Ask<'_>, claude: Claude) -> Result<(), Untranslatable> {
    let asked = [
        ("temperature", ask.temperature.is_some_and(|t| t > 1.0), "this model takes 0 to 1"),
        ("presence_penalty", ask.presence_penalty.is_some(), "this model takes no penalty"),
        ("frequency_penalty", ask.frequency_penalty.is_some(), "this model takes no penalty"),
        ("seed", ask.seed.is_some(), "this model takes no seed"),
        ("verbosity", ask.verbosity.is_some(), "this model takes none; say it in the prompt"),
        (
            "response_format",
            matches!(ask.format, Some(Format::Json)),
            "this model takes `json_schema` alone, or say it in the prompt",
        ),
        (
            "tool_choice",
            matches!(ask.choice, Some(Choice::Allowed { .. })),
            "this model chooses among all tools; name those alone that it may call",
        ),
        (
            "tool_choice",
            must_call(ask) && !claude.can_be_forced,
            "this model chooses itself whether it calls a tool; say in the prompt when it is to",
        ),
    ];
    if let Some((field, _, why)) = asked.into_iter().find(|(_, asked, _)| *asked) {
        return Err(Untranslatable::at(field, why.to_owned()));
    }
    let answer = match &ask.format {
        Some(Format::Schema { schema, .. }) => schema::unbound(schema.get()),
        _ => None,
    };
    answer.map_or(Ok(()), |what| {
        Err(Untranslatable::at("response_format", format!("this model's answer cannot be bound to {what}")))
    })
}

/// Messages refuses thinking with a tool that must be called. With a budget, it refuses it too where the last turn called tools
/// and does not begin with what was thought before: most clients of Chat do not bring that back. Who always thinks is asked
/// for it whatever else is asked.
fn may_think(ask: &Ask<'_>, claude: Claude) -> bool {
    let lacks_thinking = claude.budget && calls_without_thinking(ask);
    claude.always_thinks || !must_call(ask) && !lacks_thinking
}

fn must_call(ask: &Ask<'_>) -> bool {
    !ask.tools.is_empty() && matches!(ask.choice, Some(Choice::Required | Choice::Tool(_)))
}

fn calls_without_thinking(ask: &Ask<'_>) -> bool {
    let Some(turn) = ask.turns.iter().rev().find(|turn| turn.role == Role::Assistant) else { return false };
    let sealed = |part: &Part<'_>| matches!(part, Part::Thinking(_, Seal::Anthropic(_)) | Part::Redacted(_));
    turn.parts.iter().any(|part| matches!(part, Part::Call(_))) && !turn.parts.first().is_some_and(sealed)
}

fn system(ask: &Ask<'_>, body: &mut Object<'_>) {
    match ask.system.as_slice() {
        [] => {}
        [one] => body.text("system", one),
        many => body.list("system", |list| many.iter().for_each(|text| list.object(|o| text_block(text, o)))),
    }
}

fn text_block(text: &str, o: &mut Object<'_>) {
    o.text("type", "text");
    o.text("text", text);
}

fn messages(ask: &Ask<'_>, names: &mut Names, list: &mut List<'_>) -> Result<(), Untranslatable> {
    let turns = ask.turns_of(is_sayable);
    if turns.is_empty() {
        return Err(Untranslatable::at("messages", "this model needs one of a user's".to_owned()));
    }
    for (role, parts) in turns {
        list.object(|message| {
            message.text("role", if role == Role::User { "user" } else { "assistant" });
            if let [Part::Text(text, _)] = parts.as_slice() {
                message.text("content", text);
                return Ok(());
            }
            message.list("content", |list| parts.iter().try_for_each(|part| block(part, names, list)))
        })?;
    }
    Ok(())
}

fn is_sayable(part: &Part<'_>) -> bool {
    match part {
        Part::Text(text, _) => !text.is_blank(),
        Part::Thinking(_, seal) => matches!(seal, Seal::Anthropic(_)),
        Part::Media(_) | Part::Redacted(_) | Part::Call(_) | Part::Result(_) => true,
        Part::Refusal(_) => false,
    }
}

fn block(part: &Part<'_>, names: &mut Names, list: &mut List<'_>) -> Result<(), Untranslatable> {
    list.object(|o| match part {
        Part::Text(text, _) => {
            text_block(text, o);
            Ok(())
        }
        Part::Media(media) => media_block(media, o),
        Part::Thinking(text, seal) => {
            o.text("type", "thinking");
            o.text("thinking", text);
            o.joined("signature", &super::signature(seal));
            Ok(())
        }
        Part::Redacted(data) => {
            o.text("type", "redacted_thinking");
            o.text("data", data);
            Ok(())
        }
        Part::Call(call) => {
            o.text("type", "tool_use");
            o.text("id", &call_id(Dialect::Messages, &call.id));
            o.text("name", &names.name(&call.name));
            o.raw("input", &call.arguments);
            Ok(())
        }
        Part::Result(outcome) => result_block(outcome, o),
        Part::Refusal(_) => Ok(()),
    })
}

fn result_block(outcome: &Outcome<'_>, o: &mut Object<'_>) -> Result<(), Untranslatable> {
    o.text("type", "tool_result");
    o.text("tool_use_id", &call_id(Dialect::Messages, &outcome.id));
    let parts: Vec<_> = outcome.parts.iter().filter(|part| is_sayable(part)).collect();
    match parts.as_slice() {
        [] => {}
        [Part::Text(text, _)] => o.text("content", text),
        many => o.list("content", |list| {
            many.iter().try_for_each(|part| {
                list.object(|o| match part {
                    Part::Media(media) => media_block(media, o),
                    Part::Text(text, _) => {
                        text_block(text, o);
                        Ok(())
                    }
                    _ => Ok(()),
                })
            })
        })?,
    }
    if outcome.is_error {
        o.flag("is_error", true);
    }
    Ok(())
}

fn media_block(media: &Media<'_>, o: &mut Object<'_>) -> Result<(), Untranslatable> {
    match media.kind {
        Kind::Image => o.text("type", "image"),
        Kind::Document => o.text("type", "document"),
        Kind::Audio => return Err(Untranslatable::at(&media.at, "this model does not hear".to_owned())),
    }
    let kind = match &media.source {
        Source::Data { mime, .. } if media.kind == Kind::Document && &**mime != "application/pdf" => {
            let message = format!("this model reads PDF and plain text, not `{mime}`");
            return Err(Untranslatable::at(&media.at, message));
        }
        Source::Data { .. } => "base64",
        Source::Url(_) => "url",
        Source::Plain(_) => "text",
    };
    o.object("source", |source| {
        source.text("type", kind);
        match &media.source {
            Source::Data { mime, data } => {
                source.text("media_type", mime);
                source.text("data", data);
            }
            Source::Url(url) => source.text("url", url),
            Source::Plain(text) => {
                source.text("media_type", "text/plain");
                source.text("data", text);
            }
        }
    });
    if let Some(title) = &media.title {
        o.text("title", title);
    }
    Ok(())
}

fn tools(ask: &Ask<'_>, names: &mut Names, body: &mut Object<'_>) {
    if ask.tools.is_empty() {
        return called_tools(ask, names, body);
    }
    body.list("tools", |list| {
        for Tool { name, description, schema, strict } in &ask.tools {
            list.object(|tool| {
                tool.text("name", &names.name(name));
                if let Some(description) = description {
                    tool.text("description", description);
                }
                let schema = input_schema(*schema);
                if *strict && schema::unbound(&schema).is_none() {
                    schema::write("input_schema", &schema, tool);
                    tool.flag("strict", true);
                } else {
                    tool.raw("input_schema", &schema);
                }
            });
        }
    });
    let one_at_a_time = ask.parallel == Some(false);
    let (kind, name) = match &ask.choice {
        None if one_at_a_time => ("auto", None),
        None | Some(Choice::Allowed { .. }) => return,
        Some(Choice::Auto) => ("auto", None),
        Some(Choice::None) => ("none", None),
        Some(Choice::Required) => ("any", None),
        Some(Choice::Tool(name)) => ("tool", Some(name)),
    };
    body.object("tool_choice", |choice| {
        choice.text("type", kind);
        if let Some(name) = name {
            choice.text("name", &names.name(name));
        }
        if one_at_a_time && kind != "none" {
            choice.flag("disable_parallel_tool_use", true);
        }
    });
}

/// Where a client no longer tells its tools, those that were called: none of them is to be called again.
fn called_tools(ask: &Ask<'_>, names: &mut Names, body: &mut Object<'_>) {
    let mut seen = HashSet::new();
    let calls = ask.turns.iter().flat_map(|turn| &turn.parts).filter_map(|part| match part {
        Part::Call(call) => Some(&*call.name),
        _ => None,
    });
    let called: Vec<&str> = calls.filter(|name| seen.insert(*name)).collect();
    if called.is_empty() {
        return;
    }
    body.list("tools", |list| {
        for name in called {
            list.object(|tool| {
                tool.text("name", &names.name(name));
                tool.object("input_schema", |schema| schema.text("type", "object"));
            });
        }
    });
    body.object("tool_choice", |choice| choice.text("type", "none"));
}

/// A schema always has a type here; one that says nothing is that of an object.
fn input_schema<'s>(schema: Option<&'s RawValue>) -> Cow<'s, str> {
    #[derive(Deserialize)]
    struct Typed {
        #[serde(rename = "type")]
        kind: Option<IgnoredAny>,
    }
    let Some(schema) = schema.map(RawValue::get) else { return Cow::Borrowed(r#"{"type":"object","properties":{}}"#) };
    let typed = serde_json::from_str::<Typed>(schema).is_ok_and(|typed| typed.kind.is_some());
    match schema.trim_start().strip_prefix('{') {
        Some(rest) if !typed => {
            let comma = if rest.trim_start().starts_with('}') { "" } else { "," };
            Cow::Owned(format!(r#"{{"type":"object"{comma}{rest}"#))
        }
        _ => Cow::Borrowed(schema),
    }
}

/// With thinking, Messages refuses what narrows the choice of tokens. Who asks for thinking means it; a temperature is mostly
/// the habit of a framework. So it is where a model takes none of it, or not all at once. A `top_p` of 1 narrows nothing.
fn sampling(ask: &Ask<'_>, thinks: bool, takes: Sampling, body: &mut Object<'_>) {
    let narrows = takes != Sampling::None && !thinks;
    let temperature = ask.temperature.filter(|_| narrows);
    if let Some(temperature) = temperature {
        body.float("temperature", temperature);
    }
    let has_room = takes == Sampling::Both || takes == Sampling::Either && temperature.is_none();
    if let Some(p) = ask.top_p.filter(|p| has_room && *p < 1.0 && (!thinks || *p >= LEAST_TOP_P)) {
        body.float("top_p", p);
    }
    if let Some(k) = ask.top_k.filter(|_| narrows) {
        body.number("top_k", k);
    }
    if !ask.stop.is_empty() {
        body.list("stop_sequences", |list| ask.stop.iter().for_each(|stop| list.text(stop)));
    }
}

fn think(ask: &Ask<'_>, thinking: ForMessages, body: &mut Object<'_>) {
    if let Some(config) = thinking.thinking {
        body.object("thinking", |o| match config {
            ThinkingConfig::Enabled { budget_tokens } => {
                o.text("type", "enabled");
                o.number("budget_tokens", budget_tokens);
            }
            ThinkingConfig::Adaptive => o.text("type", "adaptive"),
            ThinkingConfig::Disabled => o.text("type", "disabled"),
        });
    }
    let answer = match &ask.format {
        Some(Format::Schema { schema, description, .. }) => Some(described(schema.get(), description.as_deref())),
        _ => None,
    };
    if thinking.effort.is_none() && answer.is_none() {
        return;
    }
    body.object("output_config", |config| {
        if let Some(effort) = thinking.effort {
            config.text("effort", effort);
        }
        if let Some(answer) = answer {
            config.object("format", |format| {
                format.text("type", "json_schema");
                schema::write("schema", &answer, format);
            });
        }
    });
}
