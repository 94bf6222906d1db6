//! What goes out on a socket: a buffer, and how much of it the socket took.

use crate::socket::Writer;
use courant::Flush;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

/// A buffer that grew beyond this is given back once it is empty.
const KEEP_BYTES: usize = 64 * 1024;

/// The sending side of one connection, below its protocol.
#[derive(Debug)]
pub(crate) struct Sending {
    socket: Arc<Writer>,
    /// What is to go out; the protocol appends.
    pub(crate) out: Vec<u8>,
    /// Bytes of `out` that the socket took.
    taken: usize,
    /// Whether the socket took all, and has not sent all of it.
    is_unsent: bool,
}

impl Sending {
    pub(crate) fn new(socket: Arc<Writer>) -> Self {
        Self { socket, out: Vec::new(), taken: 0, is_unsent: false }
    }

    /// Adds bytes, or takes them for its own if it has none.
    pub(crate) fn bytes(&mut self, bytes: &mut Vec<u8>) {
        if self.out.is_empty() {
            std::mem::swap(&mut self.out, bytes);
        } else {
            self.out.extend_from_slice(bytes);
        }
    }

    /// Bytes that the client has not taken.
    pub(crate) fn held_bytes(&self) -> usize {
        self.out.len() - self.taken + usize::from(self.is_unsent)
    }

    /// Gives the socket as much as it takes without waiting.
    pub(crate) fn flush(&mut self) -> Flush {
        while self.taken < self.out.len() {
            match self.socket.try_write(&self.out[self.taken..]) {
                Ok(0) => return Flush::Gone,
                Ok(count) => self.taken += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Flush::Blocked,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Flush::Gone,
            }
        }
        self.taken = 0;
        self.out.clear();
        self.is_unsent = match self.socket.try_finish() {
            Ok(()) => false,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => true,
            Err(_) => return Flush::Gone,
        };
        if self.out.capacity() > KEEP_BYTES {
            self.out = Vec::new();
        }
        if self.is_unsent { Flush::Blocked } else { Flush::Done }
    }

    /// Is ready when the socket may take more.
    pub(crate) fn writable(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let socket = Arc::clone(&self.socket);
        Box::pin(async move {
            let _ = socket.writable().await;
        })
    }
}
