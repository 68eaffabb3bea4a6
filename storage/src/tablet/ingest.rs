//! Ingest: many rows become SSTables past log and memtable, and rows of the tablet all at once.
//!
//! The SSTables are written while other writes go on, so they have no seq yet: each says [`UNNUMBERED`] of all that it has.
//! Then one log record names them and takes the next seq, like a write of one row. Its place in the log, in the queue and in
//! the order of effects makes all the rest true that holds for writes: what is numbered before lies below, what is numbered
//! after above, no reader sees a later seq without it, a repetition is known, a fenced owner's does not count. When it takes
//! effect the memtable is frozen, so everything in memory stays either below all of it or above. The next flush lists the
//! SSTables in the manifest, in one put with what lies below; until then the log is kept, and recovery lists what it finds
//! there. No seq is given out before that record, and none is ever inserted below a visible one.
//!
//! Who owns the objects: until the record is handed to the log, the ingest, which buries them when it goes without one;
//! from then on the record, whatever becomes of it, so that nobody deletes what the log may hold. What a dead owner left is
//! found by the scrub, which leaves epochs alone whose log is not recovered.

use super::RequestId;
use super::commit::{Acknowledge, Numbered, Step};
use super::delete_range::{only, remembered};
use super::inner::{Frozen, Ingested, Inner, SstHandle};
use super::queue::Effect;
use super::requests::{Answer, answered, results};
use super::sst::{Retired, Sst, reference};
use super::validate::check_row;
use crate::compaction::{Names, Outputs, Target};
use crate::format::{Draft, LogBody, SstableName, SstableRef};
use crate::log::EncodedRecords;
use crate::memtable::{Batch, Memtable};
use crate::sstable::UNNUMBERED;
use crate::sync::lock;
use bytes::Bytes;
use common::ids::Seq;
use common::row::{Committed, RowMutation};
use common::time::Micros;
use common::{Error, Result};
use std::sync::{Arc, Mutex, OnceLock};
use tokio::sync::{mpsc, oneshot};

/// Bytes at which an SSTable is closed and the next begun: an upload holds at most 160 GiB.
const FILE_BYTES: u64 = 32 << 30;
/// Batches of rows that wait for the writer.
const WAITING: usize = 2;

/// Rows on their way into a tablet, see [`Tablet::ingest`](super::Tablet::ingest). Without [`Self::commit`] nothing of it stays.
#[derive(Debug)]
pub struct Ingest {
    inner: Arc<Inner>,
    request: Option<RequestId>,
    /// The answer to an earlier one of this request.
    repeated: Option<Answer>,
    timestamp: Micros,
    last: Option<Bytes>,
    work: mpsc::Sender<Work>,
    failed: Arc<OnceLock<Error>>,
}

/// What the writer is told.
enum Work {
    Rows(Batch),
    Finish(oneshot::Sender<Made>),
}

/// Finished SSTables.
struct Made {
    files: Vec<SstableRef>,
    names: Given,
}

/// The names that were given to an ingest: buried when it goes, unless they were [handed over](Self::hand_over).
struct Given {
    inner: Arc<Inner>,
    names: Arc<Mutex<Vec<SstableName>>>,
}

impl Given {
    /// They belong to a log record now.
    fn hand_over(&self) {
        lock(&self.names).clear();
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        let (tablet, epoch) = (self.inner.id, self.inner.epoch);
        for name in lock(&self.names).drain(..) {
            // Without a receiver the engine is gone; the scrub finds them.
            let _ = self.inner.shared.graveyard.send(Retired { name, tablet, epoch });
        }
    }
}

impl Ingest {
    pub(super) async fn begin(inner: &Arc<Inner>, request: Option<RequestId>) -> Result<Self> {
        inner.check_open()?;
        inner.check_kind(false)?;
        inner.shared.log.ready()?;
        let repeated = request.and_then(|id| lock(&inner.numbering).requests.find(&id));
        if repeated.is_none() {
            inner.admit_backlog().await?;
        }
        let timestamp = inner.timestamp(&mut lock(&inner.numbering));
        let (work, todo) = mpsc::channel(WAITING);
        let failed = Arc::default();
        Builder::start(inner, &failed, todo);
        Ok(Self { inner: inner.clone(), request, repeated, timestamp, last: None, work, failed })
    }

