//! The options of one command: a slice of its line, checked once when the line was decoded and read
//! again only where somebody asks. A command without options pays for nothing.

use super::command::{AckMode, Confirm, SubMode};
use super::error::WireError;
use super::option::{Form, HeaderForm, Key};
use super::verb::Verb;
use crate::decimal;
use crate::escape::{Text, is_well_formed};
use crate::excerpt::Excerpt;
use crate::id::Handle;
use crate::limits::{Limits, TOKEN_BYTES_MAX};

/// Checked options, borrowed from the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options<'a> {
    raw: &'a [u8],
}

impl<'a> Options<'a> {
    /// None.
    pub const EMPTY: Self = Self { raw: &[] };

    /// Checks each word of `raw` against the table.
    pub(crate) fn check(raw: &'a [u8], verb: Verb, limits: &Limits) -> Result<Self, WireError> {
        if std::str::from_utf8(raw).is_err() {
            return Err(WireError::NotUtf8);
        }
        if raw.iter().any(u8::is_ascii_control) {
            return Err(WireError::ControlCharacter);
        }
        let mut seen = 0u64;
        let mut headers = 0;
        let mut headers_bytes = 0;
        for word in words(raw) {
            let (key, value) = check_word(word, verb)?;
            if seen & key.bit() != 0 && !key.spec().repeats {
                return Err(WireError::RepeatedOption { key });
            }
            seen |= key.bit();
            if matches!(key.spec().form, Form::Header(_)) {
                headers += 1;
                headers_bytes += value.len();
            }
        }
        if headers > limits.headers_max {
            return Err(WireError::TooManyHeaders { headers_max: limits.headers_max });
        }
        if headers_bytes > limits.headers_bytes_max {
            return Err(WireError::HeadersTooLarge { bytes_max: limits.headers_bytes_max });
        }
        Ok(if seen == 0 { Self::EMPTY } else { Self { raw: trim_spaces(raw) } })
    }

    /// A single `req:T`.
    #[inline]
    pub(crate) fn check_req(word: &'a [u8]) -> Option<Self> {
        if is_token(word.strip_prefix(b"req:")?) { Some(Self { raw: word }) } else { None }
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// Each option, in the order of the line.
    pub fn iter(&self) -> impl Iterator<Item = (Key, Text<'a>)> + use<'a> {
        words(self.raw).filter_map(|word| {
            let (name, value) = split_at_colon(word)?;
            Some((Key::parse(name)?, Text::new(value)))
        })
    }

    /// The first value of `key`.
    pub fn get(&self, key: Key) -> Option<Text<'a>> {
        if self.is_empty() {
            return None;
        }
        let name = key.name().as_bytes();
        words(self.raw)
            .find_map(|word| Some(Text::new(word.strip_prefix(name)?.strip_prefix(b":")?)))
    }

    /// The token of `req:`.
    #[inline]
    pub fn req(&self) -> Option<&'a [u8]> {
        if self.is_empty() {
            return None;
        }
        // The commonest place of it is the first.
        match self.raw.strip_prefix(b"req:") {
            Some(mut rest) => next_word(&mut rest),
            None => self.token(Key::Req),
        }
    }

    /// The value of a key of [`Form::Token`].
    #[inline]
    pub fn token(&self, key: Key) -> Option<&'a [u8]> {
        self.get(key).map(|value| value.raw())
    }

    /// The value of a key of [`Form::Number`].
    pub fn number(&self, key: Key) -> Option<u64> {
        decimal::parse(self.get(key)?.raw()).ok()
    }

    /// The value of a key that takes `yes` or `no`.
    pub fn yes_no(&self, key: Key) -> Option<bool> {
        self.get(key).map(|value| value.raw() == b"yes")
    }

    /// `confirm:` of PUB.
    pub fn confirm(&self) -> Option<Confirm> {
        Confirm::parse(self.get(Key::Confirm)?.raw())
    }

    /// Whether `confirm:synced` is given, of ACK, NACK and REJECT.
    pub fn confirm_synced(&self) -> bool {
        self.get(Key::Confirm).is_some_and(|value| value.raw() == b"synced")
    }

    /// `ack:`, manual if it is not given.
    pub fn ack_mode(&self) -> AckMode {
        match self.get(Key::Ack) {
            Some(value) if value.raw() == b"auto" => AckMode::Auto,
            _ => AckMode::Manual,
        }
    }

    /// `mode:`, session if it is not given.
    pub fn sub_mode(&self) -> SubMode {
        match self.get(Key::Mode) {
            Some(value) if value.raw() == b"live" => SubMode::Live,
            _ => SubMode::Session,
        }
    }

    /// The headers, in the order of the line.
    pub fn headers(&self) -> Headers<'a> {
        Headers { rest: self.raw }
    }

    /// The first option that the broker refuses for now, if one is given.
    pub fn first_unsupported(&self) -> Option<Key> {
        let refused = super::option::Support::Refused;
        self.iter().map(|(key, _)| key).find(|key| key.spec().support == refused)
    }

    pub(crate) fn upto(&self) -> Option<Handle> {
        Handle::parse(self.get(Key::Upto)?.raw()).ok()
    }
}

/// The headers of a message: see [`Options::headers`].
#[derive(Clone, Debug)]
pub struct Headers<'a> {
    rest: &'a [u8],
}

