//! Compactions of a tablet: the strategy chooses, the pool merges, one manifest says what became of what.
//!
//! Compactions of different slices may run at once; each reserves the slice keys that it reads and writes. A full
//! compaction runs alone. What fails leaves objects that nobody names, nothing else.

use super::inner::{Inner, SstHandle, State};
use super::sst::Sst;
use crate::compaction::{
    AGE_SLACK, Below, Between, Choice, Merging, Names, Points, Retention, Situation, Strategy, Target, Trigger, keys_meet, merge,
    months_until,
};
use crate::format::{Manifest, Slice, SliceKey, SstableName, SstableRef};
use crate::read::Sources;
use crate::slice::Slicer;
use crate::sstable::{Layout, RangeDelete, Reader, Warm};
use crate::sync::lock;
use common::ids::Seq;
use common::{Error, Result};
use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Slice keys that a compaction works on; free again when it goes.
struct Reserved<'a> {
    busy: &'a Mutex<HashSet<SliceKey>>,
    keys: Vec<SliceKey>,
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        let mut busy = lock(self.busy);
        self.keys.iter().for_each(|key| {
            busy.remove(key);
        });
    }
}

impl Inner {
    /// Compacts in the background as the strategy chooses, unless as many as may do so already.
    pub(crate) fn compact_in_background(self: &Arc<Self>) {
        let most = self.shared.config.compaction.concurrent.max(1);
        let begin = |running: usize| (running < most).then_some(running + 1);
        if self.compactors.fetch_update(Ordering::AcqRel, Ordering::Acquire, begin).is_err() {
            return;
        }
        let this = self.clone();
        tokio::spawn(async move {
            let done = this.compact_as_chosen().await;
            this.compactors.fetch_sub(1, Ordering::AcqRel);
            if let Err(e) = done
                && !this.has_ended()
                && !this.is_closing()
            {
                tracing::warn!(tablet = %this.id, error = %e, "a compaction failed; it is tried again");
            }
        });
    }

    /// Compacts as the strategy chooses, at most for so long, if so many SSTables wait that writers are slowed or soon will be.
    ///
    /// # Errors
    /// As a compaction.
    pub(super) async fn relieve(&self, at_most: Duration) -> Result<()> {
        match self.is_behind() {
            true => tokio::time::timeout(at_most, self.compact_as_chosen()).await.unwrap_or(Ok(())),
            false => Ok(()),
        }
    }

    /// Compacts as the strategy chooses until it chooses nothing.
    pub(super) async fn compact_as_chosen(&self) -> Result<()> {
        while self.compact_next().await? {}
        Ok(())
    }

    async fn compact_next(&self) -> Result<bool> {
        let _some = self.compacting.read().await;
        let _permit = self.permit().await?;
        self.check_serving()?;
        let shape = self.shape();
        let points = self.retained().await;
        let deletes = self.range_deletes().await?;
        let (choice, _reserved) = self.choose(&points, &deletes);
        match choice {
            Choice::Nothing => {
                self.at_rest.store(shape, Ordering::Release);
                return Ok(false);
            }
            Choice::Drop(names) => self.drop_whole(&names, &points).await?,
            Choice::Move(names, level) => self.move_to(&names, level).await?,
            Choice::Merge(merging) => self.compact(merging, points).await?,
        }
        Ok(true)
    }

