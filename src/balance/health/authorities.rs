//! The certificate authorities of a CA file, in the shape in which pingora's connectors take them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pingora::protocols::tls::CaType;
use pingora::utils::tls::{WrappedX509, parse_x509};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The authorities of one PEM file. Two are equal when they hold the same certificates in the same order.
#[derive(Clone)]
pub struct Authorities(Arc<CaType>);

/// Why a CA file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum AuthoritiesError {
    /// It cannot be read.
    #[error("cannot read the CA file {path}: {source}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no PEM file with certificates.
    #[error("the CA file {path} holds no usable certificate: {reason}", path = path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl Authorities {
    /// Reads a PEM file with one or more certificates.
    pub fn read(path: &Path) -> Result<Self, AuthoritiesError> {
        let pem = std::fs::read(path).map_err(|source| AuthoritiesError::Unreadable {
            path: path.to_path_buf(),
            source,
        })?;
        Self::parse(&pem).map_err(|reason| AuthoritiesError::Invalid {
            path: path.to_path_buf(),
            reason,
        })
    }

    /// What a peer's `options.ca` takes.
    pub fn shared(&self) -> Arc<CaType> {
        self.0.clone()
    }

    fn parse(pem: &[u8]) -> Result<Self, String> {
        let mut authorities = Vec::new();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let der = certificate.map_err(|error| error.to_string())?;
            // `parse_x509` panics on what this refuses.
            X509Certificate::from_der(&der).map_err(|error| error.to_string())?;
            authorities.push(WrappedX509::new(der.to_vec(), parse_x509));
        }
        if authorities.is_empty() {
            Err("it has none".to_owned())
        } else {
            Ok(Self(authorities.into()))
        }
    }
}

impl PartialEq for Authorities {
    fn eq(&self, other: &Self) -> bool {
        let raw = |authority: &WrappedX509, other: &WrappedX509| {
            authority.borrow_raw_cert() == other.borrow_raw_cert()
        };
        self.0.len() == other.0.len()
            && self
                .0
                .iter()
                .zip(other.0.iter())
                .all(|(one, other)| raw(one, other))
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authorities({})", self.0.len())
    }
}
