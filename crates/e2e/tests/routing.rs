//! Where messages go: exchanges of every kind, bindings between them, and what reaches nobody,
//! through the real binary and over `kill -9`.

#![allow(clippy::unwrap_used, reason = "tests panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::ScopedJoinHandle;

use courant_e2e::broker::{Broker, bodies, until};
use courant_e2e::client::{Client, ClientError, field};
use courant_e2e::random::{Random, seed};

/// What is in each of these queues, for good.
fn drained(client: &mut Client, queues: &[&str]) -> Vec<Vec<String>> {
    queues.iter().map(|queue| bodies(&client.drain(queue).expect("a claim"))).collect()
}

fn put(client: &mut Client, head: &str, body: &str) {
    client.put(head, body.as_bytes()).unwrap_or_else(|error| panic!("{head}: {error}"));
}

/// The number of a refusal.
fn number(client: &mut Client, command: &str) -> u32 {
    client.refused(command).expect("a refusal").number
}

#[test]
fn direct_and_fanout_bindings_survive() {
    let mut broker = Broker::start();
    let mut client = broker.client();
    let declared = "DECLARE queue:a
        DECLARE queue:b
        DECLARE exchange:keys kind:direct
        DECLARE exchange:all kind:fanout
        BIND exchange:keys queue:a key:one
        BIND exchange:keys queue:b key:two
        BIND exchange:keys queue:b key:one
        BIND exchange:all queue:a
        BIND exchange:all queue:b";
    client.lines(declared).unwrap();
    broker.kill();
    let mut client = broker.client();
    client.lines("UNBIND exchange:keys queue:b key:one\nUNBIND exchange:all queue:b").unwrap();
    broker.kill();
    let mut client = broker.client();
    for (head, body) in [("keys key:one", "1"), ("keys key:two", "2"), ("keys key:three", "3")] {
        put(&mut client, &format!("exchange:{head}"), body);
    }
    put(&mut client, "exchange:all key:any", "4");
    assert_eq!(drained(&mut client, &["a", "b"]), [vec!["1", "4"], vec!["2"]]);
    assert_eq!(number(&mut client, "UNBIND exchange:all queue:b"), 209);
}

#[test]
fn patterns_survive() {
    let mut broker = Broker::start();
    let mut client = broker.client();
    client.line("DECLARE exchange:t kind:topic").unwrap();
    let patterns = [("star", "*.error"), ("hash", "app.#"), ("more", "app.>"), ("each", "#")];
    for (queue, pattern) in patterns {
        client.line(&format!("DECLARE queue:{queue}")).unwrap();
        client.line(&format!("BIND exchange:t queue:{queue} key:{pattern}")).unwrap();
    }
    broker.kill();
    let mut client = broker.client();
    for key in ["app", "app.error", "web.error", "app.web.error", "$app.error"] {
        put(&mut client, &format!("exchange:t key:{key}"), key);
    }
    let expected = [
        vec!["app.error", "web.error"],
        vec!["app", "app.error", "app.web.error"],
        vec!["app.error", "app.web.error"],
        vec!["app", "app.error", "web.error", "app.web.error"],
    ];
    assert_eq!(drained(&mut client, &patterns.map(|it| it.0)), expected);
}

#[test]
fn headers_are_compared_by_type_and_value_after_a_kill() {
    let mut broker = Broker::start();
    let mut client = broker.client();
    client.line("DECLARE exchange:h kind:headers").unwrap();
    let filters = [
        ("all", "h:kind=video hi:parts=2"),
        ("any", "match:any h:kind=video hi:parts=2"),
        ("there", "hn:parts="),
        ("hidden", "match:any-with-x h:x-from=here"),
        ("passed", "match:all h:x-from=here h:kind=video"),
        ("yes", "match:any hb:done=yes"),
    ];
    for (queue, filter) in filters {
        client.line(&format!("DECLARE queue:{queue}")).unwrap();
        client.line(&format!("BIND exchange:h queue:{queue} {filter}")).unwrap();
    }
    broker.kill();
    let mut client = broker.client();
    for (body, headers) in [
        ("both", "h:kind=video hi:parts=2"),
        ("text", "h:kind=audio h:parts=2"),
        ("one", "hi:parts=2"),
        ("x", "h:x-from=here"),
        ("true", "hb:done=yes"),
        ("word", "h:done=yes"),
        ("none", ""),
    ] {
        put(&mut client, format!("exchange:h {headers}").trim_end(), body);
    }
    let expected = [
        vec!["both"],
        vec!["both", "one"],
        vec!["both", "text", "one"],
        vec!["x"],
        vec!["both"],
        vec!["true"],
    ];
    assert_eq!(drained(&mut client, &filters.map(|it| it.0)), expected);
    client.line("UNBIND exchange:h queue:all h:kind=video hi:parts=2").unwrap();
    broker.kill();
    let mut client = broker.client();
    put(&mut client, "exchange:h h:kind=video hi:parts=2", "again");
    assert_eq!(drained(&mut client, &["all", "any"]), [vec![], vec!["again"]]);
}

