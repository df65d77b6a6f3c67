//! Bytes in pieces, as a connection brings them.

/// `bytes` in pieces of these lengths, and the rest of them.
pub fn pieces<'a>(cuts: &[u16], bytes: &'a [u8]) -> Vec<&'a [u8]> {
    let mut rest = bytes;
    let mut pieces = Vec::with_capacity(cuts.len() + 1);
    for cut in cuts {
        let (piece, later) = rest.split_at(usize::from(*cut).min(rest.len()));
        pieces.push(piece);
        rest = later;
    }
    pieces.push(rest);
    pieces
}
