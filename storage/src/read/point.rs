//! One row: looked up in each source, judged once. Neither streams nor merges.

use super::merge::overlaps;
use super::resolve::{Deletes, View};
use crate::memtable::{Memtable, Newest, Versions};
use crate::raw::{RawCell, RawRow, Scan};
use crate::sstable::{Clean, Found, KeyHash, Place, Reader};
use bytes::Bytes;
use common::Result;
use common::ids::{FamilyId, Seq};
use common::row::Row;
use common::time::{Micros, TimeRange};
use std::ops::Deref;
use std::sync::Arc;

/// What reading a row came to without a wait.
pub(crate) enum Now {
    /// The row; `None` if nothing of it is asked for and visible.
    Row(Option<Row>),
    /// Something must be read from the store, or the row gathered and judged: [`stored`], [`with_memory`], [`View::resolve`].
    Unsure,
}

/// A row that at most one columnar block holds, whole, and no memtable, as `view` sees it; `scan` says what is wanted of it, its
/// ranges do not count. Nothing is allocated before the row is found.
pub(crate) fn row_now<'a>(
    sstables: impl Iterator<Item = &'a Reader>,
    mut memtables: impl Iterator<Item = &'a Arc<Memtable>>,
    key: &[u8],
    scan: &Scan,
    view: &View,
) -> Result<Now> {
    if !view.is_plain() || memtables.any(|table| table.has_range_deletes() || table.row(key, |_| ()).is_some()) {
        return Ok(Now::Unsure);
    }
    let hash = KeyHash::of_row(key);
    let mut found = None;
    for table in sstables {
        if table.may_cover(key) {
            return Ok(Now::Unsure);
        }
        if !overlaps(Some(table.entry().seqs), scan) {
            continue;
        }
        match table.place_now(key, hash, scan)? {
            Place::Absent => {}
            Place::Row(place) if found.is_none() => found = Some(place),
            Place::Row(_) | Place::Unsure => return Ok(Now::Unsure),
        }
    }
    let Some(place) = found else { return Ok(Now::Row(None)) };
    Ok(match place.clean(scan, |column, timestamp| view.shows_alone(column.family, timestamp))? {
        Clean::Row(row) => Now::Row(row),
        Clean::Unsure => Now::Unsure,
    })
}

/// What SSTables hold of a row; `scan` says what is wanted of it, its ranges do not count.
pub(crate) async fn stored<R>(sstables: &[R], key: &[u8], scan: &Scan) -> Result<RawRow>
where
    R: Deref<Target = Reader> + Clone,
{
    let mut row = RawRow::default();
    let hash = KeyHash::of_row(key);
    for table in sstables.iter().filter(|t| t.range().contains(key)) {
        if table.has_range_deletes() {
            row.covers.extend(table.range_deletes().await?.iter().filter(|d| d.covers(key, scan.at)).map(|d| d.seq));
        }
        if !overlaps(Some(table.entry().seqs), scan) {
            continue;
        }
        let found = match table.row_now(key, hash, scan)? {
            Found::Row(found) => found,
            Found::NotInMemory => table.row(key, hash, scan).await?,
        };
        found.into_iter().for_each(|found| row.join(found));
    }
    Ok(row)
}

/// Adds what memtables, and `in_flight` above them, hold of a row. `newest`: of each column only so many cells within these
/// timestamps are needed, at least 1.
pub(crate) fn with_memory<'a>(
    mut row: RawRow,
    key: &[u8],
    tables: impl Iterator<Item = &'a Arc<Memtable>> + Clone,
    in_flight: Option<&Versions>,
    scan: &Scan,
    newest: Option<(u32, TimeRange)>,
) -> RawRow {
    tables.clone().for_each(|t| t.covers(key, scan.at, &mut row.covers));
    let mut parts = usize::from(!row.cells.is_empty());
    let mut take = |versions: &Versions| {
        versions.highest_deletes(scan.at, &mut row.deletes);
        let hot = matches!(versions, Versions::Many(_));
        if !hot {
            versions.cells(scan, None, &mut row.cells);
            parts += 1;
        }
        hot
    };
    let hot_flight = in_flight.filter(|versions| take(versions));
    // A hot row gives its newest cells only: for that the deletes of all sources must be known.
    let hot: Vec<_> = tables.filter(|t| overlaps(t.seqs(), scan) && t.row(key, &mut take) == Some(true)).collect();
    if !hot.is_empty() || hot_flight.is_some() {
        let mut cells: Vec<RawCell> = Vec::new();
        {
            let deletes = Deletes::of(&row.deletes, &row.covers, scan.at);
            let hides = |family: FamilyId, qualifier: &Bytes, at: Micros, seq: Seq| deletes.hides(family, qualifier, at, seq);
            let newest = newest.map(|(cells, timestamps)| Newest { cells, timestamps, hides: &hides });
            let newest = newest.as_ref();
            hot_flight.into_iter().for_each(|versions| versions.cells(scan, newest, &mut cells));
            for table in &hot {
                table.row(key, |versions| versions.cells(scan, newest, &mut cells));
            }
        }
        parts += hot.len() + usize::from(hot_flight.is_some());
        row.cells.append(&mut cells);
    }
    if parts > 1 {
        row.cells.sort_by(RawCell::order);
    }
    row
}
