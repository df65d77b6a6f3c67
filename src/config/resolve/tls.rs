//! Certificates, keys and authorities: read and parsed here, so that a configuration that loads can serve.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::Resolver;
use crate::clock;
use crate::config::problem::{Finding, KeyPath};
use crate::config::raw::{Or, RawCertificate, RawTls, RawUpstreamTls, Text};
use crate::config::values::{self, Wrong, address};
use crate::config::{CertificateFiles, Tls, TlsVersion, UpstreamTls};

pub(super) fn listener(path: &KeyPath, raw: &RawTls, resolver: &mut Resolver<'_>) -> Tls {
    let min_version = resolver.get(&path.key("min_version"), &raw.min_version, values::tls_version);
    let mut certificates = Vec::new();
    match &raw.certificates {
        Some(list) if list.0.is_empty() => {
            resolver
                .report(Finding::value(&path.key("certificates"), "the list is empty").expected("`cert` and `key`"));
        }
        Some(list) => {
            for (index, raw) in list.items() {
                let path = path.key("certificates").index(index);
                certificates.extend(certificate(&path, raw, resolver));
            }
        }
        None => resolver.missing(path, "certificates", "a list of `cert` and `key`, or `bundle`"),
    }
    Tls { min_version: min_version.unwrap_or(TlsVersion::V1_2), certificates }
}

fn certificate(path: &KeyPath, raw: &RawCertificate, resolver: &mut Resolver<'_>) -> Option<CertificateFiles> {
    let (cert_path, key_path) = match (&raw.bundle, &raw.cert, &raw.key) {
        (Some(_), None, None) => (path.key("bundle"), path.key("bundle")),
        (Some(_), ..) => {
            let finding = Finding::key(&path.key("bundle"), "`bundle` stands beside `cert` or `key`");
            resolver.report(finding.expected("either `bundle`, or both `cert` and `key`"));
            return None;
        }
        (None, None, None) => {
            resolver.missing(path, "cert", "either `bundle`, or both `cert` and `key`");
            return None;
        }
        _ => (path.key("cert"), path.key("key")),
    };
    for (text, key) in [(&raw.cert, "cert"), (&raw.key, "key")] {
        if raw.bundle.is_none() && text.is_none() {
            resolver.missing(path, key, "both `cert` and `key`");
        }
    }
    let cert = file(&cert_path, raw.bundle.as_ref().or(raw.cert.as_ref()), resolver);
    let key = file(&key_path, raw.bundle.as_ref().or(raw.key.as_ref()), resolver);
    if let (Some(cert), Some(key)) = (&cert, &key)
        && swapped(cert, key, resolver)
    {
        let finding = Finding::value(&cert_path, "`cert` names a private key and `key` a certificate");
        resolver.report(finding.also(key_path, "the other one").hint("they look swapped"));
        return None;
    }
    let chain = cert.as_ref().and_then(|file| chain(&cert_path, file, resolver));
    let private = key.as_ref().and_then(|file| private_key(&key_path, file, resolver));
    let (cert, key, chain, private) = (cert?, key?, chain?, private?);
    if let Some(first) = chain.first() {
        warn_of_validity(&cert_path, &cert, first, resolver);
    }
    let certified = certified(&key_path, (&cert, &key), chain, private, resolver)?;
    let expires = expires(&certified.cert);
    Some(CertificateFiles { cert, key, certified, expires })
}

/// A certificate that ends within this time is warned of: a week, in seconds.
const SOON: i64 = 7 * 86_400;

