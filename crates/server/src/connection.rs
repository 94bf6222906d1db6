//! The client's end of the text door, as small as the commands need it.
//!
//! - Bytes move only in [`Connection::transfer`], both ways at once, so that neither side can be
//!   held up by the other: whoever has much to say still hears refusals and pings.
//! - Every wait is bounded: a peer that is silent is pinged, and given up when it stays silent.
//! - When the peer is gone, what it had sent is decoded first; only then does the end count.
//! - The buffer grows with what arrives, never with a size that the peer announces.

use std::io::{self, ErrorKind};
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use courant_wire::Limits;
use courant_wire::text::{DecodedReply, Reply, ReplyError, decode_reply, request};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::destination::Destination;
use crate::endpoint::Endpoint;
use crate::item::Item;
use crate::refused::Refused;
use crate::transport::Transport;

const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
const SILENCE_MAX: Duration = Duration::from_secs(30);
const READ_BYTES: usize = 64 * 1024;
/// Bytes read before the caller looks at them.
const TURN_BYTES: usize = 1024 * 1024;

/// Bytes from the peer that are not decoded yet.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    bytes: Vec<u8>,
    head: usize,
}

impl Inbox {
    /// The next whole reply, if one is here.
    pub(crate) fn next(&mut self) -> Result<Option<Reply<'_>>, ReplyError> {
        loop {
            let unread = self.bytes.get(self.head..).unwrap_or_default();
            match decode_reply(unread, &Limits::DEFAULT) {
                DecodedReply::Reply { reply, consumed } => {
                    self.head += consumed;
                    return Ok(Some(reply));
                }
                DecodedReply::Blank { consumed } => self.head += consumed,
                DecodedReply::Incomplete { .. } => return Ok(None),
                DecodedReply::Malformed { error } => return Err(error),
            }
        }
    }

    /// Makes room for a read.
    fn make_room(&mut self) {
        self.bytes.drain(..std::mem::take(&mut self.head));
        self.bytes.reserve(READ_BYTES);
    }
}

/// A session at a broker.
#[derive(Debug)]
pub(crate) struct Connection {
    transport: Transport,
    address: String,
    /// What the broker said.
    pub(crate) inbox: Inbox,
    /// Commands to send; [`Connection::transfer`] takes them from the front.
    pub(crate) outbox: Vec<u8>,
    end: Option<End>,
    is_pinged: bool,
}

/// Why nothing more will come.
#[derive(Debug)]
enum End {
    Closed,
    Failed(io::Error),
    Silent,
}

impl Connection {
    /// Connects to an address (`HOST:PORT`, or `HOST` with the default port) and begins a session.
    pub(crate) async fn open(endpoint: &Endpoint, client_id: &str) -> anyhow::Result<Self> {
        let address = with_port(&endpoint.addr);
        let login = endpoint.login(client_id)?;
        let connected = timeout(CONNECT_TIME_MAX, TcpStream::connect(&address)).await;
        let stream = match connected {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => {
                bail!("no broker listens on {address}\nto start one: {}", serve_command(&address))
            }
            Ok(Err(error)) => return Err(error).context(format!("cannot connect to {address}")),
            Err(_) => bail!("{address} does not answer"),
        };
        stream.set_nodelay(true).context("cannot set up the connection")?;
        let (inbox, outbox) = (Inbox::default(), Vec::new());
        let transport = endpoint.transport(stream, &address)?;
        let mut session = Self { transport, address, inbox, outbox, end: None, is_pinged: false };
        request::connect(&mut session.outbox, &login);
        match timeout(CONNECT_TIME_MAX, session.answer(None)).await {
            Ok(answer) => answer.map(|()| session),
            Err(_) => bail!("{} does not answer; is it a broker's native door?", session.address),
        }
    }

