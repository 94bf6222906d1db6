//! Subscriptions, handing over, settling, deadlines and the end of sessions, each against what
//! the model allows.

use super::op::{Op, Pick, Say, Select};
use super::oracle::{Holder, Open, Subscription};
use super::rig::Rig;
use courant_engine::limits::{CREDIT_MAX, STEP_MESSAGES_MAX};
use courant_engine::{
    Cause, Delivery, Handle, Lease, QueueId, Refusal, Selector, SessionId, Settling,
    SubscribeOptions, SubscriptionId, Verdict,
};

impl Rig {
    pub(crate) fn consume(&mut self, op: &Op) {
        let (Op::Subscribe { session, .. }
        | Op::Unsubscribe { session, .. }
        | Op::SetCredit { session, .. }
        | Op::Credit { session, .. }
        | Op::Stall { session, .. }
        | Op::Settle { session, .. }
        | Op::Claim { session, .. }
        | Op::SessionQueue { session, .. }
        | Op::CloseSessionQueue { session }) = *op
        else {
            unreachable!("not about consuming")
        };
        let Some(session) = self.session(session) else { return };
        match *op {
            Op::Subscribe { queue, credit, bytes, auto, visibility, .. } => {
                self.subscribe(session, queue, (credit, bytes), auto, visibility);
            }
            Op::SetCredit { messages, bytes, .. } => {
                let (messages, bytes) = (messages.map(u32::from), bytes.map(u64::from));
                self.engine.set_credit(session, messages, bytes);
                let who = self.oracle.sessions.get_mut(&session).expect("it is there");
                (who.credit, who.credit_bytes) = (messages, bytes);
            }
            Op::Unsubscribe { which, foreign, .. } => self.unsubscribe(session, which, foreign),
            Op::Credit { which, more, .. } => self.add_credit(session, which, u32::from(more)),
            Op::Stall { is_stalled, .. } => {
                self.engine.set_stalled(session, is_stalled);
                self.oracle.sessions.get_mut(&session).expect("it is there").is_stalled =
                    is_stalled;
            }
            Op::Settle { which, pick, select, say, .. } => {
                self.settle(session, usize::from(which), pick, select, say);
            }
            Op::Claim { queue, auto, visibility, .. } => {
                self.claim(session, queue, auto, visibility);
            }
            Op::SessionQueue { exchange, key, credit, .. } => {
                if self.open_session_queue(session, exchange, key) {
                    self.subscribe(session, u8::MAX, (u16::from(credit), None), false, None);
                }
            }
            _ => {
                let owned = &self.oracle.sessions[&session].owned;
                let all = &self.oracle.queues;
                if let Some(id) = owned.iter().copied().find(|id| all[id].source.is_some()) {
                    self.count("session queues closed", 1);
                    self.engine.close_session_queue(session, id, &mut self.effects);
                    self.oracle.remove_queue(id);
                }
            }
        }
    }

