//! Bytes to commands.
//!
//! Two shortcuts take the lines that a busy client sends (`PUB dest size`, `ACK msg_id:H`);
//! whatever they do not know they leave to the general way, which gives the same answer for the
//! lines that they do know. The general way: take the line; find the verb; for PUB read the size,
//! because everything after it depends on where the body ends; then destinations, then options
//! against the table, then what excludes what. Only a wrong line length, size, or end of a body
//! loses the framing.

use super::command::{Command, Decoded, Listed, Publish, Settle};
use super::destination::{Destination, DestinationKind};
use super::error::WireError;
use super::frame::{TakenBody, TakenLine, take_body, take_line};
use super::option::Key;
use super::options::{Options, find_req, next_word, split_at_colon, trim_spaces};
use super::scan::{line_end, plain_word_end, short_number};
use super::verb::Verb;
use crate::decimal::{self, DecimalError};
use crate::escape::is_well_formed;
use crate::excerpt::Excerpt;
use crate::id::Handle;
use crate::limits::Limits;

/// Decodes the command at the beginning of `input`. Borrows, allocates nothing, reads no further
/// than one command. Empty input is [`Decoded::Incomplete`].
#[inline]
pub fn decode<'a>(input: &'a [u8], limits: &Limits) -> Decoded<'a> {
    if let Some(decoded) = fast_publish(input, limits) {
        return decoded;
    }
    if let Some(decoded) = fast_ack(input, limits) {
        return decoded;
    }
    decode_line(input, limits)
}

/// `PUB dest size` and `PUB dest req:T size`: single spaces, no other option, no escapes.
#[inline]
fn fast_publish<'a>(input: &'a [u8], limits: &Limits) -> Option<Decoded<'a>> {
    let seen = input.get(..limits.line_bytes_max).unwrap_or(input);
    let words = seen.strip_prefix(b"PUB ")?;
    let (word, after) = words.split_at_checked(plain_word_end(words)?)?;
    let destination = Destination::parse_plain(word)?;
    let (options, after) = match after {
        [b' ', b'r', ..] => fast_req(after)?,
        _ => (Options::EMPTY, after),
    };
    let digits = after.strip_prefix(b" ")?;
    let (size, used) = short_number(digits)?;
    let line_bytes = seen.len() - digits.len() + used;
    // The line end may stand beyond the longest line.
    let start = line_bytes + line_end(input.get(line_bytes..)?)?;
    if size > limits.body_bytes_max {
        return None;
    }
    match take_body(input, start, size) {
        TakenBody::Whole { body, end } => Some(Decoded::Command {
            command: Command::Publish(Publish { destination, options, body }),
            consumed: end,
        }),
        TakenBody::Partial { wanted } => Some(Decoded::Incomplete { wanted }),
        TakenBody::Unterminated => None,
    }
}

/// ` req:T` and no other option before the size.
#[inline]
fn fast_req(after: &[u8]) -> Option<(Options<'_>, &[u8])> {
    let words = after.strip_prefix(b" ")?;
    let (word, rest) = words.split_at_checked(plain_word_end(words)?)?;
    Some((Options::check_req(word)?, rest))
}

/// `ACK msg_id:H`, nothing else.
#[inline]
fn fast_ack<'a>(input: &'a [u8], limits: &Limits) -> Option<Decoded<'a>> {
    const HEAD: &[u8] = b"ACK msg_id:";
    let text = input.strip_prefix(HEAD)?;
    let (handle, used) = Handle::parse_prefix(text).ok()?;
    let line_bytes = HEAD.len() + used;
    let line_end = line_end(text.get(used..)?)?;
    if line_bytes > limits.line_bytes_max {
        return None;
    }
    let command = Command::Ack(Settle { single: Some(handle), options: Options::EMPTY });
    Some(Decoded::Command { command, consumed: line_bytes + line_end })
}

