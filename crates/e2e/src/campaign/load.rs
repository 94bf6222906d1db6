//! Publishers and consumers of one run of the broker, each on a connection and a thread of its own.
//!
//! The oracle is told of a message or a settle before its bytes are sent, and of an answer after it
//! was read. A connection that ends before [`Load::expect_end`] is a fault; one that ends after it
//! has read everything that the broker got out.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex, MutexGuard, PoisonError};
use std::thread::Scope;
use std::time::Duration;

use courant_wire::Handle;

use super::topology::{Consumer, Settling, Topology, subscribe_line};
use crate::client::{ANSWER_WITHIN, Client, ClientError, Incoming, Message, field};
use crate::oracle::{Oracle, Outlet, Seen};
use crate::random::Random;
use crate::stamp::{self, HEADER, Origin, Stamped};
use crate::watch::wait_until;

/// How often one who may have to leave looks up.
const LOOKS_UP_AFTER: Duration = Duration::from_millis(5);

/// Messages of one publisher in one run, and how many without a breath between them.
const MESSAGES: u64 = 8000;
const MESSAGES_AT_ONCE: u64 = 2000;
const BREATH: Duration = Duration::from_millis(400);

/// Deliveries settled by one `upto`.
const RANGE: usize = 12;

/// Lanes are numbered through the whole process, so that no two connections share one.
static LANES: AtomicU64 = AtomicU64::new(1);

/// A lane that nobody else has.
pub(super) fn new_lane() -> u64 {
    LANES.fetch_add(1, Ordering::Relaxed)
}

/// The load on one run.
#[derive(Debug)]
pub struct Load<'a> {
    topology: &'a Topology,
    oracle: &'a Mutex<Oracle>,
    address: SocketAddr,
    seed: u64,
    started: Barrier,
    end_expected: AtomicBool,
    /// Whether those who share a queue are to leave it, and how many have.
    leaving: AtomicBool,
    left: AtomicUsize,
}

impl<'a> Load<'a> {
    /// Prepares it.
    pub fn new(
        topology: &'a Topology,
        oracle: &'a Mutex<Oracle>,
        address: SocketAddr,
        seed: u64,
    ) -> Self {
        let threads = topology.publishers as usize + topology.consumers.len();
        Self {
            topology,
            oracle,
            address,
            seed,
            started: Barrier::new(threads + 1),
            end_expected: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
            left: AtomicUsize::new(0),
        }
    }

