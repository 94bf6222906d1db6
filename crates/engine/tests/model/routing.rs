//! Where a message goes, naively: every binding of every exchange on the way is looked at, as the
//! words of `docs/concepts/binding.md` say it.

use super::choices::FILTERS;
use super::oracle::{Exchange, Oracle};
use courant_engine::exchange::Target;
use courant_engine::{ExchangeId, ExchangeKind, Header, QueueId, Value};
use std::collections::{BTreeMap, BTreeSet};

/// What a walk from exchange to exchange found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Way {
    /// Every exchange that the message comes through.
    pub(crate) through: BTreeSet<ExchangeId>,
    pub(crate) queues: BTreeSet<QueueId>,
    /// Whether one of the exchanges looks at headers.
    pub(crate) has_headers: bool,
}

impl Oracle {
    pub(crate) fn walk(&self, first: ExchangeId, key: &[u8], headers: &[Header<'_>]) -> Way {
        let mut way = Way { through: BTreeSet::new(), queues: BTreeSet::new(), has_headers: false };
        let mut ahead = vec![first];
        while let Some(id) = ahead.pop() {
            let there = self.exchanges.iter().find(|there| there.id == id && !there.is_going);
            let Some(exchange) = there else { continue };
            if !way.through.insert(id) {
                continue;
            }
            way.has_headers |= exchange.spec.kind == ExchangeKind::Headers;
            let found = self.targets(exchange, key, headers);
            if found.is_empty() {
                ahead.extend(exchange.spec.alternate);
            }
            for target in found {
                match target {
                    Target::Queue(queue) => drop(way.queues.insert(queue)),
                    Target::Exchange(exchange) => ahead.push(exchange),
                }
            }
        }
        way
    }

    /// Whether something is there and not about to go.
    pub(crate) fn stays(&self, target: Target) -> bool {
        match target {
            Target::Queue(id) => self.queues.get(&id).is_some_and(|queue| !queue.is_going),
            Target::Exchange(id) => {
                self.exchanges.iter().any(|there| there.id == id && !there.is_going)
            }
        }
    }

    fn targets(&self, from: &Exchange, key: &[u8], headers: &[Header<'_>]) -> Vec<Target> {
        let bindings = from.bindings.iter().filter(|(_, target)| self.stays(*target));
        if from.spec.kind == ExchangeKind::Hash {
            return choose(key, bindings).into_iter().collect();
        }
        let key = std::str::from_utf8(key).expect("keys of the model are text");
        let leads = |bound: &[u8]| match from.spec.kind {
            ExchangeKind::Direct => bound == key.as_bytes(),
            ExchangeKind::Topic => is_like(std::str::from_utf8(bound).expect("text"), key),
            ExchangeKind::Headers => wants(bound, headers),
            ExchangeKind::Fanout | ExchangeKind::Hash => true,
        };
        bindings.filter(|(bound, _)| leads(bound)).map(|(_, target)| *target).collect()
    }
}

/// Whether a key says something as the key of a binding.
pub(crate) fn is_binding(kind: ExchangeKind, key: &[u8]) -> bool {
    match kind {
        ExchangeKind::Direct | ExchangeKind::Fanout | ExchangeKind::Topic => key.len() <= 255,
        ExchangeKind::Hash => (1..=1000)
            .map(|weight: u32| weight.to_string().into_bytes())
            .chain([Vec::new()])
            .any(|word| word == key),
        ExchangeKind::Headers => FILTERS.iter().any(|filter| filter.key() == key),
    }
}

/// Segments split by `.`: `*` is one, `#` any number, `>` at the end one or more. A pattern that
/// begins with one of them never matches a key that begins with `$`.
fn is_like(pattern: &str, key: &str) -> bool {
    let segments = |text: &str| -> Vec<String> {
        let split = text.split('.').map(str::to_owned);
        if text.is_empty() { Vec::new() } else { split.collect() }
    };
    let (pattern, segments) = (segments(pattern), segments(key));
    let begins_wild = pattern.first().is_some_and(|first| first == "*" || first == "#")
        || pattern.len() == 1 && pattern[0] == ">";
    !(begins_wild && key.starts_with('$')) && are_like(&pattern, &segments)
}

fn are_like(pattern: &[String], key: &[String]) -> bool {
    let Some((first, rest)) = pattern.split_first() else { return key.is_empty() };
    match first.as_str() {
        "#" => (0..=key.len()).any(|skipped| are_like(rest, &key[skipped..])),
        ">" if rest.is_empty() => !key.is_empty(),
        "*" => !key.is_empty() && are_like(rest, &key[1..]),
        literal => key.first().is_some_and(|it| it == literal) && are_like(rest, &key[1..]),
    }
}

fn wants(bound: &[u8], headers: &[Header<'_>]) -> bool {
    let filter = FILTERS.iter().find(|filter| filter.key() == bound).expect("one of ours");
    let has = |(name, value): &(&str, Value<'_>)| {
        headers
            .iter()
            .any(|given| given.name == *name && (*value == Value::Null || given.value == *value))
    };
    let mut wanted =
        filter.wants.iter().filter(|(name, _)| filter.with_x || !name.starts_with("x-"));
    if filter.is_any { wanted.any(has) } else { wanted.all(has) }
}

/// The one that draws the most for the key: its weight, divided by the logarithm of a fraction of
/// 1 that is made of key and target. Where keys go is for ever, so it is written down here again.
fn choose<'a>(key: &[u8], bindings: impl Iterator<Item = &'a (Vec<u8>, Target)>) -> Option<Target> {
    let mut weights: BTreeMap<Target, u128> = BTreeMap::new();
    for (weight, target) in bindings {
        let weight = std::str::from_utf8(weight).expect("digits");
        *weights.entry(*target).or_default() += weight.parse().unwrap_or(1);
    }
    let key = spread(key.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    }));
    let mut best: Option<(u128, u128, Target)> = None;
    for (target, weight) in weights {
        let number = match target {
            Target::Queue(id) => u64::from(id.0),
            Target::Exchange(id) => (1 << 32) + u64::from(id.0),
        };
        let length = minus_log2(spread(key ^ spread(number.wrapping_add(0x9e37_79b9_7f4a_7c15))));
        if best.is_none_or(|(most, least, _)| weight * least > most * length) {
            best = Some((weight, length, target));
        }
    }
    best.map(|(_, _, target)| target)
}

/// −log₂ of a fraction of 2⁶⁴, with 24 binary digits behind the point.
fn minus_log2(fraction: u64) -> u128 {
    let fraction = fraction | 1;
    let zeros = fraction.leading_zeros();
    #[expect(clippy::cast_precision_loss, reason = "53 digits are enough for 24")]
    let digits = ((fraction << zeros) as f64 / 2f64.powi(63)).log2() * 2f64.powi(24);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 2²⁴")]
    let digits = digits as u128;
    (u128::from(zeros + 1) << 24) - digits
}

fn spread(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    bits = (bits ^ (bits >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    bits ^ (bits >> 33)
}
