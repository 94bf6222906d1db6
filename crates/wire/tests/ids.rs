//! Ids, handles and escapes as text.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

mod seed;

use courant_wire::{
    Handle, IdError, MessageId, NameError, Text, escape, unescape_into, validate_name,
};
use proptest::prelude::*;

fn id(shard: u16, seq: u64) -> MessageId {
    MessageId { shard, seq }
}

#[test]
fn ids_as_literal_bytes() {
    let cases = [
        (id(0, 0), "0"),
        (id(0, 1), "1"),
        (id(0, 31), "z"),
        (id(0, 32), "10"),
        (id(0, 3 << 32), "c000000"),
        (id(0, u64::MAX), "fzzzzzzzzzzzz"),
        (id(1, 0), "g000000000000"),
        (id(1, u64::MAX), "zzzzzzzzzzzzz"),
        (id(2, 0), "10000000000000"),
        (id(u16::MAX, u64::MAX), "zzzzzzzzzzzzzzzz"),
    ];
    for (id, text) in cases {
        let mut out = Vec::new();
        id.write(&mut out);
        assert_eq!(out, text.as_bytes(), "{id:?}");
        assert_eq!(id.to_string(), text);
        assert_eq!(MessageId::parse(text.as_bytes()), Ok(id), "{text}");
        assert_eq!(MessageId::parse(text.to_uppercase().as_bytes()), Ok(id), "{text}");
    }
}

#[test]
fn ids_that_are_refused() {
    let cases = [
        ("", IdError::Empty),
        ("00", IdError::LeadingZero),
        ("01", IdError::LeadingZero),
        ("0z.1", IdError::LeadingZero),
        ("zzzzzzzzzzzzzzzzz", IdError::TooLarge),
        ("10000000000000000", IdError::TooLarge),
        ("i", IdError::NotADigit),
        ("1l", IdError::NotADigit),
        ("o1", IdError::NotADigit),
        ("1u1", IdError::NotADigit),
        ("-1", IdError::NotADigit),
        (" 1", IdError::NotADigit),
        ("1.1", IdError::NotADigit),
    ];
    for (text, error) in cases {
        assert_eq!(MessageId::parse(text.as_bytes()), Err(error), "{text:?}");
    }
    let cases = [
        ("", IdError::Empty),
        (".", IdError::NotADigit),
        (".1", IdError::NotADigit),
        ("1.", IdError::Empty),
        ("1.01", IdError::LeadingZero),
        ("1.1.1", IdError::NotADigit),
        ("1.1 ", IdError::NotADigit),
        ("1.g000000000000", IdError::TooLarge),
        ("1.10000000000000", IdError::TooLarge),
    ];
    for (text, error) in cases {
        assert_eq!(Handle::parse(text.as_bytes()), Err(error), "{text:?}");
    }
    assert_eq!(Handle::parse(b"1"), Ok(Handle::from(id(0, 1))));
    let largest = Handle { id: id(u16::MAX, u64::MAX), lease: Some(u64::MAX) };
    assert_eq!(Handle::parse(b"zzzzzzzzzzzzzzzz.fzzzzzzzzzzzz"), Ok(largest));
    assert_eq!(largest.to_string(), "zzzzzzzzzzzzzzzz.fzzzzzzzzzzzz");
}

#[test]
fn escapes_as_literal_bytes() {
    let cases: [(&[u8], &str); 7] = [
        (b"", ""),
        (b"plain:a=b.*#/", "plain:a=b.*#/"),
        (b"a b", "a%20b"),
        (b"100%", "100%25"),
        (b"\r\n\0\x7f", "%0D%0A%00%7F"),
        ("\u{e9}".as_bytes(), "\u{e9}"),
        (b"\xe9", "%E9"),
    ];
    for (value, text) in cases {
        let mut out = Vec::new();
        escape(&mut out, value);
        assert_eq!(out, text.as_bytes());
        assert_eq!(Text::new(&out).bytes(&mut Vec::new()), Ok(value));
    }
    for text in ["%", "%2", "a%2g", "%%20", "%+1", "%20%"] {
        assert!(unescape_into(text.as_bytes(), &mut Vec::new()).is_err(), "{text}");
    }
    let mut lower = Vec::new();
    assert_eq!(unescape_into(b"%e2%82%ac", &mut lower), Ok(()));
    assert_eq!(lower, "\u{20ac}".as_bytes());
}

#[test]
fn names() {
    let longest = "n".repeat(255);
    assert_eq!(validate_name(longest.as_bytes()), Ok(&*longest));
    assert_eq!(validate_name("n".repeat(256).as_bytes()), Err(NameError::TooLong));
    assert_eq!(validate_name(b""), Err(NameError::Empty));
    assert_eq!(validate_name(b"\xc3"), Err(NameError::NotUtf8));
    assert_eq!(validate_name(b"a\nb"), Err(NameError::ControlCharacter));
    assert_eq!(validate_name("a\u{9f}".as_bytes()), Err(NameError::ControlCharacter));
    assert_eq!(Text::new(b"%zz").name(&mut Vec::new()), Err(NameError::BadEscape));
}

proptest! {
    #![proptest_config(seed::config(2000))]

    #[test]
    fn handles_come_back(shard: u16, seq: u64, lease: Option<u64>, shift in 0u32..64) {
        let handle = Handle { id: id(shard, seq >> shift), lease: lease.map(|n| n >> shift) };
        let mut out = Vec::new();
        handle.write(&mut out);
        prop_assert_eq!(Handle::parse(&out), Ok(handle));
    }

    /// What is accepted has one lower-case form, and it is the one that was accepted.
    #[test]
    fn handles_are_canonical(text in "[0-9a-z.]{0,18}") {
        if let Ok(handle) = Handle::parse(text.as_bytes()) {
            prop_assert_eq!(handle.to_string(), text);
        }
    }

    #[test]
    fn values_come_back(value: Vec<u8>) {
        let mut out = Vec::new();
        escape(&mut out, &value);
        prop_assert!(out.iter().all(|&byte| byte > b' ' && byte != 0x7f));
        prop_assert!(std::str::from_utf8(&out).is_ok());
        let mut buffer = Vec::new();
        prop_assert_eq!(Text::new(&out).bytes(&mut buffer), Ok(&value[..]));
    }
}