    /// Starts all threads; they end with the broker.
    pub fn start<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>) {
        for publisher in 0..self.topology.publishers {
            let random = Random::part(self.seed, u64::from(publisher));
            scope.spawn(move || {
                let client = self.open(|_| Ok(()));
                self.judge(client.and_then(|client| self.publish(client, publisher, random)));
            });
        }
        for (index, consumer) in (1000u64..).zip(&self.topology.consumers) {
            let random = Random::part(self.seed, index);
            scope.spawn(move || {
                let line = subscribe_line(consumer.outlet, consumer.credit);
                let client = self.open(|client| client.line(&line).map(|_| ()));
                let lane = if consumer.alone { 0 } else { new_lane() };
                self.judge(client.and_then(|client| {
                    Consuming {
                        load: self,
                        consumer,
                        lane,
                        random,
                        client,
                        pending: VecDeque::new(),
                    }
                    .run()
                }));
            });
        }
    }

    /// Waits until every client is connected and, if it consumes, subscribed.
    pub fn wait_started(&self) {
        self.started.wait();
    }

    /// Those who share a queue leave it, so that while the broker stops nobody gets what another
    /// one's session gives back; everybody else goes on.
    pub fn leave_shared(&self) {
        self.leaving.store(true, Ordering::SeqCst);
        let shared = self.topology.consumers.iter().filter(|consumer| !consumer.alone).count();
        let all_left = || self.left.load(Ordering::SeqCst) >= shared;
        if wait_until(ANSWER_WITHIN, all_left).is_none() {
            self.oracle().refused("a subscription does not end".to_owned());
        }
    }

    /// From now on connections may end.
    pub fn expect_end(&self) {
        self.end_expected.store(true, Ordering::SeqCst);
    }

    /// Connects, readies, and waits for the others, whatever comes of it.
    fn open(
        &self,
        ready: impl FnOnce(&mut Client) -> Result<(), ClientError>,
    ) -> Result<Client, ClientError> {
        let opened = Client::connect(self.address).and_then(|mut client| {
            ready(&mut client)?;
            Ok(client)
        });
        self.started.wait();
        opened
    }

    fn judge(&self, result: Result<(), ClientError>) {
        if let Err(error) = result
            && !self.end_expected.load(Ordering::SeqCst)
        {
            self.oracle().refused(error.to_string());
        }
    }

    fn oracle(&self) -> MutexGuard<'a, Oracle> {
        self.oracle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps up to a window of messages in flight; now and then only a few in the whole run, so
    /// that the broker is idle when it is killed.
    fn publish(
        &self,
        mut client: Client,
        publisher: u32,
        mut random: Random,
    ) -> Result<(), ClientError> {
        let window = random.between(1, 256);
        let mut left = if random.one_in(6) { random.between(1, 50) } else { MESSAGES };
        let mut breath = MESSAGES_AT_ONCE;
        let mut in_flight: VecDeque<Origin> = VecDeque::new();
        let mut bytes = Vec::new();
        while left > 0 || !in_flight.is_empty() {
            let room = window - (in_flight.len() as u64).min(window);
            let burst = random.between(1, 16).min(room).min(left);
            left -= burst;
            breath = breath.saturating_sub(burst);
            if breath == 0 {
                breath = MESSAGES_AT_ONCE;
                std::thread::sleep(BREATH);
            }
            bytes.clear();
            for _ in 0..burst {
                in_flight.push_back(self.prepare(publisher, &mut random, &mut bytes));
            }
            if !bytes.is_empty() {
                client.send(&bytes)?;
            }
            let level = if left == 0 { 0 } else { window / 2 };
            while in_flight.len() as u64 > level {
                self.confirm(&mut client, &mut in_flight)?;
            }
        }
        Err(wait_for_end(&mut client))
    }

    /// Appends one PUB.
    fn prepare(&self, publisher: u32, random: &mut Random, bytes: &mut Vec<u8>) -> Origin {
        let route = Topology::route(random);
        let mut oracle = self.oracle();
        let origin = Origin { publisher, sequence: oracle.next_sequence(publisher) };
        let stamped = stamp::make(origin, random);
        oracle.sending(route, stamped.stamp);
        append_publish(bytes, Topology::ROUTES[route], &stamped);
        origin
    }

    fn confirm(
        &self,
        client: &mut Client,
        in_flight: &mut VecDeque<Origin>,
    ) -> Result<(), ClientError> {
        let fields = match client.incoming(ANSWER_WITHIN)? {
            Incoming::Ok(fields) => fields,
            other => return Err(ClientError::Unexpected("a confirm", format!("{other:?}"))),
        };
        let Some(origin) = in_flight.pop_front() else {
            return Err(ClientError::Unexpected("nothing", format!("OK {fields:?}")));
        };
        confirm(&mut self.oracle(), origin, &fields)
    }
}

/// Appends the PUB of a message, its stamp in the header if it is not in the body.
pub(super) fn append_publish(bytes: &mut Vec<u8>, destination: &str, message: &Stamped) {
    let header =
        message.header.as_ref().map_or_else(String::new, |value| format!(" h:{HEADER}={value}"));
    let size = message.body.len();
    bytes.extend_from_slice(format!("PUB {destination}{header} {size}\n").as_bytes());
    bytes.extend_from_slice(&message.body);
    bytes.push(b'\n');
}

/// Takes down a confirm; a durable message has to be committed.
pub(super) fn confirm(
    oracle: &mut Oracle,
    origin: Origin,
    fields: &[(String, String)],
) -> Result<(), ClientError> {
    if let Some(level) = field(fields, "level")
        && level != "committed"
    {
        return Err(ClientError::Unexpected("level:committed", format!("level:{level}")));
    }
    let queues = field(fields, "queues").and_then(|count| count.parse().ok()).unwrap_or(1);
    let id =
        field(fields, "msg_id").and_then(|id| courant_wire::MessageId::parse(id.as_bytes()).ok());
    oracle.confirmed(origin, id, queues);
    Ok(())
}

/// Takes down a delivery. `None` if it is none of ours, which is a fault already.
pub(super) fn deliver(
    oracle: &mut Oracle,
    outlet: Outlet,
    lane: u64,
    message: &Message,
) -> Option<(Origin, Handle)> {
    let Some(handle) = message.handle else {
        oracle.refused(format!("outlet {outlet}: a MSG without msg_id"));
        return None;
    };
    let marked = message.attempt > 1 || message.redelivered.is_some();
    let seen = Seen { outlet, lane, handle, attempt: message.attempt, marked };
    let stamp = stamp::read(&message.body, &message.headers);
    oracle.delivered(&seen, stamp).map(|origin| (origin, handle))
}

