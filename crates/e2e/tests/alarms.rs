//! Alarms of the real binary: publishers are told and refused, consumers go on, SIGHUP moves the
//! marks, and nothing that was confirmed is lost, also if the broker is killed meanwhile. And a
//! client that is frozen: it is noticed, and what it held goes to another.

use std::path::PathBuf;

use courant_e2e::broker::{Broker, bodies, until};
use courant_e2e::client::{ANSWER_WITHIN, Client, ClientError, Incoming, field};
use rustix::process::Signal;

/// The memory of every process is above this mark.
const MEMORY_SHORT: &str = "[limits]\nmemory_max_bytes = \"1 MiB\"\n";
/// No disk has so much free.
const DISK_SHORT: &str = "[limits]\ndisk_free_min_bytes = \"1024 TiB\"\n";
const WELL: &str = "[limits]\nmemory_max_bytes = \"1 TiB\"\ndisk_free_min_bytes = 0\n";

/// A broker with a file that can be changed.
struct Marked {
    broker: Broker,
    file: PathBuf,
}

impl Marked {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory").keep();
        let file = folder.join("courant.toml");
        std::fs::write(&file, WELL).expect("a file");
        let path = file.to_str().expect("a path as text");
        let broker = Broker::launched(|launch| launch.arguments(&["--config", path]));
        Self { broker, file }
    }

    fn reload(&self, text: &str) {
        std::fs::write(&self.file, text).expect("a file");
        self.broker.server().signal(Signal::HUP).expect("a signal");
    }

    fn since(&self, alarm: &str) -> u64 {
        let counters = self.broker.json("stats --json");
        counters[0][format!("{alarm}_alarm_since")].as_u64().expect("a number")
    }
}

