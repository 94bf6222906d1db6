//! What a campaign did and what was wrong, in numbers.

use std::fmt;
use std::time::Duration;

macro_rules! counts {
    ($($(#[$meta:meta])* $field:ident: $name:literal,)*) => {
        /// Counts of one campaign, or of several added up.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Counts {
            $($(#[$meta])* pub $field: u64,)*
            /// The longest time from a start to its ready line.
            pub ready_max: Duration,
        }

        impl Counts {
            /// Adds the counts of another part.
            pub fn add(&mut self, other: &Self) {
                $(self.$field += other.$field;)*
                self.ready_max = self.ready_max.max(other.ready_max);
            }

            /// Names and numbers, in the order of the fields.
            pub fn rows(&self) -> Vec<(&'static str, u64)> {
                vec![$(($name, self.$field),)*]
            }
        }
    };
}

counts! {
    /// Times a broker was started for load.
    cycles: "cycles",
    /// Ended by SIGKILL under load.
    kills: "killed under load",
    /// Ended by SIGKILL before the ready line.
    kills_opening: "killed while opening",
    /// Of all these, the ones that killed themselves at a named step.
    kills_named: "killed at a named step",
    /// Times the power was cut after the end of the process.
    cuts: "power cuts",
    /// Bytes that were written and not synced, and that a cut took.
    bytes_forgotten: "bytes forgotten",
    /// Changes of names that were not synced, and that a cut took.
    names_forgotten: "names forgotten",
    /// Snapshots that the brokers said they made.
    snapshots: "snapshots",
    /// Times they said that space was given back.
    reclaims: "space given back",
    /// Ended by SIGTERM under load.
    stops: "stopped under load",
    /// Messages sent.
    published: "published",
    /// Messages confirmed.
    confirmed: "confirmed",
    /// Deliveries read, the first of each message and queue.
    delivered: "delivered",
    /// Deliveries read, all but the first.
    redelivered: "redelivered",
    /// Deliveries given back.
    nacked: "nacked",
    /// Acks answered by OK.
    acked: "acked",
    /// Of these, the ones that were confirmed as synced.
    acked_synced: "acked synced",
    /// Confirmed, or delivered once, and never settled by anybody, yet gone.
    lost: "lost",
    /// Came out and never went in, or not there.
    invented: "invented",
    /// Came out and is not what went in.
    altered: "altered",
    /// First deliveries after a later message of the same publisher.
    out_of_order: "out of order",
    /// Came again after an ack that had to hold.
    resurrected: "resurrected",
    /// Came twice though nobody gave it back and nothing was restarted.
    duplicated: "duplicated",
    /// Came again and did not say so.
    unmarked: "unmarked",
    /// One id or handle for two things, or two ids for one message.
    ids_reused: "ids reused",
    /// Commands refused, or connections lost, while the broker had to serve.
    refused: "refused",
}

impl Counts {
    /// What was wrong, of any kind.
    pub fn faults(&self) -> u64 {
        self.lost
            + self.invented
            + self.altered
            + self.out_of_order
            + self.resurrected
            + self.duplicated
            + self.unmarked
            + self.ids_reused
            + self.refused
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, count) in self.rows() {
            write!(formatter, "{name} {count} · ")?;
        }
        write!(formatter, "slowest start {} ms", self.ready_max.as_millis())
    }
}

#[cfg(test)]
mod tests {
    use super::Counts;

    #[test]
    fn parts_add_up_and_every_fault_counts() {
        let mut all = Counts { lost: 1, published: 7, ..Counts::default() };
        all.add(&Counts { unmarked: 2, published: 3, ..Counts::default() });
        assert_eq!((all.published, all.faults()), (10, 3));
        assert!(all.to_string().contains("lost 1 · invented 0"));
    }
}
