//! What stands before and after the cycles: the declarations, and the drain of all outlets.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, bail};
use courant_wire::Handle;

use super::load::{append_publish, confirm, deliver, new_lane};
use super::topology::{Topology, subscribe_line};
use crate::client::{ANSWER_WITHIN, Client, Incoming};
use crate::oracle::{Oracle, Outlet};
use crate::random::Random;
use crate::stamp::{self, Origin};

/// Handles on one ACK: they have to fit on a line.
const ACKS_PER_LINE: usize = 64;

const CREDIT: u32 = 1000;

/// Declares everything durable, subscribers included.
pub fn prepare(address: SocketAddr, topology: &Topology) -> Result<()> {
    let mut client = Client::connect(address)?;
    debug_assert!(topology.publishers > 0);
    for route in Topology::ROUTES {
        client.line(&format!("DECLARE {route}"))?;
    }
    for (outlet, name) in Topology::OUTLETS.iter().enumerate() {
        if name.subscriber.is_some() {
            client.line(&subscribe_line(outlet, 1))?;
        }
    }
    client.line("QUIT")?;
    Ok(())
}

/// Publishes a marker to each route, and takes and acks everything up to it, from each outlet.
pub fn run(address: SocketAddr, topology: &Topology, oracle: &Mutex<Oracle>) -> Result<()> {
    let mut client = Client::connect(address)?;
    let publisher = topology.marker_publisher();
    for (route, destination) in Topology::ROUTES.iter().enumerate() {
        let sequence = lock(oracle).next_sequence(publisher);
        let origin = Origin { publisher, sequence };
        let stamped = stamp::make(origin, &mut Random::new(sequence));
        lock(oracle).sending(route, stamped.stamp);
        let mut command = Vec::new();
        append_publish(&mut command, destination, &stamped);
        let fields = client.call(&command)?;
        confirm(&mut lock(oracle), origin, &fields)?;
        for (outlet, name) in Topology::OUTLETS.iter().enumerate() {
            if name.destination == *destination {
                let alone =
                    topology.consumers.iter().all(|other| other.outlet != outlet || other.alone);
                let lane = if alone { 0 } else { new_lane() };
                empty(address, outlet, lane, origin, oracle)
                    .with_context(|| format!("{destination} {:?}", name.subscriber))?;
            }
        }
    }
    Ok(())
}

/// Takes and acks everything up to `marker`.
fn empty(
    address: SocketAddr,
    outlet: Outlet,
    lane: u64,
    marker: Origin,
    oracle: &Mutex<Oracle>,
) -> Result<()> {
    let mut client = Client::connect(address)?;
    client.line(&subscribe_line(outlet, CREDIT))?;
    let mut open: Vec<(Origin, Handle)> = Vec::new();
    loop {
        let message = client.message()?;
        let delivery = deliver(&mut lock(oracle), outlet, lane, &message);
        open.extend(delivery);
        let is_last = delivery.is_some_and(|(origin, _)| origin == marker);
        if open.len() >= ACKS_PER_LINE || is_last {
            ack(&mut client, outlet, &mut open, oracle)?;
        }
        if is_last {
            break;
        }
        // Faults may use up the credit; then nothing would come any more.
        if delivery.is_none() && lock(oracle).counts().faults() > u64::from(CREDIT) / 2 {
            bail!("too much is wrong to go on");
        }
    }
    client.line("QUIT")?;
    Ok(())
}

/// Acks with a synced confirm; the answers are read at once, so that the oracle knows them.
fn ack(
    client: &mut Client,
    outlet: Outlet,
    open: &mut Vec<(Origin, Handle)>,
    oracle: &Mutex<Oracle>,
) -> Result<()> {
    let mut line = String::from("ACK");
    for (origin, handle) in open.iter() {
        lock(oracle).acking(outlet, *origin);
        let _ = write!(line, " msg_id:{handle}");
    }
    line.push_str(" confirm:synced\n");
    client.send(line.as_bytes())?;
    match client.reply()? {
        Incoming::Ok(_) => {}
        other => bail!("an ack was answered by {other:?} within {ANSWER_WITHIN:?}"),
    }
    for (origin, _) in open.drain(..) {
        lock(oracle).acked(outlet, origin, true);
    }
    Ok(())
}

fn lock(oracle: &Mutex<Oracle>) -> MutexGuard<'_, Oracle> {
    oracle.lock().unwrap_or_else(PoisonError::into_inner)
}
