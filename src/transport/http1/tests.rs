use tokio::io::AsyncWriteExt;
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
