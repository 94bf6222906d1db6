//! Writes a frame that was decoded again, from what the decoder said of it.

use courant_wire::binary::{
    Command, Destination, Get, Properties, Publish, Reply, Settle, Subscribe, reply, request,
};

/// A command. What is accepted has one form, so these are the bytes that it came in. `bytes` are
/// them, for LINE.
pub(crate) fn command(out: &mut Vec<u8>, req: u32, command: &Command<'_>, bytes: &[u8]) {
    match command {
        Command::Connect { json } => request::connect(out, req, json),
        Command::Publish(one) => publish(out, req, one),
        Command::Subscribe(one) => {
            names(&one.destination);
            let one: &Subscribe<'_> = one;
            assert!(request::subscribe(out, req, one).is_ok());
        }
        Command::Unsubscribe { sub } => request::unsubscribe(out, req, *sub),
        Command::Credit { sub, messages, bytes } => {
            request::credit(out, req, *sub, *messages, *bytes);
        }
        Command::Settle(Settle { verdict, is_synced, is_upto, handles }) => {
            assert!(handles.len() > 0);
            let frame = request::begin_settle(out, req, *verdict, *is_synced, *is_upto);
            for handle in handles.clone() {
                request::handle(out, handle);
            }
            frame.end(out);
        }
        Command::Get(one) => {
            names(&one.destination);
            let one: &Get<'_> = one;
            assert!(request::get(out, req, one).is_ok());
        }
        Command::Line { command } => {
            assert!(command.options().req().is_none());
            request::line(out, req, bytes.get(9..).unwrap_or_default());
        }
        Command::Ping => request::ping(out, req),
        Command::Pong => request::pong(out),
        Command::Quit => request::quit(out, req),
    }
}

/// A reply. Its bytes need not be the same: a client passes over what it does not know.
pub(crate) fn reply(out: &mut Vec<u8>, reply: &Reply<'_>) {
    let raw = |properties: Properties<'_>| {
        let bytes = properties.raw().to_vec();
        move |out: &mut Vec<u8>| out.extend_from_slice(&bytes)
    };
    match reply {
        Reply::Ok { req, count, fields } => reply::ok(out, *req, *count, fields.raw()),
        Reply::Confirm(entries) => {
            let frame = reply::begin_confirm(out);
            for entry in entries.clone() {
                reply::confirmed(out, &entry);
            }
            frame.end(out);
        }
        Reply::Deliver { sub, deliveries } => {
            let frame = reply::begin_deliver(out, *sub);
            for one in deliveries.clone() {
                match one.more {
                    None => reply::delivery(out, &one.head, one.payload),
                    Some(more) => {
                        let names = (more.exchange, more.key);
                        let said = raw(more.properties);
                        reply::delivery_more(out, &one.head, names, said, one.payload);
                    }
                }
            }
            frame.end(out);
        }
        Reply::Live { sub, key, properties, payload } => {
            assert!(properties.iter().count() <= properties.raw().len() / 5);
            if key.is_empty() && properties.is_empty() {
                reply::live(out, *sub, payload);
            } else {
                reply::live_more(out, *sub, key, raw(*properties), payload);
            }
        }
        Reply::Ping => reply::ping(out),
        Reply::Pong { req } => reply::pong(out, *req),
        Reply::Cancel { sub, reason } => reply::cancel(out, *sub, reason),
        Reply::Return { returned, properties, payload } => {
            reply::returned(out, returned, raw(*properties), payload);
        }
        Reply::Blocked { reason } => reply::blocked(out, reason),
        Reply::Unblocked => reply::unblocked(out),
        Reply::Item { req, fields } => reply::item(out, *req, fields.raw()),
        Reply::Refused(refused) => reply::refused(out, refused),
        Reply::Unknown { .. } => {}
    }
}

fn publish(out: &mut Vec<u8>, req: u32, Publish { head, messages }: &Publish<'_>) {
    names(&head.destination);
    let Ok(frame) = request::begin_publish(out, req, head) else { panic!("{head:?}") };
    let said = messages.len();
    assert_eq!(messages.clone().count(), said);
    for one in messages.clone() {
        if head.has_properties {
            let properties = |out: &mut Vec<u8>| {
                for property in one.properties.iter() {
                    property.write(out);
                }
            };
            assert!(request::message_with(out, properties, one.payload).is_ok());
        } else {
            request::message(out, one.payload);
        }
    }
    frame.end(out);
}

fn names(destination: &Destination<'_>) {
    let name = destination.name();
    assert!(name.is_err() || name.map(str::as_bytes) == Ok(destination.raw_name));
}
