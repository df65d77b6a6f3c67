//! What the parser says of text that is no YAML, in words for who wrote it.
//!
//! The parser names the place where it could not go on, which often is not the place of the mistake: a bracket that
//! is not closed is found lines later. What is not recognised here is told in the parser's words.

use super::{Position, TOO_DEEP};
use crate::config::problem::{Finding, Place};

/// Tells the error `info`, which the parser met at `at` of `text`. `open` is where the innermost list or map begins
/// that had not ended there.
pub(super) fn explain(info: &str, at: Position, text: &str, open: Option<Position>) -> Finding {
    let lines: Vec<&str> = text.lines().collect();
    // The parser's own bound on nesting lies above ours, but it reads ahead.
    if info == "recursion limit exceeded" {
        return Finding::new(Place::At(at), TOO_DEEP);
    }
    let known = tab(info, at, &lines)
        .or_else(|| unquoted(at, &lines, open))
        .or_else(|| star(info, at, &lines))
        .or_else(|| unclosed(at, &lines, open))
        .or_else(|| no_colon(info, at, &lines))
        .or_else(|| indentation(info, at, &lines));
    known.unwrap_or_else(|| {
        let finding = Finding::new(Place::At(at), format!("this is not valid YAML: {info}"));
        if info.contains("quoted scalar") {
            finding.hint("is the closing quote missing?")
        } else if info.starts_with("mapping values") {
            finding.hint("a text with `: ` in it stands in quotes")
        } else {
            finding
        }
    })
}

fn tab(info: &str, at: Position, lines: &[&str]) -> Option<Finding> {
    if !info.contains("tab") {
        return None;
    }
    // A text may go on in the next line, and then it is told where the text begins.
    let found = |line: usize| Some((line, self::line(lines, line)?.chars().position(|c| c == '\t')? + 1));
    let (line, column) = found(at.line).or_else(|| found(at.line + 1))?;
    let finding = Finding::new(Place::At(Position { line, column }), "a tab stands here");
    Some(finding.expected("spaces: YAML is not indented with tabs"))
}

/// A `${NAME}` in `{ }` or `[ ]`: there YAML takes its brace for the beginning of another map.
fn unquoted(at: Position, lines: &[&str], open: Option<Position>) -> Option<Finding> {
    let is_flow = |open: &Position| line(lines, open.line).and_then(|text| text.chars().nth(open.column - 1));
    let open = open.filter(|open| open.line < at.line && is_flow(open).is_some_and(|c| "[{".contains(c)));
    let (mut brackets, mut quote) = (Vec::new(), None);
    for number in open.map_or(at.line, |open| open.line)..=at.line {
        let text = line(lines, number)?;
        let mut before = [' ', ':'];
        for (index, c) in text.chars().enumerate() {
            // What stands before: the character, and the last one that is no space.
            let [last, said] = before;
            let begins = "[{,".contains(last) || (last == ' ' && ":-,[{".contains(said));
            match (c, quote) {
                (c, Some(open)) if c == open && last != '\\' => quote = None,
                (_, Some(_)) => {}
                ('#', None) if last == ' ' => break,
                ('"' | '\'', None) if begins => quote = Some(c),
                ('{', None) if last == '$' && !brackets.is_empty() => {
                    let inside = if brackets.last() == Some(&'{') { "braces" } else { "brackets" };
                    let place = Place::At(Position { line: number, column: index });
                    let finding = Finding::new(place, format!("a variable stands in {inside} without quotes"));
                    let name = text.chars().skip(index + 1).take_while(|c| c.is_ascii_alphanumeric() || *c == '_');
                    return Some(finding.hint(match name.collect::<String>().as_str() {
                        "" => "write \"${NAME}\"".to_owned(),
                        source @ ("file" | "credential") => format!("write \"${{{source}:...}}\""),
                        name => format!("write \"${{{name}}}\""),
                    }));
                }
                ('{' | '[', None) if begins || !brackets.is_empty() => brackets.push(c),
                ('}' | ']', None) => {
                    brackets.pop();
                }
                _ => {}
            }
            before = [c, if c == ' ' { said } else { c }];
        }
    }
    None
}

