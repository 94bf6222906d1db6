//! `courant stats`: the broker's counters, once or again and again.

use std::collections::HashMap;
use std::io::{self, IsTerminal};
use std::time::Duration;

use clap::Args;
use courant_wire::text::Line;
use serde_json::Value;

use super::COMMON_EXIT_CODES;
use crate::clock;
use crate::connection::Connection;
use crate::endpoint::Endpoint;
use crate::folder_report::{print, size};
use crate::item::{self, Item};
use crate::signals::Signals;
use crate::table::{Align, Table};

const SECONDS_MAX: u64 = 3600;

const HELP: &str = "\
Counters are since the broker was started. With --watch they are printed again
every SECONDS (2) until SIGINT or SIGTERM, with what was added a second.

Examples:
  courant stats
  courant stats --watch 5
  courant stats --watch 1 --json
";

/// Print the broker's counters
#[derive(Debug, Args)]
#[command(after_help = format!("{HELP}\n{COMMON_EXIT_CODES}"))]
pub(crate) struct Stats {
    /// Go on, every so many seconds
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=SECONDS_MAX))]
    watch: Option<u64>,

    /// Print one JSON object a line
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    endpoint: Endpoint,
}

impl Stats {
    /// Prints them until it is enough.
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let mut signals = Signals::listen()?;
        let mut session = Connection::open(&self.endpoint, "courant stats").await?;
        let mut before: Option<Item> = None;
        loop {
            Line::new(&mut session.outbox, b"STATS").end();
            let counters = session.ask(|_| {}).await?;
            print(&self.page(before.as_ref(), &counters))?;
            let Some(seconds) = self.watch else {
                return Ok(());
            };
            before = Some(counters);
            tokio::select! {
                rested = session.rest(Duration::from_secs(seconds)) => rested?,
                () = signals.wait() => return Ok(()),
            }
        }
    }

    /// One printing; on a screen it takes the place of the one before.
    fn page(&self, before: Option<&Item>, counters: &Item) -> String {
        if self.json {
            return json(counters);
        }
        let between = match before {
            Some(_) if io::stdout().is_terminal() => "\x1b[H\x1b[J",
            Some(_) => "\n",
            None => "",
        };
        let before = before.map(|before| (before, self.watch.unwrap_or(1)));
        format!("{between}{}", table(counters, before))
    }
}

/// Every counter is a number, whatever its name.
fn json(counters: &Item) -> String {
    let fields = counters.iter().map(|(key, value)| {
        (key, value.parse::<u64>().map_or_else(|_| Value::from(value), Value::from))
    });
    item::object(fields) + "\n"
}

/// The counters, and what was added to those of so many seconds before.
fn table(counters: &Item, before: Option<(&Item, u64)>) -> String {
    let earlier: HashMap<&str, &str> = before.iter().flat_map(|(item, _)| item.iter()).collect();
    let seconds = before.map_or(1, |(_, seconds)| seconds);
    let rows = counters.iter().map(|(key, value)| {
        let number = value.parse::<u64>().ok();
        let then = earlier.get(key).and_then(|then| then.parse::<u64>().ok());
        let added = match (number, then) {
            (Some(now), Some(then)) if now > then && !key.ends_with("_since") => {
                rate(now - then, seconds)
            }
            _ => String::new(),
        };
        let value = match number {
            Some(bytes) if key.ends_with("bytes") => size(bytes),
            Some(0) if key.ends_with("_since") => "off".to_owned(),
            Some(since_ms) if key.ends_with("_since") => ago(since_ms),
            _ => value.to_owned(),
        };
        vec![key.to_owned(), value, added]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    let titles = [("counter", Align::Left), ("value", Align::Right), ("a second", Align::Right)];
    let shown = if before.is_some() { 3 } else { 2 };
    let mut text = String::new();
    Table::new(titles.into_iter().take(shown)).write(&mut text, &rows);
    text
}

/// How long ago a moment was, in milliseconds since 1970.
fn ago(since_ms: u64) -> String {
    let since = Duration::from_millis(since_ms);
    format!("{} s ago", clock::now().saturating_sub(since).as_secs())
}

/// What was added a second.
fn rate(added: u64, seconds: u64) -> String {
    let tenths = added.saturating_mul(10) / seconds.max(1);
    if tenths < 100 {
        format!("+{}.{}", tenths / 10, tenths % 10)
    } else {
        format!("+{}", tenths / 10)
    }
}

#[cfg(test)]
mod tests {
    use courant_wire::Limits;
    use courant_wire::text::{DecodedReply, Reply, decode_reply};

    use super::*;

    fn item(line: &str) -> Item {
        match decode_reply(line.as_bytes(), &Limits::DEFAULT) {
            DecodedReply::Reply { reply: Reply::Ok { fields }, .. } => Item::of(fields),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_second_table_says_what_was_added_a_second() {
        let first = item("OK published:5 chunk_bytes:2048\n");
        let second = item("OK published:8 chunk_bytes:2048\n");
        assert_eq!(
            table(&first, None),
            "counter        value\npublished          5\nchunk_bytes  2.0 KiB\n"
        );
        assert_eq!(
            table(&second, Some((&first, 2))),
            "counter        value  a second\npublished          8      +1.5\n\
             chunk_bytes  2.0 KiB\n"
        );
        assert_eq!(json(&second), "{\"published\":8,\"chunk_bytes\":2048}\n");
        assert_eq!(rate(20_000, 2), "+10000");
    }
}
