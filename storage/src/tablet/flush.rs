//! Memtables to SSTables, SSTables to fewer, and the manifest that says so.
//!
//! The order that keeps data: an SSTable is durable before a manifest names it; a manifest names it before the
//! memtable goes and the log may be trimmed; no manifest names an SSTable any more before it is deleted.

use super::inner::{Frozen, Inner, SstHandle, State};
use super::sst::{Sst, reference};
use crate::compaction::{self, Below, Choice, Points, Retention, SizeTiered};
use crate::format::{Manifest, NO_SEGMENT, SstableRef};
use crate::memtable::Memtable;
use crate::read::Sources;
use crate::sync::lock;
use common::ids::Seq;
use common::key::KeyRange;
use common::{Error, ErrorKind, Result};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Inner {
    /// Flushes everything visible now, and brings the manifest up to date.
    pub(super) async fn flush(&self) -> Result<()> {
        let _one = self.flushing.lock().await;
        self.check_serving()?;
        self.freeze();
        while let Some(frozen) = self.state().frozen.first().cloned() {
            self.flush_one(frozen).await?;
        }
        self.note_position().await
    }

    fn freeze(&self) {
        // Under the queue's lock nothing is inserted, so `visible` is what the memtable holds.
        let _queue = lock(&self.queue);
        let upto = self.visible();
        self.change_state(|state| {
            if !state.active.is_empty() {
                state.generation += 1;
                let table = std::mem::replace(&mut state.active, Memtable::new());
                state.frozen.push(Frozen { table, upto });
            }
        });
    }

    async fn flush_one(&self, frozen: Frozen) -> Result<()> {
        let sources: Sources<SstHandle> = Sources { memtables: vec![frozen.table.clone()], sstables: Vec::new() };
        let new = self.write_sstable(&sources, None, 0).await?;
        let entry = new.as_ref().map(|sst| sst.entry.clone());
        let edit = |m: &mut Manifest| {
            m.sstables.extend(entry);
            m.flushed = m.flushed.max(frozen.upto);
        };
        let install = |state: &mut State| {
            state.frozen.retain(|f| !Arc::ptr_eq(&f.table, &frozen.table));
            state.sstables.extend(new.map(SstHandle));
        };
        self.put_manifest(Some(&frozen.table), edit, install).await?;
        self.shared.memory.release(frozen.table.bytes());
        self.shared.metrics.flushes.add(1);
        Ok(())
    }

    /// Writes and opens an SSTable of what the sources hold; `None` if nothing is left of it.
    async fn write_sstable(&self, sources: &Sources<SstHandle>, rule: Option<&Retention>, level: u32) -> Result<Option<Arc<Sst>>> {
        let (store, block_bytes) = (self.shared.config.store.clone(), self.shared.config.block_bytes);
        let made = compaction::merge(store, sources, KeyRange::ALL, rule, (self.new_sstable(), block_bytes)).await?;
        let Some(finished) = made else { return Ok(None) };
        self.shared.metrics.sstable_bytes_written.add(finished.size);
        let entry: SstableRef = reference(&finished, level, &self.range, self.table().families.iter().map(|f| f.id).collect());
        Sst::open(&self.shared, entry).await.map(Some)
    }

    /// Puts a manifest if the flushed seq or the log position has moved without a flush.
    async fn note_position(&self) -> Result<()> {
        let (mut flushed, mut moved) = (None, false);
        {
            let current = self.manifest.lock().await;
            let queue = lock(&self.queue);
            let state = self.state();
            if state.frozen.is_empty() && state.active.is_empty() && self.visible() > current.current().flushed {
                flushed = Some(self.visible());
            }
            drop(queue);
            moved |= self.log_needed(None) > current.current().log_from;
        }
        if flushed.is_none() && !moved {
            return Ok(());
        }
        self.put_manifest(None, |m| m.flushed = m.flushed.max(flushed.unwrap_or_default()), |_| {}).await
    }

    /// The first log segment that recovery would need if `except` were flushed.
    fn log_needed(&self, except: Option<&Arc<Memtable>>) -> u64 {
        // Read first: what is appended later goes to this segment or a later one.
        let newest = self.shared.log.newest();
        let queue = lock(&self.queue);
        let state = self.state();
        let tables = state.frozen.iter().map(|f| &f.table).chain([&state.active]);
        let kept = tables.filter(|t| except.is_none_or(|e| !Arc::ptr_eq(e, t))).map(|t| t.log_from()).min();
        let needed = queue.log_from().min(kept.unwrap_or(NO_SEGMENT));
        // While it closes nothing more is appended.
        if needed == NO_SEGMENT && self.is_closing() { NO_SEGMENT } else { newest.min(needed) }
    }

    /// Replaces the manifest, then the state.
    async fn put_manifest(
        &self,
        flushing: Option<&Arc<Memtable>>,
        edit: impl FnOnce(&mut Manifest),
        install: impl FnOnce(&mut State),
    ) -> Result<()> {
        let mut store = self.manifest.lock().await;
        self.check_serving()?;
        let mut next = store.current().clone();
        edit(&mut next);
        next.log_from = self.log_needed(flushing);
        next.highest_timestamp = lock(&self.numbering).highest;
        next.schema_version = self.table().schema_version;
        next.next_sstable = self.next_sstable.load(Ordering::Acquire);
        next.applied = if self.check_kind(true).is_ok() { next.flushed } else { Seq::ZERO };
        {
            let queue = lock(&self.queue);
            next.applied_runs = queue.staged.applied_up_to(next.flushed);
            next.staged = queue.staged.references();
        }
        let (log_from, readable) = (next.log_from, Points::new(next.points.clone(), next.floor));
        if let Err(e) = store.put(next).await {
            if e.kind == ErrorKind::Fenced {
                self.end(e.clone());
            }
            return Err(e);
        }
        self.log_from.store(log_from, Ordering::Release);
        self.change_state(|state| {
            state.readable = readable;
            install(state);
        });
        Ok(())
    }

    /// Merges as the strategy chooses until it chooses nothing.
    pub(super) async fn compact_as_chosen(&self) -> Result<()> {
        loop {
            let _one = self.compacting.lock().await;
            let sizes: Vec<_> = self.state().sstables.iter().map(|s| s.0.entry.size).collect();
            match SizeTiered::default().choose(&sizes) {
                Choice::Nothing => return Ok(()),
                Choice::Merge(range) => self.compact_range(range).await?,
            }
        }
    }

    /// Merges all SSTables.
    pub(super) async fn compact_all(&self) -> Result<()> {
        let _one = self.compacting.lock().await;
        self.check_serving()?;
        let all = self.state().sstables.len();
        if all == 0 { Ok(()) } else { self.compact_range(0..all).await }
    }

    #[cfg(test)]
    pub(crate) async fn compact_some_for_tests(&self, from: usize, count: usize) -> Result<()> {
        let _one = self.compacting.lock().await;
        let all = self.state().sstables.len();
        let from = all * from / 100;
        let to = (from + 1 + (all - from) * count / 100).min(all);
        if from < to { self.compact_range(from..to).await } else { Ok(()) }
    }

    /// Merges neighbours. Under the `compacting` lock; flushes may add newer SSTables meanwhile.
    async fn compact_range(&self, range: Range<usize>) -> Result<()> {
        let _permit = self.shared.compactions.acquire().await.map_err(|_| Error::unavailable("the engine is shutting down"))?;
        self.check_serving()?;
        let state = self.state();
        let flushed = self.manifest.lock().await.current().flushed;
        let Some(inputs) = state.sstables.get(range.clone()).map(<[_]>::to_vec) else { return Ok(()) };
        let now = self.shared.config.clock.monotonic();
        let points = self.snapshots.retained(now, self.visible().min(flushed), &state.readable);
        let below: Below = if nothing_below(&state, &range) { Arc::new(|_| Seq::MAX) } else { Arc::new(|_| Seq::ZERO) };
        let rule = Retention::new(&self.table(), self.shared.removal_time(), points.clone(), below);
        let sources = Sources { memtables: Vec::new(), sstables: inputs.clone() };
        let level = inputs.iter().map(|s| s.0.entry.level).max().unwrap_or_default() + 1;
        let made = self.write_sstable(&sources, Some(&rule), level).await?;
        let entry = made.as_ref().map(|sst| sst.entry.clone());
        let names: Vec<_> = inputs.iter().map(|s| s.0.entry.name).collect();
        let edit = |m: &mut Manifest| {
            replace(&mut m.sstables, entry, |s| names.contains(&s.name));
            let left = Points::new(m.points.clone(), m.floor).meet(&points);
            (m.floor, m.points) = (left.floor(), left.kept().to_vec());
        };
        let install = |state: &mut State| replace(&mut state.sstables, made.map(SstHandle), |s| names.contains(&s.0.entry.name));
        self.put_manifest(None, edit, install).await?;
        self.shared.metrics.compactions.add(1);
        self.shared.metrics.compaction_bytes_read.add(inputs.iter().map(|s| s.0.entry.size).sum());
        inputs.iter().for_each(|s| s.0.retire(self.id, self.epoch));
        Ok(())
    }
}

/// Replaces neighbours by what they became.
fn replace<T>(list: &mut Vec<T>, new: Option<T>, old: impl Fn(&T) -> bool) {
    let at = list.iter().position(&old).unwrap_or(list.len());
    list.retain(|item| !old(item));
    if let Some(new) = new {
        list.insert(at, new);
    }
}

/// Whether no older SSTable shares keys with those of `range`. Memtables and staged rows are newer.
fn nothing_below(state: &State, range: &Range<usize>) -> bool {
    let span = |s: &SstHandle| {
        let p = s.properties();
        let both = p.keys.iter().chain(&p.delete_keys);
        let first = both.clone().map(|(first, _)| first.clone()).min();
        first.zip(both.map(|(_, last)| last.clone()).max())
    };
    let merged: Vec<_> = state.sstables[range.clone()].iter().filter_map(span).collect();
    let older = state.sstables[..range.start].iter().filter_map(span);
    older.into_iter().all(|(first, last)| merged.iter().all(|(from, to)| last < *from || *to < first))
}
