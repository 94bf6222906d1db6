//! A socket, plain or behind TLS. Nothing here waits but [`Transport::connect`] and
//! [`Transport::ready`]; the handshake goes along with the first bytes.

use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::BytesMut;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tokio::io::{Interest, Ready};
use tokio::net::TcpStream;

use crate::error::{ConnectError, TlsError};
use crate::limits::READ_BYTES;
use crate::options::Options;

/// Bytes that are sealed at a time.
const SEALED_BYTES_MAX: usize = 32 * 1024;

/// Where systems keep the certificates that they trust.
const TRUSTED: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The way to a broker.
#[derive(Debug)]
pub(crate) struct Transport {
    stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
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
    pub(crate) async fn connect(options: &Options) -> Result<Self, ConnectError> {
        let tls = match &options.tls {
            None => None,
            Some(tls) => Some(Box::new(secure(&options.address, tls.ca.as_deref())?)),
        };
        let stream = TcpStream::connect(&options.address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, tls })
    }

    /// Waits until there is something to read, or room for what there is to write.
    pub(crate) async fn ready(&self, has_outgoing: bool) -> io::Result<Ready> {
        let wants_room = match &self.tls {
            None => has_outgoing,
            Some(tls) => tls.wants_write() || has_outgoing && !tls.is_handshaking(),
        };
        let both = Interest::READABLE | Interest::WRITABLE;
        self.stream.ready(if wants_room { both } else { Interest::READABLE }).await
    }

    /// Adds what has come. Nothing is the end.
    pub(crate) fn try_read(&mut self, bytes: &mut BytesMut) -> io::Result<usize> {
        bytes.reserve(READ_BYTES);
        let Some(tls) = &mut self.tls else { return self.stream.try_read_buf(bytes) };
        let before = bytes.len();
        // The socket does not become ready for what is opened already: all of it is taken.
        loop {
            let mut part = [0; 8 * 1024];
            match tls.reader().read(&mut part) {
                Ok(0) => return Ok(bytes.len() - before),
                Ok(count) => {
                    bytes.extend_from_slice(part.get(..count).unwrap_or_default());
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                    return Ok(bytes.len() - before);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            if bytes.len() > before {
                return Ok(bytes.len() - before);
            }
            if tls.read_tls(&mut Socket(&self.stream))? == 0 {
                return Ok(0);
            }
            let opened = tls.process_new_packets();
            let sent = finish(&self.stream, tls);
            opened.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
            sent?;
        }
    }

    /// Takes as much as goes without waiting; `WouldBlock` if that is nothing.
    pub(crate) fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            return if bytes.is_empty() { Ok(0) } else { self.stream.try_write(bytes) };
        };
        finish(&self.stream, tls)?;
        if tls.wants_write() || tls.is_handshaking() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let part = bytes.get(..bytes.len().min(SEALED_BYTES_MAX)).unwrap_or_default();
        let count = tls.writer().write(part)?;
        finish(&self.stream, tls)?;
        Ok(count)
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

fn secure(address: &str, ca: Option<&Path>) -> Result<ClientConnection, TlsError> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(host.clone()).map_err(|_| TlsError::Host(host))?;
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots(ca)?)
        .with_no_client_auth();
    Ok(ClientConnection::new(Arc::new(config), name)?)
}

/// What a broker's certificate has to be signed by.
fn roots(ca: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let system = || TRUSTED.iter().map(PathBuf::from).find(|file| file.exists());
    let file = ca.map(Path::to_owned).or_else(system).ok_or(TlsError::NoRoots)?;
    let text = std::fs::read(&file)
        .map_err(|error| TlsError::Ca { file: file.display().to_string(), error })?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text).filter_map(Result::ok) {
        // What is not understood is not trusted.
        let _ = roots.add(certificate);
    }
    if roots.is_empty() { Err(TlsError::NoRoots) } else { Ok(roots) }
}
