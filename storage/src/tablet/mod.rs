//! One tablet: the handle that everyone holds, and what it does.

mod backlog;
mod close;
mod commit;
mod compact;
mod conditional;
mod copy;
mod delete_range;
mod derived;
mod flush;
mod hot;
mod ingest;
mod inner;
mod maintain;
mod memory;
mod numbering;
mod open;
mod point;
mod queue;
mod replay;
mod requests;
mod samples;
mod scan;
mod snapshots;
mod sst;
mod staging;
mod validate;
mod visible;

pub use ingest::Ingest;
pub(crate) use inner::Inner;
pub use samples::KeySample;

pub(crate) use open::{LogNeed, LogSource, open};
pub(crate) use sst::Retired;

use crate::arrow::ScanSpec;
use arrow_array::RecordBatch;
use common::Result;
use common::conditional::{CheckAndMutate, Checked, Modified, ReadModifyWrite};
use common::ids::{Epoch, RunId, Seq, TabletId};
use common::key::KeyRange;
use common::row::{Committed, ReadSpec, Row, RowChange, RowMutation};
use common::schema::Table;
use futures::stream::BoxStream;
use std::sync::Arc;
use std::time::Duration;

/// Rows in batches of at most 1,024 rows and about 1 MiB, in key order.
pub type RowBatches = BoxStream<'static, Result<Vec<Row>>>;
/// Columns of rows, in batches of at most as many rows as the scan asks for.
pub type ArrowBatches = BoxStream<'static, Result<RecordBatch>>;
/// Changed rows in batches, in key order.
pub type ChangeBatches = BoxStream<'static, Result<Vec<RowChange>>>;
/// Chosen by the sender of a write; names it over retries.
pub type RequestId = [u8; 16];

/// What to open.
#[derive(Clone, Debug)]
pub struct TabletOpen {
    /// Which tablet.
    pub tablet: TabletId,
    /// Its rows.
    pub range: KeyRange,
    /// The owner number, higher than that of every earlier owner.
    pub epoch: Epoch,
    /// Its table.
    pub table: Arc<Table>,
    /// The oldest seq that some change reader still needs.
    pub pin: Option<Seq>,
    /// Where the log of its last owner was fenced ([`crate::fence_log`]). `None`: the engine fences it if that owner has
    /// not closed the tablet; so it must be dead.
    pub log_fence: Option<u64>,
}

/// The size of a tablet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TabletStats {
    /// Bytes in SSTables.
    pub stored_bytes: u64,
    /// Of these, bytes that a full compaction would keep: an estimate as of the newest manifest. SSTables that overlap in
    /// keys are taken to hold the same rows, and each delete to hide one cell; what GC rules condemn counts as kept.
    pub kept_bytes: u64,
    /// Bytes in memtables.
    pub memtable_bytes: u64,
    /// Live SSTables.
    pub sstables: usize,
    /// SSTables that were flushed and not compacted yet, in the slice that has the most: writers are slowed by them.
    pub level0_files: usize,
    /// Rows as estimated from properties and memtables; an upper bound.
    pub row_estimate: u64,
}

impl TabletStats {
    /// Bytes in SSTables for each byte that a full compaction would keep, about: 1 at best, and where nothing is stored.
    #[must_use]
    pub fn space_amplification(&self) -> f64 {
        crate::metrics::space_amplification(self.stored_bytes, self.kept_bytes)
    }
}

/// One open tablet. Cheap to clone; all clones are the same tablet.
#[derive(Clone, Debug)]
pub struct Tablet {
    inner: Arc<Inner>,
}

