//! The `merge` strategy: one part a key and window, the shown row is the fold of its parts.
//!
//! Parts lie in a hidden family of the row itself (see [`Part`]). A run swaps the parts of its windows; a key whose
//! parts changed is folded again, a key without parts is deleted.

use super::difference::Difference;
use super::records::{Item, holds};
use super::stored::{StoredRow, checksum};
use crate::rows::arrow::OutputCell;
use bytes::Bytes;
use common::ids::FamilyId;
use common::row::{Mutation, Row, RowMutation};
use common::schema::{StoredQualifier, Table};
use common::time::{Micros, TimeRange};
use common::version::RangeSet;
use common::{Error, Result};
use derived::fold::Part;
use std::collections::BTreeMap;
use std::iter::Peekable;

/// One key's parts by window start.
pub type Parts = BTreeMap<Micros, Bytes>;

/// Makes what readers see out of a key's parts, which are given in window order and never empty.
pub trait FoldParts: Send + Sync {
    /// The shown cells, sorted; never empty.
    ///
    /// # Errors
    /// `Corrupt` for a part that does not decode.
    fn fold(&self, parts: &Parts) -> Result<Vec<OutputCell>>;
}

/// Swaps the parts of some windows in rows that are given in key order.
pub struct PartsComparison<'a> {
    table: &'a Table,
    family: FamilyId,
    windows: &'a RangeSet,
    fold: &'a dyn FoldParts,
    timestamp: Micros,
    output: Peekable<std::collections::btree_map::IntoIter<Bytes, Parts>>,
    found: Difference,
}

impl<'a> PartsComparison<'a> {
    /// `output` holds the new parts of all of `windows` by row key.
    ///
    /// # Errors
    /// `Internal` if the table has no family for parts.
    pub fn new(
        table: &'a Table,
        windows: &'a RangeSet,
        output: BTreeMap<Bytes, Parts>,
        fold: &'a dyn FoldParts,
        timestamp: Micros,
    ) -> Result<Self> {
        let family = table.family(Part::FAMILY).filter(|f| f.hidden).map(|f| f.id);
        let family = family.ok_or_else(|| Error::internal(format!("table '{}' has no family for merge parts", table.name)))?;
        let output = output.into_iter().peekable();
        Ok(Self { table, family, windows, fold, timestamp, output, found: Difference::default() })
    }

    /// Takes the table's next row.
    ///
    /// # Errors
    /// `Corrupt` if its parts do not decode.
    pub fn stored(&mut self, row: Row) -> Result<()> {
        let stored = StoredRow::of(self.table, row);
        while let Some((key, parts)) = self.output.next_if(|(key, _)| *key < stored.key) {
            self.compare(key, &Parts::new(), parts, &[])?;
        }
        let old = self.parts_of(&stored)?;
        let computed = self.output.next_if(|(key, _)| *key == stored.key).map(|(_, parts)| parts).unwrap_or_default();
        self.compare(stored.key, &old, computed, &stored.shown)
    }

    /// All that differs.
    ///
    /// # Errors
    /// As [`FoldParts::fold`].
    pub fn finish(mut self) -> Result<Difference> {
        while let Some((key, parts)) = self.output.next() {
            self.compare(key, &Parts::new(), parts, &[])?;
        }
        Ok(self.found)
    }

    fn compare(&mut self, key: Bytes, old: &Parts, computed: Parts, shown: &[OutputCell]) -> Result<()> {
        let (before, kept): (Parts, Parts) = old.iter().map(|(w, p)| (*w, p.clone())).partition(|(w, _)| holds(self.windows, *w));
        let item = |(window, part): (&Micros, &Bytes)| Item { time: *window, checksum: checksum(&key, &[self.cell(*window, part)]) };
        let (items_before, items_after): (Vec<_>, Vec<_>) = (before.iter().map(item).collect(), computed.iter().map(item).collect());
        self.found.before.extend(items_before);
        self.found.after.extend(items_after);
        if before == computed {
            return Ok(());
        }
        let mut parts = kept;
        parts.extend(computed);
        let mutations = match parts.is_empty() {
            true => vec![Mutation::DeleteRow],
            false => self.rewrite(old, &parts, shown)?,
        };
        self.found.mutations.push(RowMutation { key, mutations });
        Ok(())
    }

    /// Changes only what differs. Each set cell is deleted first, as an older one may bear a later timestamp.
    fn rewrite(&self, old: &Parts, new: &Parts, shown: &[OutputCell]) -> Result<Vec<Mutation>> {
        let changed = new.iter().filter(|(w, p)| old.get(w) != Some(p)).map(|(w, p)| self.cell(*w, p));
        let gone = old.keys().filter(|w| !new.contains_key(w)).map(|w| self.cell(*w, &Bytes::new()));
        let folded = self.fold.fold(new)?;
        let same = |list: &[OutputCell], c: &OutputCell| list.binary_search(c).is_ok();
        let sets: Vec<_> = folded.iter().filter(|c| !same(shown, c)).cloned().chain(changed).collect();
        let outdated = shown.iter().filter(|c| !same(&folded, c)).cloned().chain(gone);
        let mut mutations: Vec<_> = sets.iter().cloned().chain(outdated).map(delete).collect();
        mutations.sort_by(|a, b| column_of(a).cmp(&column_of(b)));
        mutations.dedup();
        mutations.extend(sets.into_iter().map(|c| self.set(c)));
        Ok(mutations)
    }

    fn set(&self, cell: OutputCell) -> Mutation {
        Mutation::Set { family: cell.family, qualifier: cell.qualifier, timestamp: Some(self.timestamp), value: cell.value }
    }

    fn cell(&self, window: Micros, part: &Bytes) -> OutputCell {
        OutputCell { family: self.family, qualifier: qualifier_of(window), value: part.clone() }
    }

    fn parts_of(&self, stored: &StoredRow) -> Result<Parts> {
        let parts = stored.hidden.iter().filter(|c| c.family == self.family);
        parts.map(|c| Ok((window_of(&c.qualifier)?, c.value.clone()))).collect()
    }
}

fn delete(cell: OutputCell) -> Mutation {
    Mutation::DeleteColumn { family: cell.family, qualifier: cell.qualifier, timestamps: TimeRange::ALL }
}

fn column_of(mutation: &Mutation) -> Option<(FamilyId, &Bytes)> {
    match mutation {
        Mutation::Set { family, qualifier, .. }
        | Mutation::Combine { family, qualifier, .. }
        | Mutation::DeleteColumn { family, qualifier, .. } => Some((*family, qualifier)),
        Mutation::DeleteFamily { .. } | Mutation::DeleteRow => None,
    }
}

fn qualifier_of(window: Micros) -> Bytes {
    StoredQualifier::Named(Part::qualifier(window)).encode()
}

pub(super) fn window_of(qualifier: &Bytes) -> Result<Micros> {
    match StoredQualifier::decode(qualifier)? {
        StoredQualifier::Named(name) => Part::window(&name),
        other => Err(Error::corrupt(format!("a merge part under {other:?}"))),
    }
}

#[cfg(test)]
#[path = "merge_tests.rs"]
mod tests;
