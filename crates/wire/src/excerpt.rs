//! A few bytes of what a stranger sent, copied so that they may outlive the read buffer, and made
//! safe to print: no control character, no invalid UTF-8, at most [`Excerpt::BYTES_MAX`] bytes and
//! a mark where it was cut.

use std::fmt;

/// A printable beginning of some bytes; `Copy`, and never on the heap.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Excerpt {
    bytes: [u8; Self::BYTES_MAX],
    length: u8,
    cut: bool,
}

impl Excerpt {
    /// Bytes kept.
    pub const BYTES_MAX: usize = 40;

    /// The excerpt as text, without the mark of a cut.
    pub fn as_str(&self) -> &str {
        self.bytes
            .get(..usize::from(self.length))
            .and_then(|kept| std::str::from_utf8(kept).ok())
            .unwrap_or_default()
    }

    fn push(&mut self, character: char) -> bool {
        let shown = if character.is_control() { '?' } else { character };
        let mut encoded = [0u8; 4];
        let encoded = shown.encode_utf8(&mut encoded).as_bytes();
        let start = usize::from(self.length);
        let Some(room) = self.bytes.get_mut(start..start + encoded.len()) else {
            self.cut = true;
            return false;
        };
        room.copy_from_slice(encoded);
        self.length = self.length.saturating_add(u8::try_from(encoded.len()).unwrap_or(0));
        true
    }
}

impl From<&[u8]> for Excerpt {
    fn from(bytes: &[u8]) -> Self {
        let mut excerpt = Self { bytes: [0; Self::BYTES_MAX], length: 0, cut: false };
        // One byte more than fits is enough to know that something was cut.
        let seen = bytes.get(..=Self::BYTES_MAX).unwrap_or(bytes);
        for chunk in seen.utf8_chunks() {
            let invalid = if chunk.invalid().is_empty() { None } else { Some('?') };
            for character in chunk.valid().chars().chain(invalid) {
                if !excerpt.push(character) {
                    return excerpt;
                }
            }
        }
        excerpt.cut = seen.len() < bytes.len();
        excerpt
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())?;
        if self.cut { formatter.write_str("…") } else { Ok(()) }
    }
}

impl fmt::Debug for Excerpt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_printable_and_bounded() {
        let cases: [(&[u8], &str); 5] = [
            (b"", ""),
            (b"plain", "plain"),
            ("kø%20".as_bytes(), "kø%20"),
            (b"a\x1b[2J\xff\n", "a?[2J??"),
            (
                b"0123456789012345678901234567890123456789",
                "0123456789012345678901234567890123456789",
            ),
        ];
        for (bytes, shown) in cases {
            assert_eq!(Excerpt::from(bytes).to_string(), shown);
        }
        let long = [b'x'; 500];
        assert_eq!(Excerpt::from(&long[..]).to_string(), format!("{}…", "x".repeat(40)));
        let wide = "é".repeat(40);
        assert_eq!(Excerpt::from(wide.as_bytes()).to_string(), format!("{}…", "é".repeat(20)));
    }
}
