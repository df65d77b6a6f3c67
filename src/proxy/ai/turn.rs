//! An answer that is kept or shared, in the form that a client wants: a whole one as events, events as a whole one.
//!
//! Long ones are worked on beside the worker, and what they become counts among the bodies that are held.

use super::body::Held;
use super::job::{LONG, Wanted, aside};
use crate::ai::answers::{Form, Piece, convert};

/// What an answer weighs beside itself while it is turned, and what was made of it, as so many of it.
const TIMES: usize = 2;

/// An answer in the form that the client wants.
pub struct Turned {
    /// See above.
    pub form: Form,
    /// What it takes of the memory for bodies.
    pub held: Held,
}

/// Why there is none.
pub enum Unturned {
    /// It cannot be said in that form.
    Cannot,
    /// Others take all of the memory for bodies.
    NoRoom,
}

/// `form` as `wanted`. What has no other form stays as it is.
///
/// # Errors
/// See [`Unturned`].
pub async fn turned(wanted: &Wanted, form: &Form) -> Result<Turned, Unturned> {
    let mut held = wanted.held.another();
    let operation = wanted.operation;
    let is_right = matches!(form, Form::Events(_)) == wanted.streams;
    if is_right || !convert::turns(operation) {
        return Ok(Turned { form: form.clone(), held });
    }
    let length = usize::try_from(form.bytes()).unwrap_or(usize::MAX);
    if !room(&mut held, length).await {
        return Err(Unturned::NoRoom);
    }
    let form = form.clone();
    let work = move || match form {
        Form::Whole(body) => convert::events(operation, &body).map(|pieces| Form::Events(pieces.into())),
        Form::Events(pieces) => convert::whole(operation, &pieces).map(Form::Whole),
    };
    let form = aside(length, work).await.flatten().ok_or(Unturned::Cannot)?;
    if let Form::Events(pieces) = &form {
        weighed(&mut held, length, pieces);
    }
    Ok(Turned { form, held })
}

/// Waits for the memory to turn an answer of this length; `false`: there is none.
pub async fn room(held: &mut Held, length: usize) -> bool {
    length <= LONG || held.wait_for(length.saturating_mul(TIMES) as u64).await
}

/// Counts what the events of an answer of this length weigh more than there was room for.
pub fn weighed(held: &mut Held, length: usize, pieces: &[Piece]) {
    let counted = if length <= LONG { LONG } else { length.saturating_mul(TIMES) };
    let weight = pieces.iter().fold(0_usize, |sum, piece| sum.saturating_add(piece.bytes.len()));
    // It is there already, and bounded by its answer.
    let _ = held.add(weight.saturating_sub(counted) as u64);
}
