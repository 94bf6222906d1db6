//! Operations. Every operand is a pick that is taken modulo what there is when the operation runs,
//! so that any subsequence of a run is a run: a failing one shrinks by leaving operations out.

#[derive(Debug, Clone, Copy)]
pub(crate) enum To {
    Queue(u8),
    Topic(u8),
    Exchange(u8, u8),
}

/// What a binding leads to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    Queue(u8),
    Exchange(u8),
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Pick {
    /// An open delivery of the session.
    Own,
    /// An open delivery of anybody.
    Any,
    /// A delivery that was closed, perhaps in an earlier opening.
    Stale,
    /// An open delivery's number with another lease.
    Forged,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Select {
    One,
    UpTo,
    Message,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Say {
    Ack,
    Nack,
    Reject,
    /// By so much, or as the queue says.
    Extend(Option<u16>),
}

#[derive(Debug, Clone)]
pub(crate) enum Op {
    Attach {
        namespace: u8,
    },
    /// Puts other quotas in the place of those there are.
    Quota {
        pick: u8,
    },
    Detach {
        session: u8,
        mixed: bool,
    },
    DeclareNamespace {
        session: u8,
    },
    DeclareQueue {
        session: u8,
        name: u8,
        durable: bool,
        variant: u8,
    },
    /// Declares a queue whose name the broker gives.
    NameQueue {
        session: u8,
        durable: bool,
        variant: u8,
    },
    /// Asks how a queue is doing, and in what it differs from another.
    Look {
        session: u8,
        name: u8,
        variant: u8,
    },
    DeleteQueue {
        session: u8,
        name: u8,
        if_empty: bool,
        if_unused: bool,
    },
    DeclareExchange {
        session: u8,
        name: u8,
        variant: u8,
    },
    DeleteExchange {
        session: u8,
        name: u8,
        if_unused: bool,
    },
    Bind {
        session: u8,
        exchange: u8,
        to: End,
        key: u8,
    },
    Unbind {
        session: u8,
        exchange: u8,
        to: End,
        key: u8,
    },
    /// Asks where a live subscription would listen.
    Listen {
        session: u8,
        exchange: u8,
        key: u8,
    },
    Publish {
        session: u8,
        to: To,
        durable: bool,
        size: u8,
        times: u16,
        ttl: Option<u16>,
        headers: u8,
        may_wait: bool,
    },
    Purge {
        session: u8,
        name: u8,
    },
    /// Steps of workers.
    Work {
        steps: u8,
    },
    SessionQueue {
        session: u8,
        exchange: u8,
        key: u8,
        credit: u8,
    },
    CloseSessionQueue {
        session: u8,
    },
    Subscribe {
        session: u8,
        queue: u8,
        credit: u16,
        bytes: Option<u16>,
        auto: bool,
        visibility: Option<u16>,
    },
    SetCredit {
        session: u8,
        messages: Option<u16>,
        bytes: Option<u16>,
    },
    Unsubscribe {
        session: u8,
        which: u8,
        foreign: bool,
    },
    Credit {
        session: u8,
        which: u8,
        more: u16,
    },
    Stall {
        session: u8,
        is_stalled: bool,
    },
    Dispatch,
    Settle {
        session: u8,
        which: u16,
        pick: Pick,
        select: Select,
        say: Say,
    },
    Claim {
        session: u8,
        queue: u8,
        auto: bool,
        visibility: Option<u16>,
    },
    Wait {
        ms: u16,
    },
    WriteSettles,
    Commit {
        most: u8,
    },
    Jump,
    Restart {
        keep: u8,
    },
    Replay {
        cut: u16,
    },
    Snapshot,
    EndSnapshot {
        is_committed: bool,
    },
    Evict {
        chunks: u8,
    },
    Slow {
        is_slow: bool,
    },
    Bring {
        most: u8,
    },
    Miss,
    Corrupt {
        queue: u8,
        which: u16,
    },
}
