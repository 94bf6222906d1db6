//! The transcript of the specification, decoded literally, from both sides.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use courant_wire::text::{Command, Decoded, DecodedReply, Login, Reply, decode, decode_reply};
use courant_wire::{Limits, MessageId};

const CLIENT: &str = r#"CONNECT {"version":"1.0","client_id":"client123"}
DECLARE queue:orders
PUB queue:orders 35
{"order_id":"12345","amount":99.99}
DECLARE topic:events
SUB topic:events sub_id:sub456
ACK msg_id:xyz789
"#;

const SERVER: &str = r#"OK
OK
OK msg_id:abc123
OK
OK
MSG topic:events sub_id:sub456 msg_id:xyz789 43
{"event":"order_placed","order_id":"12345"}
OK
"#;

fn commands(input: &[u8]) -> Vec<Command<'_>> {
    let mut rest = input;
    let mut commands = Vec::new();
    while !rest.is_empty() {
        let Decoded::Command { command, consumed } = decode(rest, &Limits::DEFAULT) else {
            panic!("{:?}", decode(rest, &Limits::DEFAULT));
        };
        commands.push(command);
        rest = &rest[consumed..];
    }
    commands
}

fn check_commands(input: &[u8]) {
    let [
        Command::Connect { json, options },
        Command::Declare { destination: orders, .. },
        Command::Publish(publish),
        Command::Declare { destination: events, .. },
        Command::Subscribe { destination, options: subscribe },
        Command::Ack(settle),
    ] = commands(input)[..]
    else {
        panic!("{:?}", commands(input));
    };
    let login = Login::parse(json).unwrap();
    assert_eq!(login.version.as_deref(), Some("1.0"));
    assert_eq!(login.client_id.as_deref(), Some("client123"));
    assert!(login.verbose && options.is_empty());
    assert_eq!(orders.name(&mut Vec::new()), Ok("orders"));
    assert_eq!(publish.destination, orders);
    assert!(publish.options.is_empty());
    assert_eq!(publish.body, br#"{"order_id":"12345","amount":99.99}"#);
    assert_eq!(destination, events);
    assert_eq!(subscribe.get(courant_wire::text::Key::SubId).unwrap().raw(), b"sub456");
    let handles: Vec<_> = settle.handles().collect();
    assert_eq!(handles.len(), 1);
    assert_eq!(handles[0].to_string(), "xyz789");
    assert_eq!(handles[0].lease, None);
}

#[test]
fn the_client_side_with_both_line_ends() {
    check_commands(CLIENT.as_bytes());
    check_commands(CLIENT.replace('\n', "\r\n").as_bytes());
}

#[test]
fn the_server_side() {
    let mut rest = SERVER.as_bytes();
    let mut replies = Vec::new();
    while !rest.is_empty() {
        let DecodedReply::Reply { reply, consumed } = decode_reply(rest, &Limits::DEFAULT) else {
            panic!("{:?}", decode_reply(rest, &Limits::DEFAULT));
        };
        replies.push(reply);
        rest = &rest[consumed..];
    }
    let [
        Reply::Ok { .. },
        Reply::Ok { .. },
        Reply::Ok { fields: published },
        Reply::Ok { .. },
        Reply::Ok { .. },
        Reply::Msg { destination, fields, body },
        Reply::Ok { .. },
    ] = replies[..]
    else {
        panic!("{replies:?}");
    };
    assert_eq!(published.msg_id(), MessageId::parse(b"abc123").ok());
    assert_eq!(destination.name(&mut Vec::new()), Ok("events"));
    assert_eq!(fields.get("sub_id").unwrap().raw(), b"sub456");
    assert_eq!(fields.handle().unwrap().to_string(), "xyz789");
    assert_eq!(body, br#"{"event":"order_placed","order_id":"12345"}"#);
}
