//! A folder with every kind of record, changed in one byte or cut in one file: either it is
//! refused, or every message comes, unaltered and in order, but those that are parked as corrupt.
//! `COURANT_SEED` chooses other places, `COURANT_STRIDE` their distance.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests panic and print counts")]

mod client;

use client::{Client, Event};
use courant::testing::Testing;
use courant::{Broker, OpenError, Options, Subscribed};
use courant_storage::sim::{Dice, SimDisk};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// What is in the queues of the fixture.
fn contents() -> [(&'static str, Vec<String>); 3] {
    let bulk = (0..4_200).step_by(10).map(|number: u32| number.to_string()).collect();
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    [("bulk", bulk), ("q", words(&["returned", "kept"])), ("t/s", words(&["topical"]))]
}

fn fixture() -> BTreeMap<String, Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v2");
    let file = |file: std::io::Result<fs::DirEntry>| {
        let file = file.unwrap();
        (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap())
    };
    fs::read_dir(folder).unwrap().map(file).collect()
}

#[derive(Debug, Default)]
struct Counts {
    refused: u64,
    parked: u64,
    whole: u64,
}

async fn judge(files: BTreeMap<String, Vec<u8>>, what: &str, counts: &mut Counts) {
    let testing = Testing { fill_ahead_bytes: Some(0), ..Testing::default() };
    let options = Options { segment_bytes: 64 << 10, testing, ..Options::default() };
    let disk = SimDisk::of(files);
    let opened = tokio::task::block_in_place(|| Broker::open_disk(disk.mount(), options));
    let broker = match opened {
        Ok(broker) => broker,
        Err(OpenError::Log(courant_storage::OpenError::Io { .. }) | OpenError::Folder(_)) => {
            panic!("{what}: an error of the disk")
        }
        Err(_) => {
            counts.refused += 1;
            return;
        }
    };
    let all: usize = contents().iter().map(|(_, bodies)| bodies.len()).sum();
    let mut client = Client::new(&broker);
    for (tag, (queue, _)) in (0..).zip(contents()) {
        client.subscribe(Subscribed::Queue(queue), tag, 60_000).await;
    }
    let (mut came, begun) = ([const { Vec::new() }; 3], Instant::now());
    let corrupt = loop {
        for event in client.line.events() {
            let Event::Got(got) = event else { panic!("{what}: {event:?}") };
            came[got.tag as usize].push(got.text().to_owned());
        }
        let corrupt = usize::try_from(broker.stats().corrupt).unwrap();
        let there: usize = came.iter().map(Vec::len).sum();
        if there + corrupt >= all {
            assert_eq!(there + corrupt, all, "{what}: {there} came, {corrupt} are corrupt");
            break corrupt;
        }
        let late = begun.elapsed() > Duration::from_secs(10);
        assert!(!late, "{what}: {there} came and {corrupt} are corrupt, of {all}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    for ((queue, bodies), came) in contents().into_iter().zip(came) {
        let mut rest = bodies.iter();
        let is_in_order = came.iter().all(|text| rest.any(|body| body == text));
        assert!(is_in_order, "{what}: {queue} gave {came:?}");
    }
    counts.parked += u64::from(corrupt > 0);
    counts.whole += u64::from(corrupt == 0);
    disk.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_folder_is_refused_or_gives_all_but_what_is_parked() {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse().ok());
    let stride = number("COURANT_STRIDE").unwrap_or(61);
    let mut dice = Dice::new(number("COURANT_SEED").unwrap_or(0));
    let (files, mut counts) = (fixture(), Counts::default());
    for (name, bytes) in &files {
        let mut at = dice.below(stride);
        while let Some(&byte) = usize::try_from(at).ok().and_then(|at| bytes.get(at)) {
            let place = usize::try_from(at).unwrap();
            let bit = dice.below(8);
            let mut flipped = files.clone();
            flipped.get_mut(name).unwrap()[place] = byte ^ 1 << bit;
            judge(flipped, &format!("bit {bit} of byte {at} of {name}"), &mut counts).await;
            let mut cut = files.clone();
            cut.get_mut(name).unwrap().truncate(place);
            judge(cut, &format!("{name} cut to {at}"), &mut counts).await;
            at += 1 + dice.below(2 * stride);
        }
    }
    println!("{counts:?}");
    let every_kind = [counts.refused, counts.parked, counts.whole];
    assert!(every_kind.iter().all(|&count| count > 0), "{counts:?}");
}