    /// The timestamp of cells that come without one: as high as every one that the tablet has given before this began. Cells of
    /// writes that came meanwhile may have higher ones, and then lie before these where the newest are asked for.
    #[must_use]
    pub fn timestamp(&self) -> Micros {
        self.timestamp
    }

    /// Adds rows, each with a key above the one before; waits while the store takes them slower than they come.
    ///
    /// # Errors
    /// `InvalidArgument` for a row out of order, one that comes twice and one that a write would be refused for, `NotMine` for
    /// one outside the tablet, `FailedPrecondition` for what an append-only table does not take: nothing of this call is
    /// added, the ingest can go on. `Unavailable`, and `NotMine` and `Fenced` once the tablet has ended here: it has failed.
    pub async fn add(&mut self, rows: Vec<RowMutation>) -> Result<()> {
        if let Some(e) = self.failed.get() {
            return Err(e.clone());
        }
        let last = self.check(&rows)?;
        if last.is_none() || self.repeated.is_some() {
            return Ok(());
        }
        let mut draft = Draft::for_rows(&rows, &self.inner.shapes);
        rows.into_iter().for_each(|row| draft.push(row));
        let batch = Batch::of(UNNUMBERED, self.timestamp, draft.finish(self.timestamp));
        self.work.send(Work::Rows(batch)).await.map_err(|_| self.failure())?;
        self.last = last;
        Ok(())
    }

    /// The last key.
    fn check(&self, rows: &[RowMutation]) -> Result<Option<Bytes>> {
        let table = self.inner.table();
        let mut last = self.last.as_ref();
        for row in rows {
            if let Some(last) = last.filter(|last| **last >= row.key) {
                let what = if *last == row.key { "comes twice".to_owned() } else { format!("comes after row {last:?}") };
                return Err(Error::invalid(format!("row {:?} {what}: an ingest takes each row once, in key order", row.key)));
            }
            check_row(row, &self.inner.range, &table).map_err(|e| e.context(format!("row {:?}", row.key)))?;
            last = Some(&row.key);
        }
        Ok(last.filter(|_| !rows.is_empty()).cloned())
    }

    fn failure(&self) -> Error {
        self.failed.get().cloned().unwrap_or_else(|| Error::unavailable("the engine is shutting down"))
    }

    /// Makes all rows durable and visible, at one seq.
    ///
    /// # Errors
    /// `InvalidArgument` without rows, `Unavailable` when the log fails: outcome unknown; as for [`Self::add`], and as for
    /// [`Tablet::write`](super::Tablet::write): nothing is visible then, and its objects are deleted.
    pub async fn commit(self) -> Result<Committed> {
        if let Some(answer) = self.repeated {
            return only(results(&*answered(answer).await?)?);
        }
        if self.last.is_none() {
            return Err(Error::invalid("an ingest without rows"));
        }
        let (answer, made) = oneshot::channel();
        self.work.send(Work::Finish(answer)).await.map_err(|_| self.failure())?;
        let made = made.await.map_err(|_| self.failure())?;
        fail::fail_point!("ingest-built", |_| Err(Error::unavailable("failpoint: ingest-built")));
        let landed = self.inner.land(made, self.timestamp, self.request).await;
        fail::fail_point!("ingest-landed");
        landed
    }
}

/// Writes the SSTables of one ingest, on the pool for flushes.
struct Builder {
    inner: Arc<Inner>,
    outputs: Outputs,
    names: Given,
}

impl Builder {
    fn start(inner: &Arc<Inner>, failed: &Arc<OnceLock<Error>>, todo: mpsc::Receiver<Work>) {
        let names: Arc<Mutex<Vec<SstableName>>> = Arc::default();
        let (next, given) = (inner.sstable_names(), names.clone());
        let named: Names = Arc::new(move || {
            let name = next();
            lock(&given).push(name);
            name
        });
        // What is loaded in bulk is not what is read next: it displaces nothing in the caches.
        let target = Target { names: named, ..inner.target(FILE_BYTES, None) };
        let names = Given { inner: inner.clone(), names };
        let this = Self { inner: inner.clone(), outputs: Outputs::new(target), names };
        inner.shared.pool.spawn(this.run(todo, failed.clone()));
    }

