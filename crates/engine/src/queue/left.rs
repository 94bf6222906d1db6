//! How many messages left for which reason: nothing goes without being counted.

use crate::delivery::Cause;
use std::fmt;

/// Counters by cause, since the opening. What consumers acked is not among them.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Left([u64; Cause::COUNT]);

impl fmt::Debug for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl FromIterator<(Cause, u64)> for Left {
    fn from_iter<T: IntoIterator<Item = (Cause, u64)>>(all: T) -> Self {
        let mut left = Self::default();
        all.into_iter().for_each(|(cause, count)| left.add(cause, count));
        left
    }
}

impl Left {
    pub(crate) fn add(&mut self, cause: Cause, count: u64) {
        self.0[cause as usize - 1] += count;
    }

    /// How many left for that reason.
    pub fn of(&self, cause: Cause) -> u64 {
        self.0[cause as usize - 1]
    }

    /// Every cause for which something left, with how much.
    pub fn iter(&self) -> impl Iterator<Item = (Cause, u64)> + '_ {
        let with_cause = |(index, count): (usize, &u64)| {
            let cause = Cause::from_number(u8::try_from(index + 1).ok()?)?;
            (*count > 0).then_some((cause, *count))
        };
        self.0.iter().enumerate().filter_map(with_cause)
    }
}
