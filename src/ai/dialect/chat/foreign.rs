//! What OpenAI does not take back. A conversation that another target answered before holds the fields of [`super`] in which that
//! one's thinking comes back, and OpenAI refuses the whole request for them.

use memchr::memmem;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::json::object;
use super::super::members::Members;
use super::super::text::Text;

/// Of an assistant's message. The last one is of its calls, too.
const FIELDS: [&str; 3] = ["reasoning_content", "thinking_blocks", SEALED];
const SEALED: &str = "extra_content";

/// What is looked at of a body. All else stays as it is, known or not.
#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    messages: &'a RawValue,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    role: Text<'a>,
}

/// Whether one of the names stands anywhere. A body without one need not be read.
pub(in super::super) fn may_hold_foreign(body: &[u8]) -> bool {
    FIELDS.iter().any(|field| memmem::find(body, field.as_bytes()).is_some())
}

/// The body without these fields; `None`: it has none, and goes as it is.
pub(in super::super) fn without_foreign(body: &[u8]) -> Option<Vec<u8>> {
    let Body { messages } = serde_json::from_slice(body).ok()?;
    let told: Vec<&RawValue> = serde_json::from_str(messages.get()).ok()?;
    let mut any = false;
    let mut out = Vec::with_capacity(body.len());
    let start = messages.get().as_ptr().addr().saturating_sub(body.as_ptr().addr());
    out.extend_from_slice(body.get(..start)?);
    list(&told, &mut out, |message, out| {
        let is_told = may_hold_foreign(message.get().as_bytes()) && is_assistants(message);
        let left = is_told && lessened(message, &FIELDS, out);
        any |= left;
        left
    });
    out.extend_from_slice(body.get(start + messages.get().len()..)?);
    any.then_some(out)
}

fn is_assistants(message: &RawValue) -> bool {
    serde_json::from_str::<Message<'_>>(message.get()).is_ok_and(|message| message.role.0 == "assistant")
}

/// Writes an object without `fields`, and without what its calls have of them; `false`: it has none, and nothing is written.
fn lessened(raw: &RawValue, fields: &[&str], out: &mut Vec<u8>) -> bool {
    let Ok(Members(members)) = serde_json::from_str(raw.get()) else { return false };
    let start = out.len();
    let mut any = false;
    object(out, |o| {
        for (key, value) in &members {
            let calls = (&**key == "tool_calls").then(|| calls(value)).flatten();
            any |= calls.is_some();
            match calls {
                Some(calls) => o.raw(key, &calls),
                None if fields.contains(&&**key) => any = true,
                None => o.raw(key, value.get()),
            }
        }
    });
    if !any {
        out.truncate(start);
    }
    any
}

/// Calls without seals; `None`: they have none.
fn calls(raw: &RawValue) -> Option<String> {
    let calls: Vec<&RawValue> = serde_json::from_str(raw.get()).ok()?;
    let (mut out, mut any) = (Vec::with_capacity(raw.get().len()), false);
    list(&calls, &mut out, |call, out| {
        let left = lessened(call, &[SEALED], out);
        any |= left;
        left
    });
    String::from_utf8(out).ok().filter(|_| any)
}

/// Writes a list, of which `change` writes what it changes.
fn list(items: &[&RawValue], out: &mut Vec<u8>, mut change: impl FnMut(&RawValue, &mut Vec<u8>) -> bool) {
    out.push(b'[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        if !change(item, out) {
            out.extend_from_slice(item.get().as_bytes());
        }
    }
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn without(body: &str) -> Option<String> {
        without_foreign(body.as_bytes()).map(|body| String::from_utf8(body).unwrap())
    }

    #[test]
    fn what_others_added_is_taken_out_and_every_other_value_stays() {
        let user = r#"{ "role" : "user", "content":"\"reasoning_content\" \u00e9", "extra_content":1 }"#;
        let body = format!(
            r#"{{ "model":"m", "messages" : [{user}, {{"role":"assistant","reasoning_content":"Hm.","content": "a\n","thinking_blocks":[{{"type":"thinking"}}],"extra_content":{{"google":{{}}}},"x":1.0,
            "tool_calls":[{{"id":"c","extra_content":{{"google":{{"thought_signature":"s"}}}},"type":"function","function":{{"name":"f","arguments":"{{\"extra_content\":1}}"}}}},{{"id" : "d"}}]}}, {user}], "x" : 1.0}}"#
        );
        let left = format!(
            r#"{{ "model":"m", "messages" : [{user},{{"role":"assistant","content":"a\n","x":1.0,"tool_calls":[{{"id":"c","type":"function","function":{{"name":"f","arguments":"{{\"extra_content\":1}}"}}}},{{"id" : "d"}}]}},{user}], "x" : 1.0}}"#
        );
        assert!(may_hold_foreign(body.as_bytes()));
        assert_eq!(without(&body), Some(left));
    }

    #[test]
    fn a_body_without_them_goes_as_it_is() {
        let named = r#"{"messages":[{"role":"user","reasoning_content":"x"},{"role":"assistant","content":"extra_content"},{"role":"assistant","tool_calls":[{"function":{"extra_content":1}}]}],"thinking_blocks":1}"#;
        for body in ["", "{", r#"{"messages":7}"#, r#"{"x":""}"#, r#"{"messages":[7,{"role":7}]}"#, named] {
            assert_eq!(without(body), None, "{body}");
        }
        assert!(!may_hold_foreign(br#"{"messages":[{"role":"assistant","content":"x"}]}"#), "it is not even read");
    }
}
