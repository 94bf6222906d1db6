//! Patterns of topics and of permissions: the matcher says what a plain definition of it says.
//!
//! Input: pattern, a zero byte, name.

#![no_main]

use courant_engine::access::matches;
use libfuzzer_sys::fuzz_target;

/// The definition, which takes exponential time; only asked where that is short.
fn defined(pattern: &[&str], name: &[&str]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((&"#", rest)), None) => defined(rest, name),
        (Some((&"#", rest)), Some((_, after))) => defined(rest, name) || defined(pattern, after),
        (Some((&wanted, rest)), Some((&segment, after))) => {
            (wanted == "*" || wanted == segment) && defined(rest, after)
        }
        _ => false,
    }
}

fuzz_target!(|input: &[u8]| {
    let Ok(input) = std::str::from_utf8(input) else { return };
    let Some((pattern, name)) = input.split_once('\0') else { return };
    let is_so = matches(pattern, name);
    let (pattern, name): (Vec<_>, Vec<_>) =
        (pattern.split('.').collect(), name.split('.').collect());
    if pattern.len() + name.len() <= 16 {
        assert_eq!(is_so, defined(&pattern, &name));
    }
});
