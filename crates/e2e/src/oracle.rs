//! Judges what came out of a broker against what went in, over any number of crashes.
//!
//! The harness tells it, in this order in time: what is about to be sent, what was confirmed, what
//! was delivered, which settles are about to be sent, and which were answered. From that follows:
//!
//! - *lost*: a message that was confirmed, or that any queue delivered once (a delivery shows that
//!   the message is committed), and that at the end nobody has tried to ack in each of its queues;
//! - *invented*: a delivery of what was never sent, or not to this queue;
//! - *altered*: a body or stamp that is not what was sent;
//! - *out of order*: in one lane, the first delivery of a message after a later one of the same
//!   publisher. A queue that only ever has one consumer at a time is one lane through all crashes;
//!   where consumers share a queue, each connection is a lane of its own;
//! - *resurrected*: a delivery after an ack that was confirmed as synced, or was answered before an
//!   orderly stop, or was answered in the same run of the broker;
//! - *duplicated*: a second delivery in the same run though the first was not given back;
//! - *unmarked*: a second delivery that neither counts its attempt nor says `redelivered`, or that
//!   does not count on from one in the same run;
//! - *ids reused*: one message id for two messages, two ids for one, or one handle for two
//!   deliveries.

use std::collections::{HashMap, HashSet};
use std::fmt;

use courant_wire::{Handle, MessageId};

use crate::counts::Counts;
use crate::stamp::{Origin, Stamp, StampError};

/// Faults of one kind kept with their details; all are counted.
const FAULTS_KEPT_MAX: usize = 8;

/// Where messages go to; an index into the routes given to [`Oracle::new`].
pub type Route = usize;

/// Where messages come out of: a queue, or a durable subscriber of a topic.
pub type Outlet = usize;

/// Something that a broker must never do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The run of the broker in which it was seen.
    pub run: u32,
    /// What kind, as in [`Counts`].
    pub kind: FaultKind,
    /// Which message, where, and why.
    pub detail: String,
}

/// The kinds of [`Fault`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum FaultKind {
    Lost,
    Invented,
    Altered,
    OutOfOrder,
    Resurrected,
    Duplicated,
    Unmarked,
    IdReused,
    Refused,
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "run {}: {:?}: {}", self.run, self.kind, self.detail)
    }
}

#[derive(Debug)]
struct Sent {
    route: Route,
    hash: u64,
    id: Option<MessageId>,
    confirmed: bool,
    delivered: bool,
}

/// One message in one outlet.
#[derive(Debug, Default)]
struct Trace {
    run_last: u32,
    /// The highest attempt seen in that run.
    attempt_last: u64,
    returned: bool,
    ack_sent: bool,
    /// The run in which an ack was answered.
    acked_run: Option<u32>,
    /// Why it must never come again.
    settled: bool,
}

/// The latest message of one publisher that came out of a lane, and when.
#[derive(Clone, Copy, Debug)]
struct Highest {
    sequence: u64,
    run: u32,
    handle: Handle,
}

/// A delivery as the harness saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Where it came out of.
    pub outlet: Outlet,
    /// The lane in which first deliveries are in order.
    pub lane: u64,
    /// Its handle.
    pub handle: Handle,
    /// Which attempt it says it is, from 1.
    pub attempt: u64,
    /// Whether it says that it is or may be a repeat.
    pub marked: bool,
}

/// The judge.
#[derive(Debug, Default)]
pub struct Oracle {
    routes: Vec<Vec<Outlet>>,
    sent: Vec<Vec<Sent>>,
    traces: HashMap<(Outlet, Origin), Trace>,
    highest: HashMap<(Outlet, u64, u32), Highest>,
    ids: HashMap<MessageId, Origin>,
    handles: HashSet<(Outlet, Handle)>,
    acked_this_run: Vec<(Outlet, Origin)>,
    run: u32,
    counts: Counts,
    faults: Vec<Fault>,
}

impl Oracle {
    /// For `publishers` publishers; each route leads to its outlets.
    pub fn new(publishers: u32, routes: Vec<Vec<Outlet>>) -> Self {
        let sent = (0..publishers).map(|_| Vec::new()).collect();
        Self { routes, sent, ..Self::default() }
    }

    /// The counts so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The counts, for what only the harness knows.
    pub fn counts_mut(&mut self) -> &mut Counts {
        &mut self.counts
    }

    /// The first faults.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// The current run of the broker.
    pub fn run(&self) -> u32 {
        self.run
    }

