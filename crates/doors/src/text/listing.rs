//! LIST and PURGE.

use super::publish::text;
use super::refusal::Refused;
use super::talk::Talk;
use courant::Refusal;
use courant_wire::text::{Destination, DestinationKind, Key, Line, Listed, Options, reply};

/// Things of a list that come at a time, where the client does not say.
const COUNT_DEFAULT: u64 = 100;

impl Talk {
    pub(super) fn list(&mut self, what: Listed, options: &Options<'_>) -> Result<(), Refused> {
        let after = text(options, Key::After)?;
        let count = options.number(Key::Count).unwrap_or(COUNT_DEFAULT);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let refused = |refusal| Refused::about(refusal, what.name());
        let (came, more) = match what {
            Listed::Queues => {
                let part = self.session.queues(after.as_deref(), count).map_err(refused)?;
                for (name, (policies, counts)) in &part.items {
                    let mut line = reply::item(&mut self.replies)
                        .text("queue", name.as_str().as_bytes())
                        .number("ready", counts.ready)
                        .number("open", counts.leased)
                        .number("bytes", counts.bytes)
                        .number("subscriptions", u64::from(counts.subscriptions));
                    if !policies.durable {
                        line = line.yes_no("durable", false);
                    }
                    line.end();
                }
                (part.items.len(), part.more)
            }
            Listed::Exchanges => {
                let part = self.session.exchanges(after.as_deref(), count).map_err(refused)?;
                for (name, (spec, alternate)) in &part.items {
                    let mut line = reply::item(&mut self.replies)
                        .text("exchange", name.as_str().as_bytes())
                        .token("kind", spec.kind.word().as_bytes());
                    if let Some(alternate) = alternate {
                        line = line.text("alternate", alternate.as_str().as_bytes());
                    }
                    line.end();
                }
                (part.items.len(), part.more)
            }
            Listed::Namespaces => {
                let part = self.session.namespaces(after.as_deref(), count).map_err(refused)?;
                for (name, ()) in &part.items {
                    let name = name.as_str().as_bytes();
                    reply::item(&mut self.replies).text("namespace", name).end();
                }
                (part.items.len(), part.more)
            }
            Listed::Workers => {
                let mut workers = self.broker.workers();
                workers.retain(|worker| self.session.inspect(&worker.queue).is_ok());
                for worker in &workers {
                    reply::item(&mut self.replies)
                        .number("worker", u64::from(worker.id))
                        .token("kind", worker.kind.as_bytes())
                        .text("queue", worker.queue.as_bytes())
                        .number("done", worker.done)
                        .number("ready", worker.ready)
                        .end();
                }
                (workers.len(), None)
            }
            _ => {
                let what = format!("LIST {}", what.name());
                return Err(Refused::about(Refusal::NotSupported, &what));
            }
        };
        let mut line = Line::ok(&mut self.replies, options.req()).number("count", came as u64);
        if let Some(name) = more {
            line = line.yes_no("more", true).text("after", name.as_str().as_bytes());
        }
        line.end();
        Ok(())
    }

    pub(super) async fn purge(
        &mut self,
        destination: &Destination<'_>,
        req: Option<&[u8]>,
    ) -> Result<(), Refused> {
        let mut buffer = Vec::new();
        let name = destination.name(&mut buffer)?;
        if destination.kind != DestinationKind::Queue {
            return Err(Refused::about(Refusal::BadOption, "anything but a queue"));
        }
        let purged = self.session.purge(name).await;
        let messages = purged.map_err(|refusal| Refused::about(refusal, name))?;
        Line::ok(&mut self.replies, req).number("messages", messages).end();
        Ok(())
    }
}
