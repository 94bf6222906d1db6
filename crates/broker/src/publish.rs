//! Publishing: a batch of messages, one lock, one append.

use crate::codec;
use crate::confirm::Level;
use crate::deferral::Deferred;
use crate::envelope;
use crate::hold::Hold;
use crate::outbox::Outbox;
use crate::session::{Known, Session};
use crate::shard::{Shard, State};
use crate::stats::Stats;
use courant_engine::{Engine, Lifetime, MessageId, NEVER, NoRoom, Properties, Refusal, Route};
use courant_storage::{OpenBatch, Purpose, Ticket, Urgency};
use std::sync::Arc;

/// Stands for a destination that a session looked up; see [`Session::destination`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DestinationId(pub(crate) u32);

/// One message to be published.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// Where it goes.
    pub to: DestinationId,
    /// What is said of it.
    pub properties: &'a Properties<'a>,
    /// Its payload.
    pub payload: &'a [u8],
    /// How far it must have come before it is confirmed, where it goes into a durable queue.
    pub level: Level,
    /// Whether durable queues keep it in the log.
    pub is_durable: bool,
}

/// What became of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// Its id; `None` if nobody asked and no queue needed one.
    pub id: Option<MessageId>,
    /// The level it is confirmed at, once `after` has reached it.
    pub level: Level,
    /// How many queues it reached.
    pub queues: u32,
    /// Whether it reached nobody: no queue, and no live subscriber.
    pub is_unroutable: bool,
    /// The ticket that has to reach the level; `None` if it has.
    pub after: Option<Ticket>,
}

/// There is no room now, in the log or in a queue that blocks: of the batch only so much was done
/// as there are [`Session::outcomes`]. Wait with [`Session::room`], then publish the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room;

/// Room that is reused from batch to batch.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    /// What became of each message of the batch.
    pub(crate) outcomes: Vec<Result<Published, Refusal>>,
    /// Transient messages of the batch, to be placed.
    placements: Vec<Deferred>,
    /// Envelope of a message with properties.
    envelope: Vec<u8>,
    /// Live frames of a run.
    pub(crate) frames: Vec<u8>,
    /// Where those messages of the batch go whose headers decide it, in order.
    pub(crate) routes: Vec<Result<Route, Refusal>>,
    /// Whether nothing more may be kept in memory for the namespace.
    is_used_up: bool,
    /// Whether a message may wait for room in a queue.
    may_hold: bool,
    /// Whether the first message without an outcome waits for room in a queue.
    pub(crate) is_held: bool,
}

