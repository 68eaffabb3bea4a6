//! Which partition to ask.

use bytes::Bytes;
use common::envelope::Magic;
use serde::{Deserialize, Serialize};

/// The index's envelope.
pub(in crate::sstable) const FILTER_INDEX_MAGIC: Magic = *b"STLF";

/// Where a partition lies, and from which row key on it speaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::sstable) struct FilterPlace {
    /// The first row key in it. It goes up to that of the next.
    pub(in crate::sstable) first: Bytes,
    /// In the object.
    pub(in crate::sstable) offset: u64,
    /// Bytes, the envelope included.
    pub(in crate::sstable) length: u32,
}

/// The partitions in key order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::sstable) struct FilterIndex {
    /// Whether it holds the prefixes of keys too.
    pub(in crate::sstable) prefixes: bool,
    /// In key order.
    pub(in crate::sstable) partitions: Vec<FilterPlace>,
}

/// What the index alone can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sstable) enum Ask {
    /// There are none.
    Absent,
    /// There may be some, and no partition knows better.
    Present,
    /// Partition *n* knows.
    Partition(usize),
}

impl FilterIndex {
    /// Whether its partitions rise by key.
    pub(in crate::sstable) fn is_sorted(&self) -> bool {
        self.partitions.is_sorted_by(|a, b| a.first < b.first)
    }

    /// Where to ask for the row of this key.
    pub(in crate::sstable) fn row(&self, key: &[u8]) -> Ask {
        self.last_from(key).map_or(Ask::Absent, Ask::Partition)
    }

    /// Where to ask for rows whose key before the time is `prefix`, cut by [`common::schema::KeySchema::prefix_len`].
    pub(in crate::sstable) fn prefix(&self, prefix: &[u8]) -> Ask {
        if !self.prefixes {
            return if self.partitions.is_empty() { Ask::Absent } else { Ask::Present };
        }
        let found = self.last_from(prefix);
        let next = found.map_or(0, |n| n + 1);
        // Its rows are neighbours: where they begin before `next` only that partition knows.
        if self.partitions.get(next).is_some_and(|p| p.first.starts_with(prefix)) {
            return Ask::Present;
        }
        found.map_or(Ask::Absent, Ask::Partition)
    }

    /// The last partition that begins at or before `key`.
    fn last_from(&self, key: &[u8]) -> Option<usize> {
        self.partitions.partition_point(|p| p.first.as_ref() <= key).checked_sub(1)
    }
}
