//! The commands that make, look at and take away what a broker has, as a person or a script uses
//! them. Where something must survive, the broker is killed with `kill -9` in between.

use courant_e2e::broker::{Broker, until};
use serde_json::{Value, json};

#[test]
fn what_is_declared_is_said_and_survives() {
    let mut broker = Broker::start();
    assert_eq!(broker.done("declare queue orders"), "declared queue:orders\n");
    assert_eq!(broker.done("declare queue a%20b"), "declared queue:a%20b\n");
    assert_eq!(broker.json("declare topic events --json"), [json!({"declared": "topic:events"})]);
    broker.done("declare exchange logs --kind direct");
    broker.done("bind exchange:logs queue:orders --key k");
    broker.kill();
    broker.done("pub queue:orders one");
    broker.done("pub topic:events nobody");
    // Declared again with the same options it stays as it is, with others it is refused.
    assert_eq!(broker.done("declare queue orders"), "declared queue:orders\n");
    broker.refused("declare queue orders --visibility 5s", "205 ");
    assert_eq!(broker.done("get queue:orders"), "one\n");
}

#[test]
fn get_takes_what_was_printed_and_nothing_else() {
    let mut broker = Broker::start();
    broker.done("declare queue q");
    for body in ["1", "2", "3"] {
        broker.done(&format!("pub queue:q {body}"));
    }
    let looked = broker.done("get queue:q --count 9 --manual-ack");
    let bodies: Vec<&str> =
        looked.lines().filter_map(|line| line.split_once('\t')).map(|it| it.1).collect();
    assert_eq!(bodies, ["1", "2", "3"], "{looked}");
    assert_eq!(broker.done("get queue:q"), "1\n");
    broker.kill();
    let messages = broker.json("get queue:q --count 100 --json");
    assert_eq!(messages.iter().map(|it| &it["body"]).collect::<Vec<_>>(), ["2", "3"]);
    broker.kill();
    let stderr = broker.refused("get queue:q", "402 nothing-waiting");
    assert!(stderr.starts_with("courant: refused: "), "{stderr}");
}

#[test]
fn show_and_a_routing_key() {
    let mut broker = Broker::start();
    broker.done("declare queue errors");
    broker.done("declare exchange logs");
    broker.done("bind exchange:logs queue:errors --key error");
    broker.kill();
    broker.done("pub exchange:logs broken --key error");
    broker.done("pub exchange:logs fine --key info");
    let shown = broker.json("show queue:errors --json");
    assert_eq!(shown[0]["queue"], "errors", "{shown:?}");
    assert_eq!(shown[0]["ready"], 1, "{shown:?}");
    let table = broker.done("show queue:errors");
    assert!(
        table.lines().any(|line| line.starts_with("bytes ") && line.ends_with(" B")),
        "{table}"
    );
    assert_eq!(broker.done("get queue:errors --count 5"), "broken\n");
    broker.refused("show queue:nothing", "201 no-such-queue");
    broker.refused("show exchange:nothing", "no-such-exchange");
}

#[test]
fn get_takes_more_than_one_batch_in_order() {
    let broker = Broker::start();
    let numbers: Vec<String> = (0..100).map(|number: u32| number.to_string()).collect();
    let lines = numbers.join("\n") + "\n";
    let published = broker.run_with("pub queue:many --declare --lines", &lines);
    published.success().unwrap();
    assert_eq!(broker.done("get queue:many --count 1000"), lines);
    broker.refused("get queue:many", "402 nothing-waiting");
}

#[test]
fn delete_has_conditions() {
    let broker = Broker::start();
    broker.done("pub queue:q body --declare");
    broker.refused("delete queue:q --if-empty", "20");
    broker.done("get queue:q");
    assert_eq!(
        broker.json("delete queue:q --if-empty --if-unused --json"),
        [json!({"deleted": "queue:q"})]
    );
    broker.refused("delete queue:q", "201 no-such-queue");
    broker.done("declare exchange x");
    assert_eq!(broker.done("delete exchange:x"), "deleted exchange:x\n");
}

