//! Certificates and keys are read when the configuration is.

use std::fs;
use std::path::Path;

use rcgen::{CertificateParams, KeyPair};

use super::*;

fn write(directory: &Path, name: &str, cert: &str, key: &str) {
    fs::write(directory.join(format!("{name}.crt")), cert).unwrap();
    fs::write(directory.join(format!("{name}.key")), key).unwrap();
    fs::write(directory.join(format!("{name}.pem")), format!("{cert}{key}")).unwrap();
}

/// A directory with `a` and `b`, each a `.crt`, a `.key` and both in a `.pem`.
fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for name in ["a", "b"] {
        let made = rcgen::generate_simple_self_signed([format!("{name}.example")]).unwrap();
        write(directory.path(), name, &made.cert.pem(), &made.signing_key.serialize_pem());
    }
    directory
}

fn with_certificates(directory: &Path, certificates: &str) -> String {
    // A line each: where things stand does not depend on the length of the directory's name.
    let certificates = certificates.replace("{ ", "{\n    ").replace(", ", ",\n    ");
    let certificates = certificates.replace('@', directory.to_str().unwrap());
    let listen = format!("listen:\n  address: 127.0.0.1:443\n  tls:\n   certificates: {certificates}");
    with("").replace("listen: 127.0.0.1:80", &listen)
}

#[test]
fn pairs_and_bundles_are_read() {
    let directory = directory();
    let text = with_certificates(directory.path(), "[{ cert: @/a.crt, key: @/a.key }, { bundle: @/b.pem }]");
    let config = config(&text);
    let listener = &config.listeners[0];
    assert!(listener.http2, "offered by default with TLS");
    let tls = listener.tls.as_ref().unwrap();
    assert_eq!(tls.min_version, TlsVersion::V1_2);
    assert_eq!(tls.certificates.len(), 2);
    assert_eq!(tls.certificates[0].certified.cert.len(), 1);
    assert_ne!(tls.certificates[0], tls.certificates[1]);
    assert_eq!(load_text(&text).unwrap().config.listeners, config.listeners, "equal by content");
}

#[test]
fn a_renewed_certificate_is_another_configuration() {
    let directory = directory();
    let text = with_certificates(directory.path(), "{ bundle: @/a.pem }");
    let before = config(&text).listeners;
    fs::copy(directory.path().join("b.pem"), directory.path().join("a.pem")).unwrap();
    assert_ne!(config(&text).listeners, before);
}

#[test]
fn what_cannot_be_used_is_told() {
    let directory = directory();
    let path = directory.path();
    fs::write(path.join("junk"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    fs::write(path.join("empty"), "").unwrap();
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    fs::write(path.join("locked"), encrypted).unwrap();
    let said: String = [
        "{ cert: @/a.crt, key: @/b.key }",
        "{ cert: @/a.key, key: @/a.crt }",
        "{ cert: @/none.crt, key: @/a.key }",
        "{ cert: @/a.crt, key: @/locked }",
        "{ cert: @/junk, key: @/a.key }",
        "{ cert: @/empty, key: @/a.key }",
        "{ cert: @/a.crt }",
        "{ bundle: @/a.crt }",
        "{ bundle: @/a.pem, key: @/a.key }",
        "{ cert: a.crt, key: @/a.key }",
        "[]",
    ]
    .iter()
    .map(|certificates| format!("--- {certificates}\n{}\n\n", refused(&with_certificates(path, certificates))))
    .collect();
    let name = path.to_str().unwrap();
    snapshot("refused_tls", &said.replace(name, "@").replace(&"^".repeat(name.len()), "^"));
}

#[test]
fn a_certificate_that_has_expired_or_is_about_to_is_only_warned_of() {
    let directory = tempfile::tempdir().unwrap();
    let soon = crate::clock::wall() + std::time::Duration::from_secs(86_400);
    for (ends, warning) in [(rcgen::date_time_ymd(2020, 1, 1), "expired on"), (soon.into(), "expires soon, on")] {
        let mut params = CertificateParams::new(["old.example".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2019, 1, 1);
        params.not_after = ends;
        let key = KeyPair::generate().unwrap();
        let cert = params.self_signed(&key).unwrap();
        write(directory.path(), "old", &cert.pem(), &key.serialize_pem());
        let loaded = load_text(&with_certificates(directory.path(), "{ bundle: @/old.pem }")).unwrap();
        assert_eq!(loaded.warnings.len(), 1);
        assert!(loaded.warnings[0].message.contains(warning), "{}", loaded.warnings[0]);
        let expires = loaded.config.listeners[0].tls.as_ref().unwrap().certificates[0].expires;
        assert_eq!(i64::try_from(expires), Ok(ends.unix_timestamp()));
    }
}

#[test]
fn authorities_of_members_are_read() {
    let directory = directory();
    let name = directory.path().to_str().unwrap();
    let text = with_pool(&format!("tls: {{ sni: app.internal, ca: {name}/a.crt }}"));
    let tls = config(&text).pools[0].tls.clone().unwrap();
    assert_eq!((tls.sni.as_deref(), tls.authorities.len(), tls.verify), (Some("app.internal"), 1, true));
    let contradiction = with_pool(&format!("tls: {{ ca: {name}/a.crt, verify: false }}"));
    assert_eq!(told(&refused(&contradiction)).len(), 1);
}

#[test]
fn a_unix_socket_has_no_name_to_verify() {
    let unix = |tls: &str| with_pool(tls).replace("10.0.0.1:8080", "unix:/run/app.sock");
    assert_eq!(told(&refused(&unix("tls: true"))).len(), 1);
    assert!(load_text(&unix("tls: { sni: app.internal }")).is_ok());
}
