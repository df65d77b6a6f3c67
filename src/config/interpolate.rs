//! Pass 2: `${...}` in scalars is replaced by what it refers to.
//!
//! `${VAR}` and `${VAR:-default}` (also taken when VAR is empty), `${file:/path}` and `${credential:name}` (one
//! trailing newline cut off), and `$$` for a `$`. A `$` before anything else stands for itself. What is put in is
//! never looked through again. Keys are not touched. A secret that is nothing but a reference as other products write
//! it is refused: it would be taken for the secret itself.

use std::path::{Path, PathBuf};

use super::document::{Content, Node, Scalar};
use super::environment::Environment;
use super::problem::{Finding, KeyPath, nearest};
use super::source::Cover;

/// The longest value that interpolation may make, in bytes.
const MAX_VALUE: usize = 1 << 20;

/// What other products write before the name of a variable, and after it.
const FOREIGN: [(&str, &str); 9] = [
    ("$", ""),
    ("{$", "}"),
    ("$(", ")"),
    ("{env.", "}"),
    ("{env:", "}"),
    ("env:", ""),
    ("env.", ""),
    ("%", "%"),
    ("os.environ/", ""),
];

/// Replaces all references below `node`, which stands at `path` and is covered like `cover`. A scalar that cannot be is
/// reported and refused.
pub(super) fn interpolate(
    node: &mut Node,
    path: &KeyPath,
    cover: Cover,
    environment: &Environment,
    findings: &mut Vec<Finding>,
) {
    match &mut node.content {
        Content::Scalar(scalar) => {
            let wrong = match foreign(&scalar.text).filter(|_| cover.covers()) {
                Some(wrong) => wrong,
                None if !scalar.text.contains('$') => return,
                None => match expand(&scalar.text, environment) {
                    Ok(expanded) => return *scalar = expanded,
                    Err(wrong) => wrong,
                },
            };
            let finding = Finding::value(path, wrong.message);
            findings.push(Finding { hint: wrong.hint, ..finding });
            node.content = Content::Refused;
        }
        Content::Refused => {}
        Content::List(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                interpolate(item, &path.index(index), cover, environment, findings);
            }
        }
        Content::Map(entries) => {
            for entry in entries {
                let cover = cover.below(entry);
                interpolate(&mut entry.node, &path.key(&entry.key), cover, environment, findings);
            }
        }
    }
}

#[derive(Debug)]
struct Wrong {
    message: String,
    hint: Option<String>,
}

impl Wrong {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// What is wrong with a secret that is nothing but a variable in the syntax of another product.
fn foreign(text: &str) -> Option<Wrong> {
    let text = text.strip_prefix("Bearer ").unwrap_or(text);
    let (before, name, after) = FOREIGN.iter().find_map(|(before, after)| {
        let name = text.strip_prefix(before)?.strip_suffix(after)?;
        is_name(name).then_some((before, name, after))
    })?;
    // Shown only where it is surely a name.
    let is_sure = name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
    let name = if is_sure { name } else { "NAME" };
    let itself = if before.starts_with('$') { "; a secret that begins with `$` is written with `$$`" } else { "" };
    let message = "is no way to name a variable here: the text itself would be the secret";
    Some(Wrong::new(format!("`{before}NAME{after}` {message}")).hint(format!("write \"${{{name}}}\"{itself}")))
}

/// Whether `text` may be the name of a variable.
fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn expand(text: &str, environment: &Environment) -> Result<Scalar, Wrong> {
    let mut out = Scalar { text: String::with_capacity(text.len()), hidden: false };
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        let (before, from_dollar) = rest.split_at(dollar);
        out.text.push_str(before);
        if let Some(after) = from_dollar.strip_prefix("$$") {
            out.text.push('$');
            rest = after;
        } else if let Some(after) = from_dollar.strip_prefix("${") {
            let Some((inside, after)) = after.split_once('}') else {
                return Err(Wrong::new("`${` without its `}`").hint("write `$$` for a plain `$`"));
            };
            let found = refer(inside, environment)?;
            out.text.push_str(&found.text);
            out.hidden |= found.hidden;
            rest = after;
        } else {
            out.text.push('$');
            rest = from_dollar.get(1..).unwrap_or_default();
        }
        if out.text.len() > MAX_VALUE {
            return Err(Wrong::new(format!("the value becomes longer than {MAX_VALUE} bytes")));
        }
    }
    out.text.push_str(rest);
    Ok(out)
}

fn refer(inside: &str, environment: &Environment) -> Result<Scalar, Wrong> {
    if let Some(path) = inside.strip_prefix("file:") {
        if !path.starts_with('/') {
            return Err(Wrong::new(format!("`${{{inside}}}` does not name an absolute path")));
        }
        return read(Path::new(path), environment);
    }
    if let Some(name) = inside.strip_prefix("credential:") {
        return read(&credential(name, environment)?, environment);
    }
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    if !is_name(name) {
        return Err(Wrong::new(format!("`${{{inside}}}` is no reference"))
            .hint("write ${VAR}, ${VAR:-default}, ${file:/path} or ${credential:name}; `$$` is a plain `$`"));
    }
    let value = environment.interpolate(name);
    let found = if default.is_some() {
        value.filter(|value| !value.is_empty()).or_else(|| default.map(str::to_owned))
    } else {
        value
    };
    match found {
        Some(text) => Ok(Scalar { text, hidden: false }),
        None => Err(unset(name, environment)),
    }
}

