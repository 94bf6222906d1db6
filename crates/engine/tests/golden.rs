//! Scenarios as text: requests go in, records, effects and refusals come out.
//!
//! A file of `tests/golden/` has requests on lines that begin with `>` and what came of each below
//! it. `COURANT_WRITE=1` writes the answers again; a difference otherwise fails. Records wait in
//! the log until `commit`. Sequence numbers are shown as their distance from the block of the
//! opening, deliveries by a letter that later lines settle them by.

mod log;

use courant_engine::limits::SEQ_BLOCK;
use courant_engine::{
    Admission, BindTo, Delivery, Effects, Engine, ExchangeKind, ExchangeOptions, Handle, Lifetime,
    Principal, Publish, QueueOptions, Record, Refusal, Selector, SessionId, Settling,
    SubscribeOptions, SubscriptionId, Topology, Verdict,
};
use log::Fact;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Default)]
struct Scene {
    engine: Engine,
    effects: Effects,
    log: Vec<Fact>,
    applied: usize,
    now_ms: u64,
    sessions: BTreeMap<String, SessionId>,
    subscriptions: BTreeMap<String, (SessionId, SubscriptionId)>,
    handles: Vec<Handle>,
    out: String,
}

impl Scene {
    fn new() -> Self {
        let mut scene = Self::default();
        scene.open();
        scene.out.clear();
        scene
    }

    fn say(&mut self, what: &str) {
        let _ = writeln!(self.out, "  {what}");
    }

    fn append(&mut self, record: &Record<'_>) {
        self.log.push(Fact::of(record));
        let fact = shown(record);
        self.say(&format!("record {fact}"));
    }

    fn open(&mut self) {
        let record = self.engine.opening();
        self.append(&record);
        self.commit(usize::MAX);
    }

    fn commit(&mut self, most: usize) {
        let end = self.log.len().min(self.applied.saturating_add(most));
        for fact in &self.log[self.applied..end] {
            self.engine.apply(&fact.record(), &mut self.effects);
        }
        self.applied = end;
    }

    fn name_of(&self, id: SubscriptionId) -> String {
        let found = self.subscriptions.iter().find(|(_, (_, there))| *there == id);
        found.map_or_else(|| format!("{id:?}"), |(name, _)| name.clone())
    }

    fn show_delivery(&mut self, to: &str, delivery: &Delivery) {
        let Delivery { seq, lease, size, attempt, durable, .. } = *delivery;
        let mut letter = String::from("settled");
        if lease.0 != 0 {
            letter = format!("#{}", self.handles.len());
            self.handles.push(Handle { seq, lease });
        }
        let kind = if durable { "durable" } else { "transient" };
        let seq = shown_seq(seq);
        self.say(&format!("deliver {seq} to {to} as {letter}: {size} B {kind} attempt {attempt}"));
    }

    fn show_effects(&mut self) {
        let effects = std::mem::take(&mut self.effects);
        for run in &effects.runs {
            let to = self.name_of(run.subscription);
            for delivery in &effects.deliveries[run.start as usize..run.end as usize] {
                self.show_delivery(&to, delivery);
            }
        }
        for cancelled in &effects.cancelled {
            let name = self.name_of(cancelled.subscription);
            self.say(&format!("cancel {name}: {}", cancelled.cause.word()));
        }
        for seq in &effects.freed {
            self.say(&format!("free {}", shown_seq(*seq)));
        }
        if effects.noops > 0 {
            self.say(&format!("no-ops {}", effects.noops));
        }
    }

    fn run(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let done = match words[0] {
            "attach" => self.attach(words[1]),
            "detach" => {
                let session = self.sessions[words[1]];
                while self.engine.detach(session, &mut self.effects) {}
                Ok(())
            }
            "commit" => {
                self.commit(words.get(1).map_or(usize::MAX, |count| number(count)));
                Ok(())
            }
            "dispatch" => {
                while self.engine.dispatch(self.now_ms, &mut self.effects) {}
                Ok(())
            }
            "wait" => {
                self.now_ms += number::<u64>(words[1]);
                while self.engine.expire(self.now_ms, &mut self.effects) {}
                Ok(())
            }
            "write" => {
                let mut facts = Vec::new();
                self.engine.write_settles(|_, record| facts.push(Fact::of(record)));
                for fact in facts {
                    self.append(&fact.record());
                }
                Ok(())
            }
            "restart" => {
                self.restart();
                Ok(())
            }
            "counts" => {
                for (name, id, counts) in self.engine.queues() {
                    self.say(&format!("{name} {id:?} {counts:?}"));
                }
                Ok(())
            }
            "publish" => self.publish(&words),
            "subscribe" | "unsubscribe" | "credit" | "stall" | "unstall" => self.consume(&words),
            "claim" | "ack" | "nack" | "reject" | "extend" => self.settle(&words),
            _ => self.change_topology(&words),
        };
        if let Err(refusal) = done {
            self.say(&format!("refused {} {}", refusal.number(), refusal.name()));
        }
        self.show_effects();
    }

