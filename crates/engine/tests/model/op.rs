//! Operations and how they are drawn. Every operand is a pick that is taken modulo what there is
//! when the operation runs, so that any subsequence of a run is a run: a failing one shrinks by
//! leaving operations out.

use courant_engine::limits::CHUNK_ENTRIES;
use proptest::prelude::*;

#[derive(Debug, Clone, Copy)]
pub(crate) enum To {
    Queue(u8),
    Topic(u8),
    Exchange(u8, u8),
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
    Extend(u16),
}

#[derive(Debug, Clone)]
pub(crate) enum Op {
    Attach {
        namespace: u8,
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
        visibility: u8,
        ttl: u8,
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
        fanout: bool,
    },
    DeleteExchange {
        session: u8,
        name: u8,
    },
    Bind {
        session: u8,
        exchange: u8,
        queue: u8,
        key: u8,
    },
    Unbind {
        session: u8,
        exchange: u8,
        queue: u8,
        key: u8,
    },
    Publish {
        session: u8,
        to: To,
        durable: bool,
        size: u8,
        times: u16,
        ttl: Option<u16>,
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

fn topology() -> impl Strategy<Value = Op> {
    let s = any::<u8>;
    prop_oneof![
        1 => s().prop_map(|session| Op::DeclareNamespace { session }),
        6 => (s(), 0..6u8, any::<bool>(), 0..3u8, 0..6u8).prop_map(
            |(session, name, durable, visibility, ttl)| {
                Op::DeclareQueue { session, name, durable, visibility, ttl }
            }
        ),
        2 => (s(), 0..6u8, any::<bool>(), any::<bool>()).prop_map(
            |(session, name, if_empty, if_unused)| {
                Op::DeleteQueue { session, name, if_empty, if_unused }
            }
        ),
        3 => (s(), 0..4u8, any::<bool>())
            .prop_map(|(session, name, fanout)| Op::DeclareExchange { session, name, fanout }),
        1 => (s(), 0..4u8).prop_map(|(session, name)| Op::DeleteExchange { session, name }),
        6 => (s(), 0..4u8, 0..6u8, 0..3u8).prop_map(|(session, exchange, queue, key)| {
            Op::Bind { session, exchange, queue, key }
        }),
        3 => (s(), 0..4u8, 0..6u8, 0..3u8).prop_map(|(session, exchange, queue, key)| {
            Op::Unbind { session, exchange, queue, key }
        }),
        2 => (s(), 0..4u8, 0..3u8, 0..8u8).prop_map(|(session, exchange, key, credit)| {
            Op::SessionQueue { session, exchange, key, credit }
        }),
        1 => s().prop_map(|session| Op::CloseSessionQueue { session }),
    ]
}

fn ttl() -> impl Strategy<Value = Option<u16>> {
    prop_oneof![6 => Just(None), 2 => (0..1000u16).prop_map(Some), 1 => any::<u16>().prop_map(Some)]
}

fn publish() -> impl Strategy<Value = Op> {
    let to = prop_oneof![
        3 => (0..6u8).prop_map(To::Queue),
        1 => (0..4u8).prop_map(To::Topic),
        2 => (0..4u8, 0..3u8).prop_map(|(exchange, key)| To::Exchange(exchange, key)),
    ];
    let times = prop_oneof![60 => 1..4u16, 9 => 4..40u16, 1 => 800..5000u16];
    (any::<u8>(), to, any::<bool>(), any::<u8>(), times, ttl()).prop_map(
        |(session, to, durable, size, times, ttl)| Op::Publish {
            session,
            to,
            durable,
            size,
            times,
            ttl,
        },
    )
}

fn credit() -> impl Strategy<Value = u16> {
    prop_oneof![1 => Just(0u16), 8 => 1..10u16, 3 => 10..200u16, 1 => Just(5000u16)]
}

fn bytes() -> impl Strategy<Value = Option<u16>> {
    prop_oneof![4 => Just(None), 2 => (1..600u16).prop_map(Some), 1 => (1..9_000u16).prop_map(Some)]
}

fn visibility() -> impl Strategy<Value = Option<u16>> {
    prop_oneof![3 => Just(None), 2 => (100..3000u16).prop_map(Some)]
}

fn consume() -> impl Strategy<Value = Op> {
    let s = any::<u8>;
    prop_oneof![
        4 => (s(), 0..6u8, credit(), bytes(), prop::bool::weighted(0.25), visibility()).prop_map(
            |(session, queue, credit, bytes, auto, visibility)| {
                Op::Subscribe { session, queue, credit, bytes, auto, visibility }
            }
        ),
        2 => (s(), prop::option::of(0..12u16), bytes()).prop_map(|(session, messages, bytes)| {
            Op::SetCredit { session, messages, bytes }
        }),
        2 => (s(), s(), prop::bool::weighted(0.1)).prop_map(|(session, which, foreign)| {
            Op::Unsubscribe { session, which, foreign }
        }),
        2 => (s(), s(), credit())
            .prop_map(|(session, which, more)| Op::Credit { session, which, more }),
        3 => (s(), any::<bool>())
            .prop_map(|(session, is_stalled)| Op::Stall { session, is_stalled }),
        4 => (s(), 0..6u8, prop::bool::weighted(0.3), visibility()).prop_map(
            |(session, queue, auto, visibility)| {
                Op::Claim { session, queue, auto, visibility }
            }
        ),
    ]
}

fn settle() -> impl Strategy<Value = Op> {
    let pick = prop_oneof![
        12 => Just(Pick::Own), 1 => Just(Pick::Any), 1 => Just(Pick::Stale), 1 => Just(Pick::Forged)
    ];
    let select =
        prop_oneof![5 => Just(Select::One), 3 => Just(Select::UpTo), 2 => Just(Select::Message)];
    let say = prop_oneof![
        6 => Just(Say::Ack),
        3 => Just(Say::Nack),
        1 => Just(Say::Reject),
        2 => (0..20_000u16).prop_map(Say::Extend)
    ];
    (any::<u8>(), any::<u16>(), pick, select, say).prop_map(
        |(session, which, pick, select, say)| Op::Settle { session, which, pick, select, say },
    )
}

fn memory() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => Just(Op::Snapshot),
        6 => prop::bool::weighted(0.8).prop_map(|is_committed| Op::EndSnapshot { is_committed }),
        4 => prop_oneof![3 => Just(0), 1 => 0..4u8].prop_map(|chunks| Op::Evict { chunks }),
        2 => any::<bool>().prop_map(|is_slow| Op::Slow { is_slow }),
        4 => (1..4u8).prop_map(|most| Op::Bring { most }),
        1 => Just(Op::Miss),
        6 => any::<(u8, u16)>().prop_map(|(queue, which)| Op::Corrupt { queue, which }),
    ]
}

