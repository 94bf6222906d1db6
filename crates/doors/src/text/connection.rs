//! Bytes in: one task per connection.
//!
//! A read goes into a scratch buffer of the worker thread and is decoded there, all commands of it
//! in one go: consecutive PUBs become one batch, consecutive settles another. Nothing borrows past
//! the read. What is left (half a command, or commands behind one that has to wait) is carried
//! over in a buffer of the connection's own, which grows as bytes arrive.
//!
//! Deadlines: CONNECT within [`NativeOptions::handshake_within`], absolutely; a connection that is
//! quiet is asked by PING, and closed if it stays quiet. No clock is read per read: a timer looks
//! whether anything was heard since it looked last.

use super::command::{Next, SettleBatch};
use super::greeting;
use super::ping::{self, Heard};
use super::publish::PublishBatch;
use super::refusal::{self, Refused};
use super::talk::Talk;
use crate::native::Door;
use crate::socket::Reader;
use crate::source::Visit;
use courant_wire::Limits;
use courant_wire::text::{Command, Decoded, Verb, decode};
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
enum Stop {
    /// More bytes are needed.
    Hungry,
    /// The next command may have to wait.
    Command,
    /// The log, or a queue, has no room.
    Room,
    /// The connection closes.
    Close,
}

/// Serves one connection to its end; until then it counts for its source.
pub(crate) async fn serve(
    halves: (OwnedReadHalf, OwnedWriteHalf),
    (source, mut visit): (IpAddr, Visit),
    door: &Arc<Door>,
) {
    let mut carry = Vec::new();
    let greeted = greeting::greet(halves, &mut carry, (door, source, &mut visit)).await;
    let Some((mut talk, mut reader, writer)) = greeted else { return };
    talk.talk(&mut reader, &mut carry, door.options.ping_every).await;
    let outbox = Arc::clone(talk.session.outbox());
    outbox.flush();
    let _ = tokio::time::timeout(LINGER, outbox.emptied()).await;
    talk.session.close();
    writer.close();
}

impl Talk {
    pub(super) fn say_refused(
        &mut self,
        refused: &Refused,
        req: Option<&[u8]>,
        command: Option<(Verb, u64)>,
    ) {
        let mut line = Vec::new();
        refusal::write_reply(&mut line, refused, req, command);
        self.session.outbox().reply(&line, None);
    }

    /// Reads and does commands until the connection ends.
    async fn talk(&mut self, reader: &mut Reader, carry: &mut Vec<u8>, ping_every: Duration) {
        let mut quiet = std::pin::pin!(tokio::time::sleep(ping_every));
        let outbox = Arc::clone(self.session.outbox());
        let mut heard = Heard::default();
        let mut stop = self.take(carry);
        loop {
            self.session.look_at_memory(carry.len());
            if matches!(stop, Stop::Hungry | Stop::Command) && outbox.is_congested() {
                outbox.drained().await;
            }
            if outbox.is_closed() {
                return;
            }
            match stop {
                Stop::Close => return,
                Stop::Command => {
                    if self.run_first(reader, carry).await == Next::Close {
                        return;
                    }
                    stop = self.take(carry);
                    continue;
                }
                Stop::Room => {
                    if !self.wait_for_room(reader, carry).await {
                        return;
                    }
                    stop = self.take(carry);
                    continue;
                }
                Stop::Hungry => {}
            }
            tokio::select! {
                biased;
                read = self.read_and_take(reader, carry) => match read {
                    Some(read) => {
                        heard.anything = true;
                        stop = read;
                    }
                    None => return,
                },
                () = quiet.as_mut() => {
                    if !self.ask(&mut heard, carry, quiet.as_mut(), ping_every) {
                        return;
                    }
                    stop = Stop::Hungry;
                }
                () = outbox.closed() => return,
            }
        }
    }