#[test]
fn lists_page_through_everything_and_purge_empties() {
    let mut broker = Broker::start();
    let mut client = broker.client();
    for number in 0..1100 {
        client.line(&format!("DECLARE queue:q{number:04}")).unwrap();
    }
    broker.done("pub queue:q1099 body");
    broker.kill();
    let queues = broker.json("ls queues --json");
    assert_eq!(queues.len(), 1100);
    assert_eq!(queues[1099]["queue"], "q1099");
    assert_eq!(queues[1099]["ready"], 1);
    let table = broker.done("ls queues");
    assert_eq!(table.lines().count(), 1101, "titles, and a line for each");
    assert!(table.starts_with("queue  ready  open "), "{table}");
    assert_eq!(broker.done("purge queue:q1099"), "purged queue:q1099 messages 1\n");
    let again = json!({"purged": "queue:q1099", "messages": 0});
    assert_eq!(broker.json("purge queue:q1099 --json"), [again]);
    broker.refused("get queue:q1099", "402 nothing-waiting");
    assert_eq!(broker.done("ls exchanges"), "no exchanges\n");
    broker.refused("purge queue:nothing", "201 no-such-queue");
}

#[test]
fn policies_are_kept() {
    let mut broker = Broker::start();
    broker.done("declare queue small --max-length 1 --overflow reject --max-attempts 5");
    broker.kill();
    let queues = broker.json("ls queues --json");
    assert_eq!((&queues[0]["max_length"], &queues[0]["max_attempts"]), (&json!(1), &json!(5)));
    broker.done("pub queue:small one");
    broker.refused("pub queue:small two", "403 queue-full");
    broker.refused("declare queue small --max-length 2 --max-attempts 5", "205 ");
    assert_eq!(broker.done("get queue:small"), "one\n");
}

#[test]
fn show_tells_what_belongs_to_a_thing() {
    let mut broker = Broker::start();
    for line in [
        "declare exchange lost --kind fanout --internal",
        "declare exchange logs --kind topic --alternate lost",
        "declare queue errors --max-length 5 --overflow drop-oldest --message-ttl 1h",
        "bind exchange:logs queue:errors --key app.*.error",
        "bind exchange:lost exchange:logs",
    ] {
        broker.done(line);
    }
    broker.kill();
    let binding = json!({"from": "logs", "queue": "errors", "key": "app.*.error"});
    let shown = broker.json("show queue:errors --json").remove(0);
    for (key, value) in [
        ("max_length", json!(5)),
        ("overflow", json!("drop-oldest")),
        ("message_ttl", json!(3_600_000)),
        ("bindings_list", json!([binding])),
        ("subscriptions_list", json!([])),
    ] {
        assert_eq!(shown[key], value, "{key} of {shown}");
    }
    let shown = broker.json("show exchange:logs --json").remove(0);
    assert_eq!(shown["alternate"], "lost", "{shown}");
    let into = json!({"from": "lost", "exchange": "logs"});
    assert_eq!(shown["bindings_list"], json!([binding, into]), "{shown}");
    let mut client = broker.client();
    client.line("SUB queue:errors sub_id:w credit:7").unwrap();
    client.line("SUB exchange:logs mode:live key:app.#").unwrap();
    for number in 0..7 {
        broker.done(&format!("pub exchange:logs {number} --key app.web.error"));
    }
    let table = broker.done("show queue:errors");
    for wanted in ["message_ttl", "bindings\nfrom ", "subscriptions\nsession ", "app.*.error"] {
        assert!(table.contains(wanted), "{wanted} is not in\n{table}");
    }
    let of_queue = broker.json("ls subscriptions queue:errors --json");
    assert_eq!(of_queue.len(), 1, "{of_queue:?}");
    assert_eq!((&of_queue[0]["credit"], &of_queue[0]["sub_id"]), (&json!(7), &json!("w")));
    let live = broker.json("show exchange:logs --json").remove(0);
    assert_eq!(live["subscriptions_list"][0]["mode"], "live", "{live}");
    assert_eq!(live["subscriptions_list"][0]["key"], "app.#", "{live}");
    let sessions = broker.json("ls sessions --json");
    assert_eq!(sessions.len(), 2, "the client's, and that which asks: {sessions:?}");
    assert_eq!((&sessions[0]["subscriptions"], &sessions[0]["door"]), (&json!(2), &json!("text")));
    assert!(sessions[0]["since"].is_u64() && sessions[0]["source"] == "127.0.0.1", "{sessions:?}");
    assert_eq!(sessions[1]["client_id"], "courant ls");
    assert_eq!(broker.done("ls workers"), "no workers\n");
}

