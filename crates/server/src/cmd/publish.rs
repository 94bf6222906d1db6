//! `courant pub`: messages in, confirms counted.
//!
//! Commands are pipelined, at most [`IN_FLIGHT_MAX`] unanswered; replies come in the order of the
//! commands, so the count of answers says which message an answer is about. The first refusal
//! stops the sending; what is in flight is still waited for, so that the count of confirms is
//! exact.
//!
//! While the broker is short of memory or disk it takes no messages: what it refuses for that
//! reason is sent again when it says that this is over, or after a second if it never said that it
//! began. What comes behind may overtake a message that way, if the alarm ends between the two.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use clap::Args;
use courant_wire::Limits;
use courant_wire::text::{DestinationKind, Line, Reply, request};
use tokio::io::Stdin;
use tokio::time::sleep;

use crate::connection::Connection;
use crate::destination::Destination;
use crate::endpoint::Endpoint;
use crate::form::{json_confirm, json_return};
use crate::input::{Lines, read_whole};
use crate::quantity::parse_ms;
use crate::refused::Refused;
use crate::signals::Signals;
use crate::unanswered::{Unanswered, is_alarm};

const IN_FLIGHT_MAX: u64 = 1000;
/// When messages are tried again if nobody says that they may be.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Bytes of commands that are made before they are sent.
const OUTBOX_BYTES_MAX: usize = 1024 * 1024;

const HELP: &str = "\
Examples:
  courant pub queue:hello \"first message\" --declare
  printf 'one\\ntwo\\nthree\\n' | courant pub queue:orders --declare --lines
  courant pub exchange:logs \"it broke\" --key app.web.error
  courant pub topic:events '{\"event\":\"order_placed\"}' --header source=shop
  courant pub exchange:logs \"it broke\" --key app.web.error --mandatory --ttl 1h

Exit codes:
  0  every message was confirmed
  1  refused by the broker, or failed; the reason is on stderr, and with
     --lines also how many messages were confirmed. With --mandatory also if a
     message came back: each is a line on stderr, a JSON object with its body
  2  wrong usage";

/// Publish a message, or one for each line of stdin, and wait for the confirms
#[derive(Debug, Args)]
#[command(after_help = HELP)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub(crate) struct Publish {
    #[arg(value_name = "DEST", value_parser = Destination::parse_any)]
    #[arg(
        help = "queue:NAME, topic:NAME or exchange:NAME; write %XX in NAME for a byte that can't \
                  be typed, %25 for %"
    )]
    destination: Destination,

    /// The body; - or nothing takes all of stdin, byte for byte
    body: Option<OsString>,

    /// Publish each line of stdin as a message, without its line end
    #[arg(long)]
    lines: bool,

    /// Declare the queue or topic first; it may exist already
    #[arg(long)]
    declare: bool,

    /// The routing key, for topics and exchanges
    #[arg(long)]
    key: Option<String>,

    /// A header for each message; may be given more than once
    #[arg(long = "header", value_name = "K=V", value_parser = parse_header)]
    headers: Vec<(String, String)>,

    /// How long a message may wait in a queue, as in 500ms, 30s or 1h; then it expires
    #[arg(long, value_name = "DURATION", value_parser = parse_ms)]
    ttl: Option<u64>,

    /// Have messages that no queue and no live subscriber gets sent back, and fail then
    #[arg(long)]
    mandatory: bool,

    /// Fail at once when the broker is short of memory or disk, instead of waiting
    #[arg(long)]
    no_wait: bool,

    #[arg(long, help = "Print each confirm as a line of JSON: destination, msg_id, level, queues")]
    json: bool,

    #[command(flatten)]
    endpoint: Endpoint,
}

fn parse_header(typed: &str) -> Result<(String, String), String> {
    match typed.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

/// Where bodies come from.
#[derive(Debug)]
enum Source {
    One(Option<Vec<u8>>),
    Lines(Lines<Stdin>),
}

impl Source {
    fn is_done(&self) -> bool {
        match self {
            Self::One(body) => body.is_none(),
            Self::Lines(lines) => lines.is_done(),
        }
    }

    /// Waits for more input; for ever if there is nothing to wait for.
    async fn fill(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Lines(lines) if !lines.is_ended() => lines.fill().await,
            _ => std::future::pending().await,
        }
    }
}

