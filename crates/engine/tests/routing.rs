//! Graphs of exchanges that change at random, against a naive walk: with circles, alternates,
//! patterns, filters, things that are about to go, and routes that were kept; after a restart from
//! records or from a root everything is as before.

#![allow(clippy::unwrap_used, reason = "tests panic")]

#[allow(dead_code, reason = "shared with the model")]
mod log;

use courant_engine::{
    Admission, BindTo, Effects, Engine, ExchangeKind, ExchangeOptions, Header, HeaderFilter,
    HeaderMode, Principal, Publish, QueueOptions, Refusal, Route, SessionId, Topology, Value,
};
use log::Fact;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

const KINDS: [ExchangeKind; 4] =
    [ExchangeKind::Direct, ExchangeKind::Fanout, ExchangeKind::Topic, ExchangeKind::Headers];
const EXCHANGES: usize = 7;
const QUEUES: usize = 6;
const KEYS: [&str; 7] = ["", "a", "a.b", "a.b.c", "b", "$a.b", "c.c"];
const PATTERNS: [&str; 9] = ["", "a", "a.b", "a.*", "*.b", "#", "#.b.#", "a.>", "$a.#"];

struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end as u64).unwrap()
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum To {
    Queue(String),
    Exchange(String),
}

impl To {
    fn bind(&self) -> BindTo<'_> {
        match self {
            Self::Queue(name) => BindTo::Queue(name),
            Self::Exchange(name) => BindTo::Exchange(name),
        }
    }
}

#[derive(Debug, Clone)]
struct Exchange {
    kind: ExchangeKind,
    is_internal: bool,
    auto_delete: bool,
    /// Its name, and whether the exchange of that name is still the one that was meant.
    alternate: Option<String>,
    bindings: BTreeSet<(Vec<u8>, To)>,
    was_bound: bool,
}

/// What should be.
#[derive(Debug, Default)]
struct Naive {
    exchanges: BTreeMap<String, Exchange>,
    queues: BTreeSet<String>,
}

impl Naive {
    fn forget(&mut self, gone: &To) {
        for exchange in self.exchanges.values_mut() {
            exchange.bindings.retain(|(_, to)| to != gone);
            if matches!(gone, To::Exchange(name) if exchange.alternate.as_ref() == Some(name)) {
                exchange.alternate = None;
            }
        }
    }

