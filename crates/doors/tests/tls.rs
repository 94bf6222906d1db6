//! TLS on the native port: told apart by the first byte, replaced while connections go on.

#![allow(clippy::unwrap_used, reason = "tests panic")]

use courant::{Broker, Options};
use courant_doors::{Certificate, CertificateError, Listening, NativeOptions, native};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

/// A certificate for this machine and its key, in a folder.
struct Files {
    _folder: tempfile::TempDir,
    certificate: PathBuf,
    key: PathBuf,
    der: CertificateDer<'static>,
}

fn files() -> Files {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    Files { _folder: folder, certificate, key, der: made.cert.der().clone() }
}

async fn open(files: &Files, tls_required: bool) -> (Broker, Listening) {
    let broker = Broker::in_memory(Options::default()).unwrap();
    let certificate = Some(Certificate::load(&files.certificate, &files.key).unwrap());
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let options = NativeOptions {
        address,
        handshake_within: Duration::from_secs(2),
        certificate,
        tls_required,
        ..NativeOptions::default()
    };
    let listening = native::listen(broker.clone(), options).await.unwrap();
    (broker, listening)
}

type Sealed = BufReader<StreamOwned<ClientConnection, TcpStream>>;

/// A client that trusts one certificate, connected in text.
fn dial(address: SocketAddr, trusted: &Files) -> std::io::Result<Sealed> {
    let mut stream = shake(address, trusted)?;
    stream.get_mut().write_all(b"CONNECT\n")?;
    let mut line = String::new();
    stream.read_line(&mut line)?;
    assert_eq!(line, "OK\n");
    Ok(stream)
}

/// The same, before it said anything.
fn shake(address: SocketAddr, trusted: &Files) -> std::io::Result<Sealed> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.der.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(BufReader::new(StreamOwned::new(connection, socket)))
}

fn say(stream: &mut Sealed, text: &str) {
    stream.get_mut().write_all(text.as_bytes()).unwrap();
}

fn line(stream: &mut Sealed) -> String {
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

/// What a client in the clear is told after these bytes.
fn told(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(bytes).unwrap();
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all);
    String::from_utf8_lossy(&all).into_owned()
}

