//! The SSTables that a flush or a compaction writes: one series of them for each slice that its rows lie in.

use crate::format::{Slice, SliceKey, SstableName};
use crate::memtable::{Batch, Entry};
use crate::raw::RawRow;
use crate::slice::{Parts, Slicer};
use crate::sstable::{Finished, Layout, RangeDelete, Warm, Writer};
use common::Result;
use common::ids::FamilyId;
use common::store::SharedStore;
use common::time::Micros;
use futures::{StreamExt, TryStreamExt, stream};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Slices that are open at once; rows of further ones are cut by months.
const MAX_OPEN: usize = super::MAX_SLICES;
/// SSTables that are finished at once.
const FINISH_AT_ONCE: usize = 8;

/// Rows after which it is looked at what is in memory.
const CHECK_ROWS: usize = 256;

/// Gives each SSTable its name.
pub(crate) type Names = Arc<dyn Fn() -> SstableName + Send + Sync>;

/// Where a merge writes to.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) store: SharedStore,
    pub(crate) layout: Arc<Layout>,
    pub(crate) names: Names,
    pub(crate) slicer: Slicer,
    /// Bytes at which an SSTable is closed and the next begun, between two rows.
    pub(crate) file_bytes: u64,
    /// What of it stays in the caches.
    pub(crate) warm: Option<Warm>,
}

impl Target {
    fn writer(&self) -> Writer {
        Writer::new(self.store.clone(), (self.names)(), self.layout.clone()).warming(self.warm.clone())
    }
}

/// A finished SSTable, and what its writer does not know of it.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    pub(crate) finished: Finished,
    pub(crate) slice: SliceKey,
    pub(crate) families: Vec<FamilyId>,
    pub(crate) event_times: Option<(Micros, Micros)>,
    /// It reaches into other outputs, so that no level of disjoint SSTables can take it.
    pub(crate) low: bool,
}

/// See the module's page.
pub(crate) struct Outputs {
    target: Target,
    open: BTreeMap<SliceKey, Open>,
    done: Vec<Output>,
}

impl Outputs {
    pub(crate) fn new(target: Target) -> Self {
        Self { target, open: BTreeMap::new(), done: Vec::new() }
    }

    /// Adds a row; keys must rise.
    pub(crate) async fn add(&mut self, row: RawRow) -> Result<()> {
        let time = self.target.slicer.event_time(&row.key);
        match self.target.slicer.split(row, time) {
            Parts::One(key, row) => self.put(key, &row, time).await,
            Parts::Many(parts) => {
                for (key, row) in parts {
                    self.put(key, &row, time).await?;
                }
                Ok(())
            }
        }
    }

    /// Adds rows whose keys rise; they hold at most about `held` bytes in memory.
    pub(crate) async fn add_batch(&mut self, batch: Batch, held: usize) -> Result<()> {
        for (i, entry) in batch.entries.iter().enumerate() {
            match entry.row().is_plain() {
                true => self.add_plain(entry).await?,
                false => self.add(entry.to_raw()).await?,
            }
            if i % CHECK_ROWS == CHECK_ROWS - 1 {
                self.hold_at_most(held).await?;
                tokio::task::yield_now().await;
            }
        }
        self.hold_at_most(held).await
    }

    /// Adds a row of a memtable that is [plain](crate::format::RowRef::is_plain); keys must rise.
    pub(crate) async fn add_plain(&mut self, entry: &Entry) -> Result<()> {
        let row = entry.row();
        let time = self.target.slicer.event_time(row.key());
        let bytes = row.plain_bytes();
        let small = self.target.layout.is_small(row.cell_count(), bytes);
        match self.target.slicer.of_plain(&row, time).filter(|_| small) {
            Some(key) => self.open(key).await?.add_plain(entry, bytes, time).await,
            None => self.add(entry.to_raw()).await,
        }
    }

    async fn put(&mut self, key: SliceKey, row: &RawRow, time: Option<Micros>) -> Result<()> {
        self.open(key).await?.add(row, time).await
    }