    /// Until it is finished, given up or has failed: then it says why before it lets go of who waits.
    async fn run(mut self, mut todo: mpsc::Receiver<Work>, failed: Arc<OnceLock<Error>>) {
        while let Some(next) = todo.recv().await {
            match next {
                Work::Rows(batch) => {
                    if let Err(e) = self.add(batch).await {
                        let _ = failed.set(e);
                        break;
                    }
                }
                Work::Finish(answer) => {
                    match self.finish().await {
                        // If nobody waits, what comes back is buried.
                        Ok(made) => drop(answer.send(made)),
                        Err(e) => {
                            let _ = failed.set(e);
                        }
                    }
                    return;
                }
            }
        }
        self.outputs.abort().await;
    }

    async fn add(&mut self, batch: Batch) -> Result<()> {
        let _building = self.inner.building.read().await;
        self.inner.check_open()?;
        self.outputs.add_batch(batch, self.inner.shared.config.ingest_bytes).await
    }

    async fn finish(self) -> Result<Made> {
        let Self { inner, outputs, names } = self;
        let _building = inner.building.read().await;
        inner.check_open()?;
        let made = outputs.finish().await?;
        let files: Vec<_> = made.iter().map(|output| reference(output, 0, &inner.range)).collect();
        let bytes = files.iter().map(|f| f.size).sum();
        inner.shared.metrics.sstable_bytes_written.add(bytes);
        inner.shared.metrics.ingest_bytes_written.add(bytes);
        Ok(Made { files, names })
    }
}

impl Inner {
    async fn land(self: &Arc<Self>, made: Made, timestamp: Micros, request: Option<RequestId>) -> Result<Committed> {
        self.shared.log.ready()?;
        match self.number_ingest(&made, timestamp, request)? {
            Step::New(numbered) => only(results(&*Acknowledge::new(self, numbered).done().await?)?),
            Step::Repeated(answer) => {
                drop(made);
                only(results(&*answered(answer).await?)?)
            }
        }
    }

    fn number_ingest(&self, made: &Made, timestamp: Micros, request: Option<RequestId>) -> Result<Step> {
        let mut numbering = lock(&self.numbering);
        self.check_open()?;
        numbering.check()?;
        if let Some(answer) = request.and_then(|id| numbering.requests.find(&id)) {
            return Ok(Step::Repeated(answer));
        }
        let seq = numbering.next;
        let files: Vec<_> = made.files.iter().cloned().map(|f| f.numbered(seq)).collect();
        let record = self.record(seq, seq, LogBody::Ingest { request, timestamp, sstables: files.clone() });
        let encoded = EncodedRecords::one(&record)?;
        made.names.hand_over();
        numbering.next = seq.next();
        let (ticket, durable) = self.submit(&mut numbering, encoded, Effect::Ingest { seq, files }, 0);
        let answer = request.map(|id| numbering.requests.begin(id, self.shared.config.clock.monotonic()));
        let remembered = remembered(request.unwrap_or_default(), seq, timestamp);
        Ok(Step::New(Numbered { ticket, durable, answer, remembered, bytes: 0 }))
    }

    /// Lets reads see what was ingested. Under the queue's lock, so that nothing is inserted meanwhile.
    pub(super) fn show(&self, seq: Seq, files: Vec<SstableRef>, log_from: u64) {
        let new: Vec<_> = files.iter().map(|f| SstHandle(Sst::open(&self.shared, f.clone()))).collect();
        self.shared.metrics.sstables_ingested.add(new.len() as u64);
        let ingested = Some(Ingested { files: files.into(), log_from });
        self.change_state(|state| {
            state.generation += 2;
            let table = std::mem::replace(&mut state.active, Memtable::new());
            state.frozen.push(Frozen { table, upto: seq, ingested });
            state.sstables.extend(new);
        });
        self.visible.set(seq);
        // To be flushed soon, for what compaction may not touch.
        self.shared.wake.notify_one();
    }
}