/// Which queue of these each key of a hash exchange went to.
fn places(client: &mut Client, queues: &[&str]) -> BTreeMap<String, String> {
    for key in 0..200 {
        put(client, &format!("exchange:hash key:{key}"), &key.to_string());
    }
    let mut places = BTreeMap::new();
    for queue in queues {
        for key in bodies(&client.drain(queue).unwrap()) {
            assert_eq!(places.insert(key, (*queue).to_owned()), None, "to one queue only");
        }
    }
    assert_eq!(places.len(), 200);
    places
}

#[test]
fn keys_keep_their_place_over_a_kill_and_only_the_new_one_takes_some() {
    let mut broker = Broker::start();
    let mut client = broker.client();
    let declared = "DECLARE exchange:hash kind:hash
        DECLARE queue:a
        DECLARE queue:b
        DECLARE queue:c
        BIND exchange:hash queue:a
        BIND exchange:hash queue:b weight:3";
    client.lines(declared).unwrap();
    let before = places(&mut client, &["a", "b", "c"]);
    let heavy = before.values().filter(|queue| *queue == "b").count();
    assert!((110..190).contains(&heavy), "weights of 1 and 3: {heavy} of 200");
    broker.kill();
    let mut client = broker.client();
    assert_eq!(places(&mut client, &["a", "b", "c"]), before);
    client.line("BIND exchange:hash queue:c").unwrap();
    broker.kill();
    let after = places(&mut broker.client(), &["a", "b", "c"]);
    let moved: BTreeSet<_> = after.iter().filter(|(key, at)| before[*key] != **at).collect();
    assert!(!moved.is_empty() && moved.iter().all(|(_, at)| *at == "c"), "{moved:?}");
}

#[test]
fn exchanges_lead_to_exchanges_and_circles_end_after_a_kill() {
    let mut broker = Broker::start();
    let mut client = broker.client();
    let declared = "DECLARE queue:q
        DECLARE exchange:all kind:fanout
        DECLARE exchange:inner kind:topic internal:yes
        DECLARE exchange:keys
        BIND exchange:all exchange:inner
        BIND exchange:inner exchange:keys key:app.#
        BIND exchange:keys exchange:all key:app.web
        BIND exchange:keys queue:q key:app.web
        BIND exchange:inner queue:q key:*.web";
    client.lines(declared).unwrap();
    broker.kill();
    let mut client = broker.client();
    put(&mut client, "exchange:all key:app.web", "twice bound, once there");
    put(&mut client, "exchange:all key:web.app", "nowhere");
    assert_eq!(drained(&mut client, &["q"]), [vec!["twice bound, once there"]]);
    let refused = client.put("exchange:inner key:app.web", b"x");
    assert!(format!("{refused:?}").contains("214"), "{refused:?}");
    client.line("UNBIND exchange:all exchange:inner").unwrap();
    broker.kill();
    let mut client = broker.client();
    put(&mut client, "exchange:all key:app.web", "cut");
    put(&mut client, "exchange:keys key:app.web", "from the middle");
    client.line("DELETE exchange:keys").unwrap();
    broker.kill();
    let mut client = broker.client();
    assert_eq!(drained(&mut client, &["q"]), [vec!["from the middle"]]);
    assert_eq!(number(&mut client, "BIND exchange:keys queue:q key:k"), 203);
    let bindings = broker.json("ls bindings --json");
    let from: Vec<_> = bindings.iter().map(|it| it["from"].as_str().unwrap()).collect();
    assert_eq!(from, ["inner"], "{bindings:?}");
}

