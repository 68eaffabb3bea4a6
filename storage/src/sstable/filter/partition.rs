//! One partition: a split block Bloom filter over hashes.
//!
//! The bits of a key lie in one *line* of 64 bytes, one in each of its eight words, so that a lookup touches one line of the
//! processor's cache. The method is that of F. Putze, P. Sanders, J. Singler, *Cache-, Hash- and Space-Efficient Bloom
//! Filters* (2007), with the word-wise bits and multipliers of Apache Parquet's filters, in words twice as wide.

use super::KeyHash;
use common::envelope::{self, Magic};
use common::{Error, Result};

const MAGIC: Magic = *b"STLB";
const FORMAT: u16 = 2;
/// About two false positives in a thousand.
const BITS_PER_KEY: usize = 14;
const WORDS: usize = 8;
const LINE_BYTES: usize = 8 * WORDS;
/// Odd numbers that spread the low half of a hash, one a word.
const MULTIPLIERS: [u32; WORDS] = [0x47b6_137b, 0x4497_4d91, 0x8824_ad5b, 0xa2b7_289d, 0x7054_95c7, 0x2df1_424b, 0x9efc_4947, 0x5c6b_fb31];

/// The bits of a key lie in one of these.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct Line([u64; WORDS]);

/// A partition in memory.
#[derive(Clone, Debug)]
pub(in crate::sstable) struct FilterPartition {
    /// At least one.
    lines: Box<[Line]>,
}

/// The bit of each word.
fn bits(hash: u64) -> [u64; WORDS] {
    MULTIPLIERS.map(|m| 1 << ((hash as u32).wrapping_mul(m) >> 26))
}

impl FilterPartition {
    /// A partition of exactly these hashes.
    pub(super) fn of(hashes: &[KeyHash]) -> Self {
        let count = (hashes.len() * BITS_PER_KEY).div_ceil(8 * LINE_BYTES).max(1);
        let mut filter = Self { lines: vec![Line::default(); count].into() };
        for KeyHash(hash) in hashes {
            let at = filter.line_of(*hash);
            for (word, bit) in filter.lines[at].0.iter_mut().zip(bits(*hash)) {
                *word |= bit;
            }
        }
        filter
    }

    /// The line of a hash, by its high half.
    fn line_of(&self, hash: u64) -> usize {
        (((hash >> 32) * self.lines.len() as u64) >> 32) as usize
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>> {
        let bytes: Vec<u8> = self.lines.iter().flat_map(|line| line.0).flat_map(u64::to_le_bytes).collect();
        envelope::encode(MAGIC, FORMAT, &bytes)
    }

    /// Reads what [`super::FilterBuilder`] wrote at a [`super::FilterPlace`].
    ///
    /// # Errors
    /// `Corrupt` for damaged bytes.
    pub(in crate::sstable) fn decode(bytes: &[u8]) -> Result<Self> {
        let bytes: Vec<u8> = envelope::decode(MAGIC, FORMAT, bytes)?;
        let (lines, rest) = bytes.as_chunks::<LINE_BYTES>();
        if lines.is_empty() || !rest.is_empty() || u32::try_from(lines.len()).is_err() {
            return Err(Error::corrupt(format!("a filter of {} bytes, which are no lines of {LINE_BYTES}", bytes.len())));
        }
        Ok(Self { lines: lines.iter().map(line).collect() })
    }

    /// Whether a row key or prefix may be here. Never false for one that is.
    pub(in crate::sstable) fn may_contain(&self, hash: KeyHash) -> bool {
        let line = &self.lines[self.line_of(hash.0)].0;
        line.iter().zip(bits(hash.0)).all(|(word, bit)| word & bit != 0)
    }

    /// Bytes of memory.
    pub(in crate::sstable) fn size(&self) -> usize {
        LINE_BYTES * self.lines.len()
    }
}

fn line(bytes: &[u8; LINE_BYTES]) -> Line {
    let mut line = Line::default();
    for (word, bytes) in line.0.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    line
}
