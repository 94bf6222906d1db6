//! Those who do their part badly: readers that stopped reading, and consumers that never ack.

use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Result;

use super::{BACKLOG, FLOOD};
use crate::client::{Client, ClientError};

/// Messages that one who never acks may have open.
const CREDIT: u32 = 100;

#[derive(Debug)]
struct Members {
    stalled: Vec<(String, Client)>,
    never_acking: Vec<Client>,
    sent_away: u64,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Crowd {
    address: SocketAddr,
    members: Mutex<Members>,
}

impl Crowd {
    /// Connects and subscribes so many of each kind.
    pub(super) fn gather(address: SocketAddr, stalled: u32, never_acking: u32) -> Result<Self> {
        let mut members = Members { stalled: Vec::new(), never_acking: Vec::new(), sent_away: 0 };
        for index in 0..stalled {
            let line = if index % 2 == 0 {
                format!("SUB {BACKLOG} credit:65535\n")
            } else {
                format!("SUB {FLOOD} mode:live\n")
            };
            members.stalled.push((line.clone(), stall(address, &line)?));
        }
        for _ in 0..never_acking {
            let mut client = Client::connect(address)?;
            client.line(&format!("SUB {BACKLOG} credit:{CREDIT}"))?;
            members.never_acking.push(client);
        }
        Ok(Self { address, members: Mutex::new(members) })
    }

    /// Those who read do so, and all say that they are there. One that was sent away comes back.
    pub(super) fn keep(&self) -> Result<()> {
        let mut members = self.lock();
        let Members { stalled, never_acking, sent_away } = &mut *members;
        for (line, client) in stalled {
            if client.send(b"PONG\n").is_err() {
                *sent_away += 1;
                *client = stall(self.address, line)?;
            }
        }
        for client in never_acking {
            client.forget()?;
        }
        Ok(())
    }

    /// All of them leave; how many were sent away before.
    pub(super) fn leave(self) -> u64 {
        self.lock().sent_away
    }

    fn lock(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A client that sent a SUB and reads nothing any more.
fn stall(address: SocketAddr, line: &str) -> Result<Client, ClientError> {
    let mut client = Client::connect(address)?;
    client.send(line.as_bytes())?;
    Ok(client)
}
