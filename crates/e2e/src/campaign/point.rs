//! Named steps on the way to the disk at which a testing build kills itself.

use std::collections::BTreeMap;
use std::fmt;

use crate::random::Random;

/// (step, what, how often it comes in one run at most)
const STEPS: &[(&str, &str, u64)] = &[
    ("create", "segment", 6),
    ("set-len", "segment", 6),
    ("write", "segment", 600),
    ("sync", "segment", 300),
    ("remove", "segment", 3),
    ("write", "manifest", 6),
    ("sync", "manifest", 6),
    ("write", "checkpoint", 16),
    ("sync", "checkpoint", 16),
    ("create", "index", 6),
    ("write", "index", 6),
    ("remove", "index", 3),
    ("set-len", "reserve", 2),
    ("sync-folder", "folder", 12),
];

/// One of them: what `COURANT_FAIL_POINT` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// All but the number.
    pub name: String,
    /// The how manieth time it is reached.
    pub n: u64,
}

impl Point {
    /// Any of them, earlier times more often.
    pub fn choose(random: &mut Random) -> Self {
        let index = usize::try_from(random.below(STEPS.len() as u64)).unwrap_or(0);
        let (step, what, times) = STEPS[index];
        let actions: &[&str] = match step {
            "write" => &["kill-before", "kill-within", "kill-after"],
            _ => &["kill-before", "kill-after"],
        };
        let action = actions[usize::try_from(random.below(actions.len() as u64)).unwrap_or(0)];
        let within = random.between(1, times);
        Self { name: format!("{action} {step} {what}"), n: random.between(1, within) }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.name, self.n)
    }
}

/// How often each point was tried, and how often it was reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Points(BTreeMap<String, (u64, u64)>);

impl Points {
    /// One try.
    pub fn add(&mut self, point: &Point, is_reached: bool) {
        let (tried, reached) = self.0.entry(point.name.clone()).or_default();
        *tried += 1;
        *reached += u64::from(is_reached);
    }

    /// The tries of another part.
    pub fn merge(&mut self, other: &Self) {
        for (name, (tried, reached)) in &other.0 {
            let sum = self.0.entry(name.clone()).or_default();
            *sum = (sum.0 + tried, sum.1 + reached);
        }
    }

    /// (name, tried, reached)
    pub fn rows(&self) -> impl Iterator<Item = (&str, u64, u64)> {
        self.0.iter().map(|(name, (tried, reached))| (name.as_str(), *tried, *reached))
    }

    /// Tries that were reached.
    pub fn reached(&self) -> u64 {
        self.0.values().map(|(_, reached)| reached).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::{Point, Points};
    use crate::random::Random;

    #[test]
    fn all_points_are_tried_sooner_or_later() {
        let mut random = Random::new(1);
        let mut points = Points::default();
        for _ in 0..4000 {
            points.add(&Point::choose(&mut random), true);
        }
        assert_eq!(points.rows().count(), 32);
        assert_eq!(points.reached(), 4000);
    }
}