    /// Subscribes to one of all queues; `u8::MAX` means the session's own newest.
    fn subscribe(
        &mut self,
        session: SessionId,
        queue: u8,
        (credit, bytes): (u16, Option<u16>),
        auto: bool,
        visibility: Option<u16>,
    ) {
        let all: Vec<_> = self.oracle.queues.keys().copied().collect();
        let own = self.oracle.sessions[&session].owned.last().copied();
        let own = own.filter(|id| self.oracle.queues.contains_key(id));
        let id = match queue {
            u8::MAX => own,
            _ => all.get(usize::from(queue) % all.len().max(1)).copied(),
        };
        let Some(id) = id else { return };
        let there = &self.oracle.queues[&id];
        let settling = if auto { Settling::Auto } else { Settling::Manual };
        let visibility_ms = visibility.map(u64::from);
        let (credit, credit_bytes) = (u32::from(credit), bytes.map(u64::from));
        let options = SubscribeOptions { credit, credit_bytes, settling, visibility_ms };
        let is_foreign = there.owner.is_some_and(|owner| owner != session);
        match self.engine.subscribe(session, id, options) {
            Ok(new) => {
                assert!(!is_foreign, "somebody else's queue");
                let visibility_ms = visibility_ms.unwrap_or(there.options.visibility_ms);
                let held = Subscription {
                    session,
                    queue: id,
                    credit: options.credit,
                    credit_bytes,
                    auto,
                    visibility_ms,
                    open: 0,
                    is_ended: false,
                };
                assert!(self.oracle.subscriptions.insert(new, held).is_none());
                let holders = &mut self.oracle.sessions.get_mut(&session).expect("there").holders;
                holders.push(Holder::Subscription(new));
                self.note_used(id);
                self.count("subscriptions", 1);
            }
            Err(refusal) => {
                assert!(is_foreign, "{refusal}");
                assert_eq!(refusal, Refusal::QueueExclusive);
                self.count(refusal.name(), 1);
            }
        }
    }

    fn note_used(&mut self, id: QueueId) {
        self.oracle.queues.get_mut(&id).expect("it is there").used_ms = Some(self.now_ms);
    }

    fn some_subscription(&self, session: Option<SessionId>, which: u8) -> Option<SubscriptionId> {
        let all = self.oracle.subscriptions.iter();
        let mine: Vec<_> = all
            .filter(|(_, held)| session.is_none_or(|session| held.session == session))
            .map(|(id, _)| *id)
            .collect();
        mine.get(usize::from(which) % mine.len().max(1)).copied()
    }

    fn unsubscribe(&mut self, session: SessionId, which: u8, foreign: bool) {
        let among = if foreign { None } else { Some(session) };
        let Some(id) = self.some_subscription(among, which) else { return };
        let got = self.engine.unsubscribe(session, id);
        let held = self.oracle.subscriptions.get_mut(&id).expect("just found");
        if held.session != session || held.is_ended {
            assert_eq!(got, Err(Refusal::NoSuchSubscription));
            self.count(Refusal::NoSuchSubscription.name(), 1);
            return;
        }
        assert_eq!(got, Ok(()));
        held.is_ended = true;
        let (is_done, queue) = (held.open == 0, held.queue);
        if is_done {
            self.oracle.forget(session, Holder::Subscription(id));
        }
        self.oracle.note_unsubscribed(queue);
        self.count("unsubscriptions", 1);
    }

    fn add_credit(&mut self, session: SessionId, which: u8, more: u32) {
        let Some(id) = self.some_subscription(Some(session), which) else { return };
        let got = self.engine.add_credit(session, id, more);
        let held = self.oracle.subscriptions.get_mut(&id).expect("just found");
        if held.is_ended {
            assert_eq!(got, Err(Refusal::NoSuchSubscription));
        } else {
            assert_eq!(got, Ok(()));
            held.credit = (held.credit + more).min(CREDIT_MAX);
        }
    }

    /// One step of handing over; says whether the engine has more to do.
    pub(crate) fn dispatch(&mut self) -> bool {
        self.expire_all();
        let has_more = self.engine.dispatch(self.now_ms, &mut self.effects);
        let runs = std::mem::take(&mut self.effects.runs);
        let deliveries = std::mem::take(&mut self.effects.deliveries);
        assert!(deliveries.len() <= STEP_MESSAGES_MAX, "a step is bounded");
        let mut next = 0;
        for run in &runs {
            assert_eq!(run.start, next, "runs follow each other");
            next = run.end;
            let held = &self.oracle.subscriptions[&run.subscription];
            assert!(!held.is_ended, "an ended subscription gets nothing");
            assert_eq!((held.session, held.queue), (SessionId(run.session), run.queue));
            assert!(!self.oracle.sessions[&held.session].is_stalled, "a stalled session");
            for delivery in &deliveries[run.start as usize..run.end as usize] {
                self.deliver(run.subscription, delivery);
            }
        }
        assert_eq!(next as usize, deliveries.len());
        self.count("deliveries", deliveries.len() as u64);
        let has_more = self.bring_at_once() || has_more;
        if !has_more {
            self.check_nobody_waits();
        }
        self.check_effects();
        has_more
    }

