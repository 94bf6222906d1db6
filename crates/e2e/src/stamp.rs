//! Messages that prove what they are: who published them, as which of its messages, how long the
//! body is, and a hash over all of it.
//!
//! A stamp stands at the beginning of the body, or in the header `stamp` where the body is too
//! short for it (down to empty), so that both ways are tested.
//!
//! ```text
//! bytes  0..4   "crnt"
//!        4..8   publisher   u32, little endian
//!        8..16  sequence    u64
//!       16..20  bytes that follow the stamp, u32
//!       20..28  hash of bytes 4..20 and of what follows the stamp
//!       28..    random bytes
//! ```

use std::fmt::Write;

use crate::random::{Random, mix};

/// Bytes of a stamp.
pub const STAMP_BYTES: usize = 28;

/// The largest body.
pub const BODY_BYTES_MAX: usize = 1 << 20;

/// The header that holds a stamp in hexadecimal digits.
pub const HEADER: &str = "stamp";

const MAGIC: &[u8; 4] = b"crnt";

/// Which message it is: a publisher, and the number of the message among the publisher's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// The publisher, from 0.
    pub publisher: u32,
    /// The message, from 0 without gaps.
    pub sequence: u64,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "publisher {} message {}", self.publisher, self.sequence)
    }
}

/// A stamp that was read and found right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Which message it is.
    pub origin: Origin,
    /// The hash over origin, length and bytes.
    pub hash: u64,
}

/// What is wrong with a message that came out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StampError {
    /// Neither the body nor the headers hold a stamp.
    #[error("a body of {bytes} bytes without a stamp")]
    Missing {
        /// Of the body.
        bytes: usize,
    },
    /// The length or the hash does not fit.
    #[error("{origin} came with {bytes} bytes that its stamp (of {expected} bytes) does not fit")]
    Altered {
        /// What the stamp says.
        origin: Origin,
        /// What came after the stamp.
        bytes: usize,
        /// What the stamp says.
        expected: usize,
    },
}

/// A message to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamped {
    /// Its stamp.
    pub stamp: Stamp,
    /// The value of the header [`HEADER`], if the stamp is there.
    pub header: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

/// Makes a message of a random size: mostly small, seldom up to [`BODY_BYTES_MAX`].
pub fn make(origin: Origin, random: &mut Random) -> Stamped {
    let in_header = random.one_in(8);
    let room = if in_header { BODY_BYTES_MAX } else { BODY_BYTES_MAX - STAMP_BYTES };
    let bytes_max = match random.below(512) {
        0 => room,
        1..=8 => 64 * 1024,
        9..=56 => 4096,
        57..=104 => 0,
        _ => 256,
    };
    let length = random.between(0, bytes_max as u64).min(room as u64);
    make_of_length(origin, usize::try_from(length).unwrap_or(0), in_header, random)
}

/// Makes a message whose stamp is followed by `length` bytes, or stands in the header beside them.
pub fn make_of_length(
    origin: Origin,
    length: usize,
    in_header: bool,
    random: &mut Random,
) -> Stamped {
    let mut body = vec![0; STAMP_BYTES];
    random.bytes(length, &mut body);
    let hash = hash_of(origin, &body[STAMP_BYTES..]);
    let mut stamp = Vec::with_capacity(STAMP_BYTES);
    stamp.extend_from_slice(MAGIC);
    stamp.extend_from_slice(&origin.publisher.to_le_bytes());
    stamp.extend_from_slice(&origin.sequence.to_le_bytes());
    stamp.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    stamp.extend_from_slice(&hash.to_le_bytes());
    let header = if in_header {
        body.drain(..STAMP_BYTES);
        Some(hex(&stamp))
    } else {
        body[..STAMP_BYTES].copy_from_slice(&stamp);
        None
    };
    Stamped { stamp: Stamp { origin, hash }, header, body }
}

/// Reads the stamp of a message that came out, and checks the message against it.
pub fn read(body: &[u8], headers: &[(String, String)]) -> Result<Stamp, StampError> {
    let missing = StampError::Missing { bytes: body.len() };
    let header = headers.iter().find(|(name, _)| name == HEADER);
    let from_header = header.map(|(_, value)| unhex(value).ok_or(missing.clone())).transpose()?;
    let (stamp, rest) = match &from_header {
        Some(stamp) => (stamp.as_slice(), body),
        None => body.split_at_checked(STAMP_BYTES).ok_or(missing.clone())?,
    };
    if stamp.len() != STAMP_BYTES || !stamp.starts_with(MAGIC) {
        return Err(missing);
    }
    let origin = Origin { publisher: number32(&stamp[4..8]), sequence: number64(&stamp[8..16]) };
    let expected = number32(&stamp[16..20]) as usize;
    let hash = number64(&stamp[20..28]);
    if expected != rest.len() || hash != hash_of(origin, rest) {
        return Err(StampError::Altered { origin, bytes: rest.len(), expected });
    }
    Ok(Stamp { origin, hash })
}

/// Any changed bit changes it; not meant against people.
fn hash_of(origin: Origin, bytes: &[u8]) -> u64 {
    let mut hash = mix(u64::from(origin.publisher) ^ mix(origin.sequence ^ bytes.len() as u64));
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        hash = mix(hash.rotate_left(5) ^ u64::from_le_bytes(word));
    }
    hash
}

fn number32(bytes: &[u8]) -> u32 {
    bytes.try_into().map_or(0, u32::from_le_bytes)
}

fn number64(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(0, u64::from_le_bytes)
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect::<Option<Vec<u8>>>()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: Origin = Origin { publisher: 3, sequence: 70_000 };

    fn headers(stamped: &Stamped) -> Vec<(String, String)> {
        stamped.header.iter().map(|value| (HEADER.to_owned(), value.clone())).collect()
    }

    #[test]
    fn a_stamp_is_read_from_the_body_or_the_header() {
        let mut random = Random::new(1);
        for length in [0, 1, 7, 8, 9, 500, BODY_BYTES_MAX - STAMP_BYTES] {
            for in_header in [false, true] {
                let stamped = make_of_length(ORIGIN, length, in_header, &mut random);
                let stamp = read(&stamped.body, &headers(&stamped));
                assert_eq!(stamp, Ok(stamped.stamp), "{length} {in_header}");
            }
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_seen() {
        let mut random = Random::new(2);
        for in_header in [false, true] {
            let stamped = make_of_length(ORIGIN, 21, in_header, &mut random);
            let headers = headers(&stamped);
            for bit in 0..stamped.body.len() * 8 {
                let mut body = stamped.body.clone();
                body[bit / 8] ^= 1 << (bit % 8);
                assert!(read(&body, &headers).is_err(), "bit {bit}");
            }
            for length in 0..stamped.body.len() {
                assert!(read(&stamped.body[..length], &headers).is_err(), "cut to {length}");
            }
        }
    }

    #[test]
    fn sizes_reach_from_nothing_to_the_limit() {
        let mut random = Random::new(3);
        let mut sizes: Vec<usize> = Vec::new();
        for sequence in 0..8000 {
            sizes.push(make(Origin { publisher: 0, sequence }, &mut random).body.len());
        }
        assert_eq!(sizes.iter().min(), Some(&0));
        assert!(sizes.iter().max().is_some_and(|size| (800_000..=BODY_BYTES_MAX).contains(size)));
    }
}