    /// Reads once and does what was read. `None` at the end of the stream.
    async fn read_and_take(&mut self, reader: &mut Reader, carry: &mut Vec<u8>) -> Option<Stop> {
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
                            let (consumed, stop) = self.take_from(input);
                            carry.extend_from_slice(&input[consumed..]);
                            Poll::Ready(Some(stop))
                        } else {
                            carry.extend_from_slice(input);
                            Poll::Ready(Some(self.take(carry)))
                        }
                    }
                }
            })
        })
        .await
    }

    /// Does what was carried over.
    fn take(&mut self, carry: &mut Vec<u8>) -> Stop {
        if carry.is_empty() {
            return Stop::Hungry;
        }
        let (consumed, stop) = self.take_from(carry);
        carry.drain(..consumed);
        if carry.is_empty() && carry.capacity() > KEEP_BYTES {
            *carry = Vec::new();
        }
        stop
    }

    /// Does the commands at the beginning of `input` that need not wait. Says how many bytes they
    /// took, and why it stopped.
    fn take_from(&mut self, input: &[u8]) -> (usize, Stop) {
        let mut publishes = PublishBatch::default();
        let mut settles = SettleBatch::default();
        let mut at = 0;
        // Where the batch of PUBs that is not published yet begins, and its first ordinal.
        let mut batch_start = (0, self.ordinal);
        let stop = loop {
            let (command, consumed) = match decode(&input[at..], &Limits::DEFAULT) {
                Decoded::Command { command, consumed } => (command, consumed),
                Decoded::Blank { consumed } => {
                    at += consumed;
                    continue;
                }
                Decoded::Incomplete { .. } => break Stop::Hungry,
                Decoded::Refused { error, consumed, verb, req } => {
                    if self.finish(&mut publishes, &mut settles).is_err() {
                        return self.rewind(publishes.done().unwrap_or(batch_start));
                    }
                    self.ordinal += 1;
                    let refused = Refused::from(&error);
                    let command = self.command_of(verb);
                    self.say_refused(&refused, req, command);
                    match consumed {
                        Some(consumed) if !refused.closes => at += consumed,
                        _ => break Stop::Close,
                    }
                    batch_start = (at, self.ordinal);
                    continue;
                }
            };
            let goes_on = match &command {
                Command::Publish(publish) => settles.is_empty() && is_plain(publish),
                Command::Ack(_) | Command::Nack(_) | Command::Reject(_) | Command::Extend(_) => {
                    publishes.is_empty()
                }
                _ => false,
            };
            if !goes_on {
                // Order: what came before is done before.
                if self.finish(&mut publishes, &mut settles).is_err() {
                    return self.rewind(publishes.done().unwrap_or(batch_start));
                }
                batch_start = (at, self.ordinal);
            }
            match self.take_one(&command, &mut publishes, &mut settles) {
                Ok(true) => {
                    at += consumed;
                    publishes.note_end(at);
                }
                Ok(false) => break Stop::Command,
                Err(Stop::Room) => {
                    self.ordinal -= 1;
                    break Stop::Room;
                }
                Err(stop) => break stop,
            }
        };
        if self.finish(&mut publishes, &mut settles).is_err() {
            return self.rewind(publishes.done().unwrap_or(batch_start));
        }
        self.session.outbox().flush();
        (at, stop)
    }

    fn rewind(&mut self, (at, ordinal): (usize, u64)) -> (usize, Stop) {
        self.ordinal = ordinal;
        self.session.outbox().flush();
        (at, Stop::Room)
    }

    fn command_of(&self, verb: &[u8]) -> Option<(Verb, u64)> {
        if self.is_verbose { None } else { Some((Verb::parse(verb)?, self.ordinal)) }
    }

    /// Takes one command into a batch, or does it. `Ok(false)` if it may have to wait.
    fn take_one<'a>(
        &mut self,
        command: &Command<'a>,
        publishes: &mut PublishBatch<'a>,
        settles: &mut SettleBatch<'a>,
    ) -> Result<bool, Stop> {
        let ordinal = self.ordinal + 1;
        let done = match command {
            Command::Publish(publish) if is_plain(publish) => {
                self.add_plain(publish, ordinal, publishes).map_err(|r| (r, publishes))
            }
            Command::Publish(publish) => match self.publish_with_options(publish, ordinal) {
                Ok(Ok(())) => Ok(()),
                Ok(Err(courant::Room)) => {
                    self.ordinal += 1;
                    return Err(Stop::Room);
                }
                Err(refused) => Err((refused, publishes)),
            },
            Command::Ack(settle)
            | Command::Nack(settle)
            | Command::Reject(settle)
            | Command::Extend(settle) => {
                let added = Self::add_settle(command.verb(), settle, ordinal, settles);
                if added.is_ok() && settle.options.confirm_synced() {
                    self.settle(settles, true);
                }
                added.map_err(|refused| (refused, publishes))
            }
            Command::Ping { .. } => {
                ping::pong(self.session.outbox(), command.req());
                Ok(())
            }
            Command::Pong => Ok(()),
            _ => return Ok(false),
        };
        self.ordinal = ordinal;
        if let Err((refused, publishes)) = done {
            if self.publish(publishes).is_err() {
                self.ordinal -= 1;
                return Err(Stop::Room);
            }
            let named = (!self.is_verbose).then_some((command.verb(), ordinal));
            self.say_refused(&refused, command.req(), named);
            if refused.closes {
                return Err(Stop::Close);
            }
        }
        Ok(true)
    }

    /// Does what was batched, in order: at most one of the two batches holds anything.
    fn finish(
        &mut self,
        publishes: &mut PublishBatch<'_>,
        settles: &mut SettleBatch<'_>,
    ) -> Result<(), courant::Room> {
        self.publish(publishes)?;
        self.settle(settles, false);
        Ok(())
    }

    /// Does the first command of the carried bytes, waiting where it has to. Meanwhile PINGs that
    /// come behind it are answered.
    async fn run_first(&mut self, reader: &mut Reader, carry: &mut Vec<u8>) -> Next {
        let whole = std::mem::take(carry);
        let Decoded::Command { command, consumed } = decode(&whole, &Limits::DEFAULT) else {
            *carry = whole;
            return Next::Close;
        };
        carry.extend_from_slice(&whole[consumed..]);
        self.ordinal += 1;
        let ordinal = self.ordinal;
        let outbox = Arc::clone(self.session.outbox());
        let mut answered = 0;
        let next = tokio::select! {
            biased;
            next = self.run(&command, ordinal) => next,
            never = ping::answer(reader, carry, &outbox, &mut answered) => match never {},
        };
        self.ordinal += answered;
        next
    }
}

/// Whether a PUB says nothing but `req:`, so that it can go with others.
fn is_plain(publish: &courant_wire::text::Publish<'_>) -> bool {
    if publish.options.is_empty() {
        return true;
    }
    let mut options = publish.options.iter();
    options.next().is_some_and(|(key, _)| key.name() == "req") && options.next().is_none()
}

/// Reads once and adds what came to the carried bytes.
pub(super) async fn read_more(reader: &mut Reader, carry: &mut Vec<u8>) -> io::Result<usize> {
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
