//! Any stream in any chunks: the frames are those of the whole, and no byte is lost.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pieces::pieces;
use sluicegate::ai::sse::{Decoder, Frame, TooLong, write_event};

mod pieces;

const MOST: usize = 4096;

fuzz_target!(|input: (Vec<u16>, Vec<u8>)| {
    let (cuts, stream) = input;
    let whole = decode([stream.as_slice()]);
    assert_eq!(decode(pieces(&cuts, &stream)), whole, "the chunks have a part in it");
    let (frames, end) = whole;
    let raw: Vec<u8> = frames.iter().flat_map(|frame| frame.raw().to_vec()).collect();
    assert!(raw == stream || end.is_err() && stream.starts_with(&raw), "bytes were lost");
    for frame in frames {
        assert!(!frame.data().contains(&b'\r') && !frame.event().contains(&b'\n'));
        let mut written = Vec::new();
        write_event(&mut written, None, frame.data());
        let (again, _) = decode([written.as_slice()]);
        assert_eq!(again.first().map(Frame::data), (written.len() <= MOST).then(|| frame.data()));
    }
});

fn decode<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Frame>, Result<(), TooLong>) {
    let mut decoder = Decoder::new(MOST);
    let mut frames = Vec::new();
    for chunk in chunks {
        decoder.push(chunk.to_vec().into());
        while let Some(next) = decoder.next() {
            match next {
                Ok(frame) => frames.push(frame),
                Err(too_long) => return (frames, Err(too_long)),
            }
        }
    }
    frames.extend(decoder.finish());
    (frames, Ok(()))
}
