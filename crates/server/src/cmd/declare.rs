//! `courant declare`: queues, exchanges, topics, their durable subscribers, namespaces.

use clap::{Args, Subcommand, ValueEnum};
use courant_wire::text::{DestinationKind, Line, request};

use super::{COMMON_EXIT_CODES, told};
use crate::connection::Connection;
use crate::destination::{Escaped, parse_bare_name, parse_name};
use crate::endpoint::Endpoint;
use crate::quantity::{parse_bytes, parse_ms};

const HELP: &str = "\
What is there already with the same options stays as it is; with others the
command is refused, and the refusal names the option that differs. A NAME is
written without \"queue:\"; write %XX for a byte that can't be typed, %25 for %.
Times have a unit (500ms, 30s, 5m, 2h), sizes may have one (64KiB, 1GiB).

Examples:
  courant declare queue orders
  courant declare queue jobs --max-length 100000 --overflow block --max-attempts 5
  courant declare exchange logs --kind topic
  courant declare topic events
  courant declare subscriber events billing
";

/// Make a queue, an exchange, a topic, a topic's subscriber, or a namespace
#[derive(Debug, Args)]
#[command(after_help = format!("{HELP}\n{COMMON_EXIT_CODES}"))]
pub(crate) struct Declare {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Queue(Queue),
    Exchange(Exchange),
    Topic(Topic),
    Subscriber(Subscriber),
    Namespace(Namespace),
}

/// A queue: each message goes to one consumer
#[derive(Debug, Args)]
#[command(after_help = COMMON_EXIT_CODES)]
struct Queue {
    /// Its name; without one the broker chooses a name and it is printed
    #[arg(value_parser = parse_bare_name)]
    name: Option<String>,

    #[command(flatten)]
    policy: Policy,

    #[command(flatten)]
    common: Common,
}

/// An exchange: hands messages on along its bindings, keeps none
#[derive(Debug, Args)]
#[command(after_help = COMMON_EXIT_CODES)]
struct Exchange {
    #[arg(value_parser = parse_bare_name)]
    name: String,

    /// By what it chooses where a message goes
    #[arg(long, value_enum, default_value_t)]
    kind: ExchangeKind,

    /// Nobody publishes to it; other exchanges lead to it
    #[arg(long)]
    internal: bool,

    /// Goes when the last binding from it goes
    #[arg(long)]
    auto_delete: bool,

    /// The exchange that gets what finds no way here; it has to exist
    #[arg(long, value_name = "EXCHANGE", value_parser = parse_bare_name)]
    alternate: Option<String>,

    #[command(flatten)]
    common: Common,
}

/// A topic: what is published to it goes to all that are subscribed
#[derive(Debug, Args)]
#[command(after_help = COMMON_EXIT_CODES)]
struct Topic {
    #[arg(value_parser = parse_bare_name)]
    name: String,

    #[command(flatten)]
    common: Common,
}

/// A durable subscriber of a topic: its messages wait from now on
#[derive(Debug, Args)]
#[command(after_help = COMMON_EXIT_CODES)]
struct Subscriber {
    /// The topic's name
    #[arg(value_parser = parse_bare_name)]
    topic: String,

    /// The subscriber's name
    #[arg(value_parser = parse_name)]
    name: String,

    #[command(flatten)]
    policy: Policy,

    #[command(flatten)]
    common: Common,
}

/// A namespace: queues, topics and exchanges of its own, for sessions that name it
#[derive(Debug, Args)]
#[command(after_help = COMMON_EXIT_CODES)]
struct Namespace {
    #[arg(value_parser = parse_name)]
    name: String,

    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct Common {
    /// Print a line of JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    endpoint: Endpoint,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum ExchangeKind {
    /// A binding's key is the message's key
    #[default]
    Direct,
    /// To all bindings
    Fanout,
    /// A binding's pattern matches the message's key
    Topic,
    /// A binding's headers are like the message's
    Headers,
    /// To one binding, which the hash of the key chooses by weight
    Hash,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Overflow {
    /// Refuse the message
    Reject,
    /// Hold the publisher back
    Block,
    /// Drop what waits longest, and count it
    DropOldest,
}

/// What a queue does; what is not given is the broker's default.
#[derive(Debug, Args)]
struct Policy {
    /// Keep it in memory only: it is gone at a restart
    #[arg(long)]
    transient: bool,

    /// Goes when its last subscription ends; not before there was one
    #[arg(long)]
    auto_delete: bool,

    /// Goes when nobody used it for so long
    #[arg(long, value_name = "TIME", value_parser = parse_ms)]
    expires: Option<u64>,

    /// How long a delivery may stay open before the message goes to another
    #[arg(long, value_name = "TIME", value_parser = parse_ms)]
    visibility: Option<u64>,

    /// The most messages that it holds, waiting and open
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_length: Option<u64>,

    /// The most bytes that it holds, waiting and open
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    max_bytes: Option<u64>,

    /// The largest message that it takes
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    max_message_bytes: Option<u64>,

    /// What it does when it is full
    #[arg(long, value_enum)]
    overflow: Option<Overflow>,

    /// How long a message may wait in it
    #[arg(long, value_name = "TIME", value_parser = parse_ms)]
    message_ttl: Option<u64>,

    /// How often a message is handed over before it leaves
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    max_attempts: Option<u16>,
}

impl Policy {
    fn write<'o>(&self, mut line: Line<'o>) -> Line<'o> {
        if self.transient {
            line = line.yes_no("durable", false);
        }
        if self.auto_delete {
            line = line.yes_no("auto_delete", true);
        }
        let numbers = [
            ("expires", self.expires),
            ("visibility", self.visibility),
            ("max_length", self.max_length),
            ("max_bytes", self.max_bytes),
            ("max_message_bytes", self.max_message_bytes),
            ("message_ttl", self.message_ttl),
            ("max_attempts", self.max_attempts.map(u64::from)),
        ];
        for (key, number) in numbers {
            if let Some(number) = number {
                line = line.number(key, number);
            }
        }
        match self.overflow.and_then(|overflow| overflow.to_possible_value()) {
            Some(word) => line.token("overflow", word.get_name().as_bytes()),
            None => line,
        }
    }
}

