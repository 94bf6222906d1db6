//! A blocking client of the text door over a raw socket, for tests.
//!
//! Every wait has a deadline. A PING is answered at once and not shown. Replies are in the order of
//! the commands. Messages that come between them wait in `inbox` until they are asked for, and so
//! does what the server told beside them (RETURN, ITEM, CANCEL, …) until the next command.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use courant_wire::text::{DecodedReply, Fields, Login, Reply, decode_reply, request};
use courant_wire::{Handle, Limits, MessageId};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketType};

/// How long any one answer may take, on a loaded machine.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Handles on one ACK: they have to fit on a line.
pub const ACKS_PER_LINE: usize = 64;

const READ_BYTES: usize = 64 * 1024;

/// Why a client can't go on.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server closed or reset the connection.
    #[error("the connection was closed")]
    Closed,
    /// Nothing came in time.
    #[error("nothing came within {0:?}; undecoded input: {1:?}")]
    Late(Duration, String),
    /// The server sent what is no reply.
    #[error("{0}")]
    Malformed(String),
    /// A refusal where success was expected.
    #[error("refused: {0}")]
    Refused(Refused),
    /// Another reply than the one that was expected.
    #[error("expected {0}, and {1} came")]
    Unexpected(&'static str, String),
    /// The socket failed in another way.
    #[error("socket: {0}")]
    Socket(std::io::Error),
}

/// An ERR.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{number} {name} {sentence}")]
pub struct Refused {
    /// The stable number.
    pub number: u32,
    /// The stable name.
    pub name: String,
    /// For people.
    pub sentence: String,
    /// `req`, `verb`, `ordinal`.
    pub fields: Vec<(String, String)>,
}

/// A MSG.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// `queue:NAME` or `topic:NAME`, as on the line.
    pub destination: String,
    /// The subscription, if one was named.
    pub sub_id: Option<String>,
    /// What settles it; none in live mode.
    pub handle: Option<Handle>,
    /// Which attempt it is, from 1.
    pub attempt: u64,
    /// `yes` or `maybe`, where the message may have been delivered before.
    pub redelivered: Option<String>,
    /// Names and values, unescaped.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// What the server tells beside replies and messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The first word of its line.
    pub verb: &'static str,
    /// The others.
    pub fields: Vec<(String, String)>,
    /// The body of a RETURN.
    pub body: Vec<u8>,
}

impl Notice {
    /// The value of the first field `key`.
    pub fn field(&self, key: &str) -> Option<&str> {
        field(&self.fields, key)
    }
}

/// Anything that the server sends, except PING.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// OK and its fields.
    Ok(Vec<(String, String)>),
    /// ERR.
    Err(Refused),
    /// PONG.
    Pong,
    /// MSG.
    Msg(Message),
    /// RETURN, ITEM, CANCEL, BLOCKED, UNBLOCKED.
    Notice(Notice),
}

impl Incoming {
    /// Whether it answers a command.
    pub fn is_reply(&self) -> bool {
        matches!(self, Self::Ok(_) | Self::Err(_) | Self::Pong)
    }
}

/// A connection.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    input: Vec<u8>,
    /// Where undecoded input begins.
    start: usize,
    inbox: VecDeque<Message>,
    notices: VecDeque<Notice>,
}

impl Client {
    /// Opens a connection and says nothing on it.
    pub fn raw(address: SocketAddr) -> Result<Self, ClientError> {
        let stream = TcpStream::connect_timeout(&address, ANSWER_WITHIN);
        Self::over(stream.map_err(ClientError::Socket)?)
    }

    /// The same, coming from another address of this machine.
    pub fn raw_from(source: Ipv4Addr, address: SocketAddr) -> Result<Self, ClientError> {
        let connected = || {
            let socket = net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
            net::bind(&socket, &SocketAddr::from((source, 0)))?;
            net::connect(&socket, &address)?;
            Ok(socket)
        };
        let socket = connected().map_err(|error: Errno| ClientError::Socket(error.into()))?;
        Self::over(TcpStream::from(socket))
    }

