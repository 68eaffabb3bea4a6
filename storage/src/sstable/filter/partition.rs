//! One partition: a Bloom filter of `bloomfilter`, over hashes.

use super::KeyHash;
use bloomfilter::Bloom;
use common::envelope::{self, Magic};
use common::{Error, Result};

const MAGIC: Magic = *b"STLB";
const FORMAT: u16 = 1;
/// About one false positive in a thousand.
const BITS_PER_KEY: usize = 14;
const SEED: [u8; 32] = *b"stele row key filter, version 2.";
/// `bloomfilter`'s own header; its bitmap follows.
const HEADER_BYTES: usize = 45;
/// A writer takes 10. More would only make lookups slow.
const MAX_HASHES: u32 = 64;

/// A partition in memory.
#[derive(Clone, Debug)]
pub(in crate::sstable) struct FilterPartition {
    bloom: Bloom<u64>,
}

impl FilterPartition {
    /// A partition of exactly these hashes.
    pub(super) fn of(hashes: &[KeyHash]) -> Result<Self> {
        let count = hashes.len().max(1);
        let mut bloom = Bloom::new_with_seed((count * BITS_PER_KEY).div_ceil(8), count, &SEED).map_err(Error::internal)?;
        hashes.iter().for_each(|hash| bloom.set(&hash.0));
        Ok(Self { bloom })
    }

    pub(super) fn encode(self) -> Result<Vec<u8>> {
        envelope::encode(MAGIC, FORMAT, &self.bloom.into_bytes())
    }

    /// Reads what [`super::FilterBuilder`] wrote at a [`super::FilterPlace`].
    ///
    /// # Errors
    /// `Corrupt` for damaged bytes.
    pub(in crate::sstable) fn decode(bytes: &[u8]) -> Result<Self> {
        let bits: Vec<u8> = envelope::decode(MAGIC, FORMAT, bytes)?;
        if bits.len() <= HEADER_BYTES {
            return Err(Error::corrupt("a filter without bits"));
        }
        let bloom = Bloom::from_bytes(bits).map_err(|why| Error::corrupt(format!("a filter that does not decode: {why}")))?;
        if bloom.number_of_hash_functions() > MAX_HASHES {
            return Err(Error::corrupt(format!("a filter with more than {MAX_HASHES} hash functions")));
        }
        Ok(Self { bloom })
    }

    /// Whether a row key or prefix may be here. Never false for one that is.
    pub(in crate::sstable) fn may_contain(&self, hash: KeyHash) -> bool {
        self.bloom.check(&hash.0)
    }

    /// Bytes of memory.
    pub(in crate::sstable) fn size(&self) -> usize {
        HEADER_BYTES + (self.bloom.len() / 8) as usize
    }
}
