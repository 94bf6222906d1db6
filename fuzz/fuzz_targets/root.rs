//! The root of a snapshot past its checksum: it is refused, or it is a state that works.

#![no_main]

use courant::testing::restore_root;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| restore_root(input));
