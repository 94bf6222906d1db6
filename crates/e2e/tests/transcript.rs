//! The transcript of the specification, replayed literally: over a socket with both line ends, and
//! typed into a real `nc`. Ids, and only ids, are matched by their form.

use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use courant_e2e::cli::{self, Running};
use courant_e2e::client::Client;
use courant_e2e::server::Server;
use courant_wire::{Handle, MessageId};

/// One line of the transcript; a body is a line too.
#[derive(Clone, Copy, Debug)]
enum Step {
    Client(&'static str),
    Server(&'static str),
    /// Somebody else publishes this to `topic:events`.
    Elsewhere(&'static str),
}

use Step::{Client as C, Elsewhere as E, Server as S};

const TRANSCRIPT: &[Step] = &[
    C(r#"CONNECT {"version":"1.0","client_id":"client123"}"#),
    S("OK"),
    C("DECLARE queue:orders"),
    S("OK"),
    C("PUB queue:orders 35"),
    C(r#"{"order_id":"12345","amount":99.99}"#),
    S("OK msg_id:abc123"),
    C("DECLARE topic:events"),
    S("OK"),
    C("SUB topic:events sub_id:sub456"),
    S("OK"),
    E(r#"{"event":"order_placed","order_id":"12345"}"#),
    S("MSG topic:events sub_id:sub456 msg_id:xyz789 43"),
    S(r#"{"event":"order_placed","order_id":"12345"}"#),
    C("ACK msg_id:xyz789"),
    S("OK"),
];

/// The id that the transcript shows where the server gave another.
#[derive(Debug, Default)]
struct Ids {
    delivery: Option<String>,
}

impl Ids {
    /// What the client types, with the server's id in place of the transcript's.
    fn typed(&self, line: &str) -> Result<String> {
        if !line.contains("msg_id:xyz789") {
            return Ok(line.to_owned());
        }
        let id = self.delivery.as_ref().context("an ACK before its MSG")?;
        Ok(line.replace("xyz789", id))
    }

    /// Fails unless the line is the transcript's, ids aside.
    fn check(&mut self, expected: &str, line: &str) -> Result<()> {
        let Some((before, after)) = expected.split_once("msg_id:") else {
            ensure!(line == expected, "expected {expected:?}, and {line:?} came");
            return Ok(());
        };
        let (shown, after) =
            after.split_once(' ').map_or((after, None), |(id, rest)| (id, Some(rest)));
        let id = line
            .strip_prefix(before)
            .and_then(|rest| rest.strip_prefix("msg_id:"))
            .and_then(|rest| match after {
                Some(after) => rest.strip_suffix(after)?.strip_suffix(' '),
                None => Some(rest),
            })
            .with_context(|| format!("expected {expected:?}, ids aside, and {line:?} came"))?;
        let is_delivery = shown == "xyz789";
        let is_valid = if is_delivery {
            Handle::parse(id.as_bytes()).is_ok_and(|handle| handle.lease.is_some())
        } else {
            MessageId::parse(id.as_bytes()).is_ok()
        };
        ensure!(is_valid, "{id:?} in {line:?} has not the form of an id");
        if is_delivery {
            self.delivery = Some(id.to_owned());
        }
        Ok(())
    }
}

/// Replays the transcript; `say` sends one line without its end, `hear` gives the next one.
fn replay(
    server: &Server,
    mut say: impl FnMut(&str) -> Result<()>,
    mut hear: impl FnMut() -> Result<String>,
) -> Result<()> {
    let mut elsewhere = Client::connect(server.address()?)?;
    let mut ids = Ids::default();
    for step in TRANSCRIPT {
        match step {
            C(line) => say(&ids.typed(line)?)?,
            S(line) => {
                let heard = hear().with_context(|| format!("waiting for {line:?}"))?;
                ids.check(line, &heard)?;
            }
            E(body) => {
                elsewhere.publish("topic:events", body.as_bytes())?;
            }
        }
    }
    Ok(())
}

fn over_a_socket(line_end: &str) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = Server::start(folder.path())?;
    let client = std::cell::RefCell::new(Client::raw(server.address()?)?);
    replay(
        &server,
        |line| Ok(client.borrow_mut().send(format!("{line}{line_end}").as_bytes())?),
        || {
            let line = String::from_utf8(client.borrow_mut().raw_line()?)?;
            let line = line.strip_suffix('\n').context("a line end")?;
            Ok(line.to_owned())
        },
    )?;
    server.stop()?;
    Ok(())
}

#[test]
fn over_a_socket_with_plain_line_ends() {
    over_a_socket("\n").unwrap();
}

#[test]
fn over_a_socket_with_carriage_returns() {
    over_a_socket("\r\n").unwrap();
}

#[test]
fn in_one_write() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).unwrap();
    let mut client = Client::raw(server.address().unwrap()).unwrap();
    let typed: String = TRANSCRIPT
        .iter()
        .filter_map(|step| if let C(line) = step { Some(format!("{line}\n")) } else { None })
        .filter(|line| !line.starts_with("ACK"))
        .collect();
    client.send(typed.as_bytes()).unwrap();
    let mut ids = Ids::default();
    for expected in ["OK", "OK", "OK msg_id:abc123", "OK", "OK"] {
        let line = String::from_utf8(client.raw_line().unwrap()).unwrap();
        ids.check(expected, line.trim_end()).unwrap();
    }
}

/// A missing `nc` is a failure: the specification promises a person at `nc`.
fn netcat(server: &Server) -> Result<Running> {
    let address = server.address()?;
    let mut command = Command::new("nc");
    command.arg(address.ip().to_string()).arg(address.port().to_string());
    cli::start_command(command)
        .context("nc is missing: install netcat-openbsd, or run `cargo xtask test`")
}

fn typed_into_netcat() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = Server::start(folder.path())?;
    let typing = std::cell::RefCell::new(netcat(&server)?);
    replay(
        &server,
        |line| typing.borrow_mut().feed(format!("{line}\n").as_bytes()),
        || match typing.borrow().line()? {
            Some(line) => Ok(line),
            None => bail!("nc ended"),
        },
    )?;
    let mut typing = typing.into_inner();
    typing.feed(b"QUIT\n")?;
    ensure!(typing.line()?.as_deref() == Some("OK"), "QUIT gets OK");
    // It stays until its own input ends, whatever the server does.
    typing.end()?.success()?;
    server.stop()?;
    Ok(())
}

#[test]
fn typed_by_hand_into_nc() {
    typed_into_netcat().unwrap();
}

#[test]
fn a_wrong_line_is_told_from_a_right_one() {
    let mut ids = Ids::default();
    let msg = "MSG topic:events sub_id:sub456 msg_id:xyz789 43";
    assert!(ids.check(msg, "MSG topic:events sub_id:sub456 msg_id:1f.3 43").is_ok());
    assert_eq!(ids.typed("ACK msg_id:xyz789").unwrap(), "ACK msg_id:1f.3");
    assert!(ids.check(msg, "MSG topic:events sub_id:sub456 msg_id:1f.3 attempt:1 43").is_err());
    assert!(ids.check(msg, "MSG topic:events sub_id:sub456 msg_id:1f 43").is_err());
    assert!(ids.check(msg, "MSG topic:events sub_id:sub4567 msg_id:1f.3 43").is_err());
    assert!(ids.check("OK msg_id:abc123", "OK msg_id:1f level:memory").is_err());
    assert!(ids.check("OK msg_id:abc123", "OK").is_err());
    assert!(ids.check("OK", "OK ").is_err());
}
