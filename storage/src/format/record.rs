//! Log records.

use super::manifest::SstableRef;
use super::row::{StoredCell, StoredRow};
use super::rows::Rows;
use common::envelope::{self, AsJson, Magic};
use common::ids::{Epoch, RunId, Seq, TabletId};
use common::key::KeyRange;
use common::time::Micros;
use common::{Error, Result};
use serde::{Deserialize, Serialize};

/// Kind of a log record.
pub const RECORD_MAGIC: Magic = *b"STLR";
/// Format version of log records.
pub const RECORD_FORMAT: u16 = 4;

/// Bytes of a record of rows beside these, about.
const HEAD: usize = 96;

/// One record of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogRecord {
    /// Whose.
    pub tablet: TabletId,
    /// Of the owner that wrote it.
    pub epoch: Epoch,
    /// Lowest seq inside; 0 if it has none.
    pub first: Seq,
    /// Highest seq inside; 0 if it has none.
    pub last: Seq,
    /// What happened.
    pub body: LogBody,
}

/// What a log record says. New kinds go to the end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum LogBody {
    /// A write: row *i* has the seq `first + i`.
    Write {
        /// The request's id, if its sender gave one.
        request: Option<[u8; 16]>,
        /// The timestamp that the server gave.
        timestamp: Micros,
        /// Rows of the request that were refused, by position among all its rows.
        refused: Vec<(u32, AsJson<Error>)>,
        /// The rows that were not, in order.
        rows: Rows,
    },
    /// Rows of a run, not yet published.
    Stage {
        /// The run.
        run: RunId,
        /// Counts the run's parts at this tablet.
        part: u32,
        /// The timestamp that the server gave.
        timestamp: Micros,
        /// The rows; without seqs.
        rows: Rows,
    },
    /// Runs were published together at the version `last`.
    Apply {
        /// The runs.
        runs: Vec<RunId>,
    },
    /// A run was aborted.
    DropStaged {
        /// The run.
        run: RunId,
    },
    /// The owner closed the tablet; everything above is flushed, staged rows excepted.
    ClosedTablet,
    /// Requests remembered from an earlier log.
    Requests(Vec<Remembered>),
    /// A conditional write or a read-modify-write, as what it came to: replay needs no evaluation.
    Conditional {
        /// The request's id, if its sender gave one.
        request: Option<[u8; 16]>,
        /// The timestamp that the server gave.
        timestamp: Micros,
        /// Of a conditional write: whether its predicate held. `None`: a read-modify-write.
        matched: Option<bool>,
        /// What was written, if anything; its seq is `last`.
        row: Option<StoredRow>,
    },
    /// Nothing before it counts but request ids: what recovery needs of that follows, in the same append.
    Restart,
    /// All rows of a range were deleted, at the seq `last`.
    DeleteRange {
        /// The request's id, if its sender gave one.
        request: Option<[u8; 16]>,
        /// The timestamp that the server gave.
        timestamp: Micros,
        /// The rows.
        range: KeyRange,
    },
    /// SSTables that were written before are rows of the tablet from the seq `last` on, which all of theirs have.
    Ingest {
        /// The request's id, if its sender gave one.
        request: Option<[u8; 16]>,
        /// The timestamp that the server gave.
        timestamp: Micros,
        /// What the next manifest says of them.
        sstables: Vec<SstableRef>,
    },
}

/// A request whose repetition gets this result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Remembered {
    /// Its id.
    pub request: [u8; 16],
    /// Seq of its first row that was not refused.
    pub first: Seq,
    /// How many rows it had.
    pub rows: u32,
    /// The timestamp that the server gave.
    pub timestamp: Micros,
    /// Rows that were refused, by position.
    pub refused: Vec<(u32, AsJson<Error>)>,
    /// What else the answer says.
    pub outcome: Outcome,
}

/// What the answer to a request says beyond seqs and timestamps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// A write: nothing.
    Written,
    /// A conditional write: whether its predicate held.
    Checked(bool),
    /// A read-modify-write: the new cells.
    Modified(Vec<StoredCell>),
    /// A write whose rows were decided apart, by tablets that have been merged since: each refused as not its own what the
    /// others may have taken.
    Joined(Vec<Remembered>),
}

impl LogRecord {
    /// The record in its envelope.
    ///
    /// # Errors
    /// `InvalidArgument` if it is above 4 GiB.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let rows = match &self.body {
            LogBody::Write { rows, .. } | LogBody::Stage { rows, .. } => rows.bytes(),
            _ => 0,
        };
        envelope::encode_about(RECORD_MAGIC, RECORD_FORMAT, self, rows + HEAD)
    }

    /// Tablet and epoch of the record at the start of `bytes`, with its whole length.
    ///
    /// # Errors
    /// `Corrupt`, naming what does not fit.
    pub(crate) fn peek(bytes: &[u8]) -> Result<((TabletId, Epoch), usize)> {
        let (payload, whole) = Self::open(bytes)?;
        Ok((envelope::decode_prefix(RECORD_MAGIC, payload)?, whole))
    }

    /// The record at the start of `bytes`, with its whole length.
    ///
    /// # Errors
    /// `Corrupt`, naming what does not fit.
    pub fn decode(bytes: &[u8]) -> Result<(Self, usize)> {
        let (payload, whole) = Self::open(bytes)?;
        Ok((envelope::decode_payload(RECORD_MAGIC, payload)?, whole))
    }

    fn open(bytes: &[u8]) -> Result<(&[u8], usize)> {
        let (version, payload, whole) = envelope::open(RECORD_MAGIC, bytes)?;
        if version != RECORD_FORMAT {
            return Err(Error::corrupt(format!("log record: format version {version}, this build reads {RECORD_FORMAT}")));
        }
        Ok((payload, whole))
    }
}