#[test]
fn alternates_get_what_found_no_way_after_a_kill() {
    let mut broker = Broker::start();
    let mut client = broker.client();
    let declared = "DECLARE queue:rest
        DECLARE queue:shop
        DECLARE exchange:last kind:fanout
        DECLARE exchange:rest kind:topic alternate:last
        DECLARE exchange:shop alternate:rest
        BIND exchange:shop queue:shop key:order
        BIND exchange:last queue:rest";
    client.lines(declared).unwrap();
    broker.kill();
    let mut client = broker.client();
    put(&mut client, "exchange:shop key:order", "order");
    put(&mut client, "exchange:shop key:other mandatory:yes", "other");
    assert_eq!(client.told(), [], "the alternate of the alternate took it");
    assert_eq!(drained(&mut client, &["shop", "rest"]), [["order"], ["other"]]);
    for (differing, declared) in [
        ("alternate", "exchange:shop alternate:last"),
        ("kind", "exchange:shop kind:fanout alternate:rest"),
        ("internal", "exchange:shop alternate:rest internal:yes"),
        ("auto_delete", "exchange:shop alternate:rest auto_delete:yes"),
    ] {
        let refused = client.refused(&format!("DECLARE {declared}")).unwrap();
        assert_eq!(refused.number, 205, "{declared}");
        assert!(refused.sentence.contains(differing), "{declared}: {refused}");
    }
}

#[test]
fn what_reaches_nobody_comes_back_whole_before_its_confirm() {
    let mut broker = Broker::start();
    let mut client = broker.client();
    let declared = "DECLARE exchange:logs kind:topic
        DECLARE topic:news
        DECLARE queue:q
        BIND exchange:logs queue:q key:app.*";
    client.lines(declared).unwrap();
    broker.kill();
    let mut client = broker.client();
    let mut body = b"\n\r\nRETURN exchange:x 3\nOK\n".to_vec();
    Random::new(5).bytes(100_000, &mut body);
    let fields = client.put("exchange:logs key:web.x%20y mandatory:yes req:r1", &body).unwrap();
    assert_eq!((field(&fields, "queues"), field(&fields, "req")), (Some("0"), Some("r1")));
    let returned = client.told();
    assert_eq!(returned.len(), 1, "before the OK");
    let told = &returned[0];
    assert!(told.verb == "RETURN" && told.body == body, "{} bytes", told.body.len());
    let fields = ["exchange", "key", "reason", "req"].map(|name| told.field(name));
    assert_eq!(fields, [Some("logs"), Some("web.x y"), Some("unroutable"), Some("r1")]);
    put(&mut client, "topic:news mandatory:yes", "no subscriber");
    assert_eq!(client.told().len(), 1);
    put(&mut client, "exchange:logs key:app.x mandatory:yes", "somebody");
    put(&mut client, "exchange:logs key:web.x", "nobody asks");
    assert_eq!(client.told(), []);
    let mut listener = broker.client();
    listener.line("SUB topic:news mode:live").unwrap();
    put(&mut client, "topic:news mandatory:yes", "live");
    assert_eq!((client.told(), listener.message().unwrap().body), (vec![], b"live".to_vec()));
}

#[test]
fn an_exchange_goes_with_its_last_binding_and_stays_gone() {
    let mut broker = Broker::start();
    let mut client = broker.client();
    let declared = "DECLARE queue:q
        DECLARE exchange:brief auto_delete:yes
        DECLARE exchange:fresh auto_delete:yes
        BIND exchange:brief queue:q key:a
        BIND exchange:brief queue:q key:b
        UNBIND exchange:brief queue:q key:a";
    client.lines(declared).unwrap();
    broker.kill();
    let mut client = broker.client();
    put(&mut client, "exchange:brief key:b", "still there");
    client.line("UNBIND exchange:brief queue:q key:b").unwrap();
    // Its record is written by a task.
    until("it goes", || client.put("exchange:brief key:none", b"x").is_err());
    broker.kill();
    let mut client = broker.client();
    assert_eq!(number(&mut client, "BIND exchange:brief queue:q key:b"), 203);
    // One that never had a binding waits for its first.
    client.line("BIND exchange:fresh queue:q key:c").unwrap();
    assert_eq!(drained(&mut client, &["q"]), [["still there"]]);
}

