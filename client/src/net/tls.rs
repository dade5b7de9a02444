//! TLS towards a server that is named by its key: the server shows a raw public key (RFC 7250), and it must be the one in the name.
//!
//! The verifier of pkarr looks the name up again while the handshake waits, which blocks a worker thread on the DHT. Here the name
//! *is* the key, so nothing needs to be looked up.

use std::sync::{Arc, OnceLock};

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
    config_with(|algorithms| RawKeyVerifier { algorithms })
}

fn config_with<V: ServerCertVerifier + 'static>(
    verifier: impl FnOnce(WebPkiSupportedAlgorithms) -> V,
) -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = verifier(provider.signature_verification_algorithms);
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// The key of a server of which only the address is known: the first one that it shows. What the server says counts as said by that
/// key, since the handshake proves that it holds it.
#[derive(Debug, Clone, Default)]
pub(crate) struct LearnedKey(Arc<OnceLock<UserKey>>);

impl LearnedKey {
    /// The key, once a handshake has come so far. It is proven as soon as the server has answered anything over the connection.
    pub(crate) fn get(&self) -> Option<UserKey> {
        self.0.get().copied()
    }

    /// Takes a key; whether it is the one that was shown first.
    fn take(&self, shown: &CertificateDer<'_>) -> bool {
        let key = shown
            .strip_prefix(&SPKI_PREFIX)
            .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
            .and_then(|bytes| UserKey::from_bytes(bytes).ok());
        key.is_some_and(|key| *self.0.get_or_init(|| key) == key)
    }
}

#[derive(Debug)]
struct LearningVerifier {
    key: LearnedKey,
    inner: RawKeyVerifier,
}

/// A TLS 1.3 configuration for one server whose key is not known: any raw key is taken, and from then on no other.
pub(crate) fn learning_config() -> Result<(ClientConfig, LearnedKey), Error> {
    let key = LearnedKey::default();
    let inner = |algorithms| LearningVerifier {
        key: key.clone(),
        inner: RawKeyVerifier { algorithms },
    };
    let config = config_with(inner)?;
    Ok((config, key))
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

impl ServerCertVerifier for LearningVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if intermediates.is_empty() && self.key.take(end_entity) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::InvalidCertificate(
                CertificateError::ApplicationVerificationFailure,
            ))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
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

    #[test]
    fn a_server_that_is_known_by_address_shows_one_key_and_no_other() {
        let spki = |secret: u8| {
            let key = Keypair::from_secret(&[secret; 32]).user_key();
            let mut bytes = SPKI_PREFIX.to_vec();
            bytes.extend_from_slice(key.as_bytes());
            (key, CertificateDer::from(bytes))
        };
        let ((one, first), (_, second)) = (spki(1), spki(2));
        let learned = LearnedKey::default();
        // No key at all, and the all-zero key, of which nobody can hold the secret.
        assert!(!learned.take(&CertificateDer::from(b"a certificate".to_vec())));
        assert!(!learned.take(&CertificateDer::from(
            [SPKI_PREFIX.as_slice(), &[0; 32]].concat()
        )));
        assert_eq!(learned.get(), None);
        assert!(learned.take(&first));
        assert!(!learned.take(&second));
        assert!(learned.take(&first));
        assert_eq!(learned.get(), Some(one));
    }
}
