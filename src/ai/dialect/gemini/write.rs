//! The model, written as a request of Gemini.
//!
//! | the model | Gemini |
//! |---|---|
//! | a result that is a JSON object | `functionResponse.response` |
//! | any other result | `{"output": ...}` there, or `{"error": ...}` |
//! | images of a result | `inlineData` after all results |
//! | an image or a document by its address | `fileData`, where the address shows its type |
//! | strict tools | the mode `VALIDATED`, unless one has to be called, which binds calls anyway |
//! | JSON for an answer | `responseMimeType`, and `responseSchema` or `responseJsonSchema` |
//! | text of blanks alone, thinking without a seal of Gemini's | nothing |
//! | one call at a time | nothing: of its answer, the first call alone is told |
//! | an id of a call that Gemini gave | `id`; no other |
//! | who the client asks for, the tier, the title of a document in bytes | nothing: Gemini has no place for them |
//! | verbosity, a choice among some tools that need not be called | refused |

use serde_json::value::RawValue;

use super::super::Dialect;
use super::super::ask::{Ask, Call, Choice, Format, Media, Outcome, Part, Role, Seal, Source, Tool};
use super::super::json::{List, Object, object};
use super::super::media::type_of;
use super::super::members::described;
use super::super::names::{Names, geminis};
use super::super::text::Text;
use super::super::translate::{Untranslatable, object as json_object};
use super::schema::Schemas;
use super::thinking;

/// Google's word in the place of a seal, for calls that another model made.
const NO_SEAL: &str = "skip_thought_signature_validator";

/// # Errors
///
/// What Gemini has no field for.
pub(in super::super) fn write(
    ask: &Ask<'_>,
    client: Dialect,
    model: &str,
    names: &mut Names,
    out: &mut Vec<u8>,
) -> Result<(), Untranslatable> {
    refuse(ask)?;
    let mut schemas = Schemas::new(model);
    object(out, |body| {
        if !ask.system.is_empty() {
            body.object("systemInstruction", |o| {
                o.list("parts", |list| ask.system.iter().for_each(|text| list.object(|o| o.text("text", text))));
            });
        }
        body.list("contents", |list| contents(ask, model, names, list))?;
        tools(ask, names, &mut schemas, body)?;
        body.object("generationConfig", |o| generation(ask, client, model, &mut schemas, o))
    })
}

fn refuse(ask: &Ask<'_>) -> Result<(), Untranslatable> {
    let asked = [
        ("verbosity", ask.verbosity.is_some(), "this model takes none; say it in the prompt"),
        (
            "tool_choice",
            matches!(ask.choice, Some(Choice::Allowed { must: false, .. })),
            "this model chooses among all tools; name those alone that it may call",
        ),
    ];
    match asked.into_iter().find(|(_, asked, _)| *asked) {
        Some((field, _, why)) => Err(Untranslatable::at(field, why.to_owned())),
        None => Ok(()),
    }
}

fn contents(ask: &Ask<'_>, model: &str, names: &mut Names, list: &mut List<'_>) -> Result<(), Untranslatable> {
    let turns = ask.turns_of(|part| match part {
        Part::Text(text, _) => !text.is_blank(),
        Part::Thinking(_, seal) => matches!(seal, Seal::Gemini(_) | Seal::GeminiText(_)),
        Part::Media(_) | Part::Call(_) | Part::Result(_) => true,
        Part::Redacted(_) | Part::Refusal(_) => false,
    });
    if turns.is_empty() {
        return Err(Untranslatable::at("messages", "this model needs one of a user's".to_owned()));
    }
    for (role, parts) in turns {
        list.object(|content| {
            content.text("role", if role == Role::User { "user" } else { "model" });
            content.list("parts", |list| match role {
                Role::User => user(&parts, names, list),
                Role::Assistant => {
                    assistant(&parts, model, names, list);
                    Ok(())
                }
            })
        })?;
    }
    Ok(())
}

