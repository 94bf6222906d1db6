//! Snapshots and chunks that are not in memory, seen from outside.

use courant_engine::record::Targets;
use courant_engine::{
    Admission, Cause, Cold, Effects, Engine, Lifetime, LiveCursor, Living, Principal, QueueId,
    QueueOptions, Record, SessionId, Settling, SubscribeOptions, Topology,
};
use std::collections::BTreeMap;
use std::sync::Arc;

const ENTRIES: u64 = 4096;

/// An engine beside the pages it wrote.
struct Bench {
    engine: Engine,
    effects: Effects,
    pages: BTreeMap<u64, Vec<u8>>,
    next_page: u64,
    session: SessionId,
}

fn open(engine: &mut Engine) -> SessionId {
    engine.apply(&engine.opening(), &mut Effects::default());
    engine.attach("/", Arc::new(Principal::unrestricted("me"))).expect("there is /")
}

impl Bench {
    fn new(queues: &[&str]) -> Self {
        let mut engine = Engine::default();
        let (effects, pages) = (Effects::default(), BTreeMap::new());
        let session = open(&mut engine);
        let mut bench = Self { engine, effects, pages, next_page: 1, session };
        for name in queues {
            let declare = Topology::DeclareQueue(name, QueueOptions::default());
            let admitted = bench
                .engine
                .admit_topology(bench.session, declare, &mut bench.effects)
                .expect("it is allowed");
            let Admission::Log(record) = admitted else { panic!("a durable queue is logged") };
            bench.engine.apply(&record, &mut bench.effects);
        }
        bench
    }

    fn restore(&mut self, root: &[u8]) {
        self.engine = Engine::restore(root).expect("its own root");
        self.session = open(&mut self.engine);
    }

    fn publish(&mut self, queues: &[u32], times: u64) -> u64 {
        let targets: Vec<u8> = queues.iter().flat_map(|id| id.to_le_bytes()).collect();
        let targets = Targets::new(&targets).expect("it is allowed");
        let mut last = 0;
        for _ in 0..times {
            last = self.engine.admit(7).expect("it is allowed");
            let exchange = courant_engine::ExchangeId::DEFAULT;
            let lifetime = Lifetime::default();
            let record = Record::Published { seq: last, size: 7, lifetime, exchange, targets };
            self.engine.apply(&record, &mut self.effects);
        }
        last
    }

    fn settle(&mut self, queue: u32, ranges: &[(u64, u64)]) {
        let queue = QueueId(queue);
        let record = Record::Settled { queue, cause: Cause::Acked, ranges };
        self.engine.apply(&record, &mut self.effects);
    }

    /// Writes a snapshot, as the shell would; gives its root and how many pages were new.
    fn snapshot(&mut self) -> (Vec<u8>, usize) {
        let snapshot = self.engine.snapshot(&mut self.next_page);
        for page in &snapshot.pages {
            let mut bytes = Vec::new();
            page.encode(&mut bytes);
            self.pages.insert(page.number, bytes);
        }
        self.engine.snapshot_done(true);
        (snapshot.root, snapshot.pages.len())
    }

    fn hash(&self) -> u64 {
        let load = |page: u64, out: &mut Vec<u8>| {
            out.extend_from_slice(self.pages.get(&page).ok_or(())?);
            Ok::<(), ()>(())
        };
        self.engine.ledger().hash_with(load).expect("every page is there")
    }

    fn dispatch(&mut self) -> Vec<u64> {
        self.effects.clear();
        while self.engine.dispatch(0, &mut self.effects) {}
        self.effects.deliveries.iter().map(|delivery| delivery.seq).collect()
    }

    fn install(&mut self, page: u64) {
        let bytes = &self.pages[&page];
        self.engine.install_page(page, bytes, &mut self.effects).expect("it is the right page");
    }

    fn living(&self) -> Vec<u64> {
        let mut all = Vec::new();
        let mut cursor = LiveCursor::default();
        loop {
            let mut shown = 0;
            let step = self.engine.living(&mut cursor, &mut |seq, size| {
                assert_eq!(size, 7);
                shown += 1;
                all.push(seq);
            });
            assert!(shown <= ENTRIES, "a step shows about a chunk");
            match step {
                Living::More => {}
                Living::Cold(cold) => {
                    let cold: &Cold = &cold;
                    let see = &mut |seq, _, _| all.push(seq);
                    cold.decode(&self.pages[&cold.page], see).expect("the right page");
                }
                Living::Done => break,
            }
        }
        all.sort_unstable();
        all
    }
}

#[test]
fn a_snapshot_writes_what_grew_and_nothing_twice() {
    let mut bench = Bench::new(&["a", "b"]);
    bench.publish(&[0], 3 * ENTRIES + 100);
    let last = bench.publish(&[0, 1], 5);
    let (_, new) = bench.snapshot();
    assert_eq!(new, 4, "three chunks are whole and one is long");
    let (_, new) = bench.snapshot();
    assert_eq!(new, 0, "nothing changed");
    bench.settle(0, &[(last - 9_000, last - 8_990)]);
    let (root, new) = bench.snapshot();
    assert_eq!(new, 0, "bits stand in the root");
    let mut referred = 0;
    bench.engine.pages(&mut |_| referred += 1);
    assert_eq!(referred, 4);
    let there = Engine::restore(&root).expect("its own root");
    assert_eq!(bench.hash(), Bench { engine: there, ..bench }.hash());
}

