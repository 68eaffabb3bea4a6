//! The frame of a group commit, and a segment's header.
//!
//! ```text
//! magic     4 bytes  b"STLG"
//! version   u16 LE   1
//! reserved  u16 LE   0
//! number    u64 LE   from 1 within the segment, without gaps
//! length    u32 LE   bytes of records
//! count     u32 LE   records; 0: the end of the segment: an index for records, then a footer (`index.rs`)
//! crc32c    u32 LE   of the records
//! crc32c    u32 LE   of the 28 bytes above
//! records
//! ```
//!
//! One group is one write and one fdatasync, and the next is written only after it: so damage that a
//! later group follows is damage, and damage that nothing follows is a torn tail.

use super::index::{Index, footer};
use crate::format::LogName;
use common::envelope::{self, Magic};
use common::{Error, Result};
use serde::{Deserialize, Serialize};

pub(super) const HEADER_BYTES: usize = 32;
const MAGIC: Magic = *b"STLG";
const VERSION: u16 = 1;
const SEGMENT_MAGIC: Magic = *b"STLS";
const SEGMENT_FORMAT: u16 = 2;

/// The first record of a segment: which it is, so that a misplaced file is noticed.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SegmentHeader {
    log: LogName,
    number: u64,
}

/// The header of segment `number`.
pub(super) fn segment_header(log: LogName, number: u64) -> Result<Vec<u8>> {
    envelope::encode(SEGMENT_MAGIC, SEGMENT_FORMAT, &SegmentHeader { log, number })
}

/// Which segment `bytes` begin, and how long its header is.
pub(super) fn read_segment_header(bytes: &[u8]) -> Result<(LogName, u64, usize)> {
    let (version, payload, length) = envelope::open(SEGMENT_MAGIC, bytes)?;
    if version != SEGMENT_FORMAT {
        return Err(Error::corrupt(format!("segment header: format version {version}, this build reads {SEGMENT_FORMAT}")));
    }
    let found: SegmentHeader = envelope::decode_payload(SEGMENT_MAGIC, payload)?;
    Ok((found.log, found.number, length))
}

/// Checks a segment's header and gives its length.
pub(super) fn check_segment_header(bytes: &[u8], log: LogName, number: u64) -> Result<usize> {
    let (found, found_number, length) = read_segment_header(bytes)?;
    if (found, found_number) == (log, number) {
        Ok(length)
    } else {
        Err(Error::corrupt(format!("segment header: it says that it is segment {found_number} of {found:?}")))
    }
}

/// A verified group header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GroupHeader {
    pub(super) number: u64,
    pub(super) length: u32,
    pub(super) count: u32,
    pub(super) crc: u32,
}

impl GroupHeader {
    pub(super) fn of(number: u64, count: u32, records: &[u8]) -> Result<Self> {
        let length = u32::try_from(records.len()).map_err(|_| Error::invalid("a group commit is larger than 4 GiB"))?;
        Ok(Self { number, length, count, crc: crc32c::crc32c(records) })
    }

    pub(super) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[..4].copy_from_slice(&MAGIC);
        out[4..6].copy_from_slice(&VERSION.to_le_bytes());
        out[8..16].copy_from_slice(&self.number.to_le_bytes());
        out[16..20].copy_from_slice(&self.length.to_le_bytes());
        out[20..24].copy_from_slice(&self.count.to_le_bytes());
        out[24..28].copy_from_slice(&self.crc.to_le_bytes());
        let crc = crc32c::crc32c(&out[..28]);
        out[28..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// The header at the start of `bytes`; `None` if it is damaged or short.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let header: &[u8; HEADER_BYTES] = bytes.get(..HEADER_BYTES)?.try_into().ok()?;
        let u32_at = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let number = u64::from(u32_at(8)) | u64::from(u32_at(12)) << 32;
        let whole = header[..4] == MAGIC && header[4..8] == [1, 0, 0, 0] && u32_at(28) == crc32c::crc32c(&header[..28]);
        whole.then(|| Self { number, length: u32_at(16), count: u32_at(20), crc: u32_at(24) })
    }

    pub(super) fn is_end(&self) -> bool {
        self.count == 0
    }
}

/// What ends a segment whose group `number` would begin at `at`.
pub(super) fn segment_end(log: LogName, segment: u64, index: &Index, number: u64, at: u64) -> Result<Vec<u8>> {
    let encoded = index.encode(log, segment)?;
    let header = GroupHeader::of(number, 0, &encoded)?.encode();
    let footer = footer(at + HEADER_BYTES as u64, encoded.len())?;
    Ok([header.as_slice(), &encoded, &footer].concat())
}

/// Whether a group numbered above `number` begins somewhere in `bytes`.
pub(super) fn later_group_in(bytes: &[u8], number: u64) -> bool {
    let starts = bytes.windows(MAGIC.len()).enumerate().filter(|(_, w)| **w == MAGIC);
    starts.filter_map(|(at, _)| GroupHeader::decode(&bytes[at..])).any(|g| g.number > number)
}
