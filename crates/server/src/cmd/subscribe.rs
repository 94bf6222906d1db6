//! `courant sub`: messages out, one a line, acknowledged once they are written.
//!
//! 1. What is decoded is formatted into a page; one page is written and flushed at a time, while
//!    the next one fills and pings are answered, however slow the reader of stdout is.
//! 2. A delivery is acked after the flush of its page and never before, so that a message is either
//!    out or still in the queue.
//! 3. At the end (`--count`, SIGINT, SIGTERM) the subscription is ended first, then the last page
//!    is acked, then the session quits; a delivery that was not written goes back to its queue.

use std::future::Future;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use clap::Args;
use courant_wire::Handle;
use courant_wire::text::{Reply, request};
use tokio::io::Interest;
use tokio::io::{AsyncWriteExt, Stdin, Stdout};
use tokio::net::unix::pipe;
use tokio::time::{Sleep, sleep, timeout};

use crate::connection::Connection;
use crate::destination::{Destination, parse_name};
use crate::endpoint::Endpoint;
use crate::form::Form;
use crate::input::Lines;
use crate::refused::Refused;
use crate::signals::Signals;
use crate::verdict::Verdict;

/// Open deliveries that the broker may hand over ahead of the acks.
const CREDIT: u64 = 1000;
/// The most that the broker grants; for deliveries that stay open.
const CREDIT_MAX: u64 = 65_535;
/// Bytes that wait for the reader of stdout before no more are read from the broker.
const PAGE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes of settlements that are made before they are sent.
const OUTBOX_BYTES_MAX: usize = 1024 * 1024;
const VERDICT_BYTES_MAX: usize = 256;
const FAREWELL_TIME_MAX: Duration = Duration::from_secs(5);
const SUB_ID: &[u8] = b"sub";

const HELP: &str = "\
A message is acked after it was written to stdout and flushed; what was not
written goes back to its queue at the end. To take only some, use --count:
what is on its way to head(1) counts as written. Bodies are printed as they
are; where they may hold line ends, use --json.

--json prints {\"destination\":..,\"msg_id\":..,\"attempt\":..,\"headers\":{..},
\"body\":..} and \"properties\":{..} where there are any. A body that is not
UTF-8 is \"body_base64\" instead; a header given twice is an array; a live
message has \"msg_id\":null.

--manual-ack takes verdicts from stdin, one a line: MSG_ID or \"ack MSG_ID\",
\"nack MSG_ID\" (back to the queue), \"reject MSG_ID\" (never again). What has
none at the end goes back: with no stdin it looks, and takes nothing.

Examples:
  courant sub queue:orders --count 3
  courant sub topic:events --name billing    messages wait while it is away
  courant sub topic:events --live            at most once, full speed

Exit codes:
  0  the count is reached, or ended by SIGINT, SIGTERM or a closed pipe
  1  refused by the broker, or failed; the reason is on stderr
  2  wrong usage";

/// Print messages, one body a line, and acknowledge them
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct Subscribe {
    /// queue:NAME or topic:NAME; write %XX in NAME for a byte that can't be typed, %25 for %
    #[arg(value_name = "DEST", value_parser = Destination::parse)]
    destination: Destination,

    /// Subscribe to a topic durably under this name: its messages wait while nobody is there
    #[arg(long, value_parser = parse_name)]
    name: Option<String>,

    /// End after so many messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    #[arg(long, help = "Ack nothing; print MSG_ID, a tab and the body; take verdicts from stdin")]
    manual_ack: bool,

    /// Subscribe to a topic live: at most once, no acks, nothing is kept
    #[arg(long, conflicts_with_all = ["name", "manual_ack"])]
    live: bool,

    /// Print each message as a line of JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    endpoint: Endpoint,
}

impl Subscribe {
    /// What can only be wrong together.
    pub(crate) fn check(&self) -> Result<(), clap::Error> {
        let option = match (self.live, &self.name) {
            (true, _) => "--live",
            (_, Some(_)) => "--name",
            _ => return Ok(()),
        };
        if self.destination.is_topic() {
            return Ok(());
        }
        Err(super::usage(
            "sub",
            &format!("{option} is for topics, and {} is a queue", self.destination),
        ))
    }

    /// Subscribes, prints until the end, says farewell.
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let mut signals = Signals::listen()?;
        let mut session = Connection::open(&self.endpoint, "courant sub").await?;
        self.write_command(&mut session.outbox);
        session.answer(Some(&self.destination)).await?;
        let form = match (self.json, self.manual_ack) {
            (true, _) => Form::Json,
            (false, true) => Form::Handle,
            (false, false) => Form::Body,
        };
        let verdicts = self.manual_ack.then(|| Lines::new(tokio::io::stdin(), VERDICT_BYTES_MAX));
        let run = Run {
            form,
            acks: !self.live && !self.manual_ack,
            outlives: !self.destination.is_topic() || self.name.is_some(),
            wanted: self.count.unwrap_or(u64::MAX),
            reason: None,
            destination: self.destination,
            session,
            page: Page::default(),
            verdicts,
            unanswered: 0,
            failures: 0,
        };
        run.drive(&mut signals).await
    }

    fn write_command(&self, out: &mut Vec<u8>) {
        let Destination { kind, name } = &self.destination;
        let mut line = request::subscribe_line(out, *kind, name.as_bytes()).token("sub_id", SUB_ID);
        if let Some(name) = &self.name {
            line = line.text("name", name.as_bytes());
        }
        if self.live {
            line = line.token("mode", b"live");
        } else {
            let credit = if self.manual_ack { CREDIT_MAX } else { CREDIT };
            line = line.number("credit", self.count.map_or(credit, |count| count.min(credit)));
        }
        line.end();
    }
}