    fn over(stream: TcpStream) -> Result<Self, ClientError> {
        stream.set_nodelay(true).map_err(ClientError::Socket)?;
        stream.set_write_timeout(Some(ANSWER_WITHIN)).map_err(ClientError::Socket)?;
        let (inbox, notices) = (VecDeque::new(), VecDeque::new());
        Ok(Self { stream, input: Vec::new(), start: 0, inbox, notices })
    }

    /// Opens a connection and logs in.
    pub fn connect(address: SocketAddr) -> Result<Self, ClientError> {
        Self::login(address, &Login::default())
    }

    /// As [`Client::connect`]; only commands with `req:` get an OK.
    pub fn connect_quiet(address: SocketAddr) -> Result<Self, ClientError> {
        Self::login(address, &Login { verbose: false, ..Login::default() })
    }

    /// As [`Client::connect`], as whoever this says; the version may be left out.
    pub fn login(address: SocketAddr, login: &Login) -> Result<Self, ClientError> {
        let mut client = Self::raw(address)?;
        let mut line = Vec::new();
        let version = Some("1.0".to_owned());
        request::connect(&mut line, &Login { version, ..login.clone() });
        client.call(&line)?;
        Ok(client)
    }

    /// A second owner of the socket, to shut it down from another thread.
    pub fn socket(&self) -> Result<TcpStream, ClientError> {
        self.stream.try_clone().map_err(ClientError::Socket)
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        self.stream.write_all(bytes).map_err(|error| failure(error, ANSWER_WITHIN, &[]))
    }

    /// Says that nothing more will be sent.
    pub fn end_output(&mut self) -> Result<(), ClientError> {
        self.stream.shutdown(Shutdown::Write).map_err(ClientError::Socket)
    }

    /// Sends one command and waits for its OK; the OK's fields. Messages go to the inbox.
    pub fn call(&mut self, command: &[u8]) -> Result<Vec<(String, String)>, ClientError> {
        self.notices.clear();
        self.send(command)?;
        match self.reply()? {
            Incoming::Ok(fields) => Ok(fields),
            Incoming::Err(refused) => Err(ClientError::Refused(refused)),
            other => Err(ClientError::Unexpected("OK", format!("{other:?}"))),
        }
    }

    /// As [`Client::call`] for a command that ends with a line end of its own.
    pub fn line(&mut self, command: &str) -> Result<Vec<(String, String)>, ClientError> {
        self.call(format!("{command}\n").as_bytes())
    }

    /// As [`Client::line`], for several; empty lines are passed over.
    pub fn lines(&mut self, commands: &str) -> Result<(), ClientError> {
        let commands = commands.lines().map(str::trim).filter(|command| !command.is_empty());
        commands.into_iter().try_for_each(|command| self.line(command).map(|_| ()))
    }

    /// Sends a command that has to be refused; the number and the sentence.
    pub fn refused(&mut self, command: &str) -> Result<Refused, ClientError> {
        match self.line(command) {
            Err(ClientError::Refused(refused)) => Ok(refused),
            other => Err(ClientError::Unexpected("ERR", format!("{command}: {other:?}"))),
        }
    }

    /// Takes all that is ready in a queue, and acks it on disk.
    pub fn drain(&mut self, queue: &str) -> Result<Vec<Message>, ClientError> {
        let mut all = Vec::new();
        loop {
            match self.line(&format!("GET queue:{queue} count:1000")) {
                Err(ClientError::Refused(refused)) if refused.number == 402 => return Ok(all),
                got => got?,
            };
            let messages: Vec<_> = self.inbox.drain(..).collect();
            let handles: Vec<_> = messages.iter().filter_map(|message| message.handle).collect();
            for some in handles.chunks(ACKS_PER_LINE) {
                let acks: Vec<_> = some.iter().map(|handle| format!("msg_id:{handle}")).collect();
                self.line(&format!("ACK {} confirm:synced", acks.join(" ")))?;
            }
            all.extend(messages);
        }
    }

    /// Publishes and waits for the confirm; the id of the message.
    pub fn publish(&mut self, head: &str, body: &[u8]) -> Result<MessageId, ClientError> {
        let fields = self.put(head, body)?;
        let id = field(&fields, "msg_id").and_then(|id| MessageId::parse(id.as_bytes()).ok());
        id.ok_or_else(|| ClientError::Unexpected("a confirm with msg_id", format!("{fields:?}")))
    }

