//! The model, written as a request of Chat.
//!
//! | the model | Chat |
//! |---|---|
//! | several system texts | one message, joined by blank lines: many servers take one alone |
//! | several texts of an assistant's turn | joined: they were cut apart by thinking or by calls |
//! | a result of a tool with images | its text in the tool's message, its images in the user's message after all of them |
//! | a result that is an error | `Error: ` before its text |
//! | thinking without a seal that Chat gave | nothing: only its maker can read it |
//! | a document of plain text | a text |
//! | a strict schema that OpenAI's strict mode would refuse | the schema, not strict |
//! | `top_k` | nothing for models of OpenAI's own names, which refuse it |
//! | an effort, for a [`Gpt`] that does not think | nothing |
//! | a temperature, `top_p` and sequences to stop at, for one that does | nothing |
//! | more than four sequences to stop at | refused for models of OpenAI's own names |
//! | a name of a user of more than 64 bytes | its digest, which is as good a name |
//!
//! What the client calls `max_tokens` is `max_completion_tokens` for models of OpenAI's own names, of which the newer
//! ones take nothing else, and `max_tokens` for all others, of whose servers some take nothing else.

use super::super::ask::{Ask, Call, Choice, Format, Kind, Media, Outcome, Part, Role, Seal, Source, Tier, Tool, Turn};
use super::super::gpt::Gpt;
use super::super::json::{List, Object, object};
use super::super::names::{Names, call_id, digest};
use super::super::translate::Untranslatable;
use super::super::{Dialect, text::Text};
use super::strict::is_strict;

/// Sequences to stop at that OpenAI takes.
const MOST_STOPS: usize = 4;

/// # Errors
///
/// What Chat has no field for.
pub(in super::super) fn write(
    ask: &Ask<'_>,
    model: &str,
    names: &mut Names,
    out: &mut Vec<u8>,
) -> Result<(), Untranslatable> {
    let gpt = Gpt::of(model);
    let effort = ask.thinking.filter(|_| gpt.effort).and_then(|thinking| thinking.effort(model));
    let narrows = !gpt.reasons || effort == Some("none");
    if ask.stop.len() > MOST_STOPS && gpt.is_openais && narrows {
        return Err(Untranslatable::at("stop_sequences", format!("this model stops at no more than {MOST_STOPS}")));
    }
    object(out, |body| {
        body.text("model", model);
        body.list("messages", |list| messages(ask, names, list))?;
        tools(ask, names, body);
        sampling(ask, gpt, narrows, body);
        if let Some(effort) = effort {
            body.text("reasoning_effort", effort);
        }
        if let Some(format) = &ask.format {
            body.object("response_format", |o| response_format(format, o));
        }
        if let Some(user) = &ask.user {
            body.text("user", &if user.len() <= 64 { user.0.clone() } else { digest(&[user.as_bytes()], 32).into() });
        }
        if ask.tier == Some(Tier::Standard) {
            body.text("service_tier", "default");
        }
        if ask.stream {
            body.flag("stream", true);
            body.object("stream_options", |o| o.flag("include_usage", true));
        }
        Ok(())
    })
}

/// What narrows the choice of tokens is mostly the habit of a framework, and gives way where a model refuses it.
fn sampling(ask: &Ask<'_>, gpt: Gpt, narrows: bool, body: &mut Object<'_>) {
    let openais = gpt.is_openais;
    if let Some(most) = ask.max_tokens {
        body.number(if openais { "max_completion_tokens" } else { "max_tokens" }, most);
    }
    for (key, number) in [("temperature", ask.temperature), ("top_p", ask.top_p)] {
        if let Some(number) = number.filter(|_| narrows) {
            body.float(key, number);
        }
    }
    if let Some(k) = ask.top_k.filter(|_| !openais) {
        body.number("top_k", k);
    }
    if !ask.stop.is_empty() && narrows {
        body.list("stop", |list| ask.stop.iter().for_each(|stop| list.text(stop)));
    }
}

