//! Rules -> what of a text is to be covered.

use super::{digits, email};
use crate::config::sanitize::{Finds, Rule};

/// A part of a text, in bytes, and the rule that found it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) rule: usize,
}

/// Everything that the rules find in `text`, in order. What overlaps is one span, of the rule that begins first: the
/// whole of it is covered.
pub(super) fn find(rules: &[Rule], text: &[u8], spans: &mut Vec<Span>) {
    spans.clear();
    for (rule, finds) in rules.iter().enumerate() {
        let mut found = |start, end| spans.push(Span { start, end, rule });
        match &finds.finds {
            Finds::Email => email::find(text, &mut found),
            Finds::Phone => digits::phones(text, &mut found),
            Finds::Card => digits::cards(text, &mut found),
            Finds::IdCard => digits::id_cards(text, &mut found),
            Finds::Pattern(pattern) => {
                let matches = pattern.find_iter(text).filter(|found| !found.is_empty());
                matches.for_each(|matched| found(matched.start(), matched.end()));
            }
        }
    }
    if spans.len() < 2 {
        return;
    }
    spans.sort_by_key(|span| (span.start, span.rule));
    spans.dedup_by(|next, first| {
        let overlap = next.start < first.end;
        if overlap {
            first.end = first.end.max(next.end);
        }
        overlap
    });
}
