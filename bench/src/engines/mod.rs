//! The engines behind one trait: each is given typed rows and hands typed rows back.

#[cfg(feature = "datafusion")]
mod datafusion;
#[cfg(feature = "peers")]
mod fjall;
#[cfg(feature = "peers")]
mod parquet;
#[cfg(feature = "peers")]
mod rocks;
#[cfg(feature = "peers")]
mod slate;
pub mod stele;

use crate::checksum::{Checksum, ColumnSum};
use crate::events::Event;
use crate::workloads::Workload;
use anyhow::Result;
use clap::ValueEnum;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use tokio::runtime::Runtime;

/// Whose engine, by their proper names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum EngineName {
    Stele,
    #[cfg(feature = "peers")]
    Rocksdb,
    #[cfg(feature = "peers")]
    Fjall,
    #[cfg(feature = "peers")]
    Slatedb,
    #[cfg(feature = "peers")]
    Parquet,
    #[cfg(feature = "datafusion")]
    Datafusion,
}

impl EngineName {
    /// The name in tables and on the command line.
    #[must_use]
    pub fn text(self) -> String {
        self.to_possible_value().map_or_else(String::new, |v| v.get_name().to_owned())
    }
}

/// What all engines are opened with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The engine's own folder.
    pub dir: PathBuf,
    /// Bytes of its block cache.
    pub cache_bytes: u64,
    /// Bytes of its write buffer before it is flushed.
    pub memtable_bytes: usize,
    /// Whether each write waits until it is on disk.
    pub sync: bool,
    /// Whether the table's time column makes slices, for an engine that has them.
    pub sliced: bool,
    /// Where asynchronous engines run.
    pub runtime: Arc<Runtime>,
}

/// A range of keys that is known to hold so many rows.
#[derive(Clone, Debug)]
pub struct RowRange {
    /// First key.
    pub start: Vec<u8>,
    /// First key after.
    pub end: Vec<u8>,
}

/// One engine, open on its folder with one table of events.
pub trait Engine: Send + Sync {
    /// Whether it can do this at all.
    fn does(&self, workload: Workload) -> bool;

    /// Writes one batch, as durably as its settings say.
    ///
    /// # Errors
    /// Those of the engine.
    fn write(&self, batch: &[Event]) -> Result<()>;

    /// Flushes, and waits until no flush nor compaction has anything left to do. The moment when that was so.
    ///
    /// # Errors
    /// Those of the engine.
    fn settle(&self) -> Result<Instant>;

    /// Closes and opens again with another cache.
    ///
    /// # Errors
    /// Those of the engine.
    fn reopen(&mut self, cache_bytes: u64) -> Result<()>;

    /// Reads these rows one after the other; those that are not there add nothing.
    ///
    /// # Errors
    /// Those of the engine.
    fn get_all(&self, keys: &[Vec<u8>], sum: &mut Checksum) -> Result<()>;

    /// Reads the rows of these ranges, one range after the other.
    ///
    /// # Errors
    /// Those of the engine.
    fn range_all(&self, ranges: &[RowRange], sum: &mut Checksum) -> Result<()>;

    /// Reads all rows.
    ///
    /// # Errors
    /// Those of the engine.
    fn scan(&self, sum: &mut Checksum) -> Result<()>;

    /// Reads three columns of all rows as Arrow batches.
    ///
    /// # Errors
    /// Those of the engine.
    fn scan_columns(&self, sum: &mut ColumnSum) -> Result<()>;

    /// Bytes of live data on disk, logs not counted.
    ///
    /// # Errors
    /// Those of the engine.
    fn data_bytes(&self) -> Result<u64>;

    /// Bytes that its log has taken since it was made, if it tells.
    fn log_bytes(&self) -> Option<u64> {
        None
    }
}

/// Opens an engine on a new or an existing folder.
///
/// # Errors
/// Those of the engine.
pub fn open(name: EngineName, settings: Settings) -> Result<Box<dyn Engine>> {
    std::fs::create_dir_all(&settings.dir)?;
    Ok(match name {
        EngineName::Stele => Box::new(stele::Stele::open(settings)?),
        #[cfg(feature = "peers")]
        EngineName::Rocksdb => Box::new(rocks::Rocks::open(settings)?),
        #[cfg(feature = "peers")]
        EngineName::Fjall => Box::new(fjall::Fjall::open(settings)?),
        #[cfg(feature = "peers")]
        EngineName::Slatedb => Box::new(slate::Slate::open(settings)?),
        #[cfg(feature = "peers")]
        EngineName::Parquet => Box::new(parquet::Parquet::open(settings)?),
        #[cfg(feature = "datafusion")]
        EngineName::Datafusion => Box::new(datafusion::Datafusion::open(settings)?),
    })
}

#[cfg(feature = "peers")]
/// The error of an engine that was asked for what it does not do.
///
/// # Errors
/// Always.
pub fn cannot<T>(what: &str) -> Result<T> {
    anyhow::bail!("this engine has no {what}")
}
