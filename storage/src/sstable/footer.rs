//! The footer: 100 bytes at the end of an SSTable.
//!
//! ```text
//! sections    7 × (offset u64 LE, length u32 LE): range deletes, index partitions, filter partitions, filter index, top index,
//!             dictionary, properties
//! version     u16 LE   3
//! reserved    u16 LE   0
//! crc32c      u32 LE   of the 88 bytes above
//! magic       8 bytes  b"STELESST"
//! ```

pub(super) const FOOTER_BYTES: usize = 100;
const MAGIC: &[u8; 8] = b"STELESST";
const VERSION: u16 = 3;
const SECTIONS: usize = 7;
const VERSION_AT: usize = 12 * SECTIONS;
const CRC_AT: usize = 88;
const MAGIC_AT: usize = 92;
/// Where the footer of version 1 began, which had its magic and version in front.
const OLD_AT: usize = FOOTER_BYTES - 80;

/// Where a section lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) offset: u64,
    pub(super) length: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Footer {
    pub(super) range_deletes: Place,
    pub(super) partitions: Place,
    pub(super) filters: Place,
    pub(super) filter_index: Place,
    pub(super) top: Place,
    pub(super) dictionary: Place,
    pub(super) properties: Place,
}

impl Footer {
    fn sections(&self) -> [Place; SECTIONS] {
        [self.range_deletes, self.partitions, self.filters, self.filter_index, self.top, self.dictionary, self.properties]
    }

    /// The sections with their names.
    pub(super) fn named(&self) -> [(&'static str, Place); SECTIONS] {
        let names = ["range deletes", "index partitions", "filter partitions", "filter index", "top index", "dictionary", "properties"];
        let places = self.sections();
        std::array::from_fn(|i| (names[i], places[i]))
    }

    pub(super) fn encode(&self) -> [u8; FOOTER_BYTES] {
        let mut out = [0; FOOTER_BYTES];
        for (place, at) in self.sections().iter().zip((0..).step_by(12)) {
            out[at..at + 8].copy_from_slice(&place.offset.to_le_bytes());
            out[at + 8..at + 12].copy_from_slice(&place.length.to_le_bytes());
        }
        out[VERSION_AT..VERSION_AT + 2].copy_from_slice(&VERSION.to_le_bytes());
        let crc = crc32c::crc32c(&out[..CRC_AT]);
        out[CRC_AT..MAGIC_AT].copy_from_slice(&crc.to_le_bytes());
        out[MAGIC_AT..].copy_from_slice(MAGIC);
        out
    }

    /// Reads the footer of an object of `size` bytes; its sections lie in order, without gaps, right before it.
    pub(super) fn decode(bytes: &[u8], size: u64) -> Result<Self, String> {
        let bytes: &[u8; FOOTER_BYTES] = bytes.try_into().map_err(|_| format!("{} bytes are no footer", bytes.len()))?;
        let u32_at = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        if &bytes[MAGIC_AT..] != MAGIC {
            return Err(if bytes[OLD_AT..].starts_with(MAGIC) {
                format!("format version {}, this build reads {VERSION}: write the table anew", u32_at(OLD_AT + MAGIC.len()))
            } else {
                "it is no SSTable: wrong magic".into()
            });
        }
        if u32_at(CRC_AT) != crc32c::crc32c(&bytes[..CRC_AT]) {
            return Err("footer: checksum mismatch".into());
        }
        if u32_at(VERSION_AT) != u32::from(VERSION) {
            return Err(format!("format version {}, this build reads {VERSION}", u32_at(VERSION_AT)));
        }
        let place = |i: usize| {
            let at = 12 * i;
            Place { offset: u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32, length: u32_at(at + 8) }
        };
        let footer = Self {
            range_deletes: place(0),
            partitions: place(1),
            filters: place(2),
            filter_index: place(3),
            top: place(4),
            dictionary: place(5),
            properties: place(6),
        };
        footer.check(size)
    }

    fn check(self, size: u64) -> Result<Self, String> {
        let mut at = self.range_deletes.offset;
        for section in self.sections() {
            if section.offset != at {
                return Err("footer: its sections do not join".into());
            }
            at = at.saturating_add(u64::from(section.length));
        }
        if at.saturating_add(FOOTER_BYTES as u64) == size { Ok(self) } else { Err(format!("footer: its sections do not fit {size} bytes")) }
    }
}
