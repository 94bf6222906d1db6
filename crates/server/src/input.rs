//! Standard input in bounded pieces: as lines, or whole.
//!
//! A line is what stands before `\n`; nothing else is taken off it, and the last one needs no end.
//! The buffer never holds more than the longest line allowed and one read.

use anyhow::{Context, bail};
use tokio::io::{AsyncRead, AsyncReadExt};

const READ_BYTES: usize = 64 * 1024;

/// Lines of an input that arrives piece by piece.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    reader: R,
    buffer: Vec<u8>,
    /// Where the next line begins.
    head: usize,
    /// Up to here there is known to be no line end after `head`.
    searched: usize,
    is_ended: bool,
    line_bytes_max: usize,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    /// Lines of `reader`, of at most `line_bytes_max` bytes each.
    pub(crate) fn new(reader: R, line_bytes_max: usize) -> Self {
        let buffer = Vec::with_capacity(READ_BYTES);
        Self { reader, buffer, head: 0, searched: 0, is_ended: false, line_bytes_max }
    }

    /// The next line that is here already.
    pub(crate) fn next(&mut self) -> anyhow::Result<Option<&[u8]>> {
        let unseen = &self.buffer[self.searched..];
        let (end, after) = match unseen.iter().position(|&byte| byte == b'\n') {
            Some(at) => (self.searched + at, self.searched + at + 1),
            None if self.is_ended && self.head < self.buffer.len() => {
                (self.buffer.len(), self.buffer.len())
            }
            None => {
                self.searched = self.buffer.len();
                if self.searched - self.head > self.line_bytes_max {
                    bail!("a line of the input is longer than {} bytes", self.line_bytes_max);
                }
                return Ok(None);
            }
        };
        let start = std::mem::replace(&mut self.head, after);
        self.searched = after;
        if end - start > self.line_bytes_max {
            bail!("a line of the input is longer than {} bytes", self.line_bytes_max);
        }
        Ok(Some(&self.buffer[start..end]))
    }

    /// Whether every line was taken.
    pub(crate) fn is_done(&self) -> bool {
        self.is_ended && self.head == self.buffer.len()
    }

    /// Whether no more bytes will come.
    pub(crate) fn is_ended(&self) -> bool {
        self.is_ended
    }

    /// Reads once. Loses nothing when it is given up.
    pub(crate) async fn fill(&mut self) -> anyhow::Result<()> {
        self.searched -= self.head;
        self.buffer.drain(..std::mem::take(&mut self.head));
        self.buffer.reserve(READ_BYTES);
        let read = self.reader.read_buf(&mut self.buffer).await.context("cannot read stdin")?;
        self.is_ended = read == 0;
        Ok(())
    }
}

/// All of `reader`, of at most `bytes_max` bytes.
pub(crate) async fn read_whole(
    reader: impl AsyncRead + Unpin,
    bytes_max: usize,
) -> anyhow::Result<Vec<u8>> {
    let mut whole = Vec::new();
    let mut bounded = reader.take(bytes_max as u64 + 1);
    bounded.read_to_end(&mut whole).await.context("cannot read stdin")?;
    if whole.len() > bytes_max {
        bail!("stdin is longer than the {bytes_max} bytes of the largest body; see --lines");
    }
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines(input: &[u8], line_bytes_max: usize) -> anyhow::Result<Vec<Vec<u8>>> {
        let mut lines = Lines::new(input, line_bytes_max);
        let mut all = Vec::new();
        while !lines.is_done() {
            match lines.next()? {
                Some(line) => all.push(line.to_vec()),
                None => lines.fill().await?,
            }
        }
        Ok(all)
    }

    #[tokio::test]
    async fn lines_are_taken_as_they_are() {
        let all = lines(b"one\n\ntwo\r\nthree", 10).await.unwrap();
        assert_eq!(all, [&b"one"[..], b"", b"two\r", b"three"]);
        assert_eq!(lines(b"", 10).await.unwrap(), [b""; 0]);
        assert_eq!(lines(b"\n", 10).await.unwrap(), [b""]);
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_is_an_error() {
        assert!(lines(b"1234\n", 4).await.is_ok());
        assert!(lines(b"12345\n", 4).await.is_err());
        assert!(lines(b"12345", 4).await.is_err());
    }

    #[tokio::test]
    async fn lines_longer_than_a_read_come_whole() {
        let long = vec![b'x'; 3 * READ_BYTES];
        let input = [&long[..], b"\n", &long[..]].concat();
        assert_eq!(lines(&input, long.len()).await.unwrap(), [long.clone(), long]);
    }

    #[tokio::test]
    async fn the_whole_is_bounded() {
        assert_eq!(read_whole(&b"abc\n"[..], 4).await.unwrap(), b"abc\n");
        assert!(read_whole(&b"abcde"[..], 4).await.is_err());
    }
}
