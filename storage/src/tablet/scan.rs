//! Reads of a tablet.

use super::inner::{Inner, SstHandle, State};
use super::snapshots::SnapshotGuard;
use super::{ArrowBatches, ChangeBatches, RowBatches, TabletStats};
use crate::arrow::{Plan, ScanSpec, scan};
use crate::event_time::EventTimes;
use crate::metrics::Metrics;
use crate::raw::{RawRow, Scan, normalize, single_key};
use crate::read::{BATCH_BYTES, BATCH_ROWS, KeyTimes, View, changes, rows, stored, with_memory};
use bytes::Bytes;
use common::ids::Seq;
use common::key::KeyRange;
use common::row::{ReadSpec, Row};
use common::schema::Table;
use common::{Error, Result};
use futures::StreamExt;
use futures::future::try_join_all;
use futures::stream;
use std::sync::Arc;

/// Rows that are looked up at once.
const KEYS_AT_ONCE: usize = 16;

/// What a read wants of each row; the ranges are left out.
fn of_row(table: &Arc<Table>, spec: &ReadSpec, at: Seq) -> Scan {
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

/// One row of a state.
async fn row(state: &State, key: &[u8], scan: &Scan, view: &View) -> Result<Option<Row>> {
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
                bytes += row.key.len() + row.cells.iter().map(|c| c.qualifier.len() + c.value.len()).sum::<usize>();
                batch.push(row);
                self.left -= 1;
            }
        }
        Ok(batch)
    }
}

impl Inner {
    pub(super) fn read(self: &Arc<Self>, spec: ReadSpec, at: Seq) -> Result<RowBatches> {
        let ranges = normalize(&spec.ranges, &self.range);
        if ranges.iter().all(|range| single_key(range).is_some()) {
            return self.read_keys(ranges, spec, at);
        }
        let (at, guard, state) = self.snapshot(at)?;
        let scan = Scan { reverse: spec.reverse, ranges, ..of_row(&self.table(), &spec, at) };
        let view = View::new(self.rules(), &spec, self.shared.config.clock.now());
        Ok(rows(&state.sources_of(scan.event_times.as_ref()), scan, view, spec.row_limit, self.shared.metrics.clone(), guard))
    }

    pub(super) fn scan(&self, spec: &ScanSpec, at: Seq) -> Result<ArrowBatches> {
        let (at, guard, state) = self.snapshot(at)?;
        let plan = Plan::new(self.table(), spec, &self.range, at, self.shared.config.clock.now())?;
        Ok(scan(&state.sources_of(plan.event_times()), plan, self.shared.metrics.clone(), guard))
    }

    pub(super) async fn read_row(&self, key: &[u8], spec: &ReadSpec, at: Seq) -> Result<Option<Row>> {
        if !self.range.contains(key) {
            let text = format!("key {:?} lies outside the tablet: refresh the tablet map", Bytes::copy_from_slice(key));
            return Err(Error::not_mine(text));
        }
        let (at, state) = self.state_at(at)?;
        let scan = of_row(&self.table(), spec, at);
        let view = View::new(self.rules(), spec, self.shared.config.clock.now());
        let row = row(&state, key, &scan, &view).await?;
        self.shared.metrics.rows_read.add(u64::from(row.is_some()));
        Ok(row)
    }

    /// Single rows, in key order: each looked up, some at a time.
    fn read_keys(self: &Arc<Self>, mut keys: Vec<KeyRange>, spec: ReadSpec, at: Seq) -> Result<RowBatches> {
        let (at, guard, state) = self.snapshot(at)?;
        if !spec.reverse {
            keys.reverse();
        }
        let left = if spec.row_limit == 0 { u64::MAX } else { spec.row_limit };
        let view = View::new(self.rules(), &spec, self.shared.config.clock.now());
        let read = KeysRead {
            state,
            scan: of_row(&self.table(), &spec, at),
            view,
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

    pub(super) fn changes(&self, from: Seq, to: Seq, range: &KeyRange) -> Result<ChangeBatches> {
        let (to, guard, state) = self.snapshot(to)?;
        if from >= to {
            return Ok(stream::empty().boxed());
        }
        if !state.readable.is_readable(from) {
            let floor = state.readable.floor();
            let text = format!("tablet {}: changes from {from} are lost, they are kept from {floor} on: everything is due", self.id);
            return Err(Error::changes_lost(text));
        }
        let view = View::whole(self.rules(), self.shared.config.clock.now());
        let ranges = normalize(std::slice::from_ref(range), &self.range);
        let times = EventTimes::of(&self.table(), &ranges, None);
        Ok(changes(state.sources_of(times.as_ref()), (from, to), ranges, (self.key_times(), view), guard))
    }

    fn key_times(&self) -> KeyTimes<SstHandle> {
        let slicer = self.slicer();
        let by_key = slicer.is_by_key();
        KeyTimes { of: Box::new(move |key| if by_key { slicer.event_time(key) } else { None }), within: |sst| sst.0.entry.event_times }
    }

    /// [`Self::state_at`], held readable for other reads too.
    fn snapshot(&self, at: Seq) -> Result<(Seq, SnapshotGuard, Arc<State>)> {
        loop {
            // Held before the state is taken, or a compaction could come in between.
            let guard = self.snapshots.hold(at.min(self.visible()));
            let (seq, state) = self.state_at(at)?;
            if guard.at() == seq {
                return Ok((seq, guard, state));
            }
        }
    }

    /// The state that holds everything up to `at`: whoever holds it reads there, whatever is compacted meanwhile.
    fn state_at(&self, at: Seq) -> Result<(Seq, Arc<State>)> {
        loop {
            // `visible` first: the state taken after holds all of it. Then the status: an end before it shows an empty tablet.
            let (visible, state) = (self.visible(), self.state());
            self.check_serving()?;
            if at != Seq::MAX && at > visible {
                return Err(Error::refused(format!("tablet {} has reached seq {visible}; {at} was asked for", self.id)));
            }
            let seq = at.min(visible);
            if state.readable.is_readable(seq) {
                return Ok((seq, state));
            }
            if at != Seq::MAX {
                let text = format!("tablet {}: seq {at} is below the floor {}: take a new snapshot", self.id, state.readable.floor());
                return Err(Error::snapshot_too_old(text));
            }
        }
    }

    pub(super) fn stats(&self) -> TabletStats {
        let state = self.state();
        let sstables = &state.sstables;
        let in_memory: usize = state.frozen.iter().map(|f| f.table.rows()).sum::<usize>() + state.active.rows();
        TabletStats {
            stored_bytes: sstables.iter().map(|s| s.0.entry.size).sum(),
            memtable_bytes: state.memtable_bytes() as u64,
            sstables: sstables.len(),
            level0_files: self.level0_files(),
            row_estimate: sstables.iter().map(|s| s.0.entry.rows).sum::<u64>() + in_memory as u64,
        }
    }
}