#[test]
fn namespaces_are_chosen_by_an_option() {
    let mut broker = Broker::start();
    broker.done("declare namespace team");
    broker.done("declare queue here");
    broker.done("declare queue there --namespace team");
    broker.kill();
    broker.done("pub queue:there one --namespace team");
    broker.refused("pub queue:there one", "201 no-such-queue");
    let there = broker.json("ls queues --json --namespace team");
    assert_eq!(there.len(), 1, "{there:?}");
    assert_eq!(there[0]["queue"], "there");
    assert_eq!(broker.json("ls sessions --json --namespace team").len(), 1);
    assert_eq!(broker.done("get queue:there --namespace team"), "one\n");
    broker.refused("ls queues --namespace other", "204 no-such-namespace");
}

#[test]
fn what_reaches_nobody_comes_back_with_its_body() {
    let mut broker = Broker::start();
    broker.done("declare exchange logs --kind topic");
    broker.done("declare queue errors");
    broker.done("bind exchange:logs queue:errors --key error");
    broker.kill();
    broker.done("pub exchange:logs fine --key error --mandatory");
    let ended = broker.run("pub exchange:logs lost? --key info --mandatory");
    assert_eq!((ended.code(), &ended.stdout[..]), (Some(1), ""), "{ended:?}");
    let (returned, sentence) = ended.stderr.split_once('\n').unwrap();
    let returned: Value = serde_json::from_str(returned).unwrap();
    let expected = json!({"returned": "exchange:logs", "key": "info", "reason": "unroutable",
        "body": "lost?"});
    assert_eq!(returned, expected);
    assert!(sentence.contains("1 of 1 messages came back"), "{sentence}");
    broker.done("pub queue:errors short --ttl 1ms");
    broker.done("pub queue:errors long --ttl 1h");
    std::thread::sleep(std::time::Duration::from_millis(5));
    assert_eq!(broker.done("get queue:errors --count 9"), "fine\nlong\n");
    let left = || broker.json("show queue:errors --json").remove(0)["left_expired"] == json!(1);
    until("what expired is counted", left);
}

/// A terminal of its own, in which the password is typed; what it shows.
const TYPED: &str = "import os, pty, sys
pid, terminal = pty.fork()
if pid == 0: os.execlp('courant', 'courant', 'user', 'hash')
shown = b''
while not shown.endswith(b'password: '): shown += os.read(terminal, 1000)
os.write(terminal, sys.argv[1].encode())
try:
    while True:
        more = os.read(terminal, 1000)
        if not more: break
        shown += more
except OSError: pass
print(shown.decode().replace('\\r', ''), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))";

#[test]
fn a_password_is_not_shown_as_it_is_typed() {
    let broker = Broker::start();
    std::fs::write(broker.folder().join("typed.py"), TYPED).unwrap();
    let shown = broker.shell("python3 typed.py $'correct horse\\n'").success().unwrap();
    assert!(!shown.contains("correct"), "{shown}");
    assert!(shown.contains("$argon2id$") && shown.ends_with(" 0\n"), "{shown}");
    let shown = broker.shell("python3 typed.py $'correct\\x03'").success().unwrap();
    assert!(shown.contains("interrupted") && shown.ends_with(" 1\n"), "{shown}");
}

#[test]
fn a_stopped_folder_shows_the_policies_of_its_queues() {
    let mut broker = Broker::start();
    broker.done("declare queue small --max-length 9 --message-ttl 1h --overflow drop-oldest");
    broker.terminate(std::time::Duration::from_secs(30));
    let data = broker.data();
    let shown = |json: &str| {
        let line = format!("inspect {}{json}", data.display());
        let words: Vec<&str> = line.split(' ').collect();
        let nobody = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
        courant_e2e::cli::run(nobody, &words).unwrap().success().unwrap()
    };
    let table = shown("");
    assert!(table.contains("max_length:9 message_ttl:1h overflow:drop-oldest\n"), "{table}");
    let report: Value = serde_json::from_str(&shown(" --json")).unwrap();
    let expected = json!({"max_length": 9, "message_ttl": 3_600_000, "overflow": "drop-oldest"});
    assert_eq!(report["queues"][0]["policies"], expected);
}