/// A choice without tools says nothing, and Chat refuses it.
fn tools(ask: &Ask<'_>, names: &mut Names, body: &mut Object<'_>) {
    if ask.tools.is_empty() {
        return;
    }
    body.list("tools", |list| {
        for Tool { name, description, schema, strict } in &ask.tools {
            list.object(|tool| {
                tool.text("type", "function");
                tool.object("function", |function| {
                    function.text("name", &names.name(name));
                    if let Some(description) = description {
                        function.text("description", description);
                    }
                    if let Some(schema) = schema {
                        function.raw("parameters", schema.get());
                    }
                    if *strict && schema.is_none_or(|schema| is_strict(schema.get())) {
                        function.flag("strict", true);
                    }
                });
            });
        }
    });
    match &ask.choice {
        None => {}
        Some(Choice::Auto) => body.text("tool_choice", "auto"),
        Some(Choice::None) => body.text("tool_choice", "none"),
        Some(Choice::Required) => body.text("tool_choice", "required"),
        Some(Choice::Tool(name)) => body.object("tool_choice", |choice| {
            choice.text("type", "function");
            choice.object("function", |function| function.text("name", &names.name(name)));
        }),
        // No other dialect says so.
        Some(Choice::Allowed { .. }) => {}
    }
    if let Some(parallel) = ask.parallel {
        body.flag("parallel_tool_calls", parallel);
    }
}

fn response_format(format: &Format<'_>, o: &mut Object<'_>) {
    match format {
        Format::Json => o.text("type", "json_object"),
        Format::Schema { name, description, schema, strict } => {
            o.text("type", "json_schema");
            o.object("json_schema", |o| {
                o.text("name", name.as_deref().unwrap_or("answer"));
                if let Some(description) = description {
                    o.text("description", description);
                }
                o.raw("schema", schema.get());
                o.flag("strict", *strict && is_strict(schema.get()));
            });
        }
    }
}

fn messages(ask: &Ask<'_>, names: &mut Names, list: &mut List<'_>) -> Result<(), Untranslatable> {
    if let Some(system) = ask.system_text() {
        list.object(|message| {
            message.text("role", "system");
            message.text("content", &system);
        });
    }
    for turn in &ask.turns {
        match turn.role {
            Role::User => user(turn, list)?,
            Role::Assistant => assistant(turn, names, list),
        }
    }
    Ok(())
}

/// Results first, each a message of its own, then what the user says.
fn user(turn: &Turn<'_>, list: &mut List<'_>) -> Result<(), Untranslatable> {
    for part in &turn.parts {
        if let Part::Result(outcome) = part {
            list.object(|message| {
                message.text("role", "tool");
                message.text("tool_call_id", &call_id(Dialect::Chat, &outcome.id));
                message.text("content", &result_text(outcome));
            });
        }
    }
    let content: Vec<Content<'_>> = turn.parts.iter().flat_map(contents).collect();
    if content.is_empty() {
        return Ok(());
    }
    list.object(|message| {
        message.text("role", "user");
        if let [Content::Text(text)] = content.as_slice() {
            message.text("content", text);
            return Ok(());
        }
        message.list("content", |list| content.iter().try_for_each(|part| list.object(|o| part.write(o))))
    })
}

/// A part of a user's message.
enum Content<'s> {
    Text(&'s str),
    /// Before the images of a result.
    Of(&'s Text<'s>),
    Media(&'s Media<'s>),
}

fn contents<'s>(part: &'s Part<'s>) -> Vec<Content<'s>> {
    match part {
        Part::Text(text, _) => vec![Content::Text(text)],
        Part::Media(media) => vec![Content::Media(media)],
        Part::Result(outcome) => {
            let media = outcome.parts.iter().filter_map(|part| match part {
                Part::Media(media) => Some(Content::Media(media)),
                _ => None,
            });
            let media: Vec<_> = media.collect();
            if media.is_empty() {
                return media;
            }
            std::iter::once(Content::Of(&outcome.id)).chain(media).collect()
        }
        Part::Thinking(..) | Part::Redacted(_) | Part::Call(_) | Part::Refusal(_) => Vec::new(),
    }
}

