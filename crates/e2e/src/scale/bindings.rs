//! Many bindings with wildcards: what a message costs that takes one of them.
//!
//! Two exchanges of kind topic, alike but for the number of bindings. A message goes to the same
//! one queue from both. Measured with few keys, whose routes are remembered, and with a new key
//! for every message.

use std::path::Path;

use anyhow::Result;
use indicatif::ProgressBar;

use super::{AT_ONCE, Cost, Plan, measure, share_out};
use crate::client::Client;
use crate::figures::Figures;
use crate::server::{Launch, Server};

/// What a message through all bindings costs, as a multiple of one through one.
const TIMES_MAX: f64 = 2.0;
/// Queues that the other bindings go to.
const OTHERS: usize = 100;
/// Messages that are sent before anything is measured.
const WARM_UP: usize = 5_000;

pub(super) fn run(
    plan: &Plan,
    data: &Path,
    progress: &ProgressBar,
    figures: &mut Figures,
) -> Result<()> {
    let server = Launch::new(data)?.start()?;
    prepare(plan, &server, progress)?;
    figures.count("bindings", plan.bindings as u64, None);
    publish(&server, "one", 16, WARM_UP)?;
    for (keys, names) in [
        (16, ["one binding, few keys", "all bindings, few keys", "for few keys"]),
        (usize::MAX, ["one binding, new keys", "all bindings, new keys", "for new keys"]),
    ] {
        let one = publish(&server, "one", keys, plan.messages)?;
        progress.inc(plan.messages as u64);
        let all = publish(&server, "all", keys, plan.messages)?;
        progress.inc(plan.messages as u64);
        for (name, cost) in names.into_iter().zip([one, all]) {
            #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
            let each = cost.cpu.as_secs_f64() * 1e6 / plan.messages as f64;
            figures.add(name, each, "us", None);
        }
        let times = all.cpu.as_secs_f64() / one.cpu.as_secs_f64().max(1e-9);
        figures.add(names[2], times, "x", Some(TIMES_MAX));
    }
    server.stop()?;
    Ok(())
}

fn prepare(plan: &Plan, server: &Server, progress: &ProgressBar) -> Result<()> {
    let mut client = Client::connect(server.address()?)?;
    client.line("DECLARE queue:wanted durable:no")?;
    for exchange in ["one", "all"] {
        client.line(&format!("DECLARE exchange:{exchange} kind:topic"))?;
        client.line(&format!("BIND exchange:{exchange} queue:wanted key:wanted.*.here"))?;
    }
    let others: Vec<_> =
        (0..OTHERS).map(|number| format!("DECLARE queue:other.{number}\n")).collect();
    share_out(server.address()?, &others)?;
    let bind = |number: usize| {
        let key = match number % 4 {
            0 => format!("k{number}.*.x"),
            1 => format!("*.k{number}.y"),
            2 => format!("k{number}.%23"),
            _ => format!("a.b{number}.*.%23.c"),
        };
        format!("BIND exchange:all queue:other.{} key:{key}\n", number % OTHERS)
    };
    let all: Vec<_> = (0..plan.bindings).map(bind).collect();
    for part in all.chunks(AT_ONCE * 500) {
        share_out(server.address()?, part)?;
        progress.inc(part.len() as u64);
    }
    Ok(())
}

/// `keys` different ones, again and again.
fn publish(server: &Server, exchange: &str, keys: usize, messages: usize) -> Result<Cost> {
    let mut client = Client::connect(server.address()?)?;
    let commands: Vec<_> = (0..messages)
        .map(|number| {
            let key = number % keys;
            format!("PUB exchange:{exchange} key:wanted.{key}.here durable:no 4\nbody\n")
        })
        .collect();
    measure(server, || super::call_all(&mut client, &commands))
}