/// Messages that go to stdout together.
#[derive(Debug, Default)]
struct Page {
    text: Vec<u8>,
    /// What to ack once it is out.
    handles: Vec<Handle>,
}

type Writing = Pin<Box<dyn Future<Output = (Stdout, Page, io::Result<()>)>>>;

async fn write(mut stdout: Stdout, page: Page) -> (Stdout, Page, io::Result<()>) {
    let written = match stdout.write_all(&page.text).await {
        Ok(()) => stdout.flush().await,
        Err(error) => Err(error),
    };
    (stdout, page, written)
}

/// Stdout: either at rest, or with a page on its way.
enum Printer {
    Resting(Stdout),
    Writing(Writing),
    Gone,
}

impl Printer {
    fn is_resting(&self) -> bool {
        matches!(self, Self::Resting(_))
    }

    /// Starts to write a page. One that is on its way stays where it is.
    fn start(&mut self, page: &mut Page) {
        match std::mem::replace(self, Self::Gone) {
            Self::Resting(stdout) => {
                *self = Self::Writing(Box::pin(write(stdout, std::mem::take(page))));
            }
            busy => *self = busy,
        }
    }

    /// Waits for the page on its way; for ever without one. Loses nothing when it is given up.
    async fn finish(&mut self) -> (Page, io::Result<()>) {
        let Self::Writing(writing) = self else {
            return std::future::pending().await;
        };
        let (stdout, page, written) = writing.await;
        *self = Self::Resting(stdout);
        (page, written)
    }
}

/// Is ready when nobody reads stdout any more; never if that can't be seen.
async fn reader_gone(watch: Option<&pipe::Sender>) {
    if let Some(watch) = watch
        && watch.ready(Interest::ERROR).await.is_ok()
    {
        return;
    }
    std::future::pending::<()>().await;
}

/// One subscribing.
#[derive(Debug)]
struct Run {
    destination: Destination,
    form: Form,
    /// Whether a message that is out gets acked.
    acks: bool,
    /// Whether the subscription may be ended before its last deliveries are acked.
    outlives: bool,
    /// Messages that are still to be taken; zero begins the end.
    wanted: u64,
    /// Why the end began, if it is a failure.
    reason: Option<anyhow::Error>,
    session: Connection,
    page: Page,
    verdicts: Option<Lines<Stdin>>,
    /// Commands without an answer yet.
    unanswered: u64,
    /// Settlements that did not succeed.
    failures: u64,
}

