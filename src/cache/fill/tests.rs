use futures::FutureExt;
use http::{HeaderMap, StatusCode};

use super::super::Freshness;
use super::*;
use crate::clock;

fn fill() -> (Filler, Reader) {
    let fill = Arc::new(Fill::default());
    let reader = Reader::new(&fill);
    (Filler::new(fill, None), reader)
}

fn coming(kept: bool) -> Coming {
    let (received, received_wall) = (clock::now(), clock::wall());
    let head = Head { status: StatusCode::OK, reason: None, headers: HeaderMap::new(), received, received_wall };
    let freshness = Freshness {
        lifetime: std::time::Duration::from_secs(1),
        initial_age: std::time::Duration::ZERO,
        no_stale: false,
        while_revalidate: std::time::Duration::ZERO,
        if_error: std::time::Duration::ZERO,
        if_disconnected: std::time::Duration::ZERO,
        unstored: Vec::new(),
    };
    Coming { head, by: Vec::new(), variant: Key::default(), shared: kept, freshness: kept.then_some(freshness) }
}

async fn rest(reader: &mut Reader) -> Result<String, Termination> {
    let mut body = String::new();
    while let Some(chunk) = reader.chunk().await? {
        body.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    Ok(body)
}

#[tokio::test]
async fn every_reader_gets_the_whole_body_whenever_it_came() {
    let (mut filler, mut first) = fill();
    filler.answer(coming(true));
    filler.push(Bytes::from_static(b"one ")).await.unwrap();
    let mut second = Reader::new(&filler.fill);
    assert_eq!(first.chunk().await.unwrap().unwrap(), "one ");
    filler.push(Bytes::from_static(b"two")).await.unwrap();
    assert_eq!(filler.body().unwrap(), "one two");
    filler.finish(Ok(()), None);
    assert_eq!(rest(&mut first).await.unwrap(), "two");
    assert_eq!(rest(&mut second).await.unwrap(), "one two");
}

#[tokio::test]
async fn a_reader_on_another_thread_is_woken() {
    let (mut filler, mut reader) = fill();
    let reading = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async move {
            assert!(matches!(reader.news().await, News::Answer(_)));
            rest(&mut reader).await
        })
    });
    tokio::task::yield_now().await;
    filler.answer(coming(false));
    for _ in 0..1000 {
        filler.push(vec![b'x'; 4096].into()).await.unwrap();
    }
    filler.finish(Ok(()), None);
    assert_eq!(reading.join().unwrap().unwrap().len(), 4_096_000);
}

#[tokio::test]
async fn what_is_not_kept_waits_for_its_slowest_reader_and_goes_with_the_last() {
    let (mut filler, mut slow) = fill();
    let mut fast = Reader::new(&filler.fill);
    filler.answer(coming(false));
    let chunk = Bytes::from(vec![0; WINDOW]);
    filler.push(chunk.clone()).await.unwrap();
    assert!(fast.chunk().await.unwrap().is_some());
    assert!(filler.push(chunk.clone()).now_or_never().is_none(), "the other one has not read");
    assert!(slow.chunk().await.unwrap().is_some());
    assert!(filler.push(chunk.clone()).now_or_never().is_some());
    assert!(filler.body().is_none());
    drop(slow);
    assert!(filler.abandoned().now_or_never().is_none());
    drop(fast);
    assert!(filler.abandoned().now_or_never().is_some());
    assert_eq!(filler.push(chunk).await, Err(Abandoned));
}

#[tokio::test]
async fn what_is_kept_goes_on_without_readers_until_it_is_too_large() {
    let (mut filler, reader) = fill();
    filler.answer(coming(true));
    drop(reader);
    filler.push(Bytes::from(vec![0; 4 * WINDOW])).await.unwrap();
    filler.push(Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(filler.body().unwrap().len(), 4 * WINDOW + 1);
    filler.stop_keeping();
    assert_eq!(filler.push(Bytes::from_static(b"x")).await, Err(Abandoned));
}

#[tokio::test]
async fn a_fetch_that_is_dropped_has_failed() {
    let (filler, mut reader) = fill();
    drop(filler);
    assert!(matches!(reader.news().await, News::Failed(_)));
    assert_eq!(reader.chunk().await, Err(Termination::Internal));
    let (mut filler, mut reader) = fill();
    filler.answer(coming(true));
    drop(filler);
    assert!(matches!(reader.news().await, News::Answer(_)));
    assert_eq!(reader.chunk().await, Err(Termination::Internal));
}