    fn deliver(&mut self, id: SubscriptionId, delivery: &Delivery) {
        let held = &self.oracle.subscriptions[&id];
        let (session, queue, auto) = (held.session, held.queue, held.auto);
        let deadline_ms = self.now_ms + held.visibility_ms;
        assert!(self.oracle.has_room(id, delivery.size), "{id:?} has no credit");
        self.hand_over(session, (queue, auto, deadline_ms), Holder::Subscription(id), delivery);
    }

    /// What every handing-over obeys, by turn or by claim.
    fn hand_over(
        &mut self,
        session: SessionId,
        (queue, auto, deadline_ms): (QueueId, bool, u64),
        holder: Holder,
        delivery: &Delivery,
    ) {
        let (seq, message) = self.oracle.take(queue, auto).expect("something was ready");
        let told = (delivery.seq, delivery.size, delivery.attempt, delivery.durable);
        let expected = (seq, message.size, message.attempts + 1, message.durable);
        assert_eq!(told, expected, "(number, size, attempt, durable) from {queue:?}");
        let is_suspect = message.durable && seq < self.oracle.suspect_below;
        assert_eq!(delivery.is_suspect, is_suspect, "{seq} may have been handed over");
        self.count("deliveries of suspects", u64::from(is_suspect));
        if auto {
            assert_eq!(delivery.lease, Lease::NONE);
            return;
        }
        assert!(self.leases.insert(delivery.lease.0), "{:?} twice", delivery.lease);
        let handle = Handle { seq, lease: delivery.lease };
        let size = delivery.size;
        self.oracle.open(Open { handle, session, holder, queue, size, deadline_ms });
    }

    fn check_nobody_waits(&self) {
        let waiting = self.shelf.waiting();
        for (id, held) in &self.oracle.subscriptions {
            if waiting.contains(&held.queue) {
                continue;
            }
            let Some(queue) = self.oracle.queues.get(&held.queue) else { continue };
            let Some(next) = queue.next(self.now_ms) else { continue };
            // Where bytes are bounded and something is open, the head may have been too large: it
            // is tried again when something is settled.
            let can_take = self.oracle.has_room(*id, u32::MAX)
                && !self.oracle.sessions[&held.session].is_stalled;
            assert!(!can_take, "{id:?} could take {next} and was not served");
        }
    }

    fn claim(&mut self, session: SessionId, queue: u8, auto: bool, visibility: Option<u16>) {
        let all: Vec<_> = self.oracle.queues.keys().copied().collect();
        let Some(id) = all.get(usize::from(queue) % all.len().max(1)).copied() else { return };
        self.expire_all();
        let there = &self.oracle.queues[&id];
        let is_foreign = there.owner.is_some_and(|owner| owner != session);
        let (next, overdue) = (there.next(self.now_ms), there.overdue(self.now_ms));
        let visibility_ms = visibility.map(u64::from);
        let deadline_ms = self.now_ms + visibility_ms.unwrap_or(there.options.visibility_ms);
        let settling = if auto { Settling::Auto } else { Settling::Manual };
        let how = (settling, visibility_ms);
        let got = self.engine.claim(session, id, how, self.now_ms, &mut self.effects);
        if !is_foreign {
            self.note_used(id);
            let holders = &mut self.oracle.sessions.get_mut(&session).expect("there").holders;
            if !holders.contains(&Holder::Claims) {
                holders.push(Holder::Claims);
            }
        }
        match got {
            Ok(None) => {
                self.shelf.note_wanted(&mut self.effects.wanted);
                let is_there = next.is_some() || overdue > 0;
                assert!(is_there && self.shelf.waiting().contains(&id), "nothing comes");
                self.count("claims that wait", 1);
            }
            Ok(Some(delivery)) => {
                assert!(!is_foreign, "somebody else's queue");
                self.hand_over(session, (id, auto, deadline_ms), Holder::Claims, &delivery);
                self.count("claims", 1);
            }
            Err(Refusal::NothingWaiting) => assert!(!is_foreign && next.is_none()),
            Err(refusal) => assert!(is_foreign && refusal == Refusal::QueueExclusive, "{refusal}"),
        }
        if let Err(refusal) = got {
            self.count(refusal.name(), 1);
        }
    }

