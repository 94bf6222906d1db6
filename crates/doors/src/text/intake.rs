//! Bytes to commands: consecutive PUBs of one read become one batch, consecutive settles another.

use super::command::SettleBatch;
use super::publish::PublishBatch;
use super::refusal;
use super::talk::Talk;
use crate::connection::{Next, Protocol, Stop};
use crate::ping::Ahead;
use crate::refusal::Refused;
use courant::{Outbox, Refusal, Session};
use courant_wire::Limits;
use courant_wire::text::{Command, Decoded, Verb, decode, reply};

/// A command that asks for nothing.
const NOTHING: &[u8] = b"PONG\r\n";

impl Protocol for Talk {
    fn session(&mut self) -> &mut Session {
        &mut self.words.session
    }

    fn take(&mut self, input: &[u8]) -> (usize, Stop) {
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
                Ok(false) => break Stop::Command(consumed),
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
        self.words.session.outbox().flush();
        (at, stop)
    }

    async fn run(&mut self, command: &[u8]) -> Next {
        let Decoded::Command { command, .. } = decode(command, &Limits::DEFAULT) else {
            return Next::Close;
        };
        self.ordinal += 1;
        self.run_one(&command, self.ordinal).await
    }

    /// In the carried bytes a PONG takes the place of each, which counts as a command as it did.
    fn settle_ahead(&mut self, carry: &mut Vec<u8>) -> usize {
        let (mut at, mut first, mut ordinal) = (0, 0, self.ordinal);
        while !self.words.is_verbose {
            let mut batch = SettleBatch::default();
            let consumed = match decode(&carry[at..], &Limits::DEFAULT) {
                Decoded::Blank { consumed } => {
                    at += consumed;
                    continue;
                }
                Decoded::Command { command, consumed } => {
                    ordinal += 1;
                    match &command {
                        Command::Publish(_) | Command::Ping { .. } | Command::Pong => {
                            at += consumed;
                            first = if first == 0 { at } else { first };
                            continue;
                        }
                        Command::Ack(settle)
                        | Command::Nack(settle)
                        | Command::Reject(settle)
                        | Command::Extend(settle)
                            if command.req().is_none() && !settle.options.confirm_synced() =>
                        {
                            let verb = command.verb();
                            if Self::add_settle(verb, settle, ordinal, &mut batch).is_err() {
                                return first;
                            }
                        }
                        _ => return first,
                    }
                    self.settle(&mut batch, false);
                    consumed
                }
                Decoded::Incomplete { .. } | Decoded::Refused { .. } => return first,
            };
            carry.splice(at..at + consumed, NOTHING.iter().copied());
            at += NOTHING.len();
        }
        first
    }
    fn pong_ahead(outbox: &Outbox, input: &[u8]) -> Ahead {
        match decode(input, &Limits::DEFAULT) {
            Decoded::Command { command: command @ Command::Ping { .. }, consumed } => {
                pong(outbox, command.req());
                Ahead::Ping(consumed)
            }
            Decoded::Blank { consumed } => Ahead::Blank(consumed),
            Decoded::Incomplete { .. } => Ahead::Incomplete,
            _ => Ahead::Other,
        }
    }

    fn note_pongs(&mut self, count: u64) {
        self.ordinal += count;
    }

    fn ping(&self, outbox: &Outbox) {
        let mut ping = Vec::new();
        reply::ping(&mut ping);
        outbox.notice(&ping);
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.say_refused(&Refused::about(refusal, ""), None, None);
    }
}

impl Talk {
    fn say_refused(&mut self, refused: &Refused, req: Option<&[u8]>, command: Option<(Verb, u64)>) {
        let mut line = Vec::new();
        refusal::write_reply(&mut line, refused, req, command);
        self.words.session.outbox().reply(&line, None);
    }

    fn rewind(&mut self, (at, ordinal): (usize, u64)) -> (usize, Stop) {
        self.ordinal = ordinal;
        self.words.session.outbox().flush();
        (at, Stop::Room)
    }

    fn command_of(&self, verb: &[u8]) -> Option<(Verb, u64)> {
        if self.words.is_verbose { None } else { Some((Verb::parse(verb)?, self.ordinal)) }
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
                pong(self.words.session.outbox(), command.req());
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
            let named = (!self.words.is_verbose).then_some((command.verb(), ordinal));
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
}

/// Answers a PING before all that waits.
fn pong(outbox: &Outbox, req: Option<&[u8]>) {
    let mut pong = Vec::new();
    reply::pong(&mut pong, req);
    outbox.notice(&pong);
}

/// Whether a PUB says nothing but `req:`, so that it can go with others.
fn is_plain(publish: &courant_wire::text::Publish<'_>) -> bool {
    if publish.options.is_empty() {
        return true;
    }
    let mut options = publish.options.iter();
    options.next().is_some_and(|(key, _)| key.name() == "req") && options.next().is_none()
}
