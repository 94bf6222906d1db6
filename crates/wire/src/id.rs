//! Message ids and delivery handles as text.
//!
//! An id is the 80-bit number `shard << 64 | seq` in Crockford's base32 (`0-9a-z` without `i`, `l`,
//! `o`, `u`), lower case, without leading zeros, so that ids of shard 0 are short. A lease is a
//! 64-bit number in the same digits. A handle is `<id>.<lease>`; an id alone is a handle whose
//! lease the session has to find.
//!
//! Every value has exactly one lower-case form. Upper case is read as lower case; leading zeros,
//! the letters left out, and numbers that are too large are refused.

use std::fmt;

const DIGITS: [u8; 32] = *b"0123456789abcdefghjkmnpqrstvwxyz";
const INVALID: u8 = 0xff;
const VALUES: [u8; 256] = values();
const ID_DIGITS_MAX: usize = 16;
const LEASE_DIGITS_MAX: usize = 13;

const _: () = assert!(ID_DIGITS_MAX * 5 == 80);

const fn values() -> [u8; 256] {
    let mut table = [INVALID; 256];
    let mut rest: &mut [u8] = &mut table;
    let mut byte = 0u8;
    while let Some((first, tail)) = rest.split_first_mut() {
        *first = value_of(byte.to_ascii_lowercase());
        byte = byte.wrapping_add(1);
        rest = tail;
    }
    table
}

const fn value_of(digit: u8) -> u8 {
    let mut rest: &[u8] = &DIGITS;
    let mut value = 0;
    while let Some((first, tail)) = rest.split_first() {
        if *first == digit {
            return value;
        }
        value += 1;
        rest = tail;
    }
    INVALID
}

/// Why bytes are not an id, a lease or a handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Nothing, or nothing on one side of the dot.
    #[error("it is empty")]
    Empty,
    /// A byte that is no digit.
    #[error("it has a character that is no base32 digit")]
    NotADigit,
    /// A zero before other digits.
    #[error("it has leading zeros")]
    LeadingZero,
    /// Too many digits, or too large a number.
    #[error("it is too large")]
    TooLarge,
}

/// The id of a message: unique in a data folder for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId {
    /// The shard that admitted the message.
    pub shard: u16,
    /// Its number within the shard.
    pub seq: u64,
}

impl MessageId {
    /// Parses the whole of `text`.
    pub fn parse(text: &[u8]) -> Result<Self, IdError> {
        let (value, used) = parse_digits(text, ID_DIGITS_MAX)?;
        if used < text.len() {
            return Err(IdError::NotADigit);
        }
        Ok(Self::from_number(value))
    }

    /// Appends the canonical form: 1 to 16 bytes.
    #[inline]
    pub fn write(self, out: &mut Vec<u8>) {
        let mut digits = Digits::new();
        digits.push_id(self);
        out.extend_from_slice(digits.as_slice());
    }

    fn from_number(value: u128) -> Self {
        let [s0, s1, s2, s3, s4, s5, s6, s7, low, high, ..] = value.to_le_bytes();
        Self {
            shard: u16::from_le_bytes([low, high]),
            seq: u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]),
        }
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = Digits::new();
        digits.push_id(*self);
        formatter.write_str(digits.as_str())
    }
}

/// What a client calls `msg_id` in a MSG and settles: a message and the lease of one delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Handle {
    /// The message.
    pub id: MessageId,
    /// The lease of the delivery; `None` where the client gave the message id alone.
    pub lease: Option<u64>,
}

impl Handle {
    /// Parses the whole of `text`: `<id>.<lease>` or `<id>`.
    pub fn parse(text: &[u8]) -> Result<Self, IdError> {
        let (handle, used) = Self::parse_prefix(text)?;
        if used < text.len() { Err(IdError::NotADigit) } else { Ok(handle) }
    }

