//! `courant ls`: everything of one kind, page by page, in order of names.
//!
//! The columns of the table are what every thing of the first page has; the rest of a thing, such
//! as the limits that only some queues have, stands behind them as `key:value`.

use clap::{Args, ValueEnum};
use courant_wire::text::{Line, Reply};

use super::COMMON_EXIT_CODES;
use crate::connection::Connection;
use crate::destination::Destination;
use crate::endpoint::Endpoint;
use crate::folder_report::print;
use crate::item::{Item, align, shown};
use crate::table::{Align, Table};

/// The most that the broker gives at a time.
const PAGE: u64 = 1000;

const HELP: &str = "\
With DEST, bindings and subscriptions are those of that queue, topic or exchange
alone. What others are subscribed to is shown to who may inspect that queue or
exchange, their sessions to who may inspect everything in the namespace.

Examples:
  courant ls queues
  courant ls bindings queue:orders
  courant ls sessions --json
";

/// List queues, exchanges, bindings, subscriptions, sessions, workers or namespaces
#[derive(Debug, Args)]
#[command(after_help = format!("{HELP}\n{COMMON_EXIT_CODES}"))]
pub(crate) struct List {
    #[arg(value_enum)]
    what: What,

    /// Of this alone: queue:NAME, topic:NAME or exchange:NAME; for bindings and subscriptions
    #[arg(value_name = "DEST", value_parser = Destination::parse_any)]
    of: Option<Destination>,

    /// Print each as a line of JSON: sizes in bytes, times in milliseconds
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    endpoint: Endpoint,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum What {
    Queues,
    Exchanges,
    Bindings,
    Subscriptions,
    Sessions,
    Workers,
    Namespaces,
}

impl What {
    fn name(self) -> &'static str {
        match self {
            Self::Queues => "queues",
            Self::Exchanges => "exchanges",
            Self::Bindings => "bindings",
            Self::Subscriptions => "subscriptions",
            Self::Sessions => "sessions",
            Self::Workers => "workers",
            Self::Namespaces => "namespaces",
        }
    }
}

impl List {
    /// What can only be wrong together.
    pub(crate) fn check(&self) -> Result<(), clap::Error> {
        match (self.what, &self.of) {
            (What::Bindings | What::Subscriptions, _) | (_, None) => Ok(()),
            _ => Err(super::usage("ls", "DEST is for bindings and subscriptions: leave it out")),
        }
    }

    /// Prints all of them.
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let mut session = Connection::open(&self.endpoint, "courant ls").await?;
        let mut pages = Pages::of(self.what.name(), self.of.as_ref());
        let mut columns: Option<Columns> = None;
        while let Some(items) = pages.next(&mut session).await? {
            let mut text = String::new();
            if self.json {
                text.extend(items.iter().map(|item| format!("{}\n", item.json())));
            } else if !items.is_empty() {
                columns.get_or_insert_with(|| Columns::of(&items)).write(&mut text, &items);
            }
            print(&text)?;
        }
        if columns.is_none() && !self.json {
            print(&format!("no {}\n", self.what.name()))?;
        }
        Ok(())
    }
}

/// The pages of one listing.
#[derive(Debug)]
pub(crate) struct Pages<'a> {
    what: &'static str,
    of: Option<&'a Destination>,
    after: Option<String>,
    is_done: bool,
}

impl<'a> Pages<'a> {
    /// Everything of one kind, or only what belongs to one thing.
    pub(crate) fn of(what: &'static str, of: Option<&'a Destination>) -> Self {
        Self { what, of, after: None, is_done: false }
    }

    /// Whether the last page came.
    pub(crate) fn is_done(&self) -> bool {
        self.is_done
    }

    /// The next page; none after the last.
    pub(crate) async fn next(
        &mut self,
        session: &mut Connection,
    ) -> anyhow::Result<Option<Vec<Item>>> {
        if self.is_done {
            return Ok(None);
        }
        let head = format!("LIST {}", self.what);
        let mut line = Line::new(&mut session.outbox, head.as_bytes());
        if let Some(Destination { kind, name }) = self.of {
            line = line.destination(*kind, name.as_bytes());
        }
        line = line.number("count", PAGE);
        if let Some(after) = &self.after {
            line = line.text("after", after.as_bytes());
        }
        line.end();
        let mut items = Vec::new();
        let each = |reply: &Reply<'_>| {
            if let Reply::Item { fields } = reply {
                items.push(Item::of(*fields));
            }
        };
        let answer = session.ask(each).await?;
        let after = answer.get("after").filter(|_| answer.get("more") == Some("yes"));
        // The same mark again would mean the same page again.
        self.is_done = after.is_none() || after == self.after.as_deref();
        self.after = after.map(str::to_owned);
        Ok(Some(items))
    }
}

/// The columns of a table of items.
#[derive(Debug)]
pub(crate) struct Columns {
    keys: Vec<String>,
    table: Table,
}

impl Columns {
    /// What all of `items` have, in the order of the first.
    pub(crate) fn of(items: &[Item]) -> Self {
        let mut keys: Vec<String> = Vec::new();
        for (key, _) in items.iter().take(1).flat_map(Item::iter) {
            if !keys.iter().any(|known| known == key)
                && items.iter().all(|item| item.get(key).is_some())
            {
                keys.push(key.to_owned());
            }
        }
        let rest = std::iter::once((String::new(), Align::Left));
        let table = Table::new(keys.iter().map(|key| (key.clone(), align(key))).chain(rest));
        Self { keys, table }
    }

    /// Appends the rows of items.
    pub(crate) fn write(&mut self, text: &mut String, items: &[Item]) {
        let rows: Vec<Vec<String>> = items.iter().map(|item| self.row(item)).collect();
        self.table.write(text, &rows);
    }

    fn row(&self, item: &Item) -> Vec<String> {
        let mut row: Vec<String> =
            self.keys.iter().map(|key| item.shown(key).unwrap_or_default()).collect();
        let mut seen: Vec<&str> = Vec::new();
        let mut rest = Vec::new();
        for (key, value) in item.iter() {
            let is_column = self.keys.iter().any(|known| known == key) && !seen.contains(&key);
            seen.push(key);
            if !is_column {
                rest.push(format!("{key}:{}", shown(key, value)));
            }
        }
        row.push(rest.join(" "));
        row
    }
}
