//! The calls of a stream of Chat, told one after the other: a provider may go to and fro between them, and the blocks of a
//! client of Messages do not overlap.
//!
//! The first call that is not complete passes on as it comes; those after it are held until it is. Whether it is shows its
//! arguments, one JSON object, or else the end of the stream. A client runs a call with what it could read of it, so one whose
//! arguments are no object must not end like a whole one: the stream breaks instead.

use std::collections::VecDeque;

use super::super::reply::{Piece, Stop};
use super::super::text::Text;
use super::super::translate::{Malformed, Sink, is_json};
use super::answer::made_up_id;
use crate::ai::sse::MAX_EVENT;

/// What a held call counts beside its bytes.
const OVERHEAD: usize = 256;

const NO_OBJECT: Malformed = Malformed::foreign("a call of a tool whose arguments are no JSON object");

/// What a delta says of a call. Some servers leave the index out or say zero for every call; then a new id with a name
/// begins a new one.
pub(super) struct Delta<'a> {
    pub(super) index: Option<u64>,
    pub(super) id: Option<Text<'a>>,
    pub(super) name: Option<Text<'a>>,
    pub(super) arguments: Text<'a>,
}

/// See above.
#[derive(Debug, Default)]
pub(super) struct Calls {
    /// The one that passes, then those that wait, in the order in which they began.
    open: VecDeque<Call>,
    /// The client has been told of the first of `open`.
    begun: bool,
    /// Calls so far.
    count: usize,
    /// What those that wait take.
    held: usize,
}

#[derive(Debug)]
struct Call {
    index: Option<u64>,
    id: String,
    name: String,
    /// Arguments that the client has not got.
    waiting: String,
    object: Object,
}

impl Calls {
    /// Whether there were any.
    pub(super) const fn any(&self) -> bool {
        self.count > 0
    }

    /// Takes in a delta. `answer`: the answer's id.
    ///
    /// # Errors
    ///
    /// It goes back to a call that was complete, begins one without a name or one too many, its arguments go on after their end,
    /// or there is too much to hold.
    pub(super) fn take(&mut self, delta: Delta<'_>, answer: &str, sink: &mut Sink<'_>) -> Result<(), Malformed> {
        let Delta { index, id, name, arguments } = delta;
        let is_of = |call: &Call| {
            let is_another = || name.is_some() && id.as_ref().is_some_and(|id| **id != *call.id);
            (index.is_none() || index == call.index) && !is_another()
        };
        let at = match (self.open.iter().rposition(is_of), name) {
            (Some(at), _) => at,
            (None, Some(name)) => {
                Malformed::unless_one_more(self.count)?;
                let id = id.map_or_else(|| made_up_id(answer, self.count, &name), |id| id.0.into_owned());
                self.count += 1;
                self.held = self.held.saturating_add(OVERHEAD + id.len() + name.len());
                let name = name.0.into_owned();
                self.open.push_back(Call { index, id, name, waiting: String::new(), object: Object::default() });
                self.open.len() - 1
            }
            (None, None) if arguments.is_blank() => return Ok(()),
            (None, None) => {
                return Err(Malformed::foreign("a call of a tool without a name, or after it was complete"));
            }
        };
        if let Some(call) =
            self.open.get_mut(at).filter(|call| !(call.object.stage == Stage::Whole && arguments.is_blank()))
        {
            if !call.object.take(&arguments) {
                return Err(NO_OBJECT);
            }
            call.waiting.push_str(&arguments);
            self.held = self.held.saturating_add(arguments.len());
        }
        self.tell(None, sink)?;
        if self.held > MAX_EVENT {
            return Err(Malformed::foreign("calls of tools that are too long to be put into their order"));
        }
        Ok(())
    }

    /// No more comes, for this reason: all are told. The last one need not be whole where the answer was cut off in it, as
    /// with Anthropic; by the reason to stop, a client knows.
    ///
    /// # Errors
    ///
    /// Any other has arguments that are no JSON object.
    pub(super) fn finish(&mut self, stop: &Stop, sink: &mut Sink<'_>) -> Result<(), Malformed> {
        self.tell(Some(stop), sink)
    }

    /// Tells what can be told by now; at the end, all.
    fn tell(&mut self, end: Option<&Stop>, sink: &mut Sink<'_>) -> Result<(), Malformed> {
        loop {
            let (first, is_last) = (self.count - self.open.len(), self.open.len() == 1);
            let Some(call) = self.open.front_mut() else { return Ok(()) };
            if !std::mem::replace(&mut self.begun, true) {
                sink.put(&Piece::Call { id: &call.id, name: &call.name, seal: None });
                self.held = self.held.saturating_sub(OVERHEAD + call.id.len() + call.name.len());
            }
            if matches!(call.object.stage, Stage::Within | Stage::Whole) && !call.waiting.is_empty() {
                sink.put(&Piece::Arguments { call: first, json: &call.waiting });
                self.held = self.held.saturating_sub(call.waiting.len());
                call.waiting.clear();
            }
            match end {
                // The last one stays, for some servers repeat its id and its name with what follows.
                None if call.object.stage != Stage::Whole || is_last => return Ok(()),
                Some(stop) if !(call.is_whole() || is_last && stop.cuts() && call.is_cut()) => return Err(NO_OBJECT),
                _ => {}
            }
            self.held = self.held.saturating_sub(call.waiting.len());
            self.open.pop_front();
            self.begun = false;
        }
    }
}

impl Call {
    /// Nothing at all, and `null`, is an empty object.
    fn is_whole(&self) -> bool {
        match self.object.stage {
            Stage::Whole => true,
            Stage::Within => false,
            Stage::Before | Stage::Other => matches!(self.waiting.trim(), "" | "null"),
        }
    }

    /// Whether it is the beginning of what could have become whole.
    fn is_cut(&self) -> bool {
        self.object.stage == Stage::Within || !is_json(&self.waiting)
    }
}

/// How far a JSON object that comes in pieces is.
#[derive(Debug, Default)]
struct Object {
    stage: Stage,
    depth: usize,
    quoted: bool,
    escaped: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    /// Blanks alone.
    #[default]
    Before,
    Within,
    Whole,
    /// It begins with something else.
    Other,
}

impl Object {
    /// Whether nothing came behind the object.
    #[must_use]
    fn take(&mut self, json: &str) -> bool {
        for byte in json.bytes() {
            match (self.stage, byte) {
                (Stage::Within, byte) => self.step(byte),
                (Stage::Other, _) | (_, b' ' | b'\n' | b'\r' | b'\t') => {}
                (Stage::Before, b'{') => (self.stage, self.depth) = (Stage::Within, 1),
                (Stage::Before, _) => self.stage = Stage::Other,
                (Stage::Whole, _) => return false,
            }
        }
        true
    }

    fn step(&mut self, byte: u8) {
        match byte {
            _ if std::mem::take(&mut self.escaped) => {}
            b'\\' if self.quoted => self.escaped = true,
            b'"' => self.quoted = !self.quoted,
            _ if self.quoted => {}
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => {
                self.depth -= 1;
                if self.depth == 0 {
                    self.stage = Stage::Whole;
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_complete_with_its_last_brace_and_not_with_one_in_a_string() {
        let mut object = Object::default();
        for (piece, complete) in
            [("", false), ("{\"a\":", false), ("\"}\\\"}", false), ("\",\"b\":[{}", false), ("]", false), ("}", true)]
        {
            assert!(object.take(piece));
            assert_eq!(object.stage == Stage::Whole, complete, "{piece}");
        }
        assert!(object.take(" \n"));
        assert!(!object.take("{"), "one is enough");
    }
}
