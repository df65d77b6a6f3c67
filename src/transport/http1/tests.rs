use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID,
    UniqueIDType,
};
use tokio::io::{AsyncWriteExt, ReadBuf};
use tokio::net::UnixStream;

use super::*;
use crate::transport::socket::Socket;

const HEAD: &[u8] = b"POST / HTTP/1.1\r\n\r\n";
const SOON: Patience = Patience { pause: Duration::from_secs(20), until: None };

fn conversation(body: Sends) -> (Conversation, UnixStream) {
    let (ours, member) = UnixStream::pair().unwrap();
    let request = Request { head: HEAD.to_vec(), body, is_head: false };
    (Conversation::new(Box::new(Socket::Unix(ours)), request), member)
}

fn soon() -> Option<Instant> {
    Some(clock::now() + Duration::from_secs(20))
}

/// What the member gets until there is a pause.
async fn received(member: &mut UnixStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    member.readable().await.unwrap();
    while let Ok(1..) = member.try_read_buf(&mut bytes) {}
    bytes
}

#[tokio::test]
async fn a_header_block_waits_for_the_beginning_of_its_body() {
    let (mut upstream, mut member) = conversation(Sends::Length(3));
    upstream.write(b"abc", SOON).await.unwrap();
    assert!(member.try_read(&mut [0; 8]).is_err(), "nothing left yet");
    upstream.end().unwrap();
    let answer = async {
        assert_eq!(received(&mut member).await, [HEAD, b"abc"].concat());
        member.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
    };
    let (head, ()) = tokio::join!(upstream.any_head(soon()), answer);
    assert_eq!(head.unwrap().status.as_u16(), 204);
    assert!(upstream.into_kept().is_some());
}

#[tokio::test]
async fn a_body_of_no_known_length_leaves_in_chunks() {
    let (mut upstream, mut member) = conversation(Sends::Chunks);
    let long = vec![b'x'; 5000];
    for part in [&b"one"[..], b"", &long] {
        upstream.write(part, SOON).await.unwrap();
    }
    upstream.end().unwrap();
    upstream.flush(SOON).await.unwrap();
    let wanted = [HEAD, b"3\r\none\r\n1388\r\n", &long, b"\r\n0\r\n\r\n"].concat();
    assert_eq!(received(&mut member).await, wanted);
}

#[tokio::test]
async fn no_more_leaves_than_was_announced() {
    let (mut upstream, mut member) = conversation(Sends::Length(3));
    upstream.write(b"ab", SOON).await.unwrap();
    upstream.write(b"cGET / HTTP/1.1\r\n\r\n", SOON).await.unwrap();
    upstream.flush(SOON).await.unwrap();
    assert_eq!(received(&mut member).await, [HEAD, b"abc"].concat());
}

#[tokio::test]
async fn a_connection_whose_request_is_not_whole_serves_no_other() {
    for (body, end) in [(Sends::Length(3), true), (Sends::Length(3), false), (Sends::Chunks, false)] {
        let (mut upstream, mut member) = conversation(body);
        upstream.write(b"ab", SOON).await.unwrap();
        assert!(!end || upstream.end().is_err());
        upstream.flush(SOON).await.unwrap();
        member.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        upstream.any_head(soon()).await.unwrap();
        assert!(upstream.is_done() && upstream.into_kept().is_none(), "{body:?}, {end}");
    }
}

#[tokio::test]
async fn a_connection_with_more_than_its_answer_serves_no_other() {
    let (mut upstream, mut member) = conversation(Sends::Length(0));
    upstream.flush(SOON).await.unwrap();
    member.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n").await.unwrap();
    upstream.any_head(soon()).await.unwrap();
    assert_eq!(upstream.part(soon()).await.unwrap().unwrap(), "ok");
    assert!(upstream.is_done() && upstream.into_kept().is_none());
}

