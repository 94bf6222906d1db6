//! A client of the broker that sees everything its session is sent, and reads only while its gate
//! is open: what a door is, without a protocol and a socket.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests panic and tell their seed")]

use courant::{
    Alarm, Broker, Cause, Confirm, DestinationId, Flush, Handle, Level, LiveFormat, LiveMessage,
    Message, MessageId, Outgoing, Outlet, Principal, Properties, Published, Refusal, Selector,
    Session, SubscribeOptions, Subscribed, Tag, Ticket, Verdict,
};
use courant_storage::sim::Dice;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::Notify;

/// Whoever waits longer waits for ever.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// One delivery as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Got {
    pub tag: Tag,
    pub id: MessageId,
    pub handle: Handle,
    pub attempt: u16,
    pub payload: Vec<u8>,
}

impl Got {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.payload).unwrap()
    }
}

/// Whatever a session is sent, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Got(Got),
    Cancelled(Tag, Cause),
    Refused(Refusal),
    Blocked(Alarm),
    Unblocked,
    Bytes(Vec<u8>),
}

#[derive(Debug, Default)]
struct Wire {
    /// Given to the outlet, not taken by the client.
    held: Vec<Event>,
    held_bytes: usize,
    held_bytes_most: usize,
    /// Taken by the client.
    taken: Vec<Event>,
    committed: Ticket,
    is_shut: bool,
    is_gone: bool,
}

/// The client's end of the line.
#[derive(Debug, Default)]
pub struct Line {
    wire: Mutex<Wire>,
    news: Notify,
    opened: Arc<Notify>,
}

impl Line {
    fn wire(&self) -> MutexGuard<'_, Wire> {
        self.wire.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The client reads no more.
    pub fn shut(&self) {
        self.wire().is_shut = true;
    }

    /// The client reads again.
    pub fn open(&self) {
        self.wire().is_shut = false;
        self.opened.notify_one();
    }

    /// The client hangs up.
    pub fn hang_up(&self) {
        self.wire().is_gone = true;
        self.opened.notify_one();
    }

    /// Bytes that were given and not taken, now and at their most.
    pub fn held_bytes(&self) -> (usize, usize) {
        let wire = self.wire();
        (wire.held_bytes, wire.held_bytes_most)
    }

    /// The highest ticket that the session was told.
    pub fn committed(&self) -> Ticket {
        self.wire().committed
    }

    /// Everything that came since the last call.
    pub fn events(&self) -> Vec<Event> {
        std::mem::take(&mut self.wire().taken)
    }

    /// Waits for that many events, and takes all that there are.
    pub async fn wait(&self, count: usize) -> Vec<Event> {
        let mut events = Vec::new();
        let all = async {
            loop {
                let news = self.news.notified();
                events.append(&mut self.events());
                if events.len() >= count {
                    return;
                }
                news.await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, all).await.is_ok();
        assert!(in_time, "{} of {count} events came: {:?}", events.len(), events.last());
        events
    }
}

struct Tap(Arc<Line>);

impl Tap {
    fn push(&self, event: Event, bytes: usize) {
        let mut wire = self.0.wire();
        wire.held.push(event);
        wire.held_bytes += bytes;
        wire.held_bytes_most = wire.held_bytes_most.max(wire.held_bytes);
    }
}

impl Outlet for Tap {
    fn deliver(&mut self, tag: Tag, message: &Message<'_>) {
        let handle = Handle { seq: message.id.seq, lease: message.lease };
        let payload = message.payload.to_vec();
        let bytes = payload.len();
        let (id, attempt) = (message.id, message.attempt);
        self.push(Event::Got(Got { tag, id, handle, attempt, payload }), bytes);
    }

    fn cancelled(&mut self, tag: Tag, cause: Cause) {
        self.push(Event::Cancelled(tag, cause), 0);
    }

    fn blocked(&mut self, alarm: Alarm) {
        self.push(Event::Blocked(alarm), 0);
    }

    fn unblocked(&mut self) {
        self.push(Event::Unblocked, 0);
    }

    fn refused(&mut self, refusal: Refusal) {
        self.push(Event::Refused(refusal), 0);
    }

    fn bytes(&mut self, bytes: &mut Vec<u8>) {
        self.push(Event::Bytes(bytes.clone()), bytes.len());
    }

    fn committed(&mut self, up_to: Ticket) {
        let mut wire = self.0.wire();
        wire.committed = wire.committed.max(up_to);
    }

    fn held_bytes(&self) -> usize {
        self.0.wire().held_bytes
    }

    fn flush(&mut self) -> Flush {
        let mut wire = self.0.wire();
        if wire.is_gone {
            return Flush::Gone;
        }
        if wire.is_shut {
            return if wire.held.is_empty() { Flush::Done } else { Flush::Blocked };
        }
        let mut held = std::mem::take(&mut wire.held);
        wire.taken.append(&mut held);
        wire.held_bytes = 0;
        drop(wire);
        self.0.news.notify_waiters();
        Flush::Done
    }

    fn writable(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let opened = Arc::clone(&self.0.opened);
        Box::pin(async move { opened.notified().await })
    }
}

/// Live frames: the payload and a line end.
pub struct Lines;

impl LiveFormat for Lines {
    fn door(&self) -> u8 {
        77
    }

    fn prefix(&self) -> &[u8] {
        b""
    }

