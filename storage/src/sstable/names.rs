//! The column dictionary while an SSTable is written.

use super::layout::{Kind, Layout};
use super::properties::{ColumnStats, Dictionary, MAX_COLUMNS};
use crate::format::Columns;
use bytes::Bytes;
use common::ids::FamilyId;
use std::collections::HashMap;
use std::sync::Arc;

/// How far ahead in the row before a column is looked for.
const AHEAD: usize = 4;

/// The places of the columns of some encoded rows, found once for all of them.
#[derive(Debug, Default)]
pub(super) struct Places {
    columns: Arc<Columns>,
    /// By number; `None`: not yet looked for.
    list: Vec<Option<Option<u32>>>,
}

impl Places {
    /// Turns to rows of these columns.
    pub(super) fn turn(&mut self, columns: &Arc<Columns>) {
        if !Arc::ptr_eq(columns, &self.columns) {
            self.columns = columns.clone();
            self.list.clear();
            self.list.resize(columns.len(), None);
        }
    }

    /// The place of a column, added if there is room.
    pub(super) fn get(&mut self, column: usize, names: &mut Names, layout: &Layout) -> Option<u32> {
        if let Some(Some(known)) = self.list.get(column) {
            return *known;
        }
        let (family, qualifier) = self.columns.get(column)?;
        let place = names.place(*family, qualifier, layout);
        if let Some(known) = self.list.get_mut(column) {
            *known = Some(place);
        }
        place
    }
}

/// Gives columns their places. Rows mostly have the columns of the row before, so that is where it looks first.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) dictionary: Dictionary,
    /// Family, then qualifier.
    known: HashMap<Box<[u8]>, u32, foldhash::fast::RandomState>,
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
        Self { dictionary, known: HashMap::default(), scratch: Vec::new(), before: Vec::new(), now: Vec::new(), at: 0 }
    }

    pub(super) fn begin_row(&mut self) {
        std::mem::swap(&mut self.before, &mut self.now);
        self.now.clear();
        self.at = 0;
    }

    /// The place of a cell's column, added if there is room.
    pub(super) fn place(&mut self, family: FamilyId, qualifier: &[u8], layout: &Layout) -> Option<u32> {
        let place = self.predicted(family, qualifier).or_else(|| self.find(family, qualifier, layout))?;
        self.now.push(place);
        Some(place)
    }

    fn predicted(&mut self, family: FamilyId, qualifier: &[u8]) -> Option<u32> {
        let ahead = self.before.iter().enumerate().skip(self.at).take(AHEAD);
        let (at, place) = ahead.into_iter().find(|(_, place)| self.is(**place, family, qualifier))?;
        self.at = at + 1;
        Some(*place)
    }

    fn is(&self, place: u32, family: FamilyId, qualifier: &[u8]) -> bool {
        let column = &self.dictionary.columns[place as usize];
        column.family == family && column.qualifier == *qualifier
    }

    fn find(&mut self, family: FamilyId, qualifier: &[u8], layout: &Layout) -> Option<u32> {
        self.scratch.clear();
        self.scratch.extend_from_slice(&family.0.to_le_bytes());
        self.scratch.extend_from_slice(qualifier);
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
        let qualifier = Bytes::copy_from_slice(qualifier);
        let kind = layout.kind(family, &qualifier);
        self.dictionary.columns.push(ColumnStats { family, qualifier, kind, cells: 0, bytes: 0 });
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
