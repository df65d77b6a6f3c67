//! Thinking of other providers in a body that goes to Anthropic as it came.
//!
//! A conversation that another target answered before holds what that one thought, under the signatures of [`super`]. Anthropic
//! knows its own alone, and refuses the whole request for any other.

use std::borrow::Cow;
use std::ops::Range;

use memchr::memmem;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::ask::Seal;
use super::super::claude::Claude;
use super::super::text::Text;
use super::seal;

/// Words with which a signature of none of Anthropic's begins; it may also be empty.
const WORDS: [&[u8]; 4] = [b"\"", b"chat.", b"gemini.", b"gemini-text."];

/// What is looked at of a body. All else stays as it is, known or not.
#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    messages: &'a RawValue,
    #[serde(borrow)]
    thinking: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    role: Text<'a>,
    #[serde(borrow)]
    content: &'a RawValue,
}

#[derive(Deserialize)]
struct Block<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow)]
    signature: Option<Text<'a>>,
}

/// Whether a member `signature` begins, anywhere, as if it was not Anthropic's. A body without one need not be read.
pub(in super::super) fn may_hold_foreign(body: &[u8]) -> bool {
    memmem::find_iter(body, b"\"signature\"").any(|at| {
        let after = body.get(at + 11..).unwrap_or_default().trim_ascii_start().strip_prefix(b":");
        let text = after.and_then(|value| value.trim_ascii_start().strip_prefix(b"\""));
        text.is_some_and(|text| WORDS.iter().any(|word| text.starts_with(word)))
    })
}

