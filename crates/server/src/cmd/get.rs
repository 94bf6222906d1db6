//! `courant get`: takes messages that are ready now, without waiting for more.
//!
//! As with `sub`, a message is acked after it was written to stdout and flushed, never before; here
//! the ack is on disk when the command ends. What is not acked goes back with the session.

use std::io::{self, Write};

use clap::Args;
use courant_wire::Handle;
use courant_wire::text::{Line, Reply, request};

use crate::connection::Connection;
use crate::destination::Destination;
use crate::endpoint::Endpoint;
use crate::folder_report::unless_left;
use crate::form::Form;
use crate::refused::Refused;

/// Messages of one GET: all of them are in memory at once.
const BATCH: u64 = 16;
/// Nothing is ready; the only refusal that is an outcome.
const NOTHING_WAITING: u32 = 402;

const HELP: &str = "\
A message is acked after it was written to stdout and flushed. With --manual-ack
none is: they are printed as MSG_ID, a tab and the body, and go back to the
queue at the end. --json prints the members that courant sub --json prints.

Examples:
  courant get queue:orders
  courant get queue:orders --count 10 --manual-ack

Exit codes:
  0  taken: as many as asked for, or all that were ready
  1  nothing was ready (402), refused by the broker, or failed; the reason is
     on stderr
  2  wrong usage";

/// Take messages that are ready now, and print them one a line
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct Get {
    /// queue:NAME
    #[arg(value_name = "QUEUE", value_parser = Destination::parse_queue)]
    queue: Destination,

    /// Take up to so many
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,

    /// Look, and take nothing: all go back at the end
    #[arg(long)]
    manual_ack: bool,

    /// Print each message as a line of JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    endpoint: Endpoint,
}

impl Get {
    /// Takes them, batch by batch.
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let mut session = Connection::open(&self.endpoint, "courant get").await?;
        let mut taken = 0;
        while taken < self.count {
            let wanted = (self.count - taken).min(BATCH);
            let batch = match self.take(&mut session, wanted).await {
                Err(error) if taken > 0 && is_empty(&error) => break,
                batch => batch?,
            };
            let mut out = io::stdout().lock();
            let written = out.write_all(&batch.text).and_then(|()| out.flush());
            drop(out);
            let is_read = written.is_ok();
            unless_left(written)?;
            if !is_read {
                break;
            }
            if !self.manual_ack {
                ack(&mut session, &batch.handles).await?;
            }
            // Of large ones fewer come at a time than there are.
            taken += batch.handles.len() as u64;
            if batch.handles.is_empty() {
                break;
            }
        }
        request::quit(&mut session.outbox);
        session.answer(None).await
    }

    async fn take(&self, session: &mut Connection, wanted: u64) -> anyhow::Result<Batch> {
        let form = match (self.json, self.manual_ack) {
            (true, _) => Form::Json,
            (false, true) => Form::Handle,
            (false, false) => Form::Body,
        };
        let Destination { kind, name } = &self.queue;
        request::get_line(&mut session.outbox, *kind, name.as_bytes())
            .number("count", wanted)
            .token("ack", b"manual")
            .end();
        let mut batch = Batch::default();
        let each = |reply: &Reply<'_>| {
            if let Reply::Msg { destination, fields, body } = reply {
                form.message(&mut batch.text, *destination, *fields, body);
                batch.handles.extend(fields.handle());
            }
        };
        session.ask(each).await?;
        Ok(batch)
    }
}

/// Messages that were taken together.
#[derive(Debug, Default)]
struct Batch {
    text: Vec<u8>,
    handles: Vec<Handle>,
}

fn is_empty(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Refused>().is_some_and(|refused| refused.number() == NOTHING_WAITING)
}

/// Acks deliveries; returns when that is on disk.
async fn ack(session: &mut Connection, handles: &[Handle]) -> anyhow::Result<()> {
    if handles.is_empty() {
        return Ok(());
    }
    let mut line = Line::new(&mut session.outbox, b"ACK");
    for handle in handles {
        line = line.handle("msg_id", *handle);
    }
    line.token("confirm", b"synced").end();
    session.answer(None).await
}
