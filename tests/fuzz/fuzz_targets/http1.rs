//! Any answer over HTTP/1 in any pieces: it is the same answer, or the same refusal.

#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use pieces::pieces;
use sluicegate::transport::http1::body::{Body, Taken};
use sluicegate::transport::http1::{Fault, Head};

mod pieces;

fuzz_target!(|input: (Vec<u16>, Vec<u8>)| {
    let (cuts, answer) = input;
    assert_eq!(read(&pieces(&cuts, &answer)), read(&[&answer]), "the pieces have a part in it");
});

/// Status, body, whether that is complete, and what is left; or what is wrong, which a longer piece may show earlier.
fn read(pieces: &[&[u8]]) -> Result<Option<(u16, Vec<u8>, bool, Vec<u8>)>, Fault> {
    let mut buffer = BytesMut::new();
    let mut answer: Option<(u16, Body)> = None;
    let mut all = Vec::new();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        if answer.is_none() {
            let Some(head) = Head::take(&mut buffer)? else { continue };
            answer = Some((head.status.as_u16(), Body::of(&head)?.body));
        }
        if let Some((_, body)) = &mut answer {
            while let Taken::Part(part) = body.take(&mut buffer)? {
                assert!(!part.is_empty());
                all.extend_from_slice(&part);
            }
        }
    }
    Ok(answer.map(|(status, body)| (status, all, body.is_done(), buffer.to_vec())))
}
