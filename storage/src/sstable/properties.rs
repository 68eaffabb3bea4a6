//! What an SSTable says about itself: properties and the column dictionary.

use super::range_deletes::RangeDelete;
use crate::format::SstableName;
use bytes::Bytes;
use common::envelope::Magic;
use common::ids::{FamilyId, Seq};
use common::time::Micros;
use serde::{Deserialize, Serialize};

pub(super) const PROPERTIES_MAGIC: Magic = *b"STLP";
pub(super) const DICTIONARY_MAGIC: Magic = *b"STLD";
pub(super) const META_FORMAT: u16 = 2;

/// Columns in a dictionary at most; further ones are written out in their cells.
pub(super) const MAX_COLUMNS: usize = 4096;

/// Of one SSTable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Properties {
    /// Its own name: a misplaced object is noticed.
    pub(crate) name: SstableName,
    /// Cells.
    pub(crate) puts: u64,
    /// Deletes.
    pub(crate) deletes: u64,
    /// Rows with cells.
    pub(crate) rows: u64,
    /// Bytes of keys, qualifiers and values before encoding.
    pub(crate) bytes: u64,
    /// First and last row key with cells.
    pub(crate) keys: Option<(Bytes, Bytes)>,
    /// First and last row key with deletes.
    pub(crate) delete_keys: Option<(Bytes, Bytes)>,
    /// Lowest and highest seq.
    pub(crate) seqs: (Seq, Seq),
    /// Lowest and highest cell timestamp; the lower is above the higher if there is no cell.
    pub(crate) timestamps: (Micros, Micros),
    /// Lowest and highest event time, where rows have one.
    pub(crate) event_times: Option<(Micros, Micros)>,
    /// Row-range deletes.
    pub(crate) range_deletes: Vec<RangeDelete>,
}

/// The columns of an SSTable, in the order of their first cells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Dictionary {
    pub(crate) columns: Vec<ColumnStats>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ColumnStats {
    pub(crate) family: FamilyId,
    pub(crate) qualifier: Bytes,
    /// Cells of it.
    pub(crate) cells: u64,
    /// Bytes of their values.
    pub(crate) bytes: u64,
}
