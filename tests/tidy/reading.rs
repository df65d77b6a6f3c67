//! Reading source text without a parser: what is code, which paths it names, which words a line holds.
//!
//! Macros that make up paths are not seen; `super::` is not followed.

/// `text` with comments and the content of strings blanked; lines keep their numbers.
pub(crate) fn code_only(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = skip_blank(&chars, at);
        if end == at {
            code.push(chars[at]);
            at += 1;
        } else {
            code.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    code
}

/// The end of the comment, string or character that begins at `at`; `at` itself when none does.
fn skip_blank(chars: &[char], at: usize) -> usize {
    let rest = &chars[at..];
    let found = |pattern: &str| rest.iter().copied().take(pattern.len()).eq(pattern.chars());
    let is_word_before = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
    if found("//") {
        at + rest.iter().position(|c| *c == '\n').unwrap_or(rest.len())
    } else if found("/*") {
        at + rest.windows(2).position(|pair| pair == ['*', '/']).map_or(rest.len(), |end| end + 2)
    } else if found("\"") {
        skip_string(chars, at)
    } else if rest[0] == 'r' && !is_word_before {
        skip_raw_string(chars, at)
    } else if found("'\\") {
        at + 2 + rest.iter().skip(3).position(|c| *c == '\'').map_or(rest.len(), |end| end + 2)
    } else if rest.len() > 2 && rest[0] == '\'' && rest[2] == '\'' {
        at + 3
    } else {
        at
    }
    .min(chars.len())
}

fn skip_string(chars: &[char], at: usize) -> usize {
    let mut end = at + 1;
    while end < chars.len() && chars[end] != '"' {
        end += if chars[end] == '\\' { 2 } else { 1 };
    }
    end + 1
}

/// The end of `r"..."` or `r#"..."#`; `at` when it is neither.
fn skip_raw_string(chars: &[char], at: usize) -> usize {
    let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
    let open = at + 1 + hashes;
    if chars.get(open) != Some(&'"') {
        return at;
    }
    let is_close = |from: usize| chars[from + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes;
    (open + 1..chars.len()).find(|i| chars[*i] == '"' && is_close(*i)).map_or(chars.len(), |i| i + 1 + hashes)
}

/// Every path that begins with `crate::`, without that, in an import or in an expression, with groups `{...}` written out.
pub(crate) fn crate_paths(code: &str) -> Vec<(usize, Vec<String>)> {
    let mut paths = Vec::new();
    for (at, root) in code.match_indices("crate::") {
        let line = code[..at].matches('\n').count() + 1;
        if !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
            expand(&code[at + root.len()..], &[], line, &mut paths);
        }
    }
    paths
}

/// Reads one path, or one group of paths, at the start of `code`; returns how many bytes it took.
fn expand(code: &str, before: &[String], line: usize, paths: &mut Vec<(usize, Vec<String>)>) -> usize {
    let mut path = before.to_vec();
    let mut at = 0;
    loop {
        at += code[at..].len() - code[at..].trim_start().len();
        let rest = &code[at..];
        if rest.starts_with('{') {
            return at + expand_group(rest, &path, line + code[..at].matches('\n').count(), paths);
        }
        let word = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
        if !word.is_empty() {
            path.push(word.to_owned());
        }
        at += word.len();
        if word.is_empty() || !code[at..].starts_with("::") {
            paths.push((line, path));
            return at;
        }
        at += 2;
    }
}

fn expand_group(code: &str, before: &[String], line: usize, paths: &mut Vec<(usize, Vec<String>)>) -> usize {
    let mut at = 1;
    while let Some(next) = code[at..].chars().next() {
        if next == '}' {
            return at + 1;
        }
        let is_path = next.is_alphabetic() || next == '_';
        at += if is_path {
            let here = line + code[..at].matches('\n').count();
            // An alias, "name as other", leaves " as other" behind: read past it to the next comma or brace.
            let taken = expand(&code[at..], before, here, paths);
            taken + code[at + taken..].find([',', '}']).unwrap_or(code.len() - at - taken)
        } else {
            next.len_utf8()
        };
    }
    at
}

pub(crate) fn lines_with(text: &str, holds: impl Fn(&str) -> bool) -> impl Iterator<Item = usize> {
    text.lines().enumerate().filter(move |(_, line)| holds(line)).map(|(index, _)| index + 1)
}

pub(crate) fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_alphanumeric() && c != '_')
}

fn is_word_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether `word` stands in `line` with no letter or digit on either side.
pub(crate) fn holds_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let after = &line[at + word.len()..];
        !line[..at].ends_with(is_word_char) && (word.ends_with('!') || !after.starts_with(is_word_char))
    })
}

/// Whether an absolute path in `line` begins with `path`.
pub(crate) fn holds_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let after = &line[at + path.len()..];
        let begins = !line[..at].ends_with(|c: char| is_word_char(c) || "/.-*}".contains(c));
        begins && (path.ends_with('/') || !after.starts_with(|c: char| is_word_char(c) || "-.".contains(c)))
    })
}
