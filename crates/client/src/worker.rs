//! The task that owns the connection: it reads, writes, and connects again.
//!
//! It waits for the socket, for what is asked of it, and for ticks; never for a user. What is asked
//! of it at one time goes out in one write. In order:
//!
//! 1. Publishes go to the [`Flight`], which gives them back as PUBLISH frames while there is room
//!    for what is to be written and the broker is not short of anything.
//! 2. Settles of one verdict become one SETTLE.
//! 3. When a connection ends, its handles are stale, requests have failed, and what was not
//!    confirmed is unsent again. After the next login subscriptions are made anew first.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use courant_wire::Handle;
use courant_wire::binary::{Get, OpenFrame, Verdict, request};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use crate::client::{Answer, Shared};
use crate::destination::Destination;
use crate::error::{ConnectError, RequestError};
use crate::event::Event;
use crate::flight::Flight;
use crate::limits::{ASKS_MAX, ASKS_TAKEN_MAX, PAUSE_MAX, PAUSE_MIN, SILENT_TICKS_MAX, TICK};
use crate::link::{Link, Lost};
use crate::message::Delivered;
use crate::options::Options;
use crate::publisher::Outgoing;
use crate::requests::{Requests, Waiting};
use crate::subscription::{Inbox, Subscribe};
use crate::subscriptions::Subscriptions;

/// The one to whom an answer goes.
pub(crate) type To<T> = oneshot::Sender<Result<T, RequestError>>;

/// What is asked of the task.
#[derive(Debug)]
pub(crate) enum Ask {
    Publish(Outgoing),
    Settle { verdict: Verdict, handle: Handle, epoch: u64 },
    Subscribe { sub: u32, subscribe: Subscribe, inbox: Arc<Inbox>, answer: To<()> },
    Unsubscribe { sub: u32 },
    Claim { queue: Destination, count: u16, answer: To<Vec<Delivered>> },
    Line { line: String, answer: To<Answer> },
    Close { answer: oneshot::Sender<()> },
}

/// Ends the task when told to.
#[derive(Debug)]
pub(crate) struct Owner(AbortHandle);

impl Owner {
    pub(crate) fn end(&self) {
        self.0.abort();
    }
}

/// Connects, and starts the task.
pub(crate) async fn start(
    options: Options,
    shared: Arc<Shared>,
) -> Result<(mpsc::Sender<Ask>, Owner), ConnectError> {
    let link = Link::open(&options).await?;
    let (sender, asks) = mpsc::channel(ASKS_MAX);
    let worker = Worker {
        options,
        asks,
        shared,
        flight: Flight::default(),
        requests: Requests::default(),
        subscriptions: Subscriptions::default(),
        live_lost: BTreeMap::new(),
        is_blocked: false,
        silent_ticks: 0,
        end: End::Open,
    };
    let task = tokio::spawn(worker.run(link));
    Ok((sender, Owner(task.abort_handle())))
}

/// The task.
#[derive(Debug)]
pub(crate) struct Worker {
    options: Options,
    asks: mpsc::Receiver<Ask>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) flight: Flight,
    pub(crate) requests: Requests,
    pub(crate) subscriptions: Subscriptions,
    /// Messages of live subscriptions that found no room, not told yet.
    pub(crate) live_lost: BTreeMap<u32, u64>,
    pub(crate) is_blocked: bool,
    /// Looks since the broker said something.
    pub(crate) silent_ticks: u32,
    pub(crate) end: End,
}

/// How far the client is on its way to its end.
#[derive(Debug)]
pub(crate) enum End {
    /// Not.
    Open,
    /// Nothing more is asked; what was published is to be confirmed.
    Draining(Option<oneshot::Sender<()>>),
    /// QUIT was sent with this number.
    Quitting(u32, Option<oneshot::Sender<()>>),
    /// The broker has answered it.
    Quit,
}

impl Worker {
    async fn run(mut self, mut link: Link) {
        loop {
            let cause = match self.serve(&mut link).await {
                Ok(()) => return,
                Err(lost) => lost.to_string(),
            };
            if matches!(self.end, End::Quitting(..)) {
                return;
            }
            self.disconnected(cause);
            drop(link);
            let Some(next) = self.connect_again().await else { return };
            link = next;
            self.subscribe_again(&mut link);
            self.tell(Event::Connected);
        }
    }

    pub(crate) fn tell(&self, event: Event) {
        // Nobody has to listen.
        let _ = self.shared.events.send(event);
    }

    fn disconnected(&mut self, cause: String) {
        self.shared.epoch.fetch_add(1, Ordering::AcqRel);
        self.is_blocked = false;
        self.silent_ticks = 0;
        self.flight.take_back();
        self.requests.fail();
        self.subscriptions.clear();
        self.tell(Event::Disconnected { cause });
    }

    /// Tries until there is a connection; `None` when nobody is left who wants one.
    async fn connect_again(&mut self) -> Option<Link> {
        let mut pause = PAUSE_MIN;
        loop {
            tokio::time::sleep(jittered(pause)).await;
            pause = (pause * 2).min(PAUSE_MAX);
            if self.asks.is_closed() && self.asks.is_empty() {
                return None;
            }
            match Link::open(&self.options).await {
                Ok(link) => return Some(link),
                Err(ConnectError::Refused(refusal)) => self.tell(Event::Refused(refusal)),
                Err(_) => {}
            }
        }
    }

    fn subscribe_again(&mut self, link: &mut Link) {
        for sub in self.subscriptions.numbers() {
            let req = self.requests.add(Waiting::Subscribe(sub));
            self.subscriptions.write(sub, req, &mut link.out);
        }
    }

