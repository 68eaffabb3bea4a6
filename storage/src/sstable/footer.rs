//! The footer: 80 bytes at the end of an SSTable.
//!
//! ```text
//! magic       8 bytes  b"STELESST"
//! version     u16 LE   1
//! reserved    u16 LE   0
//! sections    5 × (offset u64 LE, length u32 LE): index partitions, top index, dictionary, filter, properties
//! reserved    u32 LE   0
//! crc32c      u32 LE   of the 76 bytes above
//! ```

pub(super) const FOOTER_BYTES: usize = 80;
const MAGIC: &[u8; 8] = b"STELESST";
const VERSION: u16 = 1;
const SECTIONS_AT: usize = 12;
const CRC_AT: usize = 76;

/// Where a section lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) offset: u64,
    pub(super) length: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Footer {
    pub(super) partitions: Place,
    pub(super) top: Place,
    pub(super) dictionary: Place,
    pub(super) filter: Place,
    pub(super) properties: Place,
}

impl Footer {
    fn sections(&self) -> [Place; 5] {
        [self.partitions, self.top, self.dictionary, self.filter, self.properties]
    }

    pub(super) fn encode(&self) -> [u8; FOOTER_BYTES] {
        let mut out = [0; FOOTER_BYTES];
        out[..8].copy_from_slice(MAGIC);
        out[8..10].copy_from_slice(&VERSION.to_le_bytes());
        for (place, at) in self.sections().iter().zip((SECTIONS_AT..).step_by(12)) {
            out[at..at + 8].copy_from_slice(&place.offset.to_le_bytes());
            out[at + 8..at + 12].copy_from_slice(&place.length.to_le_bytes());
        }
        let crc = crc32c::crc32c(&out[..CRC_AT]);
        out[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads the footer of an object of `size` bytes; its sections lie in order, without gaps, right before it.
    pub(super) fn decode(bytes: &[u8], size: u64) -> Result<Self, String> {
        let bytes: &[u8; FOOTER_BYTES] = bytes.try_into().map_err(|_| format!("{} bytes are no footer", bytes.len()))?;
        let u32_at = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        if &bytes[..8] != MAGIC {
            return Err("it is no SSTable: wrong magic".into());
        }
        if u32_at(CRC_AT) != crc32c::crc32c(&bytes[..CRC_AT]) {
            return Err("footer: checksum mismatch".into());
        }
        if bytes[8..12] != [1, 0, 0, 0] {
            return Err(format!("format version {}, this build reads {VERSION}", u32_at(8)));
        }
        let place = |i: usize| {
            let at = SECTIONS_AT + 12 * i;
            Place { offset: u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32, length: u32_at(at + 8) }
        };
        let footer = Self { partitions: place(0), top: place(1), dictionary: place(2), filter: place(3), properties: place(4) };
        let mut at = footer.partitions.offset;
        for section in footer.sections() {
            if section.offset != at {
                return Err("footer: its sections do not join".into());
            }
            at = at.saturating_add(u64::from(section.length));
        }
        if at.saturating_add(FOOTER_BYTES as u64) == size {
            Ok(footer)
        } else {
            Err(format!("footer: its sections do not fit {size} bytes"))
        }
    }
}