    async fn permit(&self) -> Result<tokio::sync::SemaphorePermit<'_>> {
        self.shared.compactions.acquire().await.map_err(|_| Error::unavailable("the engine is shutting down"))
    }

    /// Merges all SSTables: one a slice is left, or one level.
    pub(super) async fn compact_all(&self) -> Result<()> {
        let _alone = self.compacting.write().await;
        self.check_serving()?;
        let strategy = self.strategy();
        for names in self.whole_slices() {
            let _permit = self.permit().await?;
            let files = entries(&self.state(), |name| names.contains(&name));
            let merging = strategy.full(&files.iter().collect::<Vec<_>>());
            let points = self.retained().await;
            self.compact(merging, points).await?;
        }
        Ok(())
    }

    #[cfg(test)]
    pub(crate) async fn compact_as_chosen_for_tests(&self) -> Result<()> {
        self.compact_as_chosen().await
    }

    #[cfg(test)]
    pub(crate) async fn compact_some_for_tests(&self, from: usize, count: usize) -> Result<()> {
        let _alone = self.compacting.write().await;
        let files = entries(&self.state(), |_| true);
        let from = files.len() * from / 100;
        let to = (from + 1 + (files.len() - from) * count / 100).min(files.len());
        if from >= to {
            return Ok(());
        }
        let merging = self.strategy().full(&files[from..to].iter().collect::<Vec<_>>());
        let points = self.retained().await;
        self.compact(merging, points).await
    }

    fn strategy(&self) -> Strategy {
        let config = &self.shared.config;
        // Memtables are flushed at half of the budget.
        Strategy::of(&self.table(), config.memtable_bytes as u64 / 2, config.compaction.file_bytes)
    }

    /// What has to stay readable.
    async fn retained(&self) -> Points {
        let flushed = self.manifest.lock().await.current().flushed;
        let now = self.shared.config.clock.monotonic();
        self.snapshots.retained(now, self.visible().min(flushed), &self.state().readable)
    }

    /// The row-range deletes in SSTables.
    async fn range_deletes(&self) -> Result<Vec<RangeDelete>> {
        let state = self.state();
        let mut all = Vec::new();
        for table in state.sstables.iter().filter(|s| s.0.entry.range_deletes.is_some()) {
            all.extend(table.range_deletes().await?.iter().cloned());
        }
        Ok(all)
    }

    fn choose(&self, points: &Points, deletes: &[RangeDelete]) -> (Choice, Option<Reserved<'_>>) {
        // Before the state: who frees a key has changed the state.
        let mut busy = lock(&self.compacted);
        let files = entries(&self.state(), |_| true);
        let situation = Situation {
            files: &files.iter().collect::<Vec<_>>(),
            busy: &busy,
            floor: points.all().next().unwrap_or(Seq::ZERO),
            removal: self.shared.removal_time().before(AGE_SLACK),
            now: self.shared.config.clock.now(),
        };
        let buried = buried(&files, &busy, deletes, points);
        let choice = if buried.is_empty() { self.strategy().choose(&situation) } else { Choice::Drop(buried) };
        let named: &[SstableName] = match &choice {
            Choice::Nothing => return (choice, None),
            Choice::Drop(names) | Choice::Move(names, _) => names,
            Choice::Merge(merging) => &merging.inputs,
        };
        let keys: HashSet<_> = files.iter().filter(|f| named.contains(&f.name)).flat_map(|f| widths(f.slice)).collect();
        // What another compaction holds it must not free.
        let keys: Vec<_> = keys.into_iter().filter(|key| busy.insert(*key)).collect();
        (choice, Some(Reserved { busy: &self.compacted, keys }))
    }

    /// The SSTables of a full compaction, by what must be merged together.
    fn whole_slices(&self) -> Vec<HashSet<SstableName>> {
        let files = entries(&self.state(), |_| true);
        let slicer = self.slicer();
        // Only where the slice is that of the key does a row lie in one, and a row-range delete knows no slices.
        if !slicer.is_by_key() || files.iter().any(|f| f.range_deletes.is_some()) {
            return if files.is_empty() { Vec::new() } else { vec![files.iter().map(|f| f.name).collect()] };
        }
        let mut whole: BTreeMap<Option<Slice>, HashSet<SstableName>> = BTreeMap::new();
        for file in &files {
            let slice = file.slice.slice.map(|own| slicer.slice(own.times().start).max(own));
            whole.entry(slice).or_default().insert(file.name);
        }
        whole.into_values().collect()
    }

    /// How rows are cut into slices now.
    pub(super) fn slicer(&self) -> Slicer {
        let state = self.state();
        let days_from = months_until(state.sstables.iter().map(|s| &s.0.entry.slice));
        Slicer::new(&self.table(), self.shared.config.clock.now(), days_from)
    }

    /// Where a flush or a compaction writes to.
    pub(super) fn target(&self, file_bytes: u64, warm: Option<Warm>) -> Target {
        let names = self.sstable_names();
        let config = &self.shared.config;
        Target {
            store: config.store.clone(),
            layout: Arc::new(Layout::new(config, &self.table())),
            names,
            slicer: self.slicer(),
            file_bytes,
            warm,
        }
    }

    /// Names for new SSTables, each given once.
    pub(super) fn sstable_names(&self) -> Names {
        let (next, home, epoch) = (self.next_sstable.clone(), self.id, self.epoch);
        Arc::new(move || SstableName { home, epoch, number: next.fetch_add(1, Ordering::AcqRel) })
    }

    async fn compact(&self, merging: Merging, points: Points) -> Result<()> {
        let state = self.state();
        let named = |s: &&SstHandle| merging.inputs.contains(&s.0.entry.name);
        let inputs: Vec<_> = state.sstables.iter().filter(named).cloned().collect();
        let (below, between) = outside(&state, &merging.inputs);
        let rule = Retention::new(&self.table(), self.shared.removal_time(), points.clone(), below, between)
            .with_lowest(lowest(&state, &merging.inputs));
        let sources = Sources { memtables: Vec::new(), sstables: inputs.clone() };
        let warm = Reader::warm_as(&self.shared.reader, &inputs);
        let (target, shared) = (self.target(merging.file_bytes, Some(warm)), self.shared.clone());
        let merged = async move { merge(&sources, Some(&rule), target, Some(&shared.pace)).await };
        let outputs = tokio::select! {
            outputs = self.shared.pool.run(merged) => outputs?,
            () = self.until_leaving() => return Err(Error::unavailable(format!("tablet {} closes", self.id))),
        };
        let made = self.open_outputs(&outputs, merging.level);
        let new: Vec<_> = made.iter().map(|sst| sst.entry.clone()).collect();
        let (written, read) = (new.iter().map(|f| f.size).sum(), inputs.iter().map(|s| s.0.entry.size).sum());
        let edit = |m: &mut Manifest| {
            m.sstables.retain(|s| !merging.inputs.contains(&s.name));
            m.sstables.extend(new);
            forget(m, &points);
        };
        self.replace(edit, &merging.inputs, made).await?;
        self.count(merging.trigger, read, written);
        Ok(())
    }

    async fn drop_whole(&self, names: &[SstableName], points: &Points) -> Result<()> {
        let edit = |m: &mut Manifest| {
            m.sstables.retain(|s| !names.contains(&s.name));
            forget(m, points);
        };
        self.replace(edit, names, Vec::new()).await?;
        self.shared.metrics.sstables_dropped_whole.add(names.len() as u64);
        Ok(())
    }

    async fn move_to(&self, names: &[SstableName], level: u32) -> Result<()> {
        let edit = |m: &mut Manifest| m.sstables.iter_mut().filter(|s| names.contains(&s.name)).for_each(|s| s.level = level);
        let install =
            |state: &mut State| state.sstables.iter().filter(|s| names.contains(&s.0.entry.name)).for_each(|s| s.0.move_to(level));
        self.put_manifest(None, edit, install).await?;
        self.shared.metrics.sstables_moved.add(names.len() as u64);
        Ok(())
    }

    /// Puts the manifest, then the state; what is no longer named goes with its last reader.
    async fn replace(&self, edit: impl FnOnce(&mut Manifest), old: &[SstableName], new: Vec<Arc<Sst>>) -> Result<()> {
        let mut gone = Vec::new();
        let install = |state: &mut State| {
            gone.extend(state.sstables.extract_if(.., |s| old.contains(&s.0.entry.name)));
            state.sstables.extend(new.into_iter().map(SstHandle));
        };
        self.put_manifest(None, edit, install).await?;
        gone.iter().for_each(|s| s.0.retire(self.id, self.epoch));
        Ok(())
    }

    fn count(&self, trigger: Trigger, read: u64, written: u64) {
        let m = &self.shared.metrics;
        m.compactions.add(1);
        m.compaction_bytes_read.add(read);
        m.compaction_bytes_written.add(written);
        let by_trigger = match trigger {
            Trigger::Size => &m.compactions_for_size,
            Trigger::Join => &m.compactions_for_slices,
            Trigger::Tombstones => &m.compactions_for_deletes,
            Trigger::Age => &m.compactions_for_age,
            Trigger::Full => &m.compactions_on_demand,
        };
        by_trigger.add(1);
    }
}

