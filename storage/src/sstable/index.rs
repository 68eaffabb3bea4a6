//! The block index: partitions of entries, and a top index over the partitions.

use bytes::Bytes;
use common::envelope::Magic;
use common::ids::Seq;
use common::time::Micros;
use serde::{Deserialize, Serialize};

pub(super) const PARTITION_MAGIC: Magic = *b"STLI";
pub(super) const TOP_MAGIC: Magic = *b"STLT";
/// Entries of a partition.
pub(super) const PARTITION_ENTRIES: usize = 256;

/// A block, or a partition of the index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IndexEntry {
    pub(crate) first_key: Bytes,
    /// Its first row began in the block before.
    pub(crate) continues: bool,
    pub(crate) offset: u64,
    pub(crate) length: u32,
    /// Lowest and highest cell timestamp; the lower is above the higher if there is no cell.
    pub(crate) timestamps: (Micros, Micros),
    pub(crate) seqs: (Seq, Seq),
}

/// All partitions, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TopIndex {
    pub(super) cells: Vec<IndexEntry>,
    pub(super) deletes: Vec<IndexEntry>,
}

/// Lowest and highest of what it has seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) timestamps: (Micros, Micros),
    pub(super) seqs: (Seq, Seq),
}

impl Bounds {
    pub(super) const NONE: Self = Self { timestamps: (Micros::MAX, Micros::MIN), seqs: (Seq::MAX, Seq::ZERO) };

    pub(super) fn see_seq(&mut self, seq: Seq) {
        self.seqs = (self.seqs.0.min(seq), self.seqs.1.max(seq));
    }

    pub(super) fn see_timestamp(&mut self, t: Micros) {
        self.timestamps = (self.timestamps.0.min(t), self.timestamps.1.max(t));
    }

    pub(super) fn join(&mut self, timestamps: (Micros, Micros), seqs: (Seq, Seq)) {
        self.timestamps = (self.timestamps.0.min(timestamps.0), self.timestamps.1.max(timestamps.1));
        self.seqs = (self.seqs.0.min(seqs.0), self.seqs.1.max(seqs.1));
    }
}
