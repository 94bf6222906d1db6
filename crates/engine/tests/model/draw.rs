//! How operations are drawn, and how often each comes.

use super::choices::{EXCHANGES, QUEUES};
use super::op::{End, Op, Pick, Say, Select, To};
use courant_engine::limits::CHUNK_ENTRIES;
use proptest::prelude::*;

/// Picks a queue by name: one of few, one that the broker named, or a name that is none.
fn queue() -> impl Strategy<Value = u8> {
    prop_oneof![40 => 0..QUEUES, 6 => 100..120u8, 1 => 250..252u8]
}

fn exchange() -> impl Strategy<Value = u8> {
    prop_oneof![60 => 0..EXCHANGES, 1 => 250..252u8]
}

fn variant() -> impl Strategy<Value = u8> {
    prop_oneof![4 => Just(0), 2 => Just(1), 2 => Just(2), 1 => Just(3), 1 => Just(4)]
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![3 => queue().prop_map(End::Queue), 2 => exchange().prop_map(End::Exchange)]
}

fn queues() -> impl Strategy<Value = Op> {
    let s = any::<u8>;
    prop_oneof![
        16 => (s(), queue(), any::<bool>(), variant()).prop_map(
            |(session, name, durable, variant)| {
                Op::DeclareQueue { session, name, durable, variant }
            }
        ),
        2 => (s(), any::<bool>(), s()).prop_map(|(session, durable, variant)| {
            Op::NameQueue { session, durable, variant }
        }),
        3 => (s(), queue(), variant()).prop_map(|(session, name, variant)| {
            Op::Look { session, name, variant }
        }),
        5 => (s(), queue(), any::<bool>(), any::<bool>()).prop_map(
            |(session, name, if_empty, if_unused)| {
                Op::DeleteQueue { session, name, if_empty, if_unused }
            }
        ),
        3 => (s(), queue()).prop_map(|(session, name)| Op::Purge { session, name }),
        8 => (1..4u8).prop_map(|steps| Op::Work { steps }),
    ]
}

fn topology() -> impl Strategy<Value = Op> {
    let s = any::<u8>;
    prop_oneof![
        1 => s().prop_map(|session| Op::DeclareNamespace { session }),
        10 => (s(), exchange(), variant())
            .prop_map(|(session, name, variant)| Op::DeclareExchange { session, name, variant }),
        2 => (s(), exchange(), any::<bool>()).prop_map(|(session, name, if_unused)| {
            Op::DeleteExchange { session, name, if_unused }
        }),
        14 => (s(), exchange(), end(), s()).prop_map(|(session, exchange, to, key)| {
            Op::Bind { session, exchange, to, key }
        }),
        6 => (s(), exchange(), end(), s()).prop_map(|(session, exchange, to, key)| {
            Op::Unbind { session, exchange, to, key }
        }),
        3 => (s(), exchange(), s(), 0..8u8).prop_map(|(session, exchange, key, credit)| {
            Op::SessionQueue { session, exchange, key, credit }
        }),
        1 => s().prop_map(|session| Op::CloseSessionQueue { session }),
        2 => (s(), exchange(), s())
            .prop_map(|(session, exchange, key)| Op::Listen { session, exchange, key }),
    ]
}

fn ttl() -> impl Strategy<Value = Option<u16>> {
    prop_oneof![6 => Just(None), 2 => (0..1000u16).prop_map(Some), 1 => any::<u16>().prop_map(Some)]
}

fn publish() -> impl Strategy<Value = Op> {
    let to = prop_oneof![
        6 => queue().prop_map(To::Queue),
        1 => exchange().prop_map(To::Topic),
        6 => (exchange(), any::<u8>()).prop_map(|(exchange, key)| To::Exchange(exchange, key)),
    ];
    let times = prop_oneof![60 => 1..4u16, 9 => 4..40u16, 1 => 800..5000u16];
    let how = (any::<bool>(), prop::bool::weighted(0.8));
    (any::<u8>(), to, how, any::<u8>(), times, ttl(), any::<u8>()).prop_map(
        |(session, to, (durable, may_wait), size, times, ttl, headers)| Op::Publish {
            session,
            to,
            durable,
            size,
            times,
            ttl,
            headers,
            may_wait,
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
        4 => (s(), s(), credit(), bytes(), prop::bool::weighted(0.25), visibility()).prop_map(
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
        4 => (s(), s(), prop::bool::weighted(0.3), visibility()).prop_map(
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
        2 => prop_oneof![1 => Just(None), 3 => (0..20_000u16).prop_map(Some)].prop_map(Say::Extend)
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
        130 => topology(),
        80 => queues(),
        3 => s().prop_map(|pick| Op::Quota { pick }),
        150 => publish(),
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
        3 => s().prop_map(|keep| Op::Restart { keep }),
        20 => memory(),
        3 => any::<u16>().prop_map(|cut| Op::Replay { cut }),
    ]
}

/// Variants of the first names that make plain queues, one with a time to live, and one that drops
/// the oldest.
const DEEP: [u8; 4] = [0, 15, 0, 13];

/// Operations on long queues, of which little is in memory.
pub(crate) fn deep_op() -> impl Strategy<Value = Op> {
    let s = any::<u8>;
    let chunk = u16::try_from(CHUNK_ENTRIES).expect("a chunk is small");
    let credit = prop_oneof![2 => 1..200u16, 1 => Just(5000u16)];
    let declare = |(session, name)| Op::DeclareQueue {
        session,
        name,
        durable: true,
        variant: DEEP[usize::from(name)],
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
        headers: 0,
        may_wait: true,
    };
    prop_oneof![
        4 => (s(), 0..4u8).prop_map(declare),
        1 => s().prop_map(|session| Op::DeleteQueue {
            session, name: 0, if_empty: false, if_unused: false
        }),
        4 => Just(Op::Attach { namespace: 1 }),
        1 => s().prop_map(|session| Op::Detach { session, mixed: false }),
        10 => (s(), 0..4u8, s(), chunk / 2..(chunk * 6).min(6000), ttl()).prop_map(publish),
        6 => (s(), 0..4u8, s(), 1..40u16, ttl()).prop_map(publish),
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
        6 => (s(), 0..4u8).prop_map(|(session, name)| Op::Purge { session, name }),
        8 => Just(Op::Work { steps: 2 }),
    ]
}
