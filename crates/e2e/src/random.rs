//! Seeded numbers (`SplitMix64`): the same seed gives the same numbers on every machine.

use std::time::{SystemTime, UNIX_EPOCH};

/// The seed of a test: what `COURANT_SEED` says, or a new one. It is printed, to be given back.
pub fn seed() -> u64 {
    let seed = if let Ok(given) = std::env::var("COURANT_SEED") {
        given.parse().expect("COURANT_SEED is a number")
    } else {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::from(since.subsec_nanos())
    };
    eprintln!("COURANT_SEED={seed}");
    seed
}

/// A stream of numbers.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The stream of `seed`.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A stream of its own for part `index` of what `seed` governs.
    pub fn part(seed: u64, index: u64) -> Self {
        let mut root = Self::new(seed ^ mix(index.wrapping_add(1)));
        Self { state: root.number() }
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }

    /// A number below `end`, or 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.number().checked_rem(end).unwrap_or(0)
    }

    /// A number from `first` to `last`.
    pub fn between(&mut self, first: u64, last: u64) -> u64 {
        first + self.below(last.saturating_sub(first) + 1)
    }

    /// Whether something that happens once in `n` times happens now.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// Appends `count` bytes.
    pub fn bytes(&mut self, count: usize, out: &mut Vec<u8>) {
        let end = out.len() + count;
        while out.len() < end {
            let word = self.number().to_le_bytes();
            let take = word.len().min(end - out.len());
            out.extend_from_slice(&word[..take]);
        }
    }
}

/// The finisher of `SplitMix64`: every bit of the result depends on every bit of `value`.
pub fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn a_seed_gives_the_same_numbers_and_parts_differ() {
        let numbers = |mut random: Random| [random.number(), random.number(), random.number()];
        assert_eq!(numbers(Random::new(7)), numbers(Random::new(7)));
        assert_ne!(numbers(Random::part(7, 0)), numbers(Random::part(7, 1)));
        let mut bytes = Vec::new();
        Random::new(1).bytes(13, &mut bytes);
        assert_eq!(bytes.len(), 13);
    }
}