/// All operations, by how often they come.
pub(crate) fn any_op() -> impl Strategy<Value = Op> {
    let s = any::<u8>;
    prop_oneof![
        60 => topology(),
        120 => publish(),
        70 => consume(),
        200 => settle(),
        18 => (0..8u8).prop_map(|namespace| Op::Attach { namespace }),
        8 => (s(), any::<bool>()).prop_map(|(session, mixed)| Op::Detach { session, mixed }),
        120 => Just(Op::Dispatch),
        25 => (1..600u16).prop_map(|ms| Op::Wait { ms }),
        4 => (600..40_000u16).prop_map(|ms| Op::Wait { ms }),
        30 => Just(Op::WriteSettles),
        100 => s().prop_map(|most| Op::Commit { most }),
        2 => Just(Op::Jump),
        4 => s().prop_map(|keep| Op::Restart { keep }),
        20 => memory(),
        3 => any::<u16>().prop_map(|cut| Op::Replay { cut }),
    ]
}

/// Operations on long queues, of which little is in memory.
pub(crate) fn deep_op() -> impl Strategy<Value = Op> {
    let s = any::<u8>;
    let chunk = u16::try_from(CHUNK_ENTRIES).expect("a chunk is small");
    let credit = prop_oneof![2 => 1..200u16, 1 => Just(5000u16)];
    let declare = |(session, name)| Op::DeclareQueue {
        session,
        name,
        durable: true,
        visibility: 2,
        ttl: name,
    };
    let subscribe = |(session, queue, credit, auto)| Op::Subscribe {
        session,
        queue,
        credit,
        bytes: None,
        auto,
        visibility: None,
    };
    // Mostly durable.
    let publish = |(session, queue, size, times, ttl)| Op::Publish {
        session,
        to: To::Queue(queue),
        durable: size % 8 > 0,
        size,
        times,
        ttl,
    };
    prop_oneof![
        4 => (s(), 0..3u8).prop_map(declare),
        1 => s().prop_map(|session| Op::DeleteQueue {
            session, name: 0, if_empty: false, if_unused: false
        }),
        4 => Just(Op::Attach { namespace: 1 }),
        1 => s().prop_map(|session| Op::Detach { session, mixed: false }),
        10 => (s(), 0..3u8, s(), chunk / 2..(chunk * 6).min(6000), ttl()).prop_map(publish),
        6 => (s(), 0..3u8, s(), 1..40u16, ttl()).prop_map(publish),
        12 => (s(), s(), credit, prop::bool::weighted(0.2)).prop_map(subscribe),
        8 => (s(), s(), any::<bool>()).prop_map(|(session, queue, auto)| {
            Op::Claim { session, queue, auto, visibility: None }
        }),
        3 => (s(), s()).prop_map(|(session, which)| {
            Op::Unsubscribe { session, which, foreign: false }
        }),
        20 => Just(Op::Dispatch),
        20 => settle(),
        20 => (s(), any::<u16>()).prop_map(|(session, which)| {
            Op::Settle { session, which, pick: Pick::Own, select: Select::UpTo, say: Say::Ack }
        }),
        10 => Just(Op::WriteSettles),
        10 => (1..2000u16).prop_map(|ms| Op::Wait { ms }),
        20 => Just(Op::Commit { most: u8::MAX }),
        1 => Just(Op::Jump),
        2 => s().prop_map(|keep| Op::Restart { keep }),
        60 => memory(),
    ]
}
