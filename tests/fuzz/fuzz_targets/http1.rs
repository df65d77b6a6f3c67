//! Any answer and any request over HTTP/1 in any pieces: it is the same one, or the same refusal.

#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use pieces::pieces;
use sluicegate::transport::http1::body::{Body, Taken};
use sluicegate::transport::http1::request::Request;
use sluicegate::transport::http1::{Fault, Head};

mod pieces;

fuzz_target!(|input: (Vec<u16>, Vec<u8>)| {
    let (cuts, message) = input;
    let pieces = pieces(&cuts, &message);
    assert_eq!(read(&pieces, answer), read(&[&message], answer), "the pieces have a part in it");
    assert_eq!(read(&pieces, request), read(&[&message], request), "the pieces have a part in it");
});

type Begun = Result<Option<(String, Body)>, String>;

fn answer(buffer: &mut BytesMut) -> Begun {
    let told = |fault: Fault| format!("{fault:?}");
    let Some(head) = Head::take(buffer).map_err(told)? else { return Ok(None) };
    Ok(Some((head.status.to_string(), Body::of(&head, false).map_err(told)?.body)))
}

fn request(buffer: &mut BytesMut) -> Begun {
    let Some(request) = Request::take(buffer).map_err(|unfit| format!("{unfit:?}"))? else { return Ok(None) };
    let header = request.header;
    let both = header.headers.contains_key("content-length") && header.headers.contains_key("transfer-encoding");
    assert!(!both && request.framed.body != Body::UntilClose, "framed in two ways");
    assert!(header.headers.get_all("host").iter().count() <= 1);
    Ok(Some((format!("{} {} {:?}", header.method, header.uri, header.headers), request.framed.body)))
}

/// What it is, its body, whether that is complete, and what is left; or what is wrong, which a longer piece may show earlier.
fn read(pieces: &[&[u8]], take: fn(&mut BytesMut) -> Begun) -> Result<Option<(String, Vec<u8>, bool, Vec<u8>)>, String> {
    let mut buffer = BytesMut::new();
    let mut answer: Option<(String, Body)> = None;
    let mut all = Vec::new();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        if answer.is_none() {
            answer = take(&mut buffer)?;
        }
        if let Some((_, body)) = &mut answer {
            while let Taken::Part(part) = body.take(&mut buffer).map_err(|fault| format!("{fault:?}"))? {
                assert!(!part.is_empty());
                all.extend_from_slice(&part);
            }
        }
    }
    Ok(answer.map(|(what, body)| (what, all, body.is_done(), buffer.to_vec())))
}