    /// A broker was started.
    pub fn started(&mut self) {
        self.run += 1;
        self.acked_this_run.clear();
    }

    /// The broker ended in order: every ack that it answered has to hold.
    pub fn stopped_cleanly(&mut self) {
        for key in std::mem::take(&mut self.acked_this_run) {
            if let Some(trace) = self.traces.get_mut(&key) {
                trace.settled = true;
            }
        }
    }

    /// The number that the next message of `publisher` has.
    pub fn next_sequence(&self, publisher: u32) -> u64 {
        self.sent.get(publisher as usize).map_or(0, |sent| sent.len() as u64)
    }

    /// A message is about to be sent.
    pub fn sending(&mut self, route: Route, stamp: Stamp) {
        self.counts.published += 1;
        if let Some(sent) = self.sent.get_mut(stamp.origin.publisher as usize) {
            debug_assert_eq!(sent.len() as u64, stamp.origin.sequence);
            let hash = stamp.hash;
            sent.push(Sent { route, hash, id: None, confirmed: false, delivered: false });
        }
    }

    /// The confirm of a message came.
    pub fn confirmed(&mut self, origin: Origin, id: Option<MessageId>, outlets: u64) {
        self.counts.confirmed += 1;
        let Some(sent) = self.sent_mut(origin) else { return };
        sent.confirmed = true;
        let route = sent.route;
        let reaches = self.routes.get(route).map_or(0, |outlets| outlets.len() as u64);
        if outlets != reaches {
            let detail =
                format!("{origin} was confirmed for {outlets} queues instead of {reaches}");
            self.fault(FaultKind::Lost, detail);
        }
        match id {
            Some(id) => self.identify(origin, id),
            None => self.fault(FaultKind::Refused, format!("{origin}: a confirm without msg_id")),
        }
    }

    /// A delivery was read. Returns the message if it is one of ours.
    pub fn delivered(&mut self, seen: &Seen, stamp: Result<Stamp, StampError>) -> Option<Origin> {
        let outlet = seen.outlet;
        if !self.handles.insert((outlet, seen.handle)) {
            let detail = format!("outlet {outlet} gave the handle {} twice", seen.handle);
            self.fault(FaultKind::IdReused, detail);
        }
        let stamp = match stamp {
            Ok(stamp) => stamp,
            Err(error) => {
                let detail = format!("outlet {outlet}, handle {}: {error}", seen.handle);
                self.fault(FaultKind::Altered, detail);
                return None;
            }
        };
        let origin = stamp.origin;
        let routes = &self.routes;
        let known = self
            .sent
            .get_mut(origin.publisher as usize)
            .and_then(|sent| sent.get_mut(usize::try_from(origin.sequence).ok()?));
        let Some(sent) = known.filter(|sent| routes[sent.route].contains(&outlet)) else {
            let detail = format!("outlet {outlet} delivered {origin}, which never went there");
            self.fault(FaultKind::Invented, detail);
            return None;
        };
        sent.delivered = true;
        if sent.hash != stamp.hash {
            self.fault(FaultKind::Altered, format!("outlet {outlet}: {origin} is another one"));
        }
        self.identify(origin, seen.handle.id);
        self.place(seen, origin);
        Some(origin)
    }

    /// An ack is about to be sent.
    pub fn acking(&mut self, outlet: Outlet, origin: Origin) {
        if let Some(trace) = self.traces.get_mut(&(outlet, origin)) {
            trace.ack_sent = true;
        }
    }

    /// An ack was answered by OK.
    pub fn acked(&mut self, outlet: Outlet, origin: Origin, synced: bool) {
        self.counts.acked += 1;
        self.counts.acked_synced += u64::from(synced);
        if let Some(trace) = self.traces.get_mut(&(outlet, origin)) {
            trace.acked_run = Some(self.run);
            trace.settled |= synced;
        }
        self.acked_this_run.push((outlet, origin));
    }

    /// A delivery is about to be given back.
    pub fn nacking(&mut self, outlet: Outlet, origin: Origin) {
        self.counts.nacked += 1;
        if let Some(trace) = self.traces.get_mut(&(outlet, origin)) {
            trace.returned = true;
        }
    }

    /// The broker refused what it had to do, or left a connection.
    pub fn refused(&mut self, detail: String) {
        self.fault(FaultKind::Refused, detail);
    }

