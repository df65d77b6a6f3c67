//! An answer of Gemini, whole or as a stream: its events are answers too, each with the parts that are new.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::super::ask::Seal;
use super::super::json::compact;
use super::super::names::{digest, of_gemini};
use super::super::reply::{Collected, Piece, Stop};
use super::super::text::{Count, Text, lenient};
use super::super::translate::{Malformed, Notes, Sink};
use crate::ai::usage::Usage;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    #[serde(borrow)]
    candidates: Option<Vec<Candidate<'a>>>,
    #[serde(borrow)]
    prompt_feedback: Option<PromptFeedback<'a>>,
    #[serde(default, deserialize_with = "lenient")]
    usage_metadata: Option<UsageOf>,
    #[serde(borrow)]
    model_version: Option<Text<'a>>,
    #[serde(borrow)]
    response_id: Option<Text<'a>>,
    error: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Candidate<'a> {
    #[serde(borrow)]
    content: Option<Content<'a>>,
    #[serde(borrow)]
    finish_reason: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Content<'a> {
    #[serde(borrow)]
    parts: Option<Vec<PartOf<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PartOf<'a> {
    #[serde(borrow)]
    text: Option<Text<'a>>,
    thought: Option<bool>,
    #[serde(borrow)]
    thought_signature: Option<Text<'a>>,
    #[serde(borrow)]
    function_call: Option<FunctionCall<'a>>,
    inline_data: Option<IgnoredAny>,
    executable_code: Option<IgnoredAny>,
    code_execution_result: Option<IgnoredAny>,
    file_data: Option<IgnoredAny>,
    function_response: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct FunctionCall<'a> {
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    args: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PromptFeedback<'a> {
    #[serde(borrow)]
    block_reason: Option<Text<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct UsageOf {
    prompt_token_count: Count,
    tool_use_prompt_token_count: Count,
    cached_content_token_count: Count,
    candidates_token_count: Count,
    thoughts_token_count: Count,
}

impl From<UsageOf> for Usage {
    fn from(of: UsageOf) -> Self {
        let reasoning = of.thoughts_token_count.0.unwrap_or(0);
        let tools = of.tool_use_prompt_token_count.0.unwrap_or(0);
        Self {
            input: of.prompt_token_count.0.unwrap_or(0).saturating_add(tools),
            cache_read: of.cached_content_token_count.0.unwrap_or(0),
            output: of.candidates_token_count.0.unwrap_or(0).saturating_add(reasoning),
            reasoning,
            ..Self::default()
        }
    }
}

/// # Errors
///
/// It is no answer of Gemini's, or says no reason to stop.
pub(in super::super) fn read(body: &[u8], notes: &Notes) -> Result<Collected, Malformed> {
    let mut reader = Reader::default();
    let mut collected = Collected::default();
    reader.read(body, notes, &mut |piece| collected.put(piece))?;
    reader.end(&mut |piece| collected.put(piece))?;
    Ok(collected)
}

/// Reads what Gemini sends.
#[derive(Debug, Default)]
pub(in super::super) struct Reader {
    id: Option<String>,
    calls: usize,
    stop: Option<Stop>,
}

impl Reader {
    /// # Errors
    ///
    /// The event is none of Gemini's, an error, or has parts that were not asked for.
    pub(in super::super) fn event(&mut self, data: &[u8], sink: &mut Sink<'_>) -> Result<(), Malformed> {
        self.read(data, sink.notes, &mut |piece| sink.put(piece))
    }

    /// At the end of the stream, which has no event of its own.
    ///
    /// # Errors
    ///
    /// The answer was not complete.
    pub(in super::super) fn finish(&mut self, sink: &mut Sink<'_>) -> Result<(), Malformed> {
        self.end(&mut |piece| sink.put(piece))
    }

