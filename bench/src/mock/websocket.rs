//! A WebSocket echo (RFC 6455): the handshake, and every message sent back unmasked in the frames it came in.

use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use sha1::{Digest, Sha1};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::answer::{self, Answer, Payload};

/// RFC 6455, section 1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// The largest frame taken; a larger one ends the connection.
const MAX_FRAME: u64 = 16 << 20;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;

/// Whether a request asks to become a WebSocket.
pub(super) fn is_upgrade(headers: &HeaderMap) -> bool {
    let value = headers.get(UPGRADE).and_then(|value| value.to_str().ok());
    value.is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
}

/// The 101 answer, or 400 when the key is missing.
pub(super) fn handshake(headers: &HeaderMap) -> Answer {
    let Some(key) = headers.get(SEC_WEBSOCKET_KEY) else {
        return answer::text(StatusCode::BAD_REQUEST, "Sec-WebSocket-Key is missing\n");
    };
    let digest = Sha1::new().chain_update(key.as_bytes()).chain_update(GUID).finalize();
    let mut answer = Response::new(Payload::Whole(bytes::Bytes::new()));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let out = answer.headers_mut();
    out.insert(UPGRADE, HeaderValue::from_static("websocket"));
    out.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    if let Ok(accept) = HeaderValue::from_str(&STANDARD.encode(digest)) {
        out.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    if let Some(protocol) = headers.get(SEC_WEBSOCKET_PROTOCOL) {
        out.insert(SEC_WEBSOCKET_PROTOCOL, protocol.clone());
    }
    answer
}

/// Echoes until the close handshake or the end of the stream. Errors on a broken stream, an unmasked or an oversized frame.
pub(super) async fn echo<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> io::Result<()> {
    loop {
        let (first, payload) = read_frame(&mut stream).await?;
        let opcode = first & 0x0F;
        match opcode {
            PONG => continue,
            // The same FIN bit, RSV bits cleared, pong for ping.
            PING => write_frame(&mut stream, 0x80 | PONG, &payload).await?,
            _ => write_frame(&mut stream, first & 0x8F, &payload).await?,
        }
        if opcode == CLOSE {
            return stream.shutdown().await;
        }
    }
}

/// The first byte of a client's frame and its payload, unmasked.
async fn read_frame<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<(u8, Vec<u8>)> {
    let first = stream.read_u8().await?;
    let second = stream.read_u8().await?;
    let len = match second & 0x7F {
        126 => u64::from(stream.read_u16().await?),
        127 => stream.read_u64().await?,
        len => u64::from(len),
    };
    if second & 0x80 == 0 || len > MAX_FRAME {
        return Err(io::Error::other("frame is unmasked or too large"));
    }
    let mut mask = [0; 4];
    stream.read_exact(&mut mask).await?;
    let mut payload = vec![0; usize::try_from(len).map_err(io::Error::other)?];
    stream.read_exact(&mut payload).await?;
    for (byte, key) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
    Ok((first, payload))
}

async fn write_frame<S: AsyncWrite + Unpin>(stream: &mut S, first: u8, payload: &[u8]) -> io::Result<()> {
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..126 => frame.push(len as u8),
        len @ 126..65536 => {
            frame.push(126);
            frame.extend((len as u16).to_be_bytes());
        }
        len => {
            frame.push(127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    stream.write_all(&frame).await?;
    stream.flush().await
}
