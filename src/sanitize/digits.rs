//! Numbers that stand for a person or an account: telephones, payment cards, identity cards.
//!
//! A number is one or more groups of digits with a blank or a hyphen between two of them. It counts only where no
//! letter, digit or underscore stands beside it, so that parts of ids, hashes and Base64 are left alone.

use super::part;

/// The most groups a number has.
const MAX_GROUPS: usize = 8;

/// Digits with nothing between them.
#[derive(Debug, Clone, Copy)]
struct Group {
    start: usize,
    end: usize,
    /// No letter or decimal point stands before it.
    free_before: bool,
    /// No letter stands after it.
    free_after: bool,
    /// It follows the group before it, with one blank or hyphen between.
    joined: bool,
}

impl Group {
    fn len(&self) -> usize {
        self.end - self.start
    }
}

/// Chinese mobile numbers (11 digits, also with 86 before them), and what begins with `+` and has 7 to 15 digits.
pub(super) fn phones(text: &[u8], found: &mut impl FnMut(usize, usize)) {
    let mut after = 0;
    for plus in memchr::memchr_iter(b'+', text) {
        let free = plus.checked_sub(1).and_then(|before| text.get(before)).is_none_or(|byte| !is_word(*byte));
        if plus >= after
            && free
            && let Some(length) = international(part(text, plus + 1, text.len()))
        {
            after = plus + 1 + length;
            found(plus, after);
        }
    }
    each_number(
        text,
        |text, groups| {
            let mut digits = Digits::default();
            for (index, group) in groups.iter().enumerate() {
                digits.add(part(text, group.start, group.end));
                let plain = index == 0 && is_mobile(digits.national());
                // 138 1234 5678, as people write it.
                let spaced = index == 2 && group.len() == 4 && is_mobile(digits.all()) && groups.first()?.len() == 3;
                if group.free_after && (plain || spaced) {
                    return Some(index);
                }
            }
            None
        },
        found,
    );
}

/// The length of the number after a `+`.
fn international(text: &[u8]) -> Option<usize> {
    if !text.first().is_some_and(|digit| (b'1'..=b'9').contains(digit)) {
        return None;
    }
    let (mut digits, mut end, mut between) = (0, 0, 0);
    for (index, byte) in text.iter().enumerate() {
        match byte {
            b'0'..=b'9' if digits == 15 && between == 0 => return None,
            b'0'..=b'9' if digits == 15 => break,
            b'0'..=b'9' => {
                digits += 1;
                between = 0;
                end = index + 1;
            }
            // What is long enough ends at a blank: the next number is another one.
            b' ' if digits >= 10 => break,
            b' ' | b'-' | b'.' | b'(' | b')' if between < 2 => between += 1,
            _ => break,
        }
    }
    let free = text.get(end).is_none_or(|byte| !is_word(*byte));
    (digits >= 7 && free).then_some(end)
}

fn is_mobile(digits: &[u8]) -> bool {
    matches!(digits, [b'1', b'3'..=b'9', ..] if digits.len() == 11)
}

/// 13 to 19 digits that begin with 2 to 6 and have a good check digit (ISO/IEC 7812-1, annex B), in one group or in
/// groups of three and more.
pub(super) fn cards(text: &[u8], found: &mut impl FnMut(usize, usize)) {
    each_number(
        text,
        |text, groups| {
            let mut digits = Digits::default();
            let mut last = None;
            for (index, group) in groups.iter().enumerate() {
                if group.len() < 3 {
                    break;
                }
                digits.add(part(text, group.start, group.end));
                let begins = digits.all().first().is_some_and(|first| (b'2'..=b'6').contains(first));
                if group.free_after && begins && (13..=19).contains(&digits.len()) && luhn(digits.all()) {
                    last = Some(index);
                }
            }
            last
        },
        found,
    );
}

fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let digit = u32::from(digit - b'0');
            match (place % 2, digit) {
                (0, digit) => digit,
                (_, 0..=4) => digit * 2,
                (_, digit) => digit * 2 - 9,
            }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Chinese identity numbers (GB 11643-1999): region, date of birth, order, check digit, which may be an X.
