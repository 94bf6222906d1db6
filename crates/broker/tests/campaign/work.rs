//! A round of work: three sessions publish, consume, settle, end and begin, as the dice say.

use super::oracle::{Ack, Sent};
use super::{DURABLE, Run, TRANSIENT, ensure, in_time};
use crate::client::{Client, Event, Got, below};
use courant::{
    Broker, Destination, Level, MessageId, Refusal, Settling, SubscribeOptions, Subscribed, Tag,
    Verdict,
};
use std::collections::{BTreeMap, BTreeSet};

const SESSIONS: usize = 3;
const STEPS: usize = 40;
/// The queue whose messages are sometimes settled by being handed over.
const AUTO: Tag = 1;

/// A queue as a tag.
fn queue_of(tag: Tag) -> &'static str {
    match tag {
        0..4 => DURABLE[tag as usize],
        _ => TRANSIENT,
    }
}

/// One session of a round.
struct Worker {
    name: String,
    client: Client,
    held: BTreeSet<Tag>,
    open: Vec<Got>,
    /// The last number of each publisher that came for the first time, by subscription.
    last: BTreeMap<(Tag, Vec<u8>), u64>,
    published: u64,
}

impl Worker {
    fn new(broker: &Broker, name: String) -> Self {
        let (held, open, last) = (BTreeSet::new(), Vec::new(), BTreeMap::new());
        Self { name, client: Client::new(broker), held, open, last, published: 0 }
    }
}

/// Bodies are `publisher number padding`.
fn parts(body: &[u8]) -> Option<(&[u8], u64)> {
    let mut words = body.split(|byte| *byte == b' ');
    let name = words.next()?;
    let number = std::str::from_utf8(words.next()?).ok()?.parse().ok()?;
    Some((name, number))
}

impl Run {
    /// Works until the log fails or the steps are done.
    pub(super) async fn work(&mut self, broker: &Broker, round: u64) -> Result<(), String> {
        let mut workers: Vec<_> =
            (0..SESSIONS).map(|at| Worker::new(broker, format!("r{round}w{at}"))).collect();
        for step in 0..STEPS {
            let at = below(&mut self.dice, SESSIONS);
            let Some(worker) = workers.get_mut(at) else { continue };
            let done = match self.dice.below(100) {
                0..45 => self.publish(worker).await?,
                45..60 => self.subscribe(worker).await,
                60..85 => {
                    self.settle(worker);
                    Ok(())
                }
                85..90 => self.sync_acks(worker).await?,
                90..94 => in_time("a pause", self.pause(worker)).await?,
                94..96 => {
                    // A snapshot, and space given back; where the log failed, it says so elsewhere.
                    tokio::task::block_in_place(|| courant::testing::keep_up(broker));
                    self.counts.snapshots += 1;
                    Ok(())
                }
                _ => {
                    let fresh = Worker::new(broker, format!("r{round}w{at}s{step}"));
                    drop(std::mem::replace(worker, fresh));
                    Ok(())
                }
            };
            for worker in &mut workers {
                self.collect(worker)?;
            }
            if self.notes.is_some() {
                for worker in &workers {
                    self.oracle.confirmed(worker.client.line.committed());
                }
                self.note();
            }
            if done.is_err() {
                break;
            }
        }
        // What was told until now is promised.
        for worker in &workers {
            self.oracle.confirmed(worker.client.line.committed());
        }
        self.counts.confirmed += self
            .oracle
            .sent
            .values()
            .filter(|sent| sent.ticket.is_some() && sent.is_confirmed)
            .count() as u64;
        Ok(())
    }

