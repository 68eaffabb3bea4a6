//! Reads of single rows.

use super::RowBatches;
use super::inner::{Inner, State};
use super::snapshots::SnapshotGuard;
use crate::event_time::EventTimes;
use crate::metrics::Metrics;
use crate::raw::{RawRow, Scan};
use crate::read::{BATCH_BYTES, BATCH_ROWS, Now, View, row_now, stored, with_memory};
use bytes::Bytes;
use common::ids::Seq;
use common::key::KeyRange;
use common::row::{ReadSpec, Row};
use common::schema::Table;
use common::time::Micros;
use common::{Error, Result};
use futures::StreamExt;
use futures::future::try_join_all;
use futures::stream;
use std::sync::Arc;

/// Rows that are looked up at once.
const KEYS_AT_ONCE: usize = 16;

/// What a read wants of each row; the ranges are left out.
pub(super) fn of_row(table: &Arc<Table>, spec: &ReadSpec, at: Seq) -> Scan {
    Scan {
        columns: spec.columns.clone(),
        // Whether a row exists may hang on any of its cells.
        others: spec.keep_empty_rows,
        // Newer cells outside the range still count as versions; older ones decide nothing.
        oldest: spec.timestamps.start,
        event_times: EventTimes::of(table, &spec.ranges, spec.event_time),
        ..Scan::all(Vec::new(), at)
    }
}

/// A row of a state, if it is in memory and its like is read without a wait.
fn now(state: &State, key: &[u8], scan: &Scan, view: &View) -> Result<Now> {
    let time = scan.event_times.as_ref().and_then(|times| times.time(key));
    let sstables = state.sstables.iter().filter(|sst| time.is_none_or(|time| sst.may_hold(time)));
    row_now(sstables.map(|sst| &**sst), state.memtables(), key, scan, view)
}

/// One row of a state.
async fn row(state: &State, key: &[u8], scan: &Scan, view: &View) -> Result<Option<Row>> {
    if let Now::Row(row) = now(state, key, scan, view)? {
        return Ok(row);
    }
    read_row(state, key, scan, view).await
}

/// One row of a state that [`now`] does not give.
async fn read_row(state: &State, key: &[u8], scan: &Scan, view: &View) -> Result<Option<Row>> {
    let sstables = state.sstables_at(scan.event_times.as_ref().and_then(|times| times.time(key)));
    let found = if sstables.is_empty() { RawRow::default() } else { stored(&sstables, key, scan).await? };
    let mut found = with_memory(found, key, state.memtables(), None, scan, view.newest());
    if found.is_empty() {
        return Ok(None);
    }
    found.key = Bytes::copy_from_slice(key);
    Ok(view.resolve(found, scan.at))
}

struct KeysRead {
    state: Arc<State>,
    scan: Scan,
    view: View,
    /// Those still to come, the next one last.
    keys: Vec<KeyRange>,
    /// Rows that may still be given; 0 ends.
    left: u64,
    metrics: Arc<Metrics>,
    _guard: SnapshotGuard,
}

impl KeysRead {
    async fn batch(&mut self) -> Result<Vec<Row>> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while self.left > 0 && batch.len() < BATCH_ROWS && bytes < BATCH_BYTES && !self.keys.is_empty() {
            let at_once = KEYS_AT_ONCE.min(usize::try_from(self.left).unwrap_or(KEYS_AT_ONCE)).min(self.keys.len());
            let keys = self.keys.split_off(self.keys.len() - at_once);
            let reads = keys.iter().rev().map(|range| row(&self.state, &range.start, &self.scan, &self.view));
            for row in try_join_all(reads).await?.into_iter().flatten() {
                bytes += row.bytes();
                batch.push(row);
                self.left -= 1;
            }
        }
        Ok(batch)
    }
}

/// A row that [`Inner::read_row_now`] could not give, and all that reading it takes.
pub(super) struct RowRead {
    state: Arc<State>,
    scan: Scan,
    view: View,
}

impl Inner {
    /// One row if it is in memory, else what reads it.
    pub(super) fn read_row_now(&self, key: &[u8], spec: &ReadSpec, at: Seq) -> Result<std::result::Result<Option<Row>, RowRead>> {
        if !self.range.contains(key) {
            let text = format!("key {:?} lies outside the tablet: refresh the tablet map", Bytes::copy_from_slice(key));
            return Err(Error::not_mine(text));
        }
        let (at, state) = self.state_at(at)?;
        let scan = of_row(&state.known.table, spec, at);
        let view = View::new(state.known.rules.clone(), spec, self.now_for(&state));
        match now(&state, key, &scan, &view)? {
            Now::Row(row) => {
                if row.is_some() {
                    self.shared.metrics.rows_read.add(1);
                }
                Ok(Ok(row))
            }
            Now::Unsure => Ok(Err(RowRead { state: arc_swap::Guard::into_inner(state), scan, view })),
        }
    }

    /// The end of [`Self::read_row_now`].
    pub(super) async fn read_row(&self, key: &[u8], read: RowRead) -> Result<Option<Row>> {
        let row = read_row(&read.state, key, &read.scan, &read.view).await?;
        self.shared.metrics.rows_read.add(u64::from(row.is_some()));
        Ok(row)
    }

    /// The time that ages of cells are taken at; any, if no rule asks for them.
    pub(super) fn now_for(&self, state: &State) -> Micros {
        if state.known.ages { self.shared.config.clock.now() } else { Micros(0) }
    }

    /// Single rows, in key order: each looked up, some at a time.
    pub(super) fn read_keys(self: &Arc<Self>, mut keys: Vec<KeyRange>, spec: ReadSpec, at: Seq) -> Result<RowBatches> {
        let (at, guard, state) = self.snapshot(at)?;
        if !spec.reverse {
            keys.reverse();
        }
        let left = if spec.row_limit == 0 { u64::MAX } else { spec.row_limit };
        let scan = of_row(&state.known.table, &spec, at);
        if let Some(times) = &scan.event_times {
            keys.retain(|key| times.passes(&key.start));
        }
        let read = KeysRead {
            scan,
            view: View::new(state.known.rules.clone(), &spec, self.now_for(&state)),
            state,
            keys,
            left,
            metrics: self.shared.metrics.clone(),
            _guard: guard,
        };
        let batches = stream::try_unfold(read, |mut read| async move {
            let batch = read.batch().await?;
            read.metrics.rows_read.add(batch.len() as u64);
            Ok((!batch.is_empty()).then_some((batch, read)))
        });
        Ok(batches.boxed())
    }
}
