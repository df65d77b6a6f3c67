//! Gemini: Google's `generateContent`, as providers are asked and answer. No client speaks it.
//!
//! Neither the model nor whether to stream stands in the body: both are in the path (`models/X:generateContent`,
//! `models/X:streamGenerateContent?alt=sse`).
//!
//! Not every model gives its calls ids. Those that it gives go to the client with a word before them, and come back to Gemini alone.
//! Any other call gets one that is made of the answer's id, its place and its name: it is the same in a stream and in a whole
//! answer. Going back, results find their calls by these, and Gemini matches both by name and order.
//!
//! A `thoughtSignature` belongs to one part, and from Gemini 3 on a call without its own is refused. What clients are
//! given to bring it back is in [`chat`](super::chat) and [`messages`](super::messages). For calls that another model
//! made, Google has a word that stands for a signature.

mod answer;
mod schema;
mod thinking;
mod write;

pub(super) use answer::{Reader, read as read_answer};
pub(super) use write::write;
