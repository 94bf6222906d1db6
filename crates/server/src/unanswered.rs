//! What was published and has no answer yet, and what the broker refused because it was short of
//! something: that is sent again, before anything new.
//!
//! Answers come in the order of the commands, so the oldest message is the one that is answered.

use std::collections::VecDeque;

/// Bytes of bodies that wait for answers.
const BYTES_MAX: usize = 64 << 20;

/// Refusals that an alarm is the reason of.
const ALARMS: [u32; 2] = [613, 703];

/// A message: its number, from 1, and its body.
type Message = (u64, Vec<u8>);

/// Messages that are not done with.
#[derive(Debug, Default)]
pub(crate) struct Unanswered {
    sent: VecDeque<Message>,
    put_off: VecDeque<Message>,
    bytes: usize,
    last: u64,
}

/// Whether a refusal means that the same may be taken later without anybody changing it.
pub(crate) fn is_alarm(number: u32) -> bool {
    ALARMS.contains(&number)
}

impl Unanswered {
    pub(crate) fn is_full(&self) -> bool {
        self.bytes >= BYTES_MAX
    }

    /// Whether nothing has to be sent again.
    pub(crate) fn is_done(&self) -> bool {
        self.put_off.is_empty()
    }

    /// Notes a message that is sent for the first time.
    pub(crate) fn note(&mut self, body: &[u8]) {
        self.last += 1;
        self.bytes += body.len();
        self.sent.push_back((self.last, body.to_vec()));
    }

    /// The next one to be sent again, which is noted as sent.
    pub(crate) fn again(&mut self) -> Option<&[u8]> {
        let message = self.put_off.pop_front()?;
        self.sent.push_back(message);
        self.sent.back().map(|(_, body)| body.as_slice())
    }

    /// The oldest was answered; gives its number.
    pub(crate) fn answered(&mut self) -> u64 {
        let Some((number, body)) = self.sent.pop_front() else { return self.last };
        self.bytes -= body.len();
        number
    }

    /// The oldest was refused, and is to be sent again.
    pub(crate) fn put_off(&mut self) {
        self.put_off.extend(self.sent.pop_front());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_off_comes_again_in_its_order() {
        let mut unanswered = Unanswered::default();
        for body in [b"1", b"2", b"3", b"4"] {
            unanswered.note(body);
        }
        assert_eq!(unanswered.answered(), 1);
        unanswered.put_off();
        unanswered.put_off();
        assert_eq!(unanswered.answered(), 4);
        assert!(!unanswered.is_done());
        assert_eq!(unanswered.again(), Some(&b"2"[..]));
        assert_eq!(unanswered.again(), Some(&b"3"[..]));
        assert_eq!(unanswered.again(), None);
        assert!(unanswered.is_done());
        assert_eq!((unanswered.answered(), unanswered.answered()), (2, 3));
        assert_eq!(unanswered.bytes, 0);
        assert!(is_alarm(613) && !is_alarm(608));
    }
}
