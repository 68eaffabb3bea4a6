//! One tablet: the handle that everyone holds.

use common::ids::{Epoch, RunId, Seq, TabletId};
use common::key::KeyRange;
use common::row::{Committed, ReadSpec, Row, RowChange, RowMutation};
use common::schema::Table;
use common::{Error, Result};
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
    open: Arc<TabletOpen>,
}

impl Tablet {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> TabletId {
        self.open.tablet
    }

    /// Its rows.
    #[must_use]
    pub fn range(&self) -> &KeyRange {
        &self.open.range
    }

    /// Its owner number.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.open.epoch
    }

    /// Its table as last [set](Self::set_table).
    #[must_use]
    pub fn table(&self) -> Arc<Table> {
        self.open.table.clone()
    }

    /// Writes rows, each atomically; one result a row, in order. What is acknowledged is durable and visible.
    /// A repetition with the same `request_id` within 60 s gets the first result, also after recovery.
    ///
    /// # Errors
    /// Of the whole request: `ResourceExhausted` (with a time to wait), `NotMine` once closed, `Fenced`,
    /// `FailedPrecondition` for a derived table, `Unavailable` when the log fails: outcome unknown.
    pub async fn write(&self, rows: Vec<RowMutation>, request_id: Option<RequestId>) -> Result<Vec<Result<Committed>>> {
        let _ = (rows, request_id);
        Err(Error::unimplemented("write"))
    }

    /// The newest readable seq; a derived table's applied version.
    #[must_use]
    pub fn visible(&self) -> Seq {
        Seq::ZERO
    }

    /// The oldest readable seq.
    #[must_use]
    pub fn floor(&self) -> Seq {
        Seq::ZERO
    }

    /// Reads rows as of `at`; `Seq::MAX`: the newest visible.
    ///
    /// # Errors
    /// `SnapshotTooOld` below the floor, `FailedPrecondition` above what is visible, `NotMine`, `Fenced`; in the
    /// stream also `Corrupt` and `Unavailable`.
    pub fn read(&self, spec: ReadSpec, at: Seq) -> Result<RowBatches> {
        let _ = (spec, at);
        Err(Error::unimplemented("read"))
    }

    /// Rows of `range` that mutations numbered in `(from, to]` touched, as visible at both ends.
    ///
    /// # Errors
    /// `ChangesLost` if `from` is below the floor; else as for [`Self::read`].
    pub fn changes(&self, from: Seq, to: Seq, range: KeyRange) -> Result<ChangeBatches> {
        let _ = (from, to, range);
        Err(Error::unimplemented("changes"))
    }

    /// Keeps rows of a run, durable and invisible, until it is applied or dropped. A part staged twice counts once.
    ///
    /// # Errors
    /// `FailedPrecondition` for a table that is not derived, `InvalidArgument` for a wrong row (nothing is staged),
    /// `ResourceExhausted`, and as for [`Self::write`].
    pub async fn stage(&self, run: RunId, part: u32, rows: Vec<RowMutation>) -> Result<()> {
        let _ = (run, part, rows);
        Err(Error::unimplemented("stage"))
    }

    /// Publishes staged runs at these versions, oldest first. What has been applied is skipped; a run with nothing
    /// staged only advances the version.
    ///
    /// # Errors
    /// `FailedPrecondition` if a version is out of order, and as for [`Self::write`].
    pub async fn apply(&self, runs: &[(RunId, Seq)]) -> Result<()> {
        let _ = runs;
        Err(Error::unimplemented("apply"))
    }

    /// Forgets a run's staged rows: only once the run is recorded as aborted.
    ///
    /// # Errors
    /// As for [`Self::write`].
    pub async fn drop_staged(&self, run: RunId) -> Result<()> {
        let _ = run;
        Err(Error::unimplemented("drop_staged"))
    }

    /// Sets the oldest seq that some change reader still needs.
    pub fn set_pin(&self, pin: Option<Seq>) {
        let _ = pin;
    }

    /// Takes a newer schema or GC rules.
    pub fn set_table(&self, table: Arc<Table>) {
        let _ = table;
    }

    /// Flushes everything visible now to SSTables.
    ///
    /// # Errors
    /// `Fenced` if another owner has taken over, `Unavailable` if the store does not answer.
    pub async fn flush(&self) -> Result<()> {
        Err(Error::unimplemented("flush"))
    }

    /// Merges all SSTables into one, dropping what no reader needs.
    ///
    /// # Errors
    /// As for [`Self::flush`].
    pub async fn compact(&self) -> Result<()> {
        Err(Error::unimplemented("compact"))
    }

    /// Its size.
    #[must_use]
    pub fn stats(&self) -> TabletStats {
        TabletStats::default()
    }
}