/// Results first, then their images, then what the user says.
fn user(parts: &[&Part<'_>], names: &mut Names, list: &mut List<'_>) -> Result<(), Untranslatable> {
    for part in parts {
        if let Part::Result(outcome) = part {
            list.object(|o| o.object("functionResponse", |o| result(outcome, names, o)));
        }
    }
    for part in parts {
        match part {
            Part::Result(outcome) => outcome.parts.iter().try_for_each(|part| match part {
                Part::Media(media) => list.object(|o| media_part(media, o)),
                _ => Ok(()),
            })?,
            Part::Text(text, _) => list.object(|o| o.text("text", text)),
            Part::Media(media) => list.object(|o| media_part(media, o))?,
            _ => {}
        }
    }
    Ok(())
}

fn result(outcome: &Outcome<'_>, names: &mut Names, o: &mut Object<'_>) {
    if let Some(id) = geminis(&outcome.id) {
        o.text("id", id);
    }
    o.text("name", &names.name(&outcome.name));
    let text = outcome.text();
    let is_object = !text.trim().is_empty() && json_object(Text::from(&*text)).is_some();
    match (outcome.is_error, is_object) {
        (false, true) => o.raw("response", &text),
        (false, false) => o.object("response", |o| o.text("output", &text)),
        (true, _) => o.object("response", |o| o.text("error", &text)),
    }
}

/// Where a turn has no seal on any call, its first gets the word that stands for one.
fn assistant(parts: &[&Part<'_>], model: &str, names: &mut Names, list: &mut List<'_>) {
    let sealed =
        |part: &&Part<'_>| matches!(part, Part::Call(Call { seal: Some(_), .. }) | Part::Thinking(_, Seal::Gemini(_)));
    let mut owed = thinking::is_sealing(model) && !parts.iter().any(sealed);
    let mut before: Option<&str> = None;
    let mut parts = parts.iter().peekable();
    while let Some(part) = parts.next() {
        match part {
            Part::Text(text, seal) => {
                let after = parts.next_if(|part| matches!(part, Part::Thinking(_, Seal::GeminiText(_))));
                let after = match after {
                    Some(Part::Thinking(_, Seal::GeminiText(seal))) => Some(&**seal),
                    _ => None,
                };
                text_part(text, seal.as_deref().or(after), list);
            }
            Part::Thinking(_, Seal::GeminiText(seal)) => text_part("", Some(seal), list),
            Part::Thinking(_, Seal::Gemini(seal)) => before = Some(seal),
            Part::Call(call) => {
                let seal = call.seal.as_deref().or_else(|| before.take());
                let seal = seal.or_else(|| std::mem::take(&mut owed).then_some(NO_SEAL));
                list.object(|o| {
                    o.object("functionCall", |o| {
                        if let Some(id) = geminis(&call.id) {
                            o.text("id", id);
                        }
                        o.text("name", &names.name(&call.name));
                        o.raw("args", &call.arguments);
                    });
                    if let Some(seal) = seal {
                        o.text("thoughtSignature", seal);
                    }
                });
            }
            _ => {}
        }
    }
}

fn text_part(text: &str, seal: Option<&str>, list: &mut List<'_>) {
    list.object(|o| {
        o.text("text", text);
        if let Some(seal) = seal {
            o.text("thoughtSignature", seal);
        }
    });
}

fn media_part(media: &Media<'_>, o: &mut Object<'_>) -> Result<(), Untranslatable> {
    match &media.source {
        Source::Data { mime, data } => o.object("inlineData", |o| {
            o.text("mimeType", mime);
            o.text("data", data);
        }),
        Source::Url(url) => {
            let mime = type_of(media, url)?;
            o.object("fileData", |o| {
                o.text("mimeType", mime);
                o.text("fileUri", url);
            });
        }
        Source::Plain(text) => match &media.title {
            Some(title) => o.joined("text", &[title, "\n\n", text]),
            None => o.text("text", text),
        },
    }
    Ok(())
}

fn tools(ask: &Ask<'_>, names: &mut Names, schemas: &mut Schemas, body: &mut Object<'_>) -> Result<(), Untranslatable> {
    if ask.tools.is_empty() {
        return Ok(());
    }
    body.list("tools", |list| {
        list.object(|o| {
            o.list("functionDeclarations", |list| {
                let mut tools = ask.tools.iter().enumerate();
                tools.try_for_each(|(index, tool)| list.object(|o| declaration(index, tool, names, schemas, o)))
            })
        })
    })?;
    let strict = ask.tools.iter().any(|tool| tool.strict);
    let (mode, only) = match &ask.choice {
        None | Some(Choice::Auto) if strict => ("VALIDATED", Vec::new()),
        None | Some(Choice::Allowed { must: false, .. }) => return Ok(()),
        Some(Choice::Auto) => ("AUTO", Vec::new()),
        Some(Choice::None) => ("NONE", Vec::new()),
        Some(Choice::Required) => ("ANY", Vec::new()),
        Some(Choice::Tool(name)) => ("ANY", vec![name]),
        Some(Choice::Allowed { must: true, names }) => ("ANY", names.iter().collect()),
    };
    body.object("toolConfig", |o| {
        o.object("functionCallingConfig", |o| {
            o.text("mode", mode);
            if !only.is_empty() {
                o.list("allowedFunctionNames", |list| only.iter().for_each(|name| list.text(&names.name(name))));
            }
        });
    });
    Ok(())
}

fn declaration(
    index: usize,
    tool: &Tool<'_>,
    names: &mut Names,
    schemas: &mut Schemas,
    o: &mut Object<'_>,
) -> Result<(), Untranslatable> {
    o.text("name", &names.name(&tool.name));
    if let Some(description) = &tool.description {
        o.text("description", description);
    }
    match tool.schema.filter(|schema| !Schemas::is_empty(schema)) {
        Some(schema) => schemas.put(["parameters", "parametersJsonSchema"], schema, &format!("tools[{index}]"), o),
        None => Ok(()),
    }
}

fn generation(
    ask: &Ask<'_>,
    client: Dialect,
    model: &str,
    schemas: &mut Schemas,
    o: &mut Object<'_>,
) -> Result<(), Untranslatable> {
    for (key, number) in [
        ("temperature", ask.temperature),
        ("topP", ask.top_p),
        ("presencePenalty", ask.presence_penalty),
        ("frequencyPenalty", ask.frequency_penalty),
    ] {
        if let Some(number) = number {
            o.float(key, number);
        }
    }
    for (key, number) in [("topK", ask.top_k), ("maxOutputTokens", ask.max_tokens)] {
        if let Some(number) = number {
            o.number(key, number);
        }
    }
    if let Some(seed) = ask.seed {
        o.number("seed", seed);
    }
    if !ask.stop.is_empty() {
        o.list("stopSequences", |list| ask.stop.iter().for_each(|stop| list.text(stop)));
    }
    match &ask.format {
        None => {}
        Some(Format::Json) => o.text("responseMimeType", "application/json"),
        Some(Format::Schema { schema, description, .. }) => {
            o.text("responseMimeType", "application/json");
            let field = if client == Dialect::Messages { "output_config.format" } else { "response_format" };
            let described = RawValue::from_string(described(schema.get(), description.as_deref()).into_owned());
            let schema = described.as_deref().unwrap_or(schema);
            schemas.put(["responseSchema", "responseJsonSchema"], schema, field, o)?;
        }
    }
    ask.thinking.map_or(Ok(()), |asked| thinking::write(asked, ask.max_tokens, client, model, o))
}