impl Tablet {
    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        Self { inner }
    }

    #[cfg(test)]
    pub(crate) fn inner_for_tests(&self) -> &Inner {
        &self.inner
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> TabletId {
        self.inner.id
    }

    /// Its rows.
    #[must_use]
    pub fn range(&self) -> &KeyRange {
        &self.inner.range
    }

    /// Its owner number.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.inner.epoch
    }

    /// Its table as last [set](Self::set_table).
    #[must_use]
    pub fn table(&self) -> Arc<Table> {
        self.inner.table()
    }

    /// Writes rows, each atomically; one result a row, in order. What is acknowledged is durable and visible.
    /// A repetition with the same `request_id` within 60 s gets the first result, also after recovery.
    ///
    /// # Errors
    /// Of the whole request: `ResourceExhausted` (with a time to wait), `NotMine` once closed, `Fenced`,
    /// `FailedPrecondition` for a derived table, `Unavailable` when the log fails: outcome unknown.
    pub async fn write(&self, rows: Vec<RowMutation>, request_id: Option<RequestId>) -> Result<Vec<Result<Committed>>> {
        self.inner.write(rows, request_id).await
    }

    /// Applies one of two lists of mutations to a row, as its predicate decides on the row as everything numbered before
    /// leaves it. Answered, also if nothing was written, once all that it saw is durable. `request_id` as in [`Self::write`].
    ///
    /// # Errors
    /// `InvalidArgument` for a wrong request, and as for [`Self::write`].
    pub async fn check_and_mutate(&self, request: CheckAndMutate, request_id: Option<RequestId>) -> Result<Checked> {
        self.inner.check_and_mutate(request, request_id).await
    }

    /// Appends to or increments the newest values of a row's columns, as everything numbered before leaves them.
    ///
    /// # Errors
    /// `FailedPrecondition` if an incremented value is no 8-byte integer, for an overflow and a value that gets too large
    /// (nothing is written), and as for [`Self::check_and_mutate`].
    pub async fn read_modify_write(&self, request: ReadModifyWrite, request_id: Option<RequestId>) -> Result<Modified> {
        self.inner.read_modify_write(request, request_id).await
    }

    /// Deletes all rows of a range, at once and as one record. `request_id` as in [`Self::write`].
    ///
    /// # Errors
    /// `InvalidArgument` if the range is empty, `NotMine` if it does not lie in the tablet, `FailedPrecondition` for a
    /// derived or an append-only table, and as for [`Self::write`].
    pub async fn delete_range(&self, range: KeyRange, request_id: Option<RequestId>) -> Result<Committed> {
        self.inner.delete_range(range, request_id).await
    }

    /// Begins an ingest: rows in key order that become SSTables at once, past log and memtable, and rows of the tablet all
    /// together with [`Ingest::commit`]. For loads of many rows: each ingest makes at least one SSTable of every slice that it
    /// has rows in. A repetition with the `request_id` of one that was committed in the last 60 s gets its result.
    ///
    /// # Errors
    /// `FailedPrecondition` for a derived table, `ResourceExhausted` (with a time to wait), and as for [`Self::write`].
    pub async fn ingest(&self, request_id: Option<RequestId>) -> Result<Ingest> {
        Ingest::begin(&self.inner, request_id).await
    }

    /// The newest readable seq; a derived table's applied version.
    #[must_use]
    pub fn visible(&self) -> Seq {
        self.inner.visible()
    }

    /// Every seq from here up to [`Self::visible`] can be read; below it only the [pins](Self::set_pins) that were kept.
    #[must_use]
    pub fn floor(&self) -> Seq {
        self.inner.state().readable.floor()
    }

    /// Reads rows as of `at`; `Seq::MAX`: the newest visible.
    ///
    /// # Errors
    /// `SnapshotTooOld` below the floor where no point is kept, `FailedPrecondition` above what is visible, `NotMine`, `Fenced`; in the
    /// stream also `Corrupt` and `Unavailable`.
    pub fn read(&self, spec: ReadSpec, at: Seq) -> Result<RowBatches> {
        self.inner.read(spec, at)
    }

    /// Reads one row as of `at`; `None` if nothing of it is asked for and visible. Of `spec` all but ranges, direction and row
    /// limit counts. Cheaper than [`Self::read`] of one key.
    ///
    /// # Errors
    /// As for [`Self::read`]; `NotMine` also for a key outside the tablet.
    pub async fn read_row(&self, key: &[u8], spec: &ReadSpec, at: Seq) -> Result<Option<Row>> {
        match self.inner.read_row_now(key, spec, at)? {
            Ok(row) => Ok(row),
            // Boxed, for few need it, and all would carry it.
            Err(read) => Box::pin(self.inner.read_row(key, read)).await,
        }
    }

    /// Scans columns of rows as of `at`; `Seq::MAX`: the newest visible. Batches have the asked columns in the asked
    /// order, with the fields of [`Table::full_arrow_schema`].
    ///
    /// # Errors
    /// `InvalidArgument` for columns and conditions that do not fit the table; else as for [`Self::read`]. In the stream
    /// also `Corrupt` for a value that is not of its column's type, naming column and row.
    pub fn scan(&self, spec: ScanSpec, at: Seq) -> Result<ArrowBatches> {
        self.inner.scan(&spec, at)
    }

    /// Rows of `range` that mutations numbered in `(from, to]` touched, as visible at both ends. A row that is the same at
    /// both ends may be left out.
    ///
    /// # Errors
    /// `ChangesLost` if `from` is below the floor and no point that is kept; else as for [`Self::read`].
    pub fn changes(&self, from: Seq, to: Seq, range: KeyRange) -> Result<ChangeBatches> {
        self.inner.changes(from, to, &range)
    }

    /// Keeps rows of a run, durable and invisible, until it is applied or dropped. A part staged twice counts once.
    ///
    /// # Errors
    /// `FailedPrecondition` for a table that is not derived, `InvalidArgument` for a wrong row (nothing is staged),
    /// `ResourceExhausted`, and as for [`Self::write`].
    pub async fn stage(&self, run: RunId, part: u32, rows: Vec<RowMutation>) -> Result<()> {
        self.inner.stage(run, part, rows).await
    }

    /// Publishes staged runs at these versions, oldest first. What has been applied is skipped; a run with nothing
    /// staged only advances the version.
    ///
    /// # Errors
    /// `FailedPrecondition` if a version is out of order, and as for [`Self::write`].
    pub async fn apply(&self, runs: &[(RunId, Seq)]) -> Result<()> {
        self.inner.apply(runs).await
    }

    /// Forgets a run's staged rows: only once the run is recorded as aborted.
    ///
    /// # Errors
    /// As for [`Self::write`].
    pub async fn drop_staged(&self, run: RunId) -> Result<()> {
        self.inner.drop_staged(run).await
    }

    /// Sets the oldest seq that some change reader still needs: it and everything above stay readable, for
    /// `change_retention` after it was last moved.
    pub fn set_pin(&self, pin: Option<Seq>) {
        self.inner.snapshots.set_tail(self.inner.shared.config.clock.monotonic(), pin);
    }

    /// Sets the cursors of all change readers. The state at each stays readable for `change_retention` after it was set;
    /// what lies between them and is read by nobody else goes. Of more than 8 the higher ones keep everything above them.
    /// A seq that is not readable any more cannot be held.
    pub fn set_pins(&self, pins: &[Seq]) {
        self.inner.snapshots.set_pins(self.inner.shared.config.clock.monotonic(), pins);
    }

    /// Whether the state at `at` can be read, now or once it is visible.
    #[must_use]
    pub fn is_readable(&self, at: Seq) -> bool {
        self.inner.state().readable.is_readable(at)
    }

    /// Takes a newer schema or GC rules.
    pub fn set_table(&self, table: Arc<Table>) {
        self.inner.change_state(|state| state.known = table.into());
    }

    /// Flushes everything visible now to SSTables.
    ///
    /// # Errors
    /// `Fenced` if another owner has taken over, `Unavailable` if the store does not answer.
    pub async fn flush(&self) -> Result<()> {
        self.inner.flush().await
    }

    /// Compacts, at most for so long, if so many SSTables wait for it that writers are slowed or soon will be: before a tablet is
    /// given to somebody else, who would have to.
    ///
    /// # Errors
    /// As for [`Self::flush`].
    pub async fn relieve(&self, at_most: Duration) -> Result<()> {
        self.inner.relieve(at_most).await
    }

    /// Merges all SSTables into one, dropping what no reader needs.
    ///
    /// # Errors
    /// As for [`Self::flush`].
    pub async fn compact(&self) -> Result<()> {
        self.inner.compact_all().await
    }

    /// Keys along the tablet, ascending, with the bytes before each, and its bytes in all: estimates from indexes and
    /// memtables, about one key a block.
    ///
    /// # Errors
    /// `NotMine` and `Fenced` once it has ended, `Corrupt`, `Unavailable`.
    pub async fn sample_keys(&self) -> Result<(Vec<KeySample>, u64)> {
        self.inner.samples().await
    }

    /// At most `parts` − 1 keys that cut the tablet into parts of about equal size.
    ///
    /// # Errors
    /// As for [`Self::sample_keys`].
    pub async fn split_points(&self, parts: usize) -> Result<Vec<KeySample>> {
        self.inner.split_points(parts).await
    }

    /// Its size.
    #[must_use]
    pub fn stats(&self) -> TabletStats {
        self.inner.stats()
    }
}