impl Run {
    async fn drive(mut self, signals: &mut Signals) -> anyhow::Result<()> {
        let mut printer = Printer::Resting(tokio::io::stdout());
        // A file can't be watched, and has no reader that leaves.
        let watch = io::stdout().as_fd().try_clone_to_owned();
        let watch = watch.and_then(pipe::Sender::from_owned_fd_unchecked).ok();
        // From the first signal on.
        let mut patience: Option<Pin<Box<Sleep>>> = None;
        loop {
            self.take_replies()?;
            if printer.is_resting() && !self.page.text.is_empty() {
                printer.start(&mut self.page);
            }
            if printer.is_resting() {
                if self.wanted == 0 {
                    return self.farewell().await;
                }
                self.session.check()?;
            }
            let reads = !self.session.is_ended() && self.page.text.len() < PAGE_BYTES_MAX;
            let hears = self.verdicts.is_some() && self.session.outbox.len() < OUTBOX_BYTES_MAX;
            tokio::select! {
                (page, written) = printer.finish() => match written {
                    Ok(()) => self.ack(&page),
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                        // Its reader has seen enough; what it did not take goes back.
                        let _ = self.farewell().await;
                        return Ok(());
                    }
                    Err(error) => return Err(error).context("cannot write to stdout"),
                },
                () = reader_gone(watch.as_ref()) => {
                    // The same, with nothing on its way: no write would ever tell.
                    let _ = self.farewell().await;
                    return Ok(());
                }
                () = self.session.transfer(), if reads => {}
                more = read_verdicts(&mut self.verdicts), if hears => {
                    more?;
                    self.take_verdicts()?;
                }
                () = signals.wait(), if patience.is_none() => {
                    patience = Some(Box::pin(sleep(FAREWELL_TIME_MAX)));
                    self.begin_the_end(None);
                }
                () = expire(&mut patience) => {
                    bail!("stdout is blocked; what was not written goes back");
                }
            }
        }
    }

    /// Takes no more messages. Ending the subscription before the last acks keeps them from
    /// fetching more deliveries than were asked for.
    fn begin_the_end(&mut self, reason: Option<anyhow::Error>) {
        if self.reason.is_none() {
            self.reason = reason;
        }
        self.wanted = 0;
        if std::mem::take(&mut self.outlives) {
            request::unsubscribe(&mut self.session.outbox, SUB_ID);
            self.unanswered += 1;
        }
    }

    /// Takes everything out of the inbox.
    fn take_replies(&mut self) -> anyhow::Result<()> {
        loop {
            let mut end = None;
            match self.session.inbox.next() {
                Ok(Some(Reply::Msg { destination, fields, body })) if self.wanted > 0 => {
                    self.form.message(&mut self.page.text, destination, fields, body);
                    if self.acks {
                        self.page.handles.extend(fields.handle());
                    }
                    self.wanted -= 1;
                    if self.wanted == 0 {
                        end = Some(None);
                    }
                }
                Ok(Some(Reply::Ok { .. })) => self.unanswered = self.unanswered.saturating_sub(1),
                Ok(Some(Reply::Ping)) => request::pong(&mut self.session.outbox),
                Ok(Some(Reply::Cancel { fields })) => {
                    let reason = fields.get("reason").map_or(&b"?"[..], |reason| reason.raw());
                    let reason = String::from_utf8_lossy(reason);
                    end = Some(Some(anyhow!("the broker ended the subscription: {reason}")));
                }
                Ok(Some(reply)) => {
                    if let Some(refused) = Refused::from_reply(&reply, Some(&self.destination)) {
                        end = self.refused(refused).map(Some);
                    }
                }
                Ok(None) => return Ok(()),
                Err(error) => return Err(self.session.foreign(error)),
            }
            if let Some(reason) = end {
                self.begin_the_end(reason);
            }
        }
    }

    /// A refused settlement is told and passed over: its message comes again. Any other refusal,
    /// which nobody asked for, is the end.
    fn refused(&mut self, refused: Refused) -> Option<anyhow::Error> {
        if self.unanswered == 0 || refused.is_unasked() {
            return Some(refused.into());
        }
        self.unanswered -= 1;
        self.fail(&refused.to_string());
        None
    }

    fn fail(&mut self, sentence: &str) {
        self.failures += 1;
        let _ = writeln!(io::stderr(), "courant: {sentence}");
    }

    fn ack(&mut self, page: &Page) {
        for handle in &page.handles {
            request::ack(&mut self.session.outbox, *handle);
        }
        self.unanswered += page.handles.len() as u64;
    }

    fn take_verdicts(&mut self) -> anyhow::Result<()> {
        let Some(mut lines) = self.verdicts.take() else {
            return Ok(());
        };
        while let Some(line) = lines.next()? {
            match Verdict::parse(line) {
                Ok(Some(verdict)) => {
                    verdict.write(&mut self.session.outbox);
                    self.unanswered += 1;
                }
                Ok(None) => {}
                Err(sentence) => self.fail(&sentence),
            }
        }
        if !lines.is_done() {
            self.verdicts = Some(lines);
        }
        Ok(())
    }

    /// Waits for the answers, quits, and says how it went.
    async fn farewell(mut self) -> anyhow::Result<()> {
        self.begin_the_end(None);
        request::quit(&mut self.session.outbox);
        // Whether the time is over is told by what is still unanswered then.
        let _ = timeout(FAREWELL_TIME_MAX, async {
            loop {
                self.take_replies()?;
                let is_done = self.unanswered == 0 && self.session.outbox.is_empty();
                if is_done || self.session.is_ended() {
                    return anyhow::Ok(());
                }
                self.session.transfer().await;
            }
        })
        .await;
        if let Some(reason) = self.reason {
            return Err(reason);
        }
        match (self.unanswered, self.failures) {
            (0, 0) => Ok(()),
            (0, failures) => {
                bail!("settlements that failed: {failures}; their messages come again")
            }
            (open, _) => {
                bail!("acks that were not confirmed: {open}; their messages may come again")
            }
        }
    }
}

