//! A disk whose sync does not come back, under the real binary: only confirms of durable messages
//! wait for it. Live traffic, transient queues, pings, other connections, and messages that are
//! on disk already go on as if nothing were.
//!
//! Progress is counted while the sync is held, so nothing here depends on how fast a machine is.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use courant_e2e::client::{Client, ClientError, Incoming};
use courant_e2e::server::{Launch, Server};
use courant_e2e::watch::wait_until;
use courant_forgetful::Mount;
use courant_forgetful::mount::{Syncs, why_not};

const SEGMENT_BYTES: u64 = 1 << 20;
/// Things done while the sync is held.
const ROUNDS: usize = 200;

struct Slow {
    mount: Mount,
    server: Option<Server>,
    folder: tempfile::TempDir,
}

impl Slow {
    /// `None`, and a loud word, where the folder can't be mounted.
    fn start() -> Option<Self> {
        if let Some(why) = why_not() {
            let _ = writeln!(std::io::stderr(), "NOT TESTED: no slow disk: {why}");
            return None;
        }
        let folder = tempfile::tempdir().expect("a temporary directory");
        let mount = Mount::new(&folder.path().join("data"), None).expect("a mount");
        let launch = Launch::new(mount.path()).expect("the binary").segments(SEGMENT_BYTES);
        let server = Some(launch.start().expect("the broker starts"));
        Some(Self { mount, server, folder })
    }

    fn address(&self) -> SocketAddr {
        self.server.as_ref().and_then(|server| server.address().ok()).expect("ready")
    }

    fn client(&self) -> Client {
        Client::connect(self.address()).expect("a connection")
    }

    /// From now on a durable message waits: one is sent by `publisher`, and its sync is held.
    fn hold(&self, publisher: &mut Client, queue: &str) {
        self.mount.set_syncs(Syncs::Held);
        publisher.send(format!("PUB queue:{queue} req:waits 4\nheld\n").as_bytes()).expect("sent");
        let held = wait_until(Duration::from_secs(20), || self.mount.held() > 0);
        assert!(held.is_some(), "no sync came");
    }

    fn let_go(&self, publisher: &mut Client) {
        let early = publisher.incoming(Duration::from_millis(50));
        assert!(
            matches!(early, Err(ClientError::Late(..))),
            "confirmed before the sync: {early:?}"
        );
        self.mount.set_syncs(Syncs::Kept);
        assert!(matches!(publisher.reply(), Ok(Incoming::Ok(_))), "confirmed after it");
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        // A process whose sync is held can't end.
        self.mount.set_syncs(Syncs::Kept);
        self.server = None;
        let _ = self.folder.path();
    }
}

#[test]
fn live_messages_pass_a_sync_that_is_held() {
    let Some(slow) = Slow::start() else { return };
    let (mut publisher, mut other) = (slow.client(), slow.client());
    publisher.line("DECLARE queue:durable").unwrap();
    other.line("DECLARE topic:news").unwrap();
    let mut live = slow.client();
    live.line("SUB topic:news mode:live").unwrap();
    slow.hold(&mut publisher, "durable");
    for round in 0..ROUNDS {
        let body = format!("{round}");
        let command = format!("PUB topic:news durable:no {}\n{body}\n", body.len());
        other.call(command.as_bytes()).unwrap();
        assert_eq!(live.message().unwrap().body, body.as_bytes());
    }
    slow.let_go(&mut publisher);
}

#[test]
fn transient_queues_pass_a_sync_that_is_held() {
    let Some(slow) = Slow::start() else { return };
    let (mut publisher, mut other) = (slow.client(), slow.client());
    publisher.line("DECLARE queue:durable").unwrap();
    other.line("DECLARE queue:transient durable:no").unwrap();
    let mut consumer = slow.client();
    consumer.line("SUB queue:transient credit:10").unwrap();
    slow.hold(&mut publisher, "durable");
    for round in 0..ROUNDS {
        let body = format!("{round}");
        other.publish("queue:transient", body.as_bytes()).unwrap();
        let message = consumer.message().unwrap();
        assert_eq!(message.body, body.as_bytes());
        consumer.line(&format!("ACK msg_id:{}", message.handle.unwrap())).unwrap();
    }
    slow.let_go(&mut publisher);
}