/// Says that what `points` cannot tell apart is gone.
fn forget(m: &mut Manifest, points: &Points) {
    let left = Points::new(m.points.clone(), m.floor).meet(points);
    (m.floor, m.points) = (left.floor(), left.kept().to_vec());
}

/// What the manifest says of these SSTables. One that it does not list yet may not be merged: the result would be listed with
/// seqs that are not flushed.
fn entries(state: &State, which: impl Fn(SstableName) -> bool) -> Vec<SstableRef> {
    let unlisted: HashSet<_> = state.unlisted().collect();
    let listed = state.sstables.iter().filter(|s| !unlisted.contains(&s.0.entry.name));
    listed.filter(|s| which(s.0.entry.name)).map(|s| s.0.current()).collect()
}

/// A slice key and those that its rows may be joined into.
fn widths(key: SliceKey) -> Vec<SliceKey> {
    let wider = key.slice.into_iter().flat_map(|s| [Slice::day(s.times().start), Slice::month(s.times().start)]);
    wider.map(|slice| SliceKey { slice: Some(slice), ..key }).chain([key]).collect()
}

/// SSTables all of whose rows a row-range delete hides from every reader.
fn buried(files: &[SstableRef], busy: &HashSet<SliceKey>, deletes: &[RangeDelete], points: &Points) -> Vec<SstableName> {
    let hides = |d: &RangeDelete, f: &SstableRef| {
        d.seq <= points.floor() && f.seqs.1 < d.seq && f.lies_within(&d.range) && !points.separate(f.seqs.0, d.seq)
    };
    let gone = files.iter().filter(|f| !busy.contains(&f.slice) && deletes.iter().any(|d| hides(d, f)));
    gone.map(|f| f.name).collect()
}