    /// Publishes and waits for the confirm; all that it says.
    pub fn put(&mut self, head: &str, body: &[u8]) -> Result<Vec<(String, String)>, ClientError> {
        let mut command = format!("PUB {head} {}\n", body.len()).into_bytes();
        command.extend_from_slice(body);
        command.push(b'\n');
        self.call(&command)
    }

    /// The next reply to a command. Messages go to the inbox.
    pub fn reply(&mut self) -> Result<Incoming, ClientError> {
        loop {
            match self.incoming(ANSWER_WITHIN)? {
                Incoming::Msg(message) => self.inbox.push_back(message),
                Incoming::Notice(notice) => self.notices.push_back(notice),
                reply => return Ok(reply),
            }
        }
    }

    /// What the server told since the last command, or tells next. Messages go to the inbox.
    pub fn notice(&mut self) -> Result<Notice, ClientError> {
        loop {
            if let Some(notice) = self.notices.pop_front() {
                return Ok(notice);
            }
            match self.incoming(ANSWER_WITHIN)? {
                Incoming::Msg(message) => self.inbox.push_back(message),
                Incoming::Notice(notice) => return Ok(notice),
                other => return Err(ClientError::Unexpected("a notice", format!("{other:?}"))),
            }
        }
    }

    /// Everything that the server told since the last command.
    pub fn told(&mut self) -> Vec<Notice> {
        self.notices.drain(..).collect()
    }

    /// The next message, from the inbox or the socket.
    pub fn message(&mut self) -> Result<Message, ClientError> {
        if let Some(message) = self.inbox.pop_front() {
            return Ok(message);
        }
        match self.incoming(ANSWER_WITHIN)? {
            Incoming::Msg(message) => Ok(message),
            other => Err(ClientError::Unexpected("MSG", format!("{other:?}"))),
        }
    }

    /// The next thing of any kind from the socket; the inbox is left alone.
    pub fn incoming(&mut self, wait: Duration) -> Result<Incoming, ClientError> {
        let deadline = Instant::now() + wait;
        loop {
            if let Some(incoming) = self.decode()? {
                return Ok(incoming);
            }
            self.fill(deadline, wait)?;
        }
    }

