//! Commands that wait for an answer, by their numbers.

use std::collections::{HashMap, VecDeque};

use crate::client::Answer;
use crate::error::RequestError;
use crate::limits::ITEM_BYTES_MAX;
use crate::message::Delivered;
use crate::worker::To;

/// What was asked.
#[derive(Debug)]
pub(crate) enum Waiting {
    Subscribe(u32),
    Claim { answer: To<Vec<Delivered>>, taken: Vec<Delivered> },
    Line { answer: To<Answer>, so_far: Answer, bytes: usize },
}

/// All that wait; the client lets in a limited number of them.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    last: u32,
    waiting: HashMap<u32, Waiting>,
    /// Claims are answered in their order, and their messages do not say of which they are.
    claims: VecDeque<u32>,
}

impl Requests {
    /// The next number; 0 is none.
    pub(crate) fn number(&mut self) -> u32 {
        self.last = self.last.checked_add(1).unwrap_or(1);
        self.last
    }

    pub(crate) fn add(&mut self, waiting: Waiting) -> u32 {
        let req = self.number();
        self.waiting.insert(req, waiting);
        req
    }

    pub(crate) fn claim(&mut self, answer: To<Vec<Delivered>>) -> u32 {
        let req = self.add(Waiting::Claim { answer, taken: Vec::new() });
        self.claims.push_back(req);
        req
    }

    /// Messages of the first claim. `false`: there is none.
    pub(crate) fn claimed(&mut self, messages: impl Iterator<Item = Delivered>) -> bool {
        let first = self.claims.front().and_then(|req| self.waiting.get_mut(req));
        let Some(Waiting::Claim { taken, .. }) = first else { return false };
        taken.extend(messages);
        true
    }

    /// An ITEM of a command. More than the client keeps is not kept, and the command fails.
    pub(crate) fn item(&mut self, req: u32, fields: &[u8]) {
        if let Some(Waiting::Line { so_far, bytes, .. }) = self.waiting.get_mut(&req) {
            *bytes = bytes.saturating_add(fields.len() + size_of::<String>());
            if *bytes <= ITEM_BYTES_MAX {
                so_far.items.push(String::from_utf8_lossy(fields).into_owned());
            }
        }
    }

    /// Takes what the answer is for.
    pub(crate) fn take(&mut self, req: u32) -> Option<Waiting> {
        let waiting = self.waiting.remove(&req)?;
        if matches!(waiting, Waiting::Claim { .. }) {
            self.claims.retain(|claim| *claim != req);
        }
        Some(waiting)
    }

    /// The connection has ended: nobody knows what became of them. Subscriptions are made again.
    pub(crate) fn fail(&mut self) {
        self.claims.clear();
        for (_, waiting) in self.waiting.drain() {
            // Whoever does not wait any more need not be told.
            match waiting {
                Waiting::Subscribe(_) => {}
                Waiting::Claim { answer, .. } => drop(answer.send(Err(RequestError::Unknown))),
                Waiting::Line { answer, .. } => drop(answer.send(Err(RequestError::Unknown))),
            }
        }
    }
}
