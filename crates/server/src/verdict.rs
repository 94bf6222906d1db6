//! What a person or a program says of a delivery, one line each: how `sub --manual-ack` is told
//! what became of the messages it printed.

use courant_wire::Handle;
use courant_wire::text::request;

/// The end of one delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Done with it.
    Ack(Handle),
    /// Back to its queue.
    Nack(Handle),
    /// Never again.
    Reject(Handle),
}

impl Verdict {
    /// Reads a line: `MSG_ID`, `ack MSG_ID`, `nack MSG_ID` or `reject MSG_ID`. `Ok(None)` is an
    /// empty line; the error is a sentence for its author.
    pub(crate) fn parse(line: &[u8]) -> Result<Option<Self>, String> {
        let line = line.trim_ascii();
        if line.is_empty() {
            return Ok(None);
        }
        let wrong = || {
            let line = courant_wire::Excerpt::from(line);
            format!("\"{line}\" is no verdict: write MSG_ID, or ack, nack or reject and MSG_ID")
        };
        let (word, handle) = match line.iter().position(|&byte| byte == b' ') {
            Some(at) => (&line[..at], line[at..].trim_ascii()),
            None => (&b"ack"[..], line),
        };
        // With its lease, as it was printed: an id alone could be any short word.
        let handle = Handle::parse(handle).ok().filter(|handle| handle.lease.is_some());
        let handle = handle.ok_or_else(wrong)?;
        match word {
            b"ack" => Ok(Some(Self::Ack(handle))),
            b"nack" => Ok(Some(Self::Nack(handle))),
            b"reject" => Ok(Some(Self::Reject(handle))),
            _ => Err(wrong()),
        }
    }

    /// Appends the command for it.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Ack(handle) => request::ack(out, *handle),
            Self::Nack(handle) => request::nack_requeue(out, *handle),
            Self::Reject(handle) => request::reject(out, *handle, b"rejected"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_read() {
        let handle = Handle::parse(b"4z.1").unwrap();
        assert_eq!(Verdict::parse(b"4z.1"), Ok(Some(Verdict::Ack(handle))));
        assert_eq!(Verdict::parse(b" ack  4z.1\r"), Ok(Some(Verdict::Ack(handle))));
        assert_eq!(Verdict::parse(b"nack 4z.1"), Ok(Some(Verdict::Nack(handle))));
        assert_eq!(Verdict::parse(b"reject 4z.1"), Ok(Some(Verdict::Reject(handle))));
        assert_eq!(Verdict::parse(b"  "), Ok(None));
    }

    #[test]
    fn other_lines_are_refused() {
        for line in ["drop 4z.1", "ack", "ack !", "4z.1\tbody", "ack 4z.1 4z.2"] {
            assert!(Verdict::parse(line.as_bytes()).is_err(), "{line}");
        }
    }
}
