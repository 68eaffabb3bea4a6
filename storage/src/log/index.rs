//! What a segment or a log object holds, by tablet: written at its end, so that recovery reads its own tablets' part only.
//!
//! ```text
//! index     envelope STLX, version 1: log, number, parts (tablet, epoch, runs (gap after the run before, length))
//! footer    32 bytes: magic b"STELELOG" · version u16 1 · u16 0 · length of the index u32 · its offset u64 · u32 0 ·
//!           CRC32C of the 28 bytes before
//! ```

use crate::format::LogName;
use common::envelope::{self, Magic};
use common::ids::{Epoch, TabletId};
use common::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Range;

pub(super) const FOOTER_BYTES: usize = 32;
const FOOTER_MAGIC: &[u8; 8] = b"STELELOG";
const FOOTER_VERSION: u16 = 1;
const INDEX_MAGIC: Magic = *b"STLX";
const INDEX_FORMAT: u16 = 1;

/// Whose records: a tablet as one of its owners.
pub(crate) type Part = (TabletId, Epoch);

/// Where the records of each part lie, in the order they were appended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Index {
    parts: BTreeMap<Part, Vec<Range<u64>>>,
}

/// Bytes after the run before, and its length.
type Gap = (u64, u64);

#[derive(Serialize, Deserialize)]
struct StoredIndex {
    log: LogName,
    number: u64,
    parts: Vec<(TabletId, Epoch, Vec<Gap>)>,
}

impl Index {
    /// Notes records behind those that the part has already.
    pub(super) fn add(&mut self, part: Part, run: Range<u64>) {
        let runs = self.parts.entry(part).or_default();
        match runs.last_mut() {
            Some(last) if last.end == run.start => last.end = run.end,
            _ => runs.push(run),
        }
    }

    /// Adds what lies behind all that it has.
    pub(super) fn extend(&mut self, later: Self) {
        for (part, runs) in later.parts {
            runs.into_iter().for_each(|run| self.add(part, run));
        }
    }

    /// Where the part's records lie, ascending; empty if it has none.
    pub(super) fn runs(&self, part: Part) -> &[Range<u64>] {
        self.parts.get(&part).map_or(&[], Vec::as_slice)
    }

    /// The index in its envelope.
    pub(super) fn encode(&self, log: LogName, number: u64) -> Result<Vec<u8>> {
        let parts = self.parts.iter().map(|((tablet, epoch), runs)| (*tablet, *epoch, gaps(runs))).collect();
        envelope::encode(INDEX_MAGIC, INDEX_FORMAT, &StoredIndex { log, number, parts })
    }

    /// Reads the index of `number`, whose records end at `end`.
    ///
    /// # Errors
    /// `Corrupt`, naming what does not fit.
    pub(super) fn decode(bytes: &[u8], log: LogName, number: u64, end: u64) -> Result<Self> {
        let stored: StoredIndex = envelope::decode(INDEX_MAGIC, INDEX_FORMAT, bytes)?;
        if (stored.log, stored.number) != (log, number) {
            return Err(Error::corrupt(format!("log index: it is of {:?}, number {}", stored.log, stored.number)));
        }
        let mut index = Self::default();
        for (tablet, epoch, gaps) in stored.parts {
            let runs = runs(&gaps, end).ok_or_else(|| Error::corrupt(format!("log index: runs of tablet {tablet} lie past {end}")))?;
            index.parts.insert((tablet, epoch), runs);
        }
        Ok(index)
    }
}

fn gaps(runs: &[Range<u64>]) -> Vec<Gap> {
    let mut at = 0;
    runs.iter().map(|run| (run.start - std::mem::replace(&mut at, run.end), run.end - run.start)).collect()
}

fn runs(gaps: &[Gap], end: u64) -> Option<Vec<Range<u64>>> {
    let mut at = 0u64;
    let run = |(gap, length): &Gap| {
        let start = at.checked_add(*gap)?;
        at = start.checked_add(*length).filter(|to| *to <= end)?;
        Some(start..at)
    };
    gaps.iter().map(run).collect()
}

/// The end of a segment or log object: says where its index lies.
pub(super) fn footer(index_offset: u64, index_length: usize) -> Result<[u8; FOOTER_BYTES]> {
    let length = u32::try_from(index_length).map_err(|_| Error::internal("a log index is larger than 4 GiB"))?;
    let mut out = [0; FOOTER_BYTES];
    out[..8].copy_from_slice(FOOTER_MAGIC);
    out[8..10].copy_from_slice(&FOOTER_VERSION.to_le_bytes());
    out[12..16].copy_from_slice(&length.to_le_bytes());
    out[16..24].copy_from_slice(&index_offset.to_le_bytes());
    let crc = crc32c::crc32c(&out[..28]);
    out[28..].copy_from_slice(&crc.to_le_bytes());
    Ok(out)
}

/// Where the index lies, by the end of a file of `size` bytes; `None` if that is no footer of this version.
pub(super) fn find_index(tail: &[u8], size: u64) -> Option<Range<u64>> {
    let footer: &[u8; FOOTER_BYTES] = tail.last_chunk()?;
    let u32_at = |at: usize| u32::from_le_bytes([footer[at], footer[at + 1], footer[at + 2], footer[at + 3]]);
    let whole =
        &footer[..8] == FOOTER_MAGIC && footer[8..12] == [1, 0, 0, 0] && u32_at(24) == 0 && u32_at(28) == crc32c::crc32c(&footer[..28]);
    let offset = u64::from(u32_at(16)) | u64::from(u32_at(20)) << 32;
    let end = offset.checked_add(u64::from(u32_at(12)))?;
    (whole && Some(end) == size.checked_sub(FOOTER_BYTES as u64)).then_some(offset..end)
}
