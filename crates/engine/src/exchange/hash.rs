//! Which one endpoint of a hash exchange a key goes to: weighted rendezvous.
//!
//! Every endpoint draws a number from the key and from itself, and the highest wins; so when one
//! goes, only its keys move, and when one comes, it takes its share of all. The number is
//! weight / −log₂(u), u being a hash taken as a fraction of 1: endpoints win in proportion to their
//! weights. All in integers, so that it is the same everywhere and for ever.

use crate::exchange::Endpoint;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// The highest weight of a binding.
pub const WEIGHT_MAX: u32 = 1000;

/// Binary digits behind the point of a logarithm.
const DIGITS: u32 = 24;

/// The weight that a binding's key says; `None` if it says none.
pub(crate) fn weight(key: &[u8]) -> Option<u32> {
    if key.is_empty() {
        return Some(1);
    }
    let is_plain = key.iter().all(u8::is_ascii_digit) && key.first() != Some(&b'0');
    let number: u32 = std::str::from_utf8(key).ok()?.parse().ok()?;
    (is_plain && number <= WEIGHT_MAX).then_some(number)
}

/// What an endpoint drew for a key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Draw {
    weight: u64,
    /// −log₂(u), never 0.
    length: u64,
}

impl Draw {
    fn of(key_hash: u64, endpoint: u64, weight: u32) -> Self {
        let mixed = mix(key_hash ^ mix(endpoint.wrapping_add(0x9e37_79b9_7f4a_7c15)));
        Self { weight: u64::from(weight), length: length(mixed) }
    }

    fn cmp(self, other: Self) -> Ordering {
        let (ours, theirs) = (
            u128::from(self.weight) * u128::from(other.length),
            u128::from(other.weight) * u128::from(self.length),
        );
        ours.cmp(&theirs)
    }

    /// Whether this one wins; of equal ones the first.
    pub(crate) fn beats(self, other: Self) -> bool {
        self.cmp(other) == Ordering::Greater
    }
}

/// −log₂(hash / 2⁶⁴), with [`DIGITS`] digits.
fn length(hash: u64) -> u64 {
    let hash = hash | 1;
    let zeros = hash.leading_zeros();
    // 1 ≤ x < 2, with 63 digits; squaring it doubles its logarithm.
    let mut x = hash << zeros;
    let mut fraction = 0;
    for digit in (0..DIGITS).rev() {
        let square = (u128::from(x) * u128::from(x)) >> 63;
        let is_two = square >> 64 != 0;
        fraction |= u64::from(is_two) << digit;
        x = u64::try_from(if is_two { square >> 1 } else { square }).unwrap_or(u64::MAX);
    }
    (u64::from(zeros + 1) << DIGITS) - fraction
}

/// FNV-1a. Part of what decides where keys go: never to be changed.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    mix(hash)
}

/// Spreads every bit over all of them.
pub(crate) fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    bits = (bits ^ (bits >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    bits ^ (bits >> 33)
}

/// Endpoints with their weights.
#[derive(Debug)]
pub(crate) struct Weights<T>(BTreeMap<T, u32>);

impl<T> Default for Weights<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: Endpoint> Weights<T> {
    /// Adds a binding: the weights of several to one endpoint add up.
    pub(crate) fn add(&mut self, key: &[u8], end: T) {
        *self.0.entry(end).or_insert(0) += weight(key).unwrap_or(1);
    }

    pub(crate) fn remove(&mut self, key: &[u8], end: T) {
        if let Some(sum) = self.0.get_mut(&end) {
            *sum = sum.saturating_sub(weight(key).unwrap_or(1));
            if *sum == 0 {
                self.0.remove(&end);
            }
        }
    }

    /// The endpoint that a key goes to, among those that may be taken.
    pub(crate) fn choose(&self, key: &[u8], may: impl Fn(T) -> bool) -> Option<(Draw, T)> {
        let key = hash(key);
        let mut best: Option<(Draw, T)> = None;
        for (end, weight) in self.0.iter().filter(|(end, _)| may(**end)) {
            let draw = Draw::of(key, end.number(), *weight);
            if best.is_none_or(|(highest, _)| draw.beats(highest)) {
                best = Some((draw, *end));
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u32) -> Vec<u8> {
        format!("customer.{number}").into_bytes()
    }

    fn choose(weights: &Weights<u32>, number: u32) -> Option<u32> {
        weights.choose(&key(number), |_| true).map(|(_, end)| end)
    }

    #[test]
    fn a_weight_is_a_plain_number() {
        for (key, expected) in [
            ("", Some(1)),
            ("1", Some(1)),
            ("1000", Some(1000)),
            ("1001", None),
            ("0", None),
            ("01", None),
            ("+1", None),
            ("a", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(weight(key.as_bytes()), expected, "{key}");
        }
    }

    #[test]
    fn endpoints_win_in_proportion_to_their_weights() {
        let mut weights = Weights::default();
        let given = [("1", 7u32), ("2", 8), ("3", 9), ("10", 10)];
        for (weight, end) in given {
            weights.add(weight.as_bytes(), end);
        }
        let total = 64_000;
        let mut won = BTreeMap::new();
        for number in 0..total {
            *won.entry(choose(&weights, number).expect("there are some")).or_insert(0u32) += 1;
        }
        for (weight, end) in given {
            let share = f64::from(won[&end]) * 16.0 / f64::from(total);
            let wanted: f64 = weight.parse().expect("a number");
            assert!((share / wanted - 1.0).abs() < 0.1, "{end}: {share} for {wanted}");
        }
    }

    #[test]
    fn only_the_keys_of_one_that_goes_move() {
        let mut weights = Weights::default();
        for end in 0..20u32 {
            weights.add(b"3", end);
        }
        let before: Vec<_> = (0..5000).map(|number| choose(&weights, number)).collect();
        weights.remove(b"3", 13);
        let mut moved = 0;
        for (number, was) in (0..5000).zip(&before) {
            let is = choose(&weights, number);
            assert_ne!(is, Some(13));
            if is != *was {
                assert_eq!(*was, Some(13), "a key moved that was not of the one that went");
                moved += 1;
            }
        }
        assert!((150..350).contains(&moved), "{moved}");
        weights.add(b"3", 13);
        let again: Vec<_> = (0..5000).map(|number| choose(&weights, number)).collect();
        assert_eq!(again, before);
    }

    #[test]
    fn where_keys_go_is_for_ever() {
        let mut weights = Weights::default();
        for end in 0..8u32 {
            weights.add(b"", end);
        }
        let chosen: Vec<_> = (0..12).filter_map(|number| choose(&weights, number)).collect();
        assert_eq!(chosen, PINNED);
    }

    const PINNED: [u32; 12] = [1, 4, 6, 4, 2, 6, 6, 5, 6, 2, 3, 5];
}
