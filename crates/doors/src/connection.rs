//! Bytes in: one task per connection, whatever protocol it speaks.
//!
//! A read goes into a scratch buffer of the worker thread and is decoded there, all commands of it
//! in one go. Nothing borrows past the read. What is left (half a command, or commands behind one
//! that has to wait) is carried over in a buffer of the connection's own, which grows as bytes
//! arrive.
//!
//! Deadlines: CONNECT within [`NativeOptions::handshake_within`], absolutely; a connection that is
//! quiet is asked by PING, and closed if it stays quiet. No clock is read per read: a timer looks
//! whether anything was heard since it looked last.
//!
//! [`NativeOptions::handshake_within`]: crate::NativeOptions::handshake_within

use crate::greeting::{self, Greeted};
use crate::hold;
use crate::native::Door;
use crate::ping::{self, Ahead, Heard};
use crate::socket::Reader;
use crate::source::Visit;
use courant::{Outbox, Refusal, Session};
use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::io::ReadBuf;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// Bytes of one read.
const READ_BYTES: usize = 128 * 1024;
/// A carried buffer that grew beyond this is given back once it is empty.
const KEEP_BYTES: usize = 16 * 1024;
/// How long the last replies may take to reach a client that is being closed.
const LINGER: Duration = Duration::from_secs(2);

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Where decoding stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// More bytes are needed.
    Hungry,
    /// The next command, of so many bytes, may have to wait.
    Command(usize),
    /// The log, or a queue, has no room.
    Room,
    /// The connection closes.
    Close,
}

/// Whether the connection goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Go,
    Close,
}

/// What one protocol makes of a connection's bytes.
pub(crate) trait Protocol {
    /// The session that it talks for.
    fn session(&mut self) -> &mut Session;

    /// Does the commands at the beginning of `input` that need not wait. Says how many bytes they
    /// took, and why it stopped.
    fn take(&mut self, input: &[u8]) -> (usize, Stop);

    /// Does one command, waiting where it has to.
    fn run(&mut self, command: &[u8]) -> impl Future<Output = Next> + Send;

    /// Does settles that want no reply, wherever they stand behind messages to publish. Says how
    /// many bytes the first command has.
    fn settle_ahead(&mut self, carry: &mut Vec<u8>) -> usize;

    /// Answers a PING at the beginning of `input`, out of turn.
    fn pong_ahead(outbox: &Outbox, input: &[u8]) -> Ahead;

    /// So many PINGs were answered out of turn.
    fn note_pongs(&mut self, count: u64);

    /// Asks whether the client is there.
    fn ping(&self, outbox: &Outbox);

    /// Says why the connection closes.
    fn refuse(&mut self, refusal: Refusal);
}

/// Serves one connection to its end; until then it counts for its source.
pub(crate) async fn serve(
    halves: (OwnedReadHalf, OwnedWriteHalf),
    (source, mut visit): (IpAddr, Visit),
    door: &Arc<Door>,
) {
    let mut carry = Vec::new();
    let greeted = greeting::greet(halves, &mut carry, (door, source, &mut visit)).await;
    let Some((greeted, mut reader, writer)) = greeted else { return };
    let ends = (&mut reader, &mut carry);
    match greeted {
        Greeted::Text(mut talk) => converse(&mut talk, ends, door.options.ping_every).await,
        Greeted::Binary(mut talk) => converse(&mut talk, ends, door.options.ping_every).await,
    }
    writer.close();
}

/// Talks until the connection ends, then ends the session.
async fn converse(
    protocol: &mut impl Protocol,
    (reader, carry): (&mut Reader, &mut Vec<u8>),
    ping_every: Duration,
) {
    do_all(protocol, (reader, carry), ping_every).await;
    let outbox = Arc::clone(protocol.session().outbox());
    outbox.flush();
    let _ = tokio::time::timeout(LINGER, outbox.emptied()).await;
    protocol.session().close();
}

