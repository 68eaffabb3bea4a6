//! The Bloom filter over the rows of an SSTable: their keys, and the parts of their keys before the time's.
//!
//! It lies in *partitions* by key order, each read on its own when first asked, below an *index* that says where each begins.
//! A lookup hashes its key once, for all SSTables. Prefixes and keys share the bits of a partition; they are hashed
//! differently.

mod builder;
mod index;
mod partition;

pub(super) use builder::FilterBuilder;
pub(super) use index::{Ask, FILTER_INDEX_MAGIC, FilterIndex, FilterPlace};
pub(super) use partition::FilterPartition;

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The seeds of the hashes: files must be the same wherever they are made.
const ROW: u64 = 3;
const PREFIX: u64 = 4;

/// What a filter knows of a row key or of a prefix: XXH3, 64 bits, of its bytes. Nothing is safe from a writer who chooses keys
/// that collide: lookups of them then read a block in vain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyHash(pub(in crate::sstable) u64);

impl KeyHash {
    /// Of a whole row key.
    pub(crate) fn of_row(key: &[u8]) -> Self {
        Self(xxh3_64_with_seed(key, ROW))
    }

    /// Of the parts of a row key before the time's, as [`common::schema::KeySchema::prefix_len`] cuts them.
    pub(crate) fn of_prefix(prefix: &[u8]) -> Self {
        Self(xxh3_64_with_seed(prefix, PREFIX))
    }
}

#[cfg(test)]
mod tests;
