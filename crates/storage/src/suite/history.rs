//! What a log was asked and what it told, in order; and from it what must be found after a crash,
//! and what may be.
//!
//! The oracle: at or above the origin of its lane everything that is found is a prefix of what was
//! appended, whole appends, no shorter than what was told as committed; origins are between those
//! told and those asked; below them every committed frame is read as it was, unless it had been
//! given up; nothing else is found.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::batch::Batch;
use crate::error::{Poison, ReadError};
use crate::frame::{LaneId, Seq};
use crate::sim::SimDisk;
use crate::store::{Listener, Store, Ticket};
use crate::suite::{Watch, cases, ensure};
use crate::wal::Wal;

/// Lane, seq and length of the body.
pub(super) type Shown = (u16, u64, usize);

/// Something that changes what must or may be found.
#[derive(Debug, Clone)]
pub(super) enum Event {
    /// Asked for: the frames of one append.
    Appended(Vec<Shown>),
    /// The last append was refused.
    Refused,
    /// So many frames of this opening were told as committed.
    Committed(u64),
    /// The log was closed in order.
    Closed,
    /// It was opened again, and had so many frames, of all that ever were.
    Opened(usize),
    OriginsAsked(Vec<(u16, u64)>),
    OriginsTold(Vec<(u16, u64)>),
    /// Nobody needs these any more.
    GivenUp(Vec<(u16, u64)>),
}

/// What must be found and what may be.
#[derive(Debug, Clone, Default)]
pub(super) struct Expected {
    /// In append order, with the number of the append.
    pub(super) appended: Vec<(Shown, u64)>,
    /// So many of them are promised.
    pub(super) confirmed: usize,
    /// So many of them were there when the log was opened.
    opened: usize,
    appends: u64,
    told: BTreeMap<u16, u64>,
    asked: BTreeMap<u16, u64>,
    pub(super) given_up: BTreeSet<(u16, u64)>,
}

impl Expected {
    pub(super) fn take(&mut self, event: &Event) {
        match event {
            Event::Appended(frames) => {
                self.appends += 1;
                self.appended.extend(frames.iter().map(|&frame| (frame, self.appends)));
            }
            Event::Refused => {
                let last = self.appends;
                self.appended.retain(|&(_, append)| append != last);
            }
            Event::Committed(frames) => self.confirmed = self.opened + *frames as usize,
            Event::Closed => self.confirmed = self.appended.len(),
            Event::Opened(len) => {
                self.appended.truncate(*len);
                (self.opened, self.confirmed) = (*len, *len);
            }
            Event::OriginsAsked(origins) => raise(&mut self.asked, origins),
            Event::OriginsTold(origins) => raise(&mut self.told, origins),
            Event::GivenUp(frames) => self.given_up.extend(frames),
        }
    }

    /// The origin of a lane that was told last.
    pub(super) fn origin(&self, lane: u16) -> u64 {
        self.told.get(&lane).copied().unwrap_or(0)
    }

    /// Frames below the origins that somebody needs.
    pub(super) fn living(&self) -> impl Iterator<Item = Shown> {
        self.appended
            .iter()
            .map(|&(frame, _)| frame)
            .filter(|&(lane, seq, _)| seq < self.origin(lane))
            .filter(|&(lane, seq, _)| !self.given_up.contains(&(lane, seq)))
    }

    /// Compares a log that was just opened with all that is expected of it.
    pub(super) fn judge(&self, wal: &Wal) -> Result<(), String> {
        let reach = self.reach(wal)?;
        let origins = self.origins(wal)?;
        for &((lane, seq, len), _) in self.appended.iter().take(reach) {
            let is_above = seq >= origins.get(&lane).copied().unwrap_or(0);
            let is_needed = is_above || !self.given_up.contains(&(lane, seq));
            let read = wal.read(LaneId(lane), Seq(seq), &mut Vec::new());
            if is_needed || !matches!(read, Err(ReadError::NotFound)) {
                cases::reads(wal, lane, seq, len)?;
            }
        }
        for ((lane, seq, _), _) in self.appended.iter().skip(reach) {
            let read = wal.read(LaneId(*lane), Seq(*seq), &mut Vec::new());
            ensure!(read.is_err(), "{lane}/{seq} is lost and can be read");
        }
        Ok(())
    }