    /// Goes on until the client has ended, or the connection.
    async fn serve(&mut self, link: &mut Link) -> Result<(), Lost> {
        let mut tick = tokio::time::interval(TICK);
        tick.reset();
        let mut batch = Vec::with_capacity(ASKS_TAKEN_MAX);
        // What came with the answer to CONNECT.
        self.take_replies(link)?;
        loop {
            while !self.is_blocked && self.flight.has_unsent() && link.has_room() {
                let req = self.requests.number();
                self.flight.send(req, &mut link.out);
            }
            self.quit_if_done(link);
            if matches!(self.end, End::Quit) {
                return Ok(());
            }
            let wants_asks = matches!(self.end, End::Open) && link.has_room();
            tokio::select! {
                turned = link.turn() => {
                    turned?;
                    self.take_replies(link)?;
                }
                count = self.asks.recv_many(&mut batch, ASKS_TAKEN_MAX), if wants_asks => {
                    if count == 0 {
                        self.end = End::Draining(None);
                    }
                    self.take_asks(&mut batch, link);
                }
                _ = tick.tick() => self.look(link)?,
            }
        }
    }

    fn quit_if_done(&mut self, link: &mut Link) {
        if let End::Draining(answer) = &mut self.end
            && self.flight.is_empty()
        {
            let answer = answer.take();
            let req = self.requests.number();
            request::quit(&mut link.out, req);
            self.end = End::Quitting(req, answer);
        }
    }

    /// Asks a broker that said nothing since the last look, gives up one that does not answer, and
    /// ends subscriptions that nobody reads.
    fn look(&mut self, link: &mut Link) -> Result<(), Lost> {
        self.silent_ticks += 1;
        if self.silent_ticks >= SILENT_TICKS_MAX {
            return Err(Lost::Silent);
        }
        if self.silent_ticks > 1 {
            request::ping(&mut link.out, self.requests.number());
        }
        for sub in self.subscriptions.left() {
            self.unsubscribe(sub, link);
        }
        Ok(())
    }

    fn take_asks(&mut self, batch: &mut Vec<Ask>, link: &mut Link) {
        let epoch = self.shared.epoch.load(Ordering::Acquire);
        let mut settles: Option<(Verdict, OpenFrame)> = None;
        for ask in batch.drain(..) {
            match ask {
                Ask::Publish(outgoing) => self.flight.push(outgoing),
                // The message of another connection comes again.
                Ask::Settle { epoch: of, .. } if of != epoch => {}
                Ask::Settle { verdict, handle, .. } => {
                    settles = Some(settle(settles, verdict, handle, &mut link.out));
                }
                other => {
                    if let Some((_, open)) = settles.take() {
                        open.end(&mut link.out);
                    }
                    self.take_request(other, link);
                }
            }
        }
        if let Some((_, open)) = settles {
            open.end(&mut link.out);
        }
    }

    fn take_request(&mut self, ask: Ask, link: &mut Link) {
        match ask {
            Ask::Subscribe { sub, subscribe, inbox, answer } => {
                self.subscriptions.add(sub, subscribe, inbox, answer);
                let req = self.requests.add(Waiting::Subscribe(sub));
                self.subscriptions.write(sub, req, &mut link.out);
            }
            Ask::Unsubscribe { sub } => self.unsubscribe(sub, link),
            Ask::Claim { queue, count, answer } => {
                let req = self.requests.claim(answer);
                let get = Get { is_auto: false, count, destination: queue.wire() };
                // invariant: names were checked when the destination was made.
                let _ = request::get(&mut link.out, req, &get);
            }
            Ask::Line { line, answer } => {
                let waiting = Waiting::Line { answer, so_far: Answer::default(), bytes: 0 };
                let req = self.requests.add(waiting);
                request::line(&mut link.out, req, line.as_bytes());
            }
            Ask::Close { answer } => self.end = End::Draining(Some(answer)),
            // Both are taken before.
            Ask::Publish(_) | Ask::Settle { .. } => {}
        }
    }

    /// Ends a subscription that nobody reads; what was not read goes back.
    fn unsubscribe(&mut self, sub: u32, link: &mut Link) {
        let Some(unread) = self.subscriptions.remove(sub) else { return };
        request::unsubscribe(&mut link.out, 0, sub);
        give_back(unread, &mut link.out);
    }
}

/// Adds a handle to a SETTLE of its verdict.
fn settle(
    open: Option<(Verdict, OpenFrame)>,
    verdict: Verdict,
    handle: Handle,
    out: &mut Vec<u8>,
) -> (Verdict, OpenFrame) {
    let open = match open {
        Some((of, open)) if of == verdict => open,
        other => {
            if let Some((_, open)) = other {
                open.end(out);
            }
            request::begin_settle(out, 0, verdict, false, false)
        }
    };
    request::handle(out, handle);
    (verdict, open)
}

/// Gives messages back to their old places.
pub(crate) fn give_back(messages: impl IntoIterator<Item = Delivered>, out: &mut Vec<u8>) {
    let mut open: Option<OpenFrame> = None;
    for (count, handle) in messages.into_iter().filter_map(|message| message.handle).enumerate() {
        if count % ASKS_TAKEN_MAX == 0
            && let Some(full) = open.take()
        {
            full.end(out);
        }
        open.get_or_insert_with(|| request::begin_settle(out, 0, Verdict::Nack, false, false));
        request::handle(out, handle);
    }
    if let Some(open) = open {
        open.end(out);
    }
}

/// Between a half and all of it, so that clients do not come back all at once.
fn jittered(pause: Duration) -> Duration {
    let chance = getrandom::u32().unwrap_or(u32::MAX);
    pause / 2 + pause.mul_f64(f64::from(chance) / f64::from(u32::MAX) / 2.0)
}