impl Declare {
    /// Declares it, and says so.
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let common = self.what.common();
        let answer =
            Connection::once(&common.endpoint, "courant declare", |out| self.what.write(out));
        let answer = answer.await?;
        // Only a name that the broker chose is in its answer.
        let name = answer.get("queue").unwrap_or_else(|| self.what.name());
        let declared = format!("{}:{}", self.what.kind(), Escaped(name));
        match &self.what {
            What::Subscriber(Subscriber { name, .. }) => {
                let name = Escaped(name).to_string();
                told(common.json, &[("declared", &declared), ("subscriber", &name)])
            }
            _ => told(common.json, &[("declared", &declared)]),
        }
    }
}

impl What {
    fn common(&self) -> &Common {
        match self {
            Self::Queue(queue) => &queue.common,
            Self::Exchange(exchange) => &exchange.common,
            Self::Topic(topic) => &topic.common,
            Self::Subscriber(subscriber) => &subscriber.common,
            Self::Namespace(namespace) => &namespace.common,
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Queue(_) => "queue",
            Self::Exchange(_) => "exchange",
            Self::Topic(_) | Self::Subscriber(_) => "topic",
            Self::Namespace(_) => "namespace",
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::Queue(queue) => queue.name.as_deref().unwrap_or_default(),
            Self::Exchange(Exchange { name, .. })
            | Self::Topic(Topic { name, .. })
            | Self::Subscriber(Subscriber { topic: name, .. })
            | Self::Namespace(Namespace { name, .. }) => name,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        let declare = |out, kind, name: &str| request::declare_line(out, kind, name.as_bytes());
        match self {
            Self::Queue(queue) => {
                queue.policy.write(declare(out, DestinationKind::Queue, self.name())).end();
            }
            Self::Exchange(exchange) => exchange.write(out),
            Self::Topic(topic) => declare(out, DestinationKind::Topic, &topic.name).end(),
            Self::Subscriber(subscriber) => {
                let line = declare(out, DestinationKind::Topic, &subscriber.topic);
                subscriber.policy.write(line.text("name", subscriber.name.as_bytes())).end();
            }
            Self::Namespace(namespace) => {
                Line::new(out, b"DECLARE").text("namespace", namespace.name.as_bytes()).end();
            }
        }
    }
}

impl Exchange {
    fn write(&self, out: &mut Vec<u8>) {
        let name = self.name.as_bytes();
        let mut line = request::declare_line(out, DestinationKind::Exchange, name);
        if let Some(word) = self.kind.to_possible_value() {
            line = line.token("kind", word.get_name().as_bytes());
        }
        if self.internal {
            line = line.yes_no("internal", true);
        }
        if self.auto_delete {
            line = line.yes_no("auto_delete", true);
        }
        if let Some(alternate) = &self.alternate {
            line = line.text("alternate", alternate.as_bytes());
        }
        line.end();
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::cmd::{Cli, Command};

    fn command(words: &str) -> String {
        let words = ["courant", "declare"].into_iter().chain(words.split(' '));
        let Command::Declare(declare) = Cli::try_parse_from(words).unwrap().command else {
            panic!("no declare");
        };
        let mut out = Vec::new();
        declare.what.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_policy_is_an_option_on_the_line() {
        assert_eq!(command("queue orders"), "DECLARE queue:orders\n");
        assert_eq!(command("queue"), "DECLARE queue:\n");
        assert_eq!(
            command(
                "queue a%20b --transient --auto-delete --expires 2h --visibility 30s \
                 --max-length 5 --max-bytes 1GiB --max-message-bytes 64KiB --overflow drop-oldest \
                 --message-ttl 500ms --max-attempts 3"
            ),
            "DECLARE queue:a%20b durable:no auto_delete:yes expires:7200000 visibility:30000 \
             max_length:5 max_bytes:1073741824 max_message_bytes:65536 message_ttl:500 \
             max_attempts:3 overflow:drop-oldest\n"
        );
    }

    #[test]
    fn exchanges_topics_subscribers_and_namespaces() {
        assert_eq!(command("exchange x"), "DECLARE exchange:x kind:direct\n");
        assert_eq!(
            command("exchange x --kind topic --internal --auto-delete --alternate y"),
            "DECLARE exchange:x kind:topic internal:yes auto_delete:yes alternate:y\n"
        );
        assert_eq!(command("topic events"), "DECLARE topic:events\n");
        assert_eq!(
            command("subscriber events billing --max-length 7"),
            "DECLARE topic:events name:billing max_length:7\n"
        );
        assert_eq!(command("namespace acme"), "DECLARE namespace:acme\n");
    }
}