    fn pick_handle(&self, session: SessionId, which: usize, pick: Pick) -> Option<Handle> {
        let open = &self.oracle.open;
        let from = |handles: Vec<Handle>| handles.get(which % handles.len().max(1)).copied();
        let mine = || open.iter().filter(|open| open.session == session);
        match pick {
            // Mostly a message that is open twice, if there is one.
            Pick::Own if which.is_multiple_of(3) => {
                let is_double = |open: &&Open| {
                    mine().filter(|other| other.handle.seq == open.handle.seq).count() > 1
                };
                mine().find(is_double).or_else(|| mine().next()).map(|open| open.handle)
            }
            Pick::Own => {
                from(open.iter().filter(|o| o.session == session).map(|o| o.handle).collect())
            }
            Pick::Any => from(open.iter().map(|open| open.handle).collect()),
            Pick::Stale => from(self.oracle.stale.clone()),
            Pick::Forged => {
                let handle = open.get(which % open.len().max(1))?.handle;
                if which.is_multiple_of(2) {
                    Some(Handle { seq: handle.seq + 1, ..handle })
                } else {
                    Some(Handle { lease: Lease(handle.lease.0 ^ (1 << (which % 64))), ..handle })
                }
            }
        }
    }

    fn settle(&mut self, session: SessionId, which: usize, pick: Pick, select: Select, say: Say) {
        let open = &self.oracle.open;
        let session = match pick {
            Pick::Own if !open.is_empty() => open[which % open.len()].session,
            _ => session,
        };
        let Some(handle) = self.pick_handle(session, which, pick) else { return };
        let selector = match select {
            Select::One => Selector::One(handle),
            Select::UpTo => Selector::UpTo(handle),
            Select::Message => Selector::Message(handle.seq),
        };
        let verdict = match say {
            Say::Ack => Verdict::Ack,
            Say::Nack => Verdict::Nack,
            Say::Reject => Verdict::Reject,
            Say::Extend(ms) => Verdict::Extend(ms.map(u64::from)),
        };
        let now = self.now_ms;
        let mut got = self.engine.settle(session, selector, verdict, now, &mut self.effects);
        while let (Selector::UpTo(handle), Ok(count)) = (selector, got)
            && !matches!(verdict, Verdict::Extend(_))
            && self.engine.is_open(handle)
        {
            assert!(count as usize <= self.leases.len(), "a step gets somewhere");
            let more = self.engine.settle(session, selector, verdict, now, &mut self.effects);
            got = more.map(|more| count + more);
            self.count("more steps of settling", 1);
        }
        let about = self.expect_about(session, selector);
        let count = about.as_ref().map(|open| {
            let about = open.iter().filter(|open| self.oracle.is_about_something(open));
            u32::try_from(about.count()).expect("few")
        });
        assert_eq!(got, count.map_err(|refusal| *refusal), "{selector:?} {verdict:?}");
        self.count(got.map_or_else(Refusal::name, |_| word_of(say)), 1);
        self.count("deliveries settled or extended", u64::from(got.unwrap_or(0)));
        if about.is_err() && !matches!(say, Say::Extend(_)) {
            self.close_lease_on_nothing(session, selector);
        }
        for open in about.unwrap_or_default() {
            match say {
                Say::Ack => self.oracle.close(open.handle, Some(Cause::Acked)),
                Say::Reject => self.oracle.close(open.handle, Some(Cause::Rejected)),
                Say::Nack => self.oracle.close(open.handle, None),
                Say::Extend(ms) => {
                    let Some(queue) = self.oracle.queues.get(&open.queue) else { continue };
                    let ms = ms.map_or(queue.options.visibility_ms, u64::from);
                    let all = &mut self.oracle.open;
                    let held = all.iter_mut().find(|o| o.handle == open.handle).expect("open");
                    held.deadline_ms = now + ms;
                }
            }
        }
    }

