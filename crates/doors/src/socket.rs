//! A connection's two ends, plain or behind TLS.
//!
//! Reading and writing go on at the same time, from different threads: the plain halves share
//! nothing but the socket, the halves behind TLS share its state under a lock that is held while
//! bytes are sealed or opened and given to the socket, never while anybody waits.
//!
//! What TLS has sealed and the socket has not taken is at most [`SEALED_BYTES_MAX`] and a record;
//! no more is sealed before it is gone.

use crate::tls::Certificate;
use rustls::{Connection, ServerConnection};
use std::future::poll_fn;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// Bytes that are sealed at a time.
const SEALED_BYTES_MAX: usize = 32 * 1024;

/// The receiving end.
#[derive(Debug)]
pub(crate) enum Reader {
    /// Bytes as they are.
    Plain(OwnedReadHalf),
    /// Bytes that are opened.
    Tls(OwnedReadHalf, Arc<Sealed>),
}

/// The sending end.
#[derive(Debug)]
pub(crate) enum Writer {
    /// Bytes as they are.
    Plain(OwnedWriteHalf),
    /// Bytes that are sealed.
    Tls(Arc<Sealed>),
}

/// What the two ends of a connection behind TLS share.
#[derive(Debug)]
pub(crate) struct Sealed {
    half: OwnedWriteHalf,
    connection: Mutex<Connection>,
}

/// The socket, for the side of TLS that reads; registers the task where there is nothing.
struct Incoming<'a, 'b>(&'a mut OwnedReadHalf, &'a mut Context<'b>);

impl Read for Incoming<'_, '_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(bytes);
        match Pin::new(&mut *self.0).poll_read(self.1, &mut buffer) {
            Poll::Ready(read) => read.map(|()| buffer.filled().len()),
            Poll::Pending => Err(ErrorKind::WouldBlock.into()),
        }
    }
}

/// The socket, for the side of TLS that writes.
struct Outgoing<'a>(&'a OwnedWriteHalf);

impl Write for Outgoing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(parts)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Shakes hands as the server.
pub(crate) async fn accept(
    mut reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
    certificate: &Certificate,
) -> io::Result<(Reader, Writer)> {
    let connection = ServerConnection::new(Arc::clone(&certificate.0)).map_err(io::Error::other)?;
    let connection = Mutex::new(Connection::Server(connection));
    let sealed = Arc::new(Sealed { half: writer, connection });
    loop {
        loop {
            match sealed.finish(&mut sealed.lock()) {
                Ok(()) => break,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            sealed.half.writable().await?;
        }
        if !sealed.lock().is_handshaking() {
            return Ok((Reader::Tls(reader, Arc::clone(&sealed)), Writer::Tls(sealed)));
        }
        let count = poll_fn(|context| {
            let read = sealed.lock().read_tls(&mut Incoming(&mut reader, context));
            match read {
                Err(error) if error.kind() == ErrorKind::WouldBlock => Poll::Pending,
                read => Poll::Ready(read),
            }
        });
        if count.await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        sealed.open(&mut sealed.lock())?;
    }
}

impl Reader {
    /// Reads what there is, as [`AsyncRead`] does; nothing is the end.
    pub(crate) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(half) => Pin::new(half).poll_read(context, buffer),
            Self::Tls(half, sealed) => sealed.poll_read(half, context, buffer),
        }
    }
}

impl Writer {
    /// Takes as much as goes without waiting. What is taken may still have to be sent: see
    /// [`Writer::try_finish`].
    #[inline]
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(half) => half.try_write(bytes),
            Self::Tls(sealed) => sealed.try_write(bytes),
        }
    }

    /// Sends what was taken, as far as it goes without waiting.
    #[inline]
    pub(crate) fn try_finish(&self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(sealed) => sealed.finish(&mut sealed.lock()),
        }
    }

    /// Is ready when there may be room.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        match self {
            Self::Plain(half) => half.writable().await,
            Self::Tls(sealed) => sealed.half.writable().await,
        }
    }

    /// Says that nothing more will come, as far as it goes without waiting.
    pub(crate) fn close(&self) {
        if let Self::Tls(sealed) = self {
            let mut connection = sealed.lock();
            connection.send_close_notify();
            let _ = sealed.finish(&mut connection);
        }
    }
}

impl Sealed {
    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut connection = self.lock();
        self.finish(&mut connection)?;
        let part = &bytes[..bytes.len().min(SEALED_BYTES_MAX)];
        let count = connection.writer().write(part)?;
        match self.finish(&mut connection) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(count),
        }
    }

    /// Gives the socket what is sealed.
    fn finish(&self, connection: &mut Connection) -> io::Result<()> {
        while connection.wants_write() {
            match connection.write_tls(&mut Outgoing(&self.half)) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Opens what came. A client that does not follow the protocol is told so and given up.
    fn open(&self, connection: &mut Connection) -> io::Result<()> {
        let opened = connection.process_new_packets();
        let sent = self.finish(connection);
        if let Err(error) = opened {
            return Err(io::Error::new(ErrorKind::InvalidData, error));
        }
        match sent {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(()),
        }
    }

    fn poll_read(
        &self,
        half: &mut OwnedReadHalf,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut connection = self.lock();
        let before = buffer.filled().len();
        loop {
            // It is zeroed by whoever owns it: this costs nothing.
            match connection.reader().read(buffer.initialize_unfilled()) {
                // A farewell.
                Ok(0) => return Poll::Ready(Ok(())),
                Ok(count) => buffer.advance(count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // Without a word of farewell; a client may do that.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            if buffer.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            let has_some = buffer.filled().len() > before;
            match connection.read_tls(&mut Incoming(&mut *half, context)) {
                Ok(0) => return Poll::Ready(Ok(())),
                Ok(_) => self.open(&mut connection)?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return if has_some { Poll::Ready(Ok(())) } else { Poll::Pending };
                }
                Err(_) if has_some => return Poll::Ready(Ok(())),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

/// Looks at the first byte without taking it. `None` at the end of the stream.
pub(crate) async fn first_byte(reader: &mut OwnedReadHalf) -> io::Result<Option<u8>> {
    let mut first = [0];
    let count = reader.peek(&mut first).await?;
    Ok((count > 0).then_some(first[0]))
}
