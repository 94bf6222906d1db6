//! The live path: from a publisher's own thread to the outboxes of live subscribers, encoded once
//! per format and run. No queue, no hop, no id.

use crate::outlet::LiveMessage;
use crate::publish::{Desk, Outgoing};
use crate::router::LiveTargets;
use crate::session::{Known, Session};
use crate::shard::{Shard, Touched, touch};
use crate::stats::Stats;
use std::sync::Arc;

impl Session {
    /// Gives the admitted messages to live subscribers, and notes which of them reached nobody.
    pub(crate) fn send_live(&mut self, batch: &[Outgoing<'_>], desk: &mut Desk) {
        let mut routes = std::mem::take(&mut desk.routes);
        let mut each = routes.drain(..);
        let mut start = 0;
        while let Some(first) = batch.get(start) {
            let Some(known) = self.known.get_mut(first.to.0 as usize) else { return };
            let (length, live) = if known.needs_headers() {
                let through = each.next().and_then(|route| Some(route.ok()?.through));
                let through = through.unwrap_or_default();
                (1, self.shard.router.targets(&through, &known.key))
            } else {
                refresh_live(known, &self.shard);
                let run = batch[start..].iter().take_while(|message| message.to == first.to);
                (run.count(), Arc::clone(&known.live))
            };
            let run = start..start + length;
            start += length;
            let outcomes = &mut desk.outcomes[run.clone()];
            if live.is_empty() {
                let is_kept = known.route.as_ref().is_ok_and(|route| route.reach() > 0);
                for published in outcomes.iter_mut().flatten().filter(|_| !is_kept) {
                    published.is_unroutable = published.queues == 0;
                }
                continue;
            }
            let key = Arc::clone(&known.key);
            let count = outcomes.iter().filter(|outcome| outcome.is_ok()).count() as u64;
            let messages = batch[run].iter().zip(&*outcomes).filter(|(_, o)| o.is_ok());
            let messages = messages.map(|(message, _)| LiveMessage {
                key: &key,
                properties: message.properties,
                payload: message.payload,
            });
            fan_out(&self.shard, &live, &messages, count, &mut desk.frames, &mut self.touched);
        }
        drop(each);
        desk.routes = routes;
    }
}

/// Finds the live subscribers of a destination again if some came or went.
fn refresh_live(known: &mut Known, shard: &Shard) {
    let through = match &known.route {
        Ok(route) => &route.through[..],
        Err(_) => &[],
    };
    let version = shard.router.version(known.slots, through);
    if known.live_version != version {
        known.live = shard.router.targets(through, &known.key);
        known.live_version = version;
    }
}

/// Encodes a run once per format and adds it to every target.
fn fan_out<'a>(
    shard: &Shard,
    targets: &LiveTargets,
    messages: &(impl Iterator<Item = LiveMessage<'a>> + Clone),
    count: u64,
    frames: &mut Vec<u8>,
    touched: &mut Touched,
) {
    let mut format: Option<(u8, &[u8])> = None;
    let (mut delivered, mut dropped) = (0, 0);
    for target in targets.iter() {
        let wanted = (target.format.door(), target.format.prefix());
        if format != Some(wanted) {
            format = Some(wanted);
            frames.clear();
            for message in messages.clone() {
                target.format.encode(frames, &message);
            }
        }
        if target.outbox.live(frames) {
            delivered += count;
            touch(touched, &target.outbox);
        } else {
            dropped += count;
        }
    }
    Stats::add(&shard.stats.live_delivered, delivered);
    if dropped > 0 {
        Stats::add(&shard.stats.live_dropped, dropped);
    }
}