fn decode_line<'a>(input: &'a [u8], limits: &Limits) -> Decoded<'a> {
    let bytes_max = limits.line_bytes_max;
    match take_line(input, bytes_max) {
        TakenLine::Whole { line, end } => decode_words(input, line, end, limits),
        TakenLine::Partial => Decoded::Incomplete { wanted: 0 },
        TakenLine::TooLong => Decoded::Refused {
            error: WireError::LineTooLong { bytes_max },
            consumed: None,
            verb: next_word(&mut input.get(..bytes_max).unwrap_or(input)).unwrap_or_default(),
            req: None,
        },
    }
}

fn decode_words<'a>(input: &'a [u8], line: &'a [u8], end: usize, limits: &Limits) -> Decoded<'a> {
    let mut rest = line;
    let Some(word) = next_word(&mut rest) else {
        return Decoded::Blank { consumed: end };
    };
    let refused = |error: WireError, consumed: usize| Decoded::Refused {
        error,
        consumed: if error.loses_framing() { None } else { Some(consumed) },
        verb: word,
        req: find_req(rest),
    };
    let Some(verb) = Verb::parse(word) else {
        return refused(WireError::UnknownVerb { verb: Excerpt::from(word) }, end);
    };
    if verb != Verb::Pub {
        return match decode_rest(verb, rest, limits) {
            Ok(command) => Decoded::Command { command, consumed: end },
            Err(error) => refused(error, end),
        };
    }
    let (head, size) = match split_size(rest, limits.body_bytes_max) {
        Ok(split) => split,
        Err(error) => return refused(error, end),
    };
    match take_body(input, end, size) {
        TakenBody::Whole { body, end } => match publish(head, body, limits) {
            Ok(publish) => Decoded::Command { command: Command::Publish(publish), consumed: end },
            Err(error) => refused(error, end),
        },
        TakenBody::Partial { wanted } => Decoded::Incomplete { wanted },
        TakenBody::Unterminated => refused(WireError::BodyUnterminated { bytes: size }, end),
    }
}

/// Takes the size, which is the last word of PUB, off its words.
fn split_size(rest: &[u8], bytes_max: usize) -> Result<(&[u8], usize), WireError> {
    let words = trim_spaces(rest);
    let at = memchr::memrchr(b' ', words).map_or(0, |space| space + 1);
    let (head, word) = words.split_at_checked(at).ok_or(WireError::MissingSize)?;
    let bytes = match decimal::parse(word) {
        Ok(bytes) => bytes,
        Err(DecimalError::TooLarge) => u64::MAX,
        Err(DecimalError::NotANumber) if word.is_empty() || word.contains(&b':') => {
            return Err(WireError::MissingSize);
        }
        Err(DecimalError::NotANumber) => {
            return Err(WireError::SizeNotNumber { word: Excerpt::from(word) });
        }
    };
    match usize::try_from(bytes) {
        Ok(size) if size <= bytes_max => Ok((head, size)),
        _ => Err(WireError::BodyTooLarge { bytes, bytes_max }),
    }
}

fn publish<'a>(head: &'a [u8], body: &'a [u8], limits: &Limits) -> Result<Publish<'a>, WireError> {
    let mut rest = head;
    let destination = take_destination(Verb::Pub, &mut rest)?;
    let options = Options::check(rest, Verb::Pub, limits)?;
    if destination.kind == DestinationKind::Queue && options.get(Key::RoutingKey).is_some() {
        let (key, other) = (Key::RoutingKey, "a queue");
        return Err(WireError::Conflict { verb: Verb::Pub, key, other });
    }
    Ok(Publish { destination, options, body })
}

/// The verb of a line that came without its end, and the words behind it.
pub(crate) fn split_verb<'a>(
    line: &'a [u8],
    limits: &Limits,
) -> Result<(Verb, &'a [u8]), WireError> {
    let bytes_max = limits.line_bytes_max;
    if line.len() > bytes_max {
        return Err(WireError::LineTooLong { bytes_max });
    }
    let mut rest = line;
    let word = next_word(&mut rest).unwrap_or_default();
    let verb = Verb::parse(word).ok_or(WireError::UnknownVerb { verb: Excerpt::from(word) })?;
    Ok((verb, rest))
}

