//! Patterns of topics and of permissions: the matcher says what a plain definition of it says.
//!
//! Input: pattern, a zero byte, name.

#![no_main]

use courant_engine::access::Pattern;
use libfuzzer_sys::fuzz_target;

/// The definition, which takes exponential time; only asked where that is short.
fn defined(pattern: &[&str], name: &[&str]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((&"#", rest)), None) => defined(rest, name),
        (Some((&"#", rest)), Some((_, after))) => defined(rest, name) || defined(pattern, after),
        (Some((&wanted, rest)), Some((&segment, after))) => {
            segment_fits(wanted.as_bytes(), segment.as_bytes()) && defined(rest, after)
        }
        _ => false,
    }
}

fn segment_fits(wanted: &[u8], segment: &[u8]) -> bool {
    match (wanted.split_first(), segment.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), None) => segment_fits(rest, segment),
        (Some((b'*', rest)), Some((_, after))) => {
            segment_fits(rest, segment) || segment_fits(wanted, after)
        }
        (Some((one, rest)), Some((other, after))) => one == other && segment_fits(rest, after),
        _ => false,
    }
}

fuzz_target!(|input: &[u8]| {
    let Ok(input) = std::str::from_utf8(input) else { return };
    let Some((pattern, name)) = input.split_once('\0') else { return };
    let Ok(compiled) = Pattern::new(pattern) else { return };
    let is_so = compiled.matches(name);
    if pattern.len() > 24 || name.len() > 24 || pattern.matches(['*', '#']).count() > 6 {
        return;
    }
    let is_shut = name.starts_with('$') && pattern.starts_with(['*', '#']);
    let is_every = pattern.split('.').all(|segment| segment == "#");
    let (pattern, name): (Vec<_>, Vec<_>) =
        (pattern.split('.').collect(), name.split('.').collect());
    assert_eq!(is_so, is_every || !is_shut && defined(&pattern, &name));
});