    async fn publish(&mut self, worker: &mut Worker) -> Result<Result<(), Refusal>, String> {
        let to = [
            Destination::Queue("q0"),
            Destination::Queue("q1"),
            Destination::Topic("t"),
            Destination::Queue(TRANSIENT),
        ];
        let targets: [&[&'static str]; 4] = [&["q0"], &["q1"], &["t/s0", "t/s1"], &[]];
        let which = below(&mut self.dice, 4);
        let batch: Vec<_> = (0..=below(&mut self.dice, 4)).map(|_| self.body(worker)).collect();
        let messages: Vec<_> = batch
            .iter()
            .map(|(body, is_durable)| (&body[..], Level::Committed, *is_durable))
            .collect();
        let id = worker.client.session.destination(to[which]);
        let outcomes = in_time("room", worker.client.publish(id, &messages)).await?;
        let mut last = None;
        for ((body, is_durable), outcome) in batch.into_iter().zip(outcomes) {
            let published = match outcome {
                Ok(published) => published,
                Err(refusal @ (Refusal::LogPoisoned | Refusal::Closing)) => {
                    return Ok(Err(refusal));
                }
                Err(refusal) => return Err(format!("a publish was refused: {refusal}")),
            };
            let id = published.id.ok_or("a message without an id")?;
            self.oracle.note_id(id, &body)?;
            self.counts.published += 1;
            let queues = targets[which].to_vec();
            let is_logged = is_durable && !queues.is_empty();
            ensure!(published.after.is_some() == is_logged, "{published:?} for {queues:?}");
            ensure!(published.queues as usize == queues.len().max(1), "{published:?}");
            if is_logged {
                let (is_confirmed, ticket) = (false, published.after);
                self.oracle.sent.insert(id, Sent { body, queues, is_confirmed, ticket });
                last = ticket;
            }
        }
        match last {
            Some(ticket) if self.dice.chance(40) => {
                let committed = worker.client.session.committed(ticket);
                let committed = in_time("a confirm", committed).await?;
                if committed.is_ok() {
                    self.oracle.confirmed(ticket);
                }
                Ok(committed.map(|_| ()))
            }
            _ => Ok(Ok(())),
        }
    }

    fn body(&mut self, worker: &mut Worker) -> (Vec<u8>, bool) {
        worker.published += 1;
        let mut body = format!("{} {} ", worker.name, worker.published).into_bytes();
        let padding = if self.dice.chance(4) { 6_000 } else { 300 };
        body.resize(body.len() + below(&mut self.dice, padding), b'.');
        (body, self.dice.chance(75))
    }

    async fn subscribe(&mut self, worker: &mut Worker) -> Result<(), Refusal> {
        let tag = u32::try_from(below(&mut self.dice, 5)).unwrap_or(0);
        if worker.held.remove(&tag) {
            worker.client.session.unsubscribe(tag)?;
            worker.last.retain(|(other, _), _| *other != tag);
            return Ok(());
        }
        let mut settling = Settling::Manual;
        if tag == AUTO && self.dice.chance(30) {
            settling = Settling::Auto;
            self.oracle.taken_unseen.insert(queue_of(tag));
        }
        let credit = [1, 5, 100][below(&mut self.dice, 3)];
        let options = SubscribeOptions { credit, settling, ..SubscribeOptions::default() };
        let to = Subscribed::Queue(queue_of(tag));
        worker.client.session.subscribe(to, tag, options).await?;
        worker.client.session.begin_deliveries();
        worker.held.insert(tag);
        Ok(())
    }

    /// Acks, rejects or returns something that is open.
    fn settle(&mut self, worker: &mut Worker) {
        for _ in 0..=below(&mut self.dice, 4) {
            if worker.open.is_empty() {
                break;
            }
            let got = worker.open.swap_remove(below(&mut self.dice, worker.open.len()));
            let verdict = match self.dice.below(10) {
                0..6 => Verdict::Ack,
                6 => Verdict::Reject,
                _ => Verdict::Nack,
            };
            if worker.client.settle(got.handle, verdict).is_ok() && verdict != Verdict::Nack {
                self.note_ack(queue_of(got.tag), got.id);
            }
        }
    }

    fn note_ack(&mut self, queue: &'static str, id: MessageId) {
        if self.oracle.sent.contains_key(&id) {
            self.counts.acked += 1;
            self.oracle.acks.insert((queue, id), Ack::Told);
        }
    }

    async fn sync_acks(&mut self, worker: &mut Worker) -> Result<Result<(), Refusal>, String> {
        let ticket = match worker.client.session.settles_synced() {
            Ok(ticket) => ticket,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let synced = in_time("synced acks", worker.client.session.committed(ticket)).await?;
        if synced.is_ok() {
            self.oracle.confirmed(ticket);
            self.oracle.acks_synced();
            self.counts.synced_acks += 1;
        }
        Ok(synced.map(|_| ()))
    }

    /// Lets the log do what is not urgent.
    async fn pause(&mut self, worker: &mut Worker) -> Result<(), Refusal> {
        let committed = worker.client.line.committed();
        self.oracle.confirmed(committed);
        tokio::time::sleep(std::time::Duration::from_millis(self.dice.below(8))).await;
        Ok(())
    }

    /// Looks at all that came.
    fn collect(&mut self, worker: &mut Worker) -> Result<(), String> {
        for event in worker.client.line.events() {
            let got = match event {
                Event::Got(got) => got,
                Event::Refused(Refusal::LogPoisoned) => continue,
                other => return Err(format!("{}: {other:?}", worker.name)),
            };
            self.counts.delivered += 1;
            let queue = queue_of(got.tag);
            self.oracle.judge(queue, &got)?;
            ensure!(
                !self.oracle.acks.contains_key(&(queue, got.id)),
                "{queue}: {:?} came again after its ack",
                got.id
            );
            let Some((publisher, number)) = parts(&got.payload) else {
                return Err(format!("{queue}: {:?} is not ours", got.id));
            };
            let before = self.oracle.before.get(&(queue, got.id)).copied().unwrap_or(0);
            // What came back comes out of turn.
            if got.attempt == before + 1 {
                let last = worker.last.entry((got.tag, publisher.to_vec())).or_default();
                ensure!(*last < number, "{queue}: {number} came after {last} of one publisher");
                *last = number;
            }
            if got.handle.lease == courant::Lease::NONE {
                self.note_ack(queue, got.id);
            } else {
                worker.open.push(got);
            }
        }
        Ok(())
    }
}