impl Content<'_> {
    fn write(&self, o: &mut Object<'_>) -> Result<(), Untranslatable> {
        let media = match self {
            Self::Text(text) => {
                o.text("type", "text");
                o.text("text", text);
                return Ok(());
            }
            Self::Of(id) => {
                o.text("type", "text");
                o.joined("text", &["Of the result of ", &call_id(Dialect::Chat, id), ":"]);
                return Ok(());
            }
            Self::Media(media) => media,
        };
        match (media.kind, &media.source) {
            (_, Source::Plain(text)) => {
                o.text("type", "text");
                match &media.title {
                    Some(title) => o.joined("text", &[title, "\n\n", text]),
                    None => o.text("text", text),
                }
            }
            (Kind::Image, Source::Url(url)) => {
                o.text("type", "image_url");
                o.object("image_url", |o| o.text("url", url));
            }
            (Kind::Image, Source::Data { mime, data }) => {
                o.text("type", "image_url");
                o.object("image_url", |o| o.joined("url", &["data:", mime, ";base64,", data]));
            }
            (Kind::Document, Source::Data { mime, data }) => {
                o.text("type", "file");
                o.object("file", |o| {
                    o.text("filename", media.title.as_deref().unwrap_or("document.pdf"));
                    o.joined("file_data", &["data:", mime, ";base64,", data]);
                });
            }
            (Kind::Audio, _) | (Kind::Document, Source::Url(_)) => {
                return Err(Untranslatable::at(
                    &media.at,
                    "this model takes documents as bytes, not by their address".to_owned(),
                ));
            }
        }
        Ok(())
    }
}

fn result_text(outcome: &Outcome<'_>) -> String {
    let text = outcome.text();
    if outcome.is_error { format!("Error: {text}") } else { text }
}

/// A turn of which nothing is left is left out.
fn assistant(turn: &Turn<'_>, names: &mut Names, list: &mut List<'_>) {
    let text: String = turn
        .parts
        .iter()
        .filter_map(|part| match part {
            Part::Text(text, _) => Some(&**text),
            _ => None,
        })
        .collect();
    let calls: Vec<&Call<'_>> = turn
        .parts
        .iter()
        .filter_map(|part| match part {
            Part::Call(call) => Some(call),
            _ => None,
        })
        .collect();
    let thoughts: Vec<(&Text<'_>, &Text<'_>)> = turn
        .parts
        .iter()
        .filter_map(|part| match part {
            Part::Thinking(text, Seal::Chat(seal)) => Some((text, seal)),
            _ => None,
        })
        .collect();
    if text.is_empty() && calls.is_empty() {
        return;
    }
    list.object(|message| {
        message.text("role", "assistant");
        if text.is_empty() {
            message.null("content")
        } else {
            message.text("content", &text)
        }
        if !thoughts.is_empty() {
            let texts: Vec<&str> = thoughts.iter().map(|(text, _)| &***text).collect();
            message.joined("reasoning_content", &texts);
        }
        if thoughts.iter().any(|(_, seal)| !seal.is_empty()) {
            message.list("thinking_blocks", |list| {
                for (text, seal) in thoughts.iter().filter(|(_, seal)| !seal.is_empty()) {
                    list.object(|block| {
                        block.text("type", "thinking");
                        block.text("thinking", text);
                        block.text("signature", seal);
                    });
                }
            });
        }
        if !calls.is_empty() {
            message.list("tool_calls", |list| calls.iter().for_each(|call| list.object(|o| tool_call(call, names, o))));
        }
    });
}

fn tool_call(call: &Call<'_>, names: &mut Names, o: &mut Object<'_>) {
    o.text("id", &call_id(Dialect::Chat, &call.id));
    o.text("type", "function");
    o.object("function", |function| {
        function.text("name", &names.name(&call.name));
        function.text("arguments", &call.arguments);
    });
}
