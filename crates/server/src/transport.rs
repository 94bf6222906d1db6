//! What bytes of a client go through: a socket, plain or behind TLS. Nothing here waits but
//! [`Transport::ready`]; the handshake goes along with the first bytes.

use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tokio::io::{Interest, Ready};
use tokio::net::TcpStream;

/// Bytes that are sealed at a time.
const SEALED_BYTES_MAX: usize = 32 * 1024;

/// Where systems keep the certificates that they trust.
const TRUSTED: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The two ways to a broker.
#[derive(Debug)]
pub(crate) enum Transport {
    /// As it is.
    Plain(TcpStream),
    /// Behind TLS.
    Tls(TcpStream, Box<ClientConnection>),
}

/// The socket, for TLS.
struct Socket<'a>(&'a TcpStream);

impl Read for Socket<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(bytes)
    }
}

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Transport {
    /// Puts TLS around a socket. `address` names the broker as its certificate does; `ca` is what
    /// to trust, else what the system trusts.
    pub(crate) fn secure(
        stream: TcpStream,
        address: &str,
        ca: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host.clone())
            .map_err(|_| anyhow!("{host} is no name that a certificate could have"))?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("cannot set up TLS")?
            .with_root_certificates(roots(ca)?)
            .with_no_client_auth();
        let tls = ClientConnection::new(Arc::new(config), name).context("cannot set up TLS")?;
        Ok(Self::Tls(stream, Box::new(tls)))
    }

    /// Waits until there is something to read, or room for what there is to write.
    pub(crate) async fn ready(&self, has_outgoing: bool) -> io::Result<Ready> {
        let (stream, wants_room) = match self {
            Self::Plain(stream) => (stream, has_outgoing),
            Self::Tls(stream, tls) => {
                (stream, tls.wants_write() || has_outgoing && !tls.is_handshaking())
            }
        };
        let both = Interest::READABLE | Interest::WRITABLE;
        stream.ready(if wants_room { both } else { Interest::READABLE }).await
    }

    /// Adds what has come. Nothing is the end.
    pub(crate) fn try_read(&mut self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.try_read_buf(bytes),
            Self::Tls(stream, tls) => loop {
                let mut part = [0; 8 * 1024];
                match tls.reader().read(&mut part) {
                    Ok(count) => {
                        bytes.extend_from_slice(&part[..count]);
                        return Ok(count);
                    }
                    Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
                tls.read_tls(&mut Socket(stream))?;
                let opened = tls.process_new_packets();
                let sent = finish(stream, tls);
                opened.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
                sent?;
            },
        }
    }

    /// Takes as much as goes without waiting.
    pub(crate) fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.try_write(bytes),
            Self::Tls(stream, tls) => {
                finish(stream, tls)?;
                if tls.wants_write() || tls.is_handshaking() {
                    return Err(ErrorKind::WouldBlock.into());
                }
                let count = tls.writer().write(&bytes[..bytes.len().min(SEALED_BYTES_MAX)])?;
                finish(stream, tls)?;
                Ok(count)
            }
        }
    }

    /// Sends what was taken before, as far as it goes without waiting.
    pub(crate) fn try_finish(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(stream, tls) => finish(stream, tls),
        }
    }
}

/// Gives the socket what is sealed, as far as it takes it.
fn finish(stream: &TcpStream, tls: &mut ClientConnection) -> io::Result<()> {
    while tls.wants_write() {
        match tls.write_tls(&mut Socket(stream)) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// What a broker's certificate has to be signed by.
fn roots(ca: Option<&Path>) -> anyhow::Result<RootCertStore> {
    let file = match ca {
        Some(file) => file.to_owned(),
        None => match TRUSTED.iter().map(PathBuf::from).find(|file| file.exists()) {
            Some(file) => file,
            None => bail!("this system has no list of trusted certificates: give one with --ca"),
        },
    };
    let text = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text).filter_map(Result::ok) {
        // What is not understood is not trusted.
        let _ = roots.add(certificate);
    }
    if roots.is_empty() {
        bail!("{} has no certificate in PEM that can be trusted", file.display());
    }
    Ok(roots)
}