#[test]
fn stats_count() {
    let broker = Broker::start();
    broker.done("pub queue:q body --declare");
    let counters = broker.json("stats --json");
    assert_eq!(counters.len(), 1);
    assert_eq!(counters[0]["published"], 1, "{counters:?}");
    let table = broker.done("stats");
    assert!(table.starts_with("counter "), "{table}");
    let published = table.lines().find(|line| line.starts_with("published "));
    assert_eq!(published.and_then(|line| line.split_whitespace().nth(1)), Some("1"), "{table}");
}

#[test]
fn completions_and_pages_need_no_broker() {
    let broker = Broker::start();
    assert!(broker.done("completions bash").contains("complete -F"));
    assert!(broker.done("man declare queue").contains("max"));
    let folder = broker.folder().join("pages");
    std::fs::create_dir(&folder).unwrap();
    broker.done(&format!("man --dir {}", folder.display()));
    assert!(folder.join("courant-get.1").exists());
}

/// Exchanges of every kind, subscribers, what leads to what: declared, killed, used, taken back.
#[test]
fn everything_can_be_declared_and_taken_back_by_commands() {
    let mut broker = Broker::start();
    for line in [
        "declare queue q",
        "declare queue rest",
        "declare exchange rest --kind fanout",
        "declare exchange keys --alternate rest",
        "declare exchange inner --kind topic --internal",
        "declare exchange heads --kind headers",
        "declare exchange share --kind hash",
        "declare topic news",
        "declare subscriber news archive --max-length 9",
        "bind exchange:rest queue:rest",
        "bind exchange:keys exchange:inner --key app.web",
        "bind exchange:inner queue:q --key app.*",
        "bind exchange:heads queue:q --match all --header kind=video --header-int parts=2",
        "bind exchange:share queue:q --weight 3",
    ] {
        broker.done(line);
    }
    broker.kill();
    for (to, body) in [
        ("exchange:keys --key app.web", "routed"),
        ("exchange:keys --key other", "rest"),
        ("exchange:share --key any", "shared"),
        ("topic:news", "news"),
    ] {
        broker.done(&format!("pub {to} {body}"));
    }
    let head = "exchange:heads h:kind=video hi:parts=2";
    broker.client().put(head, b"video").unwrap();
    broker.refused("pub exchange:inner x --key app.web", "214 ");
    broker.refused("declare exchange share --kind fanout", "205 ");
    assert_eq!(broker.done("get queue:q --count 9"), "routed\nshared\nvideo\n");
    assert_eq!(broker.done("get queue:rest"), "rest\n");
    assert_eq!(broker.done("get queue:news/archive"), "news\n");
    assert_eq!(broker.json("ls bindings --json").len(), 6, "{}", broker.done("ls bindings"));
    for line in [
        "unbind exchange:keys exchange:inner --key app.web",
        "unbind exchange:heads queue:q --match all --header kind=video --header-int parts=2",
        "unbind exchange:share queue:q --weight 3",
        "delete topic:news --subscriber archive",
        "delete exchange:inner",
        "delete queue:rest",
    ] {
        broker.done(line);
    }
    broker.kill();
    broker.done("pub exchange:share nowhere --key any");
    broker.refused("get queue:q", "402 ");
    broker.refused("delete topic:news --subscriber archive", "215 ");
    assert_eq!(broker.done("ls bindings"), "no bindings\n");
    let queues = broker.json("ls queues --json");
    assert_eq!(queues.len(), 1, "{queues:?}");
    assert_eq!(queues[0]["queue"], "q");
}

#[test]
fn counters_are_watched() {
    let broker = Broker::start();
    let watching = broker.begin("stats --watch 1 --json");
    let published = || {
        let line = watching.line().unwrap().expect("a line");
        let counters: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        counters["published"].as_u64()
    };
    assert_eq!(published(), Some(0));
    broker.done("pub queue:q body --declare");
    until("it is counted", || published() == Some(1));
}
