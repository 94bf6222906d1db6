//! CRC32C, plain and seeded.

use crc_fast::{CrcAlgorithm, Digest};

/// The CRC32C of `bytes`.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

/// The CRC32C that `bytes` have after something with the CRC32C `seed`: what was written for one
/// segment does not verify in another.
#[expect(clippy::cast_possible_truncation, reason = "a CRC32C has 32 bits")]
pub(crate) fn crc32c_seeded(seed: u32, bytes: &[u8]) -> u32 {
    // The register holds the complement of the finished checksum.
    let state = u64::from(!seed);
    let mut digest = Digest::new_with_init_state(CrcAlgorithm::Crc32Iscsi, state);
    digest.update(bytes);
    digest.finalize() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_a_second_implementation_at_every_small_length_and_some_large() {
        let bytes: Vec<u8> = (0..100_000_u32).map(|i| (i * 31 % 251) as u8).collect();
        for len in (0..2_000).chain([4_096, 65_537, 99_999]) {
            let part = &bytes[len % 7..len.max(len % 7)];
            assert_eq!(crc32c(part), crc32c::crc32c(part), "length {len}");
            let seed = 0x1234_5678 ^ u32::try_from(len).unwrap();
            assert_eq!(crc32c_seeded(seed, part), crc32c::crc32c_append(seed, part));
        }
    }

    #[test]
    fn knows_the_check_value_of_the_standard() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }
}
