//! How an answer goes out to one client: its header block, its pieces, comments while there is nothing else, its end.
//!
//! What a client did not ask for it does not see: usage at the end of a stream, which the provider was asked for by us.

use std::future::{pending, poll_fn};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, header};
use memchr::memmem;

use super::answer::{self, NEVER, event_fields};
use crate::ai::answers::Piece;
use crate::ai::dialect::Dialect;
use crate::ai::refusal::Refusal;
use crate::ai::sse::COMMENT;
use crate::proxy::context::RequestContext;
use crate::proxy::exchange::{Unserved, hold, write_answer};
use crate::transport::deadline::Deadline;
use crate::transport::session::Session;

/// What OpenAI writes into every event of a stream whose usage comes at its end, and how Python's `json` writes it.
const NO_USAGE: [&[u8]; 2] = [b",\"usage\":null", b", \"usage\": null"];

/// What the client has got so far, and how it wants the rest.
pub struct Delivery {
    /// It has the header block of a stream.
    begun: bool,
    /// Whether it sees usage that comes as an event of its own.
    wants_usage: bool,
    /// Between two comments while nothing else goes out. `NEVER`: none.
    keepalive: Duration,
    comment: Deadline,
    dialect: Dialect,
    /// Events that went out.
    events: u64,
}

impl Delivery {
    /// Nothing has gone out. `keepalive`: zero for no comments.
    pub fn new(streams: bool, wants_usage: bool, keepalive: Duration, dialect: Dialect) -> Self {
        let keepalive = if keepalive.is_zero() || !streams { NEVER } else { keepalive };
        Self { begun: false, wants_usage, keepalive, comment: Deadline::default(), dialect, events: 0 }
    }

    /// Whether the header block of a stream has gone out.
    pub fn has_begun(&self) -> bool {
        self.begun
    }

    /// Whether the client sees usage that comes as an event of its own.
    pub fn wants_usage(&self) -> bool {
        self.wants_usage
    }

    /// Ends when a comment is due.
    pub async fn due(&mut self) {
        if self.keepalive == NEVER {
            return pending().await;
        }
        poll_fn(|cx| self.comment.poll(cx, self.keepalive)).await;
    }

    /// Tells a client that waits that somebody is there.
    ///
    /// # Errors
    /// When it is gone.
    pub async fn comment(&mut self, session: &mut Session<'_>, ctx: &mut RequestContext) -> Result<(), Unserved> {
        self.begin(session, ctx, HeaderMap::new()).await?;
        hold(ctx, false);
        write_answer(session, COMMENT).await?;
        self.comment.restart();
        Ok(())
    }

    /// Begins a stream, unless it has begun.
    ///
    /// # Errors
    /// When the client is gone.
    pub async fn begin(
        &mut self,
        session: &mut Session<'_>,
        ctx: &mut RequestContext,
        fields: HeaderMap,
    ) -> Result<(), Unserved> {
        if self.begun {
            return Ok(());
        }
        self.begun = true;
        hold(ctx, true);
        answer::begin(session, ctx, event_fields(fields), None).await
    }

    /// Sends a piece of a stream.
    ///
    /// # Errors
    /// When the client is gone.
    pub async fn piece(&mut self, session: &mut Session<'_>, piece: Piece) -> Result<(), Unserved> {
        // A comment of the provider's is none.
        self.events += u64::from(!piece.bytes.starts_with(b":"));
        if self.wants_usage {
            write_answer(session, &piece.bytes).await?;
        } else if !piece.usage {
            write_answer(session, &without_usage(piece.bytes)).await?;
        }
        // Something went out: the next comment is due later.
        self.comment.restart();
        Ok(())
    }

    /// Sends all of a stream, made of an answer of another type.
    ///
    /// # Errors
    /// When the client is gone.
    pub async fn pieces(
        &mut self,
        session: &mut Session<'_>,
        ctx: &mut RequestContext,
        mut fields: HeaderMap,
        pieces: &[Piece],
    ) -> Result<(), Unserved> {
        fields.remove(header::CONTENT_TYPE);
        self.begin(session, ctx, fields).await?;
        for piece in pieces {
            self.piece(session, piece.clone()).await?;
        }
        hold(ctx, false);
        answer::last(session, Bytes::new()).await
    }

    /// Sends a whole answer.
    ///
    /// # Errors
    /// When the client is gone.
    pub async fn whole(
        &mut self,
        session: &mut Session<'_>,
        ctx: &mut RequestContext,
        fields: HeaderMap,
        body: Bytes,
    ) -> Result<(), Unserved> {
        answer::begin(session, ctx, fields, Some(body.len())).await?;
        answer::last(session, body).await
    }

    /// Tells the client that there is no answer, or no more of it: in a stream that has begun by an event (row C22).
    ///
    /// # Errors
    /// When the client is gone.
    pub async fn refuse(
        &mut self,
        session: &mut Session<'_>,
        ctx: &mut RequestContext,
        refusal: Refusal,
    ) -> Result<(), Unserved> {
        if !self.begun {
            return super::refuse(session, ctx, refusal, self.dialect).await;
        }
        ctx.termination = Some(refusal.termination);
        ctx.error = Some(refusal.code);
        hold(ctx, false);
        let event = refusal.event(self.dialect, ctx.request_id.as_str(), self.events);
        write_answer(session, &event).await?;
        answer::last(session, Bytes::new()).await
    }
}

/// The event without `"usage":null`, which stands there only because usage was asked for. Within a string of JSON its
/// quotes would be escaped, so it cannot be a part of what the model said.
fn without_usage(raw: Bytes) -> Bytes {
    let found = NO_USAGE.iter().find_map(|none| Some((memmem::find(&raw, none)?, none.len())));
    let Some((at, len)) = found else { return raw };
    let (before, rest) = raw.split_at(at);
    [before, rest.get(len..).unwrap_or_default()].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_that_was_not_asked_for_is_taken_out_and_nothing_else() {
        let raw = Bytes::from_static(b"data: {\"id\":\"1\",\"choices\":[],\"usage\":null,\"x\":1}\n\n");
        assert_eq!(without_usage(raw), &b"data: {\"id\":\"1\",\"choices\":[],\"x\":1}\n\n"[..]);
        let blanks = Bytes::from_static(b"data: {\"id\": \"1\", \"choices\": [], \"usage\": null, \"x\": 1}\n\n");
        assert_eq!(without_usage(blanks), &b"data: {\"id\": \"1\", \"choices\": [], \"x\": 1}\n\n"[..]);
        let said = Bytes::from_static(br#"data: {"choices":[{"delta":{"content":"say ,\"usage\":null"}}]}"#);
        assert_eq!(without_usage(said.clone()), said);
    }
}