    /// Everything was drained: what is missing now is lost.
    pub fn finish(&mut self) {
        let mut lost = Vec::new();
        for (publisher, all) in (0u32..).zip(&self.sent) {
            for (sequence, sent) in (0u64..).zip(all) {
                if !sent.confirmed && !sent.delivered {
                    continue;
                }
                let origin = Origin { publisher, sequence };
                for outlet in &self.routes[sent.route] {
                    let trace = self.traces.get(&(*outlet, origin));
                    if !trace.is_some_and(|trace| trace.ack_sent) {
                        let seen = trace.map_or("never delivered", |_| "delivered, never acked");
                        let state = if sent.confirmed { "confirmed" } else { "delivered" };
                        lost.push(format!("{origin} ({state}) in outlet {outlet}: {seen}"));
                    }
                }
            }
        }
        for detail in lost {
            self.fault(FaultKind::Lost, detail);
        }
    }

    /// Order, repeats and acks of one delivery.
    fn place(&mut self, seen: &Seen, origin: Origin) {
        let outlet = seen.outlet;
        let run = self.run;
        let mut faults = Vec::new();
        if let Some(trace) = self.traces.get_mut(&(outlet, origin)) {
            self.counts.redelivered += 1;
            let same_run = trace.run_last == run;
            if trace.settled || trace.acked_run == Some(run) {
                let how = if trace.settled { "synced or stopped" } else { "in the same run" };
                faults.push((FaultKind::Resurrected, format!("after an ack, {how}")));
            } else if same_run && !trace.returned {
                faults.push((FaultKind::Duplicated, "twice in one run, not given back".to_owned()));
            }
            let is_counted = !same_run || seen.attempt > trace.attempt_last;
            if !seen.marked || !is_counted {
                let when = format!(
                    "attempt {} is not marked; last seen as attempt {} in run {}",
                    seen.attempt, trace.attempt_last, trace.run_last
                );
                faults.push((FaultKind::Unmarked, when));
            }
            trace.run_last = run;
            trace.attempt_last = seen.attempt;
            trace.returned = false;
        } else {
            self.counts.delivered += 1;
            self.traces.insert(
                (outlet, origin),
                Trace { run_last: run, attempt_last: seen.attempt, ..Trace::default() },
            );
            let lane = (outlet, seen.lane, origin.publisher);
            let this = Highest { sequence: origin.sequence, run, handle: seen.handle };
            let highest = self.highest.entry(lane).or_insert(this);
            if highest.sequence > origin.sequence {
                let Highest { sequence, run, handle } = *highest;
                let detail =
                    format!("after message {sequence}, which came as {handle} in run {run}");
                faults.push((FaultKind::OutOfOrder, detail));
            } else if highest.sequence < origin.sequence {
                *highest = this;
            }
        }
        for (kind, detail) in faults {
            let handle = seen.handle;
            self.fault(kind, format!("{origin} from outlet {outlet} as {handle}: {detail}"));
        }
    }

    fn identify(&mut self, origin: Origin, id: MessageId) {
        let other = *self.ids.entry(id).or_insert(origin);
        if other != origin {
            self.fault(FaultKind::IdReused, format!("the id {id} is of {origin} and of {other}"));
        }
        let Some(sent) = self.sent_mut(origin) else { return };
        let first = *sent.id.get_or_insert(id);
        if first != id {
            self.fault(FaultKind::IdReused, format!("{origin} has the ids {first} and {id}"));
        }
    }

    fn sent_mut(&mut self, origin: Origin) -> Option<&mut Sent> {
        let index = usize::try_from(origin.sequence).ok()?;
        self.sent.get_mut(origin.publisher as usize)?.get_mut(index)
    }

    fn fault(&mut self, kind: FaultKind, detail: String) {
        let counts = &mut self.counts;
        *match kind {
            FaultKind::Lost => &mut counts.lost,
            FaultKind::Invented => &mut counts.invented,
            FaultKind::Altered => &mut counts.altered,
            FaultKind::OutOfOrder => &mut counts.out_of_order,
            FaultKind::Resurrected => &mut counts.resurrected,
            FaultKind::Duplicated => &mut counts.duplicated,
            FaultKind::Unmarked => &mut counts.unmarked,
            FaultKind::IdReused => &mut counts.ids_reused,
            FaultKind::Refused => &mut counts.refused,
        } += 1;
        if self.faults.iter().filter(|fault| fault.kind == kind).count() < FAULTS_KEPT_MAX {
            self.faults.push(Fault { run: self.run, kind, detail });
        }
    }
}
