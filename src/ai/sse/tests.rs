use super::*;
use proptest::prelude::*;

type Read = (Vec<(Bytes, Vec<u8>, Vec<u8>, bool)>, bool);

fn decode<'a>(most: usize, chunks: impl IntoIterator<Item = &'a [u8]>) -> Read {
    let mut decoder = Decoder::new(most);
    let mut frames = Vec::new();
    for chunk in chunks {
        decoder.push(Bytes::copy_from_slice(chunk));
        while let Some(next) = decoder.next() {
            match next {
                Ok(frame) => frames.push(frame),
                Err(TooLong) => return (shown(frames), true),
            }
        }
    }
    frames.extend(decoder.finish());
    (shown(frames), false)
}

fn shown(frames: Vec<Frame>) -> Vec<(Bytes, Vec<u8>, Vec<u8>, bool)> {
    let parts = |frame: Frame| (frame.raw().clone(), frame.event().to_vec(), frame.data().to_vec(), frame.has_data());
    frames.into_iter().map(parts).collect()
}

fn events(stream: &str) -> Vec<(String, String)> {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (frames, too_long) = decode(MAX_EVENT, [stream.as_bytes()]);
    assert!(!too_long);
    frames.into_iter().filter(|frame| frame.3).map(|(_, event, data, _)| (text(event), text(data))).collect()
}

fn only(event: &str, data: &str) -> Vec<(String, String)> {
    vec![(event.to_owned(), data.to_owned())]
}

#[test]
fn an_event_has_its_name_and_its_data() {
    assert_eq!(events("data: {\"a\":1}\n\n"), only("", "{\"a\":1}"));
    assert_eq!(events("event: ping\ndata: {}\n\n"), only("ping", "{}"));
    assert_eq!(events("data: {}\nid: 7\nevent: late\nretry: 10\n\n"), only("late", "{}"));
}

#[test]
fn the_blank_after_the_colon_is_optional_and_only_one_is_dropped() {
    assert_eq!(events("event:a\ndata:b\n\n"), only("a", "b"));
    assert_eq!(events("data:  b \n\n"), only("", " b "));
    assert_eq!(events("data\n\n"), only("", ""));
    assert_eq!(events("data:\n\n"), only("", ""));
}

#[test]
fn data_lines_are_joined() {
    assert_eq!(events("data: a\ndata:\ndata: c\n\n"), only("", "a\n\nc"));
    assert_eq!(events("data: a\r\n: no\r\ndata: c\r\n\r\n"), only("", "a\nc"));
}

#[test]
fn every_line_end_is_one() {
    for end in ["\n", "\r\n", "\r"] {
        let stream = "event: x#data: 1##data: 2##: c##data: 3#data: 4##".replace('#', end);
        let (frames, _) = decode(MAX_EVENT, [stream.as_bytes()]);
        let data: Vec<_> = frames.iter().map(|frame| frame.2.as_slice()).collect();
        assert_eq!(data, [b"1".as_slice(), b"2", b"", b"3\n4"], "{end:?}");
        assert!(frames.iter().all(|frame| frame.0.ends_with(end.as_bytes())), "{end:?}: {frames:?}");
    }
}

#[test]
fn a_byte_order_mark_at_the_start_is_no_part_of_the_first_field() {
    assert_eq!(events("\u{feff}data: a\n\ndata: b\n\n"), [("".into(), "a".into()), ("".into(), "b".into())]);
    assert_eq!(events("data: a\n\n\u{feff}data: b\n\n"), only("", "a"));
}

#[test]
fn other_fields_and_comments_are_frames_without_data() {
    let (frames, _) = decode(MAX_EVENT, [b": ping\n\nevent: x\n\ndatum: 1\n\n\n".as_slice()]);
    assert_eq!(frames.len(), 4);
    assert!(frames.iter().all(|frame| !frame.3 && frame.2.is_empty()), "{frames:?}");
}

#[test]
fn a_run_of_blank_lines_is_one_frame_up_to_a_bound() {
    let lens = |stream: String| -> Vec<usize> {
        let chunks = stream.as_bytes().chunks(7);
        decode(MAX_EVENT, chunks).0.iter().map(|frame| frame.0.len()).collect()
    };
    assert_eq!(lens("data: a\n\n\n\r\n\rdata: b\n\n".to_owned()), [9, 4, 9]);
    assert_eq!(lens(format!("{}data: b\n\n\n", "\n".repeat(10_000))), [4096, 4096, 1808, 9, 1]);
}

#[test]
fn the_end_of_a_stream_is_known() {
    let mut decoder = Decoder::new(MAX_EVENT);
    decoder.push(Bytes::from_static(b"data: [DONE]\n\ndata: [DONE] \n\n"));
    assert!(decoder.next().unwrap().unwrap().is_done());
    assert!(!decoder.next().unwrap().unwrap().is_done());
}

#[test]
fn an_event_within_a_chunk_is_not_copied() {
    let chunk = Bytes::from_static(b"data: a\n\ndata: b\n\n");
    let mut decoder = Decoder::new(MAX_EVENT);
    decoder.push(chunk.clone());
    let frames = [decoder.next().unwrap().unwrap(), decoder.next().unwrap().unwrap()];
    assert_eq!(frames[0].raw().as_ptr(), chunk.as_ptr());
    assert_eq!(frames[1].raw().as_ptr(), chunk[9..].as_ptr());
    assert!(decoder.next().is_none());
    assert!(decoder.finish().is_none());
}

