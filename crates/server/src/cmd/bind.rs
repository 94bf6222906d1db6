//! `courant bind` and `courant unbind`: where an exchange or topic leads.

use clap::{Args, ValueEnum};
use courant_wire::text::{HeaderForm, Line};

use super::{COMMON_EXIT_CODES, told};
use crate::connection::Connection;
use crate::destination::Destination;
use crate::endpoint::Endpoint;

const HELP: &str = "\
What a binding says depends on the kind of its exchange: --key K or a pattern
(direct, topic), --weight N (hash), --match with headers (headers), nothing
(fanout, and topics). A pattern has segments split by dots: * is one, # is any
number, > at the end is one or more. unbind names the same.

Examples:
  courant bind exchange:logs queue:errors --key 'app.*.error'
  courant bind topic:events queue:archive
  courant bind exchange:jobs queue:large --match all --header type=video --header-int parts=2
";

/// Lead messages from an exchange or topic to a queue or exchange
#[derive(Debug, Args)]
#[command(after_help = format!("{HELP}\n{COMMON_EXIT_CODES}"))]
pub(crate) struct Bind {
    /// exchange:NAME or topic:NAME
    #[arg(value_parser = Destination::parse_source)]
    source: Destination,

    /// queue:NAME or exchange:NAME
    #[arg(value_parser = Destination::parse_target)]
    target: Destination,

    /// The routing key, or for an exchange of kind topic the pattern
    #[arg(long, conflicts_with_all = ["weight", "filter"])]
    key: Option<String>,

    /// The share of a target of an exchange of kind hash, 1 to 1000
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    #[arg(conflicts_with = "filter")]
    weight: Option<u16>,

    #[command(flatten)]
    filter: Filter,

    /// Print a line of JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    endpoint: Endpoint,
}

/// The filter of a binding from an exchange of kind headers.
#[derive(Debug, Args)]
#[group(id = "filter", multiple = true)]
struct Filter {
    /// How many of the headers a message needs; -with-x looks also at those that begin with x-
    #[arg(long = "match", value_name = "MODE", value_enum)]
    mode: Option<Mode>,

    /// A header of a message that goes there, with its text; may be given more than once
    #[arg(long = "header", value_name = "K=V", value_parser = parse_text)]
    texts: Vec<Pair>,

    /// The same with a whole number
    #[arg(long = "header-int", value_name = "K=N", value_parser = parse_int)]
    ints: Vec<Pair>,

    /// The same with yes or no
    #[arg(long = "header-bool", value_name = "K=yes|no", value_parser = parse_bool)]
    bools: Vec<Pair>,

    /// A header that only has to be there
    #[arg(long = "header-present", value_name = "K", value_parser = parse_present)]
    present: Vec<Pair>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mode {
    Any,
    All,
    AnyWithX,
    AllWithX,
}

/// A header: name and value.
type Pair = (String, String);

fn parse_text(typed: &str) -> Result<Pair, String> {
    match typed.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

fn parse_int(typed: &str) -> Result<Pair, String> {
    let wrong = || "write NAME=NUMBER, a whole number".to_owned();
    let (name, value) = parse_text(typed).map_err(|_| wrong())?;
    let number: i64 = value.parse().map_err(|_| wrong())?;
    Ok((name, number.to_string()))
}

fn parse_bool(typed: &str) -> Result<Pair, String> {
    let pair = parse_text(typed).ok().filter(|(_, value)| matches!(value.as_str(), "yes" | "no"));
    pair.ok_or_else(|| "write NAME=yes or NAME=no".to_owned())
}

fn parse_present(typed: &str) -> Result<Pair, String> {
    if typed.is_empty() || typed.contains('=') {
        return Err("write the NAME of a header alone".to_owned());
    }
    Ok((typed.to_owned(), String::new()))
}

impl Bind {
    /// Makes the binding.
    pub(crate) async fn bind(self) -> anyhow::Result<()> {
        Connection::once(&self.endpoint, "courant bind", |out| self.write(out, b"BIND")).await?;
        self.told("bound", "to")
    }

    /// Takes it back.
    pub(crate) async fn unbind(self) -> anyhow::Result<()> {
        let write = |out: &mut Vec<u8>| self.write(out, b"UNBIND");
        Connection::once(&self.endpoint, "courant unbind", write).await?;
        self.told("unbound", "from")
    }

    fn told(&self, done: &str, link: &str) -> anyhow::Result<()> {
        let (source, target) = (self.source.to_string(), self.target.to_string());
        told(self.json, &[(done, source.as_str()), (link, target.as_str())])
    }

    fn write(&self, out: &mut Vec<u8>, verb: &[u8]) {
        let mut line = Line::new(out, verb)
            .destination(self.source.kind, self.source.name.as_bytes())
            .destination(self.target.kind, self.target.name.as_bytes());
        if let Some(key) = &self.key {
            line = line.text("key", key.as_bytes());
        }
        if let Some(weight) = self.weight {
            line = line.number("weight", u64::from(weight));
        }
        self.filter.write(line).end();
    }
}

impl Filter {
    fn write<'o>(&self, mut line: Line<'o>) -> Line<'o> {
        if let Some(mode) = self.mode.and_then(|mode| mode.to_possible_value()) {
            line = line.token("match", mode.get_name().as_bytes());
        }
        let headers = [
            (HeaderForm::Text, &self.texts),
            (HeaderForm::Int, &self.ints),
            (HeaderForm::Bool, &self.bools),
            (HeaderForm::Null, &self.present),
        ];
        for (form, pairs) in headers {
            for (name, value) in pairs {
                line = line.typed_header(form, name.as_bytes(), value.as_bytes());
            }
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::cmd::{Cli, Command};

    fn parse(words: &str) -> Result<String, i32> {
        let words = ["courant", "bind"].into_iter().chain(words.split(' '));
        let cli = Cli::try_parse_from(words).map_err(|error| error.exit_code())?;
        let Command::Bind(bind) = cli.command else {
            panic!("no bind");
        };
        let mut out = Vec::new();
        bind.write(&mut out, b"BIND");
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn options_become_a_command() {
        for (words, command) in [
            ("topic:t queue:q", "BIND topic:t queue:q\n"),
            ("exchange:x queue:q --key a.*", "BIND exchange:x queue:q key:a.*\n"),
            ("exchange:x exchange:y --weight 7", "BIND exchange:x exchange:y weight:7\n"),
            (
                "exchange:x queue:q --match any --header k=v --header-int n=-05 --header-bool b=no \
                 --header-present x-p",
                "BIND exchange:x queue:q match:any h:k=v hi:n=-5 hb:b=no hn:x-p=\n",
            ),
        ] {
            assert_eq!(parse(words).as_deref(), Ok(command));
        }
    }

    #[test]
    fn what_excludes_each_other_is_wrong_usage() {
        for words in [
            "exchange:x",
            "queue:x queue:q",
            "exchange:x topic:t",
            "exchange:x queue:q --key a --weight 1",
            "exchange:x queue:q --key a --header b=c",
            "exchange:x queue:q --weight 1 --match all",
            "exchange:x queue:q --weight 0",
            "exchange:x queue:q --header-int n=x",
            "exchange:x queue:q --header-bool n=true",
            "exchange:x queue:q --header-present n=x",
        ] {
            assert_eq!(parse(words), Err(2), "{words}");
        }
    }
}
