//! What a campaign publishes to, and who takes it out.
//!
//! | outlet | fed by | consumers | settles |
//! |---|---|---|---|
//! | `queue:solo` | route 0 | one | plain acks |
//! | `queue:shared` | route 1 | several | synced acks, nacks first, ranges |
//! | `queue:cold` | route 2 | none before the drain | |
//! | `topic:events`, `audit` | route 3 | one | synced acks, some nacked first |
//! | `topic:events`, `away` | route 3 | none before the drain | |

use crate::oracle::{Oracle, Outlet, Route};
use crate::random::Random;

/// How a consumer settles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settling {
    /// Each message by an ack.
    Plain,
    /// Each by an ack that is confirmed as synced; one in eight is given back first.
    Synced,
    /// As `Plain`, one in eight given back first.
    NackFirst,
    /// By `upto`, confirmed as synced, one command for several messages.
    Ranges,
}

/// A consumer under load.
#[derive(Clone, Copy, Debug)]
pub struct Consumer {
    /// Of what.
    pub outlet: Outlet,
    /// How it settles.
    pub settling: Settling,
    /// Messages open at once.
    pub credit: u32,
    /// Whether it has the outlet for itself.
    pub alone: bool,
}

/// One of [`Topology::OUTLETS`].
#[derive(Clone, Copy, Debug)]
pub struct OutletName {
    /// What to subscribe to.
    pub destination: &'static str,
    /// The durable subscriber.
    pub subscriber: Option<&'static str>,
}

/// All of it.
#[derive(Clone, Debug)]
pub struct Topology {
    /// Publishers under load; the drain has one more.
    pub publishers: u32,
    /// Consumers under load.
    pub consumers: Vec<Consumer>,
}

const SOLO: Outlet = 0;
const SHARED: Outlet = 1;
const AUDIT: Outlet = 3;

impl Topology {
    /// Where messages are published to.
    pub const ROUTES: [&'static str; 4] =
        ["queue:solo", "queue:shared", "queue:cold", "topic:events"];

    /// Where they come out of.
    pub const OUTLETS: [OutletName; 5] = [
        OutletName { destination: "queue:solo", subscriber: None },
        OutletName { destination: "queue:shared", subscriber: None },
        OutletName { destination: "queue:cold", subscriber: None },
        OutletName { destination: "topic:events", subscriber: Some("audit") },
        OutletName { destination: "topic:events", subscriber: Some("away") },
    ];

    /// With so many publishers, and consumers of the shared queue.
    pub fn new(publishers: u32, shared: u32) -> Self {
        let ways = [Settling::Synced, Settling::NackFirst, Settling::Ranges];
        let mut consumers = vec![
            Consumer { outlet: SOLO, settling: Settling::Plain, credit: 200, alone: true },
            Consumer { outlet: AUDIT, settling: Settling::Synced, credit: 64, alone: true },
        ];
        for settling in ways.into_iter().cycle().take(shared as usize) {
            consumers.push(Consumer { outlet: SHARED, settling, credit: 32, alone: false });
        }
        Self { publishers, consumers }
    }

    /// An oracle for it.
    pub fn oracle(&self) -> Oracle {
        Oracle::new(self.publishers + 1, vec![vec![0], vec![1], vec![2], vec![3, 4]])
    }

    /// The publisher of the drain's markers.
    pub fn marker_publisher(&self) -> u32 {
        self.publishers
    }

    /// A route; seldom the ones that nobody empties.
    pub fn route(random: &mut Random) -> Route {
        match random.below(16) {
            0..=5 => 0,
            6..=11 => 1,
            12 => 2,
            _ => 3,
        }
    }
}

/// The command that subscribes to an outlet.
pub fn subscribe_line(outlet: Outlet, credit: u32) -> String {
    let OutletName { destination, subscriber } = Topology::OUTLETS[outlet];
    let name = subscriber.map_or_else(String::new, |name| format!(" name:{name}"));
    format!("SUB {destination} sub_id:s{outlet}{name} credit:{credit}")
}