    fn route(
        &self,
        first: &str,
        key: &str,
        headers: &[Header<'_>],
    ) -> Result<BTreeSet<String>, Refusal> {
        let exchange = self.exchanges.get(first).ok_or(Refusal::NoSuchExchange)?;
        if exchange.is_internal {
            return Err(Refusal::ExchangeInternal);
        }
        let mut seen = BTreeSet::from([first.to_owned()]);
        let mut next = VecDeque::from([first.to_owned()]);
        let mut queues = BTreeSet::new();
        while let Some(name) = next.pop_front() {
            let Some(exchange) = self.exchanges.get(&name) else { continue };
            let hits =
                exchange.bindings.iter().filter(|(k, _)| hits(exchange.kind, k, key, headers));
            let mut goes: Vec<To> = hits.map(|(_, to)| to.clone()).collect();
            if goes.is_empty() {
                goes.extend(exchange.alternate.clone().map(To::Exchange));
            }
            for to in goes {
                match to {
                    To::Queue(name) => _ = queues.insert(name),
                    To::Exchange(name) if seen.insert(name.clone()) => next.push_back(name),
                    To::Exchange(_) => {}
                }
            }
        }
        Ok(queues)
    }
}

fn hits(kind: ExchangeKind, bound: &[u8], key: &str, headers: &[Header<'_>]) -> bool {
    match kind {
        ExchangeKind::Direct => bound == key.as_bytes(),
        ExchangeKind::Topic => {
            let bound = std::str::from_utf8(bound).unwrap();
            let is_wild = bound.starts_with(['*', '#', '>']);
            !(is_wild && key.starts_with('$')) && matches(&split(bound), &split(key))
        }
        ExchangeKind::Headers => HeaderFilter::decode(bound).unwrap().matches(headers),
        _ => true,
    }
}

fn split(text: &str) -> Vec<&str> {
    if text.is_empty() { Vec::new() } else { text.split('.').collect() }
}

fn matches(pattern: &[&str], key: &[&str]) -> bool {
    match (pattern.split_first(), key.split_first()) {
        (None, rest) => rest.is_none(),
        (Some((&">", [])), rest) => rest.is_some(),
        (Some((&"#", rest)), None) => matches(rest, key),
        (Some((&"#", rest)), Some((_, tail))) => matches(rest, key) || matches(pattern, tail),
        (Some((&"*", rest)), Some((_, tail))) => matches(rest, tail),
        (Some((word, rest)), Some((segment, tail))) => word == segment && matches(rest, tail),
        (Some(_), None) => false,
    }
}

struct Rig {
    engine: Engine,
    session: SessionId,
    effects: Effects,
    log: Vec<Fact>,
    naive: Naive,
    random: Random,
    kept: Vec<(String, &'static str, Route)>,
    checked: u64,
}

impl Rig {
    fn new(seed: u64) -> Self {
        let mut engine = Engine::default();
        let who = Arc::new(Principal::unrestricted("test"));
        let session = engine.attach("/", who).unwrap();
        let mut rig = Self {
            engine,
            session,
            effects: Effects::default(),
            log: Vec::new(),
            naive: Naive::default(),
            random: Random(seed | 1),
            kept: Vec::new(),
            checked: 0,
        };
        rig.open();
        rig
    }

    fn open(&mut self) {
        let opening = Fact::of(&self.engine.opening());
        self.apply(opening);
        let who = Arc::new(Principal::unrestricted("test"));
        self.session = self.engine.attach("/", who).unwrap();
    }

    fn apply(&mut self, fact: Fact) {
        self.engine.apply(&fact.record(), &mut self.effects);
        self.log.push(fact);
    }

    fn change(&mut self, request: Topology<'_>) -> Result<(), Refusal> {
        let admitted = self.engine.admit_topology(self.session, request, &mut self.effects)?;
        if let Admission::Log(record) = admitted {
            let fact = Fact::of(&record);
            // Until it is committed, kept routes have to be right too.
            self.check_kept_routes();
            self.apply(fact);
        }
        self.write();
        Ok(())
    }

    /// Exchanges that nobody uses any more go, and perhaps others with them.
    fn write(&mut self) {
        while self.engine.has_settles() {
            let mut facts = Vec::new();
            self.engine.write_settles(|_, record| facts.push(Fact::of(record)));
            for fact in facts {
                self.apply(fact);
            }
        }
        loop {
            let goes = |it: &Exchange| it.auto_delete && it.was_bound && it.bindings.is_empty();
            let unused = self.naive.exchanges.iter().find(|(_, exchange)| goes(exchange));
            let Some(name) = unused.map(|(name, _)| name.clone()) else { break };
            assert!(!self.find(&name), "{name} lost its last binding");
            self.naive.exchanges.remove(&name);
            self.naive.forget(&To::Exchange(name));
        }
    }

    fn find(&self, name: &str) -> bool {
        let operation = courant_engine::Operation::Inspect;
        self.engine.exchange_of(self.session, operation, name).is_ok()
    }

    fn headers(&mut self) -> Vec<Header<'static>> {
        let all = [("a", Value::Int(1)), ("a", Value::Text("x")), ("b", Value::Null)];
        all.into_iter()
            .filter(|_| self.random.below(2) == 0)
            .map(|(name, value)| Header { name, value })
            .collect()
    }

    fn key_for(&mut self, kind: ExchangeKind) -> Vec<u8> {
        match kind {
            ExchangeKind::Topic => self.random.of(&PATTERNS).into(),
            ExchangeKind::Headers => {
                let mode = self.random.of(&[HeaderMode::All, HeaderMode::Any]);
                HeaderFilter { mode, headers: self.headers() }.encode().unwrap()
            }
            _ => self.random.of(&KEYS).into(),
        }
    }

    fn exchange_name(&mut self) -> String {
        format!("x{}", self.random.below(EXCHANGES))
    }

    fn declare_exchange(&mut self) {
        let (name, alternate) = (self.exchange_name(), self.exchange_name());
        let alternate = (self.random.below(3) == 0).then_some(alternate);
        let kind = self.random.of(&KINDS);
        let is_internal = self.random.below(6) == 0;
        let auto_delete = self.random.below(4) == 0;
        let options =
            ExchangeOptions { kind, is_internal, auto_delete, alternate: alternate.as_deref() };
        let is_there = self.naive.exchanges.contains_key(&name);
        let finds_alternate =
            alternate.as_ref().is_none_or(|name| self.naive.exchanges.contains_key(name));
        let done = self.change(Topology::DeclareExchange(&name, options));
        if !finds_alternate {
            assert_eq!(done, Err(Refusal::NoSuchExchange));
        } else if !is_there {
            assert_eq!(done, Ok(()));
            let (bindings, was_bound) = (BTreeSet::new(), false);
            let new = Exchange { kind, is_internal, auto_delete, alternate, bindings, was_bound };
            self.naive.exchanges.insert(name, new);
        }
    }

    fn bind(&mut self, is_bind: bool) {
        let from = self.exchange_name();
        let to = if self.random.below(3) == 0 {
            To::Exchange(self.exchange_name())
        } else {
            To::Queue(format!("q{}", self.random.below(QUEUES)))
        };
        let Some(exchange) = self.naive.exchanges.get(&from).cloned() else { return };
        let mut key = self.key_for(exchange.kind);
        if !is_bind && let Some((there, to)) = exchange.bindings.first().cloned() {
            key = there;
            self.unbind(&from, &to, &key);
            return;
        }
        let is_there = match &to {
            To::Queue(name) => self.naive.queues.contains(name),
            To::Exchange(name) => self.naive.exchanges.contains_key(name),
        };
        let request = Topology::Bind { exchange: &from, to: to.bind(), key: &key };
        assert_eq!(self.change(request).is_ok(), is_there);
        if is_there {
            let there = self.naive.exchanges.get_mut(&from).unwrap();
            there.bindings.insert((key, to));
            there.was_bound = true;
        }
    }

    fn unbind(&mut self, from: &str, to: &To, key: &[u8]) {
        let there = self.naive.exchanges.get_mut(from).unwrap();
        there.bindings.remove(&(key.to_vec(), to.clone()));
        let request = Topology::Unbind { exchange: from, to: to.bind(), key };
        assert_eq!(self.change(request), Ok(()));
        let again = Topology::Unbind { exchange: from, to: to.bind(), key };
        let refused = self.change(again).unwrap_err();
        assert!(matches!(refused, Refusal::NoSuchBinding | Refusal::NoSuchExchange));
    }

    fn step(&mut self) {
        match self.random.below(24) {
            0..4 => self.declare_exchange(),
            4..7 => {
                let name = format!("q{}", self.random.below(QUEUES));
                let durable = name.as_str() < "q4";
                let options = QueueOptions { durable, ..QueueOptions::default() };
                assert_eq!(self.change(Topology::DeclareQueue(&name, options)), Ok(()));
                self.naive.queues.insert(name);
            }
            7 => {
                let name = self.exchange_name();
                if self.naive.exchanges.remove(&name).is_some() {
                    self.naive.forget(&To::Exchange(name.clone()));
                    let delete = Topology::DeleteExchange { name: &name, if_unused: false };
                    assert_eq!(self.change(delete), Ok(()));
                }
            }
            8 => {
                let name = format!("q{}", self.random.below(QUEUES));
                if self.naive.queues.remove(&name) {
                    self.naive.forget(&To::Queue(name.clone()));
                    let (if_empty, if_unused) = (false, false);
                    let delete = Topology::DeleteQueue { name: &name, if_empty, if_unused };
                    assert_eq!(self.change(delete), Ok(()));
                }
            }
            9..17 => self.bind(true),
            17..20 => self.bind(false),
            _ => {}
        }
        for _ in 0..3 {
            self.check_route();
        }
        self.check_kept_routes();
    }

    fn named(&self, route: &Route) -> BTreeSet<String> {
        let all = self.engine.queues();
        let durable = route.durable.as_chunks::<4>().0.iter().map(|id| u32::from_le_bytes(*id));
        let ids = durable.chain(route.transient.iter().map(|id| id.0));
        let name = |id| all.iter().find(|(_, there, _)| there.0 == id).unwrap().0.to_string();
        let names: Vec<_> = ids.map(name).collect();
        let once: BTreeSet<_> = names.iter().cloned().collect();
        assert_eq!(once.len(), names.len(), "a queue gets a message once");
        once
    }

    fn check_route(&mut self) {
        let (name, key, headers) = (self.exchange_name(), self.random.of(&KEYS), self.headers());
        let to = Publish::Exchange(&name, key.as_bytes());
        let expected = self.naive.route(&name, key, &headers);
        let got = self.engine.resolve_with(self.session, to, Some(&headers));
        let got = got.map(|route| self.named(&route));
        assert_eq!(got, expected, "{name} {key} {headers:?} in {:#?}", self.naive);
        self.checked += 1;
        if let Ok(route) = self.engine.resolve(self.session, to) {
            self.kept.push((name, key, route));
            if self.kept.len() > 40 {
                self.kept.remove(0);
            }
        }
    }

    /// A kept route that holds is the one that would be found now.
    fn check_kept_routes(&mut self) {
        let kept = std::mem::take(&mut self.kept);
        for (name, key, route) in kept {
            if !self.engine.is_current(&route) {
                continue;
            }
            let to = Publish::Exchange(&name, key.as_bytes());
            let now = self.engine.resolve(self.session, to);
            assert_eq!(now.as_ref(), Ok(&route), "a kept route from {name} with {key}");
            self.kept.push((name, key, route));
        }
    }

    /// Everything durable is as it was, by records and by a root; the rest is gone.
    fn restart(&mut self) {
        let hash = self.engine.ledger().hash();
        let root = self.engine.snapshot(&mut 1).root;
        let restored = Engine::restore(&root).unwrap();
        assert_eq!(restored.ledger().hash(), hash, "a root says something else");
        let mut replayed = Engine::default();
        for fact in &self.log {
            replayed.apply(&fact.record(), &mut self.effects);
        }
        assert_eq!(replayed.ledger().hash(), hash, "the records say something else");
        self.engine = if self.random.below(2) == 0 { restored } else { replayed };
        self.kept.clear();
        for name in ["q4", "q5"] {
            self.naive.queues.remove(name);
            self.naive.forget(&To::Queue(name.to_owned()));
        }
        self.open();
        // One that had bindings of transient queues last goes now, or with its next last one.
        for (name, exchange) in std::mem::take(&mut self.naive.exchanges) {
            let is_unused = exchange.auto_delete && exchange.bindings.is_empty();
            let exchange = Exchange { was_bound: !is_unused && exchange.was_bound, ..exchange };
            self.naive.exchanges.insert(name, exchange);
        }
        self.write();
        let all: Vec<_> = self.naive.exchanges.keys().cloned().collect();
        let gone: Vec<_> = all.into_iter().filter(|name| !self.find(name)).collect();
        for name in gone {
            let gone = self.naive.exchanges.remove(&name).unwrap();
            assert!(gone.auto_delete && gone.bindings.is_empty());
            self.naive.forget(&To::Exchange(name));
        }
    }
}

#[test]
fn graphs_route_as_a_naive_walk_does() {
    let given = std::env::var("COURANT_SEED").ok().and_then(|seed| seed.parse().ok());
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let seed: u64 = given.unwrap_or(u64::from(clock.subsec_nanos()) << 16 ^ clock.as_secs());
    println!("COURANT_SEED={seed}");
    let mut checked = 0;
    for round in 0..20 {
        let mut rig = Rig::new(seed.wrapping_add(round << 32));
        for step in 1..=1000 {
            rig.step();
            if step % 250 == 0 {
                rig.restart();
            }
        }
        checked += rig.checked;
    }
    assert!(checked >= 60_000);
}

#[test]
fn a_hash_exchange_sends_a_key_to_one_queue_over_durable_and_transient_ones() {
    let mut rig = Rig::new(1);
    let options = ExchangeOptions::of(ExchangeKind::Hash);
    rig.change(Topology::DeclareExchange("h", options)).unwrap();
    for name in ["q0", "q1", "q4", "q5"] {
        let options = QueueOptions { durable: name < "q4", ..QueueOptions::default() };
        rig.change(Topology::DeclareQueue(name, options)).unwrap();
        let bind = Topology::Bind { exchange: "h", to: BindTo::Queue(name), key: b"2" };
        rig.change(bind).unwrap();
    }
    let bad = Topology::Bind { exchange: "h", to: BindTo::Queue("q0"), key: b"many" };
    assert_eq!(rig.change(bad), Err(Refusal::BadBinding));
    let choose = |rig: &Rig| -> Vec<String> {
        let one = |number: u32| {
            let key = format!("key {number}");
            let to = Publish::Exchange("h", key.as_bytes());
            let names = rig.named(&rig.engine.resolve(rig.session, to).unwrap());
            assert_eq!(names.len(), 1);
            names.into_iter().next().unwrap()
        };
        (0..400).map(one).collect()
    };
    let before = choose(&rig);
    let used: BTreeSet<_> = before.iter().cloned().collect();
    assert_eq!(used.len(), 4);
    let delete = Topology::DeleteQueue { name: "q4", if_empty: false, if_unused: false };
    rig.change(delete).unwrap();
    for (was, is) in before.iter().zip(choose(&rig)) {
        assert!(*was == is || was == "q4", "{was} became {is}");
    }
}