/// A text such as `*.example.com`, which YAML takes for the name of an anchor.
fn star(info: &str, at: Position, lines: &[&str]) -> Option<Finding> {
    let text = line(lines, at.line).filter(|_| info.contains("anchor"))?;
    let begins = |before: &str| before.is_empty() || before.ends_with([':', '-', ',', '[', '{']);
    let begins = |(index, _): &(usize, &str)| text.get(..*index).is_some_and(|before| begins(before.trim_end()));
    let (index, _) = text.match_indices('*').find(begins)?;
    let (before, rest) = text.split_at(index);
    let end = rest.find(|c: char| c.is_whitespace() || ",]}".contains(c)).unwrap_or(rest.len());
    // What is no host may be a secret.
    let written = match rest.get(..end)?.trim_end_matches(':') {
        text if text == "*" || text.starts_with("*.") => text,
        _ => "*...",
    };
    let place = Place::At(Position { column: before.chars().count() + 1, ..at });
    let finding = Finding::new(place, format!("this is not valid YAML: {info}"));
    Some(finding.hint(format!("a text that begins with `*` stands in quotes: \"{written}\"")))
}

/// A `[` or `{` on a line before the error: the usual reason is that it was never closed.
fn unclosed(at: Position, lines: &[&str], open: Option<Position>) -> Option<Finding> {
    let open = open.filter(|open| open.line < at.line)?;
    let bracket = line(lines, open.line)?.chars().nth(open.column - 1)?;
    let end = match bracket {
        '[' => ']',
        '{' => '}',
        _ => return None,
    };
    let hint = match line(lines, at.line) {
        Some(_) => format!("line {} does not fit into it; close it with `{end}` before that", at.line),
        None => format!("close it with `{end}`"),
    };
    Some(Finding::new(Place::At(open), format!("this `{bracket}` is not closed")).hint(hint))
}

/// A line that is a word alone, with a line below it that belongs to it.
fn no_colon(info: &str, at: Position, lines: &[&str]) -> Option<Finding> {
    let number = before(lines, at.line).filter(|_| info == "simple key expect ':'")?;
    let text = line(lines, number)?;
    let word = text.trim();
    let column = text.chars().take_while(|c| *c == ' ').count() + 1;
    let bare = word.chars().all(|c| c.is_alphanumeric() || c == '_');
    let finding =
        || Finding::new(Place::At(Position { line: number, column }), format!("`{word}` has no `:` after it"));
    bare.then(finding)
}

fn indentation(info: &str, at: Position, lines: &[&str]) -> Option<Finding> {
    let deeper = match info {
        info if info.starts_with("mapping values") => true,
        info if info.contains("did not find expected") => false,
        _ => return None,
    };
    let number = before(lines, at.line)?;
    let (mine, other) = (indent(line(lines, at.line)?), indent(line(lines, number)?));
    if mine == other || (deeper && mine < other) {
        return None;
    }
    let message = format!("line {} is indented otherwise than line {number}", at.line);
    let place = Place::At(Position { column: mine + 1, ..at });
    Some(Finding::new(place, message).hint("the keys of one map, and the dashes of one list, stand in one column"))
}

fn line<'a>(lines: &[&'a str], number: usize) -> Option<&'a str> {
    lines.get(number.checked_sub(1)?).copied()
}

/// The number of the last line before `number` that says something.
fn before(lines: &[&str], number: usize) -> Option<usize> {
    let says = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    let index = lines.get(..number.checked_sub(1)?)?.iter().rposition(says)?;
    Some(index + 1)
}

fn indent(line: &str) -> usize {
    line.chars().take_while(|c| *c == ' ').count()
}
