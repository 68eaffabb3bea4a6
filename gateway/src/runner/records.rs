//! Window records: which run made which windows, kept in hidden rows of the table itself.
//!
//! One record a run, under `HIDDEN_PREFIX 'w' run (8 bytes big-endian)`, as JSON. Rows and checksum
//! are sums over what the record's windows hold, so a later run of some of these windows takes
//! its part out of them; a record without windows is deleted.

use bytes::Bytes;
use common::ids::RunId;
use common::key::KeyRange;
use common::row::{Mutation, Row, RowMutation};
use common::schema::{HIDDEN_PREFIX, StoredQualifier, Table};
use common::time::Micros;
use common::version::RangeSet;
use common::{Error, Result};
use serde::{Deserialize, Serialize};

const KIND: u8 = b'w';
const QUALIFIER: &[u8] = b"record";

/// What one run made, as far as no later run has made it anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowRecord {
    /// The run.
    pub run: RunId,
    /// Output times; everything for a table without windows.
    pub windows: RangeSet,
    /// Of the definition it computed.
    pub fingerprint: String,
    /// Rows (merge: parts) in these windows.
    pub rows: u64,
    /// Wrapping sum over [`super::stored::checksum`] of those rows.
    pub checksum: u64,
}

/// One row or part that lies in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// When; anything for a table without windows.
    pub time: Micros,
    /// Its [`super::stored::checksum`].
    pub checksum: u64,
}

impl WindowRecord {
    /// A record of a run that made these items.
    #[must_use]
    pub fn of(run: RunId, windows: RangeSet, fingerprint: &str, items: &[Item]) -> Self {
        let checksum = items.iter().fold(0u64, |sum, i| sum.wrapping_add(i.checksum));
        Self { run, windows, fingerprint: fingerprint.into(), rows: items.len() as u64, checksum }
    }

    fn key(&self) -> Bytes {
        [&[HIDDEN_PREFIX, KIND][..], &self.run.0.to_be_bytes()].concat().into()
    }

    fn put(&self, table: &Table, timestamp: Micros) -> Result<RowMutation> {
        let value = serde_json::to_vec(self).map_err(|e| Error::internal(format!("a window record does not encode: {e}")))?;
        let qualifier = StoredQualifier::Named(Bytes::from_static(QUALIFIER)).encode();
        let set = Mutation::Set { family: table.marker_family(), qualifier, timestamp: Some(timestamp), value: value.into() };
        Ok(RowMutation { key: self.key(), mutations: vec![Mutation::DeleteRow, set] })
    }
}

/// Where a derived table keeps its records.
#[must_use]
pub fn range() -> KeyRange {
    KeyRange::prefix(&[HIDDEN_PREFIX, KIND])
}

/// Reads one hidden row.
///
/// # Errors
/// `Corrupt` if it is not a window record.
pub fn decode(row: &Row) -> Result<WindowRecord> {
    let cell = row.cells.first().ok_or_else(|| Error::corrupt("a window record without a cell"))?;
    serde_json::from_slice(&cell.value).map_err(|e| Error::corrupt(format!("a window record does not decode: {e}")))
}

/// The hidden rows to stage along with a run that made `new`, in place of `replaced` items of `old` records.
///
/// # Errors
/// `Internal` if a record does not encode.
pub fn update(table: &Table, old: Vec<WindowRecord>, replaced: &[Item], new: &WindowRecord, timestamp: Micros) -> Result<Vec<RowMutation>> {
    let mut changes = Vec::new();
    for mut record in old {
        let kept = record.windows.subtract(&new.windows);
        if kept == record.windows {
            continue;
        }
        for item in replaced.iter().filter(|i| holds(&record.windows, i.time)) {
            record.rows = record.rows.saturating_sub(1);
            record.checksum = record.checksum.wrapping_sub(item.checksum);
        }
        record.windows = kept;
        changes.push(match record.windows.is_empty() {
            true => RowMutation { key: record.key(), mutations: vec![Mutation::DeleteRow] },
            false => record.put(table, timestamp)?,
        });
    }
    changes.push(new.put(table, timestamp)?);
    changes.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(changes)
}

/// The hidden rows to stage along with a run that made only some keys of a table without windows anew: its record takes
/// the place of all `old` ones, which together describe what was there before.
///
/// # Errors
/// `Internal` if a record does not encode.
pub fn carry_on(
    table: &Table,
    old: &[WindowRecord],
    (before, after): (&[Item], &[Item]),
    (run, fingerprint): (RunId, &str),
    timestamp: Micros,
) -> Result<Vec<RowMutation>> {
    let mut new = WindowRecord::of(run, RangeSet::all(), fingerprint, after);
    for record in old {
        new.rows += record.rows;
        new.checksum = new.checksum.wrapping_add(record.checksum);
    }
    new.rows = new.rows.saturating_sub(before.len() as u64);
    new.checksum = before.iter().fold(new.checksum, |sum, item| sum.wrapping_sub(item.checksum));
    let delete = |record: &WindowRecord| RowMutation { key: record.key(), mutations: vec![Mutation::DeleteRow] };
    let mut changes: Vec<_> = old.iter().map(delete).chain([new.put(table, timestamp)?]).collect();
    changes.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(changes)
}

/// Whether an instant lies in a set.
#[must_use]
pub fn holds(set: &RangeSet, at: Micros) -> bool {
    let next = set.ranges().partition_point(|&(_, end)| end <= at);
    set.ranges().get(next).is_some_and(|&(start, _)| start <= at)
}
