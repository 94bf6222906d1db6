//! What operations choose from: options of queues and exchanges, keys of bindings and messages,
//! headers. Small lists, so that the same things meet again and again.

use courant_engine::{
    ExchangeKind, Header, HeaderFilter, HeaderMode, Overflow, QueueOptions, Quotas, Value,
};

/// Names that operations may pick beside those that the broker gave.
pub(crate) const QUEUES: u8 = 8;
pub(crate) const EXCHANGES: u8 = 6;
/// Keys that messages are published with.
pub(crate) const KEYS: [&str; 8] = ["", "a", "b", "a.b", "a.b.c", "b.a", "$s.a", "c.b"];

const DIRECT: [&str; 4] = ["", "a", "b", "a.b"];
const PATTERNS: [&str; 14] =
    ["", "a", "a.b", "*", "#", ">", "a.*", "a.#", "a.>", "*.b", "#.b", "$s.#", "*.b.#", "a.#.b"];
const WEIGHTS: [&str; 4] = ["", "1", "2", "1000"];
/// Bindings for none of the kinds, or for another.
const STRANGE: [&str; 5] = ["0", "01", "1001", "x", "\u{9}"];

/// A filter of a headers exchange, as people think of it.
pub(crate) struct Filter {
    pub(crate) is_any: bool,
    pub(crate) with_x: bool,
    pub(crate) wants: &'static [(&'static str, Value<'static>)],
}