/// Everything after the verb, for all but PUB.
pub(crate) fn decode_rest<'a>(
    verb: Verb,
    words: &'a [u8],
    limits: &Limits,
) -> Result<Command<'a>, WireError> {
    let mut rest = words;
    match verb {
        Verb::Sub | Verb::Declare | Verb::Delete | Verb::Get | Verb::Purge => {
            let destination = take_destination(verb, &mut rest)?;
            let options = Options::check(rest, verb, limits)?;
            with_destination(verb, destination, options)
        }
        Verb::Bind | Verb::Unbind => {
            let source = take_destination(verb, &mut rest)?;
            let target = take_destination(verb, &mut rest)?;
            let options = Options::check(rest, verb, limits)?;
            check_binding(verb, &options)?;
            Ok(match verb {
                Verb::Bind => Command::Bind { source, target, options },
                _ => Command::Unbind { source, target, options },
            })
        }
        Verb::List => {
            let word = next_word(&mut rest).unwrap_or_default();
            let unknown = WireError::UnknownList { word: Excerpt::from(word) };
            let what = Listed::parse(word).ok_or(unknown)?;
            let of = match what {
                Listed::Bindings | Listed::Subscriptions => {
                    take_optional_destination(verb, &mut rest)?
                }
                _ => None,
            };
            Ok(Command::List { what, of, options: Options::check(rest, verb, limits)? })
        }
        Verb::Stats => {
            let destination = take_optional_destination(verb, &mut rest)?;
            let options = Options::check(rest, verb, limits)?;
            Ok(Command::Stats { destination, options })
        }
        Verb::Connect => {
            let (options, json) = split_json(words);
            let options = Options::check(options, verb, limits).map_err(|error| match error {
                WireError::UnexpectedWord { .. } => WireError::ConnectNotJson,
                error => error,
            })?;
            Ok(Command::Connect { json, options })
        }
        _ => without_destination(verb, Options::check(rest, verb, limits)?),
    }
}

fn with_destination<'a>(
    verb: Verb,
    destination: Destination<'a>,
    options: Options<'a>,
) -> Result<Command<'a>, WireError> {
    let conflict = |key: Key, other: &'static str| match options.get(key) {
        Some(_) => Err(WireError::Conflict { verb, key, other }),
        None => Ok(()),
    };
    match verb {
        Verb::Sub => {
            if options.get(Key::Mode).is_some_and(|mode| mode.raw() == b"live") {
                conflict(Key::Name, "mode:live")?;
                conflict(Key::Ack, "mode:live")?;
                conflict(Key::Visibility, "mode:live")?;
                conflict(Key::Credit, "mode:live")?;
                conflict(Key::CreditBytes, "mode:live")?;
            }
            if destination.kind == DestinationKind::Queue {
                conflict(Key::Mode, "a queue")?;
                conflict(Key::Name, "a queue")?;
                conflict(Key::RoutingKey, "a queue")?;
            }
            Ok(Command::Subscribe { destination, options })
        }
        Verb::Declare => {
            check_subject(verb, destination, &options)?;
            Ok(Command::Declare { destination, options })
        }
        Verb::Delete => {
            check_subject(verb, destination, &options)?;
            Ok(Command::Delete { destination, options })
        }
        Verb::Purge => Ok(Command::Purge { destination, options }),
        _ => Ok(Command::Get { destination, options }),
    }
}

/// What DECLARE and DELETE may say of what: a topic with a `name:` is that subscriber, which has a
/// queue.
fn check_subject(
    verb: Verb,
    destination: Destination<'_>,
    options: &Options<'_>,
) -> Result<(), WireError> {
    use DestinationKind::{Exchange, Namespace, Queue, Topic};
    let kind = destination.kind;
    let is_queue = kind == Queue || kind == Topic && options.get(Key::Name).is_some();
    for (key, _) in options.iter() {
        let (goes, other) = match key {
            Key::Req => (true, ""),
            Key::Name => (kind == Topic, "anything but a topic"),
            Key::Kind | Key::Internal | Key::Alternate => {
                (kind == Exchange, "anything but an exchange")
            }
            Key::AutoDelete => {
                (is_queue || kind == Exchange, "anything but a queue or an exchange")
            }
            Key::Passive | Key::IfUnused => (kind != Namespace, "a namespace"),
            _ => (is_queue, "anything but a queue"),
        };
        if !goes {
            return Err(WireError::Conflict { verb, key, other });
        }
    }
    Ok(())
}

