//! The column dictionary while an SSTable is written.

use super::layout::{Kind, Layout};
use super::properties::{ColumnStats, Dictionary, MAX_COLUMNS};
use crate::raw::RawCell;
use bytes::Bytes;
use common::ids::FamilyId;
use std::collections::HashMap;

/// How far ahead in the row before a column is looked for.
const AHEAD: usize = 4;

/// Gives columns their places. Rows mostly have the columns of the row before, so that is where it looks first.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) dictionary: Dictionary,
    /// Family, then qualifier.
    known: HashMap<Box<[u8]>, u32>,
    scratch: Vec<u8>,
    /// Places of the row before and of this one.
    before: Vec<u32>,
    now: Vec<u32>,
    /// Where in the row before the next column is expected.
    at: usize,
}

impl Names {
    pub(super) fn new() -> Self {
        let dictionary = Dictionary { columns: Vec::new(), complete: true };
        Self { dictionary, known: HashMap::new(), scratch: Vec::new(), before: Vec::new(), now: Vec::new(), at: 0 }
    }

    pub(super) fn begin_row(&mut self) {
        std::mem::swap(&mut self.before, &mut self.now);
        self.now.clear();
        self.at = 0;
    }

    /// The place of a cell's column, added if there is room.
    pub(super) fn place(&mut self, cell: &RawCell, layout: &Layout) -> Option<u32> {
        let place = self.predicted(cell).or_else(|| self.find(cell, layout))?;
        self.now.push(place);
        Some(place)
    }

    fn predicted(&mut self, cell: &RawCell) -> Option<u32> {
        let ahead = self.before.iter().enumerate().skip(self.at).take(AHEAD);
        let (at, place) = ahead.into_iter().find(|(_, place)| self.is(**place, cell))?;
        self.at = at + 1;
        Some(*place)
    }

    fn is(&self, place: u32, cell: &RawCell) -> bool {
        let column = &self.dictionary.columns[place as usize];
        column.family == cell.family && column.qualifier == cell.qualifier
    }

    fn find(&mut self, cell: &RawCell, layout: &Layout) -> Option<u32> {
        self.scratch.clear();
        self.scratch.extend_from_slice(&cell.family.0.to_le_bytes());
        self.scratch.extend_from_slice(&cell.qualifier);
        if let Some(place) = self.known.get(self.scratch.as_slice()) {
            return Some(*place);
        }
        if self.known.len() >= MAX_COLUMNS {
            self.dictionary.complete = false;
            return None;
        }
        let place = self.known.len() as u32;
        self.known.insert(self.scratch.as_slice().into(), place);
        // Keys and values share their buffers with whole requests or blocks; a dictionary must not.
        let qualifier = Bytes::copy_from_slice(&cell.qualifier);
        let kind = layout.kind(cell.family, &qualifier);
        self.dictionary.columns.push(ColumnStats { family: cell.family, qualifier, kind, cells: 0, bytes: 0 });
        Some(place)
    }

    /// Counts a cell of a column.
    pub(super) fn count(&mut self, place: u32, bytes: usize) {
        let column = &mut self.dictionary.columns[place as usize];
        column.cells += 1;
        column.bytes += bytes as u64;
    }

    pub(super) fn kind(&self, place: u32) -> Option<Kind> {
        self.dictionary.columns[place as usize].kind
    }

    pub(super) fn name(&self, place: u32) -> (FamilyId, &Bytes) {
        let column = &self.dictionary.columns[place as usize];
        (column.family, &column.qualifier)
    }
}