    /// A delivery whose queue is gone is refused, and closed by being named.
    fn close_lease_on_nothing(&mut self, session: SessionId, selector: Selector) {
        let Selector::One(handle) = selector else { return };
        let mut all = self.oracle.open.iter();
        if all.any(|open| open.handle == handle && open.session == session) {
            self.oracle.close(handle, None);
        }
    }

    /// The open deliveries that a selector is about.
    fn expect_about(&self, session: SessionId, selector: Selector) -> Result<Vec<Open>, Refusal> {
        let all = &self.oracle.open;
        let handle = match selector {
            Selector::One(handle) | Selector::UpTo(handle) => handle,
            Selector::Message(seq) => self.oracle.only_open(session, seq)?,
        };
        let named = all.iter().find(|o| o.handle == handle && o.session == session);
        let named = *named.ok_or(Refusal::NotOpen)?;
        if !self.oracle.is_about_something(&named) {
            return Err(Refusal::NotOpen);
        }
        if !matches!(selector, Selector::UpTo(_)) {
            return Ok(vec![named]);
        }
        let same = all.iter().filter(|o| o.session == session && o.holder == named.holder);
        let end = same.clone().position(|o| o.handle == handle).expect("just found");
        Ok(same.take(end + 1).copied().collect())
    }

    /// Time passes, and what is due comes back.
    pub(crate) fn wait(&mut self, ms: u64) {
        let earliest = self.oracle.open.iter().map(|open| open.deadline_ms).min();
        if let Some(earliest) = earliest {
            let alarm = self.engine.next_alarm_ms().expect("something is open: an alarm is set");
            assert!(alarm <= earliest, "the alarm at {alarm} is too late for {earliest}");
        }
        self.now_ms += ms;
        self.oracle.now_ms = self.now_ms;
        self.expire_all();
    }

    /// What is open and due comes back.
    pub(crate) fn expect_returns(&mut self) {
        let due = self.oracle.open.iter().filter(|open| open.deadline_ms <= self.now_ms);
        let due: Vec<Handle> = due.map(|open| open.handle).collect();
        self.count("leases expired", due.len() as u64);
        for handle in due {
            self.oracle.close(handle, None);
        }
    }

    pub(crate) fn detach(&mut self, session: u8, mixed: bool) {
        let Some(session) = self.session(session) else { return };
        loop {
            let has_more = self.engine.detach(session, &mut self.effects);
            assert_eq!(has_more, self.oracle.detach(session, STEP_MESSAGES_MAX));
            self.check_effects();
            if mixed {
                while self.dispatch() {}
            }
            if !has_more {
                break;
            }
            self.count("detach steps", 1);
        }
        assert_eq!(
            self.engine.settle(
                session,
                Selector::Message(0),
                Verdict::Ack,
                self.now_ms,
                &mut self.effects
            ),
            Err(Refusal::Closing)
        );
        self.count(Refusal::Closing.name(), 1);
    }
}

fn word_of(say: Say) -> &'static str {
    match say {
        Say::Ack => "acks",
        Say::Nack => "nacks",
        Say::Reject => "rejects",
        Say::Extend(_) => "extensions",
    }
}
