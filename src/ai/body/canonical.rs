//! What a body is known by: a digest that is the same for bodies that say the same, and for no others.
//!
//! The order of keys, blanks and the way a string is escaped make no difference. Everything else does: the order in
//! arrays, keys that stand twice, and how a number is written, for `1` and `1.0` are read differently by some. It follows
//! the idea of RFC 8785, but objects and arrays come in as digests of their own, so that one pass is enough and nothing of
//! them is held: memory goes with the keys of the objects that are open.

use std::borrow::Cow;
use std::ops::Range;

use sha2::{Digest, Sha256};

use super::BadBody;
use crate::ai::json::{Kind, Reader, Text};

#[cfg(test)]
mod tests;

/// How many members all objects may have that are within each other.
pub const MAX_HELD: usize = 65_536;

/// Ends a string: no UTF-8 has this byte, and no surrogate written like UTF-8.
const END: u8 = 0xff;

/// An array or an object that is open.
enum Level<'a> {
    /// Its elements, as they come.
    Array(Sha256),
    /// Its members.
    Object(Vec<(Cow<'a, [u8]>, Value)>),
}

/// The value of a member.
enum Value {
    /// Where it is written.
    Plain(Range<usize>),
    /// Of an array or an object, with its kind.
    Digest(Box<[u8]>),
    /// Its array or object is still open.
    Open,
}

/// The SHA-256 over the canonical form of a JSON body, without the outermost members of these names.
///
/// # Errors
/// When it is no JSON in UTF-8, is nested too deep, or has objects with more members within each other than
/// [`MAX_HELD`]. Then it has no digest.
pub fn canonical(body: &[u8], without: &[&str]) -> Result<[u8; 32], BadBody> {
    if std::str::from_utf8(body).is_err() {
        return Err(BadBody::NotJson);
    }
    let mut reader = Reader::new(body);
    let mut levels: Vec<Level<'_>> = Vec::new();
    let mut held = 0;
    let mut whole = Sha256::new();
    loop {
        // A value is next.
        match reader.kind()? {
            Kind::Object => {
                reader.object()?;
                levels.push(Level::Object(Vec::new()));
            }
            Kind::Array => {
                reader.array()?;
                levels.push(Level::Array(Sha256::new()));
            }
            _ => {
                let span = reader.span()?;
                match levels.last_mut() {
                    None => plain(&mut whole, body, span)?,
                    Some(Level::Array(hash)) => plain(hash, body, span)?,
                    Some(Level::Object(members)) => {
                        if let Some((_, value)) = members.last_mut() {
                            *value = Value::Plain(span);
                        }
                    }
                }
            }
        }
        // Out of all that ends here, to where the next value is.
        loop {
            let depth = levels.len();
            let digest = match levels.last_mut() {
                None => {
                    reader.end()?;
                    return Ok(whole.finalize().into());
                }
                Some(Level::Array(hash)) => {
                    if reader.element()? {
                        break;
                    }
                    [b"a".as_slice(), &hash.finalize_reset()].concat()
                }
                Some(Level::Object(members)) => {
                    if next_member(&mut reader, members, if depth == 1 { without } else { &[] })? {
                        held += 1;
                        if held > MAX_HELD {
                            return Err(BadBody::TooManyMembers);
                        }
                        break;
                    }
                    held -= members.len();
                    [b"o".as_slice(), &object(std::mem::take(members), body)?].concat()
                }
            };
            levels.pop();
            match levels.last_mut() {
                None => whole.update(&digest),
                Some(Level::Array(hash)) => hash.update(&digest),
                Some(Level::Object(members)) => {
                    if let Some((_, value)) = members.last_mut() {
                        *value = Value::Digest(digest.into());
                    }
                }
            }
        }
    }
}

/// Reads the key of the next member that counts; `false`: there is none.
fn next_member<'a>(
    reader: &mut Reader<'a>,
    members: &mut Vec<(Cow<'a, [u8]>, Value)>,
    without: &[&str],
) -> Result<bool, BadBody> {
    while let Some(key) = reader.key()? {
        let key: Text<'a> = key;
        if without.iter().any(|name| key.is(name.as_bytes())) {
            reader.skip()?;
            continue;
        }
        members.push((key.bytes(), Value::Open));
        return Ok(true);
    }
    Ok(false)
}

/// The digest of an object: its members in the order of their keys; those with the same key in theirs.
fn object(mut members: Vec<(Cow<'_, [u8]>, Value)>, body: &[u8]) -> Result<[u8; 32], BadBody> {
    members.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut hash = Sha256::new();
    for (key, value) in members {
        hash.update(&key);
        hash.update([END]);
        match value {
            Value::Plain(span) => plain(&mut hash, body, span)?,
            Value::Digest(digest) => hash.update(&digest),
            Value::Open => {}
        }
    }
    Ok(hash.finalize().into())
}

/// Adds a string, a number or a word. None can be taken for another one: each ends with a byte that is not within it, and
/// only numbers begin with a digit or `-`.
fn plain(hash: &mut Sha256, body: &[u8], span: Range<usize>) -> Result<(), BadBody> {
    let text = body.get(span).unwrap_or_default();
    if text.first() == Some(&b'"') {
        hash.update(b"s");
        Reader::new(text).string()?.for_each(|part| hash.update(part));
    } else {
        hash.update(text);
    }
    hash.update([END]);
    Ok(())
}