#[tokio::test]
async fn an_answer_from_a_member_that_reads_no_more_is_read() {
    let (mut upstream, mut member) = conversation(Sends::Length(1 << 20));
    member.write_all(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    drop(member);
    assert_eq!(upstream.write(&[0; 1 << 20], SOON).await, Err(Fault::Closed));
    assert_eq!(upstream.any_head(soon()).await.unwrap().status.as_u16(), 413);
    assert!(upstream.into_kept().is_none());
}

#[tokio::test]
async fn a_member_that_takes_nothing_is_waited_for_as_long_as_is_said() {
    let millis = Duration::from_millis;
    for (pause, until) in [(millis(30), None), (millis(20_000), Some(clock::now() + millis(30)))] {
        let (mut upstream, _member) = conversation(Sends::Length(8 << 20));
        let written = upstream.write(&vec![0; 8 << 20], Patience { pause, until }).await;
        assert_eq!(written, Err(Fault::Timeout));
    }
}

#[tokio::test]
async fn a_body_is_none_behind_the_answer_to_a_head() {
    let (ours, mut member) = UnixStream::pair().unwrap();
    let request = Request { head: b"HEAD / HTTP/1.1\r\n\r\n".to_vec(), body: Sends::Length(0), is_head: true };
    let mut upstream = Conversation::new(Box::new(Socket::Unix(ours)), request);
    upstream.flush(SOON).await.unwrap();
    member.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n").await.unwrap();
    assert_eq!(upstream.any_head(soon()).await.unwrap().headers["content-length"], "7");
    assert!(upstream.is_done() && upstream.into_kept().is_some());
}

#[tokio::test]
async fn nothing_is_written_behind_what_was_torn() {
    let (mut upstream, _member) = conversation(Sends::Chunks);
    let patience = Patience { pause: Duration::from_millis(30), until: None };
    assert_eq!(upstream.write(&vec![0; 8 << 20], patience).await, Err(Fault::Timeout));
    assert_eq!(upstream.write(b"more", SOON).await, Err(Fault::Closed));
    assert_eq!((upstream.end(), upstream.flush(SOON).await), (Err(Fault::Closed), Err(Fault::Closed)));
    assert!(upstream.unsent.is_empty());
}

#[tokio::test]
async fn a_connection_whose_last_write_was_given_up_serves_no_other() {
    let (mut upstream, mut member) = conversation(Sends::Length(8 << 20));
    let all = vec![0; 8 << 20];
    assert!(tokio::time::timeout(Duration::from_millis(30), upstream.write(&all, SOON)).await.is_err());
    member.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
    upstream.any_head(soon()).await.unwrap();
    assert!(upstream.into_kept().is_none());
}

#[tokio::test]
async fn a_member_that_only_ever_informs_is_waited_for_until_its_time_is_over() {
    let (mut upstream, mut member) = conversation(Sends::Length(0));
    let flood = tokio::spawn(async move {
        while member.write_all(&b"HTTP/1.1 102 Processing\r\n\r\n".repeat(100)).await.is_ok() {}
    });
    let until = clock::now() + Duration::from_millis(50);
    let fault = loop {
        if let Err(fault) = upstream.any_head(Some(until)).await {
            break fault;
        }
    };
    assert_eq!(fault, Fault::Timeout);
    drop(upstream);
    flood.await.unwrap();
}

/// Holds on to what is written, as TLS does, and flushes it at the second asking.
#[derive(Debug)]
struct Holding {
    socket: Socket,
    held: Vec<u8>,
    asked: bool,
}

impl AsyncRead for Holding {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_read(cx, buf)
    }
}

impl tokio::io::AsyncWrite for Holding {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().held.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !std::mem::replace(&mut this.asked, true) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        while !this.held.is_empty() {
            let written = ready!(Pin::new(&mut this.socket).poll_write(cx, &this.held))?;
            this.held.drain(..written);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(cx)
    }
}

#[async_trait]
impl Shutdown for Holding {
    async fn shutdown(&mut self) {}
}

impl UniqueID for Holding {
    fn id(&self) -> UniqueIDType {
        self.socket.id()
    }
}

impl Ssl for Holding {}

impl GetTimingDigest for Holding {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Holding {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for Holding {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        None
    }
}

#[async_trait]
impl Peek for Holding {}

#[tokio::test]
async fn who_waits_for_an_answer_flushes_until_all_has_left() {
    let (ours, mut member) = UnixStream::pair().unwrap();
    let stream = Holding { socket: Socket::Unix(ours), held: Vec::new(), asked: false };
    let request = Request { head: HEAD.to_vec(), body: Sends::Length(0), is_head: false };
    let mut upstream = Conversation::new(Box::new(stream), request);
    let answer = async {
        assert_eq!(received(&mut member).await, HEAD);
        member.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
    };
    let (head, ()) = tokio::join!(upstream.any_head(soon()), answer);
    assert_eq!(head.unwrap().status.as_u16(), 204);
}
