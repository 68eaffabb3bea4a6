//! Reads of a tablet.

use super::inner::{Inner, State};
use super::snapshots::SnapshotGuard;
use super::{ArrowBatches, ChangeBatches, RowBatches, TabletStats};
use crate::arrow::{Plan, ScanSpec, scan};
use crate::raw::{Scan, normalize};
use crate::read::{View, changes, rows};
use common::ids::Seq;
use common::key::KeyRange;
use common::row::ReadSpec;
use common::{Error, Result};
use futures::StreamExt;
use futures::stream;
use std::sync::Arc;

impl Inner {
    pub(super) fn read(&self, spec: &ReadSpec, at: Seq) -> Result<RowBatches> {
        let (at, guard, state) = self.snapshot(at)?;
        let scan = Scan {
            reverse: spec.reverse,
            columns: spec.columns.clone(),
            // Whether a row exists may hang on any of its cells.
            others: spec.keep_empty_rows,
            // Newer cells outside the range still count as versions; older ones decide nothing.
            oldest: spec.timestamps.start,
            ..Scan::all(normalize(&spec.ranges, &self.range), at)
        };
        let view = View::new(&self.table(), spec, self.shared.config.clock.now());
        Ok(rows(&state.sources(), scan, view, spec.row_limit, self.shared.metrics.clone(), guard))
    }

    pub(super) fn scan(&self, spec: &ScanSpec, at: Seq) -> Result<ArrowBatches> {
        let (at, guard, state) = self.snapshot(at)?;
        let plan = Plan::new(self.table(), spec, &self.range, at, self.shared.config.clock.now())?;
        Ok(scan(&state.sources(), plan, self.shared.metrics.clone(), guard))
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
        let view = View::whole(&self.table(), self.shared.config.clock.now());
        let ranges = normalize(std::slice::from_ref(range), &self.range);
        Ok(changes(state.sources(), (from, to), ranges, view, guard))
    }

    /// The state that holds everything up to `at`, held readable.
    fn snapshot(&self, at: Seq) -> Result<(Seq, SnapshotGuard, Arc<State>)> {
        loop {
            self.check_serving()?;
            // `visible` first: the state taken after holds all of it.
            let visible = self.visible();
            if at != Seq::MAX && at > visible {
                return Err(Error::refused(format!("tablet {} has reached seq {visible}; {at} was asked for", self.id)));
            }
            let seq = at.min(visible);
            let guard = self.snapshots.hold(seq);
            let state = self.state();
            if state.readable.is_readable(seq) {
                // An end between the check and the state would show an empty tablet.
                self.check_serving()?;
                return Ok((seq, guard, state));
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
            row_estimate: sstables.iter().map(|s| s.0.entry.rows).sum::<u64>() + in_memory as u64,
        }
    }
}
