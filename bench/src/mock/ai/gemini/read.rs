//! A request for content read and checked as Gemini does. Names may be in camel or in snake case.

use serde_json::Value;

use super::super::Scene;
use super::super::error::Trouble;
use super::super::question::{Choice, Question, Role, Tool, texts, unknown};
use super::super::reply::signature;
use super::role;
use crate::mock::faults::Flavour;

/// Fields that Gemini takes; others are refused where that is ordered, here and in the schemas of functions.
const FIELDS: &[&str] = &[
    "contents",
    "systemInstruction",
    "system_instruction",
    "tools",
    "toolConfig",
    "tool_config",
    "safetySettings",
    "safety_settings",
    "generationConfig",
    "generation_config",
    "cachedContent",
    "cached_content",
    "labels",
    "model",
];
/// What Gemini's subset of JSON schema has.
const SCHEMA: &[&str] = &[
    "type",
    "format",
    "title",
    "description",
    "nullable",
    "enum",
    "maxItems",
    "minItems",
    "properties",
    "required",
    "minProperties",
    "maxProperties",
    "minLength",
    "maxLength",
    "pattern",
    "example",
    "anyOf",
    "propertyOrdering",
    "default",
    "items",
    "minimum",
    "maximum",
];
/// What is taken in place of a signature where there was none to keep.
const NO_SIGNATURE: &str = "skip_thought_signature_validator";

pub(super) fn question(scene: &Scene, asked: &Value) -> Result<Question, Trouble> {
    let strict = scene.orders.strict && scene.orders.flavour == Flavour::OpenAi;
    if let Some(field) = unknown(asked, FIELDS).filter(|_| strict) {
        return Err(no_such_name(field, ""));
    }
    let mut question = Question::new();
    let system = either(asked, "systemInstruction", "system_instruction");
    for part in system["parts"].as_array().into_iter().flatten() {
        question.hear(Role::System, part["text"].as_str().unwrap_or_default());
    }
    let contents = asked["contents"].as_array().filter(|contents| !contents.is_empty());
    let contents =
        contents.ok_or_else(|| Trouble::invalid("* GenerateContentRequest.contents: contents is not specified\n"))?;
    for content in contents {
        let Some(role) = role(content) else {
            return Err(Trouble::invalid("Please use a valid role: user, model."));
        };
        question.turn(role);
        let parts = content["parts"].as_array().filter(|parts| !parts.is_empty());
        let parts = parts.ok_or_else(|| {
            Trouble::invalid("* GenerateContentRequest.contents.parts: contents.parts must not be empty.\n")
        })?;
        for one in parts {
            part(&mut question, role, one)?;
        }
    }
    pairs(contents)?;
    tools(&mut question, asked, strict)?;
    let config = either(asked, "generationConfig", "generation_config");
    question.most = either(config, "maxOutputTokens", "max_output_tokens").as_u64();
    question.stop = texts(either(config, "stopSequences", "stop_sequences"));
    let thinking = either(config, "thinkingConfig", "thinking_config");
    question.thinks = either(thinking, "includeThoughts", "include_thoughts") == true;
    if either(config, "responseMimeType", "response_mime_type") == "application/json" {
        let schema = either(config, "responseSchema", "response_schema");
        let schema =
            if schema.is_null() { either(config, "responseJsonSchema", "response_json_schema") } else { schema };
        question.schema = Some(schema.clone());
    }
    Ok(question)
}

fn either<'a>(value: &'a Value, camel: &str, snake: &str) -> &'a Value {
    value.get(camel).unwrap_or_else(|| &value[snake])
}

fn no_such_name(name: &str, place: &str) -> Trouble {
    let place = if place.is_empty() { String::new() } else { format!(" at '{place}'") };
    Trouble::invalid(format!("Invalid JSON payload received. Unknown name \"{name}\"{place}: Cannot find field."))
}