/// When the first of a chain ends, in seconds since the epoch.
fn expires(chain: &[CertificateDer<'_>]) -> u64 {
    let parsed = chain.iter().filter_map(|der| X509Certificate::from_der(der).ok());
    let ends = parsed.map(|(_, certificate)| u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or(0));
    ends.min().unwrap_or(0)
}

/// Whether `cert` holds a key and no certificate, and `key` the other way round.
fn swapped(cert: &Path, key: &Path, resolver: &Resolver<'_>) -> bool {
    let holds = |file: &Path| {
        let bytes = resolver.environment.read(file).ok()?;
        let certificate = matches!(CertificateDer::pem_slice_iter(&bytes).next(), Some(Ok(_)));
        Some((certificate, PrivateKeyDer::from_pem_slice(&bytes).is_ok()))
    };
    holds(cert) == Some((false, true)) && holds(key) == Some((true, false))
}

/// The chain with its key, when they belong together.
fn certified(
    path: &KeyPath,
    (cert, key): (&Path, &Path),
    chain: Vec<CertificateDer<'static>>,
    private: PrivateKeyDer<'static>,
    resolver: &mut Resolver<'_>,
) -> Option<Arc<CertifiedKey>> {
    let (cert, key) = (cert.display(), key.display());
    let finding = match CertifiedKey::from_der(chain, private, &rustls::crypto::ring::default_provider()) {
        Ok(certified) => return Some(Arc::new(certified)),
        Err(rustls::Error::InconsistentKeys(_)) => {
            Finding::value(path, format!("the key in {key} does not belong to the certificate in {cert}"))
                .expected("the key that the certificate was made for")
        }
        Err(error) => Finding::value(path, format!("{cert} and {key} cannot be used: {error}")),
    };
    resolver.report(finding);
    None
}

/// An absolute path.
pub(super) fn file(path: &KeyPath, text: Option<&String>, resolver: &mut Resolver<'_>) -> Option<PathBuf> {
    resolver.get(path, &text.cloned(), |text| match text {
        text if text.starts_with('/') && !text.ends_with('/') && !text.contains('\0') => Ok(PathBuf::from(text)),
        text => Err(Wrong::not(text, "the absolute path of a file").expected("one that begins with `/`")),
    })
}

fn chain(path: &KeyPath, file: &Path, resolver: &mut Resolver<'_>) -> Option<Vec<CertificateDer<'static>>> {
    let bytes = read(path, file, resolver)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let reason = match certificates {
        Ok(list) if list.is_empty() => "holds no PEM certificate".to_owned(),
        Ok(list) => match list.iter().map(|der| X509Certificate::from_der(der)).find_map(Result::err) {
            None => return Some(list),
            Some(_) => "holds something that is no X.509 certificate".to_owned(),
        },
        Err(error) => format!("is not valid PEM: {error}"),
    };
    let message = format!("{} {reason}", file.display());
    resolver.report(Finding::value(path, message).expected("certificates in PEM, `-----BEGIN CERTIFICATE-----`"));
    None
}

fn private_key(path: &KeyPath, file: &Path, resolver: &mut Resolver<'_>) -> Option<PrivateKeyDer<'static>> {
    let bytes = read(path, file, resolver)?;
    match PrivateKeyDer::from_pem_slice(&bytes) {
        Ok(key) => Some(key),
        Err(_) => {
            let message = format!("{} holds no usable private key", file.display());
            let finding =
                Finding::value(path, message).expected("an unencrypted key in PEM, `-----BEGIN PRIVATE KEY-----`");
            let encrypted = bytes.windows(9).any(|window| window == b"ENCRYPTED");
            let hint = "the key has a passphrase; remove it with: openssl pkey -in KEY -out NEW";
            resolver.report(if encrypted { finding.hint(hint) } else { finding });
            None
        }
    }
}

fn read(path: &KeyPath, file: &Path, resolver: &mut Resolver<'_>) -> Option<Vec<u8>> {
    match resolver.environment.read(file) {
        Ok(bytes) => Some(bytes),
        Err(reason) => {
            resolver.report(Finding::value(path, format!("{} {reason}", file.display())));
            None
        }
    }
}

fn warn_of_validity(path: &KeyPath, file: &Path, der: &CertificateDer<'_>, resolver: &mut Resolver<'_>) {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else {
        return;
    };
    let now = i64::try_from(clock::wall_millis() / 1000).unwrap_or(i64::MAX);
    let validity = certificate.validity();
    let problem = if validity.not_after.timestamp() < now {
        format!("expired on {}", validity.not_after)
    } else if validity.not_before.timestamp() > now {
        format!("is not valid before {}", validity.not_before)
    } else if validity.not_after.timestamp() < now + SOON {
        format!("expires soon, on {}", validity.not_after)
    } else {
        return;
    };
    resolver.warn(Finding::value(path, format!("the certificate in {} {problem}", file.display())));
}

/// TLS towards members. `by_scheme` is what their addresses say, where they say it.
pub(super) fn upstream(
    path: &KeyPath,
    raw: Option<&Or<RawUpstreamTls>>,
    by_scheme: Option<bool>,
    resolver: &mut Resolver<'_>,
) -> Option<UpstreamTls> {
    let tls = match raw {
        None => by_scheme.unwrap_or(false).then(UpstreamTls::default),
        Some(Or::Text(text)) => match resolver.get(path, &Some(text.clone()), values::boolean) {
            Some(true) => Some(UpstreamTls::default()),
            _ => None,
        },
        Some(Or::Map(raw)) => Some(upstream_map(path, raw, resolver)),
    };
    if raw.is_some() && by_scheme.is_some_and(|wanted| wanted != tls.is_some()) {
        let (scheme, says) = if tls.is_some() { ("http://", "on") } else { ("https://", "off") };
        let finding = Finding::key(path, format!("`tls` is {says}, but members are written with {scheme}"));
        resolver.report(finding.hint("leave the scheme out of the members"));
    }
    tls
}

/// TLS towards members, as a map.
pub(super) fn upstream_map(path: &KeyPath, raw: &RawUpstreamTls, resolver: &mut Resolver<'_>) -> UpstreamTls {
    let sni = resolver.get(&path.key("sni"), &raw.sni, |text| {
        address::name(text).map_err(|reason| Wrong::not(text, "a server name").hint(reason))
    });
    let (ca, authorities) = authorities(&path.key("ca"), &raw.ca, resolver);
    let verify = resolver.boolean(&path.key("verify"), &raw.verify, true);
    if !verify && raw.ca.is_some() {
        let finding = Finding::key(&path.key("ca"), "`ca` has no meaning with `verify: false`");
        resolver.report(finding.hint("remove one of them"));
    } else if !verify {
        resolver.warn(Finding::value(&path.key("verify"), "the members' certificates are not verified"));
    }
    UpstreamTls { sni, ca, authorities, verify }
}

fn authorities(
    path: &KeyPath,
    text: &Text,
    resolver: &mut Resolver<'_>,
) -> (Option<PathBuf>, Vec<CertificateDer<'static>>) {
    let Some(file) = file(path, text.as_ref(), resolver) else {
        return (None, Vec::new());
    };
    let certificates = chain(path, &file, resolver).unwrap_or_default();
    for der in &certificates {
        if let Err(error) = rustls::RootCertStore::empty().add(der.clone()) {
            let message = format!("{} holds a certificate that cannot be an authority: {error}", file.display());
            resolver.report(Finding::value(path, message));
        }
    }
    (Some(file), certificates)
}