/// The body without thinking that is not Anthropic's; `None`: it has none, and goes as it is.
///
/// A model that thinks within a budget refuses a call behind which nothing of that is left: where it is the last turn's, the
/// next one is answered without thinking, as it is for clients of Chat.
pub(in super::super) fn without_foreign(body: &[u8], model: &str) -> Option<Vec<u8>> {
    let Body { messages, thinking } = serde_json::from_slice(body).ok()?;
    let told: Vec<&RawValue> = serde_json::from_str(messages.get()).ok()?;
    let (mut left, mut bare, mut any) = (Vec::with_capacity(told.len()), false, false);
    for message in told {
        let read: Message<'_> = serde_json::from_str(message.get()).ok()?;
        if read.role.0 != "assistant" {
            left.push(Cow::Borrowed(message.get()));
            continue;
        }
        match lessened(message, read.content) {
            Some((without, is_bare)) => {
                (any, bare) = (true, is_bare);
                left.extend(without.map(Cow::Owned));
            }
            None => {
                bare = false;
                left.push(Cow::Borrowed(message.get()));
            }
        }
    }
    if !any {
        return None;
    }
    let mut changes = vec![(place(body, messages), list(&left))];
    if let Some(thinking) = thinking.filter(|config| bare && Claude::of(model).budget && is_enabled(config)) {
        changes.push((place(body, thinking), r#"{"type":"disabled"}"#.to_owned()));
    }
    changes.sort_unstable_by_key(|(place, _)| place.start);
    let (mut out, mut done) = (Vec::with_capacity(body.len()), 0);
    for (place, text) in changes {
        out.extend_from_slice(body.get(done..place.start)?);
        out.extend_from_slice(text.as_bytes());
        done = place.end;
    }
    out.extend_from_slice(body.get(done..)?);
    Some(out)
}

/// A message without foreign thinking, and whether its calls now stand without any; `None`: it has none. Of one that was
/// nothing else, nothing is left.
fn lessened(message: &RawValue, content: &RawValue) -> Option<(Option<String>, bool)> {
    let blocks: Vec<&RawValue> = serde_json::from_str(content.get()).ok()?;
    let read: Vec<Block<'_>> =
        blocks.iter().map(|block| serde_json::from_str(block.get())).collect::<Result<_, _>>().ok()?;
    let own: Vec<(&RawValue, Block<'_>)> =
        blocks.iter().copied().zip(read).filter(|(_, block)| !block.is_foreign()).collect();
    if own.len() == blocks.len() {
        return None;
    }
    let calls = own.iter().any(|(_, block)| &*block.kind == "tool_use");
    let thinks = own.first().is_some_and(|(_, block)| matches!(&*block.kind, "thinking" | "redacted_thinking"));
    if own.is_empty() {
        return Some((None, false));
    }
    let texts: Vec<Cow<'_, str>> = own.iter().map(|(raw, _)| Cow::Borrowed(raw.get())).collect();
    let mut text = message.get().to_owned();
    text.replace_range(place(message.get().as_bytes(), content), &list(&texts));
    Some((Some(text), calls && !thinks))
}

impl Block<'_> {
    fn is_foreign(&self) -> bool {
        let signed = self.signature.as_ref().filter(|_| &*self.kind == "thinking");
        signed.is_some_and(|signature| !matches!(seal(signature.clone()), Seal::Anthropic(_)))
    }
}

fn is_enabled(config: &RawValue) -> bool {
    serde_json::from_str::<Block<'_>>(config.get()).is_ok_and(|config| &*config.kind == "enabled")
}

/// Where in `body` a value stands that was read out of it.
fn place(body: &[u8], value: &RawValue) -> Range<usize> {
    let start = value.get().as_ptr().addr().saturating_sub(body.as_ptr().addr());
    start..start + value.get().len()
}

fn list(items: &[Cow<'_, str>]) -> String {
    format!("[{}]", items.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn without(body: &str, model: &str) -> Option<String> {
        without_foreign(body.as_bytes(), model).map(|body| String::from_utf8(body).unwrap())
    }

    const CALL: &str = r#"{"type":"tool_use","id":"c","name":"f","input":{"signature":"chat."}}"#;

    fn asked(thinking: &str, blocks: &str) -> String {
        format!(
            r#"{{ "model":"m", "thinking" : {thinking}, "messages":[{{"role":"user","content":"x \"signature\":\"\""}}, {{"role": "assistant", "content": [{blocks}], "x":1}},{{"role":"user","content":[{{"type":"tool_result","tool_use_id":"c"}}]}}], "x" : 1.0}}"#
        )
    }

    #[test]
    fn thinking_of_others_is_taken_out_and_every_other_byte_stays() {
        for signature in ["", "chat.", "chat.c2VhbA==", "gemini.x", "gemini-text.x"] {
            for more in [r#""#, r#","cache_control":null"#] {
                let block = format!(r#"{{"type":"thinking","thinking":"Hm.","signature" : "{signature}"{more}}}"#);
                let body =
                    asked(r#"{"type":"adaptive"}"#, &format!("{block}, {CALL}")).replace("}, {\"role\"", "},{\"role\"");
                let left = asked(r#"{"type":"adaptive"}"#, CALL).replace("}, {\"role\"", "},{\"role\"");
                assert_eq!(without(&body, "claude-opus-4-8"), Some(left), "{signature}");
            }
        }
    }

    #[test]
    fn a_body_without_it_goes_as_it_is() {
        let own = r#"{"type":"thinking","thinking":"Hm.","signature":"RXJz"}"#;
        let redacted = r#"{"type":"redacted_thinking","data":"chat."}"#;
        for blocks in [format!("{own},{CALL}"), format!("{redacted},{CALL}"), CALL.to_owned()] {
            assert_eq!(without(&asked("null", &blocks), "claude-opus-4-8"), None);
        }
        for body in ["", "{", r#"{"messages":7}"#, r#"{"x":""}"#, r#"{"messages":[{"role":"user"}]}"#] {
            assert_eq!(without(body, "claude-opus-4-8"), None, "{body}");
        }
        assert!(!may_hold_foreign(asked("null", own).as_bytes()), "it is not even read");
        assert!(may_hold_foreign(br#"{"signature" : "chat."}"#) && may_hold_foreign(br#"{"signature":""}"#));
    }

    #[test]
    fn a_turn_that_was_nothing_else_is_left_out() {
        let body = r#"{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":[{"type":"thinking","thinking":"","signature":""}]},{"role":"user","content":"b"}]}"#;
        let left = r#"{"messages":[{"role":"user","content":"a"},{"role":"user","content":"b"}]}"#;
        assert_eq!(without(body, "claude-opus-4-8").as_deref(), Some(left));
    }

    #[test]
    fn where_a_budget_needs_thinking_before_a_call_that_is_gone_the_next_turn_does_not_think() {
        let foreign = r#"{"type":"thinking","thinking":"Hm.","signature":"chat."}"#;
        let own = r#"{"type":"thinking","thinking":"Hm.","signature":"RXJz"}"#;
        let enabled = r#"{"type":"enabled","budget_tokens":2000}"#;
        let thinks = |model: &str, blocks: String| {
            let left: serde_json::Value =
                serde_json::from_str(&without(&asked(enabled, &blocks), model).unwrap()).unwrap();
            left["thinking"]["type"] == "enabled"
        };
        assert!(!thinks("claude-sonnet-4-5", format!("{foreign},{CALL}")));
        assert!(thinks("claude-sonnet-4-6", format!("{foreign},{CALL}")));
        assert!(thinks("claude-sonnet-4-5", format!("{own},{foreign},{CALL}")));
        assert!(thinks("claude-sonnet-4-5", format!(r#"{foreign},{{"type":"text","text":"x"}}"#)));
        let later = format!(
            r#"{foreign},{CALL}]}},{{"role":"user","content":"x"}},{{"role":"assistant","content":[{own},{CALL}"#
        );
        assert!(thinks("claude-sonnet-4-5", later), "it is the last turn that counts");
    }
}
