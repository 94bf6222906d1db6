//! `courant delete`: queues, exchanges, topics and their durable subscribers.

use clap::Args;
use courant_wire::text::{DestinationKind, request};

use super::{COMMON_EXIT_CODES, told};
use crate::connection::Connection;
use crate::destination::{Destination, parse_name};
use crate::endpoint::Endpoint;

const HELP: &str = "\
What a queue holds goes with it, and so do subscriptions to it.

Examples:
  courant delete queue:orders --if-empty
  courant delete topic:events --subscriber billing
";

/// Delete a queue, an exchange, a topic, or a topic's subscriber
#[derive(Debug, Args)]
#[command(after_help = format!("{HELP}\n{COMMON_EXIT_CODES}"))]
pub(crate) struct Delete {
    /// queue:NAME, exchange:NAME or topic:NAME
    #[arg(value_name = "DEST", value_parser = Destination::parse_any)]
    destination: Destination,

    /// Only this durable subscriber of the topic, and what waits for it
    #[arg(long, value_name = "NAME", value_parser = parse_name)]
    subscriber: Option<String>,

    /// Only if it holds no messages
    #[arg(long)]
    if_empty: bool,

    /// Only if it is unused: a queue without subscriptions, an exchange without bindings
    #[arg(long)]
    if_unused: bool,

    /// Print a line of JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    endpoint: Endpoint,
}

impl Delete {
    /// What can only be wrong together.
    pub(crate) fn check(&self) -> Result<(), clap::Error> {
        let Destination { kind, .. } = self.destination;
        let sentence = if self.subscriber.is_some() && kind != DestinationKind::Topic {
            "--subscriber is for topics: courant delete topic:NAME --subscriber NAME"
        } else if self.if_empty && kind != DestinationKind::Queue && self.subscriber.is_none() {
            "--if-empty is for queues: leave it out, or use --if-unused"
        } else {
            return Ok(());
        };
        Err(super::usage("delete", sentence))
    }

    /// Deletes it, and says so.
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        Connection::once(&self.endpoint, "courant delete", |out| self.write(out)).await?;
        let deleted = self.destination.to_string();
        match &self.subscriber {
            Some(name) => told(self.json, &[("deleted", &deleted), ("subscriber", name)]),
            None => told(self.json, &[("deleted", &deleted)]),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        let Destination { kind, name } = &self.destination;
        let mut line = request::delete_line(out, *kind, name.as_bytes());
        if let Some(name) = &self.subscriber {
            line = line.text("name", name.as_bytes());
        }
        for (key, is_set) in [("if_empty", self.if_empty), ("if_unused", self.if_unused)] {
            if is_set {
                line = line.yes_no(key, true);
            }
        }
        line.end();
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::cmd::{Cli, Command};

    fn command(words: &str) -> Result<String, i32> {
        let words = ["courant", "delete"].into_iter().chain(words.split(' '));
        let cli = Cli::try_parse_from(words).map_err(|error| error.exit_code())?;
        let Command::Delete(delete) = cli.command else {
            panic!("no delete");
        };
        delete.check().map_err(|error| error.exit_code())?;
        let mut out = Vec::new();
        delete.write(&mut out);
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn options_become_a_command() {
        for (words, line) in [
            ("queue:a%20b", "DELETE queue:a%20b\n"),
            ("queue:q --if-empty --if-unused", "DELETE queue:q if_empty:yes if_unused:yes\n"),
            ("exchange:x --if-unused", "DELETE exchange:x if_unused:yes\n"),
            ("topic:t --subscriber s", "DELETE topic:t name:s\n"),
        ] {
            assert_eq!(command(words).as_deref(), Ok(line));
        }
        for words in ["q", "queue:q --subscriber s", "topic:t --if-empty"] {
            assert_eq!(command(words), Err(2), "{words}");
        }
    }
}