impl Publish {
    /// What can only be wrong together.
    pub(crate) fn check(&self) -> Result<(), clap::Error> {
        if self.lines && self.body.as_ref().is_some_and(|body| body != "-") {
            return Err(super::usage(
                "pub",
                "--lines reads stdin: leave out BODY, or give - for it",
            ));
        }
        match self.destination.kind {
            DestinationKind::Queue if self.key.is_some() => {
                Err(super::usage("pub", "--key is for topics and exchanges: leave it out"))
            }
            DestinationKind::Exchange if self.declare => Err(super::usage(
                "pub",
                "--declare is for queues and topics: see courant declare exchange --help",
            )),
            _ => Ok(()),
        }
    }

    /// Publishes until the source is empty and everything is answered.
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let mut signals = Signals::listen()?;
        let source = self.source(&mut signals).await?;
        let mut session = Connection::open(&self.endpoint, "courant pub").await?;
        if self.declare {
            let Destination { kind, name } = &self.destination;
            request::declare_line(&mut session.outbox, *kind, name.as_bytes()).end();
            session.answer(Some(&self.destination)).await?;
        }
        let mut run = Run::new(&self, session, source);
        let outcome = run.drive(&mut signals).await;
        let counts = run.counts;
        match outcome {
            Err(error) if self.lines => Err(anyhow!("{error:#}\n{}", counts.summary())),
            Err(error) => Err(error),
            Ok(()) if counts.returned > 0 => Err(anyhow!("{}", counts.back(&self.destination))),
            Ok(()) => {
                if io::stderr().is_terminal() && !self.json {
                    let _ = writeln!(io::stderr(), "{}", counts.outcome(&self.destination));
                }
                Ok(())
            }
        }
    }

    async fn source(&self, signals: &mut Signals) -> anyhow::Result<Source> {
        let bytes_max = Limits::DEFAULT.body_bytes_max;
        if self.lines {
            return Ok(Source::Lines(Lines::new(tokio::io::stdin(), bytes_max)));
        }
        if let Some(body) = self.body.as_ref().filter(|body| *body != "-") {
            return Ok(Source::One(Some(body.clone().into_vec())));
        }
        if io::stdin().is_terminal() {
            let _ = writeln!(io::stderr(), "type the body; end it with Ctrl-D");
        }
        tokio::select! {
            body = read_whole(tokio::io::stdin(), bytes_max) => Ok(Source::One(Some(body?))),
            () = signals.wait() => bail!("interrupted: nothing was sent"),
        }
    }

    /// The command up to the size of the body.
    fn command_head(&self) -> Vec<u8> {
        let mut head = Vec::new();
        let Destination { kind, name } = &self.destination;
        let mut line = request::publish_line(&mut head, *kind, name.as_bytes());
        if let Some(key) = &self.key {
            line = line.text("key", key.as_bytes());
        }
        if let Some(ms) = self.ttl {
            line = line.number("ttl", ms);
        }
        if self.mandatory {
            line = line.yes_no("mandatory", true);
        }
        for (name, value) in &self.headers {
            line = line.header(name.as_bytes(), value.as_bytes());
        }
        drop(line);
        head
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    sent: u64,
    confirmed: u64,
    answered: u64,
    /// Confirmed, and kept in no queue: at most live subscribers have seen them.
    unqueued: u64,
    /// Confirmed, and sent back because nobody got them.
    returned: u64,
}

impl Counts {
    /// One more command was answered. A refusal that nobody asked for is no answer.
    fn answer(&mut self) {
        self.answered = self.sent.min(self.answered + 1);
    }

    fn confirm(&mut self, is_unqueued: bool) {
        self.answer();
        self.confirmed = self.answered.min(self.confirmed + 1);
        self.unqueued += u64::from(is_unqueued);
    }

    /// Counts a refusal, and says of which line of the input it is.
    fn refuse(&mut self, refused: Refused, line: Option<u64>) -> anyhow::Error {
        if refused.is_unasked() {
            return refused.into();
        }
        self.answer();
        let error = anyhow!(refused);
        match line {
            Some(line) => error.context(format!("line {line}")),
            None => error,
        }
    }

    fn back(&self, destination: &Destination) -> String {
        let (returned, confirmed) = (self.returned, self.confirmed);
        format!("{returned} of {confirmed} messages came back: {destination} led them to nobody")
    }