/// The error that ends an idle connection.
fn wait_for_end(client: &mut Client) -> ClientError {
    match client.incoming(ANSWER_WITHIN) {
        Ok(incoming) => ClientError::Unexpected("nothing", format!("{incoming:?}")),
        Err(error) => error,
    }
}

/// A command that has been sent and not yet answered.
#[derive(Debug)]
enum Pending {
    Ack { origins: Vec<Origin>, synced: bool },
    Nack,
    Leave,
}

struct Consuming<'l, 'a> {
    load: &'l Load<'a>,
    consumer: &'l Consumer,
    lane: u64,
    random: Random,
    client: Client,
    pending: VecDeque<Pending>,
}

impl Consuming<'_, '_> {
    /// Takes what comes in batches: everything that one read brought is settled by one write.
    fn run(mut self) -> Result<(), ClientError> {
        let mut range: Vec<(Origin, Handle)> = Vec::new();
        let mut output = Vec::new();
        let mut is_leaving = false;
        loop {
            output.clear();
            if !self.consumer.alone && !is_leaving && self.load.leaving.load(Ordering::SeqCst) {
                is_leaving = true;
                self.pending.push_back(Pending::Leave);
                let line = format!("UNSUB sub_id:s{}\n", self.consumer.outlet);
                output.extend_from_slice(line.as_bytes());
            }
            let mut next = self.wait()?;
            while let Some(incoming) = next {
                match incoming {
                    Incoming::Msg(message) => self.take(&message, &mut range, &mut output),
                    Incoming::Ok(_) => self.answered()?,
                    other => {
                        return Err(ClientError::Unexpected("MSG or OK", format!("{other:?}")));
                    }
                }
                next = self.client.buffered()?;
            }
            self.settle_range(&mut range, &mut output);
            if !output.is_empty() {
                self.client.send(&output)?;
            }
        }
    }

    /// What comes next; those who may have to leave look up now and then.
    fn wait(&mut self) -> Result<Option<Incoming>, ClientError> {
        let wait = if self.consumer.alone { ANSWER_WITHIN } else { LOOKS_UP_AFTER };
        match self.client.incoming(wait) {
            Ok(incoming) => Ok(Some(incoming)),
            Err(ClientError::Late(..)) if !self.consumer.alone => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn take(&mut self, message: &Message, range: &mut Vec<(Origin, Handle)>, output: &mut Vec<u8>) {
        let outlet = self.consumer.outlet;
        let mut oracle = self.load.oracle();
        let Some((origin, handle)) = deliver(&mut oracle, outlet, self.lane, message) else {
            return;
        };
        let may_return = matches!(self.consumer.settling, Settling::Synced | Settling::NackFirst);
        if may_return && message.attempt == 1 && self.random.one_in(8) {
            oracle.nacking(outlet, origin);
            self.pending.push_back(Pending::Nack);
            output.extend_from_slice(format!("NACK msg_id:{handle}\n").as_bytes());
            return;
        }
        if self.consumer.settling == Settling::Ranges {
            range.push((origin, handle));
            drop(oracle);
            if range.len() >= RANGE {
                self.settle_range(range, output);
            }
            return;
        }
        oracle.acking(outlet, origin);
        let synced = self.consumer.settling == Settling::Synced;
        let option = if synced { " confirm:synced" } else { "" };
        self.pending.push_back(Pending::Ack { origins: vec![origin], synced });
        output.extend_from_slice(format!("ACK msg_id:{handle}{option}\n").as_bytes());
    }

    fn settle_range(&mut self, range: &mut Vec<(Origin, Handle)>, output: &mut Vec<u8>) {
        let Some((_, last)) = range.last().copied() else { return };
        let mut oracle = self.load.oracle();
        let origins: Vec<Origin> = range.drain(..).map(|(origin, _)| origin).collect();
        for origin in &origins {
            oracle.acking(self.consumer.outlet, *origin);
        }
        self.pending.push_back(Pending::Ack { origins, synced: true });
        output.extend_from_slice(format!("ACK upto:{last} confirm:synced\n").as_bytes());
    }

    /// An OK answers the oldest command.
    fn answered(&mut self) -> Result<(), ClientError> {
        match self.pending.pop_front() {
            Some(Pending::Ack { origins, synced }) => {
                let mut oracle = self.load.oracle();
                for origin in origins {
                    oracle.acked(self.consumer.outlet, origin, synced);
                }
            }
            Some(Pending::Nack) => {}
            Some(Pending::Leave) => {
                self.load.left.fetch_add(1, Ordering::SeqCst);
            }
            None => return Err(ClientError::Unexpected("nothing", "an OK too many".to_owned())),
        }
        Ok(())
    }
}
