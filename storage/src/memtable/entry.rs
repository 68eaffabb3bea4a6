//! Row mutations in the buffers that they were encoded in.

use super::key::Key;
use crate::format::{Columns, RowBuffer, RowPlace, RowRef, Rows, StoredRow};
use crate::raw::{RawDelete, RawRow, Scan};
use bytes::Bytes;
use common::ids::Seq;
use common::time::Micros;
use std::sync::Arc;

/// A row mutation with its number.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) seq: Seq,
    place: RowPlace,
    buffer: Arc<RowBuffer>,
}

/// Row mutations that enter a memtable together.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// By seq.
    pub(crate) entries: Vec<Entry>,
    /// What they weigh together.
    pub(crate) bytes: usize,
}

impl Batch {
    /// Rows numbered from `first` on, of a record with this timestamp.
    pub(crate) fn rising(first: Seq, given: Micros, rows: Rows) -> Self {
        Self::new((first.0..).map(Seq), given, rows)
    }

    /// Rows of one seq, of a record with this timestamp.
    pub(crate) fn of(seq: Seq, given: Micros, rows: Rows) -> Self {
        Self::new(std::iter::repeat(seq), given, rows)
    }

    /// Rows of one seq.
    pub(crate) fn at(seq: Seq, rows: &[StoredRow]) -> Self {
        let given = rows.iter().find_map(|r| r.cells.first()).map_or(Micros(0), |c| c.timestamp);
        Self::new(std::iter::repeat(seq), given, Rows::of(rows, given))
    }

    fn new(seqs: impl Iterator<Item = Seq>, given: Micros, rows: Rows) -> Self {
        let bytes = rows.weight();
        let (buffer, places) = rows.into_buffer(given);
        let buffer = Arc::new(buffer);
        let entries = seqs.zip(places).map(|(seq, place)| Entry { seq, place, buffer: buffer.clone() }).collect();
        Self { entries, bytes }
    }

    /// The seq of its last row.
    pub(crate) fn last(&self) -> Option<Seq> {
        self.entries.last().map(|entry| entry.seq)
    }
}

impl Entry {
    /// Brings the beginning of its row near.
    pub(super) fn touch(&self) -> u8 {
        self.buffer.touch(self.place)
    }

    pub(crate) fn row(&self) -> RowRef<'_> {
        self.buffer.row(self.place)
    }

    /// The columns that its row's cells name: the same pointer for rows of the same columns, mostly.
    pub(crate) fn columns(&self) -> &Arc<Columns> {
        self.buffer.columns()
    }

    pub(crate) fn key_bytes(&self) -> Bytes {
        self.buffer.key_bytes(self.place)
    }

    pub(super) fn key(&self) -> Key {
        Key::new(self.buffer.clone(), self.place)
    }

    /// The row as other sources give theirs.
    pub(crate) fn to_raw(&self) -> RawRow {
        let mut row = RawRow { key: self.key_bytes(), ..RawRow::default() };
        self.row().deletes(|what| row.deletes.push(RawDelete { what, seq: self.seq }));
        self.cells(&Scan::all(Vec::new(), Seq::MAX), &mut row.cells);
        row
    }
}
