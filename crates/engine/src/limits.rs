//! Every bound of the domain, in one place, with the relations between them asserted.

/// Longest name of a namespace, exchange, queue, topic or routing key, in bytes.
pub const NAME_BYTES_MAX: usize = 255;
/// Entries of one chunk of a queue. The crate's own tests, the model among them, make do with few,
/// so that short queues have many chunks.
pub const CHUNK_ENTRIES: usize = if cfg!(test) { 128 } else { 4096 };
/// Most messages one step of the engine may touch before it gives the shard back.
pub const STEP_MESSAGES_MAX: usize = 1024;
/// Bytes that one step hands over, give or take a message, so that a slow client is noticed in
/// time.
pub const STEP_BYTES_MAX: u64 = 64 << 10;
/// Deliveries one subscription gets before it is the next one's turn.
pub const TURN_MESSAGES_MAX: u32 = 8;
/// Most open deliveries of one subscription.
pub const CREDIT_MAX: u32 = 65_535;
/// Open deliveries of one subscription when it does not say.
pub const CREDIT_DEFAULT: u32 = 256;
/// How long a delivery may stay unsettled before it goes back, when the queue does not say.
pub const VISIBILITY_MS_DEFAULT: u64 = 300_000;
/// Longest visibility deadline, and the longest extension: 12 hours.
pub const VISIBILITY_MS_MAX: u64 = 12 * 3_600_000;
/// Shortest visibility deadline.
pub const VISIBILITY_MS_MIN: u64 = 100;
/// Largest body plus properties of one message, in bytes.
pub const MESSAGE_BYTES_MAX: u32 = 16 * 1024 * 1024 + 128 * 1024;
/// Open deliveries of one shard: the lease number has 24 bits for the slot.
pub const LEASES_MAX: u32 = (1 << 24) - 1;
/// Sequence numbers that one reservation covers.
pub const SEQ_BLOCK: u64 = 1 << 32;
/// Queues that one message may be routed to.
pub const TARGETS_MAX: usize = 65_535;
/// Exchanges that one message may come through.
pub const ROUTE_EXCHANGES_MAX: usize = 1024;
/// Subscriptions of one session.
pub const SUBSCRIPTIONS_MAX: usize = 1024;
/// Queues in one shard.
pub const QUEUES_MAX: usize = 1_000_000;
/// Exchanges in one shard.
pub const EXCHANGES_MAX: usize = 1_000_000;
/// Bindings of one exchange.
pub const BINDINGS_MAX: usize = 1_000_000;
/// Most messages that a queue may be limited to.
pub const QUEUE_LENGTH_MAX: u64 = 1 << 40;
/// Most bytes that a queue may be limited to.
pub const QUEUE_BYTES_MAX: u64 = 1 << 50;
/// Longest time to live of a message, and of a queue that nobody uses: 100 years.
pub const TTL_MS_MAX: u64 = 100 * 365 * 86_400_000;
/// Shortest time after which a queue that nobody uses goes.
pub const UNUSED_MS_MIN: u64 = 100;
/// Most hand-overs that a queue may allow; a message counts them up to one more.
pub const MAX_ATTEMPTS_MAX: u16 = u16::MAX - 1;

const _: () = assert!(CHUNK_ENTRIES.is_multiple_of(64));
const _: () = assert!(CREDIT_DEFAULT <= CREDIT_MAX);
const _: () = assert!(CREDIT_MAX < LEASES_MAX);
const _: () = assert!(VISIBILITY_MS_MIN < VISIBILITY_MS_DEFAULT);
const _: () = assert!(VISIBILITY_MS_DEFAULT < VISIBILITY_MS_MAX);
const _: () = assert!((TURN_MESSAGES_MAX as usize) < STEP_MESSAGES_MAX);
