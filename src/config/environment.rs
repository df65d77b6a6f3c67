//! What a configuration is read against: environment variables, credentials, files, and what flags override.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::secret::Split;
use rustix::system::uname;

/// The largest file that a configuration may refer to, in bytes.
pub(super) const MAX_REFERENCED_BYTES: u64 = 1 << 20;

/// What flags override. An environment variable (`SLUICEGATE_LISTEN`, with commas; `SLUICEGATE_LOG_LEVEL`) is read
/// from the [`Environment`] where a flag is absent: flag over environment over file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--listen`: plain listeners in the place of the file's. Empty: not given.
    pub listen: Vec<String>,
    /// `--log-level`, in the syntax of `log.level`.
    pub log_level: Option<String>,
    /// `--insecure-dev`: well-known placeholder secrets are accepted.
    pub insecure_dev: bool,
}

/// The environment variables, the credentials directory and the file system, as a value that tests can make up.
#[derive(Clone)]
pub struct Environment {
    /// Any of them may be a secret, and a reload has to find it again.
    variables: BTreeMap<String, Split>,
    /// Names that `${...}` asked for. Shared by clones.
    interpolated: Arc<Mutex<BTreeSet<String>>>,
    credentials: Option<PathBuf>,
    files: bool,
}

impl Environment {
    /// The environment of this process. Variables that are no UTF-8 are left out.
    pub fn of_process() -> Self {
        let variables = std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
        let variables = variables.map(|(name, value)| (name, Split::new(&value))).collect();
        Self { variables, interpolated: Arc::default(), credentials, files: true }
    }

    /// One with just these variables; `CREDENTIALS_DIRECTORY` among them has its usual meaning.
    pub fn of<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let variables: BTreeMap<_, _> = variables.into_iter().map(|(k, v)| (k.to_owned(), Split::new(v))).collect();
        let credentials = variables.get("CREDENTIALS_DIRECTORY").map(|path| PathBuf::from(path.join()));
        Self { variables, interpolated: Arc::default(), credentials, files: true }
    }

    /// With these variables too; they win.
    #[must_use]
    pub fn with_variables(mut self, variables: BTreeMap<String, String>) -> Self {
        self.variables.extend(variables.into_iter().map(|(name, value)| (name, Split::new(&value))));
        self
    }

    /// One in which every file is missing, for parsing text that is not trusted.
    #[must_use]
    pub fn without_files(self) -> Self {
        Self { files: false, ..self }
    }

    /// One whose credentials are in `directory`.
    #[must_use]
    pub(super) fn with_credentials(self, directory: &Path) -> Self {
        Self { credentials: Some(directory.to_owned()), ..self }
    }

    /// A variable.
    pub fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).map(Split::join)
    }

    /// A variable that a text of the configuration asks for.
    pub(super) fn interpolate(&self, name: &str) -> Option<String> {
        let value = self.variable(name)?;
        self.interpolated.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
        Some(value)
    }

    /// The names of variables that texts of the configuration asked for so far, and that are set.
    pub fn interpolated(&self) -> BTreeSet<String> {
        self.interpolated.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The names of all variables.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.variables.keys().map(String::as_str)
    }

    /// Where systemd puts the credentials of the unit, `$CREDENTIALS_DIRECTORY`.
    pub fn credentials(&self) -> Option<&Path> {
        self.credentials.as_deref()
    }

    /// Reads a regular file of at most 1 MiB. The error is a fragment for a reader.
    pub fn read(&self, path: &Path) -> Result<Vec<u8>, String> {
        if !self.files {
            return Err("cannot be read: files are not available here".to_owned());
        }
        let unreadable = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => "does not exist".to_owned(),
            std::io::ErrorKind::PermissionDenied => "cannot be read: permission denied".to_owned(),
            _ => format!("cannot be read: {error}"),
        };
        // Asked before opening: opening a pipe would wait for its writer.
        let metadata = fs::metadata(path).map_err(unreadable)?;
        if !metadata.is_file() {
            return Err("is not a regular file".to_owned());
        }
        let mut bytes = Vec::new();
        let file = fs::File::open(path).map_err(unreadable)?;
        file.take(MAX_REFERENCED_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 > MAX_REFERENCED_BYTES {
            return Err(format!("is larger than {MAX_REFERENCED_BYTES} bytes"));
        }
        Ok(bytes)
    }

    /// The host's name. Its file in `/proc` may be out of reach in a unit that sees processes alone.
    pub(super) fn host_name(&self) -> Option<String> {
        let name = uname().nodename().to_str().ok()?.to_owned();
        Some(name).filter(|name| self.files && !name.is_empty())
    }
}
