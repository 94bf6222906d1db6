//! The example, run as a test, and a program that begins again on the same folder.

#![allow(clippy::unwrap_used, reason = "tests panic")]

use courant::{Broker, Destination, Level, Options, QueueOptions, SubscribeOptions, Subscribed};

#[path = "../examples/embedded.rs"]
#[expect(dead_code, reason = "its `main` is not called here")]
mod example;

#[tokio::test(flavor = "multi_thread")]
async fn the_example_does_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let mut out = Vec::new();
        example::tour(folder.path(), &mut out).await.unwrap();
        let lines = String::from_utf8(out).unwrap();
        let lines: Vec<_> = lines.lines().skip(1).collect();
        let expected = [
            "a lamp: committed to 1 queue",
            "two chairs: committed to 1 queue",
            "a table: committed to 1 queue",
            "handled a lamp (attempt 1)",
            "handled two chairs (attempt 1)",
            "handled a table (attempt 1)",
        ];
        assert_eq!(lines, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_handled_is_there_again() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::open(folder.path(), Options::default()).await.unwrap();
    let mut session = broker.session("first").unwrap();
    session.declare_queue("q", QueueOptions::default()).await.unwrap();
    for body in ["one", "two"] {
        let confirm = session.publish(Destination::Queue("q"), body.as_bytes()).await.unwrap();
        assert_eq!((confirm.level, confirm.queues), (Level::Committed, 1));
    }
    let options = SubscribeOptions { credit: 1, ..SubscribeOptions::default() };
    let q = session.subscribe(Subscribed::Queue("q"), options).await.unwrap();
    let one = session.next(q).await.unwrap();
    session.ack(&one).unwrap();
    let two = session.next(q).await.unwrap();
    assert_eq!((&one.payload[..], &two.payload[..]), (&b"one"[..], &b"two"[..]));
    drop(session);
    broker.close().await.unwrap();
    let broker = Broker::open(folder.path(), Options::default()).await.unwrap();
    let mut session = broker.session("second").unwrap();
    let q = session.subscribe(Subscribed::Queue("q"), options).await.unwrap();
    let again = session.next(q).await.unwrap();
    assert_eq!((&again.payload[..], again.attempt, again.id), (&b"two"[..], 2, two.id));
    broker.close().await.unwrap();
    assert!(session.next(q).await.is_err(), "a closed broker goes on");
}
