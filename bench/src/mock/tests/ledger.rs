//! The books.

use super::openai::{ask, with};
use super::*;

const CHAT: &str = "/v1/chat/completions";

/// Begins a stream and reads its start.
async fn begin(mock: &Mock, id: &str) -> TcpStream {
    let mut tcp = connect(mock).await;
    let body = with(ask("12345678"), json!({"stream": true})).to_string();
    let length = body.len();
    let head = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: mock\r\nauthorization: Bearer k\r\nx-request-id: {id}\r\ncontent-length: {length}\r\n\r\n"
    );
    tcp.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    tcp
}

#[tokio::test]
async fn tokens_are_counted_by_key_and_model() {
    let mock = Mock::builder("a").start().await;
    let bearer = "authorization: Bearer k\r\n";
    let streamed = with(ask("12345678"), json!({"stream": true})).to_string();
    exchange(&mock, "POST", CHAT, bearer, &ask("12345678").to_string()).await;
    exchange(&mock, "POST", CHAT, bearer, &streamed).await;
    exchange(&mock, "POST", CHAT, bearer, "{}").await;
    get(&mock, "/v1/models").await;
    let ledger = mock.ledger();
    let account = ledger.account("k", "gpt-4o");
    assert_eq!((account.begun, account.finished, account.in_flight()), (2, 2, 0));
    assert_eq!((account.tokens.input, account.tokens.output), (4, 18));
    assert_eq!((ledger.total().begun, ledger.total().failed), (3, 1));
    let told = get(&mock, "/mock/ledger").await.json();
    assert_eq!(told["total"]["tokens"]["output"], 18);
    let asked = get(&mock, "/mock/requests").await.json();
    assert_eq!(asked[1]["body"], streamed);
    exchange(&mock, "POST", "/mock/reset", "", "").await;
    assert_eq!(mock.ledger(), Ledger::default());
}

#[tokio::test]
async fn what_an_order_says_about_tokens_is_what_is_booked() {
    let mock = Mock::builder("a").start().await;
    for out in [3, 500] {
        mock.reset();
        mock.set_order("usage", &format!("in=1000,out={out},cached=200,written=100,reasoning=2"));
        post(&mock, CHAT, &with(ask("hello"), json!({"stream": true}))).await;
        let expected = Tokens { input: 1000, cache_read: 200, cache_write: 100, output: out, reasoning: 2 };
        assert_eq!(mock.ledger().total().tokens, expected);
    }
}

#[tokio::test]
async fn a_stream_that_is_left_has_the_tokens_that_were_written() {
    let mock = Mock::builder("a").start().await;
    mock.set_order("sse", "events=100000,interval=1ms");
    let mut tcp = begin(&mock, "left").await;
    read_until(&mut tcp, "answering").await;
    assert_eq!(mock.ledger().account("k", "gpt-4o").in_flight(), 1);
    mock.mark_leaving();
    drop(tcp);
    eventually("the cancellation is noticed", || mock.ledger().total().cancelled == 1).await;
    let ledger = mock.ledger();
    let (account, left) = (ledger.account("k", "gpt-4o"), &ledger.cancellations[0]);
    assert_eq!((account.tokens.input, account.in_flight()), (2, 0));
    assert!((4..1000).contains(&account.tokens.output), "{account:?}");
    assert_eq!(left.events, account.tokens.output + 1, "the role chunk says nothing");
    assert_eq!(left.request_id, "left");
    assert!(left.noticed_us > left.began_us && left.after_mark.unwrap() < Duration::from_secs(5));
}

#[tokio::test]
async fn what_never_came_to_a_token_costs_nothing() {
    let mock = Mock::builder("a").start().await;
    mock.set_fault(Some(Fault::At(Stage::Start, Twist::Stall)));
    let mut tcp = begin(&mock, "x").await;
    read_until(&mut tcp, "assistant").await;
    drop(tcp);
    eventually("the stalled stream is cancelled", || mock.ledger().total().cancelled == 1).await;
    mock.set_fault(Some(Fault::At(Stage::Start, Twist::Error(500))));
    post(&mock, CHAT, &with(ask("x"), json!({"stream": true}))).await;
    mock.set_fault(Some(Fault::CloseBeforeHeaders));
    post(&mock, CHAT, &ask("x")).await;
    mock.set_fault(Some(Fault::CloseMidBody));
    post(&mock, CHAT, &ask("x")).await;
    let total = mock.ledger().total();
    assert_eq!((total.begun, total.failed, total.cancelled), (4, 3, 1));
    assert_eq!(total.tokens, Tokens::default());
}

#[tokio::test]
async fn a_prompt_of_many_megabytes_is_read_whole_and_remembered_in_part() {
    let mock = Mock::builder("a").start().await;
    let heard = post(&mock, CHAT, &ask(&"x".repeat(5 << 20))).await.json();
    assert_eq!(heard["usage"]["prompt_tokens"], (5 << 20) / 4);
    let seen = &mock.requests()[0];
    assert_eq!(seen.body.len(), 1 << 20);
    assert!(seen.body_len > 5 << 20);
}
