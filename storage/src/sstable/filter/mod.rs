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

use bloomfilter::reexports::siphasher::sip::SipHasher13;
use std::hash::Hasher;

/// The keys of the hashes: files must be the same wherever they are made.
const ROW: [u8; 16] = *b"stele row key, 2";
const PREFIX: [u8; 16] = *b"stele prefix, 2.";

/// What a filter knows of a row key or of a prefix: SipHash-1-3 of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyHash(u64);

impl KeyHash {
    /// Of a whole row key.
    pub(crate) fn of_row(key: &[u8]) -> Self {
        Self(hash(&ROW, key))
    }

    /// Of the parts of a row key before the time's, as [`common::schema::KeySchema::prefix_len`] cuts them.
    pub(crate) fn of_prefix(prefix: &[u8]) -> Self {
        Self(hash(&PREFIX, prefix))
    }
}

fn hash(key: &[u8; 16], bytes: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new_with_key(key);
    hasher.write(bytes);
    hasher.finish()
}

#[cfg(test)]
mod tests;