/// Reads and does commands until the connection ends.
async fn do_all(
    protocol: &mut impl Protocol,
    (reader, carry): (&mut Reader, &mut Vec<u8>),
    ping_every: Duration,
) {
    let mut quiet = std::pin::pin!(tokio::time::sleep(ping_every));
    let outbox = Arc::clone(protocol.session().outbox());
    let mut heard = Heard::default();
    let mut stop = take(protocol, carry);
    loop {
        protocol.session().look_at_memory(carry.len());
        if matches!(stop, Stop::Hungry | Stop::Command(_)) && outbox.is_congested() {
            outbox.drained().await;
        }
        if outbox.is_closed() {
            return;
        }
        match stop {
            Stop::Close => return,
            Stop::Command(bytes) => {
                if run_first(protocol, (reader, carry), bytes).await == Next::Close {
                    return;
                }
                stop = take(protocol, carry);
                continue;
            }
            Stop::Room => {
                if !hold::wait_for_room(protocol, reader, carry).await {
                    return;
                }
                stop = take(protocol, carry);
                continue;
            }
            Stop::Hungry => {}
        }
        tokio::select! {
            biased;
            read = read_and_take(protocol, reader, carry) => match read {
                Some(read) => {
                    heard.anything = true;
                    stop = read;
                }
                None => return,
            },
            () = quiet.as_mut() => {
                if !ping::ask(protocol, &mut heard, carry, quiet.as_mut(), ping_every) {
                    return;
                }
                stop = Stop::Hungry;
            }
            () = outbox.closed() => return,
        }
    }
}

/// Reads once and does what was read. `None` at the end of the stream.
async fn read_and_take(
    protocol: &mut impl Protocol,
    reader: &mut Reader,
    carry: &mut Vec<u8>,
) -> Option<Stop> {
    poll_fn(|context| {
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.resize(READ_BYTES, 0);
            let mut buffer = ReadBuf::new(scratch);
            match reader.poll_read(context, &mut buffer) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Err(_)) => Poll::Ready(None),
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => Poll::Ready(None),
                Poll::Ready(Ok(())) => {
                    let input = buffer.filled();
                    if carry.is_empty() {
                        let (consumed, stop) = protocol.take(input);
                        carry.extend_from_slice(&input[consumed..]);
                        Poll::Ready(Some(stop))
                    } else {
                        carry.extend_from_slice(input);
                        Poll::Ready(Some(take(protocol, carry)))
                    }
                }
            }
        })
    })
    .await
}

/// Does what was carried over.
fn take(protocol: &mut impl Protocol, carry: &mut Vec<u8>) -> Stop {
    if carry.is_empty() {
        return Stop::Hungry;
    }
    let (consumed, stop) = protocol.take(carry);
    carry.drain(..consumed);
    if carry.is_empty() && carry.capacity() > KEEP_BYTES {
        *carry = Vec::new();
    }
    stop
}

/// Does the first command of the carried bytes, waiting where it has to. Meanwhile PINGs that come
/// behind it are answered.
async fn run_first<P: Protocol>(
    protocol: &mut P,
    (reader, carry): (&mut Reader, &mut Vec<u8>),
    bytes: usize,
) -> Next {
    let whole = std::mem::take(carry);
    let (command, behind) = whole.split_at(bytes);
    carry.extend_from_slice(behind);
    let outbox = Arc::clone(protocol.session().outbox());
    let mut answered = 0;
    let next = tokio::select! {
        biased;
        next = protocol.run(command) => next,
        never = ping::answer::<P>(reader, carry, &outbox, &mut answered) => match never {},
    };
    protocol.note_pongs(answered);
    next
}

/// Reads once and adds what came to the carried bytes.
pub(crate) async fn read_more(reader: &mut Reader, carry: &mut Vec<u8>) -> io::Result<usize> {
    poll_fn(|context| {
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.resize(READ_BYTES, 0);
            // A greeting is small: what comes behind it is left in the socket.
            let mut buffer = ReadBuf::new(&mut scratch[..8192]);
            match reader.poll_read(context, &mut buffer) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) => {
                    carry.extend_from_slice(buffer.filled());
                    Poll::Ready(Ok(buffer.filled().len()))
                }
            }
        })
    })
    .await
}
