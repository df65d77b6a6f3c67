//! The passes, one after the other.

use std::path::Path;

use serde::de::DeserializeOwned;

use super::Config;
use super::document::{Content, Node};
use super::environment::{Environment, Overrides};
use super::interpolate::interpolate;
use super::problem::{ConfigErrors, Finding, KeyPath, Place, Problem, Severity, locate};
use super::resolve::{Elsewhere, Resolver, overridden, resolve};
use super::source::{Cover, Source};
use super::{raw, values};

/// The shortest text that is covered in messages when it came out of a file or stands at a secret's key. A shorter
/// one would cover too much of the messages, and is no secret.
const MIN_COVERED: usize = 4;

/// A configuration that loaded.
#[derive(Debug)]
pub struct Loaded {
    /// What was read.
    pub config: Config,
    /// What is worth a look but stops nothing.
    pub warnings: Vec<Problem>,
    /// Where things stand in the file.
    pub source: Source,
    /// The flag or variable that the listeners come from, when it is not the file.
    pub listen_override: Option<&'static str>,
}

impl Loaded {
    /// What is kept of it. The text of the file, with every secret in it, is given up.
    pub fn without_source(self) -> (Config, Vec<Problem>) {
        (self.config, self.warnings)
    }
}

/// Reads the file at `path`. The error holds everything that is wrong with it.
pub fn load(path: &Path, overrides: &Overrides, environment: &Environment) -> Result<Loaded, ConfigErrors> {
    let name = path.display().to_string();
    let refuse = |finding: Finding| Err(ConfigErrors::new(&[finding], &Source::named(&name)));
    let bytes = match environment.read(path) {
        Ok(bytes) => bytes,
        Err(reason) => return refuse(Finding::new(Place::File, format!("the file {reason}"))),
    };
    match String::from_utf8(bytes) {
        Ok(text) => parse(&name, &text, overrides, environment),
        Err(error) => {
            let offset = error.utf8_error().valid_up_to();
            let before = error.as_bytes().get(..offset).unwrap_or_default();
            let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
            refuse(Finding::new(Place::File, format!("line {line} is not UTF-8 text")))
        }
    }
}

/// Reads `text`, which stands in a file called `file`. Only what it refers to is read from elsewhere.
pub fn parse(file: &str, text: &str, overrides: &Overrides, environment: &Environment) -> Result<Loaded, ConfigErrors> {
    let (source, broken) = Source::parse(file, text);
    // A text that is no YAML has nothing more to say.
    if source.is_broken() {
        return Err(ConfigErrors::new(&broken, &source));
    }
    let (config, found) = give_meaning(&source, broken, overrides, environment, resolve);
    match found.errors {
        None => {
            let listen_override = overridden(overrides, environment).map(|(name, _)| name);
            Ok(Loaded { config, warnings: found.warnings, source, listen_override })
        }
        Some(errors) => Err(errors),
    }
}

/// Reads a file that the configuration is continued in. `None`: it is no YAML.
pub(super) fn continue_in<T: DeserializeOwned + Default, U>(
    file: &str,
    text: &str,
    overrides: &Overrides,
    environment: &Environment,
    meaning: impl FnOnce(&T, &mut Resolver<'_>) -> U,
) -> (Option<U>, Elsewhere) {
    let (source, broken) = Source::parse(file, text);
    if source.is_broken() {
        return (None, Elsewhere { errors: Some(ConfigErrors::new(&broken, &source)), warnings: Vec::new() });
    }
    let (meant, found) = give_meaning(&source, broken, overrides, environment, meaning);
    (Some(meant), found)
}

/// The passes after the first, and what was found in all of them.
fn give_meaning<T: DeserializeOwned + Default, U>(
    source: &Source,
    broken: Vec<Finding>,
    overrides: &Overrides,
    environment: &Environment,
    meaning: impl FnOnce(&T, &mut Resolver<'_>) -> U,
) -> (U, Elsewhere) {
    let mut findings = broken;
    let mut root = source.root.clone();
    interpolate(&mut root, &KeyPath::default(), Cover::Nothing, environment, &mut findings);
    let mut secrets = Vec::new();
    collect_secrets(&root, Cover::Nothing, &mut secrets);
    let mut meant = Vec::new();
    let raw = raw::read(&mut root, &mut findings, &mut meant);
    let (warnings, elsewhere) = (Vec::new(), Elsewhere::default());
    let mut resolver =
        Resolver { source, environment, overrides, secrets: &secrets, meant, findings, warnings, elsewhere };
    let result = meaning(&raw, &mut resolver);
    let Resolver { mut findings, mut warnings, elsewhere, .. } = resolver;
    for finding in findings.iter_mut().chain(&mut warnings) {
        cover(finding, &secrets);
    }
    let here = (!findings.is_empty()).then(|| ConfigErrors::new(&findings, source));
    let errors = match (here, elsewhere.errors) {
        (Some(here), Some(there)) => Some(here.and(there)),
        (here, there) => here.or(there),
    };
    let mut warnings = locate(&warnings, Severity::Warning, source);
    warnings.extend(elsewhere.warnings);
    (result, Elsewhere { errors, warnings })
}

/// The texts that no message may show, as they are and as messages quote them.
fn collect_secrets(node: &Node, cover: Cover, out: &mut Vec<String>) {
    match &node.content {
        Content::Scalar(scalar) if (cover.covers() || scalar.hidden) && scalar.text.len() >= MIN_COVERED => {
            let quoted = values::quote(&scalar.text);
            out.push(quoted.trim_matches('`').to_owned());
            out.push(scalar.text.clone());
        }
        Content::Scalar(_) | Content::Refused => {}
        Content::List(items) => items.iter().for_each(|item| collect_secrets(item, cover, out)),
        Content::Map(entries) => {
            for entry in entries {
                collect_secrets(&entry.node, cover.below(entry), out);
            }
        }
    }
}

fn cover(finding: &mut Finding, secrets: &[String]) {
    for secret in secrets {
        for text in [Some(&mut finding.message), finding.expected.as_mut(), finding.hint.as_mut()].into_iter().flatten()
        {
            if text.contains(secret.as_str()) {
                *text = text.replace(secret.as_str(), "***");
            }
        }
    }
}
