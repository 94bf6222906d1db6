//! Writes one line: the word it begins with, fields in any number, and its end, with or without a
//! body. A line is whole only after one of the `end` methods.

use super::destination::DestinationKind;
use super::option::HeaderForm;
use crate::decimal;
use crate::escape::{escape, escape_also};
use crate::id::{Handle, MessageId};

/// A line under construction, appended to a buffer.
#[derive(Debug)]
#[must_use = "a line is whole only after one of the end methods"]
pub struct Line<'o> {
    out: &'o mut Vec<u8>,
}

impl<'o> Line<'o> {
    /// Begins a line with `word`, written as it is.
    #[inline]
    pub fn new(out: &'o mut Vec<u8>, word: &[u8]) -> Self {
        out.extend_from_slice(word);
        Self { out }
    }

    /// Begins an OK, with the token of the command it answers.
    pub fn ok(out: &'o mut Vec<u8>, req: Option<&[u8]>) -> Self {
        Self::new(out, b"OK").req(req)
    }

    /// Begins a MSG that has a handle: `prefix` is what [`super::reply::msg_prefix`] wrote.
    #[inline]
    pub fn msg(out: &'o mut Vec<u8>, prefix: &[u8], handle: Handle) -> Self {
        let line = Self::new(out, prefix);
        handle.write(line.out);
        line
    }

    /// Adds `req:` if there is one.
    pub fn req(self, req: Option<&[u8]>) -> Self {
        match req {
            Some(req) => self.token("req", req),
            None => self,
        }
    }

    /// Adds a destination; `name` is as it is before escaping.
    pub fn destination(self, kind: DestinationKind, name: &[u8]) -> Self {
        self.text(kind.name(), name)
    }

    /// Adds `key:value`, the value escaped.
    pub fn text(mut self, key: &str, value: &[u8]) -> Self {
        self.key(key);
        escape(self.out, value);
        self
    }

    /// Adds `key:value`, the value as it is: a token, a word of the specification, or a value that
    /// is escaped already.
    pub fn token(mut self, key: &str, value: &[u8]) -> Self {
        self.key(key);
        self.out.extend_from_slice(value);
        self
    }

    /// Adds `key:value` in decimal.
    pub fn number(mut self, key: &str, value: u64) -> Self {
        self.key(key);
        decimal::write(self.out, value);
        self
    }

    /// Adds `key:yes` or `key:no`.
    pub fn yes_no(self, key: &str, value: bool) -> Self {
        self.token(key, if value { b"yes" } else { b"no" })
    }

    /// Adds `key:id`.
    pub fn id(mut self, key: &str, id: MessageId) -> Self {
        self.key(key);
        id.write(self.out);
        self
    }

    /// Adds `key:handle`.
    pub fn handle(mut self, key: &str, handle: Handle) -> Self {
        self.key(key);
        handle.write(self.out);
        self
    }

    /// Adds `h:NAME=VALUE`, both escaped.
    pub fn header(self, name: &[u8], value: &[u8]) -> Self {
        self.typed_header(HeaderForm::Text, name, value)
    }

    /// Adds a header whose value is of that form: a decimal number, `yes` or `no`, or nothing.
    pub fn typed_header(mut self, form: HeaderForm, name: &[u8], value: &[u8]) -> Self {
        self.key(form.key());
        escape_also(self.out, name, b'=');
        self.out.push(b'=');
        escape(self.out, value);
        self
    }

    /// Ends the line.
    #[inline]
    pub fn end(self) {
        self.out.push(b'\n');
    }

    /// Ends the line with the size of `body`, and appends the body and its line end.
    #[inline]
    pub fn end_with_body(self, body: &[u8]) {
        self.out.reserve(body.len().saturating_add(24));
        self.out.push(b' ');
        decimal::write(self.out, body.len() as u64);
        self.out.push(b'\n');
        self.out.extend_from_slice(body);
        self.out.push(b'\n');
    }

    /// Ends the line with the size of a body that is sent by other means; the caller sends a `\n`
    /// after it.
    pub fn end_with_size(self, body_bytes: u64) {
        self.out.push(b' ');
        decimal::write(self.out, body_bytes);
        self.out.push(b'\n');
    }

    /// Adds `key:` and leaves the line open.
    pub(super) fn open(mut self, key: &str) {
        self.key(key);
    }

    /// Adds free text, on one line whatever it holds, at most `bytes_max` bytes of it.
    pub(super) fn sentence(self, sentence: &str, bytes_max: usize) -> Self {
        self.out.push(b' ');
        let mut length = 0;
        for character in sentence.chars() {
            length += character.len_utf8();
            if length > bytes_max {
                break;
            }
            let shown = if character.is_control() { ' ' } else { character };
            self.out.extend_from_slice(shown.encode_utf8(&mut [0; 4]).as_bytes());
        }
        self
    }

    fn key(&mut self, key: &str) {
        self.out.push(b' ');
        self.out.extend_from_slice(key.as_bytes());
        self.out.push(b':');
    }
}
