//! The fields of a body: taken from its front, or appended.

use crate::id::{Handle, MessageId};

/// Bytes of a handle.
pub(super) const HANDLE_BYTES: usize = 18;

/// What is left of a body. Each method takes a field off its front; `None` if it ends earlier, and
/// then nothing is to be taken from it any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Body<'a> {
    rest: &'a [u8],
}

impl<'a> Body<'a> {
    #[inline]
    pub(super) fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    #[inline]
    pub(super) fn is_empty(self) -> bool {
        self.rest.is_empty()
    }

    /// All that is left.
    #[inline]
    pub(super) fn rest(self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (array, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(array)
    }

    #[inline]
    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(|bytes: &[u8; 1]| u8::from_be_bytes(*bytes))
    }

    #[inline]
    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(|bytes| u16::from_be_bytes(*bytes))
    }

    #[inline]
    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(|bytes| u32::from_be_bytes(*bytes))
    }

    #[inline]
    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(|bytes| u64::from_be_bytes(*bytes))
    }

    #[inline]
    pub(super) fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(bytes)
    }

    #[inline]
    pub(super) fn str8(&mut self) -> Option<&'a [u8]> {
        let length = self.u8()?;
        self.bytes(usize::from(length))
    }

    #[inline]
    pub(super) fn str16(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.bytes(usize::from(length))
    }

    #[inline]
    pub(super) fn str32(&mut self) -> Option<&'a [u8]> {
        let length = self.u32()?;
        self.bytes(usize::try_from(length).ok()?)
    }

    #[inline]
    pub(super) fn id(&mut self) -> Option<MessageId> {
        Some(MessageId { shard: self.u16()?, seq: self.u64()? })
    }
}

/// A handle from its bytes; a lease of 0 is none.
#[inline]
pub(super) fn handle(bytes: &[u8; HANDLE_BYTES]) -> Handle {
    let mut fields = Body::new(bytes);
    // There are as many bytes as are taken.
    let shard = fields.u16().unwrap_or_default();
    let seq = fields.u64().unwrap_or_default();
    let lease = fields.u64().unwrap_or_default();
    Handle { id: MessageId { shard, seq }, lease: (lease != 0).then_some(lease) }
}

/// The bytes of a handle.
#[inline]
pub(super) fn handle_bytes(handle: Handle) -> [u8; HANDLE_BYTES] {
    let mut bytes = [0; HANDLE_BYTES];
    bytes[..2].copy_from_slice(&handle.id.shard.to_be_bytes());
    bytes[2..10].copy_from_slice(&handle.id.seq.to_be_bytes());
    bytes[10..].copy_from_slice(&handle.lease.unwrap_or_default().to_be_bytes());
    bytes
}

/// A length as it is written. What is longer than any limit allows is cut off by nobody here: the
/// limits are checked before.
#[inline]
pub(super) fn length32(bytes: usize) -> u32 {
    debug_assert!(u32::try_from(bytes).is_ok(), "{bytes} bytes are beyond every limit");
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// Appends bytes of at most 255, the rest cut off. Names and keys have no more.
#[inline]
pub(super) fn push_str8(out: &mut Vec<u8>, bytes: &[u8]) {
    debug_assert!(bytes.len() <= 255, "a name or key of {} bytes", bytes.len());
    let length = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
    out.push(length);
    out.extend_from_slice(bytes.get(..usize::from(length)).unwrap_or_default());
}

/// The same with a length of two bytes, for at most 65,535.
pub(super) fn push_str16(out: &mut Vec<u8>, bytes: &[u8]) {
    debug_assert!(u16::try_from(bytes.len()).is_ok(), "text of {} bytes", bytes.len());
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes.get(..usize::from(length)).unwrap_or_default());
}

/// Appends what `write` appends, with its length before it.
pub(super) fn push_str32(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    write(out);
    let length = length32(out.len().saturating_sub(at + 4));
    if let Some(place) = out.get_mut(at..at + 4) {
        place.copy_from_slice(&length.to_be_bytes());
    }
}