    /// Reads what is there and answers PING, so that the server sees that somebody is. Messages go
    /// to the inbox.
    pub fn stay(&mut self) -> Result<(), ClientError> {
        loop {
            match self.incoming(Duration::from_millis(1)) {
                Ok(Incoming::Msg(message)) => self.inbox.push_back(message),
                Ok(_) => {}
                Err(ClientError::Late(..)) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// How many messages wait in the inbox.
    pub fn waiting(&self) -> usize {
        self.inbox.len()
    }

    /// As [`Client::stay`]; messages are thrown away.
    pub fn forget(&mut self) -> Result<(), ClientError> {
        self.stay()?;
        self.inbox.clear();
        Ok(())
    }

    /// What has been read already and is whole; never waits.
    pub fn buffered(&mut self) -> Result<Option<Incoming>, ClientError> {
        self.decode()
    }

    /// Everything from here to the end of the connection, as raw bytes.
    pub fn rest(&mut self, wait: Duration) -> Result<Vec<u8>, ClientError> {
        let deadline = Instant::now() + wait;
        loop {
            match self.fill(deadline, wait) {
                Ok(()) => {}
                Err(ClientError::Closed) => return Ok(self.input.split_off(self.start)),
                Err(error) => return Err(error),
            }
        }
    }

    /// The next raw line with its line end, bytes as they came.
    pub fn raw_line(&mut self) -> Result<Vec<u8>, ClientError> {
        let deadline = Instant::now() + ANSWER_WITHIN;
        loop {
            let unread = &self.input[self.start..];
            if let Some(at) = unread.iter().position(|byte| *byte == b'\n') {
                let line = unread[..=at].to_vec();
                self.start += at + 1;
                return Ok(line);
            }
            self.fill(deadline, ANSWER_WITHIN)?;
        }
    }

    /// The first whole thing of the input; a PING is answered and passed over.
    fn decode(&mut self) -> Result<Option<Incoming>, ClientError> {
        loop {
            let unread = &self.input[self.start..];
            let (decoded, consumed) = match decode_reply(unread, &Limits::DEFAULT) {
                DecodedReply::Reply { reply, consumed } => (owned(&reply), consumed),
                DecodedReply::Blank { consumed } => (None, consumed),
                DecodedReply::Incomplete { .. } => return Ok(None),
                DecodedReply::Malformed { error } => {
                    return Err(ClientError::Malformed(format!("{error}: {}", excerpt(unread))));
                }
            };
            let is_ping = unread.starts_with(b"PING");
            self.start += consumed;
            if is_ping {
                self.send(b"PONG\n")?;
            }
            if decoded.is_some() {
                return Ok(decoded);
            }
        }
    }

    fn fill(&mut self, deadline: Instant, wait: Duration) -> Result<(), ClientError> {
        self.input.drain(..self.start);
        self.start = 0;
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        self.stream.set_read_timeout(Some(left)).map_err(ClientError::Socket)?;
        let before = self.input.len();
        self.input.resize(before + READ_BYTES, 0);
        let read = self.stream.read(&mut self.input[before..]);
        self.input.truncate(before + read.as_ref().map_or(0, |count| *count));
        match read {
            Ok(0) => Err(ClientError::Closed),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(failure(error, wait, &self.input)),
        }
    }
}

/// The value of the first field `key`.
pub fn field<'a>(fields: &'a [(String, String)], key: &str) -> Option<&'a str> {
    fields.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
}

fn failure(error: std::io::Error, wait: Duration, unread: &[u8]) -> ClientError {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => ClientError::Late(wait, excerpt(unread)),
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted => {
            ClientError::Closed
        }
        _ => ClientError::Socket(error),
    }
}

fn excerpt(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.get(..200).unwrap_or(bytes)).into_owned()
}

/// None for PING.
fn owned(reply: &Reply<'_>) -> Option<Incoming> {
    Some(match reply {
        Reply::Ok { fields } => Incoming::Ok(all(fields)),
        Reply::Err { number, name, fields, sentence } => Incoming::Err(Refused {
            number: *number,
            name: lossy(name),
            sentence: lossy(sentence),
            fields: all(fields),
        }),
        Reply::Msg { destination, fields, body } => Incoming::Msg(Message {
            destination: format!(
                "{}:{}",
                destination.kind.name(),
                lossy(destination.raw_name.raw())
            ),
            sub_id: fields.get("sub_id").map(|value| lossy(value.raw())),
            handle: fields.handle(),
            attempt: fields.number("attempt").unwrap_or(1),
            redelivered: fields.get("redelivered").map(|value| lossy(value.raw())),
            headers: headers(fields),
            body: body.to_vec(),
        }),
        Reply::Ping => return None,
        Reply::Pong { .. } => Incoming::Pong,
        Reply::Cancel { fields } => notice("CANCEL", fields, b""),
        Reply::Return { fields, body, .. } => notice("RETURN", fields, body),
        Reply::Item { fields } => notice("ITEM", fields, b""),
        Reply::Blocked { fields } => notice("BLOCKED", fields, b""),
        Reply::Unblocked { fields } => notice("UNBLOCKED", fields, b""),
    })
}

fn notice(verb: &'static str, fields: &Fields<'_>, body: &[u8]) -> Incoming {
    Incoming::Notice(Notice { verb, fields: all(fields), body: body.to_vec() })
}

fn headers(fields: &Fields<'_>) -> Vec<(String, String)> {
    fields.headers().map(|h| (unescaped(&h.name), unescaped(&h.value))).collect()
}

fn all(fields: &Fields<'_>) -> Vec<(String, String)> {
    fields.iter().map(|(key, value)| (lossy(key), unescaped(&value))).collect()
}

fn unescaped(text: &courant_wire::Text<'_>) -> String {
    let mut buffer = Vec::new();
    lossy(text.bytes(&mut buffer).unwrap_or(text.raw()))
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
