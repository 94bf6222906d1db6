//! The beginning of a connection: CONNECT, and who it is.
//!
//! Nothing is kept for a stranger but what it sent: the session begins once the broker knows who it
//! is for. All of it, from the first byte to the broker's answer, has one deadline.

use crate::clock::ahead;
use crate::connection::read_more;
use crate::native::Door;
use crate::refusal::Refused;
use crate::socket::{self, Reader, Writer};
use crate::source::Visit;
use crate::subscriptions::Subscriptions;
use crate::{binary, text};
use courant::{Credentials, Outlet, Refusal};
use courant_wire::Limits;
use courant_wire::text::{Command, Decoded, Line, Login, WireError, decode};
use std::io::ErrorKind;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{Instant, timeout_at};

/// How long the reason may take to reach a client that is not let in.
const REASON_WITHIN: std::time::Duration = std::time::Duration::from_secs(2);

/// The first byte of a client that wants TLS: a record of its handshake. No command begins so.
const TLS_FIRST_BYTE: u8 = 0x16;

/// The namespace of clients that name none.
const NAMESPACE_DEFAULT: &str = "/";

/// Bytes of a CONNECT in binary.
const BINARY_CONNECT_BYTES_MAX: usize = 4096;

/// A connection that was let in, by its protocol.
#[derive(Debug)]
pub(crate) enum Greeted {
    Text(text::Talk),
    Binary(binary::Talk),
}

/// How a client is answered before its session begins.
#[derive(Debug)]
enum Form {
    /// In text, with the token of its CONNECT.
    Text(Option<Vec<u8>>),
    /// In binary, with the number of its CONNECT.
    Binary(u32),
}

impl Form {
    /// By the first byte that came, if any did.
    fn of(first: Option<u8>) -> Self {
        match first {
            // Who wants TLS and can't have it speaks either; a person reads text.
            Some(TLS_FIRST_BYTE) => Self::Text(None),
            Some(byte) if byte < 0x20 && !b"\r\n".contains(&byte) => Self::Binary(0),
            _ => Self::Text(None),
        }
    }
}

/// A CONNECT.
#[derive(Debug)]
struct Connect {
    login: Login,
    form: Form,
}

/// Waits for CONNECT, in the clear or behind TLS, and answers it. `None` if the connection does
/// not go on.
pub(crate) async fn greet(
    halves: (OwnedReadHalf, OwnedWriteHalf),
    carry: &mut Vec<u8>,
    (door, source, visit): (&Door, IpAddr, &mut Visit),
) -> Option<(Greeted, Reader, Arc<Writer>)> {
    let deadline = ahead(door.options.handshake_within);
    let (mut reader, writer) = begin(halves, deadline, door).await?;
    let let_in = async {
        let connect = match listen(&mut reader, carry).await {
            Ok(Some(connect)) => connect,
            Ok(None) => return Ok(None),
            Err(refused) => return Err((refused, None)),
        };
        let principal = door.broker.login(&credentials(&connect.login), source).await;
        match principal {
            Ok(principal) => Ok(Some((connect, principal))),
            Err(refusal) => Err((Refused::about(refusal, ""), Some(connect.form))),
        }
    };
    let let_in = within(deadline, door, let_in).await;
    let let_in = let_in.unwrap_or_else(|refusal| Err((Refused::about(refusal, ""), None)));
    let (Connect { login, form }, principal) = match let_in {
        Ok(let_in) => let_in?,
        Err((refused, form)) => {
            let form = form.unwrap_or_else(|| Form::of(carry.first().copied()));
            say_refused(&writer, &refused, &form).await;
            return None;
        }
    };
    let subscriptions = Arc::new(Subscriptions::default());
    let writer = Arc::new(writer);
    let who = (login.client_id.as_deref().unwrap_or_default(), source);
    let (socket, names) = (Arc::clone(&writer), Arc::clone(&subscriptions));
    let outlet: Box<dyn Outlet> = match &form {
        Form::Text(_) => Box::new(text::TextOutlet::new(socket, names, who)),
        Form::Binary(_) => Box::new(binary::BinaryOutlet::new(socket, names, who)),
    };
    let namespace = login.namespace.as_deref().unwrap_or(NAMESPACE_DEFAULT);
    let mut session = match door.broker.attach(namespace, &principal, outlet) {
        Ok(session) => session,
        Err(refusal) => {
            let refused = Refused::about(refusal, namespace);
            say_refused(&writer, &refused, &form).await;
            return None;
        }
    };
    let Login { credit, credit_bytes, verbose, .. } = login;
    if credit.is_some() || credit_bytes.is_some() {
        session.set_credit(credit, credit_bytes);
    }
    // Before it is told: its next connection finds room.
    visit.is_let_in();
    let mut ok = Vec::new();
    match &form {
        Form::Text(req) => Line::ok(&mut ok, req.as_deref()).end(),
        Form::Binary(0) => {}
        Form::Binary(req) => courant_wire::binary::reply::ok(&mut ok, *req, 0, b""),
    }
    session.outbox().reply(&ok, None);
    session.outbox().flush();
    let greeted = match form {
        Form::Text(_) => {
            let mut talk = text::Talk::new(session, subscriptions);
            (talk.words.is_verbose, talk.ordinal) = (verbose, 1);
            Greeted::Text(talk)
        }
        Form::Binary(_) => Greeted::Binary(binary::Talk::new(session, subscriptions)),
    };
    Some((greeted, reader, writer))
}

/// Waits no longer than that, nor for a door that lets nobody in any more.
async fn within<T>(
    deadline: Instant,
    door: &Door,
    what: impl Future<Output = T>,
) -> Result<T, Refusal> {
    tokio::select! {
        done = timeout_at(deadline, what) => done.map_err(|_| Refusal::HandshakeTimeout),
        () = door.stopped() => Err(Refusal::Closing),
    }
}

