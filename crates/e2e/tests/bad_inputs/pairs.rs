//! Abuses that need two connections: what one holds, another takes for its own, or pulls away.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use courant_e2e::client::{Client, ClientError, Incoming, Message, field};
use rustix::net::sockopt::set_socket_linger;

use crate::{ANSWER_WITHIN, Timed};

/// Each is judged alone; all run beside the neighbour of this folder.
pub(crate) const PAIRS: &[(&str, Timed)] = &[
    ("a queue that is another's", exclusive),
    ("a queue that was another's", exclusive_inherited),
    ("the end of another's subscription", unsubscribe_another),
    ("credit for another's subscription", credit_another),
    ("settling all that another holds", ack_up_to_another),
    ("rejecting what another holds", reject_another),
    ("two sessions by one name", same_client),
    ("two subscriptions by one name", same_sub_id),
    ("a queue deleted under its consumer", deleted_under),
    ("a queue made again under an old handle", made_again),
    ("a subscriber removed under its session", subscriber_removed),
    ("a topic deleted under its subscribers", topic_deleted),
    ("a queue purged under its consumer", purged_under),
    ("a queue deleted by two", deleted_twice),
    ("a queue declared by two who differ", declared_twice),
    ("a queue that comes and goes under a publisher", deleted_under_publisher),
    ("bindings made and ended by two", bind_storm),
    ("a consumer that vanishes again and again", vanishing),
    ("a thousand connections that say nothing", thousand_silent),
    ("a thousand connections that are reset", thousand_resets),
    ("TLS where there is none", tls_hello),
    ("half a TLS hello, and the end", half_hello),
];

fn refused(client: &mut Client, command: &str, number: u32) -> Result<()> {
    let refused = client.refused(command)?;
    ensure!(refused.number == number, "{command}: expected {number}, and {refused} came");
    Ok(())
}

/// What is said of something that may have come to be so already.
fn either(client: &mut Client, command: &str, numbers: &[u32]) -> Result<bool> {
    match client.line(command) {
        Ok(_) => Ok(true),
        Err(ClientError::Refused(refused)) if numbers.contains(&refused.number) => Ok(false),
        other => bail!("{command}: {other:?}"),
    }
}

fn handle(message: &Message) -> Result<String> {
    Ok(message.handle.context("a handle")?.to_string())
}

fn two(address: SocketAddr) -> Result<(Client, Client)> {
    Ok((Client::connect(address)?, Client::connect(address)?))
}

/// Subscribes to a new queue with so many messages, and takes them; the handles.
fn hold(client: &mut Client, queue: &str, count: usize) -> Result<Vec<String>> {
    client.line(&format!("DECLARE queue:{queue} durable:no"))?;
    client.line(&format!("SUB queue:{queue} sub_id:{queue} credit:{count}"))?;
    let mut handles = Vec::new();
    for number in 0..count {
        client.publish(&format!("queue:{queue}"), number.to_string().as_bytes())?;
        handles.push(handle(&client.message()?)?);
    }
    Ok(handles)
}

fn exclusive(address: SocketAddr) -> Result<()> {
    let (mut owner, mut thief) = two(address)?;
    owner.line("DECLARE queue:pair.mine exclusive:yes durable:no")?;
    owner.publish("queue:pair.mine", b"mine")?;
    thief.line("DECLARE exchange:pair.x")?;
    for command in [
        "SUB queue:pair.mine",
        "GET queue:pair.mine",
        "PURGE queue:pair.mine",
        "DELETE queue:pair.mine",
        "DECLARE queue:pair.mine passive:yes",
        "DECLARE queue:pair.mine exclusive:yes durable:no",
        "BIND exchange:pair.x queue:pair.mine",
    ] {
        refused(&mut thief, command, 211)?;
    }
    ensure!(owner.drain("pair.mine")?.len() == 1, "the owner's message is there");
    Ok(())
}

