//! The block index: partitions of entries, and a top index over the partitions.

use bytes::Bytes;
use common::envelope::Magic;
use common::ids::{FamilyId, Seq};
use common::time::Micros;
use serde::{Deserialize, Serialize};

pub(super) const PARTITION_MAGIC: Magic = *b"STLI";
pub(super) const TOP_MAGIC: Magic = *b"STLT";
/// Entries of each partition but the last of its section.
pub(super) const PARTITION_ENTRIES: usize = 64;

/// How a block holds its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BlockKind {
    /// Column by column.
    Columnar,
    /// Cell by cell; a row may span several.
    Cells,
    /// Deletes.
    Deletes,
}

/// A block.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IndexEntry {
    /// Key of its first row.
    pub first_key: Bytes,
    /// How it holds its rows.
    pub kind: BlockKind,
    /// Its first row began in the block before.
    pub continues: bool,
    /// In the object.
    pub offset: u64,
    /// Bytes.
    pub length: u32,
    /// Rows that begin in it or go on in it.
    pub rows: u32,
    /// Of its first row, among all rows with cells.
    pub first_ordinal: u64,
    /// Of its cells or deletes.
    pub bounds: Bounds,
    /// First and last column of a block of cells.
    pub columns: Option<ColumnSpan>,
    /// Of the declared columns that have cells in a columnar block; others have none there.
    pub values: Vec<ColumnBounds>,
}

/// From one column to another, both included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnSpan {
    /// Family and qualifier of the first.
    pub first: (FamilyId, Bytes),
    /// And of the last.
    pub last: (FamilyId, Bytes),
}

/// What is known of a column's values in a block: of all versions in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColumnBounds {
    /// The column's place in the dictionary.
    pub place: u32,
    /// Rows without a cell of it.
    pub nulls: u32,
    /// Lowest and highest.
    pub values: ValueBounds,
}

/// Lowest and highest value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ValueBounds {
    /// Some value is not of the declared type, or is to be combined with others.
    Unknown,
    /// Integers.
    Int(i64, i64),
    /// In the total order of IEEE 754: −0 below 0, NaN at the ends.
    Float(f64, f64),
    /// Booleans, false below true.
    Bool(bool, bool),
    /// The first bytes, at most 16, of the lowest and of the highest value: compare as many of a value.
    Prefix(Bytes, Bytes),
}

/// Bytes of a value that bounds keep.
pub(crate) const PREFIX_BYTES: usize = 16;

/// All partitions, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TopIndex {
    pub(super) cells: Vec<PartitionEntry>,
    pub(super) deletes: Vec<PartitionEntry>,
}

/// A partition of the index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PartitionEntry {
    pub(super) first_key: Bytes,
    pub(super) offset: u64,
    pub(super) length: u32,
    pub(super) entries: u32,
    /// Of all its blocks.
    pub(super) bounds: Bounds,
}

/// Lowest and highest of what it has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// Cell timestamps; the lower is above the higher if there is no cell.
    pub timestamps: (Micros, Micros),
    /// Of cells or deletes.
    pub seqs: (Seq, Seq),
}

impl Bounds {
    pub(super) const NONE: Self = Self { timestamps: (Micros::MAX, Micros::MIN), seqs: (Seq::MAX, Seq::ZERO) };

    /// Puts the seq in place that everything has, if there is one.
    pub(super) fn number(&mut self, given: Option<Seq>) {
        if let Some(seq) = given.filter(|_| self.seqs.0 <= self.seqs.1) {
            self.seqs = (seq, seq);
        }
    }

    pub(super) fn see_seq(&mut self, seq: Seq) {
        self.seqs = (self.seqs.0.min(seq), self.seqs.1.max(seq));
    }

    pub(super) fn see_timestamp(&mut self, t: Micros) {
        self.timestamps = (self.timestamps.0.min(t), self.timestamps.1.max(t));
    }

    pub(super) fn see(&mut self, timestamp: i64, seq: u64) {
        self.see_timestamp(Micros(timestamp));
        self.see_seq(Seq(seq));
    }

    pub(super) fn join(&mut self, other: &Self) {
        self.timestamps = (self.timestamps.0.min(other.timestamps.0), self.timestamps.1.max(other.timestamps.1));
        self.seqs = (self.seqs.0.min(other.seqs.0), self.seqs.1.max(other.seqs.1));
    }
}
