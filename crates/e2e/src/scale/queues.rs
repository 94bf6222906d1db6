//! Many queues: declared, opened again after a `kill -9`, deleted.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::ProgressBar;

use super::{Cost, Plan, growth, measure, share_out};
use crate::figures::Figures;
use crate::server::{Launch, Server};
use crate::watch::memory;

/// What the last ones cost, as a multiple of the first.
const GROWTH_MAX: f64 = 2.0;
const OPENING_MAX: Duration = Duration::from_secs(5);
/// The work is measured in so many slices.
const SLICES: usize = 100;

pub(super) fn run(
    plan: &Plan,
    data: &Path,
    progress: &ProgressBar,
    figures: &mut Figures,
) -> Result<()> {
    let server = Launch::new(data)?.start()?;
    figures.count("queues", plan.queues as u64, None);
    let costs = all("DECLARE", plan, &server, progress)?;
    show(
        plan,
        &costs,
        ["declared", "declared, time of the last", "declared, cpu of the last"],
        figures,
    )?;
    let resident = memory(server.pid()).unwrap_or_default().resident;
    figures.bytes("resident with all queues", resident, None);
    server.kill()?;
    let started = Instant::now();
    let server = Launch::new(data)?.start()?;
    let bound = plan.judges_time.then_some(OPENING_MAX);
    figures.time("opened again after kill -9", started.elapsed(), bound);
    let costs = all("DELETE", plan, &server, progress)?;
    show(
        plan,
        &costs,
        ["deleted", "deleted, time of the last", "deleted, cpu of the last"],
        figures,
    )?;
    server.stop()?;
    Ok(())
}

fn all(verb: &str, plan: &Plan, server: &Server, progress: &ProgressBar) -> Result<Vec<Cost>> {
    let each = plan.queues.div_ceil(SLICES).max(1);
    let mut costs = Vec::new();
    for first in (0..plan.queues).step_by(each) {
        let last = (first + each).min(plan.queues);
        let commands: Vec<_> =
            (first..last).map(|number| format!("{verb} queue:many.{number}\n")).collect();
        costs.push(measure(server, || share_out(server.address()?, &commands))?);
        progress.inc(commands.len() as u64);
    }
    Ok(costs)
}

fn show(
    plan: &Plan,
    costs: &[Cost],
    [rate, wall, cpu]: [&'static str; 3],
    figures: &mut Figures,
) -> Result<()> {
    let seconds: f64 = costs.iter().map(|cost| cost.wall.as_secs_f64()).sum();
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    figures.add(rate, plan.queues as f64 / seconds, "/s", None);
    let judged = plan.judges_time.then_some(GROWTH_MAX);
    figures.add(wall, growth(costs, |cost| cost.wall)?, "x", judged);
    figures.add(cpu, growth(costs, |cost| cost.cpu)?, "x", Some(GROWTH_MAX));
    Ok(())
}