    fn summary(&self) -> String {
        format!("{} of {} sent messages were confirmed", self.confirmed, self.sent)
    }

    fn outcome(&self, destination: &Destination) -> String {
        let plural = if self.confirmed == 1 { "" } else { "s" };
        let unqueued = match self.unqueued {
            0 => String::new(),
            unqueued => format!("; {unqueued} went into no queue: {destination} had none bound"),
        };
        format!("{} message{plural} confirmed{unqueued}", self.confirmed)
    }
}

/// One publishing.
#[derive(Debug)]
struct Run<'a> {
    publish: &'a Publish,
    session: Connection,
    source: Source,
    counts: Counts,
    unanswered: Unanswered,
    /// The broker refused something because it is short of something.
    is_waiting: bool,
    /// It said that it would say when that is over.
    is_blocked: bool,
    /// The user knows that this waits.
    has_told: bool,
}

impl<'a> Run<'a> {
    fn new(publish: &'a Publish, session: Connection, source: Source) -> Self {
        let (counts, unanswered) = (Counts::default(), Unanswered::default());
        let (is_waiting, is_blocked, has_told) = (false, false, false);
        Self { publish, session, source, counts, unanswered, is_waiting, is_blocked, has_told }
    }

    async fn drive(&mut self, signals: &mut Signals) -> anyhow::Result<()> {
        let head = self.publish.command_head();
        // Set once no more is to be sent; what was sent is still waited for.
        let mut reason = None;
        loop {
            if reason.is_none() {
                reason = self.make_commands(&head).err();
            }
            let is_done = self.source.is_done() && self.unanswered.is_done();
            let is_over = reason.is_some() || is_done;
            if is_over && self.counts.answered == self.counts.sent {
                return reason.map_or(Ok(()), Err);
            }
            if let Err(error) = self.session.check() {
                return Err(reason.unwrap_or(error));
            }
            let wants_input = !is_over && self.has_room();
            tokio::select! {
                () = self.session.transfer() => {}
                filled = self.source.fill(), if wants_input => filled?,
                () = sleep(AGAIN_AFTER), if self.is_waiting && !self.is_blocked => {
                    self.is_waiting = false;
                }
                () = signals.wait() => bail!("interrupted"),
            }
            if let Some(refused) = self.take_answers()? {
                reason.get_or_insert(refused);
            }
        }
    }

    fn has_room(&self) -> bool {
        !self.is_waiting
            && !self.unanswered.is_full()
            && self.counts.sent - self.counts.answered < IN_FLIGHT_MAX
            && self.session.outbox.len() < OUTBOX_BYTES_MAX
    }

    fn make_commands(&mut self, head: &[u8]) -> anyhow::Result<()> {
        while self.has_room() {
            let outbox = &mut self.session.outbox;
            if let Some(body) = self.unanswered.again() {
                Line::new(outbox, head).end_with_body(body);
                self.counts.sent += 1;
                continue;
            }
            let one;
            let body = match &mut self.source {
                Source::One(body) => {
                    one = body.take();
                    one.as_deref()
                }
                Source::Lines(lines) => lines.next()?,
            };
            let Some(body) = body else { return Ok(()) };
            Line::new(outbox, head).end_with_body(body);
            self.unanswered.note(body);
            self.counts.sent += 1;
        }
        Ok(())
    }

    /// Counts what is in the inbox; gives the first refusal.
    fn take_answers(&mut self) -> anyhow::Result<Option<anyhow::Error>> {
        let publish = self.publish;
        let destination = &publish.destination;
        let name = destination.to_string();
        let mut first = None;
        let (mut printed, mut returned) = (Vec::new(), Vec::new());
        let malformed = loop {
            let reply = match self.session.inbox.next() {
                Ok(Some(reply)) => reply,
                Ok(None) => break None,
                Err(error) => break Some(error),
            };
            match reply {
                Reply::Ok { fields } => {
                    self.unanswered.answered();
                    if std::mem::take(&mut self.has_told) {
                        let _ = writeln!(io::stderr(), "going on");
                    }
                    self.counts.confirm(fields.number("queues") == Some(0));
                    if self.publish.json {
                        json_confirm(&mut printed, &name, fields);
                    }
                }
                Reply::Ping => request::pong(&mut self.session.outbox),
                Reply::Return { fields, body } => {
                    self.counts.returned += 1;
                    json_return(&mut returned, &name, fields, body);
                }
                Reply::Blocked { .. } => self.is_blocked = true,
                Reply::Unblocked { .. } => {
                    self.is_blocked = false;
                    self.is_waiting = false;
                }
                reply => {
                    if let Some(refused) = Refused::from_reply(&reply, Some(destination))
                        && let Some(error) = self.take_refusal(refused)
                    {
                        first.get_or_insert(error);
                    }
                }
            }
        };
        print(&printed)?;
        io::stderr().lock().write_all(&returned).context("cannot write to stderr")?;
        malformed.map_or(Ok(first), |error| Err(self.session.foreign(error)))
    }