/// Finds out whether the client wants TLS, and shakes hands if so.
async fn begin(
    (mut reader, writer): (OwnedReadHalf, OwnedWriteHalf),
    deadline: Instant,
    door: &Door,
) -> Option<(Reader, Writer)> {
    let first = within(deadline, door, socket::first_byte(&mut reader)).await;
    let (certificate, is_required) = door.tls();
    let form = Form::of(first.as_ref().ok().and_then(|first| *first.as_ref().ok()?));
    let refused = match (first, certificate) {
        (Ok(Err(_) | Ok(None)), _) => return None,
        (Ok(Ok(Some(TLS_FIRST_BYTE))), Some(certificate)) => {
            let shaken = socket::accept(reader, writer, &certificate);
            return match within(deadline, door, shaken).await {
                Ok(Ok(halves)) => Some(halves),
                Ok(Err(error)) => {
                    tracing::debug!(%error, "TLS did not begin");
                    None
                }
                Err(_) => None,
            };
        }
        (Ok(Ok(Some(TLS_FIRST_BYTE))), None) => {
            Refused::about(Refusal::NotSupported, "TLS without a certificate")
        }
        (Ok(Ok(Some(_))), _) if is_required => Refused::about(Refusal::TlsRequired, ""),
        (Ok(Ok(Some(_))), _) => return Some((Reader::Plain(reader), Writer::Plain(writer))),
        (Err(refusal), _) => Refused::about(refusal, ""),
    };
    say_refused(&Writer::Plain(writer), &refused, &form).await;
    None
}

fn credentials(login: &Login) -> Credentials<'_> {
    match (&login.user, &login.password, &login.token) {
        (Some(user), Some(password), _) => Credentials::Password { user, password },
        (_, _, Some(token)) => Credentials::Token(token),
        _ => Credentials::None,
    }
}

/// Reads until CONNECT is there. `None` if the client went away.
async fn listen(reader: &mut Reader, carry: &mut Vec<u8>) -> Result<Option<Connect>, Refused> {
    loop {
        if let Some(connect) = take_connect(carry)? {
            return Ok(Some(connect));
        }
        if !matches!(read_more(reader, carry).await, Ok(1..)) {
            return Ok(None);
        }
    }
}

/// Takes CONNECT from the carried bytes, if it is there.
fn take_connect(carry: &mut Vec<u8>) -> Result<Option<Connect>, Refused> {
    if matches!(Form::of(carry.first().copied()), Form::Binary(_)) {
        return take_binary_connect(carry);
    }
    loop {
        // Before CONNECT nothing is allowed to be large.
        let limits = Limits { body_bytes_max: 0, ..Limits::DEFAULT };
        let (consumed, connect) = match decode(carry, &limits) {
            Decoded::Incomplete { .. } => return Ok(None),
            Decoded::Blank { consumed } => {
                carry.drain(..consumed);
                continue;
            }
            Decoded::Refused { error, verb, .. } if verb.eq_ignore_ascii_case(b"CONNECT") => {
                return Err(Refused::from(&error));
            }
            Decoded::Command { command: Command::Connect { json, options }, consumed } => {
                let login = Login::parse(json).map_err(|error| Refused::from(&error))?;
                let form = Form::Text(options.req().map(<[u8]>::to_vec));
                (consumed, Connect { login, form })
            }
            Decoded::Refused { error: error @ WireError::LineTooLong { .. }, .. } => {
                return Err(Refused::from(&error));
            }
            Decoded::Command { .. } | Decoded::Refused { .. } => {
                return Err(Refused::about(Refusal::NotConnected, ""));
            }
        };
        carry.drain(..consumed);
        return Ok(Some(connect));
    }
}

/// The same in binary.
fn take_binary_connect(carry: &mut Vec<u8>) -> Result<Option<Connect>, Refused> {
    use courant_wire::binary::{Command, CommandKind, Decoded, WireError, decode};
    let limits = Limits { frame_bytes_max: BINARY_CONNECT_BYTES_MAX, ..Limits::DEFAULT };
    let is_connect = carry.first() == Some(&CommandKind::Connect.number());
    let (consumed, connect) = match decode(carry, &limits) {
        Decoded::Incomplete { .. } => return Ok(None),
        Decoded::Command { command: Command::Connect { json }, req, consumed } => {
            let login = Login::parse(json).map_err(|error| Refused::from(&error))?;
            (consumed, Connect { login, form: Form::Binary(req) })
        }
        Decoded::Refused { error, .. }
            if is_connect || matches!(error, WireError::FrameTooLarge { .. }) =>
        {
            return Err(Refused { closes: true, ..Refused::from(&error) });
        }
        Decoded::Command { .. } | Decoded::Refused { .. } => {
            return Err(Refused::about(Refusal::NotConnected, ""));
        }
    };
    carry.drain(..consumed);
    Ok(Some(connect))
}

/// Tells a client that is not let in why.
async fn say_refused(writer: &Writer, refused: &Refused, form: &Form) {
    let mut line = Vec::new();
    match form {
        Form::Text(req) => text::write_refused(&mut line, refused, req.as_deref(), None),
        Form::Binary(req) => binary::write_refused(&mut line, refused, *req, (0, 0)),
    }
    let say = async {
        let mut left = &line[..];
        while !left.is_empty() && writer.writable().await.is_ok() {
            match writer.try_write(left) {
                Ok(count) => left = &left[count..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
        while writer.try_finish().is_err_and(|error| error.kind() == ErrorKind::WouldBlock) {
            if writer.writable().await.is_err() {
                return;
            }
        }
    };
    let _ = timeout_at(ahead(REASON_WITHIN), say).await;
    writer.close();
}
