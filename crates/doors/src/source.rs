//! Where connections come from, and how many may come from one place.
//!
//! A *source* is an IPv4 address, or a network of 64 bits of IPv6, which is what one customer gets.
//! Each connection is a [`Visit`] from the moment it is accepted; what it counts for is given back
//! when that is dropped, whichever way the connection ends. A source without connections is
//! forgotten: there are never more of them than connections. That a source is refused is logged
//! once for as long as it has connections.

use courant::Refusal;
use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The bits of an IPv6 address that are the customer's network.
const NETWORK: u128 = !0 << 64;

/// Where connections come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    V4(std::net::Ipv4Addr),
    /// The network's first address.
    V6(Ipv6Addr),
}

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => Self::V6(Ipv6Addr::from_bits(address.to_bits() & NETWORK)),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(address) => address.fmt(f),
            Self::V6(network) => write!(f, "{network}/64"),
        }
    }
}

/// How many connections one source may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceCaps {
    /// Connections at a time.
    pub connections_max: usize,
    /// Those of them whose CONNECT was not accepted yet.
    pub unauthenticated_max: usize,
}

impl Default for SourceCaps {
    fn default() -> Self {
        Self { connections_max: 16_384, unauthenticated_max: 1_000 }
    }
}

#[derive(Debug, Default)]
struct Counts {
    connections: usize,
    unauthenticated: usize,
    /// Whether it was logged that it may have no more.
    is_logged: bool,
}

#[derive(Debug, Default)]
struct Table {
    caps: SourceCaps,
    by_source: HashMap<Source, Counts>,
}

/// All sources that have connections.
#[derive(Debug, Default)]
pub(crate) struct Sources(Mutex<Table>);

/// One connection, as it counts for its source.
#[derive(Debug)]
pub(crate) struct Visit {
    sources: Arc<Sources>,
    source: Source,
    is_stranger: bool,
}

impl Sources {
    pub(crate) fn new(caps: SourceCaps) -> Self {
        Self(Mutex::new(Table { caps, by_source: HashMap::new() }))
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts other caps in place. Connections that are there stay.
    pub(crate) fn set_caps(&self, caps: SourceCaps) {
        self.lock().caps = caps;
    }

    /// Lets one connection more in that has not logged in, unless it is one too many.
    pub(crate) fn enter(self: &Arc<Self>, source: Source) -> Result<Visit, Refusal> {
        let mut table = self.lock();
        let Table { caps, by_source } = &mut *table;
        let counts = by_source.entry(source).or_default();
        let refusal = if counts.connections >= caps.connections_max {
            Some(Refusal::TooManyConnections)
        } else if counts.unauthenticated >= caps.unauthenticated_max {
            Some(Refusal::TooManyUnauthenticated)
        } else {
            None
        };
        if let Some(refusal) = refusal {
            if !std::mem::replace(&mut counts.is_logged, true) {
                let Counts { connections, unauthenticated, .. } = *counts;
                tracing::warn!(%source, connections, unauthenticated, "refused: {refusal}");
            }
            if counts.connections == 0 {
                by_source.remove(&source);
            }
            return Err(refusal);
        }
        counts.connections += 1;
        counts.unauthenticated += 1;
        Ok(Visit { sources: Arc::clone(self), source, is_stranger: true })
    }
}

impl Visit {
    /// Notes that it has logged in.
    pub(crate) fn is_let_in(&mut self) {
        if std::mem::take(&mut self.is_stranger)
            && let Some(counts) = self.sources.lock().by_source.get_mut(&self.source)
        {
            counts.unauthenticated -= 1;
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let mut table = self.sources.lock();
        let Some(counts) = table.by_source.get_mut(&self.source) else { return };
        counts.connections -= 1;
        counts.unauthenticated -= usize::from(self.is_stranger);
        if counts.connections == 0 {
            table.by_source.remove(&self.source);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::from(text.parse::<IpAddr>().expect("an address"))
    }

    #[test]
    fn a_source_is_an_address_or_a_network() {
        assert_eq!(source("::ffff:192.0.2.7"), source("192.0.2.7"));
        assert_ne!(source("192.0.2.8"), source("192.0.2.7"));
        assert_eq!(source("2001:db8:1:2:3:4:5:6"), source("2001:db8:1:2:ffff::1"));
        assert_ne!(source("2001:db8:1:3::1"), source("2001:db8:1:2::1"));
        assert_eq!(source("2001:db8:1:2:3:4:5:6").to_string(), "2001:db8:1:2::/64");
        assert_eq!(source("::ffff:192.0.2.7").to_string(), "192.0.2.7");
    }

    #[test]
    fn a_cap_lowered_below_what_is_there_closes_nothing() {
        let sources = Arc::new(Sources::new(SourceCaps::default()));
        let here = source("192.0.2.1");
        let first = sources.enter(here).expect("room");
        sources.set_caps(SourceCaps { connections_max: 1, unauthenticated_max: 0 });
        assert_eq!(sources.enter(here).err(), Some(Refusal::TooManyConnections));
        let elsewhere = sources.enter(source("192.0.2.2")).err();
        assert_eq!(elsewhere, Some(Refusal::TooManyUnauthenticated));
        drop(first);
        assert!(sources.lock().by_source.is_empty());
    }

    /// Whatever comes and goes in whatever order, the counts are what a list of it says.
    #[test]
    fn counts_never_drift() {
        let seed = std::env::var("COURANT_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed: u64 = seed.unwrap_or(0x5eed_0001);
        let mut state = seed | 1;
        let mut random = move |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state >> 33).unwrap_or(0) % below
        };
        let caps = SourceCaps { connections_max: 6, unauthenticated_max: 3 };
        let sources = Arc::new(Sources::new(caps));
        let places: Vec<_> = (0..5).map(|n| source(&format!("10.0.0.{n}"))).collect();
        let mut visits: Vec<Visit> = Vec::new();
        for step in 0..20_000 {
            let count = |place: Source, strangers: bool| {
                let of = visits.iter().filter(|visit| visit.source == place);
                of.filter(|visit| !strangers || visit.is_stranger).count()
            };
            match random(4) {
                0 | 1 => {
                    let place = places[random(places.len())];
                    let expected = match (count(place, false), count(place, true)) {
                        (6.., _) => Some(Refusal::TooManyConnections),
                        (_, 3..) => Some(Refusal::TooManyUnauthenticated),
                        _ => None,
                    };
                    let entered = sources.enter(place);
                    assert_eq!(entered.as_ref().err().copied(), expected, "{seed} {step}");
                    visits.extend(entered);
                }
                2 if !visits.is_empty() => {
                    let nth = random(visits.len());
                    visits[nth].is_let_in();
                }
                _ if !visits.is_empty() => drop(visits.swap_remove(random(visits.len()))),
                _ => {}
            }
            let there = visits.iter().map(|visit| visit.source);
            let places = there.collect::<std::collections::HashSet<_>>().len();
            assert_eq!(sources.lock().by_source.len(), places, "{seed} {step}");
        }
        drop(visits);
        assert!(sources.lock().by_source.is_empty(), "{seed}");
    }
}