    fn attach(&mut self, name: &str) -> Result<(), Refusal> {
        let id = self.engine.attach("/", Arc::new(Principal::unrestricted(name)))?;
        self.sessions.insert(name.to_owned(), id);
        Ok(())
    }

    fn restart(&mut self) {
        self.log.truncate(self.applied);
        self.engine = Engine::default();
        self.applied = 0;
        self.commit(usize::MAX);
        self.sessions.clear();
        self.subscriptions.clear();
        self.effects.clear();
        self.open();
    }

    /// `publish SESSION queue:q|topic:t|exchange:x:key SIZE [durable]`
    fn publish(&mut self, words: &[&str]) -> Result<(), Refusal> {
        let to: Vec<&str> = words[2].split(':').collect();
        let to = match to[..] {
            ["queue", name] => Publish::Queue(name),
            ["topic", name] => Publish::Topic(name),
            ["exchange", name, key] => Publish::Exchange(name, key.as_bytes()),
            _ => panic!("no destination: {words:?}"),
        };
        let route = self.engine.resolve(self.sessions[words[1]], to)?;
        let size = number(words[3]);
        let seq = self.engine.admit(size)?;
        if words.get(4) == Some(&"durable") {
            let (exchange, targets) = (route.exchange, route.durable.to_vec());
            let lifetime = Lifetime::default();
            let fact = Fact::Published { seq, size, lifetime, exchange, targets };
            self.append(&fact.record());
        } else {
            let reached = self.engine.place(seq, size, Lifetime::default(), &route.transient)
                + self.engine.place_durable(seq, size, Lifetime::default(), &route.durable);
            self.say(&format!("placed {} in {reached}", shown_seq(seq)));
        }
        Ok(())
    }

    /// `subscribe SESSION NAME QUEUE CREDIT [auto]`, `unsubscribe NAME`, `credit NAME MORE`,
    /// `stall SESSION`, `unstall SESSION`
    fn consume(&mut self, words: &[&str]) -> Result<(), Refusal> {
        match words[0] {
            "subscribe" => {
                let session = self.sessions[words[1]];
                let queue = self.queue(words[3])?;
                let is_auto = words.get(5) == Some(&"auto");
                let settling = if is_auto { Settling::Auto } else { Settling::Manual };
                let credit = number(words[4]);
                let options = SubscribeOptions { credit, settling, ..SubscribeOptions::default() };
                let id = self.engine.subscribe(session, queue, options)?;
                self.subscriptions.insert(words[2].to_owned(), (session, id));
            }
            "unsubscribe" => {
                let (session, id) = self.subscriptions[words[1]];
                self.engine.unsubscribe(session, id)?;
            }
            "credit" => {
                let (session, id) = self.subscriptions[words[1]];
                self.engine.add_credit(session, id, number(words[2]))?;
            }
            verb => self.engine.set_stalled(self.sessions[words[1]], verb == "stall"),
        }
        Ok(())
    }

    fn queue(&self, name: &str) -> Result<courant_engine::QueueId, Refusal> {
        let all = self.engine.queues();
        let found = all.iter().find(|(there, _, _)| there.as_str() == name);
        found.map(|(_, id, _)| *id).ok_or(Refusal::NoSuchQueue)
    }

    /// `claim SESSION QUEUE`, and `ack|nack|reject|extend SESSION #N|upto#N|message#N [MS]`
    fn settle(&mut self, words: &[&str]) -> Result<(), Refusal> {
        let session = self.sessions[words[1]];
        let now = self.now_ms;
        if words[0] == "claim" {
            let queue = self.queue(words[2])?;
            let how = (Settling::Manual, None);
            let got = self.engine.claim(session, queue, how, now, &mut self.effects)?;
            let delivery = got.expect("every chunk is in memory");
            self.show_delivery(words[1], &delivery);
            return Ok(());
        }
        let (kind, which) = words[2].split_once('#').expect("a delivery has a #");
        let handle = self.handles[number::<usize>(which)];
        let selector = match kind {
            "" => Selector::One(handle),
            "upto" => Selector::UpTo(handle),
            "message" => Selector::Message(handle.seq),
            other => panic!("no selector: {other}"),
        };
        let verdict = match words[0] {
            "ack" => Verdict::Ack,
            "nack" => Verdict::Nack,
            "reject" => Verdict::Reject,
            _ => Verdict::Extend(Some(number(words[3]))),
        };
        let count = self.engine.settle(session, selector, verdict, now, &mut self.effects)?;
        self.say(&format!("settled {count}"));
        Ok(())
    }