    /// Compares what a scan shows, and gives the number of frames that the log has, those below
    /// the origins counted.
    pub(super) fn reach(&self, wal: &Wal) -> Result<usize, String> {
        let origins = self.origins(wal)?;
        let above = |&(lane, seq, _): &Shown| seq >= origins.get(&lane).copied().unwrap_or(0);
        let found = cases::scanned(wal)?;
        let shown = || self.appended.iter().enumerate().filter(|(_, (frame, _))| above(frame));
        let (len, possible) = (found.len(), shown().count());
        ensure!(len <= possible, "{len} frames are found where there were {possible}");
        let wrong = shown().zip(&found).find(|((_, (appended, _)), found)| appended != *found);
        ensure!(wrong.is_none(), "appended and found differ: {wrong:?}");
        let lost = shown().nth(len);
        let reach = lost.map_or(self.appended.len(), |(at, _)| at);
        let confirmed = self.confirmed;
        ensure!(reach >= confirmed, "{confirmed} frames were confirmed, {reach} are found");
        let last = len.checked_sub(1).and_then(|last| shown().nth(last));
        if let (Some((_, (_, last))), Some((_, (frame, append)))) = (last, lost) {
            ensure!(last != append, "half of append {append} is found, without {frame:?}");
        }
        Ok(reach)
    }

    fn origins(&self, wal: &Wal) -> Result<BTreeMap<u16, u64>, String> {
        let found: BTreeMap<u16, u64> =
            wal.origins().into_iter().map(|(lane, seq)| (lane.0, seq.0)).collect();
        for (lane, most) in &self.asked {
            let (least, found) = (self.origin(*lane), found.get(lane).copied().unwrap_or(0));
            let fits = (least..=*most).contains(&found);
            ensure!(fits, "the origin of lane {lane} is {found}, not in {least}..={most}");
        }
        let asked = found.keys().all(|lane| self.asked.contains_key(lane));
        ensure!(asked, "an origin that nobody asked for: {found:?}");
        Ok(found)
    }
}

fn raise(known: &mut BTreeMap<u16, u64>, origins: &[(u16, u64)]) {
    for &(lane, seq) in origins {
        let origin = known.entry(lane).or_default();
        *origin = seq.max(*origin);
    }
}

/// The events so far. Each is also a note in the record of the disk.
#[derive(Debug)]
pub(super) struct History {
    disk: SimDisk,
    told: Mutex<(Vec<Event>, Expected)>,
}

impl History {
    pub(super) fn new(disk: &SimDisk) -> Arc<History> {
        Arc::new(History { disk: disk.clone(), told: Mutex::default() })
    }

    fn told(&self) -> MutexGuard<'_, (Vec<Event>, Expected)> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, event: Event) {
        let mut told = self.told();
        let (events, expected) = &mut *told;
        expected.take(&event);
        events.push(event);
        self.disk.note(events.len() as u64);
    }

    /// What is expected after all that happened until now.
    pub(super) fn expected(&self) -> Expected {
        self.told().1.clone()
    }

    /// What is expected at every note, from 0 on.
    pub(super) fn at_each_note(&self) -> Vec<Expected> {
        let mut all = vec![Expected::default()];
        for event in &self.told().0 {
            let mut next = all.last().cloned().unwrap_or_default();
            next.take(event);
            all.push(next);
        }
        all
    }
}

/// A listener that puts every commit into a history before anybody else is told.
pub(super) struct Teller {
    pub(super) watch: Arc<Watch>,
    pub(super) history: Arc<History>,
}

impl Listener for Teller {
    fn written(&self, up_to: Ticket) {
        self.watch.written(up_to);
    }

    fn committed(&self, batches: &[Arc<Batch>], up_to: Ticket) {
        self.history.push(Event::Committed(up_to.0));
        Listener::committed(&*self.watch, batches, up_to);
    }

    fn room(&self) {
        self.watch.room();
    }

    fn poisoned(&self, cause: &Poison) {
        self.watch.poisoned(cause);
    }
}
