//! Wherever the bytes are cut on their way, the same is done and told.

use crate::client::{Client, QUEUE, TOPIC, open, publish, settle, subscription, to};
use courant_wire::binary::{Get, PublishHead, Verdict, request};
use courant_wire::text::Confirm;
use courant_wire::{Handle, MessageId};
use tokio::io::AsyncWriteExt;

/// Many commands in a row, some of them wrong.
fn script() -> Vec<u8> {
    let mut out = Vec::new();
    let all = &mut out;
    for line in ["DECLARE queue:q max_length:7 durable:no", "DECLARE topic:t", "LIST queues"] {
        request::line(all, 2, line.as_bytes());
    }
    publish(all, 3, to(QUEUE, "q", ""), &["a", "b", "c"]);
    let memory = PublishHead { confirm: Confirm::Memory, ..to(QUEUE, "q", "") };
    publish(all, 4, memory, &["d", "e"]);
    publish(all, 5, to(QUEUE, "no", ""), &["f", "g"]);
    publish(all, 0, to(QUEUE, "no", ""), &["h"]);
    all.extend_from_slice(b"\x01\0\0\0\x05\0\0\0\x06\xff");
    publish(all, 7, to(TOPIC, "t", ""), &["i", "j"]);
    publish(all, 8, to(QUEUE, "q", ""), &["k", "l", "m", "n"]);
    let stranger = |seq| Handle { id: MessageId { shard: 0, seq }, lease: Some(seq) };
    settle(all, 9, Verdict::Ack, &[stranger(1), stranger(2)]);
    settle(all, 0, Verdict::Nack, &[stranger(3)]);
    let get = Get { is_auto: true, count: 5, destination: to(QUEUE, "q", "").destination };
    request::get(all, 10, &get).unwrap();
    let wanted = subscription(1, to(QUEUE, "q", "").destination, false);
    request::subscribe(all, 11, &wanted).unwrap();
    request::unsubscribe(all, 12, 2);
    request::quit(all, 13);
    out
}

/// What is told of each req, in order. Entries of confirms are told one by one.
async fn told(cuts: &[usize]) -> Vec<String> {
    let (_broker, listening) = open().await;
    let mut client = Client::new(&listening).await;
    let script = script();
    let mut at = 0;
    for cut in cuts.iter().chain([&script.len()]) {
        let cut = *cut % (script.len() + 1);
        if cut > at {
            client.stream.write_all(&script[at..cut]).await.unwrap();
            at = cut;
            tokio::task::yield_now().await;
        }
    }
    client.stream.write_all(&script[at..]).await.unwrap();
    let mut all = Vec::new();
    loop {
        let told = client.told().await;
        if told == "end" {
            return all;
        }
        match told.strip_prefix("CONFIRM ") {
            Some(entries) => {
                let words: Vec<&str> = entries.split(' ').collect();
                all.extend(words.chunks(4).map(|entry| format!("CONFIRM {}", entry.join(" "))));
            }
            None => all.push(told),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wherever_the_bytes_are_cut_the_same_is_told() {
    let whole = told(&[]).await;
    assert_eq!(whole.len(), 22, "{whole:#?}");
    let given = std::env::var("COURANT_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = given.unwrap_or_else(|| u64::from(std::process::id()));
    println!("COURANT_SEED={seed}");
    let mut state = seed;
    for round in 0..40 {
        let mut cuts = Vec::new();
        for _ in 0..1 << (round % 8) {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            cuts.push(usize::try_from(state >> 40).unwrap() % script().len());
        }
        cuts.sort_unstable();
        assert_eq!(told(&cuts).await, whole, "cut at {cuts:?}");
    }
    // One by one.
    let all: Vec<usize> = (1..script().len()).collect();
    assert_eq!(told(&all).await, whole);
}
