//! `courant purge`: drops what waits in a queue.

use clap::Args;
use courant_wire::text::Line;

use super::{COMMON_EXIT_CODES, told};
use crate::connection::Connection;
use crate::destination::Destination;
use crate::endpoint::Endpoint;

const HELP: &str = "\
It goes on behind the answer, also after a restart; courant ls workers shows it.
Messages that a consumer has open stay with it.
";

/// Drop the messages of a queue that are ready now
#[derive(Debug, Args)]
#[command(after_help = format!("{HELP}\n{COMMON_EXIT_CODES}"))]
pub(crate) struct Purge {
    /// queue:NAME
    #[arg(value_name = "QUEUE", value_parser = Destination::parse_queue)]
    queue: Destination,

    /// Print a line of JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    endpoint: Endpoint,
}

impl Purge {
    /// Begins it, and says how many messages go.
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let Destination { kind, name } = &self.queue;
        let answer = Connection::once(&self.endpoint, "courant purge", |out| {
            Line::new(out, b"PURGE").destination(*kind, name.as_bytes()).end();
        });
        let answer = answer.await?;
        let messages = answer.get("messages").unwrap_or("0");
        told(self.json, &[("purged", &self.queue.to_string()), ("messages", messages)])
    }
}
