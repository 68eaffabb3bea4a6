//! The Bloom filter of format version 1: one over all row keys with cells.

use bloomfilter::Bloom;
use common::envelope::Magic;

pub(in crate::sstable) const FILTER_MAGIC: Magic = *b"STLF";
/// About one false positive in a thousand.
const BITS_PER_KEY: usize = 14;
/// The hash functions' key: files must be the same wherever they are made.
const SEED: [u8; 32] = *b"stele row key filter, version 1.";
/// `bloomfilter`'s own header; its bitmap follows.
const HEADER_BYTES: usize = 45;

pub(in crate::sstable) type Filter = Bloom<[u8]>;

/// A filter of keys given by their hashes would be smaller in memory, but the crate hashes for itself:
/// keys are kept until the number of them is known.
#[derive(Debug, Default)]
pub(in crate::sstable) struct FilterBuilder {
    keys: Vec<u8>,
    ends: Vec<usize>,
}

impl FilterBuilder {
    pub(in crate::sstable) fn add(&mut self, key: &[u8]) {
        self.keys.extend_from_slice(key);
        self.ends.push(self.keys.len());
    }

    pub(in crate::sstable) fn finish(self) -> Result<Vec<u8>, String> {
        let count = self.ends.len().max(1);
        let mut filter = Filter::new_with_seed((count * BITS_PER_KEY).div_ceil(8), count, &SEED)?;
        let mut from = 0;
        for end in self.ends {
            filter.set(&self.keys[from..end]);
            from = end;
        }
        Ok(filter.into_bytes())
    }
}

pub(in crate::sstable) fn decode(bytes: Vec<u8>) -> Result<Filter, String> {
    if bytes.len() <= HEADER_BYTES {
        return Err("a filter without bits".into());
    }
    let filter = Filter::from_bytes(bytes)?;
    if filter.number_of_hash_functions() > 64 { Err("a filter with more than 64 hash functions".into()) } else { Ok(filter) }
}
