//! Reads of a tablet.

use super::inner::{Inner, SstHandle, State};
use super::point::of_row;
use super::snapshots::SnapshotGuard;
use super::{ArrowBatches, ChangeBatches, RowBatches, TabletStats};
use crate::arrow::{Known, Plan, ScanSpec, scan};
use crate::event_time::EventTimes;
use crate::raw::{Scan, normalize, single_key};
use crate::read::{KeyTimes, View, changes, rows};
use arc_swap::Guard;
use common::ids::Seq;
use common::key::KeyRange;
use common::row::ReadSpec;
use common::{Error, Result};
use futures::StreamExt;
use futures::stream;
use std::sync::Arc;

impl Inner {
    pub(super) fn read(self: &Arc<Self>, spec: ReadSpec, at: Seq) -> Result<RowBatches> {
        let ranges = normalize(&spec.ranges, &self.range);
        if ranges.iter().all(|range| single_key(range).is_some()) {
            return self.read_keys(ranges, spec, at);
        }
        let (at, guard, state) = self.snapshot(at)?;
        let scan = Scan { reverse: spec.reverse, ranges, ..of_row(&state.known.table, &spec, at) };
        let view = View::new(state.known.rules.clone(), &spec, self.now_for(&state));
        Ok(rows(&state.sources_of(scan.event_times.as_ref()), scan, view, spec.row_limit, self.shared.metrics.clone(), guard))
    }

    pub(super) fn scan(&self, spec: &ScanSpec, at: Seq) -> Result<ArrowBatches> {
        let (at, guard, state) = self.snapshot(at)?;
        let known = &state.known;
        let known = Known { table: &known.table, rules: &known.rules, projections: &known.projections };
        let plan = Plan::new(known, spec, &self.range, at, self.shared.config.clock.now())?;
        Ok(scan(&state.sources_of(plan.event_times()), plan, self.shared.metrics.clone(), guard))
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
    pub(super) fn snapshot(&self, at: Seq) -> Result<(Seq, SnapshotGuard, Arc<State>)> {
        loop {
            // Held before the state is taken, or a compaction could come in between.
            let guard = self.snapshots.hold(at.min(self.visible()));
            let (seq, state) = self.state_at(at)?;
            if guard.at() == seq {
                return Ok((seq, guard, Guard::into_inner(state)));
            }
        }
    }

    /// The state that holds everything up to `at`: whoever holds it reads there, whatever is compacted meanwhile.
    pub(super) fn state_at(&self, at: Seq) -> Result<(Seq, Guard<Arc<State>>)> {
        loop {
            // `visible` first: the state taken after holds all of it. Then the status: an end before it shows an empty tablet.
            let (visible, state) = (self.visible(), self.state.load());
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
            kept_bytes: self.kept_bytes(),
            memtable_bytes: state.memtable_bytes() as u64,
            sstables: sstables.len(),
            level0_files: self.level0_files(),
            row_estimate: sstables.iter().map(|s| s.0.entry.rows).sum::<u64>() + in_memory as u64,
        }
    }
}
