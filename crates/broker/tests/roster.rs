//! Who is there: sessions and subscriptions in pages, and who may see which of them.

#![allow(clippy::unwrap_used, reason = "tests panic")]

mod client;

use client::{Client, Lines};
use courant::{
    BindTo, Broker, Grant, Listening, Operation, Operations, Options, Pattern, Principal, Refusal,
    Session, Subscribed, SubscriptionPlace, SubscriptionReport, Topology,
};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What a list names: the session and the queue, or the exchange and the key.
type Named = (u32, String, Vec<u8>);

fn named(report: &SubscriptionReport) -> Named {
    let slot = report.session.0.index;
    match &report.listening {
        Listening::Live(exchange, key) => (slot, exchange.to_string(), key.to_vec()),
        Listening::Queue(listed) => {
            let (name, key) = match &listed.source {
                Some((exchange, key)) => (exchange, key.to_vec()),
                None => (&listed.queue, Vec::new()),
            };
            (slot, name.to_string(), key)
        }
    }
}

/// Every page of a list of subscriptions, and how many pages there were.
fn pages(session: &Session, of: Option<BindTo<'_>>, count: usize) -> (Vec<Named>, usize) {
    let (mut all, mut after, mut turns) = (Vec::new(), None, 0);
    loop {
        let (found, more) = session.subscriptions(of, after, count).unwrap();
        assert!(found.len() <= count, "a page of {}", found.len());
        all.extend(found.iter().map(named));
        turns += 1;
        match more {
            None => return (all, turns),
            Some(place) => after = Some(place),
        }
    }
}

fn only(pattern: &str, operation: Operation) -> Arc<Principal> {
    let (pattern, operations) = (Pattern::new(pattern).unwrap(), Operations::NONE.with(operation));
    let grant = Grant { namespace: None, pattern, operations };
    let anybody = Principal::unrestricted("only");
    Arc::new(Principal { grants: Arc::from([grant]), ..anybody })
}

/// A crowd of 10,000 subscriptions, half of them live: each is seen once while others come and go,
/// and a page looks at a bounded number of them even if it shows none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_subscriptions_come_in_pages() {
    let broker = Broker::in_memory(Options::default()).unwrap();
    let mut host = Client::new(&broker);
    host.declare("busy").await;
    host.declare("idle").await;
    host.session.declare_topic("t").await.unwrap();
    let mut crowd = Vec::new();
    for number in 0..10 {
        let mut client = Client::new(&broker);
        for tag in 0..1000 {
            if number % 2 == 0 {
                client.subscribe(Subscribed::Queue("busy"), tag, 1).await;
            } else {
                client.subscribe(Subscribed::Live("t", b"", Arc::new(Lines)), tag, 1).await;
            }
        }
        crowd.push(client);
    }
    let (all, turns) = pages(&host.session, None, 1000);
    assert_eq!(all.len(), 10_000);
    assert!(turns >= 10, "{turns} pages");
    let (none, turns) = pages(&host.session, Some(BindTo::Queue("idle")), 1000);
    assert_eq!(none, []);
    assert!(turns >= 5, "each page looks at a thousand slots: {turns}");
    assert_eq!(pages(&host.session, Some(BindTo::Exchange("t")), 700).0.len(), 5_000);

    // Those of session 1 and 2 stay; the others go while somebody is at the first page.
    let (first, more) = host.session.subscriptions(None, None, 10).unwrap();
    assert_eq!(more, Some(SubscriptionPlace::Queue(9)));
    let stay: Vec<Client> = crowd.drain(..2).collect();
    drop(crowd);
    let mut late = Client::new(&broker);
    late.subscribe(Subscribed::Queue("idle"), 1, 1).await;
    let (mut seen, mut after) = (first.len(), more);
    while let Some(place) = after {
        let (found, more) = host.session.subscriptions(None, Some(place), 500).unwrap();
        seen += found.iter().filter(|report| named(report).1 != "idle").count();
        after = more;
    }
    assert_eq!(seen, 2_000);

    let (sessions, more) = host.session.sessions(None, 100).unwrap();
    let listed: Vec<u32> = sessions.iter().map(|it| it.listed.subscriptions + it.lives).collect();
    assert_eq!((listed, more), (vec![0, 1000], Some(1)), "a page has a bound of its own");
    let (sessions, _) = host.session.sessions(Some(1), 100).unwrap();
    assert_eq!(sessions[0].lives, 1000);
    drop(stay);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_sees_its_own_and_what_it_may_inspect() {
    let broker = Broker::in_memory(Options::default()).unwrap();
    let mut host = Client::new(&broker);
    host.session.change(Topology::DeclareNamespace("team")).await.unwrap();
    for queue in ["a", "b"] {
        host.declare(queue).await;
        host.subscribe(Subscribed::Queue(queue), u32::from(queue == "b"), 1).await;
    }
    for (tag, topic) in [(2, "a.t"), (4, "b.t")] {
        host.session.declare_topic(topic).await.unwrap();
        host.subscribe(Subscribed::Topic(topic, b""), tag, 1).await;
        host.subscribe(Subscribed::Live(topic, b"", Arc::new(Lines)), tag + 1, 1).await;
    }
    let names = |client: &Client| -> BTreeSet<String> {
        let (all, _) = pages(&client.session, None, 100);
        all.into_iter().map(|(_, name, _)| name).collect()
    };
    let all = ["a", "a.t", "b", "b.t"];
    assert_eq!(names(&host), all.map(str::to_owned).into());
    let some = Client::of(&broker, "/", &only("a.#", Operation::Inspect)).unwrap();
    assert_eq!(names(&some), ["a", "a.t"].map(str::to_owned).into());
    let refused = some.session.subscriptions(Some(BindTo::Exchange("b.t")), None, 10).err();
    assert_eq!(refused, Some(Refusal::NotAllowed));
    let mut blind = Client::of(&broker, "/", &only("#", Operation::Consume)).unwrap();
    assert_eq!(names(&blind), BTreeSet::new());
    blind.subscribe(Subscribed::Live("b.t", b"", Arc::new(Lines)), 1, 1).await;
    blind.subscribe(Subscribed::Topic("b.t", b""), 2, 1).await;
    assert_eq!(pages(&blind.session, None, 100).0.len(), 2, "its own");
    let there = Client::of(&broker, "team", &Arc::new(Principal::unrestricted("p"))).unwrap();
    assert_eq!(names(&there), BTreeSet::new());

    let users = |client: &Client| -> Vec<String> {
        let (sessions, _) = client.session.sessions(None, 100).unwrap();
        sessions.into_iter().map(|it| it.listed.user).collect()
    };
    assert_eq!(users(&host), ["test", "only", "only"]);
    assert_eq!(users(&some), ["only"], "only itself");
    assert_eq!(users(&there), ["p"]);
    let everything = Client::of(&broker, "/", &only("#", Operation::Inspect)).unwrap();
    assert_eq!(users(&everything).len(), 4);
}
