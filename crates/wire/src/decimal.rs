//! Unsigned decimal numbers, without the machinery of `std::fmt`.

const PAIRS: [[u8; 2]; 100] = pairs();

const fn pairs() -> [[u8; 2]; 100] {
    let mut table = [[b'0'; 2]; 100];
    let mut rest: &mut [[u8; 2]] = &mut table;
    let mut value = 0u8;
    while let Some((first, tail)) = rest.split_first_mut() {
        *first = [b'0' + value / 10, b'0' + value % 10];
        value += 1;
        rest = tail;
    }
    table
}

/// Why digits are not a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DecimalError {
    /// Empty, or a byte that is not a digit.
    NotANumber,
    /// More than a `u64` holds.
    TooLarge,
}

/// Parses digits only: no sign, no space, no separator.
pub(crate) fn parse(digits: &[u8]) -> Result<u64, DecimalError> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(DecimalError::NotANumber);
    }
    let mut value = 0u64;
    for &digit in digits {
        value = value
            .checked_mul(10)
            .and_then(|tens| tens.checked_add(u64::from(digit & 15)))
            .ok_or(DecimalError::TooLarge)?;
    }
    Ok(value)
}

/// Appends `value` in decimal.
#[inline]
pub(crate) fn write(out: &mut Vec<u8>, value: u64) {
    if value < 10 {
        out.push(b'0' | low_byte(value));
    } else if value < 100 {
        out.extend_from_slice(&pair(value));
    } else {
        write_long(out, value);
    }
}

fn write_long(out: &mut Vec<u8>, value: u64) {
    let mut digits = [0u8; 20];
    let mut rest = value;
    let mut length = 0;
    for slot in digits.rchunks_exact_mut(2) {
        slot.copy_from_slice(&pair(rest % 100));
        length += 2;
        rest /= 100;
        if rest == 0 {
            break;
        }
    }
    let start = digits.len() - length;
    let written = digits.get(start..).unwrap_or_default();
    out.extend_from_slice(written.strip_prefix(b"0").unwrap_or(written));
}

fn pair(value: u64) -> [u8; 2] {
    usize::try_from(value).ok().and_then(|at| PAIRS.get(at)).copied().unwrap_or_default()
}

/// The lowest eight bits.
pub(crate) fn low_byte(value: u64) -> u8 {
    let [low, ..] = value.to_le_bytes();
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_is_written_and_read_back() {
        let mut values: Vec<u64> = (0..1200).collect();
        for power in 0..20 {
            let ten = 10u64.pow(power);
            values.extend([ten - 1, ten, ten + 1]);
        }
        values.extend([u64::MAX, u64::MAX - 1]);
        for value in values {
            let mut out = Vec::new();
            write(&mut out, value);
            assert_eq!(out, value.to_string().as_bytes());
            assert_eq!(parse(&out), Ok(value));
        }
    }

    #[test]
    fn what_is_not_a_number_is_told_from_what_is_too_large() {
        for text in ["", "-1", "+1", " 1", "1 ", "0x1", "1e3", "\u{661}"] {
            assert_eq!(parse(text.as_bytes()), Err(DecimalError::NotANumber), "{text:?}");
        }
        for text in ["18446744073709551616", "99999999999999999999999999"] {
            assert_eq!(parse(text.as_bytes()), Err(DecimalError::TooLarge), "{text:?}");
        }
        assert_eq!(parse(b"007"), Ok(7));
    }
}
