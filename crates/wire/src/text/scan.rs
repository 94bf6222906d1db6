//! Finds the end of a short word, eight bytes at a time. For the few bytes of a destination or a
//! token this is quicker than a search that is made for long texts.

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = ONES << 7;
const PERCENTS: u64 = ONES * 0x25;

/// The place of the first byte that is a space, below it, or a `%`.
#[inline]
pub(super) fn plain_word_end(text: &[u8]) -> Option<usize> {
    let (chunks, rest) = text.as_chunks::<8>();
    let mut at = 0;
    for chunk in chunks {
        let bytes = u64::from_le_bytes(*chunk);
        let hits = below(bytes, b' ' + 1) | below(bytes ^ PERCENTS, 1);
        if hits != 0 {
            // The lowest hit is exact; a borrow can only make false ones above a true one.
            return Some(at + hits.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    rest.iter().position(|&byte| byte <= b' ' || byte == b'%').map(|found| at + found)
}

/// The high bit of each byte below `limit`, of which the lowest is exact.
#[inline]
const fn below(bytes: u64, limit: u8) -> u64 {
    bytes.wrapping_sub(ONES * limit as u64) & !bytes & HIGHS
}

/// Reads up to nine digits, which can't overflow; the number and the digits used, at least one.
#[inline]
pub(super) fn short_number(text: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0;
    let mut used = 0;
    for &byte in text.iter().take(9) {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        value = value * 10 + usize::from(digit);
        used += 1;
    }
    if used == 0 { None } else { Some((value, used)) }
}

/// The bytes of the line end at the beginning of `text`, if one is there whole.
#[inline]
pub(super) fn line_end(text: &[u8]) -> Option<usize> {
    match text {
        [b'\n', ..] => Some(1),
        [b'\r', b'\n', ..] => Some(2),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_at_every_place_is_found_or_not() {
        for length in 0..20 {
            for at in 0..length {
                for byte in 0..=255u8 {
                    let mut text = vec![b'x'; length];
                    if let Some(slot) = text.get_mut(at) {
                        *slot = byte;
                    }
                    // A neighbour that a borrow would turn into a false hit.
                    if let Some(next) = text.get_mut(at + 1) {
                        *next = b'!';
                    }
                    let slow = text.iter().position(|&b| b <= b' ' || b == b'%');
                    assert_eq!(plain_word_end(&text), slow, "{text:?}");
                }
            }
        }
    }

    #[test]
    fn numbers_end_before_they_overflow() {
        assert_eq!(short_number(b"16\n"), Some((16, 2)));
        assert_eq!(short_number(b"1234567890"), Some((123_456_789, 9)));
        assert_eq!(short_number(b"x"), None);
        assert_eq!(short_number(b""), None);
    }
}
