//! TLS to one server, known by its certificate.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};

use super::error::RailError;

/// The certificate that a server shows, byte for byte; no other is accepted, whoever signed it.
///
/// Nodes sign their certificates themselves and mark them as authorities, which the usual checks refuse to see at a server's end.
/// Names and dates are not looked at: the operator chose this very certificate.
#[derive(Clone)]
pub struct PinnedCertificate {
    certificate: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl PinnedCertificate {
    /// Takes the first certificate of a PEM file's content.
    ///
    /// # Errors
    /// [`RailError::ConfigInvalid`] if there is none.
    pub fn from_pem(pem: &[u8]) -> Result<Self, RailError> {
        let certificate = CertificateDer::from_pem_slice(pem)
            .map_err(|why| RailError::ConfigInvalid(format!("no certificate in PEM: {why}")))?;
        Ok(Self {
            certificate,
            provider: Arc::new(rustls::crypto::aws_lc_rs::default_provider()),
        })
    }

    /// A TLS client that speaks to this server only.
    ///
    /// # Errors
    /// [`RailError::ConfigInvalid`] if TLS can't be set up.
    pub fn tls(&self) -> Result<ClientConfig, RailError> {
        let builder = ClientConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|why| RailError::ConfigInvalid(format!("no TLS: {why}")))?;
        Ok(builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(self.clone()))
            .with_no_client_auth())
    }
}

impl fmt::Debug for PinnedCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PinnedCertificate({} bytes)", self.certificate.len())
    }
}

impl ServerCertVerifier for PinnedCertificate {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if shown.as_ref() == self.certificate.as_ref() {
            Ok(ServerCertVerified::assertion())
        } else {
            let why = CertificateError::ApplicationVerificationFailure;
            Err(rustls::Error::InvalidCertificate(why))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
