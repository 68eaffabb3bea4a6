//! One tablet: the handle that everyone holds, and what it does.

mod close;
mod commit;
mod derived;
mod flush;
mod inner;
mod maintain;
mod numbering;
mod open;
mod queue;
mod replay;
mod requests;
mod scan;
mod snapshots;
mod sst;
mod staging;
mod validate;

pub(crate) use inner::Inner;
pub(crate) use open::{LogSource, open};

use crate::sync::write;
use common::Result;
use common::ids::{Epoch, RunId, Seq, TabletId};
use common::key::KeyRange;
use common::row::{Committed, ReadSpec, Row, RowChange, RowMutation};
use common::schema::Table;
use futures::stream::BoxStream;
use std::sync::Arc;

/// Rows in batches of at most 1,024 rows and about 1 MiB, in key order.
pub type RowBatches = BoxStream<'static, Result<Vec<Row>>>;
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
}

/// The size of a tablet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TabletStats {
    /// Bytes in SSTables.
    pub stored_bytes: u64,
    /// Bytes in memtables.
    pub memtable_bytes: u64,
    /// Live SSTables.
    pub sstables: usize,
    /// Rows as estimated from properties and memtables; an upper bound.
    pub row_estimate: u64,
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

    /// The newest readable seq; a derived table's applied version.
    #[must_use]
    pub fn visible(&self) -> Seq {
        self.inner.visible()
    }

    /// The oldest readable seq.
    #[must_use]
    pub fn floor(&self) -> Seq {
        self.inner.state().floor
    }

    /// Reads rows as of `at`; `Seq::MAX`: the newest visible.
    ///
    /// # Errors
    /// `SnapshotTooOld` below the floor, `FailedPrecondition` above what is visible, `NotMine`, `Fenced`; in the
    /// stream also `Corrupt` and `Unavailable`.
    pub fn read(&self, spec: ReadSpec, at: Seq) -> Result<RowBatches> {
        self.inner.read(&spec, at)
    }

    /// Rows of `range` that mutations numbered in `(from, to]` touched, as visible at both ends.
    ///
    /// # Errors
    /// `ChangesLost` if `from` is below the floor; else as for [`Self::read`].
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

    /// Sets the oldest seq that some change reader still needs.
    pub fn set_pin(&self, pin: Option<Seq>) {
        self.inner.snapshots.set_pin(pin);
    }

    /// Takes a newer schema or GC rules.
    pub fn set_table(&self, table: Arc<Table>) {
        *write(&self.inner.table) = table;
    }

    /// Flushes everything visible now to SSTables.
    ///
    /// # Errors
    /// `Fenced` if another owner has taken over, `Unavailable` if the store does not answer.
    pub async fn flush(&self) -> Result<()> {
        self.inner.flush().await
    }

    /// Merges all SSTables into one, dropping what no reader needs.
    ///
    /// # Errors
    /// As for [`Self::flush`].
    pub async fn compact(&self) -> Result<()> {
        self.inner.compact_all().await
    }

    /// Its size.
    #[must_use]
    pub fn stats(&self) -> TabletStats {
        self.inner.stats()
    }
}