    /// Parses a handle at the beginning of `text` and says how many bytes it took. The next byte,
    /// if any, is no base32 digit.
    #[inline]
    pub(crate) fn parse_prefix(text: &[u8]) -> Result<(Self, usize), IdError> {
        let (value, id_used) = parse_digits(text, ID_DIGITS_MAX)?;
        let id = MessageId::from_number(value);
        let Some((b'.', rest)) = text.get(id_used..).and_then(<[u8]>::split_first) else {
            return Ok((Self { id, lease: None }, id_used));
        };
        let (value, lease_used) = parse_digits(rest, LEASE_DIGITS_MAX)?;
        let lease = u64::try_from(value).map_err(|_| IdError::TooLarge)?;
        Ok((Self { id, lease: Some(lease) }, id_used + 1 + lease_used))
    }

    /// Appends the canonical form: 1 to 30 bytes.
    #[inline]
    pub fn write(self, out: &mut Vec<u8>) {
        let mut digits = Digits::new();
        digits.push_handle(self);
        out.extend_from_slice(digits.as_slice());
    }
}

impl From<MessageId> for Handle {
    fn from(id: MessageId) -> Self {
        Self { id, lease: None }
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = Digits::new();
        digits.push_handle(*self);
        formatter.write_str(digits.as_str())
    }
}

/// Reads digits up to the first byte that is none; the number and the bytes used.
#[inline]
fn parse_digits(text: &[u8], digits_max: usize) -> Result<(u128, usize), IdError> {
    let mut high = 0u64;
    let mut low = 0u64;
    let mut used = 0;
    for &byte in text.iter().take(digits_max) {
        let value = VALUES.get(usize::from(byte)).copied().unwrap_or(INVALID);
        if value == INVALID {
            break;
        }
        high = high << 5 | low >> 59;
        low = low << 5 | u64::from(value);
        used += 1;
    }
    let next = text.get(used).copied();
    if next.is_some_and(|byte| VALUES.get(usize::from(byte)) != Some(&INVALID)) {
        return Err(IdError::TooLarge);
    }
    if used == 0 {
        return Err(if text.is_empty() { IdError::Empty } else { IdError::NotADigit });
    }
    if used > 1 && text.first() == Some(&b'0') {
        return Err(IdError::LeadingZero);
    }
    Ok((u128::from(high) << 64 | u128::from(low), used))
}

/// Digits are written from the right, so that one copy moves a whole handle.
struct Digits {
    bytes: [u8; 32],
    start: usize,
}

const _: () = assert!(ID_DIGITS_MAX + 1 + LEASE_DIGITS_MAX <= 32);

impl Digits {
    fn new() -> Self {
        Self { bytes: [0; 32], start: 32 }
    }

    #[inline]
    fn push(&mut self, byte: u8) {
        self.start = self.start.saturating_sub(1);
        if let Some(slot) = self.bytes.get_mut(self.start) {
            *slot = byte;
        }
    }

    #[inline]
    fn push_number(&mut self, mut value: u64) {
        loop {
            self.push(digit(value));
            value >>= 5;
            if value == 0 {
                return;
            }
        }
    }

    #[inline]
    fn push_id(&mut self, id: MessageId) {
        if id.shard == 0 {
            self.push_number(id.seq);
            return;
        }
        // Sixty bits of the seq are twelve digits; its last four bits belong to the digit above.
        let mut low = id.seq;
        for _ in 0..12 {
            self.push(digit(low));
            low >>= 5;
        }
        self.push_number(u64::from(id.shard) << 4 | id.seq >> 60);
    }

    #[inline]
    fn push_handle(&mut self, handle: Handle) {
        if let Some(lease) = handle.lease {
            self.push_number(lease);
            self.push(b'.');
        }
        self.push_id(handle.id);
    }

    #[inline]
    fn as_slice(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_slice()).unwrap_or_default()
    }
}

#[inline]
fn digit(value: u64) -> u8 {
    let index = usize::from(crate::decimal::low_byte(value) & 31);
    DIGITS.get(index).copied().unwrap_or_default()
}
