//! Memtables to SSTables, and the manifest that says so.
//!
//! The order that keeps data: an SSTable is durable before a manifest names it; a manifest names it before the
//! memtable goes and the log may be trimmed; no manifest names an SSTable any more before it is deleted.

use super::inner::{Frozen, Inner, SstHandle, State};
use super::sst::{Sst, reference};
use crate::compaction::{self, Output, Points};
use crate::format::{Manifest, NO_SEGMENT};
use crate::memtable::Memtable;
use crate::sstable::Warm;
use crate::sync::lock;
use common::ids::Seq;
use common::{ErrorKind, Result};
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
                state.frozen.push(Frozen { table, upto, ingested: None });
            }
        });
    }

    async fn flush_one(&self, frozen: Frozen) -> Result<()> {
        let outputs = if frozen.table.is_empty() { Vec::new() } else { self.write_table(&frozen.table).await? };
        let new = self.open_outputs(&outputs, 0);
        let entries: Vec<_> = new.iter().map(|sst| sst.entry.clone()).collect();
        self.shared.metrics.flush_bytes_written.add(entries.iter().map(|e| e.size).sum());
        let edit = |m: &mut Manifest| {
            m.sstables.extend(entries);
            m.sstables.extend(frozen.ingested().iter().cloned());
            m.flushed = m.flushed.max(frozen.upto);
        };
        let install = |state: &mut State| {
            state.frozen.retain(|f| !Arc::ptr_eq(&f.table, &frozen.table));
            state.sstables.extend(new.into_iter().map(SstHandle));
        };
        self.put_manifest(Some(&frozen.table), edit, install).await?;
        self.shared.memory.release(frozen.table.bytes());
        self.shared.metrics.flushes.add(u64::from(!frozen.table.is_empty()));
        Ok(())
    }

    async fn write_table(&self, table: &Arc<Memtable>) -> Result<Vec<Output>> {
        let warm = Warm { cache: self.shared.reader.cache.clone(), rows: true, partitions: true };
        let (table, target) = (table.clone(), self.target(u64::MAX, Some(warm)));
        self.shared.pool.run(async move { compaction::flush(&table, target).await }).await
    }

    /// Opens what a merge has written.
    pub(super) fn open_outputs(&self, outputs: &[Output], level: u32) -> Vec<Arc<Sst>> {
        self.shared.metrics.sstable_bytes_written.add(outputs.iter().map(|o| o.finished.size).sum());
        let open = |o: &Output| Sst::open_fresh(&self.shared, reference(o, level, &self.range), o.finished.fresh.as_deref());
        outputs.iter().map(open).collect()
    }

    /// Puts a manifest if the flushed seq or the log position has moved without a flush.
    pub(super) async fn note_position(&self) -> Result<()> {
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
            // Who opens it next, at the same epoch perhaps, must not give names again that an ingest has given up.
            moved |= self.is_closing() && self.next_sstable.load(Ordering::Acquire) > current.current().next_sstable;
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
        let frozen = state.frozen.iter().filter(|f| except.is_none_or(|e| !Arc::ptr_eq(e, &f.table)));
        let kept = frozen.map(Frozen::log_from).fold(state.active.log_from(), u64::min);
        let needed = queue.log_from().min(kept);
        // While it closes nothing more is appended.
        if needed == NO_SEGMENT && self.is_closing() { NO_SEGMENT } else { newest.min(needed) }
    }

    /// Replaces the manifest, then the state.
    pub(super) async fn put_manifest(
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
        self.note_backlog();
        self.note_space();
        Ok(())
    }
}
