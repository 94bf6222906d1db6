//! The frame: a number, the length of the body, the body.

use super::body::{Body, length32};

/// Bytes before the body: its number and its length.
pub const HEAD_BYTES: usize = 5;

/// What the beginning of some input is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken<'a> {
    /// A whole frame, which ends at `end`.
    Whole { number: u8, body: &'a [u8], end: usize },
    /// `wanted` bytes are needed in all.
    Partial { wanted: usize },
    /// The length is above the limit.
    TooLarge { bytes: u32 },
}

/// Takes the frame at the beginning of `input`. Its length is believed after it was compared with
/// the limit.
#[inline]
pub(super) fn take(input: &[u8], bytes_max: usize) -> Taken<'_> {
    let mut rest = Body::new(input);
    let Some((number, bytes)) = rest.u8().and_then(|number| Some((number, rest.u32()?))) else {
        return Taken::Partial { wanted: HEAD_BYTES };
    };
    let length = match usize::try_from(bytes) {
        Ok(length) if length <= bytes_max => length,
        _ => return Taken::TooLarge { bytes },
    };
    let end = HEAD_BYTES + length;
    match rest.bytes(length) {
        Some(body) => Taken::Whole { number, body, end },
        None => Taken::Partial { wanted: end },
    }
}

/// Appends the head of a frame whose length is known.
#[inline]
pub(super) fn head(out: &mut Vec<u8>, number: u8, body_bytes: usize) {
    let mut head = [number; HEAD_BYTES];
    head[1..].copy_from_slice(&length32(body_bytes).to_be_bytes());
    out.extend_from_slice(&head);
}

/// A frame at the end of a buffer that can still grow. It is whole after [`OpenFrame::end`]; until
/// then nothing else is appended to the buffer, and nothing is taken from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a frame is whole only after its end"]
pub struct OpenFrame {
    start: usize,
}

impl OpenFrame {
    #[inline]
    pub(super) fn begin(out: &mut Vec<u8>, number: u8) -> Self {
        let start = out.len();
        head(out, number, 0);
        Self { start }
    }

    /// Bytes of its body so far. Whoever appends keeps them within the limit.
    #[inline]
    pub fn body_bytes(self, out: &[u8]) -> usize {
        out.len().saturating_sub(self.start + HEAD_BYTES)
    }

    /// Ends it: writes its length.
    #[inline]
    pub fn end(self, out: &mut [u8]) {
        let length = length32(self.body_bytes(out));
        if let Some(place) = out.get_mut(self.start + 1..self.start + HEAD_BYTES) {
            place.copy_from_slice(&length.to_be_bytes());
        }
    }

    /// Takes it back, with all that was appended to it.
    pub fn discard(self, out: &mut Vec<u8>) {
        out.truncate(self.start);
    }
}
