//! Caps and quotas of the real binary: what reaches one is refused with its number, a neighbour
//! works on, and once one goes another may come; across SIGHUP and `kill -9`.

#![allow(clippy::unwrap_used, reason = "tests panic")]

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use courant_e2e::binary;
use courant_e2e::broker::Broker;
use courant_e2e::cli::{self, Running};
use courant_e2e::client::{Client, ClientError};
use rustix::process::Signal;

/// How long a reload, or the end of a connection, may take to be noticed on a loaded machine.
const NOTICED_WITHIN: Duration = Duration::from_secs(30);

/// Another address of this machine.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// A broker with a file that can be changed.
struct Ground {
    broker: Broker,
    file: PathBuf,
    _folder: tempfile::TempDir,
}

impl Ground {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("courant.toml");
        std::fs::write(&file, text).unwrap();
        let path = file.to_str().unwrap().to_owned();
        let broker = Broker::launched(|launch| launch.arguments(&["--config", &path]));
        Self { broker, file, _folder: folder }
    }

    fn client(&self) -> Client {
        self.broker.client()
    }

    fn raw(&self) -> Client {
        Client::raw(self.broker.address()).unwrap()
    }

    fn elsewhere(&self) -> Client {
        let mut client = Client::raw_from(ELSEWHERE, self.broker.address()).unwrap();
        client.line("CONNECT").unwrap();
        client
    }

    fn change(&self, text: &str) {
        std::fs::write(&self.file, text).unwrap();
        let server = self.broker.server();
        let times = server.stderr().matches("read again").count();
        server.signal(Signal::HUP).unwrap();
        until(|| server.stderr().matches("read again").count() > times);
    }
}

