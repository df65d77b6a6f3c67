//! What is answered, before it has a dialect. The rules, which a test can count on:
//!
//! - The text is `This is ID answering a question of N characters.`, with `, N images` and `, N tool results` before the full
//!   stop where there are any. A question that begins with `say ` is answered with the rest of it; one for JSON with a value
//!   that fits the schema.
//! - A question with tools whose text has `call NAME` calls that tool, with `call NAME twice` twice at once; so does a
//!   tool choice that demands it. A question with tool results is answered with text.
//! - A token of output is one piece: a word with the space after it, or eight characters of JSON or of a call's arguments.
//! - An order of so many events makes the text that many pieces, from its beginning again and again.
//! - The longest output is kept: thinking first, then text.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::Scene;
use super::question::{Choice, Question, sample};
use super::script::Words;
use crate::mock::faults::{Ended, Think};
use crate::mock::ledger::Tokens;

/// Characters of a piece of JSON.
const PIECE: usize = 8;

/// Words of a whole text; a stream may have more.
const LONGEST: usize = 1_000_000;

/// One answer.
pub(super) struct Reply {
    /// The words of the thinking; empty where there is none.
    pub(super) thinking: Vec<String>,
    pub(super) redacted: bool,
    words: Vec<String>,
    /// So many words, from the beginning again when they are used up.
    pub(super) count: u64,
    stamped: bool,
    pub(super) calls: Vec<Invocation>,
    pub(super) finish: Finish,
    pub(super) usage: Tokens,
    /// The number of equal answers.
    pub(super) choices: u64,
}

/// One call of a tool.
pub(super) struct Invocation {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) arguments: Value,
}

/// Why an answer ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Finish {
    Stop,
    Sequence(String),
    Length,
    Calls,
    Filter,
    Pause,
}

impl Reply {
    /// Plans the answer.
    pub(super) fn plan(scene: &Scene, question: &Question) -> Self {
        let orders = scene.orders;
        let calls = calls(scene, question);
        let (mut words, mut finish) = match calls.is_empty() {
            true => (text(scene, question), Finish::Stop),
            false => (Vec::new(), Finish::Calls),
        };
        if let Some((kept, sequence)) = stopped(&words, &question.stop) {
            words = kept;
            finish = Finish::Sequence(sequence);
        }
        let thinks = question.thinks || orders.think.is_some();
        let mut thinking = match thinks {
            true => split(&format!("I think about a question of {} characters.", question.chars)),
            false => Vec::new(),
        };
        let mut count = words.len() as u64;
        if let (Some(cadence), false) = (orders.sse, words.is_empty()) {
            count = cadence.events.unwrap_or(count);
            let padding = "x".repeat(usize::try_from(cadence.padding.min(1 << 20)).unwrap_or(0));
            words.iter_mut().for_each(|word| word.insert_str(0, &padding));
        }
        if let Some(most) = question.most {
            let thought = thinking.len() as u64;
            if thought + count > most && calls.is_empty() {
                finish = Finish::Length;
                thinking.truncate(usize::try_from(most).unwrap_or(usize::MAX));
                count = most.saturating_sub(thought).min(count);
            }
        }
        match orders.ended {
            Some(Ended::Filter) => finish = Finish::Filter,
            Some(Ended::Pause) => finish = Finish::Pause,
            Some(Ended::Length) => finish = Finish::Length,
            None => {}
        }
        let stamped = orders.sse.is_some_and(|cadence| cadence.stamped);
        let redacted = orders.think == Some(Think::Redacted);
        let choices = question.choices.clamp(1, 16);
        let usage = Tokens::default();
        let mut reply = Self { thinking, redacted, words, count, stamped, calls, finish, usage, choices };
        reply.usage = reply.used(scene, question);
        reply
    }

    /// What the answer costs, but for what an order says.
    fn used(&self, scene: &Scene, question: &Question) -> Tokens {
        let ordered = scene.orders.usage;
        let input = ordered.input.unwrap_or_else(|| question.tokens());
        let cache_read = ordered.cached.min(input);
        Tokens {
            input,
            cache_read,
            cache_write: ordered.written.min(input - cache_read),
            output: ordered.output.unwrap_or_else(|| self.said()),
            reasoning: ordered.reasoning.unwrap_or(self.thinking.len() as u64 * self.choices),
        }
    }

