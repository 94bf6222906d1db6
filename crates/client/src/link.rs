//! One connection: what was read and not decoded, what is to be written, and how it ends.

use std::io::{self, ErrorKind};

use bytes::{Buf, BytesMut};
use courant_wire::Limits;
use courant_wire::binary::{DecodedReply, Reply, decode_reply, request};

use crate::error::{ConnectError, Refusal};
use crate::limits::{CONNECT_WITHIN, OUT_BYTES_MAX, READ_BYTES};
use crate::options::Options;
use crate::transport::Transport;

/// A read buffer that has grown beyond this for a large frame is given back after it.
const READ_KEPT_BYTES_MAX: usize = 16 * READ_BYTES;

/// The number of CONNECT.
const CONNECT_REQ: u32 = 1;

/// A connection that was let in.
#[derive(Debug)]
pub(crate) struct Link {
    transport: Transport,
    pub(crate) input: BytesMut,
    /// What is to be written.
    pub(crate) out: Vec<u8>,
    /// How much of `out` is written.
    written: usize,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Lost {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the broker closed it")]
    Closed,
    #[error("the broker said nothing for too long")]
    Silent,
    #[error("the broker sent what cannot be understood: {0}")]
    Protocol(&'static str),
}

impl Link {
    /// Connects and logs in.
    pub(crate) async fn open(options: &Options) -> Result<Self, ConnectError> {
        let opened = tokio::time::timeout(CONNECT_WITHIN, Self::open_slowly(options)).await;
        opened.unwrap_or(Err(ConnectError::TimedOut))
    }

    async fn open_slowly(options: &Options) -> Result<Self, ConnectError> {
        let transport = Transport::connect(options).await?;
        let mut link = Self { transport, input: BytesMut::new(), out: Vec::new(), written: 0 };
        request::connect(&mut link.out, CONNECT_REQ, &options.json());
        loop {
            link.turn().await.map_err(|lost| match lost {
                Lost::Io(error) => ConnectError::Io(error),
                Lost::Closed => ConnectError::Io(ErrorKind::UnexpectedEof.into()),
                Lost::Silent | Lost::Protocol(_) => ConnectError::Protocol,
            })?;
            let consumed = match decode_reply(&link.input, &Limits::DEFAULT) {
                DecodedReply::Incomplete { .. } => continue,
                DecodedReply::Reply { reply: Reply::Ok { req: CONNECT_REQ, .. }, consumed } => {
                    consumed
                }
                DecodedReply::Reply { reply: Reply::Refused(refused), .. } => {
                    return Err(ConnectError::Refused(Refusal::of(&refused)));
                }
                DecodedReply::Reply { .. } | DecodedReply::Malformed { .. } => {
                    return Err(ConnectError::Protocol);
                }
            };
            link.input.advance(consumed);
            return Ok(link);
        }
    }

    /// Whether more may be encoded.
    pub(crate) fn has_room(&self) -> bool {
        self.out.len() - self.written < OUT_BYTES_MAX
    }

    /// Writes what goes, waits until the socket can do something, and does it. Nothing is lost if
    /// it is dropped before.
    pub(crate) async fn turn(&mut self) -> Result<(), Lost> {
        self.write()?;
        let has_outgoing = !self.out.is_empty();
        let ready = self.transport.ready(has_outgoing).await?;
        if ready.is_readable() {
            self.read()?;
        }
        self.write()
    }

    /// Reads what has come. Once is enough: what is left makes the socket ready again.
    fn read(&mut self) -> Result<(), Lost> {
        if self.input.is_empty() && self.input.capacity() > READ_KEPT_BYTES_MAX {
            self.input = BytesMut::new();
        }
        match self.transport.try_read(&mut self.input) {
            Ok(0) => Err(Lost::Closed),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes what goes without waiting.
    fn write(&mut self) -> Result<(), Lost> {
        loop {
            let left = self.out.get(self.written..).unwrap_or_default();
            match self.transport.try_write(left) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
            if self.written == self.out.len() {
                break;
            }
        }
        if self.written == self.out.len() {
            self.out.clear();
            self.out.shrink_to(OUT_BYTES_MAX);
            self.written = 0;
        } else if self.written > OUT_BYTES_MAX {
            self.out.drain(..self.written);
            self.written = 0;
        }
        Ok(())
    }
}
