//! E-mail addresses: ASCII, a dot in the domain, no quotes, no comments.

use super::part;

/// The longest parts that are looked at (RFC 5321, section 4.5.3.1), in bytes.
const MAX_LOCAL: usize = 64;
const MAX_DOMAIN: usize = 255;

/// Tells `found` of every address in `text`.
pub(super) fn find(text: &[u8], found: &mut impl FnMut(usize, usize)) {
    let mut after = 0;
    for at in memchr::memchr_iter(b'@', text) {
        let local = part(text, after.max(at.saturating_sub(MAX_LOCAL)), at);
        let local = local.iter().rev().take_while(|&&byte| is_local(byte)).count();
        let domain = domain(part(text, at + 1, text.len().min(at + 1 + MAX_DOMAIN)));
        if local > 0 && domain > 0 {
            after = at + 1 + domain;
            found(at - local, after);
        }
    }
}

/// The length of the domain that `text` begins with; 0: there is none.
fn domain(text: &[u8]) -> usize {
    let (mut best, mut at, mut first) = (0, 0, true);
    loop {
        let rest = part(text, at, text.len());
        let label = rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'-').count();
        if label == 0 {
            return best;
        }
        let name = part(rest, 0, label);
        // A sentence may go on after a hyphen: of the last label, the letters it begins with count.
        let letters = name.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
        if !first && letters > 1 {
            best = at + if name.starts_with(b"xn--") { label } else { letters };
        }
        at += label;
        if text.get(at) != Some(&b'.') {
            return best;
        }
        at += 1;
        first = false;
    }
}

fn is_local(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._%+-".contains(&byte)
}
