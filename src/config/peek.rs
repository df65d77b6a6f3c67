//! Where a gateway's admin listener is, read from a file that need not be valid: `ctl` has to reach a gateway whose
//! file was just broken, to hear what it says about it.

use std::path::Path;

use super::ListenAddress;
use super::document::{Content, Node};
use super::environment::Environment;
use super::interpolate::interpolate;
use super::problem::KeyPath;
use super::secret::Secret;
use super::source::{Cover, Source};
use super::values::address;

/// Where systemd keeps the credentials of the packaged unit: what `${credential:...}` means outside of the unit.
const UNIT_CREDENTIALS: &str = "/run/credentials/sluicegate.service";

/// Lines of the section that are looked at when the file as a whole cannot be read.
const MAX_LINES: usize = 50;

/// What a file says about the admin listener.
#[derive(Debug)]
pub struct AdminPeek {
    /// `admin.address`, or why it is not known.
    pub address: Result<ListenAddress, String>,
    /// `admin.token`, or why it is not known. `None`: there is none.
    pub token: Result<Option<Secret>, String>,
}

/// Reads the `admin` section of the file at `path` and nothing else.
///
/// # Errors
/// Why there is nothing to read.
pub fn peek_admin(path: &Path, environment: &Environment) -> Result<AdminPeek, String> {
    let bytes = environment.read(path)?;
    let text = String::from_utf8_lossy(&bytes);
    let environment = match environment.credentials() {
        Some(_) => environment.clone(),
        None => environment.clone().with_credentials(Path::new(UNIT_CREDENTIALS)),
    };
    peek(&text, &environment)
}

fn peek(text: &str, environment: &Environment) -> Result<AdminPeek, String> {
    let (whole, _) = Source::parse("", text);
    let mut root = if whole.is_broken() { admin_lines(text) } else { whole.root };
    let admin = entry(&mut root, "admin").ok_or("has no `admin` section")?;
    if let Content::Scalar(_) = admin.content {
        let short = scalar(admin, &KeyPath::default().key("admin"), environment)?;
        return Ok(AdminPeek { address: address::listen(&short).map_err(|wrong| wrong.message), token: Ok(None) });
    }
    let address = match value(admin, "address", environment)? {
        Some(text) => address::listen(&text).map_err(|wrong| wrong.message),
        None => Err("has no `admin.address`".to_owned()),
    };
    let token = value(admin, "token", environment).map(|text| text.and_then(Secret::new));
    Ok(AdminPeek { address, token })
}

/// The `admin` section out of its own lines: of a file that is no YAML, this part may still be. Lines are left out from
/// its end until it is.
fn admin_lines(text: &str) -> Node {
    let inside = |line: &&str| line.is_empty() || line.starts_with([' ', '\t', '#', '}']);
    let mut all = text.lines().skip_while(|line| !line.starts_with("admin:"));
    let first = all.next().unwrap_or_default();
    let mut lines: Vec<&str> = std::iter::once(first).chain(all.take_while(inside).take(MAX_LINES)).collect();
    while !lines.is_empty() {
        let (part, _) = Source::parse("", &lines.join("\n"));
        if !part.is_broken() {
            return part.root;
        }
        lines.pop();
    }
    Node::default()
}

fn entry<'a>(node: &'a mut Node, key: &str) -> Option<&'a mut Node> {
    match &mut node.content {
        Content::Map(entries) => entries.iter_mut().find(|entry| entry.key == key).map(|entry| &mut entry.node),
        _ => None,
    }
}

/// The scalar at `key` with its references replaced.
fn value(admin: &mut Node, key: &str, environment: &Environment) -> Result<Option<String>, String> {
    let Some(node) = entry(admin, key) else { return Ok(None) };
    scalar(node, &KeyPath::default().key("admin").key(key), environment).map(Some)
}

fn scalar(node: &mut Node, path: &KeyPath, environment: &Environment) -> Result<String, String> {
    let mut findings = Vec::new();
    interpolate(node, path, Cover::Nothing, environment, &mut findings);
    match (findings.first(), &node.content) {
        (Some(finding), _) => Err(finding.message.clone()),
        (None, Content::Scalar(scalar)) => Ok(scalar.text.clone()),
        (None, _) => Err(format!("`{path}` is no text")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peeked(text: &str) -> AdminPeek {
        peek(text, &Environment::of([("TOKEN", "t0k3n"), ("EMPTY", "")])).unwrap()
    }

    fn token(peek: &AdminPeek) -> Option<String> {
        peek.token.as_ref().unwrap().as_ref().map(Secret::reveal)
    }

    #[test]
    fn a_valid_file_says_where_it_is() {
        let found = peeked("admin: { address: 127.0.0.1:8404, token: \"${TOKEN}\" }\nroutes: []\n");
        assert_eq!(found.address.as_ref().unwrap().to_string(), "127.0.0.1:8404");
        assert_eq!(token(&found).as_deref(), Some("t0k3n"));
    }

    #[test]
    fn an_address_may_stand_for_the_section() {
        let found = peeked(
            "admin: unix:/run/a.sock
routes: [
",
        );
        assert_eq!(found.address.unwrap().to_string(), "unix:/run/a.sock");
        assert!(found.token.unwrap().is_none());
    }

    #[test]
    fn wrong_keys_elsewhere_do_not_matter() {
        let found =
            peeked("nonsense: 1\nadmin:\n  address: unix:/run/a.sock\n  tokn: x\nroutes:\n  - what: ${UNSET}\n");
        assert_eq!(found.address.unwrap().to_string(), "unix:/run/a.sock");
        assert!(found.token.unwrap().is_none());
    }

    #[test]
    fn a_file_that_is_no_yaml_still_says_it() {
        for rest in ["routes: [", "pools: {{{", "\"", "a: b: c", "\troutes: x"] {
            let text =
                format!("listen: 127.0.0.1:80\nadmin:\n  # here\n\n  address: 127.0.0.1:8404\n  token: abc\n{rest}\n");
            let found = peeked(&text);
            assert_eq!(found.address.as_ref().unwrap().to_string(), "127.0.0.1:8404", "{rest}");
            assert_eq!(token(&found).as_deref(), Some("abc"), "{rest}");
        }
        let braces = peeked("admin: {\n  address: 127.0.0.1:8404\n}\nroutes: [\n");
        assert_eq!(braces.address.unwrap().to_string(), "127.0.0.1:8404");
    }

    #[test]
    fn a_token_that_cannot_be_read_does_not_hide_the_address() {
        let found = peeked("admin: { address: 127.0.0.1:1, token: \"${NOT_SET_HERE}\" }");
        assert!(found.address.is_ok());
        assert!(found.token.unwrap_err().contains("NOT_SET_HERE"));
        assert!(token(&peeked("admin: { address: 127.0.0.1:1, token: \"${EMPTY}\" }")).is_none());
    }

    #[test]
    fn a_file_without_the_section_says_so() {
        for text in ["", "routes: []", "admin", "xadmin: { address: 127.0.0.1:1 }", "routes: ["] {
            assert!(peek(text, &Environment::of([])).is_err(), "{text}");
        }
        assert!(peeked("admin: { token: x }").address.is_err());
        assert!(peeked("admin: { address: nowhere }").address.is_err());
    }
}