    /// Begins a session for one command and gives its answer.
    pub(crate) async fn once(
        endpoint: &Endpoint,
        client_id: &str,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> anyhow::Result<Item> {
        let mut session = Self::open(endpoint, client_id).await?;
        write(&mut session.outbox);
        session.ask(|_| {}).await
    }

    /// Sends what is in the outbox, which ends with one command, and waits for its answer.
    /// `destination` is what the command is about, for the hint in a refusal.
    pub(crate) async fn answer(&mut self, destination: Option<&Destination>) -> anyhow::Result<()> {
        self.hear(destination, |_| {}).await.map(drop)
    }

    /// As [`Connection::answer`]; `each` is shown what comes before the answer, whose fields are
    /// given back.
    pub(crate) async fn ask(&mut self, each: impl FnMut(&Reply<'_>)) -> anyhow::Result<Item> {
        self.hear(None, each).await
    }

    async fn hear(
        &mut self,
        destination: Option<&Destination>,
        mut each: impl FnMut(&Reply<'_>),
    ) -> anyhow::Result<Item> {
        loop {
            match self.inbox.next().map_err(|error| foreign(&self.address, error))? {
                Some(Reply::Ok { fields }) => return Ok(Item::of(fields)),
                Some(Reply::Ping) => request::pong(&mut self.outbox),
                Some(reply) => match Refused::from_reply(&reply, destination) {
                    Some(refused) => return Err(refused.into()),
                    None => each(&reply),
                },
                None => {
                    self.check()?;
                    self.transfer().await;
                }
            }
        }
    }

    /// Waits for `time` with nothing asked; pings are answered meanwhile.
    pub(crate) async fn rest(&mut self, time: Duration) -> anyhow::Result<()> {
        let mut end = pin!(sleep(time));
        loop {
            while let Some(reply) = self.inbox.next().map_err(|e| foreign(&self.address, e))? {
                if reply == Reply::Ping {
                    request::pong(&mut self.outbox);
                } else if let Some(refused) = Refused::from_reply(&reply, None) {
                    return Err(refused.into());
                }
            }
            self.check()?;
            tokio::select! {
                () = &mut end => return Ok(()),
                () = self.transfer() => {}
            }
        }
    }

    /// Waits until bytes came or went. Loses nothing when it is given up. After the end of the
    /// connection it returns at once: see [`Connection::check`].
    pub(crate) async fn transfer(&mut self) {
        if self.end.is_some() {
            return;
        }
        let ready = self.transport.ready(!self.outbox.is_empty());
        match timeout(SILENCE_MAX, ready).await {
            Ok(Ok(ready)) => {
                if ready.is_readable() || ready.is_read_closed() {
                    self.receive();
                }
                if ready.is_writable() {
                    self.send();
                }
            }
            Ok(Err(error)) => self.end = Some(End::Failed(error)),
            Err(_) if self.is_pinged => self.end = Some(End::Silent),
            Err(_) => {
                self.is_pinged = true;
                request::ping(&mut self.outbox);
            }
        }
    }

    /// Whether the connection has ended; all that came before was in the inbox by then.
    pub(crate) fn is_ended(&self) -> bool {
        self.end.is_some()
    }

    /// An error if the connection has ended.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let address = &self.address;
        match &self.end {
            None => Ok(()),
            Some(End::Closed) => Err(anyhow!("the broker at {address} closed the connection")),
            Some(End::Failed(error)) => Err(anyhow!("lost the broker at {address}: {error}")),
            Some(End::Silent) => Err(anyhow!("the broker at {address} does not answer any more")),
        }
    }

    /// What to report when the inbox held something that is no reply.
    pub(crate) fn foreign(&self, error: ReplyError) -> anyhow::Error {
        foreign(&self.address, error)
    }

    fn receive(&mut self) {
        let mut received = 0;
        while received < TURN_BYTES {
            self.inbox.make_room();
            match self.transport.try_read(&mut self.inbox.bytes) {
                Ok(0) => {
                    self.end = Some(End::Closed);
                    return;
                }
                Ok(bytes) => received += bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => {
                    self.end = Some(End::Failed(error));
                    return;
                }
            }
        }
        self.is_pinged &= received == 0;
    }

    fn send(&mut self) {
        let mut sent = 0;
        while let Some(unsent) = self.outbox.get(sent..).filter(|unsent| !unsent.is_empty()) {
            match self.transport.try_write(unsent) {
                Ok(bytes) => sent += bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => {
                    // The reason stands in what the peer sent before it closed, or is the error of
                    // the next read.
                    sent = self.outbox.len();
                }
            }
        }
        self.outbox.drain(..sent);
        // As above.
        let _ = self.transport.try_finish();
    }
}

fn foreign(address: &str, error: ReplyError) -> anyhow::Error {
    anyhow!(error).context(format!("{address} is no broker's native door"))
}

fn with_port(address: &str) -> String {
    if address.is_empty() {
        return crate::cmd::ADDRESS_DEFAULT.to_owned();
    }
    let has_port = address.rsplit_once(':').is_some_and(|(host, port)| {
        !port.is_empty()
            && port.bytes().all(|byte| byte.is_ascii_digit())
            && (!host.contains(':') || host.ends_with(']'))
    });
    if has_port {
        return address.to_owned();
    }
    let default = crate::cmd::ADDRESS_DEFAULT;
    let port = default.rsplit_once(':').map_or("", |(_, port)| port);
    if address.contains(':') && !address.ends_with(']') {
        format!("[{address}]:{port}")
    } else {
        format!("{address}:{port}")
    }
}

fn serve_command(address: &str) -> String {
    if address == crate::cmd::ADDRESS_DEFAULT {
        "courant serve".to_owned()
    } else {
        format!("courant serve --native {address}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_leave_out_its_port() {
        for (typed, address) in [
            ("", "127.0.0.1:7530"),
            ("localhost", "localhost:7530"),
            ("localhost:1", "localhost:1"),
            ("127.0.0.1", "127.0.0.1:7530"),
            ("[::1]:99", "[::1]:99"),
            ("[::1]", "[::1]:7530"),
            ("::1", "[::1]:7530"),
        ] {
            assert_eq!(with_port(typed), address);
        }
    }

    #[test]
    fn replies_come_whole_however_they_were_cut() {
        let sent = b"OK msg_id:4z\n\r\nMSG queue:q 3\none\nPING\n";
        for cut in 0..sent.len() {
            let mut inbox = Inbox::default();
            let mut kinds = Vec::new();
            for part in [&sent[..cut], &sent[cut..]] {
                inbox.make_room();
                inbox.bytes.extend_from_slice(part);
                while let Some(reply) = inbox.next().unwrap() {
                    kinds.push(match reply {
                        Reply::Ok { .. } => "OK",
                        Reply::Msg { body: b"one", .. } => "MSG",
                        Reply::Ping => "PING",
                        _ => "other",
                    });
                }
            }
            assert_eq!(kinds, ["OK", "MSG", "PING"], "cut at {cut}");
        }
    }

    #[test]
    fn what_is_no_reply_is_an_error() {
        let mut inbox = Inbox { bytes: b"HTTP/1.1 400 Bad Request\r\n".to_vec(), head: 0 };
        assert!(inbox.next().is_err());
    }
}
