//! Every operation against every permission, through the real binary and after a `kill -9`: allowed
//! for who has it, refused with 300 for who has not, and taken back while it is used.

#![allow(clippy::unwrap_used, reason = "tests panic")]

use courant_e2e::broker::{Broker, until};
use courant_e2e::cli;
use courant_e2e::client::{Client, ClientError};
use courant_wire::text::Login;
use rustix::process::Signal;

/// Who has one permission for everything but what is `secret`, and the letter of it below.
const PEOPLE: [(&str, char); 4] =
    [("publish", 'p'), ("consume", 'c'), ("configure", 'f'), ("inspect", 'i')];

/// A command, the letters of those who may, and how it is undone by somebody who may do all.
const OPERATIONS: [(&str, &str, &str); 18] = [
    ("PUB queue:q 1\nx", "p", ""),
    ("PUB exchange:x key:k 1\nx", "p", ""),
    ("PUB topic:t 1\nx", "p", ""),
    ("SUB queue:q sub_id:s credit:0", "c", ""),
    ("SUB topic:t sub_id:t", "c", ""),
    ("SUB topic:t sub_id:l mode:live", "c", ""),
    ("GET queue:q ack:auto", "c", ""),
    ("PURGE queue:q req:1", "c", ""),
    ("DECLARE queue:new", "f", "DELETE queue:new"),
    ("DECLARE exchange:new", "f", "DELETE exchange:new"),
    ("DECLARE topic:new", "f", "DELETE topic:new"),
    ("BIND exchange:x queue:q key:new", "f", "UNBIND exchange:x queue:q key:new"),
    ("UNBIND exchange:x queue:q key:k", "f", "BIND exchange:x queue:q key:k"),
    ("DELETE queue:gone", "f", "DECLARE queue:gone"),
    ("DELETE exchange:gone", "f", "DECLARE exchange:gone"),
    ("DELETE topic:past", "f", "DECLARE topic:past"),
    ("DECLARE queue:q passive:yes", "i", ""),
    // Refused because of the exchange's kind, which is told to who may bind at all.
    ("BIND exchange:x queue:q weight:2", "f", ""),
];

/// A token and its hash, as the command line makes them.
fn token(broker: &Broker) -> (String, String) {
    let made = broker.done("user token");
    let field = |name: &str| {
        let line = made.lines().find_map(|line| line.strip_prefix(name));
        line.expect("a field").trim().to_owned()
    };
    (field("token:"), field("hash:"))
}

fn people(hashes: &[String], roles: &[(&str, &str)]) -> String {
    let user = |(hash, (name, _)): (&String, &(&str, &str))| {
        format!("[[users]]\nname = \"{name}\"\ntoken_hashes = [\"{hash}\"]\nroles = [\"{name}\"]\n")
    };
    let users: String = hashes.iter().zip(roles).map(user).collect::<Vec<_>>().concat();
    let role = |(name, grants): &(&str, &str)| format!("[[roles]]\nname = \"{name}\"\n{grants}\n");
    users + &roles.iter().map(role).collect::<Vec<_>>().concat()
}

fn grants_of(name: &str) -> String {
    format!("{name} = [\"q\", \"x\", \"t\", \"new\", \"gone\", \"past\"]")
}

fn client(broker: &Broker, token: &str) -> Client {
    let login = Login { token: Some(token.to_owned()), ..Login::default() };
    Client::login(broker.address(), &login).expect("a login")
}

#[test]
fn who_may_what_and_no_longer() {
    let made = Broker::start();
    let (tokens, hashes): (Vec<_>, Vec<_>) = (0..5).map(|_| token(&made)).unzip();
    let all = "publish = [\"#\"]\nconsume = [\"#\"]\nconfigure = [\"#\"]\ninspect = [\"#\"]";
    let grants = PEOPLE.map(|(name, _)| grants_of(name));
    let mut roles: Vec<(&str, &str)> =
        PEOPLE.iter().zip(&grants).map(|((name, _), grants)| (*name, grants.as_str())).collect();
    roles.push(("boss", all));
    let file = made.folder().join("courant.toml");
    std::fs::write(&file, people(&hashes, &roles)).unwrap();
    let path = file.to_str().unwrap();
    let mut broker = Broker::launched(|launch| launch.arguments(&["--config", path]));
    let declared = "DECLARE queue:q
        DECLARE queue:gone
        DECLARE queue:secret
        DECLARE exchange:x
        DECLARE exchange:gone
        DECLARE topic:t
        DECLARE topic:past
        BIND exchange:x queue:q key:k";
    client(&broker, &tokens[4]).lines(declared).unwrap();
    broker.kill();
    let mut boss = client(&broker, &tokens[4]);
    for ((name, letter), token) in PEOPLE.iter().zip(&tokens) {
        let mut one = client(&broker, token);
        for (command, who, undo) in OPERATIONS {
            let answer = one.line(command);
            let denied = matches!(&answer, Err(ClientError::Refused(it)) if it.number == 300);
            let may = who.contains(*letter);
            assert_eq!(denied, !may, "{name}: {command}: {answer:?}");
            if may && !undo.is_empty() {
                answer.unwrap_or_else(|error| panic!("{name}: {command}: {error}"));
                boss.line(undo).unwrap_or_else(|error| panic!("{undo}: {error}"));
            }
            if command.contains(":q ") {
                let secret = command.replace(":q ", ":secret ").replace("sub_id:s", "sub_id:z");
                assert_eq!(one.refused(&secret).unwrap().number, 300, "{name}: {secret}");
            }
        }
        one.line("LIST queues").unwrap();
        let sees = one.told().len();
        assert_eq!(sees, if *letter == 'i' { 2 } else { 0 }, "{name}: q and gone, not secret");
    }
    // The first is not there any more, and the second has the grants of another.
    roles[1].1 = &grants[3];
    let changed = people(&hashes[1..], &roles[1..]);
    taken_back(&broker, &tokens, || std::fs::write(&file, changed).unwrap());
}

fn taken_back(broker: &Broker, tokens: &[String], change: impl FnOnce()) {
    let (mut publisher, mut consumer) = (client(broker, &tokens[0]), client(broker, &tokens[1]));
    consumer.line("SUB queue:q sub_id:s").unwrap();
    publisher.put("queue:q", b"before").unwrap();
    assert_eq!(consumer.message().unwrap().body, b"before");
    change();
    broker.server().signal(Signal::HUP).unwrap();
    let told = consumer.notice().unwrap();
    assert_eq!((told.verb, told.field("reason")), ("CANCEL", Some("not_allowed")));
    until("the publisher is sent away", || publisher.put("queue:q", b"after").is_err());
    let mut boss = client(broker, &tokens[4]);
    boss.line("GET queue:q").unwrap();
    assert_eq!(boss.message().unwrap().attempt, 2, "what was open went back");
    let ended = cli::run(broker.address(), &["pub", "queue:q", "x"]).unwrap();
    assert!(ended.stderr.contains("303"), "{}", ended.stderr);
}