/// A transient message to a durable queue, from somebody who has nothing in flight, also behind one
/// of somebody who has and whose own order it must keep.
#[test]
fn transient_messages_of_others_pass_in_the_same_queue() {
    let Some(slow) = Slow::start() else { return };
    let (mut publisher, mut other) = (slow.client(), slow.client());
    publisher.line("DECLARE queue:durable").unwrap();
    let mut consumer = slow.client();
    consumer.line("SUB queue:durable credit:10").unwrap();
    slow.hold(&mut publisher, "durable");
    publisher.send(b"PUB queue:durable durable:no req:behind 6\nbehind\n").unwrap();
    for round in 0..ROUNDS {
        let body = format!("{round}");
        other.publish("queue:durable durable:no", body.as_bytes()).unwrap();
        let message = consumer.message().unwrap();
        assert_eq!(message.body, body.as_bytes());
        consumer.line(&format!("ACK msg_id:{}", message.handle.unwrap())).unwrap();
    }
    slow.let_go(&mut publisher);
    assert_eq!(consumer.message().unwrap().body, b"held");
    assert_eq!(consumer.message().unwrap().body, b"behind");
}

#[test]
fn messages_on_disk_are_delivered_and_acked_while_a_sync_is_held() {
    let Some(slow) = Slow::start() else { return };
    let mut publisher = slow.client();
    publisher.line("DECLARE queue:durable").unwrap();
    for round in 0..ROUNDS {
        publisher.publish("queue:durable", format!("{round}").as_bytes()).unwrap();
    }
    slow.hold(&mut publisher, "durable");
    let mut consumer = slow.client();
    consumer.line("SUB queue:durable credit:10").unwrap();
    for round in 0..ROUNDS {
        let message = consumer.message().unwrap();
        assert_eq!(message.body, format!("{round}").as_bytes());
        consumer.line(&format!("ACK msg_id:{}", message.handle.unwrap())).unwrap();
    }
    slow.let_go(&mut publisher);
}

#[test]
fn pings_and_new_connections_are_answered_while_a_sync_is_held() {
    let Some(slow) = Slow::start() else { return };
    let (mut publisher, mut idle) = (slow.client(), slow.client());
    publisher.line("DECLARE queue:durable").unwrap();
    slow.hold(&mut publisher, "durable");
    for _ in 0..ROUNDS {
        for client in [&mut idle, &mut publisher] {
            client.send(b"PING\n").unwrap();
            assert!(matches!(client.reply(), Ok(Incoming::Pong)));
        }
    }
    for _ in 0..10 {
        let mut new = slow.client();
        new.send(b"PING\n").unwrap();
        assert!(matches!(new.reply(), Ok(Incoming::Pong)));
        let nothing = new.line("GET queue:durable");
        assert!(format!("{nothing:?}").contains("402"), "{nothing:?}");
    }
    slow.let_go(&mut publisher);
}

/// The disk of the criterion: each sync takes two seconds. All that is durable gets through.
#[test]
fn durable_messages_get_through_a_disk_that_takes_its_time() {
    let Some(slow) = Slow::start() else { return };
    let mut publisher = slow.client();
    publisher.line("DECLARE queue:durable").unwrap();
    let mut consumer = slow.client();
    consumer.line("SUB queue:durable credit:100").unwrap();
    slow.mount.set_syncs(Syncs::Held);
    for _ in 0..3 {
        for round in 0..100 {
            let command = format!("PUB queue:durable 3\n{round:03}\n");
            publisher.send(command.as_bytes()).unwrap();
        }
        std::thread::sleep(Duration::from_secs(2));
        let taken = wait_until(Duration::from_secs(20), || {
            slow.mount.release();
            matches!(publisher.incoming(Duration::from_millis(20)), Ok(Incoming::Ok(_)))
        });
        assert!(taken.is_some(), "no confirm");
        let mut confirmed = 1;
        while confirmed < 100 {
            slow.mount.release();
            match publisher.incoming(Duration::from_millis(20)) {
                Ok(Incoming::Ok(_)) => confirmed += 1,
                Err(ClientError::Late(..)) => {}
                other => panic!("{other:?}"),
            }
        }
        for round in 0..100 {
            let message = consumer.message().unwrap();
            assert_eq!(message.body, format!("{round:03}").as_bytes());
            consumer.line(&format!("ACK msg_id:{}", message.handle.unwrap())).unwrap();
        }
    }
    slow.mount.set_syncs(Syncs::Kept);
}