/// A header as it stands on its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderField<'a> {
    /// Its name.
    pub name: Text<'a>,
    /// The type of its value.
    pub form: HeaderForm,
    /// Its value: text, a decimal number, `yes` or `no`, or nothing.
    pub value: Text<'a>,
}

impl<'a> HeaderField<'a> {
    /// The header that a word is, if it is one.
    fn parse(word: &'a [u8]) -> Option<Self> {
        // Most words are not; the others cost a second look.
        if word.first() != Some(&b'h') {
            return None;
        }
        let (key, value) = split_at_colon(word)?;
        let form = HeaderForm::ALL.into_iter().find(|form| form.key().as_bytes() == key)?;
        let (name, value) = split_header(value)?;
        Some(Self { name: Text::new(name), form, value: Text::new(value) })
    }

    /// The value of one of [`HeaderForm::Int`].
    pub fn int(&self) -> Option<i64> {
        std::str::from_utf8(self.value.raw()).ok()?.parse().ok()
    }
}

impl<'a> Headers<'a> {
    pub(crate) fn of(rest: &'a [u8]) -> Self {
        Self { rest }
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = HeaderField<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let word = next_word(&mut self.rest)?;
            if let Some(header) = HeaderField::parse(word) {
                return Some(header);
            }
        }
    }
}

/// The deliveries that a command names: see [`super::Settle::handles`].
#[derive(Clone, Debug)]
pub struct Handles<'a> {
    single: Option<Handle>,
    rest: &'a [u8],
}

impl<'a> Handles<'a> {
    #[inline]
    pub(crate) fn new(single: Option<Handle>, options: Options<'a>) -> Self {
        Self { single, rest: options.raw }
    }
}

impl Iterator for Handles<'_> {
    type Item = Handle;

    #[inline]
    fn next(&mut self) -> Option<Handle> {
        if let Some(handle) = self.single.take() {
            return Some(handle);
        }
        loop {
            let word = next_word(&mut self.rest)?;
            if let Some(text) = word.strip_prefix(b"msg_id:") {
                return Handle::parse(text).ok();
            }
        }
    }
}

/// The words of a line; several spaces are as one.
pub(crate) fn words(raw: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = raw;
    std::iter::from_fn(move || next_word(&mut rest))
}

/// Takes the first word off `rest`.
pub(crate) fn next_word<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let trimmed = trim_spaces(rest);
    if trimmed.is_empty() {
        *rest = trimmed;
        return None;
    }
    let at = memchr::memchr(b' ', trimmed).unwrap_or(trimmed.len());
    let (word, tail) = trimmed.split_at_checked(at)?;
    *rest = tail;
    Some(word)
}

/// Without the spaces at both ends.
pub(crate) fn trim_spaces(mut text: &[u8]) -> &[u8] {
    while let Some(rest) = text.strip_prefix(b" ") {
        text = rest;
    }
    while let Some(rest) = text.strip_suffix(b" ") {
        text = rest;
    }
    text
}

/// The token of the first valid `req:` among the words of a line that is refused for another
/// reason.
pub(crate) fn find_req(raw: &[u8]) -> Option<&[u8]> {
    words(raw)
        .take_while(|word| !word.starts_with(b"{"))
        .find_map(|word| word.strip_prefix(b"req:"))
        .filter(|token| is_token(token))
}

pub(crate) fn split_at_colon(word: &[u8]) -> Option<(&[u8], &[u8])> {
    let (name, value) = word.split_at_checked(memchr::memchr(b':', word)?)?;
    Some((name, value.strip_prefix(b":")?))
}

pub(crate) fn split_header(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let (name, value) = value.split_at_checked(memchr::memchr(b'=', value)?)?;
    if name.is_empty() { None } else { Some((name, value.strip_prefix(b"=")?)) }
}

fn is_token(text: &[u8]) -> bool {
    (1..=TOKEN_BYTES_MAX).contains(&text.len()) && text.iter().all(u8::is_ascii_graphic)
}

fn check_word(word: &[u8], verb: Verb) -> Result<(Key, &[u8]), WireError> {
    let (name, value) = split_at_colon(word)
        .ok_or_else(|| WireError::UnexpectedWord { verb, word: Excerpt::from(word) })?;
    let key = Key::parse(name)
        .filter(|key| key.spec().is_for(verb))
        .ok_or_else(|| WireError::UnknownOption { verb, key: Excerpt::from(name) })?;
    let spec = key.spec();
    let valid = match spec.form {
        Form::Text | Form::Name => !value.is_empty(),
        Form::Token => is_token(value),
        Form::Number(min, max) => {
            decimal::parse(value).is_ok_and(|number| (min..=max).contains(&number))
        }
        Form::Word(words) => words.iter().any(|word| word.as_bytes() == value),
        Form::Handle => Handle::parse(value).is_ok(),
        Form::Header(form) => split_header(value).is_some_and(|(_, value)| form.takes(value)),
    };
    let confirms = match verb {
        Verb::Pub => value != b"synced",
        _ => value == b"synced",
    };
    if !valid || key == Key::Confirm && !confirms {
        return Err(WireError::BadValue { key, value: Excerpt::from(value), wants: spec.wants });
    }
    if matches!(spec.form, Form::Text | Form::Name | Form::Header(_)) && !is_well_formed(value) {
        return Err(WireError::BadEscape { word: Excerpt::from(word) });
    }
    Ok((key, value))
}
