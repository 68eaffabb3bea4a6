//! A page: the unit of compression and checksum.
//!
//! ```text
//! codec     u8       0 plain, 1 LZ4 block
//! length    u32 LE   bytes when decoded
//! crc32c    u32 LE   of codec, length and data
//! data
//! ```

use common::limits;

const HEADER_BYTES: usize = 9;
const PLAIN: u8 = 0;
const LZ4: u8 = 1;
/// LZ4 cannot expand more: a length above is damage, and claims no memory.
const MAX_EXPANSION: usize = 255;

/// The page of `data`, compressed if that makes it smaller.
pub(super) fn encode(data: &[u8]) -> Vec<u8> {
    let packed = lz4_flex::block::compress(data);
    let (codec, body) = if packed.len() < data.len() { (LZ4, packed.as_slice()) } else { (PLAIN, data) };
    let mut out = Vec::with_capacity(HEADER_BYTES + body.len());
    out.push(codec);
    // Cells are at most 100 MiB and a block ends with the cell that fills it.
    out.extend_from_slice(&(data.len() as u32).to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&out), body);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(body);
    out
}

/// The verified data of exactly one page.
pub(super) fn decode(page: &[u8]) -> Result<Vec<u8>, String> {
    let Some((header, body)) = page.split_at_checked(HEADER_BYTES) else {
        return Err(format!("{} bytes are less than a page", page.len()));
    };
    let u32_at = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let (length, crc) = (u32_at(1) as usize, u32_at(5));
    if crc32c::crc32c_append(crc32c::crc32c(&header[..5]), body) != crc {
        return Err("checksum mismatch".into());
    }
    match header[0] {
        PLAIN if body.len() == length => Ok(body.to_vec()),
        LZ4 if length <= limits::MAX_RECORD_BYTES && length / MAX_EXPANSION <= body.len() => {
            let data = lz4_flex::block::decompress(body, length).map_err(|e| format!("it does not decompress: {e}"))?;
            if data.len() == length { Ok(data) } else { Err(format!("{} bytes where {length} are promised", data.len())) }
        }
        codec => Err(format!("codec {codec} with {} bytes for {length}", body.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_is_refused() {
        for data in [vec![7u8; 1000], (0..=255).collect()] {
            let page = encode(&data);
            assert_eq!(decode(&page).unwrap(), data);
            for bit in 0..page.len() * 8 {
                let mut damaged = page.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                assert!(decode(&damaged).is_err(), "bit {bit}");
            }
        }
    }
}
