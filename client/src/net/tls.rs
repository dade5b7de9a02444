//! TLS towards a server that is named by its key: the server shows a raw public key (RFC 7250), and it must be the one in the name.
//!
//! The verifier of pkarr looks the name up again while the handshake waits, which blocks a worker thread on the DHT. Here the name
//! *is* the key, so nothing needs to be looked up.

use std::sync::Arc;

use atomicity_ledger::UserKey;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

/// What comes before the 32 bytes of an Ed25519 key in a SubjectPublicKeyInfo (RFC 8410).
const SPKI_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

#[derive(Debug)]
struct RawKeyVerifier {
    algorithms: WebPkiSupportedAlgorithms,
}

/// A TLS 1.3 configuration that accepts exactly the server whose z-base-32 key is the host name.
pub(crate) fn raw_key_config() -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = RawKeyVerifier {
        algorithms: provider.signature_verification_algorithms,
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn spki_of(name: &ServerName<'_>) -> Option<[u8; 44]> {
    let key: UserKey = name.to_str().parse().ok()?;
    let mut spki = [0; 44];
    spki[..12].copy_from_slice(&SPKI_PREFIX);
    spki[12..].copy_from_slice(key.as_bytes());
    Some(spki)
}

impl ServerCertVerifier for RawKeyVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let expected = spki_of(server_name)
            .ok_or(Error::InvalidCertificate(CertificateError::NotValidForName))?;
        if intermediates.is_empty() && end_entity.as_ref() == expected {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::InvalidCertificate(
                CertificateError::ApplicationVerificationFailure,
            ))
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("raw public keys need TLS 1.3".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature_with_raw_key(
            message,
            &SubjectPublicKeyInfoDer::from(cert.as_ref()),
            dss,
            &self.algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use atomicity_ledger::Keypair;

    fn verify(name: &str, shown: &UserKey, extra: bool) -> bool {
        let provider = rustls::crypto::ring::default_provider();
        let verifier = RawKeyVerifier {
            algorithms: provider.signature_verification_algorithms,
        };
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut spki = SPKI_PREFIX.to_vec();
        spki.extend_from_slice(shown.as_bytes());
        let intermediates = if extra {
            vec![CertificateDer::from(spki.clone())]
        } else {
            Vec::new()
        };
        let cert = CertificateDer::from(spki);
        verifier
            .verify_server_cert(&cert, &intermediates, &name, &[], UnixTime::now())
            .is_ok()
    }

    #[test]
    fn only_the_key_in_the_name_is_accepted() {
        let (a, b) = (
            Keypair::from_secret(&[1; 32]).user_key(),
            Keypair::from_secret(&[2; 32]).user_key(),
        );
        assert!(verify(&a.to_z32(), &a, false));
        assert!(!verify(&a.to_z32(), &b, false));
        assert!(!verify(&a.to_z32(), &a, true));
        assert!(!verify("example.com", &a, false));
    }
}