fn exclusive_inherited(address: SocketAddr) -> Result<()> {
    let (mut owner, mut heir) = two(address)?;
    let declare = "DECLARE queue:pair.heir exclusive:yes durable:no";
    owner.line(declare)?;
    owner.publish("queue:pair.heir", b"gone with its owner")?;
    refused(&mut heir, declare, 211)?;
    owner.line("QUIT")?;
    for _ in 0..1000 {
        if either(&mut heir, declare, &[211])? {
            return refused(&mut heir, "GET queue:pair.heir", 402);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    bail!("the queue stays locked")
}

fn unsubscribe_another(address: SocketAddr) -> Result<()> {
    let (mut owner, mut thief) = two(address)?;
    hold(&mut owner, "pair.unsub", 1)?;
    refused(&mut thief, "UNSUB sub_id:pair.unsub", 500)?;
    owner.line("CREDIT sub_id:pair.unsub n:1")?;
    owner.publish("queue:pair.unsub", b"still")?;
    ensure!(owner.message()?.body == b"still", "the subscription goes on");
    Ok(())
}

fn credit_another(address: SocketAddr) -> Result<()> {
    let (mut owner, mut thief) = two(address)?;
    hold(&mut owner, "pair.credit", 1)?;
    owner.publish("queue:pair.credit", b"waits")?;
    refused(&mut thief, "CREDIT sub_id:pair.credit n:100", 500)?;
    thief.line("CREDIT n:100")?;
    match owner.incoming(Duration::from_millis(200)) {
        Err(ClientError::Late(..)) => Ok(()),
        other => bail!("no credit was given, and {other:?} came"),
    }
}

fn ack_up_to_another(address: SocketAddr) -> Result<()> {
    let (mut owner, mut thief) = two(address)?;
    let handles = hold(&mut owner, "pair.upto", 5)?;
    let last = handles.last().context("a handle")?;
    refused(&mut thief, &format!("ACK upto:{last}"), 502)?;
    refused(&mut thief, &format!("ACK msg_id:{last} confirm:synced"), 502)?;
    owner.line(&format!("ACK upto:{last}"))?;
    refused(&mut owner, &format!("ACK upto:{last}"), 502)
}

fn reject_another(address: SocketAddr) -> Result<()> {
    let (mut owner, mut thief) = two(address)?;
    let handles = hold(&mut owner, "pair.reject", 3)?;
    let all: Vec<_> = handles.iter().map(|handle| format!("msg_id:{handle}")).collect();
    let all = all.join(" ");
    for verb in ["REJECT", "NACK", "EXTEND"] {
        refused(&mut thief, &format!("{verb} {all}"), 502)?;
    }
    refused(&mut thief, &format!("NACK {all} requeue:no"), 502)?;
    owner.line(&format!("ACK {all}")).map(|_| ()).context("the owner's ack")
}

/// A client's name is its own affair: nobody is thrown out by it.
fn same_client(address: SocketAddr) -> Result<()> {
    let mut both = Vec::new();
    for _ in 0..2 {
        let mut client = Client::raw(address)?;
        client.line("CONNECT {\"client_id\":\"twin\"}")?;
        both.push(client);
    }
    both[0].line("DECLARE queue:pair.twin durable:no")?;
    both[0].line("SUB queue:pair.twin sub_id:s credit:1")?;
    both[1].publish("queue:pair.twin", b"one")?;
    let held = handle(&both[0].message()?)?;
    refused(&mut both[1], &format!("ACK msg_id:{held}"), 502)?;
    both[0].line(&format!("ACK msg_id:{held}"))?;
    Ok(())
}

fn same_sub_id(address: SocketAddr) -> Result<()> {
    let (mut one, mut other) = two(address)?;
    for (client, queue) in [(&mut one, "pair.s1"), (&mut other, "pair.s2")] {
        client.line(&format!("DECLARE queue:{queue} durable:no"))?;
        client.line(&format!("SUB queue:{queue} sub_id:same"))?;
    }
    other.line("UNSUB sub_id:same")?;
    refused(&mut other, "UNSUB sub_id:same", 500)?;
    other.publish("queue:pair.s1", b"one")?;
    ensure!(one.message()?.body == b"one", "the other subscription goes on");
    Ok(())
}

fn deleted_under(address: SocketAddr) -> Result<()> {
    let (mut owner, mut other) = two(address)?;
    let handles = hold(&mut owner, "pair.gone", 2)?;
    refused(&mut other, "DELETE queue:pair.gone if_unused:yes", 207)?;
    refused(&mut other, "DELETE queue:pair.gone if_empty:yes", 206)?;
    other.line("DELETE queue:pair.gone")?;
    let notice = owner.notice()?;
    ensure!(notice.verb == "CANCEL", "{notice:?}");
    ensure!(notice.field("reason") == Some("queue_deleted"), "{notice:?}");
    refused(&mut owner, &format!("ACK msg_id:{}", handles[0]), 502)?;
    refused(&mut owner, "PUB queue:pair.gone 1\nx", 201)?;
    refused(&mut owner, "UNSUB sub_id:pair.gone", 500)
}

fn made_again(address: SocketAddr) -> Result<()> {
    let (mut owner, mut other) = two(address)?;
    let handles = hold(&mut owner, "pair.again", 1)?;
    other.line("DELETE queue:pair.again")?;
    ensure!(owner.notice()?.verb == "CANCEL", "the first one's end");
    other.line("DECLARE queue:pair.again durable:no")?;
    other.publish("queue:pair.again", b"new")?;
    refused(&mut owner, &format!("ACK msg_id:{}", handles[0]), 502)?;
    let drained = other.drain("pair.again")?;
    ensure!(drained.len() == 1 && drained[0].body == b"new", "{drained:?}");
    Ok(())
}

fn subscriber_removed(address: SocketAddr) -> Result<()> {
    let (mut owner, mut other) = two(address)?;
    owner.line("DECLARE topic:pair.topic")?;
    owner.line("SUB topic:pair.topic name:shared sub_id:s")?;
    other.line("DELETE topic:pair.topic name:shared")?;
    ensure!(owner.notice()?.field("sub_id") == Some("s"), "the end of s");
    refused(&mut other, "DELETE topic:pair.topic name:shared", 215)?;
    owner.line("SUB topic:pair.topic name:shared sub_id:s")?;
    other.publish("topic:pair.topic", b"again")?;
    ensure!(owner.message()?.body == b"again", "the new subscriber gets it");
    owner.line("DELETE topic:pair.topic name:shared")?;
    Ok(())
}

fn topic_deleted(address: SocketAddr) -> Result<()> {
    let (mut owner, mut other) = two(address)?;
    owner.line("DECLARE topic:pair.ends")?;
    owner.line("SUB topic:pair.ends sub_id:session")?;
    owner.line("SUB topic:pair.ends sub_id:live mode:live")?;
    other.line("DELETE topic:pair.ends")?;
    refused(&mut other, "PUB topic:pair.ends 1\nx", 202)?;
    // Whatever became of its subscriptions, the session goes on and may begin anew.
    owner.line("DECLARE topic:pair.ends")?;
    owner.line("SUB topic:pair.ends sub_id:new")?;
    other.publish("topic:pair.ends", b"new")?;
    let message = owner.message()?;
    ensure!(message.sub_id.as_deref() == Some("new") && message.body == b"new", "{message:?}");
    owner.line("DELETE topic:pair.ends")?;
    Ok(())
}

fn purged_under(address: SocketAddr) -> Result<()> {
    let (mut owner, mut other) = two(address)?;
    let handles = hold(&mut owner, "pair.purged", 2)?;
    for _ in 0..50 {
        owner.publish("queue:pair.purged", b"ready")?;
    }
    let purged = other.line("PURGE queue:pair.purged")?;
    ensure!(field(&purged, "messages") == Some("50"), "{purged:?}");
    // What is open stays open.
    owner.line(&format!("ACK msg_id:{} msg_id:{}", handles[0], handles[1]))?;
    refused(&mut other, "GET queue:pair.purged", 402)
}

fn deleted_twice(address: SocketAddr) -> Result<()> {
    let (mut one, mut other) = two(address)?;
    for _ in 0..50 {
        one.line("DECLARE queue:pair.twice")?;
        one.send(b"DELETE queue:pair.twice\n")?;
        either(&mut other, "DELETE queue:pair.twice", &[201])?;
        match one.reply()? {
            Incoming::Ok(_) => {}
            Incoming::Err(refused) if refused.number == 201 => {}
            reply => bail!("{reply:?}"),
        }
        refused(&mut one, "DECLARE queue:pair.twice passive:yes", 201)?;
    }
    Ok(())
}

fn declared_twice(address: SocketAddr) -> Result<()> {
    let (mut one, mut other) = two(address)?;
    for number in 0..50 {
        let name = format!("pair.both{number}");
        one.send(format!("DECLARE queue:{name} max_length:1\n").as_bytes())?;
        let second = either(&mut other, &format!("DECLARE queue:{name} max_length:2"), &[205])?;
        let first = match one.reply()? {
            Incoming::Ok(_) => true,
            Incoming::Err(refused) if refused.number == 205 => false,
            reply => bail!("{reply:?}"),
        };
        ensure!(first != second, "{name}: one of the two made it, {first} {second}");
        one.line(&format!("DELETE queue:{name}"))?;
    }
    Ok(())
}

/// Each publish is confirmed or says that there is no such queue, in order.
fn deleted_under_publisher(address: SocketAddr) -> Result<()> {
    let (mut publisher, mut other) = two(address)?;
    for _ in 0..20 {
        other.line("DECLARE queue:pair.flicker")?;
        publisher.send(&b"PUB queue:pair.flicker 1\nx\n".repeat(100))?;
        other.line("DELETE queue:pair.flicker")?;
        for _ in 0..100 {
            match publisher.reply()? {
                Incoming::Ok(_) => {}
                Incoming::Err(refused) if refused.number == 201 => {}
                reply => bail!("{reply:?}"),
            }
        }
    }
    Ok(())
}

fn bind_storm(address: SocketAddr) -> Result<()> {
    let (mut one, mut other) = two(address)?;
    one.lines("DECLARE exchange:pair.storm kind:topic\nDECLARE queue:pair.storm")?;
    for number in 0..200 {
        let key = number % 3;
        either(&mut one, &format!("BIND exchange:pair.storm queue:pair.storm key:{key}.#"), &[])?;
        let unbind = format!("UNBIND exchange:pair.storm queue:pair.storm key:{key}.#");
        either(&mut other, &unbind, &[209])?;
        if number % 50 == 0 {
            one.line("DELETE queue:pair.storm")?;
            one.line("DECLARE queue:pair.storm")?;
        }
    }
    one.lines("DELETE exchange:pair.storm\nDELETE queue:pair.storm")?;
    Ok(())
}

/// What it held comes back each time, and nothing twice at once.
fn vanishing(address: SocketAddr) -> Result<()> {
    let mut witness = Client::connect(address)?;
    witness.line("DECLARE queue:pair.back")?;
    for number in 0..10 {
        witness.publish("queue:pair.back", format!("{number}").as_bytes())?;
    }
    for _ in 0..30 {
        let mut client = Client::connect(address)?;
        client.line("SUB queue:pair.back sub_id:s credit:10")?;
        client.message()?;
    }
    let mut seen = BTreeSet::new();
    for _ in 0..1000 {
        for message in witness.drain("pair.back")? {
            ensure!(seen.insert(message.body.clone()), "twice: {message:?}");
        }
        if seen.len() == 10 {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    bail!("only {} of ten came back", seen.len())
}

/// Where the thousands come from, so that they use up nobody else's room.
const CROWD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

/// As many as one source may have before they log in: one more is told at once, and others who
/// come from elsewhere notice nothing.
fn thousand_silent(address: SocketAddr) -> Result<()> {
    let mut owner = Client::connect(address)?;
    let silent: Vec<_> = (0..1000).map(|_| Client::raw_from(CROWD, address)).collect();
    let mut last = Client::raw_from(CROWD, address)?;
    let told = last.rest(ANSWER_WITHIN)?;
    ensure!(told.starts_with(b"ERR 610 "), "{:?}", String::from_utf8_lossy(&told));
    hold(&mut owner, "pair.silent", 3)?;
    Client::connect(address)?.line("PUB queue:pair.silent 1\nx")?;
    ensure!(silent.iter().all(Result::is_ok), "they were let in");
    Ok(())
}

fn thousand_resets(address: SocketAddr) -> Result<()> {
    let mut owner = Client::connect(address)?;
    for _ in 0..10 {
        let sockets: Result<Vec<_>, _> = (0..100).map(|_| TcpStream::connect(address)).collect();
        for socket in sockets? {
            // No time to linger: the other side sees a reset.
            set_socket_linger(&socket, Some(Duration::ZERO))?;
        }
        owner.line("DECLARE queue:pair.resets durable:no")?;
    }
    Ok(())
}

/// The first bytes of a handshake: a record that announces 512 bytes, and the hello in it.
const HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";

fn tls_hello(address: SocketAddr) -> Result<()> {
    let mut client = Client::raw(address)?;
    client.send(HELLO)?;
    let told = client.rest(ANSWER_WITHIN)?;
    ensure!(told.starts_with(b"ERR 113 not-supported "), "{:?}", String::from_utf8_lossy(&told));
    Ok(())
}

fn half_hello(address: SocketAddr) -> Result<()> {
    for length in 1..HELLO.len() {
        let mut client = Client::raw(address)?;
        client.send(&HELLO[..length])?;
        client.end_output()?;
        client.rest(ANSWER_WITHIN)?;
    }
    Ok(())
}