#[test]
fn an_event_is_given_as_soon_as_its_blank_line_is_there() {
    for (stream, at_once) in
        [("data: a\n\n", true), ("data: a\r\n\r\n", true), ("data: a\r\r", true), ("data: a\r\n\r", false)]
    {
        let mut decoder = Decoder::new(MAX_EVENT);
        decoder.push(Bytes::from_static(stream.as_bytes()));
        assert_eq!(decoder.next().is_some(), at_once, "{stream:?}");
    }
}

#[test]
fn chunks_that_were_not_read_yet_are_not_lost() {
    let mut decoder = Decoder::new(MAX_EVENT);
    for chunk in ["data: a\n\nda", "ta: b", "\n\n"] {
        decoder.push(Bytes::from_static(chunk.as_bytes()));
    }
    let read: Vec<_> = std::iter::from_fn(|| decoder.next()).map(|frame| frame.unwrap().data().to_vec()).collect();
    assert_eq!(read, [b"a", b"b"]);
}

#[test]
fn what_a_broken_stream_leaves_is_given_at_its_end() {
    let mut decoder = Decoder::new(MAX_EVENT);
    decoder.push(Bytes::from_static(b"data: a\n\ndata: {\"b"));
    assert!(decoder.next().is_some());
    assert!(decoder.next().is_none());
    let rest = decoder.finish().unwrap();
    assert_eq!((rest.raw().as_ref(), rest.data()), (b"data: {\"b".as_slice(), b"{\"b".as_slice()));
}

#[test]
fn what_is_left_can_be_closed_so_that_more_may_follow() {
    for rest in
        ["data: a", "data: a\n", "data: a\r\n", "data: a\r", "data: a\n\r", "data: a\r\n\r", ": a", "\u{feff}data: a"]
    {
        let mut decoder = Decoder::new(MAX_EVENT);
        decoder.push(Bytes::from_static(rest.as_bytes()));
        assert!(decoder.next().is_none());
        let closed = decoder.finish().unwrap().into_closed();
        let both = [&closed[..], b"data: b\n\n"].concat();
        let (frames, _) = decode(MAX_EVENT, [both.as_slice()]);
        assert_eq!((frames.len(), frames[1].2.as_slice()), (2, b"b".as_slice()), "{rest:?}");
    }
    for whole in ["data: a\n\n", "data: a\r\n\r\n", "data: a\r\r"] {
        let mut decoder = Decoder::new(MAX_EVENT);
        decoder.push(Bytes::from_static(whole.as_bytes()));
        assert_eq!(decoder.next().unwrap().unwrap().into_closed(), whole);
    }
    let mut blank = Decoder::new(MAX_EVENT);
    blank.push(Bytes::from_static(b"\n"));
    assert!(blank.next().is_none(), "more of them may follow");
    assert_eq!(blank.finish().unwrap().into_closed(), "\n");
}

#[test]
fn an_event_has_a_bound() {
    assert!(!decode(9, [b"data: a\n\ndata: b\n\n".as_slice()]).1);
    assert!(decode(8, [b"data: a\n\n".as_slice()]).1);
    assert!(decode(8, [b"data: abcd".as_slice()]).1);
    assert!(decode(8, [b"data".as_slice(), b": a", b"\n", b"\n"]).1);
}

#[test]
fn after_an_event_that_was_too_long_nothing_is_held() {
    let mut decoder = Decoder::new(4);
    decoder.push(Bytes::from_static(b"data: long"));
    assert_eq!(decoder.next(), Some(Err(TooLong)));
    decoder.push(Bytes::from_static(b"\n\n:\n\n"));
    assert_eq!(decoder.next(), None);
    assert_eq!(decoder.finish(), None);
}

#[test]
fn written_events_can_be_read() {
    for (event, data, read) in [
        (None, "{\"a\":1}", "{\"a\":1}"),
        (Some("ping"), "", ""),
        (Some("x"), "a\nb\r\nc\rd\n", "a\nb\nc\nd\n"),
        (None, "\r\n\r\n\n\r", "\n\n\n\n"),
    ] {
        let mut out = Vec::new();
        write_event(&mut out, event, data.as_bytes());
        assert_eq!(events(std::str::from_utf8(&out).unwrap()), only(event.unwrap_or(""), read));
    }
    assert_eq!(events(std::str::from_utf8(COMMENT).unwrap()), []);
}

/// A stream of pieces that matter, so that the odd orders come up often.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let piece =
        prop::sample::select(vec!["data: x", "data:", "event: e", ": c", "\n", "\r", "\r\n", "\n\n", "\u{feff}", "y"]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #[test]
    fn chunks_make_no_difference(stream in stream(), cuts in prop::collection::vec(0usize..12, 0..40), most in 8usize..80) {
        let whole = decode(most, [stream.as_slice()]);
        let mut rest = stream.as_slice();
        let mut chunks = Vec::new();
        for cut in cuts {
            let (chunk, later) = rest.split_at(cut.min(rest.len()));
            chunks.push(chunk);
            rest = later;
        }
        chunks.push(rest);
        prop_assert_eq!(&decode(most, chunks), &whole);
        let (frames, too_long) = whole;
        let raw: Vec<u8> = frames.iter().flat_map(|frame| frame.0.to_vec()).collect();
        let kept = if too_long { stream.starts_with(&raw) } else { stream == raw };
        prop_assert!(kept, "bytes were lost");
    }
}
