//! `courant show`: what the broker says of one queue, topic or exchange.

use clap::Args;
use courant_wire::text::Line;

use super::COMMON_EXIT_CODES;
use crate::connection::Connection;
use crate::destination::Destination;
use crate::endpoint::Endpoint;
use crate::folder_report::print;
use crate::item::{Item, shown};
use crate::table::{Align, Table};

const HELP: &str = "\
Of a queue: how many messages are ready and how many a consumer has open, their
bytes, and how many subscriptions there are. Of a topic or exchange: that it is
there.

Examples:
  courant show queue:orders
  courant show queue:orders --json
";

/// Show one queue, topic or exchange
#[derive(Debug, Args)]
#[command(after_help = format!("{HELP}\n{COMMON_EXIT_CODES}"))]
pub(crate) struct Show {
    /// queue:NAME, topic:NAME or exchange:NAME
    #[arg(value_name = "DEST", value_parser = Destination::parse_any)]
    destination: Destination,

    /// Print a line of JSON: sizes in bytes, times in milliseconds
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    endpoint: Endpoint,
}

impl Show {
    /// Asks, and prints.
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let Destination { kind, name } = &self.destination;
        let answer = Connection::once(&self.endpoint, "courant show", |out| {
            Line::new(out, b"STATS").destination(*kind, name.as_bytes()).end();
        });
        let item = answer.await?.named(kind.name(), name);
        print(&if self.json { format!("{}\n", item.json()) } else { table(&item) })
    }
}

/// A field a line, values one below the other.
fn table(item: &Item) -> String {
    let rows = item.iter().map(|(key, value)| [key.to_owned(), shown(key, value)]);
    let mut text = String::new();
    Table::plain(&[Align::Left; 2]).write(&mut text, &rows.collect::<Vec<_>>());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_a_line() {
        let item = Item::default().named("queue", "orders");
        assert_eq!(table(&item), "queue  orders\n");
        assert_eq!(item.clone().named("queue", "other"), item);
    }
}
