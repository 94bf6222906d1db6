//! `courant show`: what the broker says of one queue, topic or exchange, and what belongs to it.

use std::fmt::Write as _;

use clap::Args;
use courant_wire::text::Line;
use serde_json::Value;

use super::COMMON_EXIT_CODES;
use super::list::{Columns, Pages};
use crate::connection::Connection;
use crate::destination::Destination;
use crate::endpoint::Endpoint;
use crate::folder_report::print;
use crate::item::{self, Item, shown};
use crate::table::{Align, Table};

/// Bindings, or subscriptions, that are shown; `courant ls` has all of them.
const SHOWN_MAX: usize = 1000;

const HELP: &str = "\
Of a queue: its counts, the options that are not the usual ones, what left it
unhandled and why, the bindings to it and its subscriptions. Of a topic or
exchange: its options, the bindings from it and to it, and its subscriptions.
At most 1,000 of each; courant ls bindings DEST has them all.

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
        let mut session = Connection::open(&self.endpoint, "courant show").await?;
        Line::new(&mut session.outbox, b"STATS").destination(*kind, name.as_bytes()).end();
        let item = session.ask(|_| {}).await?.named(kind.name(), name);
        let mut shown = Shown { item, parts: Vec::new() };
        for what in ["bindings", "subscriptions"] {
            let part = Part::ask(&mut session, what, &self.destination).await?;
            shown.parts.push(part);
        }
        print(&if self.json { shown.json() } else { shown.tables() })
    }
}

/// One thing, and what belongs to it.
#[derive(Debug)]
struct Shown {
    item: Item,
    parts: Vec<Part>,
}

/// What belongs to it, of one kind.
#[derive(Debug)]
struct Part {
    what: &'static str,
    items: Vec<Item>,
    /// There may be more.
    is_cut: bool,
}

impl Part {
    async fn ask(
        session: &mut Connection,
        what: &'static str,
        of: &Destination,
    ) -> anyhow::Result<Self> {
        let mut pages = Pages::of(what, Some(of));
        let mut items = Vec::new();
        while let Some(page) = pages.next(session).await? {
            items.extend(page);
            if items.len() >= SHOWN_MAX {
                let is_cut = items.len() > SHOWN_MAX || !pages.is_done();
                items.truncate(SHOWN_MAX);
                return Ok(Self { what, items, is_cut });
            }
        }
        Ok(Self { what, items, is_cut: false })
    }
}

impl Shown {
    /// The fields of the thing, and a list for each part, named so that no field has its name.
    fn json(&self) -> String {
        let mut members = self.item.members();
        let names: Vec<(String, &Part)> =
            self.parts.iter().map(|part| (format!("{}_list", part.what), part)).collect();
        for (name, part) in &names {
            let items = part.items.iter().map(Item::value).collect();
            members.push((name, Value::Array(items)));
        }
        let is_cut = self.parts.iter().any(|part| part.is_cut);
        if is_cut {
            members.push(("is_cut", Value::Bool(true)));
        }
        item::object(members) + "\n"
    }

    /// A field a line, values one below the other; then a table for each part.
    fn tables(&self) -> String {
        let rows = self.item.iter().map(|(key, value)| [key.to_owned(), shown(key, value)]);
        let mut text = String::new();
        Table::plain(&[Align::Left; 2]).write(&mut text, &rows.collect::<Vec<_>>());
        for Part { what, items, is_cut } in self.parts.iter().filter(|part| !part.items.is_empty())
        {
            let _ = writeln!(text, "\n{what}");
            Columns::of(items).write(&mut text, items);
            if *is_cut {
                let _ = writeln!(text, "and more: see courant ls {what} --help");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_a_line_and_tables_below() {
        let item = Item::default().named("queue", "orders");
        let binding = Item::default().named("queue", "orders").named("from", "logs");
        let part = Part { what: "bindings", items: vec![binding], is_cut: false };
        let none = Part { what: "subscriptions", items: Vec::new(), is_cut: false };
        let mut shown = Shown { item, parts: vec![part, none] };
        let tables = "queue  orders\n\nbindings\nfrom  queue\nlogs  orders\n";
        assert_eq!(shown.tables(), tables);
        assert_eq!(
            shown.json(),
            "{\"queue\":\"orders\",\"bindings_list\":[{\"from\":\"logs\",\"queue\":\"orders\"}],\
             \"subscriptions_list\":[]}\n"
        );
        shown.parts[0].is_cut = true;
        assert_eq!(shown.tables(), format!("{tables}and more: see courant ls bindings --help\n"));
        assert!(shown.json().ends_with(",\"is_cut\":true}\n"));
    }
}