    /// The SSTable that takes the next row of a slice.
    async fn open(&mut self, mut key: SliceKey) -> Result<&mut Open> {
        if self.open.len() >= MAX_OPEN && !self.open.contains_key(&key) {
            key.slice = key.slice.map(|slice| Slice::month(slice.times().start));
        }
        if self.open.get(&key).is_some_and(|open| open.writer.bytes() >= self.target.file_bytes)
            && let Some(full) = self.open.remove(&key)
        {
            self.done.push(full.finish(key).await?);
        }
        Ok(self.open.entry(key).or_insert_with(|| Open::new(self.target.writer())))
    }

    /// Ends SSTables, those that hold most in memory first, until all together hold at most so many bytes there.
    pub(crate) async fn hold_at_most(&mut self, bytes: usize) -> Result<()> {
        let mut held: usize = self.open.values().map(|open| open.writer.held()).sum();
        while held > bytes {
            let most = self.open.iter().map(|(key, open)| (open.writer.held(), *key)).max_by_key(|(held, _)| *held);
            let Some((of_most, key)) = most else { break };
            if let Some(open) = self.open.remove(&key) {
                self.done.push(open.finish(key).await?);
            }
            held -= of_most;
        }
        Ok(())
    }

    /// Adds row-range deletes, once all rows were added. They know no slices, and lie together.
    pub(crate) fn add_range_deletes(&mut self, deletes: Vec<RangeDelete>) {
        if deletes.is_empty() {
            return;
        }
        let key = SliceKey::default();
        let low = self.done.iter().any(|output| output.slice == key);
        let open = self.open.entry(key).or_insert_with(|| Open::new(self.target.writer()));
        open.low = low;
        // What they hide may be of any time.
        open.timed = false;
        deletes.into_iter().for_each(|d| open.writer.add_range_delete(d.range, d.seq));
    }

    /// All SSTables, once they are durable.
    pub(crate) async fn finish(mut self) -> Result<Vec<Output>> {
        let open = stream::iter(std::mem::take(&mut self.open)).map(|(key, open)| open.finish(key));
        let finished: Vec<_> = open.buffer_unordered(FINISH_AT_ONCE).try_collect().await?;
        self.done.extend(finished);
        Ok(self.done)
    }

    /// Gives up what is open; what is finished is named by nobody.
    pub(crate) async fn abort(self) {
        for open in self.open.into_values() {
            open.writer.abort().await;
        }
    }
}

/// An SSTable that is being written.
struct Open {
    writer: Writer,
    families: Vec<FamilyId>,
    /// Lowest and highest event time of its rows, and whether each has one.
    times: (Micros, Micros),
    timed: bool,
    low: bool,
}

impl Open {
    fn new(writer: Writer) -> Self {
        Self { writer, families: Vec::new(), times: (Micros::MAX, Micros::MIN), timed: true, low: false }
    }

    async fn add(&mut self, row: &RawRow, time: Option<Micros>) -> Result<()> {
        self.see_time(time);
        row.cells.iter().for_each(|cell| self.see_family(cell.family));
        self.writer.add(row).await
    }

    async fn add_plain(&mut self, entry: &Entry, bytes: usize, time: Option<Micros>) -> Result<()> {
        self.see_time(time);
        let row = entry.row();
        match row.family() {
            Some(family) => self.see_family(family),
            None => row.cells().filter_map(|c| row.column(c.column)).for_each(|(family, _)| self.see_family(*family)),
        }
        self.writer.add_plain(entry, bytes).await
    }

    fn see_time(&mut self, time: Option<Micros>) {
        match time {
            Some(t) => self.times = (self.times.0.min(t), self.times.1.max(t)),
            None => self.timed = false,
        }
    }

    fn see_family(&mut self, family: FamilyId) {
        // Cells come by family, so that the last one seen is nearly always the one.
        if self.families.last() != Some(&family) {
            self.families.retain(|f| *f != family);
            self.families.push(family);
        }
    }

    async fn finish(self, slice: SliceKey) -> Result<Output> {
        let mut families = self.families;
        families.sort_unstable();
        Ok(Output { finished: self.writer.finish().await?, slice, families, event_times: self.timed.then_some(self.times), low: self.low })
    }
}
