//! What a client sends: the common commands, appended. For any other, begin a [`Line`] with the
//! verb, add the destination and the options, and end it; a PUB ends with its body.

use super::destination::DestinationKind;
use super::line::Line;
use super::login::Login;
use crate::id::Handle;

/// `CONNECT {…}`
pub fn connect(out: &mut Vec<u8>, login: &Login) {
    // Strings and one bool: there is nothing that JSON could not hold.
    let json = serde_json::to_vec(login).unwrap_or_else(|_| b"{}".to_vec());
    out.extend_from_slice(b"CONNECT ");
    Line::new(out, &json).end();
}

/// `PUB destination`, open for options; ends with the body.
pub fn publish_line<'o>(out: &'o mut Vec<u8>, kind: DestinationKind, name: &[u8]) -> Line<'o> {
    Line::new(out, b"PUB").destination(kind, name)
}

/// `PUB destination size`, and the body; without options.
pub fn publish(out: &mut Vec<u8>, kind: DestinationKind, name: &[u8], body: &[u8]) {
    publish_line(out, kind, name).end_with_body(body);
}

/// `SUB destination`, open for options.
pub fn subscribe_line<'o>(out: &'o mut Vec<u8>, kind: DestinationKind, name: &[u8]) -> Line<'o> {
    Line::new(out, b"SUB").destination(kind, name)
}

/// `UNSUB sub_id:S`
pub fn unsubscribe(out: &mut Vec<u8>, sub_id: &[u8]) {
    Line::new(out, b"UNSUB").token("sub_id", sub_id).end();
}

/// `DECLARE destination`, open for options.
pub fn declare_line<'o>(out: &'o mut Vec<u8>, kind: DestinationKind, name: &[u8]) -> Line<'o> {
    Line::new(out, b"DECLARE").destination(kind, name)
}

/// `DELETE destination`, open for options.
pub fn delete_line<'o>(out: &'o mut Vec<u8>, kind: DestinationKind, name: &[u8]) -> Line<'o> {
    Line::new(out, b"DELETE").destination(kind, name)
}

/// `GET destination`, open for options.
pub fn get_line<'o>(out: &'o mut Vec<u8>, kind: DestinationKind, name: &[u8]) -> Line<'o> {
    Line::new(out, b"GET").destination(kind, name)
}

/// `ACK msg_id:H`
#[inline]
pub fn ack(out: &mut Vec<u8>, handle: Handle) {
    Line::new(out, b"ACK").handle("msg_id", handle).end();
}

/// `NACK msg_id:H requeue:yes`
pub fn nack_requeue(out: &mut Vec<u8>, handle: Handle) {
    Line::new(out, b"NACK").handle("msg_id", handle).yes_no("requeue", true).end();
}

/// `REJECT msg_id:H reason:R`
pub fn reject(out: &mut Vec<u8>, handle: Handle, reason: &[u8]) {
    Line::new(out, b"REJECT").handle("msg_id", handle).text("reason", reason).end();
}

/// `EXTEND msg_id:H ms:N`
pub fn extend(out: &mut Vec<u8>, handle: Handle, ms: u64) {
    Line::new(out, b"EXTEND").handle("msg_id", handle).number("ms", ms).end();
}

/// `CREDIT sub_id:S n:N`
pub fn credit(out: &mut Vec<u8>, sub_id: &[u8], n: u32) {
    Line::new(out, b"CREDIT").token("sub_id", sub_id).number("n", u64::from(n)).end();
}

/// `PING`
pub fn ping(out: &mut Vec<u8>) {
    out.extend_from_slice(b"PING\n");
}

/// `PONG`, the answer to the server's PING.
pub fn pong(out: &mut Vec<u8>) {
    out.extend_from_slice(b"PONG\n");
}

/// `QUIT`
pub fn quit(out: &mut Vec<u8>) {
    out.extend_from_slice(b"QUIT\n");
}
