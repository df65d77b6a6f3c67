//! A WebSocket client of the few frames that a proxy test needs (RFC 6455).

use std::net::SocketAddr;

use super::raw::{RawAnswer, RawConnection, connect};

/// An open WebSocket.
pub struct WebSocket {
    connection: RawConnection,
}

const TEXT: u8 = 0x1;
const CLOSE: u8 = 0x8;
const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];

impl WebSocket {
    /// Asks for an upgrade on `path`; the answer when it was refused.
    pub async fn open(address: SocketAddr, path: &str) -> Result<Self, RawAnswer> {
        let mut connection = connect(address).await;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        let answer = connection.ask(request).await;
        let accepted = answer.header("sec-websocket-accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
        if answer.status == 101 && accepted { Ok(Self { connection }) } else { Err(answer) }
    }

    /// Sends a text message.
    pub async fn send(&mut self, text: &str) {
        self.frame(TEXT, text.as_bytes()).await;
    }

    /// The next text message; `None` when the other side closes.
    pub async fn receive(&mut self) -> Option<String> {
        let head = self.connection.take(2).await?;
        let short = usize::from(head[1] & 0x7f);
        let length = match short {
            126 => usize::from(u16::from_be_bytes(self.connection.take(2).await?.try_into().ok()?)),
            127 => usize::try_from(u64::from_be_bytes(self.connection.take(8).await?.try_into().ok()?)).ok()?,
            _ => short,
        };
        let payload = self.connection.take(length).await?;
        (head[0] & 0x0f == TEXT).then(|| String::from_utf8(payload).unwrap())
    }

    /// Says goodbye, and waits for the other side's.
    pub async fn close(mut self) {
        self.frame(CLOSE, &1000u16.to_be_bytes()).await;
        assert_eq!(self.receive().await, None, "a close is answered by a close");
    }

    async fn frame(&mut self, opcode: u8, payload: &[u8]) {
        let mut frame = vec![0x80 | opcode];
        match payload.len() {
            short @ 0..=125 => frame.push(0x80 | short as u8),
            long @ 126..=65535 => {
                frame.push(0x80 | 126);
                frame.extend((long as u16).to_be_bytes());
            }
            huge => {
                frame.push(0x80 | 127);
                frame.extend((huge as u64).to_be_bytes());
            }
        }
        frame.extend(MASK);
        frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        self.connection.send(frame).await;
    }
}