/// The lowest seq outside a merge of `inputs`, wherever that has something.
fn lowest(state: &State, inputs: &[SstableName]) -> Seq {
    let (merged, others): (Vec<_>, Vec<_>) = state.sstables.iter().map(|s| &s.0.entry).partition(|f| inputs.contains(&f.name));
    let near = others.into_iter().filter(|o| merged.iter().any(|f| keys_meet(o, f))).map(|o| o.seqs.0);
    near.chain(state.memtables().filter_map(|t| t.seqs()).map(|(lowest, _)| lowest)).min().unwrap_or(Seq::MAX)
}

/// The lowest seq that a row key may have outside a merge of `inputs`, and whether it may have some between two.
fn outside(state: &State, inputs: &[SstableName]) -> (Below, Between) {
    let (merged, others): (Vec<_>, Vec<_>) = state.sstables.iter().map(|s| &s.0.entry).partition(|f| inputs.contains(&f.name));
    let near = others.into_iter().filter(|o| merged.iter().any(|f| keys_meet(o, f)));
    let near: Arc<[SstableRef]> = near.cloned().collect();
    let memtables = state.frozen.iter().map(|f| &f.table).chain([&state.active]);
    let memory = memtables.filter_map(|t| t.seqs()).map(|(lowest, _)| lowest).min().unwrap_or(Seq::MAX);
    let files = near.clone();
    let below: Below = Arc::new(move |key| near.iter().filter(|f| f.may_have(key)).map(|f| f.seqs.0).min().unwrap_or(Seq::MAX).min(memory));
    let between: Between =
        Arc::new(move |key, from, to| memory <= to || files.iter().any(|f| f.seqs.0 <= to && from <= f.seqs.1 && f.may_have(key)));
    (below, between)
}