    /// Counts a refusal, or puts the message off if it may be taken later.
    fn take_refusal(&mut self, refused: Refused) -> Option<anyhow::Error> {
        if self.publish.no_wait || !is_alarm(refused.number()) {
            let line = (!refused.is_unasked()).then(|| self.unanswered.answered());
            let line = line.filter(|_| self.publish.lines);
            return Some(self.counts.refuse(refused, line));
        }
        // As if it had not been sent.
        self.unanswered.put_off();
        self.counts.sent = self.counts.sent.saturating_sub(1);
        self.is_waiting = true;
        if !self.has_told {
            self.has_told = true;
            let _ = writeln!(io::stderr(), "waiting: {refused}");
        }
        None
    }
}

/// Writes to stdout. Nobody reading it is no reason to stop publishing.
fn print(bytes: &[u8]) -> anyhow::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to stdout")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cmd::{Cli, Command};

    fn parse(words: &[&str]) -> Publish {
        match Cli::try_parse_from(["courant", "pub"].iter().chain(words)).unwrap().command {
            Command::Pub(publish) => publish,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn options_may_stand_before_and_after_the_body() {
        for words in [
            ["queue:q", "text", "--declare", "--header", "a=b=c"],
            ["--declare", "--header", "a=b=c", "queue:q", "text"],
        ] {
            let publish = parse(&words);
            assert_eq!(publish.body.as_deref(), Some("text".as_ref()));
            assert_eq!(publish.headers, [("a".to_owned(), "b=c".to_owned())]);
            assert!(publish.declare && !publish.lines && !publish.json);
        }
    }

    #[test]
    fn names_and_headers_are_escaped_on_the_line() {
        let head = parse(&["queue:a b", "--header", "k=v w", "--header", "e="]).command_head();
        assert_eq!(head, b"PUB queue:a%20b h:k=v%20w h:e=");
        let head = parse(&["exchange:x", "--key", "a b"]).command_head();
        assert_eq!(head, b"PUB exchange:x key:a%20b");
        let head = parse(&["queue:q", "--ttl", "2s", "--mandatory"]).command_head();
        assert_eq!(head, b"PUB queue:q ttl:2000 mandatory:yes");
    }

    fn refused(line: &[u8]) -> Refused {
        match courant_wire::text::decode_reply(line, &Limits::DEFAULT) {
            courant_wire::text::DecodedReply::Reply { reply, .. } => {
                Refused::from_reply(&reply, None).unwrap()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_refusal_names_its_line_unless_it_answers_none() {
        let mut counts = Counts { sent: 9, answered: 3, confirmed: 3, ..Counts::default() };
        let closing = counts.refuse(refused(b"ERR 701 closing bye\n"), None);
        assert_eq!(format!("{closing:#}"), "refused: 701 closing: bye");
        assert_eq!(counts.answered, 3);
        let large = counts.refuse(refused(b"ERR 400 message-too-large no\n"), Some(4));
        assert_eq!(format!("{large:#}"), "line 4: refused: 400 message-too-large: no");
        assert_eq!((counts.answered, counts.confirmed), (4, 3));
    }

    #[test]
    fn there_are_never_more_answers_than_commands() {
        let mut counts = Counts { sent: 1, ..Counts::default() };
        counts.confirm(true);
        counts.answer();
        let once = Counts { sent: 1, confirmed: 1, answered: 1, unqueued: 1, returned: 0 };
        assert_eq!(counts, once);
        assert_eq!(counts.summary(), "1 of 1 sent messages were confirmed");
        let topic = Destination::parse("topic:t").unwrap();
        assert_eq!(
            counts.outcome(&topic),
            "1 message confirmed; 1 went into no queue: topic:t had none bound"
        );
    }
}
