//! A file of the configuration, in each of the three ways to write one: it is read, or all that is
//! wrong with it is said. What was read can be written down and read again.
//!
//! Input: a byte that chooses the ending, then the file.

#![no_main]

#[path = "../../crates/server/src/config/mod.rs"]
#[allow(dead_code, unused_imports, reason = "a target looks at files only")]
mod config;
#[path = "../../crates/server/src/quantity.rs"]
#[allow(dead_code, reason = "a target looks at files only")]
mod quantity;

use config::{Environment, OPTIONS, check};
use libfuzzer_sys::fuzz_target;
use std::path::PathBuf;
use std::sync::LazyLock;

/// A file for each ending, in memory where there is a disk of it.
static FILES: LazyLock<[PathBuf; 3]> = LazyLock::new(|| {
    let memory = PathBuf::from("/dev/shm");
    let folder = if memory.is_dir() { memory } else { std::env::temp_dir() };
    let process = std::process::id();
    ["toml", "json", "yaml"].map(|ending| folder.join(format!("courant-fuzz-{process}.{ending}")))
});

fuzz_target!(|input: &[u8]| {
    let Some((&chosen, text)) = input.split_first() else { return };
    // The address of a listener may be a name, and nobody is to be asked for made-up ones.
    if text.windows(6).any(|part| part == b"native" || part == b"listen") {
        return;
    }
    let path = &FILES[usize::from(chosen) % FILES.len()];
    std::fs::write(path, text).expect("a file");
    let environment = Environment::default();
    match check(path, &environment) {
        Ok(config) => {
            let mut settings = config.settings;
            for row in OPTIONS {
                let text = row.field.text(&mut settings);
                row.field.set(&mut settings, &text).expect("what is in force is allowed");
                assert_eq!(row.field.text(&mut settings), text, "{}", row.key);
            }
        }
        Err(faults) => {
            assert!(!faults.0.is_empty());
            assert!(faults.0.iter().all(|fault| !fault.to_string().is_empty()));
        }
    }
});