/// A binding has one kind of key: `key:`, `weight:`, or headers and how they match.
fn check_binding(verb: Verb, options: &Options<'_>) -> Result<(), WireError> {
    let is_headers = options.get(Key::Match).is_some() || options.headers().next().is_some();
    for (key, other, is_there) in [
        (Key::RoutingKey, "weight", options.get(Key::Weight).is_some()),
        (Key::RoutingKey, "match or headers", is_headers),
        (Key::Weight, "match or headers", is_headers),
    ] {
        if is_there && options.get(key).is_some() {
            return Err(WireError::Conflict { verb, key, other });
        }
    }
    Ok(())
}

fn without_destination(verb: Verb, options: Options<'_>) -> Result<Command<'_>, WireError> {
    let missing = |key: Key| WireError::MissingOption { verb, key };
    let sub_id = || options.token(Key::SubId).ok_or(missing(Key::SubId));
    let settle = || {
        let named = options.get(Key::MsgId).or_else(|| options.get(Key::Upto)).is_some();
        if named { Ok(Settle { single: None, options }) } else { Err(missing(Key::MsgId)) }
    };
    Ok(match verb {
        Verb::Unsub => Command::Unsubscribe { sub_id: sub_id()?, options },
        Verb::Credit => {
            let sub_id = options.token(Key::SubId);
            let n = options.number(Key::N).and_then(|n| u32::try_from(n).ok());
            let has_bytes = options.get(Key::Bytes).is_some();
            if sub_id.is_some() && has_bytes {
                return Err(WireError::Conflict { verb, key: Key::Bytes, other: "sub_id" });
            }
            if n.is_none() && !has_bytes {
                return Err(missing(Key::N));
            }
            Command::Credit { sub_id, n, options }
        }
        Verb::Ack => Command::Ack(settle()?),
        Verb::Nack => Command::Nack(settle()?),
        Verb::Reject => Command::Reject(settle()?),
        Verb::Extend => Command::Extend(settle()?),
        Verb::Ping => Command::Ping { options },
        Verb::Pong => Command::Pong,
        _ => Command::Quit { options },
    })
}

/// Takes the next word, which has to be a destination, off `rest`.
fn take_destination<'a>(verb: Verb, rest: &mut &'a [u8]) -> Result<Destination<'a>, WireError> {
    let word = next_word(rest).ok_or(WireError::MissingDestination { verb })?;
    let destination = match verb {
        Verb::Declare => Destination::parse_declared(word),
        _ => Destination::parse(word),
    };
    let destination = destination.ok_or(WireError::BadDestination { word: Excerpt::from(word) })?;
    if destination.raw_name.is_escaped() && !is_well_formed(destination.raw_name.raw()) {
        return Err(WireError::BadEscape { word: Excerpt::from(word) });
    }
    Ok(destination)
}

/// Takes a destination off `rest`, unless there is no word or an option comes first.
fn take_optional_destination<'a>(
    verb: Verb,
    rest: &mut &'a [u8],
) -> Result<Option<Destination<'a>>, WireError> {
    if starts_with_option(rest, verb) { Ok(None) } else { take_destination(verb, rest).map(Some) }
}

/// Whether there is no first word, or it is an option of `verb` rather than a destination.
fn starts_with_option(words: &[u8], verb: Verb) -> bool {
    let mut rest = words;
    let Some(word) = next_word(&mut rest) else { return true };
    split_at_colon(word)
        .and_then(|(name, _)| Key::parse(name))
        .is_some_and(|key| key.spec().is_for(verb))
}

/// Splits at the first word that begins with `{`; the JSON goes on to the end of the line.
fn split_json(words: &[u8]) -> (&[u8], &[u8]) {
    let words = trim_spaces(words);
    let at = if words.starts_with(b"{") {
        0
    } else {
        memchr::memmem::find(words, b" {").map_or(words.len(), |space| space + 1)
    };
    words.split_at_checked(at).unwrap_or((words, &[]))
}
