//! What was promised, and whether it is kept.
//!
//! After an opening each durable queue is emptied by one consumer and compared:
//! - a message confirmed as committed and not acked comes out, once, with its body;
//! - one whose ack was confirmed as synced does not; one that was acked may;
//! - of the unconfirmed, those up to the last one found are all found, and in all their queues;
//! - nothing else comes: nothing transient, nothing lost before, nothing invented;
//! - in the order of the numbers, which is that of each publisher;
//! - an attempt count that was synced is not lost;
//! - no id was ever given to two messages.

use super::{Counts, DURABLE, ensure, in_time};
use crate::client::{Client, Event, Got};
use courant::{Broker, MessageId, Subscribed, Ticket};
use std::collections::{BTreeMap, BTreeSet};

/// A durable message that may be found.
#[derive(Debug, Clone)]
pub struct Sent {
    pub body: Vec<u8>,
    pub queues: Vec<&'static str>,
    /// Its confirm was told.
    pub is_confirmed: bool,
    /// Of this opening: what its confirm waits for.
    pub ticket: Option<Ticket>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ack {
    Told,
    Synced,
}

#[derive(Debug, Clone, Default)]
pub struct Oracle {
    /// Every id that was ever given, with its body.
    ids: BTreeMap<MessageId, Vec<u8>>,
    pub sent: BTreeMap<MessageId, Sent>,
    pub acks: BTreeMap<(&'static str, MessageId), Ack>,
    /// Attempts that were handed over and noted in the log for certain.
    pub attempts: BTreeMap<(&'static str, MessageId), u16>,
    /// How often each message had been handed over when the round began.
    pub before: BTreeMap<(&'static str, MessageId), u16>,
    /// Queues whose messages were settled by being handed over, perhaps to nobody who looked.
    pub taken_unseen: BTreeSet<&'static str>,
    /// The ledger's hash when it was closed.
    pub closed_hash: Option<u64>,
}

impl Oracle {
    /// Notes an id that was given.
    pub fn note_id(&mut self, id: MessageId, body: &[u8]) -> Result<(), String> {
        let before = self.ids.insert(id, body.to_vec());
        let is_new = before.is_none();
        ensure!(is_new, "the id {id:?} was given to two messages");
        Ok(())
    }

    /// Everything up to a ticket was confirmed.
    pub fn confirmed(&mut self, up_to: Ticket) {
        for sent in self.sent.values_mut() {
            if sent.ticket.is_some_and(|ticket| ticket <= up_to) {
                sent.is_confirmed = true;
            }
        }
    }

    /// The log was closed in order.
    pub fn all_confirmed(&mut self) {
        self.sent.values_mut().for_each(|sent| sent.is_confirmed = true);
        self.acks_synced();
    }

    /// What must be found where this was promised, and no more than `later` had been asked for.
    pub fn at_most(&self, later: &Oracle) -> Oracle {
        let mut merged = later.clone();
        merged.closed_hash = None;
        merged.attempts.clone_from(&self.attempts);
        merged.taken_unseen.extend(&self.taken_unseen);
        for (id, sent) in &mut merged.sent {
            sent.is_confirmed = self.sent.get(id).is_some_and(|sent| sent.is_confirmed);
        }
        for (key, ack) in &mut merged.acks {
            *ack = self.acks.get(key).copied().unwrap_or(Ack::Told);
        }
        merged
    }

    /// All acks so far are on disk.
    pub fn acks_synced(&mut self) {
        self.acks.values_mut().for_each(|ack| *ack = Ack::Synced);
    }

    /// Looks at one delivery; gives the message if it was durable.
    pub fn judge(&self, queue: &'static str, got: &Got) -> Result<(), String> {
        let body = self.ids.get(&got.id);
        ensure!(body.is_some(), "{queue}: {:?} was never given", got.id);
        ensure!(body == Some(&got.payload), "{queue}: {:?} has another body", got.id);
        let ack = self.acks.get(&(queue, got.id));
        ensure!(ack != Some(&Ack::Synced), "{queue}: {:?} came after its ack was synced", got.id);
        if let Some(sent) = self.sent.get(&got.id) {
            ensure!(sent.queues.contains(&queue), "{queue}: {:?} is not for it", got.id);
        }
        Ok(())
    }

    /// Empties every queue and compares; from then on what was found counts as confirmed.
    pub async fn compare(&mut self, broker: &Broker, counts: &mut Counts) -> Result<(), String> {
        let mut found: BTreeSet<(&'static str, MessageId)> = BTreeSet::new();
        let mut handed = BTreeMap::new();
        let mut client = Client::new(broker);
        for (tag, queue) in (0..).zip(DURABLE) {
            let Ok(there) = client.session.inspect(queue) else {
                let is_empty = !self.sent.values().any(|sent| sent.is_confirmed);
                ensure!(is_empty, "the queue {queue} is gone");
                continue;
            };
            ensure!(there.leased == 0, "{queue}: {} are leased", there.leased);
            let count = usize::try_from(there.ready).unwrap_or(0);
            client.subscribe(Subscribed::Queue(queue), tag, 60_000).await;
            let mut last = None;
            for got in take(&client, queue, count).await? {
                self.judge(queue, &got)?;
                let is_sent = self.sent.contains_key(&got.id);
                ensure!(is_sent, "{queue}: {:?} is not durable, or was lost before", got.id);
                ensure!(last < Some(got.id), "{queue}: {:?} comes after {last:?}", got.id);
                let least = self.attempts.get(&(queue, got.id)).map_or(1, |count| count + 1);
                let attempt = got.attempt;
                ensure!(attempt >= least, "{queue}: {:?} is at {attempt}, not {least}", got.id);
                last = Some(got.id);
                found.insert((queue, got.id));
                handed.insert((queue, got.id), got.attempt);
            }
            counts.delivered += there.ready;
        }
        self.settle_accounts(&found, counts)?;
        // What was handed over goes back with the session, and that is made certain.
        drop(client);
        let mut other = Client::new(broker);
        if other.sync_settles().await.is_ok() {
            self.attempts.clone_from(&handed);
        }
        self.before = handed;
        Ok(())
    }

    /// Compares what was found with what was promised, and forgets what is lost.
    fn settle_accounts(
        &mut self,
        found: &BTreeSet<(&'static str, MessageId)>,
        counts: &mut Counts,
    ) -> Result<(), String> {
        for (id, sent) in &self.sent {
            for queue in sent.queues.iter().filter(|queue| self.taken_unseen.contains(*queue)) {
                if !found.contains(&(*queue, *id)) {
                    self.acks.insert((*queue, *id), Ack::Told);
                }
            }
        }
        self.taken_unseen.clear();
        let last_found = found.iter().map(|(_, id)| *id).max();
        let mut lost = Vec::new();
        for (id, sent) in &mut self.sent {
            let missing = |queue: &&&'static str| !found.contains(&(**queue, *id));
            let is_owed = |queue: &&&'static str| !self.acks.contains_key(&(**queue, *id));
            let owed: Vec<_> = sent.queues.iter().filter(is_owed).collect();
            let gone: Vec<_> = owed.iter().copied().filter(missing).collect();
            let (all, none) = (gone.is_empty(), gone.len() == owed.len());
            ensure!(all || none, "{id:?} was found in some of its queues, not in {gone:?}");
            ensure!(all || !sent.is_confirmed, "confirmed and not found: {id:?} in {gone:?}");
            let is_behind = last_found < Some(*id);
            ensure!(all || is_behind, "not found: {id:?}, though {last_found:?} was");
            if all {
                sent.is_confirmed = true;
                sent.ticket = None;
            } else {
                lost.push(*id);
            }
        }
        counts.came_again +=
            self.acks.iter().filter(|((queue, id), _)| found.contains(&(*queue, *id))).count()
                as u64;
        counts.lost += lost.len() as u64;
        for id in lost {
            self.sent.remove(&id);
        }
        // An ack that was lost is forgotten; one that held is settled for good.
        self.acks.retain(|(queue, id), _| !found.contains(&(*queue, *id)));
        self.acks_synced();
        Ok(())
    }
}

/// Takes that many deliveries, and nothing else.
async fn take(client: &Client, queue: &str, count: usize) -> Result<Vec<Got>, String> {
    let mut all = Vec::new();
    while all.len() < count {
        let what = format!("{} of {count} of {queue}", all.len());
        for event in in_time(&what, client.line.wait(1)).await? {
            let Event::Got(got) = event else { return Err(format!("{queue}: {event:?}")) };
            all.push(got);
        }
    }
    ensure!(all.len() == count, "{queue}: {} came of {count}", all.len());
    Ok(all)
}