fn part(question: &mut Question, role: Role, part: &Value) -> Result<(), Trouble> {
    let response = either(part, "functionResponse", "function_response");
    let call = either(part, "functionCall", "function_call");
    if let Some(text) = part["text"].as_str() {
        if part["thought"] != true {
            question.hear(role, text);
        }
    } else if response.is_object() {
        if !response["response"].is_object() {
            return Err(Trouble::invalid("function_response.response: must be an object"));
        }
        question.results += 1;
        let said = response["response"].as_object().into_iter().flatten().filter_map(|(_, value)| value.as_str());
        said.for_each(|text| question.hear(Role::Tool, text));
    } else if call.is_object() {
        let signed = either(part, "thoughtSignature", "thought_signature").as_str();
        let own = signature(call["name"].as_str().unwrap_or_default());
        if signed.is_some_and(|signed| signed != own && signed != NO_SIGNATURE) {
            return Err(Trouble::invalid("Thought signature is not valid."));
        }
    } else if either(part, "inlineData", "inline_data").is_object() || either(part, "fileData", "file_data").is_object()
    {
        question.images += 1;
    } else {
        let message = "contents.parts: required oneof field 'data' must have one initialized field";
        return Err(Trouble::invalid(message));
    }
    Ok(())
}

/// A turn of calls is followed by one of as many responses.
fn pairs(contents: &[Value]) -> Result<(), Trouble> {
    let count = |content: Option<&Value>, camel: &str, snake: &str| {
        let parts = content.and_then(|content| content["parts"].as_array()).map(Vec::as_slice).unwrap_or_default();
        parts.iter().filter(|part| either(part, camel, snake).is_object()).count()
    };
    for (at, content) in contents.iter().enumerate() {
        let responses = count(Some(content), "functionResponse", "function_response");
        let before = at.checked_sub(1).and_then(|at| contents.get(at));
        if responses != count(before, "functionCall", "function_call") {
            return Err(Trouble::invalid(
                "Please ensure that the number of function response parts is equal to the number of function call parts of \
                 the function call turn.",
            ));
        }
    }
    match count(contents.last(), "functionCall", "function_call") {
        0 => Ok(()),
        _ => Err(Trouble::invalid("Please ensure that function call turn comes before a function response turn.")),
    }
}

fn tools(question: &mut Question, asked: &Value, strict: bool) -> Result<(), Trouble> {
    let mut place = 0;
    for tool in asked["tools"].as_array().into_iter().flatten() {
        for function in either(tool, "functionDeclarations", "function_declarations").as_array().into_iter().flatten() {
            let name = function["name"].as_str().filter(|name| !name.is_empty());
            let name = name.ok_or_else(|| Trouble::invalid("function_declarations.name: Invalid function name."))?;
            let parameters = &function["parameters"];
            if strict {
                let at = format!("tools[0].function_declarations[{place}].parameters");
                known_schema(parameters, &at)?;
            }
            let own = either(function, "parametersJsonSchema", "parameters_json_schema");
            let schema = if parameters.is_null() { own } else { parameters };
            question.tools.push(Tool { name: name.to_owned(), schema: schema.clone() });
            place += 1;
        }
    }
    let config = either(asked, "toolConfig", "tool_config");
    let config = either(config, "functionCallingConfig", "function_calling_config");
    let allowed = texts(either(config, "allowedFunctionNames", "allowed_function_names"));
    question.choice = match (config["mode"].as_str(), allowed.as_slice()) {
        (Some("NONE"), _) => Choice::None,
        (Some("ANY"), [name, ..]) => Choice::Named(name.clone()),
        (Some("ANY"), []) => Choice::Any,
        _ => Choice::Auto,
    };
    Ok(())
}

/// A schema of the subset, or where it is not. As deep as JSON may be.
fn known_schema(schema: &Value, place: &str) -> Result<(), Trouble> {
    if let Some(name) = unknown(schema, SCHEMA) {
        return Err(no_such_name(name, place));
    }
    if schema["type"].is_array() {
        return Err(Trouble::invalid(format!(
            "Invalid JSON payload received. Unknown name \"type\" at '{place}': Proto field is not repeating, cannot start list."
        )));
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        known_schema(property, &format!("{place}.properties[{name}].value"))?;
    }
    if schema["items"].is_object() {
        known_schema(&schema["items"], &format!("{place}.items"))?;
    }
    for (at, branch) in schema["anyOf"].as_array().into_iter().flatten().enumerate() {
        known_schema(branch, &format!("{place}.any_of[{at}]"))?;
    }
    Ok(())
}
