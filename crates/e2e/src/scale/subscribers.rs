//! Subscribers that come and go, beside a publisher that is not to notice.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use indicatif::ProgressBar;

use super::{Plan, call_all};
use crate::client::Client;
use crate::figures::Figures;
use crate::server::Launch;

/// From a message to its confirm, of 99 in 100.
const CONFIRM_MAX: Duration = Duration::from_millis(5);
/// Connections on which they come and go.
const CONNECTIONS: usize = 4;
/// How often each of them sends commands.
const PACE: Duration = Duration::from_millis(10);
/// Between two messages of the publisher.
const PAUSE: Duration = Duration::from_micros(500);

pub(super) fn run(
    plan: &Plan,
    data: &Path,
    progress: &ProgressBar,
    figures: &mut Figures,
) -> Result<()> {
    let server = Launch::new(data)?.start()?;
    let address = server.address()?;
    let mut client = Client::connect(address)?;
    for topic in ["busy", "calm"] {
        client.line(&format!("DECLARE topic:{topic}"))?;
    }
    client.line("DECLARE queue:calm durable:no")?;
    let is_over = AtomicBool::new(false);
    progress.set_message("without");
    let (before, _) = measure(plan, address, 0, &is_over)?;
    figures.add("confirm p99 without subscribes", milliseconds(before), "ms", None);
    progress.set_message("with");
    let (after, came) = measure(plan, address, plan.subscribes, &is_over)?;
    let rate = came / plan.time.as_secs_f64();
    figures.add("subscribes, and as many unsubscribes", rate, "/s", None);
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let missing = 1.0 - rate / plan.subscribes as f64;
    let bound = plan.judges_time.then_some(5.0);
    figures.add("subscribes fewer than wanted", missing * 100.0, "%", bound);
    let bound = plan.judges_time.then_some(milliseconds(CONFIRM_MAX));
    figures.add("confirm p99 with them", milliseconds(after), "ms", bound);
    server.stop()?;
    Ok(())
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The publisher's p99, and how many subscriptions there were.
fn measure(
    plan: &Plan,
    address: SocketAddr,
    subscribes: usize,
    is_over: &AtomicBool,
) -> Result<(Duration, f64)> {
    is_over.store(false, Ordering::SeqCst);
    std::thread::scope(|scope| {
        let publishing = scope.spawn(|| publish(address, is_over));
        let churning: Vec<_> = (0..CONNECTIONS)
            .map(|_| scope.spawn(|| come_and_go(address, subscribes / CONNECTIONS, is_over)))
            .collect();
        std::thread::sleep(plan.time);
        is_over.store(true, Ordering::SeqCst);
        let mut came = 0.0;
        for thread in churning {
            came += thread.join().unwrap_or_else(|_| bail!("a subscriber panicked"))?;
        }
        let p99 = publishing.join().unwrap_or_else(|_| bail!("the publisher panicked"))?;
        Ok((p99, came))
    })
}

/// One message after the other into a queue that is taken from, each awaited.
fn publish(address: SocketAddr, is_over: &AtomicBool) -> Result<Duration> {
    let mut client = Client::connect(address)?;
    let mut consumer = Client::connect_quiet(address)?;
    consumer.line("SUB queue:calm req:s ack:auto")?;
    let mut times = Vec::new();
    while !is_over.load(Ordering::SeqCst) {
        let started = Instant::now();
        client.line("PUB queue:calm durable:no 4\nbody")?;
        times.push(started.elapsed());
        if times.len().is_multiple_of(100) {
            consumer.forget()?;
        }
        std::thread::sleep(PAUSE);
    }
    times.sort_unstable();
    Ok(times.get(times.len() * 99 / 100).copied().unwrap_or_default())
}

/// So many a second, on one connection; how many there were.
fn come_and_go(address: SocketAddr, per_second: usize, is_over: &AtomicBool) -> Result<f64> {
    let mut client = Client::connect(address)?;
    let (mut next, mut came) = (Instant::now(), 0.0);
    let each = per_second * usize::try_from(PACE.as_millis())? / 1000;
    let commands: Vec<_> = (0..each)
        .flat_map(|number| {
            let subscribe = format!("SUB topic:busy sub_id:s{number}\n");
            [subscribe, format!("UNSUB sub_id:s{number}\n")]
        })
        .collect();
    while !is_over.load(Ordering::SeqCst) {
        call_all(&mut client, &commands)?;
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let done = each as f64;
        came += done;
        next += PACE;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    Ok(came)
}
