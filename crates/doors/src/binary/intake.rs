//! Bytes to commands: consecutive frames of PUBLISH in one read become one batch, those of SETTLE
//! another.

use super::publish::PublishBatch;
use super::refusal::write_refused;
use super::settle::SettleBatch;
use super::talk::Talk;
use crate::connection::{Next, Protocol, Stop};
use crate::ping::Ahead;
use crate::refusal::Refused;
use courant::{Outbox, Refusal, Session};
use courant_wire::Limits;
use courant_wire::binary::{Command, Decoded, decode, reply};

/// What was read and is not done yet, in order: at most one of the two batches holds anything.
#[derive(Debug, Default)]
struct Batches<'a> {
    publishes: PublishBatch<'a>,
    settles: SettleBatch,
}

/// Where the frame begins that found no room.
type NoRoomAt = usize;

impl Protocol for Talk {
    fn session(&mut self) -> &mut Session {
        &mut self.words.session
    }

    fn take(&mut self, input: &[u8]) -> (usize, Stop) {
        let mut batches = Batches::default();
        let taken = self.take_all(input, &mut batches);
        let taken = taken.and_then(|taken| self.finish(&mut batches).map(|()| taken));
        self.words.session.outbox().flush();
        taken.unwrap_or_else(|start| (start, Stop::Room))
    }

    async fn run(&mut self, command: &[u8]) -> Next {
        let Decoded::Command { req, command, .. } = decode(command, &Limits::DEFAULT) else {
            return Next::Close;
        };
        self.run_one(req, command).await
    }

    fn settle_ahead(&mut self, carry: &mut Vec<u8>) -> usize {
        let (mut at, mut first) = (0, 0);
        while let Some(Decoded::Command { req, command, consumed }) =
            carry.get(at..).map(|ahead| decode(ahead, &Limits::DEFAULT))
        {
            match command {
                Command::Publish(_) | Command::Ping | Command::Pong => {
                    at += consumed;
                    first = if first == 0 { at } else { first };
                }
                Command::Settle(settle) if req == 0 => {
                    let mut batch = SettleBatch::default();
                    batch.add(req, &settle);
                    let is_synced = settle.is_synced;
                    self.settle(&mut batch, is_synced);
                    carry.drain(at..at + consumed);
                }
                _ => break,
            }
        }
        first
    }

    fn pong_ahead(outbox: &Outbox, input: &[u8]) -> Ahead {
        match decode(input, &Limits::DEFAULT) {
            Decoded::Command { req, command: Command::Ping, consumed } => {
                pong(outbox, req);
                Ahead::Ping(consumed)
            }
            Decoded::Command { command: Command::Pong, consumed, .. } => Ahead::Blank(consumed),
            Decoded::Incomplete { .. } => Ahead::Incomplete,
            _ => Ahead::Other,
        }
    }

    fn note_pongs(&mut self, _: u64) {}

    fn ping(&self, outbox: &Outbox) {
        let mut ping = Vec::new();
        reply::ping(&mut ping);
        outbox.notice(&ping);
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.say_refused(&Refused::about(refusal, ""), 0);
    }
}

impl Talk {
    /// Takes what stands at the beginning into the batches, or does it.
    fn take_all<'a>(
        &mut self,
        input: &'a [u8],
        batches: &mut Batches<'a>,
    ) -> Result<(usize, Stop), NoRoomAt> {
        let mut at = 0;
        loop {
            let ahead = input.get(at..).unwrap_or_default();
            let (refused, req, consumed) = match decode(ahead, &Limits::DEFAULT) {
                Decoded::Incomplete { .. } => return Ok((at, Stop::Hungry)),
                Decoded::Command { req, command, consumed } => {
                    match self.take_one((req, at), command, batches)? {
                        Ok(true) => {
                            at += consumed;
                            continue;
                        }
                        Ok(false) => return Ok((at, Stop::Command(consumed))),
                        Err(refused) => (refused, req, Some(consumed)),
                    }
                }
                Decoded::Refused { error, req, consumed } => (Refused::from(&error), req, consumed),
            };
            // Messages before it are answered before it.
            self.finish(batches)?;
            self.say_refused(&refused, req);
            match consumed {
                Some(consumed) if !refused.closes => at += consumed,
                _ => return Ok((at, Stop::Close)),
            }
        }
    }

    /// Takes one command into a batch, or does it. `false` if it may have to wait.
    fn take_one<'a>(
        &mut self,
        (req, at): (u32, usize),
        command: Command<'a>,
        batches: &mut Batches<'a>,
    ) -> Result<Result<bool, Refused>, NoRoomAt> {
        let Batches { publishes, settles } = batches;
        let goes_on = match &command {
            Command::Publish(_) => settles.is_empty() && !publishes.is_full(),
            Command::Settle(_) => publishes.is_empty() && !settles.is_full(),
            _ => false,
        };
        if !goes_on {
            // Order: what came before is done before.
            self.publish(publishes)?;
            self.settle(settles, false);
        }
        match command {
            Command::Publish(publish) => {
                if let Err(refused) = self.add((req, at), publish, publishes) {
                    return Ok(Err(refused));
                }
            }
            Command::Settle(settle) => {
                settles.add(req, &settle);
                if settle.is_synced {
                    self.settle(settles, true);
                }
            }
            Command::Ping => pong(self.words.session.outbox(), req),
            Command::Pong => {}
            _ => return Ok(Ok(false)),
        }
        Ok(Ok(true))
    }

    /// Does what was batched.
    fn finish(&mut self, batches: &mut Batches<'_>) -> Result<(), NoRoomAt> {
        self.publish(&mut batches.publishes)?;
        self.settle(&mut batches.settles, false);
        Ok(())
    }

    pub(super) fn say_refused(&mut self, refused: &Refused, req: u32) {
        let mut frame = Vec::new();
        write_refused(&mut frame, refused, req, (0, 0));
        self.words.session.outbox().reply(&frame, None);
    }
}

/// Answers a PING before all that waits.
fn pong(outbox: &Outbox, req: u32) {
    let mut pong = Vec::new();
    reply::pong(&mut pong, req);
    outbox.notice(&pong);
}
