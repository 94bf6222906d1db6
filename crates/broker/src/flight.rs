//! What a session has on its way into the log: its part of the account of its connection.
//!
//! Invariant: `bytes` is the sum of `list`, which is in the order of the tickets.

use courant_storage::Ticket;
use std::collections::VecDeque;

/// Batches that are not committed, and at most how large they are.
#[derive(Debug, Default)]
pub(crate) struct Flight {
    list: VecDeque<(Ticket, usize)>,
    bytes: usize,
}

impl Flight {
    /// Notes a batch behind all before it.
    pub(crate) fn push(&mut self, ticket: Ticket, bytes: usize) {
        self.bytes += bytes;
        self.list.push_back((ticket, bytes));
    }

    /// Forgets what is committed.
    pub(crate) fn land(&mut self, up_to: Ticket) {
        while let Some((_, bytes)) = self.list.pop_front_if(|(ticket, _)| *ticket <= up_to) {
            self.bytes -= bytes;
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The oldest of them, if with so much more they were above a bound.
    pub(crate) fn has_to_land(&self, more: usize, bytes_max: u64) -> Option<Ticket> {
        let is_over = self.bytes.saturating_add(more) as u64 > bytes_max;
        self.list.front().filter(|_| is_over).map(|(ticket, _)| *ticket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_landed_is_not_counted() {
        let mut flight = Flight::default();
        assert_eq!(flight.has_to_land(1_000, 1), None, "one alone always may");
        for ticket in 1..=3 {
            flight.push(Ticket(ticket * 10), 100);
        }
        assert_eq!(flight.has_to_land(100, 400), None);
        assert_eq!(flight.has_to_land(101, 400), Some(Ticket(10)));
        flight.land(Ticket(25));
        assert_eq!((flight.bytes(), flight.has_to_land(0, 99)), (100, Some(Ticket(30))));
        flight.land(Ticket(30));
        assert_eq!((flight.bytes(), flight.has_to_land(0, 0)), (0, None));
    }
}
