//! Rot under a broker: a folder that was closed in order is changed in one place. Either it is
//! refused, or everything comes out but bodies that the opening reported, and none of it altered.

use super::{Failure, Run, ensure};
use crate::client::{Client, Event, below};
use courant::testing::Defect;
use courant::{Broker, Level, Subscribed};
use courant_storage::sim::{Dice, SimDisk};
use std::collections::BTreeMap;

/// What became of the damage.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    pub refused: u64,
    pub rotten: u64,
    pub harmless: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.refused += other.refused;
        self.rotten += other.rotten;
        self.harmless += other.harmless;
    }
}

/// One folder, damaged in one place.
pub fn run(seed: u64, defect: Option<Defect>) -> Result<Counts, Failure> {
    one(seed, defect).map_err(|what| Failure { seed, what })
}

fn one(seed: u64, defect: Option<Defect>) -> Result<Counts, String> {
    let mut run = Run::new(seed, defect)?;
    let runtime = super::runtime()?;
    let _context = runtime.enter();
    let mut bodies = BTreeMap::new();
    for _ in 0..=below(&mut run.dice, 2) {
        let options = super::options(&mut run.dice, defect);
        let broker = Broker::open_disk(run.disk.mount(), options).map_err(|e| e.to_string())?;
        runtime.block_on(fill(&broker, &mut run.dice, &mut bodies))?;
        runtime.block_on(broker.close()).map_err(|error| error.to_string())?;
        drop(broker);
        run.disk.kill();
    }
    let what = damage(&run.disk, &mut run.dice);
    let options = super::options(&mut run.dice, defect);
    let mut counts = Counts::default();
    match Broker::open_disk(run.disk.mount(), options) {
        Err(_) => counts.refused += 1,
        Ok(broker) => {
            let rotten = runtime.block_on(judge(&broker, &bodies));
            let rotten = rotten.map_err(|why| format!("{what}: {why}"))?;
            counts.rotten += u64::from(rotten > 0);
            counts.harmless += u64::from(rotten == 0);
        }
    }
    Ok(counts)
}

async fn fill(
    broker: &Broker,
    dice: &mut Dice,
    bodies: &mut BTreeMap<u64, Vec<u8>>,
) -> Result<(), String> {
    let mut client = Client::new(broker);
    client.declare("q").await;
    let to = client.session.destination(courant::Destination::Queue("q"));
    for _ in 0..=below(dice, 12) {
        let body = format!("{} ", bodies.len()).repeat(below(dice, 200) + 1).into_bytes();
        let published = client.publish(to, &[(&body, Level::Committed, true)]).await[0];
        let published = published.map_err(|refusal| refusal.to_string())?;
        let (Some(id), Some(ticket)) = (published.id, published.after) else {
            return Err(format!("{published:?}"));
        };
        client.committed(ticket).await.map_err(|refusal| refusal.to_string())?;
        bodies.insert(id.seq, body);
    }
    Ok(())
}

/// Flips a bit or clears a sector of one file, and says so.
fn damage(disk: &SimDisk, dice: &mut Dice) -> String {
    let files: Vec<_> = disk.files().into_iter().filter(|(_, len)| *len > 0).collect();
    let (name, len) = files[below(dice, files.len())].clone();
    let at = below(dice, len);
    let flips = dice.chance(70);
    disk.damage(&name, |bytes| {
        if flips {
            bytes[at] ^= 1;
        } else {
            let from = at / 512 * 512;
            let to = (from + 512).min(len);
            bytes[from..to].fill(0);
        }
    });
    format!("{} at {at} of {name}", if flips { "a bit" } else { "a sector" })
}

/// Takes everything; gives the number of bodies that did not come and were reported.
async fn judge(broker: &Broker, bodies: &BTreeMap<u64, Vec<u8>>) -> Result<usize, String> {
    let log = broker.opened().log.clone().unwrap_or_default();
    let rotten = usize::try_from(log.rotten_bodies_count).unwrap_or(0);
    let mut client = Client::new(broker);
    let ready = client.session.inspect("q").map_or(0, |counts| counts.ready);
    let (ready, all) = (usize::try_from(ready).unwrap_or(0), bodies.len());
    ensure!(ready + rotten == all, "{ready} of {all} confirmed messages are there");
    let corrupt = broker.stats().corrupt;
    ensure!(corrupt == log.rotten_bodies_count, "{corrupt} were parked as corrupt");
    client.subscribe(Subscribed::Queue("q"), 1, 60_000).await;
    let mut expected: Vec<_> = bodies.iter().collect();
    expected.retain(|(seq, _)| !log.rotten_bodies.iter().any(|body| body.seq.0 == **seq));
    ensure!(expected.len() + rotten == all, "{rotten} rotten bodies are not ours");
    let mut came = Vec::new();
    while came.len() < expected.len() {
        for event in client.line.wait(1).await {
            let Event::Got(got) = event else { return Err(format!("{event:?}")) };
            came.push((got.id.seq, got.payload));
        }
    }
    let is_same =
        came.iter().zip(expected).all(|(came, (seq, body))| (&came.0, &came.1) == (seq, body));
    ensure!(is_same, "what came is not what was confirmed");
    Ok(rotten)
}
