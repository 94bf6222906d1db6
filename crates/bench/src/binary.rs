//! The hot paths of the binary protocol's codec: frames of [`BATCH`] messages each.

use std::hint::black_box;

use anyhow::{Result, ensure};
use courant_wire::Limits;
use courant_wire::binary::{
    Command, Decoded, DeliveryHead, Destination, PublishHead, Verdict, decode, reply, request,
};
use courant_wire::text::{Confirm, DestinationKind};

use crate::engine::BATCH;
use crate::path::{batches, handle};

/// What a server does with frames of messages to publish: decode each, look at each message.
pub(crate) fn decode_publish(messages: u64) -> Result<()> {
    let destination = Destination { kind: DestinationKind::Topic, raw_name: b"events", key: b"" };
    let head = PublishHead {
        destination,
        is_transient: false,
        is_mandatory: false,
        confirm: Confirm::Committed,
        has_properties: false,
    };
    let mut input = Vec::new();
    let frame = request::begin_publish(&mut input, 1, &head)?;
    for _ in 0..BATCH {
        request::message(&mut input, &[b'x'; 16]);
    }
    frame.end(&mut input);
    decode_all(messages, &input, |command| match command {
        Command::Publish(publish) => publish.messages.map(|one| black_box(one.payload).len()).sum(),
        _ => 0,
    })
}

/// The same with frames of deliveries to acknowledge.
pub(crate) fn decode_settle(messages: u64) -> Result<()> {
    let mut input = Vec::new();
    let frame = request::begin_settle(&mut input, 0, Verdict::Ack, false, false);
    for number in 0..u64::from(BATCH) {
        request::handle(&mut input, handle(number));
    }
    frame.end(&mut input);
    decode_all(messages, &input, |command| match command {
        Command::Settle(settle) => {
            settle.handles.map(|handle| usize::from(black_box(handle).lease.is_some()) * 16).sum()
        }
        _ => 0,
    })
}

/// Decodes one frame again and again; `look` gives 16 for each of its messages.
fn decode_all(messages: u64, input: &[u8], look: impl Fn(Command<'_>) -> usize) -> Result<()> {
    for _ in 0..batches(messages) {
        let sum = match decode(black_box(input), &Limits::DEFAULT) {
            Decoded::Command { command, .. } => look(command),
            _ => 0,
        };
        ensure!(sum == 16 * BATCH as usize, "{sum} bytes of a batch were decoded");
    }
    Ok(())
}

/// Deliveries of which no more is to be said, appended to a frame.
pub(crate) fn encode_deliver(messages: u64) {
    let mut out = Vec::new();
    for _ in 0..batches(messages) {
        out.clear();
        let frame = reply::begin_deliver(&mut out, 1);
        for number in 0..u64::from(BATCH) {
            let head = DeliveryHead { handle: handle(number), attempt: 1, is_suspect: false };
            reply::delivery(&mut out, black_box(&head), black_box(&[b'x'; 16]));
        }
        frame.end(&mut out);
        black_box(&out);
    }
}

/// Live messages, each a frame.
pub(crate) fn encode_live(messages: u64) {
    let mut out = Vec::new();
    for _ in 0..batches(messages) {
        out.clear();
        for _ in 0..BATCH {
            reply::live(&mut out, black_box(1), black_box(&[b'x'; 16]));
        }
        black_box(&out);
    }
}
