//! `%XX` escapes, and names.
//!
//! On a line a space ends a word and a line end ends the line, so a name or value that has one of
//! them, a control character, or a `%`, writes that byte as `%` and two hexadecimal digits. Bytes
//! above 0x7f stay as they are where the whole is valid UTF-8, and are escaped where it is not. A
//! lone `%` is an error, never taken literally.

use crate::limits::NAME_BYTES_MAX;

/// Why bytes are not a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// A `%` without two hexadecimal digits.
    #[error("a % has to be followed by two hexadecimal digits")]
    BadEscape,
    /// No bytes.
    #[error("a name has at least one byte")]
    Empty,
    /// More than [`NAME_BYTES_MAX`] bytes after unescaping.
    #[error("a name has at most {NAME_BYTES_MAX} bytes")]
    TooLong,
    /// Not UTF-8.
    #[error("a name has to be valid UTF-8")]
    NotUtf8,
    /// A control character, C1 ones included.
    #[error("a name has no control characters")]
    ControlCharacter,
}

/// A `%` without two hexadecimal digits after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a % has to be followed by two hexadecimal digits")]
pub struct EscapeError;

/// Appends `value` so that it is one word of a line.
pub fn escape(out: &mut Vec<u8>, value: &[u8]) {
    escape_also(out, value, b'%');
}

/// As [`escape`], and escapes the byte `also` too (`=` in the name of a header).
pub(crate) fn escape_also(out: &mut Vec<u8>, value: &[u8], also: u8) {
    let keep_high = std::str::from_utf8(value).is_ok();
    let plain = |byte: u8| {
        byte != b'%' && byte != also && (byte.is_ascii_graphic() || byte >= 0x80 && keep_high)
    };
    if value.iter().all(|&byte| plain(byte)) {
        out.extend_from_slice(value);
        return;
    }
    for &byte in value {
        if plain(byte) {
            out.push(byte);
        } else {
            out.extend_from_slice(&[b'%', hex_digit(byte >> 4), hex_digit(byte & 15)]);
        }
    }
}

/// Appends what `raw` stands for. On an error `out` holds what came before it.
pub fn unescape_into(raw: &[u8], out: &mut Vec<u8>) -> Result<(), EscapeError> {
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'%', rest) {
        let (plain, escaped) = rest.split_at_checked(at).ok_or(EscapeError)?;
        out.extend_from_slice(plain);
        let [_, high, low, tail @ ..] = escaped else {
            return Err(EscapeError);
        };
        let (Some(high), Some(low)) = (hex_value(*high), hex_value(*low)) else {
            return Err(EscapeError);
        };
        out.push(high << 4 | low);
        rest = tail;
    }
    out.extend_from_slice(rest);
    Ok(())
}

/// Whether each `%` in `raw` is followed by two hexadecimal digits.
pub(crate) fn is_well_formed(raw: &[u8]) -> bool {
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'%', rest) {
        let Some([_, high, low, tail @ ..]) = rest.get(at..) else {
            return false;
        };
        if hex_value(*high).is_none() || hex_value(*low).is_none() {
            return false;
        }
        rest = tail;
    }
    true
}

/// A name as it is after unescaping: 1 to 255 bytes of UTF-8 without control characters.
pub fn validate_name(name: &[u8]) -> Result<&str, NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(NameError::TooLong);
    }
    let text = std::str::from_utf8(name).map_err(|_| NameError::NotUtf8)?;
    if text.chars().any(char::is_control) {
        return Err(NameError::ControlCharacter);
    }
    Ok(text)
}

/// A value as written on the line, perhaps with escapes in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text<'a> {
    raw: &'a [u8],
    escaped: bool,
}

impl<'a> Text<'a> {
    /// Takes bytes as they stand on a line; looks once whether a `%` is among them.
    pub fn new(raw: &'a [u8]) -> Self {
        Self { raw, escaped: raw.contains(&b'%') }
    }

    /// Takes bytes that are known to have no `%`.
    #[inline]
    pub(crate) fn plain(raw: &'a [u8]) -> Self {
        Self { raw, escaped: false }
    }

    /// The bytes as they stand on the line.
    #[inline]
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// Whether there is a `%` among them.
    #[inline]
    pub fn is_escaped(&self) -> bool {
        self.escaped
    }

    /// The bytes meant: borrowed from the line where nothing is escaped, else written to `buffer`,
    /// which is emptied first.
    pub fn bytes<'b>(&self, buffer: &'b mut Vec<u8>) -> Result<&'b [u8], EscapeError>
    where
        'a: 'b,
    {
        if !self.escaped {
            return Ok(self.raw);
        }
        buffer.clear();
        unescape_into(self.raw, buffer)?;
        Ok(buffer)
    }

    /// As [`Text::bytes`], and checked by [`validate_name`].
    pub fn name<'b>(&self, buffer: &'b mut Vec<u8>) -> Result<&'b str, NameError>
    where
        'a: 'b,
    {
        validate_name(self.bytes(buffer).map_err(|_| NameError::BadEscape)?)
    }
}

fn hex_digit(value: u8) -> u8 {
    if value < 10 { b'0' + value } else { b'A' + (value - 10) }
}

fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}