pub(super) fn id_cards(text: &[u8], found: &mut impl FnMut(usize, usize)) {
    each_group(text, |text, group| {
        let (digits, end) = match group.len() {
            18 => (part(text, group.start, group.end), group.end),
            17 if matches!(text.get(group.end), Some(b'X' | b'x')) => {
                (part(text, group.start, group.end + 1), group.end + 1)
            }
            _ => return,
        };
        let free_after = text.get(end).is_none_or(|byte| !is_word(*byte));
        if group.free_before && free_after && is_id_card(digits) {
            found(group.start, end);
        }
    });
}

fn is_id_card(digits: &[u8]) -> bool {
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    const CHECKS: [u8; 11] = *b"10X98765432";
    let number = |from, to| part(digits, from, to).iter().fold(0, |sum: u32, digit| sum * 10 + u32::from(digit - b'0'));
    let born = (1800..=2199).contains(&number(6, 10))
        && (1..=12).contains(&number(10, 12))
        && (1..=31).contains(&number(12, 14));
    let sum: u32 = digits.iter().zip(WEIGHTS).map(|(digit, weight)| u32::from(digit - b'0') * weight).sum();
    let check = CHECKS.get(sum as usize % 11).copied();
    born && digits.first() != Some(&b'0') && digits.last().map(u8::to_ascii_uppercase) == check
}

/// The digits of a number, without what stands between them; those beyond 20 are only counted.
#[derive(Default)]
struct Digits {
    digits: [u8; 20],
    len: usize,
}

impl Digits {
    fn add(&mut self, group: &[u8]) {
        for digit in group {
            if let Some(place) = self.digits.get_mut(self.len) {
                *place = *digit;
            }
            self.len += 1;
        }
    }

    fn len(&self) -> usize {
        self.len
    }

    /// All of them; empty when they are too many.
    fn all(&self) -> &[u8] {
        self.digits.get(..self.len).unwrap_or_default()
    }

    /// Without 86 or 0086 before them.
    fn national(&self) -> &[u8] {
        let all = self.all();
        match all.len() {
            13 => all.strip_prefix(b"86").unwrap_or(all),
            15 => all.strip_prefix(b"0086").unwrap_or(all),
            _ => all,
        }
    }
}

/// Shows `number` every group with those that follow it; it says up to which of them they are a number.
fn each_number(text: &[u8], number: impl Fn(&[u8], &[Group]) -> Option<usize>, found: &mut impl FnMut(usize, usize)) {
    let mut waiting: Vec<Group> = Vec::new();
    let mut settle = |waiting: &mut Vec<Group>, down_to: usize| {
        while waiting.len() > down_to {
            let first = waiting.first().filter(|first| first.free_before);
            match first.and_then(|first| Some((first.start, number(text, waiting)?))) {
                Some((start, last)) => {
                    found(start, waiting.get(last).map_or(start, |group| group.end));
                    waiting.drain(..=last);
                }
                None => drop(waiting.remove(0)),
            }
        }
    };
    each_group(text, |_, group| {
        if !group.joined {
            settle(&mut waiting, 0);
        }
        waiting.push(group);
        if waiting.len() > MAX_GROUPS {
            settle(&mut waiting, MAX_GROUPS);
        }
    });
    settle(&mut waiting, 0);
}

fn each_group(text: &[u8], mut each: impl FnMut(&[u8], Group)) {
    let mut at = 0;
    let mut before_end = None;
    while let Some(skip) = part(text, at, text.len()).iter().position(u8::is_ascii_digit) {
        let start = at + skip;
        let end = start + part(text, start, text.len()).iter().take_while(|byte| byte.is_ascii_digit()).count();
        let back = |count: usize| start.checked_sub(count).and_then(|index| text.get(index)).copied();
        let fraction = back(1) == Some(b'.') && back(2).is_some_and(|byte| byte.is_ascii_digit());
        let joined =
            before_end.is_some_and(|before: usize| before + 1 == start) && matches!(back(1), Some(b' ' | b'-'));
        each(
            text,
            Group {
                start,
                end,
                free_before: !fraction && back(1).is_none_or(|byte| !is_word(byte)),
                free_after: text.get(end).is_none_or(|byte| !is_word(*byte)),
                joined,
            },
        );
        before_end = Some(end);
        at = end;
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}
