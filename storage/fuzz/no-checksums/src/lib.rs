//! Every checksum is 0. A fuzzer that had to find right ones would never get past them.

/// Of any bytes.
#[must_use]
pub fn crc32c(_: &[u8]) -> u32 {
    0
}

/// Of any further bytes.
#[must_use]
pub fn crc32c_append(_: u32, _: &[u8]) -> u32 {
    0
}