fn until(mut is_true: impl FnMut() -> bool) {
    let deadline = Instant::now() + NOTICED_WITHIN;
    while !is_true() {
        assert!(Instant::now() < deadline, "it did not come about");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn connected(client: Result<Client, ClientError>, login: &str) -> Result<Client, String> {
    let mut client = client.map_err(|error| error.to_string())?;
    match client.line(&format!("CONNECT {login}")) {
        Ok(_) => Ok(client),
        Err(ClientError::Refused(refused)) => Err(refused.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// What a connection is told before it said anything; it is closed then.
fn told_at_once(ground: &Ground) -> String {
    let told = ground.raw().rest(NOTICED_WITHIN).unwrap();
    String::from_utf8(told).unwrap()
}

fn works(client: &mut Client) {
    client.line("DECLARE queue:works durable:no").unwrap();
    client.publish("queue:works", b"x").unwrap();
    assert_eq!(client.drain("works").unwrap().len(), 1);
}

#[test]
fn a_source_has_so_many_connections() {
    let ground = Ground::new("[native]\nconnections_per_source_max = 3\n");
    let mut here: Vec<_> = (0..3).map(|_| ground.client()).collect();
    for _ in 0..20 {
        let told = told_at_once(&ground);
        assert!(told.starts_with("ERR 600 too-many-connections "), "{told}");
        assert!(told.contains("(127.0.0.1)"), "{told}");
    }
    works(&mut here[0]);
    works(&mut ground.elsewhere());
    drop(here.pop());
    until(|| {
        connected(Client::raw(ground.broker.address()), "").is_ok_and(|new| {
            here.push(new);
            true
        })
    });
    assert!(told_at_once(&ground).starts_with("ERR 600 "));
    ground.change("[native]\nconnections_per_source_max = 4\n");
    here.push(ground.client());
    assert!(told_at_once(&ground).starts_with("ERR 600 "));
    ground.change("[native]\nconnections_per_source_max = 1\n");
    here.iter_mut().for_each(works);
    assert!(told_at_once(&ground).starts_with("ERR 600 "));
}

#[test]
fn a_source_has_so_many_strangers() {
    let text = "[native]\nunauthenticated_per_source_max = 2\nhandshake_within = \"1m\"\n";
    let ground = Ground::new(text);
    let mut users: Vec<_> = (0..5).map(|_| ground.client()).collect();
    let mut silent: Vec<_> = (0..2).map(|_| ground.raw()).collect();
    let is_full = || {
        let told = told_at_once(&ground);
        let is_full = told.starts_with("ERR 610 too-many-unauthenticated ");
        assert!(!is_full || told.contains("(127.0.0.1)"), "{told}");
        is_full
    };
    until(is_full);
    users.iter_mut().for_each(works);
    works(&mut ground.elsewhere());
    // One that logs in makes room, and so does one that goes, or is refused.
    silent[0].line("CONNECT").unwrap();
    works(&mut silent[0]);
    silent[0] = ground.raw();
    until(is_full);
    silent[0].send(b"CONNECT {\"user\":\"who\",\"password\":\"what\"}\n").unwrap();
    let told = String::from_utf8(silent[0].rest(NOTICED_WITHIN).unwrap()).unwrap();
    assert!(told.starts_with("ERR 301 "), "{told}");
    until(|| connected(Client::raw(ground.broker.address()), "").is_ok());
    silent.clear();
    for _ in 0..50 {
        until(|| connected(Client::raw(ground.broker.address()), "").is_ok());
    }
    silent.extend((0..2).map(|_| ground.raw()));
    until(is_full);
}

/// The token of a new user and its lines in a file.
fn user(name: &str) -> (String, String) {
    let mut command = std::process::Command::new(binary::path().unwrap());
    command.args(["user", "token"]);
    let made = cli::start_command(command).and_then(Running::end).unwrap().success().unwrap();
    let field = |field: &str| {
        let line = made.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.trim().to_owned()
    };
    let (token, hash) = (field("token:"), field("hash:"));
    let lines =
        format!("[[users]]\nname = \"{name}\"\ntoken_hashes = [\"{hash}\"]\nroles = [\"all\"]\n");
    (token, lines)
}

const ALL: &str = "[[roles]]\nname = \"all\"\npublish = [\"#\"]\nconsume = [\"#\"]\n\
                   configure = [\"#\"]\ninspect = [\"#\"]\n";

#[test]
fn a_user_and_a_namespace_have_so_many_sessions() {
    let ((one, one_lines), (two, two_lines)) = (user("one"), user("two"));
    let text = |user: u32, namespace: u32| {
        let limits = format!(
            "[limits]\nsessions_per_user_max = {user}\nsessions_per_namespace_max = {namespace}\n"
        );
        format!("{limits}{one_lines}{two_lines}{ALL}")
    };
    let ground = Ground::new(&text(2, 3));
    let address = ground.broker.address();
    let session = |token: &str, namespace: &str| {
        let login = format!("{{\"token\":\"{token}\",\"namespace\":\"{namespace}\"}}");
        connected(Client::raw(address), &login)
    };
    let is_full = |session: Result<Client, String>| {
        session.is_err_and(|told| told.starts_with("609 too-many-sessions "))
    };
    let mut first = session(&one, "/").unwrap();
    first.line("DECLARE namespace:other").unwrap();
    let second = session(&one, "other").unwrap();
    assert!(is_full(session(&one, "/")), "a third session of one user");
    let mut others = vec![session(&two, "/").unwrap(), session(&two, "/").unwrap()];
    ground.change(&text(9, 3));
    assert!(is_full(session(&two, "/")), "a fourth session in one namespace");
    others.push(session(&two, "other").unwrap());
    others.iter_mut().for_each(works);
    works(&mut first);
    drop(others.swap_remove(0));
    until(|| {
        session(&one, "/").is_ok_and(|new| {
            others.push(new);
            true
        })
    });
    assert!(is_full(session(&one, "/")));
    ground.change(&text(2, 9));
    others.iter_mut().for_each(works);
    drop((second, first));
    until(|| session(&one, "other").is_ok());
}

/// The sentence of a refusal for lack of quota.
fn quota(client: &mut Client, command: &str) -> String {
    let refused = client.refused(command).unwrap();
    assert_eq!((refused.number, &*refused.name), (612, "namespace-quota"), "{command}: {refused}");
    refused.sentence
}

const NAMES: &str = "[limits]\nqueues_per_namespace_max = 3\nexchanges_per_namespace_max = 2\n\
                     bindings_per_namespace_max = 3\n";

#[test]
fn a_namespace_has_so_many_names_also_after_a_kill() {
    let mut ground = Ground::new(NAMES);
    let mut client = ground.client();
    let made = "DECLARE queue:a
        DECLARE queue:b
        DECLARE queue:passing durable:no
        DECLARE exchange:x kind:topic
        DECLARE topic:t
        BIND exchange:x queue:a key:one
        BIND exchange:x queue:passing key:two
        BIND topic:t exchange:x
        DECLARE queue:a
        DECLARE exchange:x kind:topic
        BIND exchange:x queue:a key:one
        DECLARE namespace:other";
    client.lines(made).unwrap();
    assert!(quota(&mut client, "DECLARE queue:c").contains("of queues"));
    assert!(quota(&mut client, "DECLARE queue:c durable:no").contains("of queues"));
    assert!(quota(&mut client, "DECLARE queue:").contains("of queues"));
    assert!(quota(&mut client, "DECLARE exchange:y").contains("exchanges"));
    assert!(quota(&mut client, "BIND exchange:x queue:b").contains("bindings"));
    assert!(quota(&mut client, "SUB topic:t").contains("queues"));
    assert!(quota(&mut client, "SUB topic:t name:durable").contains("queues"));
    client.publish("queue:a", b"kept").unwrap();
    let login = "{\"namespace\":\"other\"}";
    let mut other = connected(Client::raw(ground.broker.address()), login).unwrap();
    other.lines("DECLARE queue:a\nDECLARE queue:b\nDECLARE queue:c").unwrap();
    quota(&mut other, "DECLARE queue:d");
    // The transient queue goes with the process, and its binding.
    ground.broker.kill();
    let mut client = ground.client();
    client.line("DECLARE queue:c").unwrap();
    assert_eq!(quota(&mut client, "DECLARE queue:d").matches("queues").count(), 1);
    client.line("BIND exchange:x queue:c key:three").unwrap();
    quota(&mut client, "BIND exchange:x queue:c key:four");
    quota(&mut client, "DECLARE topic:u");
    client.line("DELETE queue:c").unwrap();
    ground.broker.kill();
    let mut client = ground.client();
    // What went with the queue may come again, and no more.
    client.lines("DECLARE queue:d\nBIND exchange:x queue:d key:four").unwrap();
    quota(&mut client, "DECLARE queue:e");
    quota(&mut client, "BIND exchange:x queue:d key:five");
    client.lines("DELETE topic:t\nDECLARE topic:u\nBIND topic:u exchange:x").unwrap();
    quota(&mut client, "DECLARE topic:v");
    let mut other = connected(Client::raw(ground.broker.address()), login).unwrap();
    quota(&mut other, "DECLARE queue:d");
    assert_eq!(client.drain("a").unwrap().len(), 1);
}

#[test]
fn quotas_change_while_it_runs_and_remove_nothing() {
    let ground = Ground::new("");
    let mut client = ground.client();
    for number in 0..20 {
        client.line(&format!("DECLARE queue:q{number}")).unwrap();
    }
    client.lines("DECLARE exchange:x kind:fanout\nBIND exchange:x queue:q0").unwrap();
    ground.change("[limits]\nqueues_per_namespace_max = 10\nbindings_per_namespace_max = 1\n");
    quota(&mut client, "DECLARE queue:more");
    quota(&mut client, "BIND exchange:x queue:q1");
    client.publish("exchange:x", b"goes on").unwrap();
    assert_eq!(client.drain("q0").unwrap().len(), 1);
    client.line("DECLARE queue:q7").unwrap();
    for number in 10..20 {
        client.line(&format!("DELETE queue:q{number}")).unwrap();
        quota(&mut client, "DECLARE queue:more");
    }
    client.lines("DELETE queue:q9\nDECLARE queue:more").unwrap();
    quota(&mut client, "DECLARE queue:most");
    ground.change("[limits]\nqueues_per_namespace_max = 11\n");
    client.lines("DECLARE queue:most\nBIND exchange:x queue:q1").unwrap();
    quota(&mut client, "DECLARE queue:too.many");
}

/// Sessions that vanish give back the queues and bindings that were theirs.
#[test]
fn what_belongs_to_sessions_counts_until_they_go() {
    let ground = Ground::new("[limits]\nqueues_per_namespace_max = 40\n");
    let mut keeper = ground.client();
    keeper.line("DECLARE topic:t").unwrap();
    for _ in 0..3 {
        let mut crowd = Vec::new();
        for number in 0..40 {
            let mut client = ground.client();
            let command = match number % 2 {
                0 => "SUB topic:t",
                _ => "DECLARE queue: exclusive:yes durable:no",
            };
            until(|| client.line(command).is_ok());
            crowd.push(client);
        }
        assert!(quota(&mut keeper, "DECLARE queue:q durable:no").contains("of queues"));
        assert!(quota(&mut keeper, "SUB topic:t").contains("of queues"));
        drop(crowd);
    }
    until(|| keeper.line("SUB topic:t").is_ok());
}