    fn read(&mut self, data: &[u8], notes: &Notes, put: &mut dyn FnMut(&Piece<'_>)) -> Result<(), Malformed> {
        let body: Body<'_> = serde_json::from_slice(data).map_err(|error| Malformed::json(&error))?;
        if body.error.is_some() {
            return Err(Malformed::new("an error in the stream"));
        }
        if let Some(usage) = body.usage_metadata {
            put(&Piece::Usage(usage.into()));
        }
        if self.id.is_none() {
            let (id, model) = (body.response_id.unwrap_or_default(), body.model_version.unwrap_or_default());
            put(&Piece::Start { id: &id, model: &model });
            self.id = Some(id.0.into_owned());
        }
        if body.prompt_feedback.and_then(|feedback| feedback.block_reason).is_some() {
            self.stop = Some(Stop::Filter);
        }
        if let Some(candidate) = body.candidates.unwrap_or_default().into_iter().next() {
            let parts = candidate.content.and_then(|content| content.parts).unwrap_or_default();
            parts.into_iter().try_for_each(|part| self.part(part, notes, put))?;
            if let Some(reason) = candidate.finish_reason {
                self.stop = Some(stop(&reason));
            }
        }
        Ok(())
    }

    fn end(&mut self, put: &mut dyn FnMut(&Piece<'_>)) -> Result<(), Malformed> {
        let stop = self.stop.take().ok_or(Malformed::new("the answer ended without a reason to stop"))?;
        put(&Piece::Stop(stop.with_calls(self.calls > 0)));
        put(&Piece::End);
        Ok(())
    }

    fn part(&mut self, part: PartOf<'_>, notes: &Notes, put: &mut dyn FnMut(&Piece<'_>)) -> Result<(), Malformed> {
        let others = [
            part.inline_data,
            part.executable_code,
            part.code_execution_result,
            part.file_data,
            part.function_response,
        ];
        if others.iter().any(Option::is_some) {
            return Err(Malformed::foreign("a part of a type that was not asked for"));
        }
        let seal = part.thought_signature.filter(|seal| !seal.is_empty());
        if let Some(function) = part.function_call {
            Malformed::unless_one_more(self.calls)?;
            let FunctionCall { id, name, args } = function;
            let answer = notes.id_or(self.id.as_deref().unwrap_or_default());
            let call = self.calls;
            // Gemini cannot be held to one. Its model calls again once it has the result.
            if call > 0 && notes.one_call() {
                return Ok(());
            }
            let made_up = || format!("call_{}", digest(&[answer.as_bytes(), &call.to_le_bytes(), name.as_bytes()], 12));
            let id = id.and_then(|id| of_gemini(&id)).unwrap_or_else(made_up);
            self.calls += 1;
            put(&Piece::Call { id: &id, name: &name, seal: seal.as_deref() });
            let arguments = args.map_or("{}", RawValue::get);
            if !arguments.starts_with('{') {
                return Err(Malformed::foreign("a call of a tool whose arguments are no JSON object"));
            }
            put(&Piece::Arguments { call, json: &compact(arguments) });
            put(&Piece::CallEnd);
            return Ok(());
        }
        match part.text.filter(|text| !text.is_empty()) {
            Some(text) if part.thought == Some(true) => put(&Piece::Thinking(&text)),
            Some(text) => put(&Piece::Text(&text)),
            None => {}
        }
        if let Some(seal) = seal {
            put(&Piece::Seal(Seal::GeminiText(seal)));
        }
        Ok(())
    }
}

/// A call that Gemini itself could not read (`MALFORMED_FUNCTION_CALL` and its like) is not in the answer: what is ends like
/// any other, as does one with a word that is not known.
fn stop(reason: &str) -> Stop {
    match reason {
        "MAX_TOKENS" | "CONTINUATION" => Stop::Length,
        "SAFETY"
        | "RECITATION"
        | "BLOCKLIST"
        | "PROHIBITED_CONTENT"
        | "SPII"
        | "IMAGE_SAFETY"
        | "IMAGE_PROHIBITED_CONTENT"
        | "IMAGE_RECITATION"
        | "MODEL_ARMOR"
        | "ESCALATION"
        | "PUP_LIMITED_DISABLED" => Stop::Filter,
        _ => Stop::End,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_to_stop_says_whether_the_answer_was_cut_off_or_withheld() {
        for (stops, reasons) in [
            (Stop::Length, ["MAX_TOKENS", "CONTINUATION"]),
            (Stop::Filter, ["ESCALATION", "PUP_LIMITED_DISABLED"]),
            (Stop::End, ["STOP", "UNHEARD_OF"]),
        ] {
            assert_eq!(reasons.map(stop), [stops.clone(), stops]);
        }
    }
}