#[test]
fn what_was_not_committed_is_written_again() {
    let mut bench = Bench::new(&["a"]);
    bench.publish(&[0], ENTRIES + 1);
    let lost = bench.engine.snapshot(&mut bench.next_page);
    assert_eq!((lost.pages.len(), bench.next_page), (1, 2));
    bench.engine.snapshot_done(false);
    let mut referred = 0;
    bench.engine.pages(&mut |_| referred += 1);
    assert_eq!(referred, 0);
    assert_eq!(bench.engine.evict(0), ENTRIES * 8, "no page, no eviction");
    let (_, new) = bench.snapshot();
    assert_eq!((new, bench.next_page), (1, 3), "under another number");
}

#[test]
fn pages_of_the_last_root_stay_needed_when_their_chunks_are_gone() {
    let mut bench = Bench::new(&["a"]);
    let last = bench.publish(&[0], 2 * ENTRIES);
    bench.snapshot();
    bench.settle(0, &[(0, last)]);
    assert_eq!(bench.living(), []);
    let mut referred = Vec::new();
    bench.engine.pages(&mut |page| referred.push(page));
    assert_eq!(referred, [1, 2], "opening again would read the old root");
    bench.snapshot();
    bench.engine.pages(&mut |page| panic!("page {page} is of no use"));
}

#[test]
fn a_restored_queue_is_handed_over_a_chunk_ahead() {
    let mut bench = Bench::new(&["a"]);
    let last = bench.publish(&[0], 3 * ENTRIES + 10);
    let first = last - 3 * ENTRIES - 9;
    let (root, _) = bench.snapshot();
    bench.restore(&root);
    assert_eq!(bench.living(), (first..=last).collect::<Vec<_>>());
    let options =
        SubscribeOptions { credit: 1, settling: Settling::Auto, ..SubscribeOptions::default() };
    bench.engine.subscribe(bench.session, QueueId(0), options).expect("it is allowed");
    assert_eq!(bench.dispatch(), []);
    assert_eq!(bench.effects.wanted, [1]);
    let newest = bench.publish(&[0], 1);
    assert_eq!(bench.dispatch(), [], "nothing overtakes what is not there yet");
    assert_eq!(bench.effects.wanted, [], "a page is asked for once");
    bench.engine.page_missed(1);
    assert_eq!(bench.dispatch(), []);
    assert_eq!(bench.effects.wanted, [1], "it is asked for again");
    let mut out = Vec::new();
    for page in [1, 2, 3] {
        bench.install(page);
        out.extend(bench.dispatch());
        let ahead = if page < 3 { vec![page + 1] } else { vec![] };
        assert_eq!(bench.effects.wanted, ahead);
    }
    assert_eq!(out, (first..=last).chain([newest]).collect::<Vec<_>>());
}

#[test]
fn a_replay_loads_only_chunks_that_a_record_cuts() {
    let mut bench = Bench::new(&["a"]);
    let last = bench.publish(&[0], 4 * ENTRIES);
    let first = last + 1 - 4 * ENTRIES;
    let (root, _) = bench.snapshot();
    let ranges = [(0, first + 2 * ENTRIES + 5)];
    bench.settle(0, &ranges);
    let expected = bench.hash();
    bench.engine = Engine::restore(&root).expect("its own root");
    let queue = QueueId(0);
    let record = Record::Settled { queue, cause: Cause::Acked, ranges: &ranges };
    assert_eq!(bench.engine.pages_for(&record), [3]);
    bench.install(3);
    bench.settle(0, &ranges);
    assert_eq!(bench.hash(), expected);
}

#[test]
fn few_living_messages_of_many_keep_little() {
    let mut bench = Bench::new(&["a"]);
    let last = bench.publish(&[0], 8 * ENTRIES);
    let first = last + 1 - 8 * ENTRIES;
    for chunk in 0..8 {
        let base = first + chunk * ENTRIES;
        bench.settle(0, &[(base, base + 1000), (base + 1002, base + ENTRIES - 1)]);
    }
    assert_eq!(bench.engine.evict(0), 0, "no chunk keeps entries for one message");
    let (root, new) = bench.snapshot();
    assert_eq!(new, 0);
    assert!(root.len() < 400, "{} bytes", root.len());
    let there = Engine::restore(&root).expect("its own root");
    assert_eq!(there.ledger().hash(), bench.hash());
    assert_eq!(bench.living().len(), 8);
}

#[test]
fn a_transient_message_does_not_overtake_what_is_not_in_memory() {
    let mut bench = Bench::new(&["a"]);
    let place = |bench: &mut Bench| {
        let seq = bench.engine.admit(7).expect("it is allowed");
        assert_eq!(bench.engine.place(seq, 7, Lifetime::default(), &[QueueId(0)]), 1);
        seq
    };
    let first = bench.publish(&[0], 1);
    bench.publish(&[0], 2 * ENTRIES - 1);
    let before = place(&mut bench);
    bench.publish(&[0], 5);
    let within = place(&mut bench);
    let last = bench.publish(&[0], ENTRIES);
    bench.snapshot();
    assert_eq!(bench.engine.evict(0), 2 * ENTRIES * 8, "the chunk of the cursor and the next stay");
    let options =
        SubscribeOptions { credit: 1, settling: Settling::Auto, ..SubscribeOptions::default() };
    bench.engine.subscribe(bench.session, QueueId(0), options).expect("it is allowed");
    assert_eq!(bench.dispatch(), (first..=before).collect::<Vec<_>>());
    assert_eq!(bench.effects.wanted, [3]);
    bench.install(3);
    let out = bench.dispatch();
    assert_eq!(out, (before + 1..=last).collect::<Vec<_>>());
    assert!(out.contains(&within));
}
