//! Rows of a log record as one buffer: made before the log, written there as it is, and what the memtable then holds.
//!
//! ```text
//! columns   each: family, length, qualifier
//! rows      each:
//!           length, key
//!           cells · 8 + (4 if some cell has a timestamp or kind of its own) + (2 if deletes follow) + (1 if a timestamp follows)
//!           timestamp (i); without it that of the record
//!           deletes: count, then of each: kind; 1 and 2: family; 2: length, qualifier, start (i), end (i)
//!           cells, each: column, or column · 2 + (1 if kind and timestamp follow) where some cell has its own;
//!                        kind (u8), timestamp − the row's (i); length, value
//! ```
//!
//! Integers are varints, those marked (i) signed ones. A row says nothing about the ones before it.

mod columns;
mod row;
mod write;

pub(crate) use columns::{Columns, Shapes};
pub use row::{CellRef, RowRef};
pub use write::Draft;

use super::row::StoredRow;
use crate::codec::{Damaged, Result, Walk};
use bytes::Bytes;
use common::ids::FamilyId;
use common::limits;
use common::time::Micros;
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::sync::Arc;

/// Bytes of memory that a batch takes beside its rows, about.
const BATCH: usize = 256;
/// Bytes of memory that a row takes in the memtable beside its encoding, about.
const ROW: usize = 136;

/// Bytes from the start of a row on that are worth asking for before they are needed.
const TOUCHED: usize = 512;
const CACHE_LINE: usize = 64;

/// Encoded rows.
#[derive(Clone, Debug)]
pub struct Rows {
    columns: Arc<Columns>,
    data: Bytes,
    /// In order.
    places: Vec<RowPlace>,
    /// Whether the columns are those of other rows too, which pay for them.
    shared: bool,
    /// How many columns some cell has.
    used: usize,
}

/// Where the key of a row lies in its buffer, and its length; the rest of the row follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowPlace(u64);

/// Bits of a place that are the length.
const LENGTH_BITS: u32 = 24;
const _: () = assert!(limits::MAX_KEY_BYTES < 1 << LENGTH_BITS);

impl Rows {
    /// Encodes rows; cells with the timestamp `given` are the shortest.
    #[must_use]
    pub fn of(rows: &[StoredRow], given: Micros) -> Self {
        let mut draft = Draft::default();
        rows.iter().for_each(|row| draft.push_stored(row, given));
        draft.finish(given)
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Bytes of their encoding.
    pub(super) fn bytes(&self) -> usize {
        self.columns.encoded().len() + self.data.len()
    }

    /// The rows, of a record with this timestamp.
    pub fn iter(&self, given: Micros) -> impl Iterator<Item = RowRef<'_>> {
        self.places.iter().map(move |place| RowRef::new(&self.columns, &self.data, *place, given))
    }

    /// Bytes in memory once the memtable holds them, about: what budgets count.
    #[must_use]
    pub fn weight(&self) -> usize {
        let columns = if self.shared { 0 } else { self.columns.weight() };
        BATCH + columns + self.data.len() + ROW * self.places.len()
    }

    /// Takes the columns of rows before if they are the same.
    pub(crate) fn share(&mut self, shapes: &Shapes) {
        self.shared = shapes.share(&mut self.columns);
    }

    /// Gives its columns to the rows that come next.
    pub(crate) fn hand_on(&self, shapes: &Shapes) {
        shapes.note(&self.columns, self.used);
    }

    /// Gives up where the rows are for a buffer that knows them by their places.
    pub(crate) fn into_buffer(self, given: Micros) -> (RowBuffer, Vec<RowPlace>) {
        (RowBuffer { columns: self.columns, data: self.data, given }, self.places)
    }

    fn decode(columns: Bytes, data: Bytes) -> Result<Self> {
        let columns = Columns::decode(columns)?;
        let (mut places, mut walk) = (Vec::new(), Walk::new(&data));
        while !walk.is_done() {
            let key = walk.slice()?;
            if key.len() > limits::MAX_KEY_BYTES {
                return Err(Damaged("a key is too long"));
            }
            places.push(RowPlace::new(data.len() - walk.left() - key.len(), key.len()));
            row::check(&mut walk, &columns)?;
        }
        let used = columns.len();
        Ok(Self { columns: Arc::new(columns), data, places, shared: false, used })
    }
}

/// Equal bytes are equal rows.
impl PartialEq for Rows {
    fn eq(&self, other: &Self) -> bool {
        self.columns == other.columns && self.data == other.data
    }
}

impl Serialize for Rows {
    fn serialize<S: Serializer>(&self, s: S) -> std::result::Result<S::Ok, S::Error> {
        let mut both = s.serialize_tuple(2)?;
        both.serialize_element(&Raw(self.columns.encoded()))?;
        both.serialize_element(&Raw(&self.data))?;
        both.end()
    }
}

impl<'de> Deserialize<'de> for Rows {
    fn deserialize<D: Deserializer<'de>>(d: D) -> std::result::Result<Self, D::Error> {
        let (columns, data) = <(Bytes, Bytes)>::deserialize(d)?;
        Self::decode(columns, data).map_err(|Damaged(why)| serde::de::Error::custom(format!("rows: {why}")))
    }
}

/// Bytes as a byte string, not as a list.
struct Raw<'a>(&'a [u8]);

impl Serialize for Raw<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> std::result::Result<S::Ok, S::Error> {
        s.serialize_bytes(self.0)
    }
}

/// Rows as the memtable holds them.
#[derive(Debug)]
pub(crate) struct RowBuffer {
    columns: Arc<Columns>,
    data: Bytes,
    given: Micros,
}

impl RowBuffer {
    /// A row of it.
    pub(crate) fn row(&self, place: RowPlace) -> RowRef<'_> {
        RowRef::new(&self.columns, &self.data, place, self.given)
    }

    /// Reads a byte of each cache line that the row begins with.
    pub(crate) fn touch(&self, place: RowPlace) -> u8 {
        let from = place.at().min(self.data.len());
        let near = &self.data[from..self.data.len().min(from + TOUCHED)];
        near.iter().step_by(CACHE_LINE).fold(0, |sum, byte| sum ^ byte)
    }

    /// The key of a row of it.
    pub(crate) fn key(&self, place: RowPlace) -> &[u8] {
        place.of(&self.data)
    }

    /// The same, sharing the memory.
    pub(crate) fn key_bytes(&self, place: RowPlace) -> Bytes {
        self.data.slice_ref(self.key(place))
    }

    /// Which columns its rows may have: rows with the same give the same pointer.
    pub(crate) fn columns(&self) -> &Arc<Columns> {
        &self.columns
    }
}

impl RowPlace {
    fn new(at: usize, length: usize) -> Self {
        Self((at as u64) << LENGTH_BITS | length as u64)
    }

    fn at(self) -> usize {
        (self.0 >> LENGTH_BITS) as usize
    }

    /// Bytes of the key.
    pub(crate) fn length(self) -> usize {
        (self.0 & ((1 << LENGTH_BITS) - 1)) as usize
    }

    fn of(self, data: &[u8]) -> &[u8] {
        data.get(self.at()..self.at() + self.length()).unwrap_or_default()
    }
}

/// A column of some rows.
pub(crate) type Column = (FamilyId, Bytes);

#[cfg(test)]
mod tests;
