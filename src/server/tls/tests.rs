use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, HandshakeKind, ProtocolVersion, ServerConnection,
    SignatureScheme, SupportedProtocolVersion, version,
};

use super::{Certificates, server_config};
use crate::config::TlsVersion;

const BOTH: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];

/// Takes every certificate, and says which signatures it can verify.
#[derive(Debug)]
struct Anything(Vec<SignatureScheme>);

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}

fn certificate(names: &[&str]) -> Arc<CertifiedKey> {
    certificate_with(names, KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap())
}

fn certificate_with(names: &[&str], key: KeyPair) -> Arc<CertifiedKey> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    let der = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let key = ring::sign::any_supported_type(&der).unwrap();
    Arc::new(CertifiedKey::new(vec![certificate.der().clone()], key))
}

fn client(versions: &[&'static SupportedProtocolVersion], schemes: &[SignatureScheme]) -> ClientConfig {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anything(schemes.to_vec())))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}

fn any_client() -> Arc<ClientConfig> {
    Arc::new(client(BOTH, &[SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::ED25519]))
}

fn server(certificates: &Arc<Certificates>, min_version: TlsVersion, http2: bool) -> Arc<rustls::ServerConfig> {
    Arc::new(server_config(Arc::clone(certificates), min_version, http2).unwrap())
}

/// Lets both sides talk through memory until nobody has anything to say.
fn shake(
    client: &Arc<ClientConfig>,
    server: &Arc<rustls::ServerConfig>,
    name: &str,
) -> Result<ClientConnection, Error> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), name)?;
    let mut server = ServerConnection::new(Arc::clone(server))?;
    while client.wants_write() || server.wants_write() {
        let (mut up, mut down) = (Vec::new(), Vec::new());
        while client.wants_write() {
            client.write_tls(&mut up).unwrap();
        }
        let mut up = up.as_slice();
        while !up.is_empty() {
            server.read_tls(&mut up).unwrap();
            server.process_new_packets()?;
        }
        while server.wants_write() {
            server.write_tls(&mut down).unwrap();
        }
        let mut down = down.as_slice();
        while !down.is_empty() {
            client.read_tls(&mut down).unwrap();
            client.process_new_packets()?;
        }
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok(client)
}

/// Whether `name` is answered with `expected`.
fn serves(server: &Arc<rustls::ServerConfig>, name: &str, expected: &CertifiedKey) -> bool {
    shake(&any_client(), server, name).unwrap().peer_certificates() == Some(&expected.cert[..])
}

#[test]
fn the_name_chooses_the_certificate() {
    let (first, exact, wildcard) = (
        certificate(&["first.example"]),
        certificate(&["www.example.com", "Other.Example"]),
        certificate(&["*.example.com"]),
    );
    let certificates = Arc::new(Certificates::new(vec![first.clone(), wildcard.clone(), exact.clone()]));
    let server = server(&certificates, TlsVersion::V1_2, true);
    assert!(serves(&server, "www.example.com", &exact));
    assert!(serves(&server, "WWW.example.COM", &exact));
    assert!(serves(&server, "other.example", &exact));
    assert!(serves(&server, "api.example.com", &wildcard));
    assert!(serves(&server, "first.example", &first));
}

#[test]
fn names_that_no_certificate_has_get_the_first() {
    let (first, wildcard) = (certificate(&["first.example"]), certificate(&["*.example.com"]));
    let server = server(&Arc::new(Certificates::new(vec![first.clone(), wildcard])), TlsVersion::V1_2, true);
    for name in ["unknown.example", "example.com", "a.b.example.com", "127.0.0.1"] {
        assert!(serves(&server, name, &first), "{name}");
    }
}

#[test]
fn a_final_dot_in_the_name_does_not_matter() {
    let (first, named) = (certificate(&["first.example"]), certificate(&["a.example"]));
    let certificates = Certificates::new(vec![first, named.clone()]);
    assert!(certificates.choose(Some("a.example."), &[]).is_some_and(|chosen| Arc::ptr_eq(&chosen, &named)));
}

#[test]
fn of_several_keys_for_a_name_the_client_gets_one_it_can_verify() {
    let ecdsa = certificate(&["a.example"]);
    let ed25519 = certificate_with(&["a.example"], KeyPair::generate_for(&PKCS_ED25519).unwrap());
    let server = server(&Arc::new(Certificates::new(vec![ecdsa.clone(), ed25519.clone()])), TlsVersion::V1_2, true);
    for (scheme, expected) in [(SignatureScheme::ECDSA_NISTP256_SHA256, ecdsa), (SignatureScheme::ED25519, ed25519)] {
        let client = Arc::new(client(BOTH, &[scheme]));
        let shaken = shake(&client, &server, "a.example").unwrap();
        assert_eq!(shaken.peer_certificates(), Some(&expected.cert[..]));
    }
}

#[test]
fn a_replaced_certificate_is_served_from_the_next_handshake_on() {
    let (old, new) = (certificate(&["a.example"]), certificate(&["a.example"]));
    let certificates = Arc::new(Certificates::new(vec![old.clone()]));
    let server = server(&certificates, TlsVersion::V1_2, true);
    assert!(serves(&server, "a.example", &old));
    certificates.replace(vec![new.clone()]);
    assert!(serves(&server, "a.example", &new));
}

#[test]
fn without_certificates_the_handshake_fails() {
    let server = server(&Arc::new(Certificates::new(Vec::new())), TlsVersion::V1_2, true);
    assert!(shake(&any_client(), &server, "a.example").is_err());
}

#[test]
fn the_lowest_version_is_kept() {
    let certificates = Arc::new(Certificates::new(vec![certificate(&["a.example"])]));
    let old = Arc::new(client(&[&version::TLS12], &[SignatureScheme::ECDSA_NISTP256_SHA256]));

    let both = server(&certificates, TlsVersion::V1_2, true);
    let version = |client| shake(client, &both, "a.example").unwrap().protocol_version();
    assert_eq!(version(&old), Some(ProtocolVersion::TLSv1_2));
    assert_eq!(version(&any_client()), Some(ProtocolVersion::TLSv1_3));

    let new_only = server(&certificates, TlsVersion::V1_3, true);
    assert!(shake(&old, &new_only, "a.example").is_err());
    assert!(shake(&any_client(), &new_only, "a.example").is_ok());
}

#[test]
fn http2_is_offered_where_it_is_on() {
    let certificates = Arc::new(Certificates::new(vec![certificate(&["a.example"])]));
    let chosen = |http2| {
        let server = server(&certificates, TlsVersion::V1_2, http2);
        shake(&any_client(), &server, "a.example").unwrap().alpn_protocol().map(<[u8]>::to_vec)
    };
    assert_eq!(chosen(true).as_deref(), Some(&b"h2"[..]));
    assert_eq!(chosen(false).as_deref(), Some(&b"http/1.1"[..]));
}

#[test]
fn sessions_are_resumed_with_both_versions() {
    let certificates = Arc::new(Certificates::new(vec![certificate(&["a.example"])]));
    let server = server(&certificates, TlsVersion::V1_2, true);
    for versions in [&[&version::TLS12][..], &[&version::TLS13]] {
        let client = Arc::new(client(versions, &[SignatureScheme::ECDSA_NISTP256_SHA256]));
        let kind = || shake(&client, &server, "a.example").unwrap().handshake_kind();
        assert_eq!((kind(), kind()), (Some(HandshakeKind::Full), Some(HandshakeKind::Resumed)));
    }
}
