//! What was found in an SSTable, to be compared with what it says.

use super::RangeDelete;
use super::index::{BlockKind, Bounds, IndexEntry};
use super::properties::{Dictionary, Properties};
use super::range_deletes::span;
use crate::raw::{RawCell, RawRow};
use ::bytes::Bytes;
use common::ids::FamilyId;
use std::collections::{BTreeSet, HashMap};
use std::fmt::Debug;

/// See the module's page.
#[derive(Debug)]
pub(super) struct Tally {
    rows: u64,
    puts: u64,
    deletes: u64,
    keys: Option<(Bytes, Bytes)>,
    delete_keys: Option<(Bytes, Bytes)>,
    bounds: Bounds,
    delete_bounds: Bounds,
    families: BTreeSet<FamilyId>,
    /// Cells and bytes of values of the columns in the dictionary, by place.
    columns: Vec<(u64, u64)>,
    places: HashMap<(FamilyId, Bytes), usize>,
    range_deletes: Vec<RangeDelete>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            rows: 0,
            puts: 0,
            deletes: 0,
            keys: None,
            delete_keys: None,
            bounds: Bounds::NONE,
            delete_bounds: Bounds::NONE,
            families: BTreeSet::new(),
            columns: Vec::new(),
            places: HashMap::new(),
            range_deletes: Vec::new(),
        }
    }
}

impl Tally {
    /// Sees the next row; `entry` is the last block that begins at or before it.
    pub(super) fn see_cells(&mut self, row: &RawRow, entry: Option<&IndexEntry>, dictionary: &Dictionary) -> Result<(), String> {
        if self.columns.is_empty() {
            let places = dictionary.columns.iter().enumerate();
            self.places = places.map(|(place, c)| ((c.family, c.qualifier.clone()), place)).collect();
            self.columns = vec![(0, 0); dictionary.columns.len()];
        }
        widen(&mut self.keys, &row.key)?;
        if let Some(w) = row.cells.windows(2).find(|w| RawCell::order(&w[0], &w[1]).is_gt()) {
            return Err(format!("row {:?}: the cell of column {:?} is out of order", row.key, w[1].qualifier));
        }
        self.rows += 1;
        self.puts += row.cells.len() as u64;
        let mut bounds = Bounds::NONE;
        for cell in &row.cells {
            bounds.see(cell.timestamp.0, cell.seq.0);
            self.families.insert(cell.family);
            if let Some(place) = self.places.get(&(cell.family, cell.qualifier.clone())) {
                self.columns[*place].0 += 1;
                self.columns[*place].1 += cell.value.len() as u64;
            }
        }
        self.bounds.join(&bounds);
        // A row of cell blocks may span several.
        match entry {
            Some(e) if e.kind == BlockKind::Columnar && !within(&bounds, &e.bounds) => {
                Err(format!("row {:?} has cells outside the timestamps or seqs that the index says", row.key))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn see_deletes(&mut self, row: &RawRow) -> Result<(), String> {
        widen(&mut self.delete_keys, &row.key)?;
        self.deletes += row.deletes.len() as u64;
        row.deletes.iter().for_each(|d| self.delete_bounds.see_seq(d.seq));
        Ok(())
    }

    pub(super) fn see_range_delete(&mut self, delete: &RangeDelete) {
        self.deletes += 1;
        self.delete_bounds.see_seq(delete.seq);
        self.range_deletes.push(delete.clone());
    }

    /// Compares with the properties.
    ///
    /// # Errors
    /// What they say, and what was found.
    pub(super) fn check(&self, said: &Properties) -> Result<(), String> {
        let mut all = self.bounds;
        all.join(&self.delete_bounds);
        same("rows", said.rows, self.rows)?;
        same("puts", said.puts, self.puts)?;
        same("deletes", said.deletes, self.deletes)?;
        same("keys", &said.keys, &self.keys)?;
        same("delete keys", &said.delete_keys, &self.delete_keys)?;
        same("range deletes", &said.range_deletes, &span(&self.range_deletes))?;
        same("seqs", said.seqs, all.seqs)?;
        same("delete seqs", said.delete_seqs, (self.deletes > 0).then_some(self.delete_bounds.seqs))?;
        same("timestamps", said.timestamps, self.bounds.timestamps)?;
        same("families", &said.families, &self.families.iter().copied().collect())
    }

    /// Compares with the column dictionary.
    ///
    /// # Errors
    /// What it says, and what was found.
    pub(super) fn check_columns(&self, dictionary: &Dictionary) -> Result<(), String> {
        let found = self.columns.iter().copied().chain(std::iter::repeat((0, 0)));
        for (column, found) in dictionary.columns.iter().zip(found) {
            let what = format!("cells and bytes of column {:?} of family {}", column.qualifier, column.family);
            same(&what, (column.cells, column.bytes), found)?;
        }
        let listed: u64 = self.columns.iter().map(|(cells, _)| cells).sum();
        if dictionary.complete { same("cells of all columns", listed, self.puts) } else { Ok(()) }
    }
}

fn within(inner: &Bounds, outer: &Bounds) -> bool {
    let mut joined = *outer;
    joined.join(inner);
    joined == *outer
}

fn widen(keys: &mut Option<(Bytes, Bytes)>, key: &Bytes) -> Result<(), String> {
    match keys {
        Some((_, last)) if *last >= *key => return Err(format!("row {key:?} lies behind row {last:?}")),
        Some((_, last)) => *last = key.clone(),
        None => *keys = Some((key.clone(), key.clone())),
    }
    Ok(())
}

fn same<T: PartialEq + Debug>(what: &str, said: T, found: T) -> Result<(), String> {
    if said == found { Ok(()) } else { Err(format!("{what}: it says {said:?}, there is {found:?}")) }
}