async fn blocking<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(run).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn large_and_small_messages_pass() {
    let files = files();
    let (_broker, listening) = open(&files, false).await;
    let address = listening.local_addr();
    blocking(move || {
        let mut client = dial(address, &files).unwrap();
        say(&mut client, "DECLARE queue:q durable:no\n");
        assert_eq!(line(&mut client), "OK");
        let body = |i: usize| -> Vec<u8> {
            let length = [0, 1, 100, 20_000, 3_000_000][i % 5];
            (0..length).map(|at: usize| b'a' + u8::try_from((at * 7 + i) % 23).unwrap()).collect()
        };
        for i in 0..10 {
            let body = body(i);
            say(&mut client, &format!("PUB queue:q {}\n", body.len()));
            client.get_mut().write_all(&body).unwrap();
            say(&mut client, "\n");
            assert!(line(&mut client).starts_with("OK msg_id:"));
        }
        // It reads late: much is sealed before the socket takes it.
        say(&mut client, "SUB queue:q sub_id:s ack:auto\n");
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(line(&mut client), "OK");
        for i in 0..10 {
            let head = line(&mut client);
            assert!(head.starts_with("MSG queue:q sub_id:s "), "{head}");
            let length: usize = head.rsplit(' ').next().unwrap().parse().unwrap();
            let mut got = vec![0; length + 1];
            client.read_exact(&mut got).unwrap();
            got.pop();
            assert!(got == body(i), "message {i} of {length} bytes");
        }
        say(&mut client, "QUIT\n");
        assert_eq!(line(&mut client), "OK");
        let mut rest = Vec::new();
        assert_eq!(client.read_to_end(&mut rest).unwrap(), 0, "a farewell, then the end");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clear_and_tls_share_a_port_unless_tls_is_required() {
    let files = files();
    let (_broker, listening) = open(&files, false).await;
    let address = listening.local_addr();
    let clear = blocking(move || told(address, b"CONNECT\nQUIT\n")).await;
    assert_eq!(clear, "OK\nOK\n");
    let certificate = Certificate::load(&files.certificate, &files.key).unwrap();
    listening.set_tls(Some(certificate), true).unwrap();
    let clear = blocking(move || told(address, b"CONNECT\n")).await;
    assert!(clear.starts_with("ERR 305 tls-required "), "{clear}");
    assert!(listening.set_tls(None, true).is_err());
    listening.set_tls(None, false).unwrap();
    let without = blocking(move || told(address, b"\x16\x03\x01\x02\x00\x01")).await;
    assert!(without.starts_with("ERR 113 not-supported "), "{without}");
}

#[tokio::test(flavor = "multi_thread")]
async fn binary_goes_through_tls_and_is_told_in_binary_that_it_has_to() {
    let files = files();
    let (_broker, listening) = open(&files, true).await;
    let address = listening.local_addr();
    blocking(move || {
        let mut stream = shake(address, &files).unwrap();
        let said = b"\x05\0\0\0\x05\0\0\0\x01\x01\x04\0\0\0\x04\0\0\0\x02\x13\0\0\0\x04\0\0\0\x03";
        stream.get_mut().write_all(said).unwrap();
        let mut told = Vec::new();
        stream.read_to_end(&mut told).unwrap();
        let expected = b"\x80\0\0\0\x08\0\0\0\x01\0\0\0\0\x86\0\0\0\x04\0\0\0\x02\
                         \x80\0\0\0\x08\0\0\0\x03\0\0\0\0";
        assert_eq!(told, expected);
        let mut clear = TcpStream::connect(address).unwrap();
        clear.set_read_timeout(Some(PATIENCE)).unwrap();
        clear.write_all(b"\x05\0\0\0\x05\0\0\0\x01\x01").unwrap();
        let mut told = Vec::new();
        let _ = clear.read_to_end(&mut told);
        // REFUSED, whatever its length; then req, index and count; 305, the connection, changed.
        assert_eq!(told[0], 0x8f, "{told:?}");
        assert_eq!(told[5..21], *b"\0\0\0\0\0\0\0\0\0\0\0\0\x01\x31\x02\x01");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_certificate_takes_over_and_no_connection_ends() {
    let (first, second) = (files(), files());
    let (_broker, listening) = open(&first, true).await;
    let address = listening.local_addr();
    let (mut old, first) = blocking(move || (dial(address, &first).unwrap(), first)).await;
    let certificate = Certificate::load(&second.certificate, &second.key).unwrap();
    listening.set_tls(Some(certificate), true).unwrap();
    blocking(move || {
        assert!(dial(address, &first).is_err(), "the old certificate is still shown");
        let mut new = dial(address, &second).unwrap();
        for client in [&mut old, &mut new] {
            say(client, "PING\n");
            assert_eq!(line(client), "PONG");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_breaks_the_handshake_is_closed_and_others_go_on() {
    let files = files();
    let (_broker, listening) = open(&files, false).await;
    let address = listening.local_addr();
    blocking(move || {
        let mut client = dial(address, &files).unwrap();
        for broken in [
            &b"\x16"[..],
            b"\x16\x03\x01\x02\x00\x01",
            b"\x16\x03\x01\xff\xff\xff\xff\xff\xff\xff\xff",
            &vec![0x16; 70_000],
        ] {
            // Closed at the deadline of the greeting at the latest.
            let _ = told(address, broken);
        }
        let mut half = dial(address, &files).unwrap();
        half.get_mut().sock.write_all(&[0xff; 1000]).unwrap();
        let mut rest = Vec::new();
        let _ = half.get_mut().sock.read_to_end(&mut rest);
        say(&mut client, "PING\n");
        assert_eq!(line(&mut client), "PONG");
    })
    .await;
}

#[test]
fn what_is_wrong_with_files_is_said() {
    let (one, two) = (files(), files());
    let nowhere = PathBuf::from("/nowhere/cert.pem");
    let failed = |certificate, key| Certificate::load(certificate, key).unwrap_err();
    assert!(matches!(failed(&nowhere, &one.key), CertificateError::Read { .. }));
    assert!(matches!(failed(&one.key, &one.key), CertificateError::NoCertificate { .. }));
    assert!(matches!(failed(&one.certificate, &one.certificate), CertificateError::NoKey { .. }));
    let mixed = failed(&one.certificate, &two.key);
    assert!(matches!(mixed, CertificateError::Unusable { .. }), "{mixed}");
    assert!(mixed.to_string().contains(one.certificate.to_str().unwrap()), "{mixed}");
}