fn unset(name: &str, environment: &Environment) -> Wrong {
    let wrong = Wrong::new(format!("the environment variable {name} is not set"));
    match nearest(name, environment.names()) {
        Some(near) => wrong.hint(format!("did you mean ${{{near}}}? Or give it a default: ${{{name}:-...}}")),
        None => wrong.hint(format!("set it, or give it a default: ${{{name}:-...}}")),
    }
}

fn credential(name: &str, environment: &Environment) -> Result<PathBuf, Wrong> {
    if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
        return Err(Wrong::new(format!("`{name}` is not the name of a credential"))
            .hint("a credential is a file name without `/`"));
    }
    let Some(directory) = environment.credentials() else {
        return Err(Wrong::new(format!("the credential {name} is not there: CREDENTIALS_DIRECTORY is not set"))
            .hint(format!("in the systemd unit: LoadCredential={name}:/path/to/file")));
    };
    Ok(directory.join(name))
}

fn read(path: &Path, environment: &Environment) -> Result<Scalar, Wrong> {
    let bytes = environment.read(path).map_err(|reason| Wrong::new(format!("{} {reason}", path.display())))?;
    let mut text = String::from_utf8(bytes).map_err(|_| Wrong::new(format!("{} is not UTF-8 text", path.display())))?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(Scalar { text, hidden: true })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> Result<String, String> {
        let environment = Environment::of([("HOST", "a.example"), ("EMPTY", ""), ("ODD", "${HOST}$$")]);
        expand(text, &environment).map(|scalar| scalar.text).map_err(|wrong| wrong.message)
    }

    #[test]
    fn variables_are_replaced_anywhere_in_the_text() {
        assert_eq!(expanded("x-${HOST}:${PORT:-80}-y").as_deref(), Ok("x-a.example:80-y"));
    }

    #[test]
    fn what_is_put_in_is_not_looked_through_again() {
        assert_eq!(expanded("${ODD}").as_deref(), Ok("${HOST}$$"));
    }

    #[test]
    fn an_empty_variable_is_set_but_takes_a_default() {
        assert_eq!(expanded("[${EMPTY}]").as_deref(), Ok("[]"));
        assert_eq!(expanded("[${EMPTY:-d}]").as_deref(), Ok("[d]"));
        assert_eq!(expanded("[${MISSING:-}]").as_deref(), Ok("[]"));
    }

    #[test]
    fn two_dollars_are_one_and_a_lone_one_stays() {
        assert_eq!(expanded("$$").as_deref(), Ok("$"));
        assert_eq!(expanded("$${HOST}").as_deref(), Ok("${HOST}"));
        assert_eq!(expanded("cost: 5$ and $x").as_deref(), Ok("cost: 5$ and $x"));
    }

    #[test]
    fn what_is_unset_or_malformed_is_refused() {
        assert_eq!(expanded("${HOSTS}"), Err("the environment variable HOSTS is not set".into()));
        assert_eq!(expanded("${HOST"), Err("`${` without its `}`".into()));
        for text in ["${}", "${1A}", "${A B}", "${HOST:=x}", "${file:relative}", "${credential:}"] {
            assert!(expanded(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_near_variable_is_offered() {
        let environment = Environment::of([("ADMIN_TOKEN", "x")]);
        let hint = unset("ADMIN_TOKN", &environment).hint.unwrap();
        assert!(hint.contains("did you mean ${ADMIN_TOKEN}?"), "{hint}");
    }

    #[test]
    fn files_and_credentials_lose_one_newline_and_stay_hidden() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("token"), "s3cret\n\n").unwrap();
        let path = directory.path().to_str().unwrap();
        let environment = Environment::of([("CREDENTIALS_DIRECTORY", path)]);
        let by_name = expand("${credential:token}", &environment).unwrap();
        assert_eq!((by_name.text.as_str(), by_name.hidden), ("s3cret\n", true));
        let by_path = expand(&format!("${{file:{path}/token}}"), &environment).unwrap();
        assert_eq!(by_path.text, "s3cret\n");
    }

    #[test]
    fn a_credential_cannot_leave_its_directory() {
        let environment = Environment::of([("CREDENTIALS_DIRECTORY", "/run/credentials/x")]);
        for name in ["../etc/passwd", "/etc/passwd", "..", "a/b", "."] {
            assert!(expand(&format!("${{credential:{name}}}"), &environment).is_err(), "{name}");
        }
    }

    #[test]
    fn a_file_that_is_no_regular_file_is_refused_without_being_opened() {
        let environment = Environment::of([]);
        assert!(expand("${file:/dev/zero}", &environment).err().unwrap().message.contains("not a regular file"));
    }
}