/// Waits for the end of patience; for ever if it was not tried.
async fn expire(patience: &mut Option<Pin<Box<Sleep>>>) {
    match patience {
        Some(sleep) => sleep.await,
        None => std::future::pending().await,
    }
}

/// Waits for verdicts; for ever if none will come.
async fn read_verdicts(verdicts: &mut Option<Lines<Stdin>>) -> anyhow::Result<()> {
    match verdicts {
        Some(lines) => lines.fill().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::cmd::{Cli, Command};

    fn command(words: &[&str]) -> String {
        let words = ["courant", "sub"].iter().chain(words);
        let Command::Sub(subscribe) = Cli::try_parse_from(words).unwrap().command else {
            panic!("no sub");
        };
        subscribe.check().unwrap();
        let mut out = Vec::new();
        subscribe.write_command(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn options_become_a_command() {
        assert_eq!(command(&["queue:q"]), "SUB queue:q sub_id:sub credit:1000\n");
        assert_eq!(
            command(&["queue:a b", "--count", "3"]),
            "SUB queue:a%20b sub_id:sub credit:3\n"
        );
        assert_eq!(
            command(&["topic:t", "--name", "n m", "--count", "9999"]),
            "SUB topic:t sub_id:sub name:n%20m credit:1000\n"
        );
        assert_eq!(command(&["topic:t", "--live"]), "SUB topic:t sub_id:sub mode:live\n");
        assert_eq!(command(&["queue:q", "--manual-ack"]), "SUB queue:q sub_id:sub credit:65535\n");
    }
}
