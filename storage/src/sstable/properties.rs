//! What an SSTable says about itself: properties and the column dictionary.

use super::layout::Kind;
use crate::format::SstableName;
use bytes::Bytes;
use common::envelope::Magic;
use common::ids::{FamilyId, Seq};
use common::key::KeyRange;
use common::schema::StoredQualifier;
use common::time::Micros;
use serde::{Deserialize, Serialize};

pub(super) const PROPERTIES_MAGIC: Magic = *b"STLP";
pub(super) const DICTIONARY_MAGIC: Magic = *b"STLD";
pub(super) const META_FORMAT: u16 = 2;

/// Columns in a dictionary at most; further ones are written out in their cells.
pub(super) const MAX_COLUMNS: usize = 4096;

/// Of one SSTable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Properties {
    /// Its own name: a misplaced object is noticed.
    pub name: SstableName,
    /// Cells.
    pub puts: u64,
    /// Deletes, a row-range delete counted as one.
    pub deletes: u64,
    /// Rows with cells.
    pub rows: u64,
    /// Bytes of keys, qualifiers and values before encoding.
    pub bytes: u64,
    /// First and last row key with cells.
    pub keys: Option<(Bytes, Bytes)>,
    /// First and last row key with deletes.
    pub delete_keys: Option<(Bytes, Bytes)>,
    /// A range that holds all row-range deletes.
    pub range_deletes: Option<KeyRange>,
    /// Lowest and highest seq.
    pub seqs: (Seq, Seq),
    /// Lowest and highest seq of deletes of all kinds.
    pub delete_seqs: Option<(Seq, Seq)>,
    /// Lowest and highest cell timestamp; the lower is above the higher if there is no cell.
    pub timestamps: (Micros, Micros),
    /// Lowest and highest event time, where rows have one.
    pub event_times: Option<(Micros, Micros)>,
    /// Families with cells, rising.
    pub families: Vec<FamilyId>,
}

/// The columns of an SSTable, in the order of their first cells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Dictionary {
    pub(crate) columns: Vec<ColumnStats>,
    /// Whether every column of the SSTable is listed.
    pub(crate) complete: bool,
}

/// A column of an SSTable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnStats {
    /// Its family.
    pub family: FamilyId,
    /// Its stored qualifier.
    pub qualifier: Bytes,
    /// What was declared of it; then the index has its bounds in every columnar block with a cell of it.
    pub kind: Option<Kind>,
    /// Cells of it.
    pub cells: u64,
    /// Bytes of their values.
    pub bytes: u64,
}

impl Dictionary {
    /// The column at this place.
    pub(crate) fn column(&self, place: u32) -> Option<&ColumnStats> {
        self.columns.get(place as usize)
    }

    /// With qualifiers that are cheap to clone.
    pub(super) fn shared(mut self) -> Self {
        self.columns.iter_mut().for_each(|c| c.qualifier = StoredQualifier::shared(std::mem::take(&mut c.qualifier)));
        self
    }

    /// The place of a column.
    pub(crate) fn place(&self, family: FamilyId, qualifier: &[u8]) -> Option<u32> {
        self.columns.iter().position(|c| c.family == family && c.qualifier == qualifier).map(|place| place as u32)
    }
}
