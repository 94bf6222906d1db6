//! TLS: certificates of a door, read from files and replaced while it serves.
//!
//! A [`Certificate`] is checked when it is loaded: what cannot be used is never put in place of
//! what can. A connection keeps the certificate that it began with.

use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;

/// Longest file that is taken for a certificate or a key, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Makes the process use one TLS implementation. First thing in `main`; later calls do nothing.
pub fn install_provider() {
    // Somebody was first: then one is there.
    let _ = CryptoProvider::install_default(aws_lc_rs::default_provider());
}

/// Why a certificate cannot be used.
#[derive(Debug, Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("cannot read {}: {cause}", file.display())]
    Read {
        /// Which.
        file: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// A file is too long for what it should be.
    #[error("{} is longer than a mebibyte: it is no PEM file of this kind", file.display())]
    TooLong {
        /// Which.
        file: PathBuf,
    },
    /// A file has no certificate in it.
    #[error("{} has no certificate in PEM (-----BEGIN CERTIFICATE-----)", file.display())]
    NoCertificate {
        /// Which.
        file: PathBuf,
    },
    /// A file has no key in it.
    #[error("{} has no private key in PEM (-----BEGIN PRIVATE KEY-----)", file.display())]
    NoKey {
        /// Which.
        file: PathBuf,
    },
    /// Certificate and key are read, and do not go together, or are of a kind that is not known.
    #[error(
        "the certificate {} and the key {} cannot be used: {cause}",
        certificate.display(),
        key.display()
    )]
    Unusable {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        cause: rustls::Error,
    },
}

/// A chain of certificates and its key, ready to be shown.
#[derive(Clone)]
pub struct Certificate(pub(crate) Arc<ServerConfig>);

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Certificate")
    }
}

impl Certificate {
    /// Reads a chain and its key from PEM files. The chain begins with the broker's own.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, CertificateError> {
        let unusable = |cause| {
            let (certificate, key) = (certificate.to_owned(), key.to_owned());
            CertificateError::Unusable { certificate, key, cause }
        };
        let text = read(certificate)?;
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&text).filter_map(Result::ok).collect();
        if chain.is_empty() {
            return Err(CertificateError::NoCertificate { file: certificate.to_owned() });
        }
        let private = PrivateKeyDer::from_pem_slice(&read(key)?)
            .map_err(|_| CertificateError::NoKey { file: key.to_owned() })?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_no_client_auth()
            .with_single_cert(chain, private)
            .map_err(unusable)?;
        Ok(Self(Arc::new(config)))
    }
}

fn read(file: &Path) -> Result<Vec<u8>, CertificateError> {
    let failed = |cause| CertificateError::Read { file: file.to_owned(), cause };
    if std::fs::metadata(file).map_err(failed)?.len() > FILE_BYTES_MAX {
        return Err(CertificateError::TooLong { file: file.to_owned() });
    }
    std::fs::read(file).map_err(failed)
}
