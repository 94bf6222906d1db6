//! Records past their checksums, in any order and with any fields: each is refused or applied,
//! and a snapshot of what comes out of them is the same state again.

#![no_main]

use courant::testing::apply_records;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| apply_records(input));