impl Drop for Marked {
    fn drop(&mut self) {
        if let Some(folder) = self.file.parent() {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

/// The next notice.
fn told(client: &mut Client) -> String {
    let notice = client.notice().expect("a notice");
    let reason = notice.field("reason").map(|reason| format!(" {reason}"));
    format!("{}{}", notice.verb, reason.unwrap_or_default())
}

fn refusal(client: &mut Client, queue: &str) -> u32 {
    match client.publish(queue, b"refused") {
        Err(ClientError::Refused(refused)) => refused.number,
        other => panic!("it should be refused: {other:?}"),
    }
}

/// From calm to alarm, through a kill, and back.
fn alarm(short: &str, reason: &str, number: u32) {
    let mut marked = Marked::start();
    let [mut publisher, mut consumer, mut late] = [(); 3].map(|()| marked.broker.client());
    publisher.line("DECLARE queue:q").expect("declared");
    for body in ["1", "2", "3"] {
        publisher.publish("queue:q", body.as_bytes()).expect("confirmed");
    }
    assert_eq!(marked.since(reason), 0);
    marked.reload(short);
    assert_eq!(told(&mut publisher), format!("BLOCKED {reason}"));
    assert!(marked.since(reason) > 0);
    assert_eq!(refusal(&mut publisher, "queue:q"), number);
    assert_eq!(refusal(&mut late, "queue:q"), number);
    assert_eq!(told(&mut late), format!("BLOCKED {reason}"));
    consumer.line("SUB queue:q sub_id:s credit:2").expect("subscribed");
    for body in ["1", "2"] {
        let message = consumer.message().expect("a message");
        assert_eq!(message.body, body.as_bytes());
        let handle = message.handle.expect("a handle");
        consumer.line(&format!("ACK msg_id:{handle} confirm:synced")).expect("acked");
    }
    consumer.line("DECLARE queue:other").expect("declared");
    consumer.line("DELETE queue:other").expect("deleted");
    marked.broker.kill();
    let mut publisher = marked.broker.client();
    assert_eq!(refusal(&mut publisher, "queue:q"), number, "it is on before anybody is let in");
    assert_eq!(told(&mut publisher), format!("BLOCKED {reason}"));
    marked.reload(WELL);
    assert_eq!(told(&mut publisher), "UNBLOCKED");
    publisher.publish("queue:q", b"4").expect("confirmed");
    assert_eq!(marked.since(reason), 0);
    assert_eq!(marked.broker.done("get queue:q --count 9"), "3\n4\n");
    let log = marked.broker.server().stderr();
    let parts: &[&str] = match reason {
        "memory" => &["memory is short", "limits.memory_max_bytes", "enough memory again"],
        _ => &["the disk is short", "limits.disk_free_min_bytes", "room on the disk again"],
    };
    assert!(parts.iter().all(|part| log.contains(part)), "{log}");
}

#[test]
fn short_memory_stops_publishers_and_is_told() {
    alarm(MEMORY_SHORT, "memory", 613);
}

#[test]
fn a_disk_below_its_mark_stops_publishers_and_is_told() {
    alarm(DISK_SHORT, "disk", 703);
}

/// Transient messages fill the memory themselves, and are drained.
#[test]
fn what_is_held_for_a_namespace_is_bounded() {
    let one = ["--limits-memory-per-namespace-max-bytes", "4MiB"];
    let broker = Broker::launched(|launch| launch.arguments(&one));
    let mut client = broker.client();
    client.line("DECLARE queue:t durable:no").expect("declared");
    client.line("DECLARE queue:d").expect("declared");
    let body = vec![b'x'; 1 << 20];
    let taken = (0..20).take_while(|_| client.publish("queue:t", &body).is_ok()).count();
    assert!((4..20).contains(&taken), "{taken}");
    assert_eq!(refusal(&mut client, "queue:t"), 612);
    client.publish("queue:d", &body).expect("durable messages are on disk");
    assert_eq!(broker.done("purge queue:t"), format!("purged queue:t messages {taken}\n"));
    until("there is room", || client.publish("queue:t", b"again").is_ok());
}

/// However many are asked for, no more is taken at a time than may wait for a client.
#[test]
fn a_get_of_large_messages_takes_a_few_at_a_time() {
    let broker = Broker::start();
    let mut client = broker.client();
    client.line("DECLARE queue:q").expect("declared");
    for number in 0..5_u8 {
        client.publish("queue:q", &vec![b'0' + number; 800_000]).expect("confirmed");
    }
    let fields = client.line("GET queue:q count:1000").expect("some");
    assert_eq!(field(&fields, "count"), Some("2"));
    drop(client);
    let got = || broker.done("get queue:q --count 9 --manual-ack").lines().count();
    until("they went back, and a command takes all", || got() == 5);
}

#[test]
fn a_connection_that_carries_too_much_is_closed() {
    let most = ["--limits-memory-per-connection-max-bytes", "4MiB"];
    let broker = Broker::launched(|launch| launch.arguments(&most));
    let [mut large, mut small] = [(); 2].map(|()| broker.client());
    small.line("DECLARE queue:q").expect("declared");
    let mut command = b"PUB queue:q 8000000\n".to_vec();
    command.resize(command.len() + 7_000_000, b'x');
    // The end of it may find the connection closed.
    let _ = large.send(&command);
    match large.incoming(ANSWER_WITHIN) {
        Ok(Incoming::Err(refused)) => assert_eq!(refused.number, 611),
        Err(ClientError::Closed) => {}
        other => panic!("{other:?}"),
    }
    small.publish("queue:q", &vec![b'x'; 3_000_000]).expect("others go on");
    assert_eq!(broker.json("stats --json")[0]["memory_closed"], 1);
}

#[test]
fn pub_waits_while_publishing_is_held_back() {
    let marked = Marked::start();
    let broker = &marked.broker;
    broker.done("declare queue q");
    marked.reload(MEMORY_SHORT);
    until("the alarm is on", || marked.since("memory") > 0);
    let ended = broker.run("pub queue:q one --no-wait");
    assert_eq!((ended.code(), ended.stderr.contains("613 memory-alarm")), (Some(1), true));
    let mut running = broker.begin("pub queue:q --lines");
    let lines: Vec<String> = (0..2_000).map(|number: u32| number.to_string()).collect();
    running.feed((lines.join("\n") + "\n").as_bytes()).expect("it reads");
    let refused = || broker.json("stats --json")[0]["alarm_refused"].as_u64() >= Some(2);
    until("it is refused", refused);
    marked.reload(WELL);
    let ended = running.end().expect("it ends");
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    assert!(ended.stderr.contains("waiting: refused: 613 memory-alarm"), "{ended:?}");
    assert!(ended.stderr.contains("going on"), "{ended:?}");
    let got = broker.done("get queue:q --count 3000");
    assert!(got.lines().eq(lines.iter().map(String::as_str)), "each once, in order");
}

#[test]
fn stats_names_the_alarms_that_are_on() {
    let marked = Marked::start();
    let off = marked.broker.done("stats");
    let line = |table: &str, name: &str| {
        let line = table.lines().find(|line| line.starts_with(name)).expect(name);
        line.split_once(' ').map(|(_, rest)| rest.trim().to_owned()).expect("a value")
    };
    assert_eq!(line(&off, "memory_alarm_since"), "off", "{off}");
    marked.reload(MEMORY_SHORT);
    until("the alarm is on", || marked.since("memory") > 0);
    let on = marked.broker.done("stats");
    assert!(line(&on, "memory_alarm_since").ends_with(" s ago"), "{on}");
    assert_eq!(line(&on, "disk_alarm_since"), "off", "{on}");
}

/// A process that is stopped keeps its socket open and says nothing.
#[test]
fn a_frozen_consumer_is_noticed_and_its_deliveries_go_to_another() {
    let every = ["--native-ping-every", "300ms"];
    let broker = Broker::launched(|launch| launch.arguments(&every));
    broker.done("declare queue q --visibility 10m");
    let mut publisher = broker.client();
    let frozen = broker.begin("sub queue:q --manual-ack");
    for body in ["1", "2", "3"] {
        publisher.publish("queue:q", body.as_bytes()).expect("confirmed");
        frozen.line().expect("it prints").expect("a message");
    }
    frozen.signal(Signal::STOP).expect("a signal");
    let open = |publisher: &mut Client| {
        let fields = publisher.line("DECLARE queue:q passive:yes").expect("counts");
        field(&fields, "open").expect("open").to_owned()
    };
    assert_eq!(open(&mut publisher), "3");
    drop(publisher);
    let mut other = broker.client();
    other.line("SUB queue:q sub_id:s").expect("subscribed");
    let got: Vec<_> = (0..3).map(|_| other.message().expect("a message")).collect();
    assert_eq!(bodies(&got), ["1", "2", "3"]);
    assert!(got.iter().all(|message| message.attempt == 2), "{got:?}");
    assert_eq!(broker.json("stats --json")[0]["silent_closed"], 1);
    frozen.signal(Signal::CONT).expect("a signal");
}
