//! Owns TLS: the client configuration, built with a provider that is named here and never the process default.

use std::{fmt, sync::Arc};

use chat_core::{Error, ErrorKind};
use rustls::{ClientConfig, RootCertStore, crypto::CryptoProvider, pki_types::CertificateDer};
use rustls_platform_verifier::Verifier;

/// A certificate authority, as DER.
#[derive(Clone, PartialEq, Eq)]
pub struct Authority(Vec<u8>);

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authority({} bytes)", self.0.len())
    }
}

impl Authority {
    /// Takes one DER certificate.
    pub fn from_der(der: impl Into<Vec<u8>>) -> Self {
        Self(der.into())
    }

    /// Reads all certificates of a PEM text.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if there is none, or one is malformed.
    pub fn from_pem(pem: &str) -> Result<Vec<Self>, Error> {
        use rustls::pki_types::pem::PemObject;
        let read = CertificateDer::pem_slice_iter(pem.as_bytes())
            .map(|item| item.map(|der| Self(der.as_ref().to_vec())))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| Error::new(ErrorKind::Config, "a certificate authority is no valid PEM"))?;
        if read.is_empty() {
            return Err(Error::new(ErrorKind::Config, "there is no certificate in the PEM text"));
        }
        Ok(read)
    }
}

/// Who is trusted to vouch for servers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trust {
    /// What the operating system trusts.
    #[default]
    Platform,
    /// What the operating system trusts, and these.
    PlatformAnd(Vec<Authority>),
    /// Only these.
    Only(Vec<Authority>),
}

#[expect(clippy::unnecessary_wraps, reason = "fails in builds without a provider")]
#[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
fn provider() -> Result<Arc<CryptoProvider>, Error> {
    #[cfg(feature = "ring")]
    let provider = rustls::crypto::ring::default_provider();
    #[cfg(not(feature = "ring"))]
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    Ok(Arc::new(provider))
}

#[cfg(not(any(feature = "ring", feature = "aws-lc-rs")))]
fn provider() -> Result<Arc<CryptoProvider>, Error> {
    Err(Error::new(
        ErrorKind::Config,
        "built without a TLS provider: enable the feature `ring` or `aws-lc-rs`",
    ))
}

/// The configuration of all TLS connections: TLS 1.2 and 1.3, HTTP/1.1 only.
pub(crate) fn client_config(trust: &Trust) -> Result<Arc<ClientConfig>, Error> {
    let provider = provider()?;
    let failed = |error: rustls::Error| {
        Error::new(ErrorKind::Config, "TLS cannot be set up").with_source(error.to_string())
    };
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(failed)?;
    let platform = |extra: &[Authority]| {
        let extra = extra.iter().map(|authority| CertificateDer::from(authority.0.clone()));
        platform_verifier(extra, Arc::clone(&provider)).map(Arc::new).map_err(failed)
    };
    let config = match trust {
        Trust::Platform => builder.dangerous().with_custom_certificate_verifier(platform(&[])?),
        Trust::PlatformAnd(extra) => builder.dangerous().with_custom_certificate_verifier(platform(extra)?),
        Trust::Only(authorities) => {
            let mut roots = RootCertStore::empty();
            for authority in authorities {
                roots.add(CertificateDer::from(authority.0.clone())).map_err(failed)?;
            }
            builder.with_root_certificates(roots)
        }
    };
    Ok(Arc::new(config.with_no_client_auth()))
}

#[cfg(not(any(target_os = "android", target_arch = "wasm32")))]
fn platform_verifier(
    extra: impl Iterator<Item = CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
) -> Result<Verifier, rustls::Error> {
    Verifier::new_with_extra_roots(extra, provider)
}

#[cfg(any(target_os = "android", target_arch = "wasm32"))]
fn platform_verifier(
    extra: impl Iterator<Item = CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
) -> Result<Verifier, rustls::Error> {
    if extra.count() > 0 {
        return Err(rustls::Error::General("extra authorities are not supported on this platform".into()));
    }
    Verifier::new(provider)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
    fn the_platform_is_trusted_without_a_process_default() {
        client_config(&Trust::Platform).unwrap();
        assert!(
            CryptoProvider::get_default().is_none(),
            "the process default stays the application's business"
        );
    }

    #[test]
    #[cfg(not(any(feature = "ring", feature = "aws-lc-rs")))]
    fn without_a_provider_it_is_a_configuration_error() {
        assert_eq!(client_config(&Trust::Platform).unwrap_err().kind(), &ErrorKind::Config);
    }

    #[test]
    fn a_text_without_certificates_is_refused() {
        for pem in ["", "nonsense", "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n"] {
            assert_eq!(Authority::from_pem(pem).unwrap_err().kind(), &ErrorKind::Config);
        }
    }
}
