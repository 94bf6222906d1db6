//! Lines and bodies: where one ends, without looking at what it says.
//!
//! A line ends at `\n`; one `\r` before it belongs to the line end. A body has the size its line
//! says and is followed by `\n` or `\r\n`. Both answers depend on the bytes alone, not on how they
//! were cut into reads.

/// The first line of some input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TakenLine<'a> {
    /// A line without its line end, and the bytes it took with it.
    Whole { line: &'a [u8], end: usize },
    /// No line end yet.
    Partial,
    /// No line end within the limit.
    TooLong,
}

/// Takes the first line, of at most `bytes_max` bytes.
#[inline]
pub(crate) fn take_line(input: &[u8], bytes_max: usize) -> TakenLine<'_> {
    // The longest line there can be, with its "\r\n".
    let window = bytes_max.saturating_add(2);
    let seen = input.get(..window).unwrap_or(input);
    let Some(at) = memchr::memchr(b'\n', seen) else {
        return if seen.len() == window { TakenLine::TooLong } else { TakenLine::Partial };
    };
    let line = seen.get(..at).unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.len() > bytes_max {
        return TakenLine::TooLong;
    }
    TakenLine::Whole { line, end: at + 1 }
}

/// A body and its line end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TakenBody<'a> {
    /// The body, and where the input goes on.
    Whole { body: &'a [u8], end: usize },
    /// So many bytes are needed in all.
    Partial { wanted: usize },
    /// Something else than a line end follows the body.
    Unterminated,
}

/// Takes the body of `size` bytes that begins at `start`.
#[inline]
pub(crate) fn take_body(input: &[u8], start: usize, size: usize) -> TakenBody<'_> {
    let end = start.saturating_add(size);
    let body = input.get(start..end);
    match (body, input.get(end), input.get(end.saturating_add(1))) {
        (Some(body), Some(b'\n'), _) => TakenBody::Whole { body, end: end + 1 },
        (Some(body), Some(b'\r'), Some(b'\n')) => TakenBody::Whole { body, end: end + 2 },
        (Some(_), Some(b'\r'), None) => TakenBody::Partial { wanted: end + 2 },
        (Some(_), Some(_), _) => TakenBody::Unterminated,
        _ => TakenBody::Partial { wanted: end.saturating_add(1) },
    }
}