    fn encode(&self, out: &mut Vec<u8>, message: &LiveMessage<'_>) {
        out.extend_from_slice(message.payload);
        out.push(b'\n');
    }
}

/// A session and its line.
pub struct Client {
    pub session: Session,
    pub line: Arc<Line>,
}

impl Client {
    pub fn new(broker: &Broker) -> Self {
        Self::of(broker, "/", &Arc::new(Principal::unrestricted("test"))).unwrap()
    }

    /// A client of somebody.
    pub fn of(
        broker: &Broker,
        namespace: &str,
        principal: &Arc<Principal>,
    ) -> Result<Self, Refusal> {
        let line = Arc::new(Line::default());
        let session = broker.attach(namespace, principal, Box::new(Tap(Arc::clone(&line))))?;
        Ok(Self { session, line })
    }

    /// Subscribes and lets deliveries begin.
    pub async fn subscribe(&mut self, to: Subscribed<'_>, tag: Tag, credit: u32) {
        let options = SubscribeOptions { credit, ..SubscribeOptions::default() };
        self.subscribe_with(to, tag, options).await;
    }

    pub async fn subscribe_with(
        &mut self,
        to: Subscribed<'_>,
        tag: Tag,
        options: SubscribeOptions,
    ) {
        self.session.subscribe(to, tag, options).await.unwrap();
        self.session.begin_deliveries();
    }

    /// Publishes one batch to one destination, as soon as there is room.
    pub async fn publish(
        &mut self,
        to: DestinationId,
        batch: &[(&[u8], Level, bool)],
    ) -> Vec<Result<Published, Refusal>> {
        let properties = Properties::default();
        let messages: Vec<_> = batch
            .iter()
            .map(|&(payload, level, is_durable)| {
                let properties = &properties;
                Outgoing { to, properties, payload, level, is_durable }
            })
            .collect();
        while self.session.publish(&messages, true).is_err() {
            self.session.room().await;
        }
        self.session.outcomes().to_vec()
    }

    /// Publishes one durable message and waits until it is committed.
    pub async fn send(&mut self, queue: &str, payload: &[u8]) -> Confirm {
        let to = self.session.destination(courant::Destination::Queue(queue));
        let published = self.publish(to, &[(payload, Level::Committed, true)]).await[0].unwrap();
        if let Some(ticket) = published.after {
            self.committed(ticket).await.unwrap();
        }
        let Published { id, level, queues, .. } = published;
        Confirm { id: id.unwrap(), level, queues }
    }

    /// Waits for a ticket, not for ever.
    pub async fn committed(&self, ticket: Ticket) -> Result<Level, Refusal> {
        let committed = tokio::time::timeout(PATIENCE, self.session.committed(ticket)).await;
        committed.expect("a publisher waits for ever")
    }

    /// Waits for that many deliveries; nothing else may come between.
    pub async fn take(&self, count: usize) -> Vec<Got> {
        let events = self.line.wait(count).await;
        let got: Vec<_> = events
            .into_iter()
            .map(|event| match event {
                Event::Got(got) => got,
                other => panic!("a delivery was expected: {other:?}"),
            })
            .collect();
        assert_eq!(got.len(), count, "more came than expected");
        got
    }

    pub fn settle(&mut self, handle: Handle, verdict: Verdict) -> Result<u32, Refusal> {
        let mut results = Vec::new();
        self.session.settle(&[(Selector::One(handle), verdict)], &mut results);
        results[0]
    }

    pub fn ack(&mut self, got: &Got) {
        assert_eq!(self.settle(got.handle, Verdict::Ack), Ok(1));
    }

    /// Waits until what was settled is on disk.
    pub async fn sync_settles(&mut self) -> Result<Level, Refusal> {
        let ticket = self.session.settles_synced()?;
        self.committed(ticket).await
    }

    pub async fn declare(&mut self, queue: &str) {
        self.session.declare_queue(queue, courant::QueueOptions::default()).await.unwrap();
    }

    pub async fn declare_transient(&mut self, queue: &str) {
        let options = courant::QueueOptions { durable: false, ..Default::default() };
        self.session.declare_queue(queue, options).await.unwrap();
    }
}

/// Keeps making snapshots and giving space back.
pub struct Upkeep {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Upkeep {
    pub fn of(broker: &Broker) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let (broker, stop) = (broker.clone(), Arc::clone(&is_over));
        let thread = std::thread::spawn(move || {
            while !stop.load(Ordering::SeqCst) {
                courant::testing::keep_up(&broker);
            }
        });
        Self { is_over, thread: Some(thread) }
    }
}

impl Drop for Upkeep {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(ended.is_none_or(|ended| ended.is_ok()), "upkeep panicked");
    }
}

/// Payloads of deliveries as text.
pub fn texts(got: &[Got]) -> Vec<&str> {
    got.iter().map(Got::text).collect()
}

/// Waits for something that another thread does; for what no notification exists.
pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..60_000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("never happened: {what}");
}

/// The seed of `COURANT_SEED`, or one of the clock; printed.
pub fn seed() -> u64 {
    let given = std::env::var("COURANT_SEED").ok().and_then(|seed| seed.parse().ok());
    let clock = || {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(1, |since| u64::from(since.subsec_nanos()))
    };
    let seed = given.unwrap_or_else(clock);
    println!("COURANT_SEED={seed}");
    seed
}

/// A small number of the dice.
pub fn below(dice: &mut Dice, bound: usize) -> usize {
    usize::try_from(dice.below(bound as u64)).unwrap()
}