impl Session {
    /// Publishes a batch, in order. The outcomes are in [`Session::outcomes`], one a message.
    /// With `wants_ids` each message that was admitted has an id.
    pub fn publish(&mut self, batch: &[Outgoing<'_>], wants_ids: bool) -> Result<(), Room> {
        let mut desk = std::mem::take(&mut self.desk);
        desk.outcomes.clear();
        desk.is_held = false;
        desk.routes.clear();
        if !self.is_publisher {
            self.is_publisher = true;
            self.outbox.begin_publishing();
        }
        let done = if let Some(refusal) = self.look_at_alarms() {
            self.hold = None;
            Stats::add(&self.shard.stats.alarm_refused, batch.len() as u64);
            desk.outcomes.extend(batch.iter().map(|_| Err(refusal)));
            Ok(())
        } else if !wants_ids && self.is_all_live(batch) {
            self.admit_live(batch, &mut desk);
            Ok(())
        } else {
            self.admit_batch(batch, &mut desk)
        };
        if done.is_ok() {
            let admitted = desk.outcomes.iter().filter(|outcome| outcome.is_ok()).count();
            Stats::add(&self.shard.stats.published, admitted as u64);
            self.send_live(&batch[..desk.outcomes.len()], &mut desk);
        }
        let is_held = desk.is_held;
        self.desk = desk;
        self.flush_touched();
        if is_held { Err(Room) } else { done }
    }

    /// Why nothing may be published now. A client that was not told yet is told.
    fn look_at_alarms(&mut self) -> Option<Refusal> {
        let alarms = &self.shard.alarms;
        if !alarms.on().is_empty() && self.outbox.tell_alarms() {
            crate::shard::touch(&mut self.touched, &self.outbox);
        }
        alarms.refusal()
    }

    /// What became of each message of the last batch.
    pub fn outcomes(&self) -> &[Result<Published, Refusal>] {
        &self.desk.outcomes
    }

    /// Is ready when there may be room again in the queue that a message waits for, or in the log.
    pub async fn room(&self) {
        match (&self.hold, self.waits_for) {
            (Some(hold), _) => hold.wait(&self.shard).await,
            // If it fails, so does what comes next.
            (None, Some(ticket)) => drop(self.outbox.committed(ticket).await),
            (None, None) => self.log_room().await,
        }
    }

    /// Is ready when the log may have room again.
    pub(crate) async fn log_room(&self) {
        let room = self.shard.room.notified();
        if self.shard.store.in_flight_bytes() > self.in_flight_bytes_max / 2 {
            // The log says when it has room; the clock covers the moment before we listened.
            let _ = tokio::time::timeout(std::time::Duration::from_millis(20), room).await;
        }
    }

    /// Whether no message of the batch goes into a queue, by routes that still hold.
    fn is_all_live(&self, batch: &[Outgoing<'_>]) -> bool {
        let mut last = None;
        batch.iter().all(|message| {
            if last == Some(message.to) {
                return true;
            }
            last = Some(message.to);
            self.known.get(message.to.0 as usize).is_some_and(|known| {
                known.version == self.shard.routes.at(known.slots)
                    && known.route.as_ref().is_ok_and(|r| r.reach() == 0 && !r.needs_headers)
            })
        })
    }

    fn admit_live(&self, batch: &[Outgoing<'_>], desk: &mut Desk) {
        desk.outcomes.extend(batch.iter().map(|message| {
            let envelope = self.known.get(message.to.0 as usize).map_or(0, |k| k.envelope.len());
            if size_of_message(envelope, message.payload.len()).is_err() {
                return Err(Refusal::MessageTooLarge);
            }
            let (level, is_unroutable) = (Level::Memory, false);
            Ok(Published { id: None, level, queues: 0, is_unroutable, after: None })
        }));
    }

    fn admit_batch(&mut self, batch: &[Outgoing<'_>], desk: &mut Desk) -> Result<(), Room> {
        let shard = Arc::clone(&self.shard);
        let mut guard = shard.lock();
        let state = &mut *guard;
        if state.is_closing {
            desk.outcomes.extend(batch.iter().map(|_| Err(Refusal::Closing)));
            return Ok(());
        }
        let bytes = self.find_routes(&state.engine, batch, desk);
        self.flight.land(state.applied);
        let flight_bytes_max = shard.memory_bounds.connection_max_bytes() / 2;
        self.waits_for = bytes.and_then(|more| self.flight.has_to_land(more, flight_bytes_max));
        if self.waits_for.is_some() {
            self.hold = None;
            return Err(Room);
        }
        let stamp = shard.clock.now_ms();
        let mut transient = None;
        desk.is_used_up = shard.memory_bounds.is_used_up(&self.account);
        desk.may_hold = self.hold.as_ref().is_none_or(|hold| !hold.is_over(stamp));
        let mut admit = |open: Option<&mut OpenBatch>| {
            admit_all(&shard, state, &self.known, batch, (stamp, open, &mut transient), desk);
        };
        let ticket = if let Some(bytes) = bytes.filter(|_| !shard.alarms.is_disk_short()) {
            let purpose = Purpose::Messages { bytes };
            match shard.append(Urgency::Now, purpose, &mut |open| admit(Some(open))) {
                Ok(ticket) => Some(ticket),
                Err(Refusal::TooManyInFlight) => {
                    self.hold = None;
                    return Err(Room);
                }
                // What needs no log goes on.
                Err(Refusal::DiskFull) => {
                    admit(None);
                    None
                }
                Err(refusal) => {
                    desk.outcomes.extend(batch.iter().map(|_| Err(refusal)));
                    return Ok(());
                }
            }
        } else {
            admit(None);
            None
        };
        self.hold = Hold::after(self.hold.take(), (&shard, stamp), desk);
        if let Some(ticket) = ticket {
            self.flight.push(ticket, bytes.unwrap_or(0));
            self.note_logged(state, ticket, batch, desk);
        }
        if let Some(open) = transient {
            self.place(state, open, desk);
        }
        shard.hand_out(state, &mut self.touched);
        Ok(())
    }

    /// Finds the routes of a batch, and how much of it goes into the log at most, if anything does.
    fn find_routes(
        &mut self,
        engine: &Engine,
        batch: &[Outgoing<'_>],
        desk: &mut Desk,
    ) -> Option<usize> {
        let mut log = None;
        let mut last = None;
        for message in batch {
            if last != Some(message.to) {
                last = Some(message.to);
                self.refresh(engine, message.to);
            }
            let Some(known) = self.known.get(message.to.0 as usize) else { continue };
            let route = if known.needs_headers() {
                let headers = message.properties.headers;
                let found = engine.resolve_with(self.id, known.publish(), Some(headers));
                desk.routes.push(found);
                desk.routes.last().unwrap_or(&known.route)
            } else {
                &known.route
            };
            let durable = route.as_ref().map_or(0, |route| route.durable.len());
            if durable > 0 && message.is_durable {
                *log.get_or_insert(0) += durable + known.bytes_max(message);
            }
        }
        log
    }

    /// Puts the ticket of an append into the outcomes that wait for it.
    fn note_logged(
        &mut self,
        state: &mut State,
        ticket: Ticket,
        batch: &[Outgoing<'_>],
        desk: &mut Desk,
    ) {
        self.last_ticket = ticket;
        let mut wants_written = false;
        for (outcome, message) in desk.outcomes.iter_mut().zip(batch) {
            if let Ok(published) = outcome
                && published.level > Level::Memory
            {
                published.after = Some(ticket);
                wants_written |= message.level == Level::Written;
            }
        }
        state.wait(ticket, &self.outbox);
        if wants_written {
            state.wait_written(ticket, &self.outbox);
        }
    }

    /// Keeps the bodies of transient messages, and places them now or after the session's
    /// durable ones before them.
    fn place(&mut self, state: &mut State, open: OpenBatch, desk: &mut Desk) {
        let copies = desk.placements.iter().map(Deferred::copies).sum();
        state.transient.keep(self.shard.number, open.seal(), (copies, &self.account));
        for message in desk.placements.drain(..) {
            if self.last_ticket > state.applied {
                state.deferrals.push(self.last_ticket, message);
            } else {
                state.place(&message);
            }
        }
    }

    fn flush_touched(&mut self) {
        crate::shard::flush(&self.touched);
        self.touched.clear();
    }
}

fn size_of_message(envelope: usize, payload: usize) -> Result<u32, Refusal> {
    u32::try_from(envelope + payload)
        .ok()
        .filter(|size| *size <= courant_engine::limits::MESSAGE_BYTES_MAX)
        .ok_or(Refusal::MessageTooLarge)
}

/// Where admitted messages are written: their stamp, the log's open batch if one is needed, and
/// the batch of transient ones, made when the first comes.
type Sinks<'a> = (u64, Option<&'a mut OpenBatch>, &'a mut Option<OpenBatch>);

fn admit_all(
    shard: &Shard,
    state: &mut State,
    known: &[Known],
    batch: &[Outgoing<'_>],
    (stamp, mut log, transient): Sinks<'_>,
    desk: &mut Desk,
) {
    let routes = std::mem::take(&mut desk.routes);
    let mut each = routes.iter();
    for message in batch {
        let outcome = match known.get(message.to.0 as usize) {
            None => Err(Refusal::NoSuchQueue),
            Some(known) => {
                let sinks = (stamp, log.as_deref_mut(), &mut *transient);
                let own = if known.needs_headers() { each.next() } else { None };
                let placed = match own.unwrap_or(&known.route) {
                    Ok(route) => admit_one(shard, state, (known, route), message, sinks, desk),
                    Err(refusal) => Err(NoRoom::Refused(*refusal)),
                };
                match placed {
                    Ok(published) => Ok(published),
                    Err(NoRoom::Refused(refusal)) => Err(refusal),
                    Err(NoRoom::Held) => {
                        desk.is_held = true;
                        break;
                    }
                }
            }
        };
        desk.outcomes.push(outcome);
    }
    desk.routes = routes;
}

fn admit_one(
    shard: &Shard,
    state: &mut State,
    (known, route): (&Known, &Route),
    message: &Outgoing<'_>,
    (stamp, log, transient): Sinks<'_>,
    desk: &mut Desk,
) -> Result<Published, NoRoom> {
    let is_plain = message.properties.is_empty();
    if !is_plain {
        desk.envelope.clear();
        envelope::encode(&mut desk.envelope, &known.exchange, &known.key, message.properties);
    }
    let envelope = if is_plain { &known.envelope[..] } else { &desk.envelope[..] };
    let size = size_of_message(envelope.len(), message.payload.len()).map_err(NoRoom::Refused)?;
    let is_logged = message.is_durable && !route.durable.is_empty();
    let is_placed = !route.transient.is_empty() || (!is_logged && !route.durable.is_empty());
    if is_placed && state.transient.is_full() {
        return Err(NoRoom::Refused(Refusal::MemoryFull));
    }
    if is_placed && desk.is_used_up {
        return Err(NoRoom::Refused(Refusal::NamespaceQuota));
    }
    if is_logged && log.is_none() {
        Stats::add(&shard.stats.disk_full, 1);
        return Err(NoRoom::Refused(Refusal::DiskFull));
    }
    // The sum is a u32, and so is a part of it.
    let body = u32::try_from(message.payload.len()).unwrap_or(size);
    state.engine.find_room(route, (size, body), desk.may_hold)?;
    let seq = state.engine.admit(size).map_err(NoRoom::Refused)?;
    let meta = shard.meta(codec::PUBLISHED, seq);
    let body = [envelope, message.payload];
    let mut level = Level::Memory;
    let deadline_ms = message.properties.deadline_ms.unwrap_or(NEVER);
    let lifetime = Lifetime { admitted_ms: stamp, deadline_ms };
    if is_logged && let Some(log) = log {
        let head = |out: &mut Vec<u8>| {
            codec::encode_published(out, route.exchange, lifetime, &route.durable);
        };
        log.push_with(meta, head, |out| {
            out.extend_from_slice(body[0]);
            out.extend_from_slice(body[1]);
        });
        level = message.level;
        state.engine.note_in_flight(size, &route.durable);
    }
    if is_placed {
        transient.get_or_insert_with(OpenBatch::new).push(meta, &[], &body);
        let durable = (!is_logged && !route.durable.is_empty()).then(|| Arc::clone(&route.durable));
        if route.is_limited {
            state.engine.note_placing(size, route, durable.is_some());
        }
        let transient = Arc::clone(&route.transient);
        desk.placements.push(Deferred { seq, size, lifetime, transient, durable });
    }
    let queues = u32::try_from(route.reach()).unwrap_or(u32::MAX);
    let id = Some(MessageId { shard: shard.number, seq });
    Ok(Published { id, level, queues, is_unroutable: false, after: None })
}

impl Known {
    /// Whether the route has to be found for each message.
    pub(crate) fn needs_headers(&self) -> bool {
        self.route.as_ref().is_ok_and(|route| route.needs_headers)
    }

    /// The most that a message adds to the log, beside its targets.
    fn bytes_max(&self, message: &Outgoing<'_>) -> usize {
        let envelope = self.envelope.len() + envelope::properties_bytes_max(message.properties);
        codec::PUBLISHED_BYTES_MAX + envelope + message.payload.len()
    }
}

/// A session's outbox, for doors that reply.
impl Session {
    /// What is on its way to this session's client.
    pub fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }
}