const VIDEO: (&str, Value<'static>) = ("type", Value::Text("video"));
const TWO: (&str, Value<'static>) = ("parts", Value::Int(2));
const X: (&str, Value<'static>) = ("x-a", Value::Bool(true));
const PRESENT: (&str, Value<'static>) = ("type", Value::Null);

pub(crate) const FILTERS: [Filter; 8] = [
    Filter { is_any: false, with_x: false, wants: &[VIDEO, TWO] },
    Filter { is_any: true, with_x: false, wants: &[VIDEO, TWO] },
    Filter { is_any: false, with_x: false, wants: &[VIDEO, X] },
    Filter { is_any: false, with_x: true, wants: &[VIDEO, X] },
    Filter { is_any: true, with_x: false, wants: &[X] },
    Filter { is_any: true, with_x: true, wants: &[X, TWO] },
    Filter { is_any: false, with_x: false, wants: &[PRESENT] },
    Filter { is_any: false, with_x: false, wants: &[] },
];

/// Headers that messages are published with.
pub(crate) const HEADERS: [&[(&str, Value<'static>)]; 7] = [
    &[],
    &[VIDEO],
    &[TWO, VIDEO],
    &[VIDEO, ("parts", Value::Text("2"))],
    &[X],
    &[VIDEO, X],
    &[("type", Value::Text("text")), TWO],
];

impl Filter {
    /// The key of its binding.
    pub(crate) fn key(&self) -> Vec<u8> {
        let mode = match (self.is_any, self.with_x) {
            (false, false) => HeaderMode::All,
            (true, false) => HeaderMode::Any,
            (false, true) => HeaderMode::AllWithX,
            (true, true) => HeaderMode::AnyWithX,
        };
        HeaderFilter { mode, headers: headers(self.wants) }.encode().expect("a short filter")
    }
}

pub(crate) fn headers(all: &[(&'static str, Value<'static>)]) -> Vec<Header<'static>> {
    all.iter().map(|(name, value)| Header { name, value: *value }).collect()
}

/// A key for a binding of an exchange of that kind; few are of another.
pub(crate) fn binding_key(kind: ExchangeKind, pick: u8) -> Vec<u8> {
    let of = |keys: &[&str]| keys[usize::from(pick) % keys.len()].as_bytes().to_vec();
    match (pick, kind) {
        (255, _) => vec![b'k'; 256],
        (245..=254, _) => of(&STRANGE),
        (_, ExchangeKind::Direct | ExchangeKind::Fanout) => of(&DIRECT),
        (_, ExchangeKind::Topic) => of(&PATTERNS),
        (_, ExchangeKind::Hash) => of(&WEIGHTS),
        (_, ExchangeKind::Headers) => FILTERS[usize::from(pick) % FILTERS.len()].key(),
    }
}

/// The kind, and whether it is internal, goes with its last binding and has an alternate.
pub(crate) fn exchange_variant(name: u8, variant: u8) -> (ExchangeKind, bool, bool, bool) {
    use ExchangeKind::{Direct, Fanout, Hash, Headers, Topic};
    let kinds = [Direct, Fanout, Topic, Headers, Hash, Topic];
    let kind = |shift: u8| kinds[usize::from(name.wrapping_add(shift)) % kinds.len()];
    match variant {
        0 => (kind(0), false, false, false),
        1 => (kind(0), false, true, false),
        2 => (kind(0), false, false, true),
        3 => (kind(0), true, false, false),
        _ => (kind(1), false, true, true),
    }
}

/// The policies of a queue: for each name a few of all.
pub(crate) fn queue_variant(name: u8, variant: u8, durable: bool) -> QueueOptions {
    let plain = QueueOptions { durable, visibility_ms: 2_000, ..QueueOptions::default() };
    let drops = QueueOptions { overflow: Overflow::DropOldest, ..plain };
    let blocks = QueueOptions { overflow: Overflow::Block, ..plain };
    // Every other name mostly stands for a queue without policies.
    let is_plain = variant == 0 && name.is_multiple_of(2);
    let pick = if is_plain { 0 } else { name.wrapping_mul(2).wrapping_add(variant) };
    match pick % 20 {
        1 => QueueOptions { visibility_ms: 300, ..plain },
        2 => QueueOptions { message_ttl_ms: Some(200), ..plain },
        3 => QueueOptions { max_length: Some(5), ..plain },
        4 => QueueOptions { max_length: Some(10), ..drops },
        5 => QueueOptions { max_length: Some(40), ..blocks },
        6 => QueueOptions { exclusive: true, ..plain },
        7 => QueueOptions { auto_delete: true, ..plain },
        8 => QueueOptions { expires_ms: Some(400), ..plain },
        9 => QueueOptions { max_attempts: Some(2), visibility_ms: 300, ..plain },
        10 => QueueOptions { max_bytes: Some(700), message_ttl_ms: Some(3_000), ..drops },
        11 => QueueOptions { max_bytes: Some(600), max_message_bytes: Some(150), ..plain },
        12 => QueueOptions { max_bytes: Some(900), ..blocks },
        13 => QueueOptions { max_attempts: Some(1), ..plain },
        14 => QueueOptions { exclusive: true, expires_ms: Some(2_000), ..blocks },
        15 => QueueOptions {
            auto_delete: true,
            expires_ms: Some(900),
            max_length: Some(20),
            max_attempts: Some(3),
            ..drops
        },
        16 => QueueOptions { max_message_bytes: Some(100), visibility_ms: 30_000, ..plain },
        17 => QueueOptions { message_ttl_ms: Some(3_000), ..plain },
        18 => QueueOptions { max_length: Some(0), ..plain },
        19 => QueueOptions { max_length: Some(500), ..drops },
        _ => plain,
    }
}

/// How much there may be: mostly as much as one likes.
pub(crate) fn quotas(pick: u8) -> Quotas {
    let none = Quotas::NONE;
    match pick % 12 {
        0 => Quotas { queues_per_namespace_max: 5, ..none },
        1 => Quotas { exchanges_per_namespace_max: 3, ..none },
        2 => Quotas { bindings_per_namespace_max: 6, ..none },
        3 => Quotas { sessions_per_namespace_max: 2, ..none },
        4 => Quotas { sessions_per_user_max: 3, bindings_per_namespace_max: 0, ..none },
        _ => none,
    }
}

/// Whether policies are within the ranges that the documents give, and go together.
pub(crate) fn is_valid(options: &QueueOptions) -> bool {
    let attempts = options.max_attempts.map(u64::from);
    let limits = [options.max_length, options.max_bytes, attempts];
    let is_short_lived = !options.exclusive || !options.durable;
    is_short_lived
        && (100..=12 * 3_600_000).contains(&options.visibility_ms)
        && limits.iter().all(|limit| *limit != Some(0))
}