    /// Pieces of everything that is said.
    pub(super) fn said(&self) -> u64 {
        let called: usize = self.calls.iter().map(|call| call.pieces().len()).sum();
        (self.thinking.len() as u64 + self.count + called as u64) * self.choices
    }

    /// The whole text.
    pub(super) fn text(&self) -> String {
        let count = usize::try_from(self.count).unwrap_or(usize::MAX).min(LONGEST);
        self.words.iter().cycle().take(count).map(String::as_str).collect()
    }

    /// The text as it is streamed.
    pub(super) fn words(&self) -> Words {
        match self.stamped {
            true => Words::Stamps,
            false => Words::cycle(&self.words),
        }
    }

    /// The whole thinking.
    pub(super) fn thought(&self) -> String {
        self.thinking.concat()
    }
}

impl Invocation {
    /// The arguments in the pieces in which they are streamed.
    pub(super) fn pieces(&self) -> Vec<String> {
        pieces(&self.arguments.to_string())
    }
}

/// A text in words, each with the space after it.
fn split(text: &str) -> Vec<String> {
    text.split_inclusive(' ').map(str::to_owned).collect()
}

/// A text in pieces of eight characters.
fn pieces(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    chars.chunks(PIECE).map(|piece| piece.iter().collect()).collect()
}

/// The words of the answer.
fn text(scene: &Scene, question: &Question) -> Vec<String> {
    if let Some(schema) = &question.schema {
        return pieces(&sample(schema, 1).to_string());
    }
    if let Some(rest) = question.text.strip_prefix("say ") {
        // The marks of scripts are private characters; a text may not have them.
        return split(&rest.replace(|c| ('\u{e001}'..='\u{e00f}').contains(&c), ""));
    }
    let mut text = format!("This is {} answering a question of {} characters", scene.shared.id, question.chars);
    if question.images > 0 {
        text.push_str(&format!(", {} images", question.images));
    }
    if question.results > 0 {
        text.push_str(&format!(", {} tool results", question.results));
    }
    text.push('.');
    split(&text)
}

/// The text up to the first stop sequence in it.
fn stopped(words: &[String], stop: &[String]) -> Option<(Vec<String>, String)> {
    let text = words.concat();
    let found = stop.iter().filter(|stop| !stop.is_empty()).filter_map(|stop| Some((text.find(stop.as_str())?, stop)));
    let (at, sequence) = found.min()?;
    Some((split(text.get(..at)?), sequence.clone()))
}

fn calls(scene: &Scene, question: &Question) -> Vec<Invocation> {
    if question.results > 0 || question.choice == Choice::None {
        return Vec::new();
    }
    let asked = |name: &str| {
        let order = format!("call {name}");
        let rest = question.text.split_once(&order)?.1;
        Some(if rest.trim_start().starts_with("twice") { 2 } else { 1 })
    };
    let forced = match &question.choice {
        Choice::Named(name) => question.tools.iter().find(|tool| tool.name == *name),
        Choice::Any => question.tools.first(),
        Choice::Auto | Choice::None => None,
    };
    // The longest name first: of `get` and `get_weather`, the one that was meant.
    let mut tools: Vec<_> = question.tools.iter().filter_map(|tool| Some((tool, asked(&tool.name)?))).collect();
    tools.sort_by_key(|(tool, _)| std::cmp::Reverse(tool.name.len()));
    let Some((tool, times)) = tools.first().copied().or_else(|| Some((forced?, 1))) else {
        return Vec::new();
    };
    let call = |number: u64| Invocation {
        id: format!("mock{}_{number}", scene.number),
        name: tool.name.clone(),
        arguments: match sample(&tool.schema, number) {
            Value::Object(arguments) => Value::Object(arguments),
            _ => Value::Object(Default::default()),
        },
    };
    (1..=times).map(call).collect()
}

/// The signature of a thinking block; a later turn must bring it back unchanged.
pub(super) fn signature(thinking: &str) -> String {
    STANDARD.encode(Sha256::new().chain_update("mock thinking: ").chain_update(thinking).finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_sequence_cuts_the_text_before_it() {
        let words = split("one two three");
        let stop = ["three".to_owned(), "two".to_owned(), String::new()];
        assert_eq!(stopped(&words, &stop), Some((vec!["one ".to_owned()], "two".to_owned())));
        assert_eq!(stopped(&words, &["four".to_owned()]), None);
    }

    #[test]
    fn pieces_are_cut_between_characters() {
        assert_eq!(pieces("äöüäöüäöü"), ["äöüäöüäö", "ü"]);
    }
}
