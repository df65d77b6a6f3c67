//! Certificate authorities of members, in the shape in which Pingora's connectors take them.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use pingora::protocols::tls::CaType;
use pingora::utils::tls::{WrappedX509, parse_x509};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::config::UpstreamTls;

/// The authorities trusted instead of the system's; `None` without a CA file.
pub fn authorities(tls: &UpstreamTls) -> Option<Arc<CaType>> {
    tls.ca.as_ref()?;
    let readable = tls.authorities.iter().filter(|der| {
        // `parse_x509` panics on what this refuses; the configuration let nothing of the kind pass.
        X509Certificate::from_der(der).is_ok()
    });
    Some(readable.map(|der| WrappedX509::new(der.to_vec(), parse_x509)).collect())
}

/// Tells connections verified by other authorities apart, so that they are not reused for each other.
pub fn group(tls: &UpstreamTls) -> u64 {
    let mut hasher = DefaultHasher::new();
    tls.authorities.iter().for_each(|der| der.as_ref().hash(&mut hasher));
    hasher.finish()
}