    /// `declare SESSION queue|transient|direct|fanout NAME`, `delete SESSION queue|exchange NAME
    /// [if_empty] [if_unused]`, `bind|unbind SESSION EXCHANGE QUEUE [KEY]`
    fn change_topology(&mut self, words: &[&str]) -> Result<(), Refusal> {
        let durable = |durable| {
            let visibility_ms = 30_000;
            QueueOptions { durable, visibility_ms, ..QueueOptions::default() }
        };
        let key = words.get(4).copied().unwrap_or("").as_bytes();
        let request = match (words[0], words[2]) {
            ("declare", "queue") => Topology::DeclareQueue(words[3], durable(true)),
            ("declare", "transient") => Topology::DeclareQueue(words[3], durable(false)),
            ("declare", "direct") => {
                Topology::DeclareExchange(words[3], ExchangeOptions::of(ExchangeKind::Direct))
            }
            ("declare", "fanout") => {
                Topology::DeclareExchange(words[3], ExchangeOptions::of(ExchangeKind::Fanout))
            }
            ("delete", "exchange") => Topology::DeleteExchange { name: words[3], if_unused: false },
            ("delete", "queue") => Topology::DeleteQueue {
                name: words[3],
                if_empty: words.contains(&"if_empty"),
                if_unused: words.contains(&"if_unused"),
            },
            ("bind", exchange) => Topology::Bind { exchange, to: BindTo::Queue(words[3]), key },
            ("unbind", exchange) => Topology::Unbind { exchange, to: BindTo::Queue(words[3]), key },
            _ => panic!("no request: {words:?}"),
        };
        let session = self.sessions[words[1]];
        match self.engine.admit_topology(session, request, &mut self.effects)? {
            Admission::Log(record) => {
                let fact = Fact::of(&record);
                self.append(&fact.record());
            }
            Admission::Done => self.say("done"),
            Admission::Pending => self.say("pending"),
        }
        Ok(())
    }
}

fn number<N: std::str::FromStr>(word: &str) -> N {
    word.parse().unwrap_or_else(|_| panic!("{word} is no number"))
}

/// `BLOCK:DISTANCE`, so that numbers stay readable.
fn shown_seq(seq: u64) -> String {
    format!("{}:{}", seq / SEQ_BLOCK, seq % SEQ_BLOCK)
}

fn shown(record: &Record<'_>) -> String {
    match record {
        Record::Published { seq, size, targets, .. } => {
            let targets: Vec<u32> = targets.iter().map(|queue| queue.0).collect();
            format!("Published {} {size} B to {targets:?}", shown_seq(*seq))
        }
        Record::Settled { queue, cause, ranges } => {
            let ranges: Vec<String> = ranges
                .iter()
                .map(|(first, last)| format!("{}..={}", shown_seq(*first), shown_seq(*last)))
                .collect();
            format!("Settled {} {}: {}", queue.0, cause.word(), ranges.join(" "))
        }
        Record::Returned { queue, attempts } => {
            let attempts: Vec<String> = attempts
                .iter()
                .map(|(seq, count)| format!("{} after {count}", shown_seq(*seq)))
                .collect();
            format!("Returned {}: {}", queue.0, attempts.join(" "))
        }
        other => format!("{other:?}"),
    }
}

/// Plays the requests of a file, and gives the file as it should be.
fn play(text: &str) -> String {
    let mut scene = Scene::new();
    for line in text.lines() {
        if let Some(request) = line.strip_prefix("> ") {
            let _ = writeln!(scene.out, "{line}");
            scene.run(request);
        } else if line.starts_with('#') || line.is_empty() {
            let _ = writeln!(scene.out, "{line}");
        }
    }
    scene.out
}

#[test]
fn every_scenario_gives_what_its_file_says() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .expect("tests/golden is there")
        .map(|entry| entry.expect("a readable folder").path())
        .collect();
    files.sort();
    assert!(files.len() >= 5, "scenarios are missing");
    let mut wrong = Vec::new();
    for path in files {
        let there = std::fs::read_to_string(&path).expect("a readable file");
        let played = play(&there);
        if std::env::var_os("COURANT_WRITE").is_some() {
            std::fs::write(&path, played).expect("a writable file");
        } else if played != there {
            println!("{} should be:\n{played}", path.display());
            wrong.push(path);
        }
    }
    assert!(wrong.is_empty(), "{wrong:?} differ; COURANT_WRITE=1 writes them again");
}
