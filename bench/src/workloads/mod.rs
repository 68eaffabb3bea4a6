//! What is measured.

pub mod amplification;
pub mod build;
pub mod compare;
mod dag;
pub mod definitions;
pub mod history;
pub mod increments;
pub mod latency;
pub mod reopen;
mod requests;
mod solo;

use clap::ValueEnum;

/// One measurement of the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum)]
pub enum Workload {
    /// Batches of rows, each on disk before the next begins, until compaction has settled.
    Durable,
    /// Batches of rows that no one waits for, until compaction has settled.
    Unsynced,
    /// Point reads of whole rows that the cache holds.
    Gets,
    /// Point reads of rows that are not there.
    Missing,
    /// Point reads of whole rows with neither block cache nor page cache.
    Uncached,
    /// Reads of 100 rows of one user by time.
    Ranges,
    /// All rows, whole, in key order; the block cache is empty, the page cache is not.
    Scan,
    /// The same again, from whatever the engine has kept.
    ScanAgain,
    /// Three of ten columns of all rows, into Arrow; the block cache is empty, the page cache is not.
    Columns,
    /// The same again, from whatever the engine has kept.
    ColumnsAgain,
    /// Bytes on disk a row, logs not counted.
    Bytes,
    /// Bytes written, log included, over bytes of keys and values.
    Amplification,
    /// The same without the log, of engines that tell how much it took.
    DataAmplification,
}

impl Workload {
    /// What a row of the table is called.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Durable => "durable batched writes",
            Self::Unsynced => "writes without sync",
            Self::Gets => "cached point reads",
            Self::Missing => "missing-key reads",
            Self::Uncached => "uncached point reads",
            Self::Ranges => "user + time-range reads of 100 rows",
            Self::Scan => "full scan",
            Self::ScanAgain => "full scan, again",
            Self::ColumnsAgain => "3-of-10-column scan into Arrow, again",
            Self::Columns => "3-of-10-column scan into Arrow",
            Self::Bytes => "bytes on disk a row",
            Self::Amplification => "write amplification, log included",
            Self::DataAmplification => "write amplification, log not counted",
        }
    }

    /// The unit of its figures.
    #[must_use]
    pub fn unit(self) -> &'static str {
        match self {
            Self::Durable | Self::Unsynced | Self::Scan | Self::ScanAgain | Self::Columns | Self::ColumnsAgain => "rows/s",
            Self::Gets | Self::Missing | Self::Uncached | Self::Ranges => "reads/s",
            Self::Bytes => "B",
            Self::Amplification | Self::DataAmplification => "×",
        }
    }

    /// Whether a larger figure is the better one.
    #[must_use]
    pub fn larger_is_better(self) -> bool {
        !matches!(self, Self::Bytes | Self::Amplification | Self::DataAmplification)
    }
}