/// Binds and unbinds, declares and deletes beside the queue `kept` until the broker goes.
fn change(mut client: Client, name: &str, mut random: Random, changes: &AtomicU64) {
    loop {
        let queue = format!("{name}.{}", random.below(3));
        let key = ["#", "app.*", "app.1", "*.2"][usize::try_from(random.below(4)).unwrap()];
        let command = match random.below(6) {
            0 => format!("DECLARE queue:{queue} max_length:50 overflow:drop-oldest"),
            1 => format!("DELETE queue:{queue}"),
            2 | 3 => format!("BIND exchange:traffic queue:{queue} key:{key}"),
            4 => format!("UNBIND exchange:traffic queue:{queue} key:{key}"),
            _ => format!("BIND exchange:traffic exchange:side key:{key}"),
        };
        match client.line(&command) {
            Ok(_) => changes.fetch_add(1, Ordering::SeqCst),
            Err(ClientError::Refused(refused)) if matches!(refused.number, 201 | 209) => continue,
            Err(ClientError::Closed) => return,
            Err(error) => panic!("{command}: {error}"),
        };
    }
}

/// Publishes until the broker goes; the bodies that were confirmed.
fn publish(mut client: Client, life: u64, confirms: &AtomicU64) -> Vec<String> {
    let mut confirmed = Vec::new();
    loop {
        let body = format!("{life}.{}", confirmed.len());
        match client.put(&format!("exchange:traffic key:app.{}", body.len() % 3), body.as_bytes()) {
            Ok(_) => confirmed.push(body),
            Err(ClientError::Closed) => return confirmed,
            Err(error) => panic!("{body}: {error}"),
        }
        confirms.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn nothing_confirmed_is_lost_while_bindings_change_and_the_broker_dies() {
    let seed = seed();
    let mut broker = Broker::start();
    let declared = "DECLARE queue:kept
        DECLARE exchange:traffic kind:topic
        DECLARE exchange:side kind:fanout
        BIND exchange:traffic queue:kept key:app.#";
    broker.client().lines(declared).unwrap();
    let mut confirmed = Vec::new();
    for life in 0..3 {
        let (confirms, changes) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            let (confirms, changes, client) = (&confirms, &changes, broker.client());
            let publishing = scope.spawn(move || publish(client, life, confirms));
            let changing = [0, 1].map(|it| {
                let (client, random) = (broker.client(), Random::part(seed, 2 * life + it));
                scope.spawn(move || change(client, &it.to_string(), random, changes))
            });
            until("enough happened", || {
                let is_reached = |count: &AtomicU64, n| count.load(Ordering::SeqCst) >= n;
                let enough = is_reached(confirms, 100) && is_reached(changes, 30);
                enough
                    || publishing.is_finished()
                    || changing.iter().any(ScopedJoinHandle::is_finished)
            });
            broker.kill();
            confirmed.extend(publishing.join().unwrap());
            for one in changing {
                one.join().unwrap();
            }
        });
    }
    let there = drained(&mut broker.client(), &["kept"]).remove(0);
    let lost: Vec<_> = confirmed.iter().filter(|body| !there.contains(body)).collect();
    assert!(lost.is_empty(), "{lost:?} of {} confirmed", confirmed.len());
    assert!(there.len() <= confirmed.len() + 3, "at most one a life came without its confirm");
}

#[test]
fn live_subscriptions_have_patterns() {
    let mut broker = Broker::start();
    let mut client = broker.client();
    client.lines("DECLARE exchange:t kind:topic\nDECLARE queue:q").unwrap();
    client.line("BIND exchange:t queue:q key:#").unwrap();
    broker.kill();
    let (mut client, mut live) = (broker.client(), broker.client());
    live.line("SUB exchange:t sub_id:errors mode:live key:*.error").unwrap();
    live.line("SUB exchange:t sub_id:app mode:live key:app.>").unwrap();
    for key in ["web.info", "web.error", "app.info"] {
        put(&mut client, &format!("exchange:t key:{key}"), key);
    }
    let got: Vec<_> = (0..2).map(|_| live.message().unwrap()).collect();
    assert_eq!(bodies(&got), ["web.error", "app.info"]);
    assert_eq!(got[0].sub_id.as_deref(), Some("errors"));
    assert!(got.iter().all(|message| message.handle.is_none()), "{got:?}");
    live.line("UNSUB sub_id:errors").unwrap();
    put(&mut client, "exchange:t key:web.error", "unheard");
    put(&mut client, "exchange:t key:app.error", "last");
    assert_eq!(live.message().unwrap().body, b"last");
    assert_eq!(drained(&mut client, &["q"])[0].len(), 5, "queues get all of it");
    assert_eq!(number(&mut live, "SUB exchange:t mode:live credit_bytes:100"), 103);
    assert_eq!(number(&mut live, "SUB exchange:t mode:live credit:1"), 103);
}
